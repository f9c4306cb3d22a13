/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"

#include "base/sort.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int file_open_at(int dirfd, const char *path, int flags, GError **error)
{
    int fd = openat(dirfd, path, flags | O_CLOEXEC, 0666);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open '%s'", path);
    return fd;
}

int file_open_dir_at(int dirfd, const char *path, GError **error)
{
    return file_open_at(dirfd, path, O_RDONLY | O_DIRECTORY, error);
}

char *file_read_fd(int fd, size_t limit, size_t *out_size, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_throw_errno_null(error, "cannot stat file");
    g_autoptr(GString) data = g_string_sized_new(st.st_size > 0 ? (size_t)st.st_size + 1 : 4096);
    for (;;) {
        size_t room = data->allocated_len - data->len - 1;
        if (room < 4096)
            room = 65536;
        size_t old = data->len;
        g_string_set_size(data, old + room);
        ssize_t n = sys_read_all(fd, data->str + old, room);
        if (n < 0) {
            errno = (int)-n;
            return error_throw_errno_null(error, "cannot read file");
        }
        g_string_set_size(data, old + (size_t)n);
        if (data->len > limit)
            return error_throw_null(error, ERROR_INVALID, "file is larger than %zu bytes", limit);
        if ((size_t)n < room)
            break;
    }
    if (out_size)
        *out_size = data->len;
    return g_string_free(g_steal_pointer(&data), FALSE);
}

char *file_read_at(int dirfd, const char *path, size_t limit, size_t *out_size, GError **error)
{
    _autofd int fd = file_open_at(dirfd, path, O_RDONLY, error);
    if (fd < 0)
        return NULL;
    char *data = file_read_fd(fd, limit, out_size, error);
    if (!data)
        error_prefix(error, "'%s'", path);
    return data;
}

bool file_write_all(int fd, const void *data, size_t size, GError **error)
{
    int failed = sys_write_all(fd, data, size);
    if (failed < 0) {
        errno = -failed;
        return error_throw_errno(error, "cannot write");
    }
    return true;
}

/* A name beside `path` that nobody else uses. */
static char *temporary_name(const char *path)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint64_t)g_get_monotonic_time() ^ (uint64_t)getpid() << 40;
    const char *slash = strrchr(path, '/');
    int dir = slash ? (int)(slash - path) + 1 : 0;
    return g_strdup_printf("%.*s.tmp-%016" G_GINT64_MODIFIER "x", dir, path, random);
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return g_strdup(".");
    return slash == path ? g_strdup("/") : g_strndup(path, (size_t)(slash - path));
}

static bool write_temporary(int dirfd, const char *name, const void *data, size_t size, mode_t mode,
                            bool durable, GError **error)
{
    _autofd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return error_throw_errno(error, "cannot create '%s'", name);
    if (!file_write_all(fd, data, size, error))
        return error_prefix(error, "'%s'", name);
    if (fchmod(fd, mode) < 0)
        return error_throw_errno(error, "cannot set the mode of '%s'", name);
    if (durable && fsync(fd) < 0)
        return error_throw_errno(error, "cannot sync '%s'", name);
    return true;
}

bool file_replace_at(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                     FileReplaceFlags flags, GError **error)
{
    bool durable = flags & FILE_REPLACE_DURABLE;
    g_autofree char *temporary = temporary_name(path);
    if (!write_temporary(dirfd, temporary, data, size, mode, durable, error)) {
        unlinkat(dirfd, temporary, 0);
        return false;
    }
    unsigned how = flags & FILE_REPLACE_EXCLUSIVE ? RENAME_NOREPLACE : 0;
    if (renameat2(dirfd, temporary, dirfd, path, how) < 0) {
        error_throw_errno(error, "cannot replace '%s'", path);
        unlinkat(dirfd, temporary, 0);
        return false;
    }
    if (!durable)
        return true;
    g_autofree char *parent = parent_of(path);
    return file_sync_dir_at(dirfd, parent, error);
}

bool file_symlink_replace_at(int dirfd, const char *path, const char *target, GError **error)
{
    g_autofree char *current = file_readlink_at(dirfd, path, NULL);
    if (current && strcmp(current, target) == 0)
        return true;
    g_autofree char *temporary = temporary_name(path);
    if (symlinkat(target, dirfd, temporary) < 0)
        return error_throw_errno(error, "cannot create link '%s'", temporary);
    if (renameat(dirfd, temporary, dirfd, path) < 0) {
        error_throw_errno(error, "cannot replace link '%s'", path);
        unlinkat(dirfd, temporary, 0);
        return false;
    }
    return true;
}

char *file_readlink_at(int dirfd, const char *path, GError **error)
{
    char buffer[4096];
    ssize_t n = readlinkat(dirfd, path, buffer, sizeof buffer);
    if (n < 0)
        return error_throw_errno_null(error, "cannot read link '%s'", path);
    if ((size_t)n == sizeof buffer)
        return error_throw_null(error, ERROR_INVALID, "link '%s' is too long", path);
    return g_strndup(buffer, (size_t)n);
}

bool file_ensure_dir_at(int dirfd, const char *path, mode_t mode, GError **error)
{
    if (mkdirat(dirfd, path, mode) == 0)
        return true;
    if (errno == EEXIST) {
        struct stat st;
        bool seen = fstatat(dirfd, path, &st, 0) == 0;
        if (seen && S_ISDIR(st.st_mode))
            return true;
        if (seen)
            errno = ENOTDIR;
    }
    if (errno == ENOENT && strchr(path, '/')) {
        g_autofree char *parent = parent_of(path);
        if (!file_ensure_dir_at(dirfd, parent, mode, error))
            return false;
        if (mkdirat(dirfd, path, mode) == 0 || errno == EEXIST)
            return true;
    }
    return error_throw_errno(error, "cannot create directory '%s'", path);
}

bool file_sync_dir_at(int dirfd, const char *path, GError **error)
{
    _autofd int fd = file_open_dir_at(dirfd, *path ? path : ".", error);
    if (fd < 0)
        return false;
    if (fsync(fd) < 0)
        return error_throw_errno(error, "cannot sync directory '%s'", path);
    return true;
}

/* NULL with errno. The fd is opened once more, so that the caller's has no position that moves. */
static GPtrArray *list_names(int fd)
{
    _autofd int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _autodir DIR *dir = own < 0 ? NULL : fdopendir(own);
    if (!dir)
        return NULL;
    fd_steal(&own); /* fdopendir owns it */
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(entry->d_name));
    if (errno != 0)
        return NULL;
    sort_texts(names);
    return g_steal_pointer(&names);
}

GPtrArray *file_list_at(int dirfd, const char *path, GError **error)
{
    _autofd int fd = file_open_dir_at(dirfd, path, error);
    if (fd < 0)
        return NULL;
    GPtrArray *names = list_names(fd);
    return names ? names : error_throw_errno_null(error, "cannot list '%s'", path);
}

GPtrArray *file_list_fd(int fd, GError **error)
{
    GPtrArray *names = list_names(fd);
    return names ? names : error_throw_errno_null(error, "cannot list directory");
}

/* Removes what can be removed at once, *out_inner becomes a directory that can't: it isn't empty. */
static bool remove_pass(int fd, int *out_inner, GError **error)
{
    *out_inner = -1;
    _autofd int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _autodir DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir)
        return error_throw_errno(error, "cannot list a directory to be removed");
    fd_steal(&copy); /* fdopendir owns it */
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(fd, name, 0) == 0 ||
            errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM)
            return error_throw_errno(error, "cannot remove '%s'", name);
        if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return error_throw_errno(error, "cannot remove directory '%s'", name);
        *out_inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return *out_inner >= 0 || error_throw_errno(error, "cannot open directory '%s'", name);
    }
    return errno == 0 || error_throw_errno(error, "cannot list a directory to be removed");
}

/* Without recursion and with few fds, for a container may leave a deeper tree than either allows: down
 * into what isn't empty, up by ".." from what is, where a new pass removes it. */
static bool remove_below(int top, GError **error)
{
    _autofd int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_throw_errno(error, "cannot open a directory to be removed");
    for (unsigned long depth = 0;;) {
        int next;
        if (!remove_pass(fd, &next, error))
            return false;
        if (next >= 0) {
            depth++;
        } else if (depth-- == 0) {
            return true;
        } else {
            next = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (next < 0)
                return error_throw_errno(error, "cannot open a directory to be removed");
        }
        sys_fd_closep(&fd);
        fd = next;
    }
}

bool file_remove_all_at(int dirfd, const char *path, GError **error)
{
    if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return error_throw_errno(error, "cannot remove '%s'", path);
    _autofd int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_throw_errno(error, "cannot remove '%s'", path);
    if (!remove_below(fd, error))
        return error_prefix(error, "'%s'", path);
    if (unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_throw_errno(error, "cannot remove directory '%s'", path);
    return true;
}

bool file_exists_at(int dirfd, const char *path, bool *out_exists, GError **error)
{
    struct stat st;
    bool exists = fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!exists && errno != ENOENT && errno != ENOTDIR)
        return error_throw_errno(error, "cannot look at '%s'", path);
    *out_exists = exists;
    return true;
}

static char *describe_process(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", pid);
    size_t size = 0;
    g_autofree char *line = file_read_at(AT_FDCWD, path, 1 << 20, &size, NULL);
    if (!line || !size)
        return g_strdup_printf("process %d", pid);
    for (size_t i = 0; i + 1 < size; i++)
        if ((unsigned char)line[i] <= ' ') /* the words end in NUL */
            line[i] = ' ';
    g_autofree char *text = g_utf8_make_valid(line, -1);
    char *words = strchr(text, ' ');
    g_autofree char *program = g_strndup(text, words ? (size_t)(words - text) : strlen(text));
    g_autofree char *name = g_path_get_basename(program);
    bool is_long = words && g_utf8_strlen(words, -1) > 100;
    if (is_long)
        *g_utf8_offset_to_pointer(words, 100) = '\0';
    return g_strdup_printf("'%s%s%s' (process %d)", name, words ? words : "", is_long ? "..." : "",
                           pid);
}

char *file_lock_holder(int fd)
{
    struct stat st;
    g_autofree char *locks = file_read_at(AT_FDCWD, "/proc/locks", 16 << 20, NULL, NULL);
    if (!locks || fstat(fd, &st) < 0)
        return NULL;
    /* "1: FLOCK  ADVISORY  WRITE 1234 fe:01:56789 0 EOF"; "-> " after the number: waits for it */
    g_autofree char *wanted = g_strdup_printf("%02x:%02x:%" G_GUINT64_FORMAT, major(st.st_dev),
                                              minor(st.st_dev), (uint64_t)st.st_ino);
    for (char *line = locks, *next; line && *line; line = next) {
        char file[64];
        int pid;
        if ((next = strchr(line, '\n')))
            *next++ = '\0';
        if (sscanf(line, "%*d: FLOCK %*s %*s %d %63s", &pid, file) == 2 && pid > 0 &&
            strcmp(file, wanted) == 0)
            return describe_process(pid);
    }
    return NULL;
}
