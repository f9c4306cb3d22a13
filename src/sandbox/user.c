/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users of an image, from its own /etc/passwd and /etc/group. */
#include "sandbox/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

#define FILE_LIMIT (4 << 20)

/* The lines of a file inside; none when it isn't there. The container may have put anything in its
 * place. */
static char **read_lines(int root_fd, const char *path, GError **error)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    _autofd int fd = -1;
    /* EAGAIN: something was renamed or mounted while a ".." was walked (openat2(2)) */
    do
        fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
    while (fd < 0 && errno == EAGAIN);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return g_new0(char *, 1);
    if (fd < 0)
        return error_throw_errno_null(error, "cannot open '/%s' of the image", path);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_throw_null(error, ERROR_INVALID, "'/%s' of the image is not a file", path);
    g_autofree char *text = file_read_fd(fd, FILE_LIMIT, NULL, error);
    if (!text)
        return error_prefix(error, "'/%s' of the image", path), NULL;
    return g_strsplit(text, "\n", -1);
}

static bool parse_id(const char *text, uint32_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!g_ascii_isdigit(*text) || *end || errno || value >= UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

/* The fields of the line whose name, or else whose id (third field), is the key. */
static char **find_entry(char **lines, const char *key, unsigned n_fields)
{
    char **by_id = NULL;
    uint32_t wanted, id;
    bool numeric = parse_id(key, &wanted);
    for (char **line = lines; *line; line++) {
        char **fields = g_strsplit(*line, ":", -1);
        if (g_strv_length(fields) >= n_fields && g_str_equal(fields[0], key)) {
            g_strfreev(by_id);
            return fields;
        }
        bool matches = !by_id && numeric && g_strv_length(fields) >= n_fields &&
                       parse_id(fields[2], &id) && id == wanted;
        if (matches)
            by_id = fields;
        else
            g_strfreev(fields);
    }
    return by_id;
}

/* Fills in uid, the primary group and home. *out_name: NULL when the uid has no entry. */
static bool resolve_user(int root_fd, const char *user, SandboxUser *out, char **out_name,
                         GError **error)
{
    g_auto(GStrv) lines = read_lines(root_fd, "etc/passwd", error);
    if (!lines)
        return false;
    g_auto(GStrv) entry = find_entry(lines, user, 6);
    if (entry) {
        if (!parse_id(entry[2], &out->uid) || !parse_id(entry[3], &out->gid))
            return error_throw(error, ERROR_INVALID,
                               "cannot use user '%s': bad line in /etc/passwd", user);
        *out_name = g_strdup(entry[0]);
        if (*entry[5])
            out->home = g_strdup(entry[5]);
        return true;
    }
    if (!parse_id(user, &out->uid))
        return error_throw(error, ERROR_NOT_FOUND,
                           "unable to find user %s: no matching entries in passwd file", user);
    return true;
}

static bool resolve_group(char **groups, const char *group, SandboxUser *out, GError **error)
{
    g_auto(GStrv) entry = find_entry(groups, group, 3);
    if (entry ? parse_id(entry[2], &out->gid) : parse_id(group, &out->gid))
        return true;
    return error_throw(error, ERROR_NOT_FOUND,
                       "unable to find group %s: no matching entries in group file", group);
}

static void collect_supplementary(char **groups, const char *name, SandboxUser *out)
{
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (char **line = groups; *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", -1);
        uint32_t gid;
        if (g_strv_length(fields) < 4 || !parse_id(fields[2], &gid))
            continue;
        g_auto(GStrv) members = g_strsplit(fields[3], ",", -1);
        if (g_strv_contains((const char *const *)members, name))
            g_array_append_val(found, gid);
    }
    out->n_groups = found->len;
    out->groups = (uint32_t *)(void *)g_array_free(g_steal_pointer(&found), FALSE);
}

void sandbox_user_clear(SandboxUser *user)
{
    g_clear_pointer(&user->groups, g_free);
    g_clear_pointer(&user->home, g_free);
    *user = (SandboxUser){0};
}

bool sandbox_user_resolve(int root_fd, const char *user, SandboxUser *out, GError **error)
{
    SandboxUser found = {0};
    g_auto(GStrv) parts = g_strsplit(user ? user : "", ":", 2);
    const char *name = parts[0] && *parts[0] ? parts[0] : "0";
    const char *group = parts[0] && parts[1] && *parts[1] ? parts[1] : NULL;
    g_autofree char *login = NULL;
    g_auto(GStrv) groups = read_lines(root_fd, "etc/group", error);
    bool good = groups && resolve_user(root_fd, name, &found, &login, error) &&
                (!group || resolve_group(groups, group, &found, error));
    if (!good) {
        sandbox_user_clear(&found);
        return false;
    }
    if (login && !group)
        collect_supplementary(groups, login, &found);
    if (!found.home)
        found.home = g_strdup("/");
    *out = found;
    return true;
}
