/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-decompress: a compressed file on stdin, its content on stdout, why it failed on stderr (one line,
 * exit status 1). Decompressors are large, written for speed and fed by strangers, so they run here, without rights:
 * nobody's user id, no files, no system calls but reading and writing. tar_file.c is the other side, and takes the bytes
 * that come for no more than bytes. */
#include "base/sys/confine.h"
#include "base/sys/fd.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Decompressors of honest files need far less: xz -9 takes 65 MiB, zstd with the longest window that is accepted 128. */
#define MEMORY_MAX ((size_t)1 << 30)

static _noreturn void leave(int status, const char *message)
{
    if (message && sys_write_all(STDERR_FILENO, message, strlen(message)) < 0)
        status = 1;
    _exit(status);
}

/* A read that fails ends it here: the decoders would call it a truncated file. */
static la_ssize_t read_input(struct archive *archive _unused, void *data _unused,
                             const void **out_bytes)
{
    static char buffer[1 << 17];
    ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    *out_bytes = buffer;
    if (n < 0) {
        char message[128];
        snprintf(message, sizeof message, "cannot read it: %s", strerrordesc_np(errno));
        leave(1, message);
    }
    return n;
}

static const char *reason(struct archive *archive)
{
    const char *text = archive_error_string(archive);
    return text ? text : "unknown reason";
}

static void check(struct archive *archive, int status)
{
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
        leave(1, reason(archive));
}

static void copy(struct archive *archive)
{
    const void *bytes;
    size_t size;
    la_int64_t offset;
    for (;;) {
        int status = archive_read_data_block(archive, &bytes, &size, &offset);
        if (status == ARCHIVE_EOF)
            return;
        check(archive, status);
        if (sys_write_all(STDOUT_FILENO, bytes, size) < 0)
            leave(1, NULL); /* nobody reads any more */
    }
}

int main(int argc, char **argv _unused)
{
    if (argc > 1 || isatty(STDIN_FILENO)) {
        fprintf(stderr, "atomic-decompress is started by other programs of atomic\n");
        return 2;
    }
    /* ^C reaches the whole foreground group; the other side decides what it means and closes the pipe */
    signal(SIGINT, SIG_IGN);
    struct archive *archive = archive_read_new();
    /* not "all": some filters run programs */
    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_bzip2(archive);
    archive_read_support_filter_xz(archive);
    archive_read_support_filter_lzma(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_filter_lz4(archive);
    archive_read_support_format_raw(archive);
    SysError failed;
    if (sys_confine_user(&failed) < 0 || sys_confine_to_pipes(MEMORY_MAX, &failed) < 0)
        leave(1, failed.message);
    check(archive, archive_read_open(archive, NULL, NULL, read_input, NULL));
    struct archive_entry *entry;
    int status = archive_read_next_header(archive, &entry);
    if (status != ARCHIVE_EOF) {
        check(archive, status);
        copy(archive);
    }
    leave(0, NULL);
}
