/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that the indices name: what is there is kept, the rest is fetched, everything is
 * measured. */
#include "package/package.h"

#include "base/file.h"
#include "base/hash.h"
#include "net/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void package_download_free(PackageDownload *download)
{
    if (!download)
        return;
    g_free(download->url);
    g_free(download->name);
    g_free(download->path);
    g_free(download);
}

/* --- verifying -------------------------------------------------------------------------------- */

static bool measure(int fd, Digest *out_sha256, uint64_t *out_size, GError **error)
{
    g_autoptr(HashSha256) hash = hash_sha256_new();
    g_autofree char *buffer = g_malloc(1 << 17);
    uint64_t size = 0;
    for (;;) {
        ssize_t n = sys_read_all(fd, buffer, 1 << 17);
        if (n < 0) {
            errno = (int)-n;
            return error_throw_errno(error, "cannot read");
        }
        hash_sha256_update(hash, buffer, (size_t)n);
        size += (uint64_t)n;
        if (n < 1 << 17)
            break;
    }
    hash_sha256_finish(hash, out_sha256);
    *out_size = size;
    return true;
}

/* ERROR_CORRUPT when the bytes are not those that were promised. */
static bool verify(const PackageDownload *download, GError **error)
{
    _autofd int fd = file_open_at(AT_FDCWD, download->path, O_RDONLY, error);
    if (fd < 0)
        return false;
    Digest sha256 = {0};
    uint64_t size = 0;
    if (!measure(fd, &sha256, &size, error))
        return error_prefix(error, "'%s'", download->path);
    if (!download->has_sha256)
        return true;
    if (size != download->size)
        return error_throw(error, ERROR_CORRUPT,
                           "'%s' has %" G_GUINT64_FORMAT " bytes instead of %" G_GUINT64_FORMAT,
                           download->name, size, download->size);
    if (!digest_equal(&sha256, &download->sha256))
        return error_throw(
            error, ERROR_CORRUPT,
            "'%s' is not what the index says: its SHA-256 is %.12s… instead of %.12s…",
            download->name, digest_hex(&sha256).text, digest_hex(&download->sha256).text);
    return true;
}

bool package_fetch(GPtrArray *downloads, const char *title, PackageFetchFunc fetch, void *data,
                   GError **error)
{
    g_autoptr(GPtrArray) missing = g_ptr_array_new();
    for (unsigned i = 0; i < downloads->len; i++) {
        PackageDownload *download = downloads->pdata[i];
        /* without a sum there is no telling whether what is there is current */
        if (!download->has_sha256 || !verify(download, NULL))
            g_ptr_array_add(missing, download);
    }
    if (missing->len > 0 && !(fetch ? fetch : package_fetch_net)(missing, title, data, error))
        return false;
    for (unsigned i = 0; i < missing->len; i++) {
        PackageDownload *download = missing->pdata[i];
        if (!verify(download, error)) {
            unlink(download->path);
            return error_prefix(error, "cannot fetch '%s'", download->url);
        }
    }
    return true;
}

/* --- over the network ------------------------------------------------------------------------- */

typedef struct {
    const char *title;
    unsigned done, count;
    uint64_t bytes, total; /* total 0: not known */
    unsigned last_percent;
    bool terminal;
} Progress;

typedef struct {
    const PackageDownload *download;
    Progress *progress;
    char *temporary;
    int fd;
} Transfer;

static void transfer_free(Transfer *transfer)
{
    sys_fd_closep(&transfer->fd);
    if (transfer->temporary)
        unlink(transfer->temporary);
    g_free(transfer->temporary);
    g_free(transfer);
}

static void show(Progress *progress)
{
    unsigned percent = progress->total ? (unsigned)(progress->bytes * 100 / progress->total)
                                       : progress->done * 100 / progress->count;
    bool last = progress->done == progress->count;
    if (!progress->terminal && !last && percent / 20 == progress->last_percent / 20)
        return;
    progress->last_percent = percent;
    fprintf(stderr, "%sFetching %s: %u%% (%u/%u) %.1f MB%s", progress->terminal ? "\r" : "",
            progress->title, percent, progress->done, progress->count,
            (double)progress->bytes / 1e6, progress->terminal && !last ? "" : "\n");
}

static bool on_done(const NetResponse *response, void *user, GError **error)
{
    Transfer *transfer = user;
    if (response->outcome != NET_OK)
        return net_response_error(response, error);
    if (renameat(AT_FDCWD, transfer->temporary, AT_FDCWD, transfer->download->path) < 0)
        return error_throw_errno(error, "cannot replace '%s'", transfer->download->path);
    g_clear_pointer(&transfer->temporary, g_free);
    sys_fd_closep(&transfer->fd);
    transfer->progress->done++;
    transfer->progress->bytes += response->size;
    show(transfer->progress);
    return true;
}

static Transfer *transfer_new(const PackageDownload *download, Progress *progress, GError **error)
{
    Transfer *transfer = g_new0(Transfer, 1);
    transfer->download = download;
    transfer->progress = progress;
    transfer->temporary = g_strdup_printf("%s.part-%d", download->path, (int)getpid());
    transfer->fd = file_open_at(AT_FDCWD, transfer->temporary, O_WRONLY | O_CREAT | O_TRUNC, error);
    if (transfer->fd < 0) {
        transfer_free(transfer);
        return NULL;
    }
    return transfer;
}

bool package_fetch_net(GPtrArray *downloads, const char *title, void *data, GError **error)
{
    Progress progress = {
        .title = title, .count = downloads->len, .terminal = isatty(STDERR_FILENO)};
    g_autoptr(GPtrArray) transfers = g_ptr_array_new_with_free_func((GDestroyNotify)transfer_free);
    g_autoptr(NetClient) client = net_client_new(error);
    if (!client)
        return false;
    for (unsigned i = 0; i < downloads->len; i++) {
        const PackageDownload *download = downloads->pdata[i];
        progress.total += download->has_sha256 ? download->size : 0;
    }
    for (unsigned i = 0; i < downloads->len; i++) {
        const PackageDownload *download = downloads->pdata[i];
        Transfer *transfer = transfer_new(download, &progress, error);
        if (!transfer)
            return false;
        g_ptr_array_add(transfers, transfer);
        net_client_get(client, &(NetRequest){.url = download->url,
                                             .limit = download->size,
                                             .fd = transfer->fd,
                                             .done = on_done,
                                             .user = transfer});
        /* bounds the open files: each transfer has its own */
        if (!net_client_run(client, NET_IN_FLIGHT, error))
            return false;
    }
    return net_client_run(client, 0, error);
}
