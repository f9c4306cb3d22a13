/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The three files that a container has from its host: hosts, hostname, resolv.conf. */
#include "sandbox/internal.h"

#include "base/file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT (1 << 20)

/* The host's file or ""; whatever is wrong with it is no reason not to start. */
static char *read_host_file(const char *path)
{
    char *text = file_read_at(AT_FDCWD, path, FILE_LIMIT, NULL, NULL);
    return text ? text : g_strdup("");
}

static bool is_loopback(const char *address)
{
    return g_str_has_prefix(address, "127.") || g_str_equal(address, "::1");
}

/* Lines about the host itself (loopback, IPv6 multicast) would be wrong inside. */
static void append_host_entries(GString *out)
{
    g_autofree char *text = read_host_file("/etc/hosts");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = g_strsplit_set(g_strstrip(*line), " \t", 2);
        if (!words[0] || !words[1] || words[0][0] == '#' || is_loopback(words[0]) ||
            g_ascii_strncasecmp(words[0], "fe00:", 5) == 0 ||
            g_ascii_strncasecmp(words[0], "ff0", 3) == 0)
            continue;
        g_string_append_printf(out, "%s\n", *line);
    }
}

static char *make_hosts(const SandboxOptions *options, const char *hostname)
{
    GString *out = g_string_new(NULL);
    if (options->net == SANDBOX_NET_HOST) {
        g_autofree char *text = read_host_file("/etc/hosts");
        g_string_append(out, text);
        if (out->len > 0 && out->str[out->len - 1] != '\n')
            g_string_append_c(out, '\n');
    } else {
        g_string_append(out, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                             "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
        append_host_entries(out);
        g_string_append_printf(out, "%s\t%s\n", options->address ? options->address : "127.0.1.1",
                               hostname);
    }
    for (const char *const *line = options->extra_hosts; line && *line; line++)
        g_string_append_printf(out, "%s\n", *line);
    return g_string_free(out, FALSE);
}

/* A resolver on the host's loopback can't be reached from another network namespace. *out_kept
 * counts the others. */
static char *without_loopback(const char *text, unsigned *out_kept)
{
    GString *out = g_string_new(NULL);
    *out_kept = 0;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = g_strsplit_set(*line, " \t", 2);
        bool server = words[0] && words[1] && g_str_equal(words[0], "nameserver");
        if (server && is_loopback(g_strstrip(words[1])))
            continue;
        *out_kept += server;
        if (**line)
            g_string_append_printf(out, "%s\n", *line);
    }
    return g_string_free(out, FALSE);
}

static char *make_resolv_conf(const SandboxOptions *options)
{
    if (options->dns) {
        GString *out = g_string_new(NULL);
        for (const char *const *server = options->dns; *server; server++)
            g_string_append_printf(out, "nameserver %s\n", *server);
        return g_string_free(out, FALSE);
    }
    g_autofree char *text = read_host_file("/etc/resolv.conf");
    if (options->net == SANDBOX_NET_HOST)
        return g_steal_pointer(&text);
    unsigned kept;
    char *usable = without_loopback(text, &kept);
    if (kept > 0)
        return usable;
    /* systemd-resolved: the servers behind its stub */
    g_autofree char *behind = read_host_file("/run/systemd/resolve/resolv.conf");
    if (!*behind)
        return usable;
    g_free(usable);
    return without_loopback(behind, &kept);
}

static bool write_file(int dirfd, const char *name, const char *text, uint32_t owner,
                       GError **error)
{
    if (!file_replace_at(dirfd, name, text, strlen(text), 0644, 0, error))
        return false;
    return fchownat(dirfd, name, owner, owner, AT_SYMLINK_NOFOLLOW) == 0 ||
           error_throw_errno(error, "cannot give '%s' to the container", name);
}

bool files_write(int dirfd, const SandboxOptions *options, const char *hostname, uint32_t owner,
                 GError **error)
{
    g_autofree char *hosts = make_hosts(options, hostname);
    g_autofree char *resolv = make_resolv_conf(options);
    g_autofree char *name = g_strconcat(hostname, "\n", NULL);
    return write_file(dirfd, "hosts", hosts, owner, error) &&
           write_file(dirfd, "hostname", name, owner, error) &&
           write_file(dirfd, "resolv.conf", resolv, owner, error);
}
