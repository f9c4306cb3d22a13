/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "strict.h"

#include "chance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

/* 'f', 'd' or 'l', and the inode's number or the link's target. Empty: no such entry. */
typedef struct {
    char text[PATH_MAX];
} Entry;

typedef struct {
    char text[64];
} KeptPath;

static KeptPath kept_path(const char *kind, uint64_t inode)
{
    KeptPath path;
    snprintf(path.text, sizeof path.text, "%s/%llu", kind, (unsigned long long)inode);
    return path;
}

static Entry look_live(int dir, const char *name)
{
    Entry entry = {""};
    struct stat st;
    if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return entry;
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlinkat(dir, name, entry.text + 1, sizeof entry.text - 2);
        entry.text[0] = n < 0 ? '\0' : 'l';
        entry.text[n < 0 ? 0 : n + 1] = '\0';
    } else {
        snprintf(entry.text, sizeof entry.text, "%c%llu", S_ISDIR(st.st_mode) ? 'd' : 'f',
                 (unsigned long long)st.st_ino);
    }
    return entry;
}

static Entry look_kept(int dir, const char *name)
{
    Entry entry = {""};
    ssize_t n = dir < 0 ? -1 : readlinkat(dir, name, entry.text, sizeof entry.text - 1);
    entry.text[n < 0 ? 0 : n] = '\0';
    return entry;
}

static uint64_t entry_inode(const Entry *entry)
{
    return strtoull(entry->text + 1, NULL, 10);
}

typedef int (*NameFunc)(const char *name, void *data);

static int each_name(int dirfd, NameFunc each, void *data)
{
    int own = openat(dirfd, ".", DIR_FLAGS), failed = 0;
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    if (!dir)
        return -1;
    for (struct dirent *d; !failed && (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            failed = each(d->d_name, data);
    closedir(dir);
    return failed;
}

/* --- keeping -------------------------------------------------------------------------------------------- */

static int copy_bytes(int from, int to, off_t size)
{
    off_t at = 0;
    while (at < size) {
        ssize_t n = sendfile(to, from, &at, (size_t)(size - at));
        if (n <= 0)
            return (int)n;
    }
    return 0;
}

/* A new file each time: built disks have links to the old one. */
int strict_keep_file(int kept, int fd)
{
    struct stat st, old;
    if (fstat(fd, &st) < 0)
        return -1;
    KeptPath path = kept_path("files", st.st_ino);
    if (fstatat(kept, path.text, &old, 0) == 0 && old.st_size == st.st_size &&
        memcmp(&old.st_mtim, &st.st_mtim, sizeof st.st_mtim) == 0)
        return 0;
    int from = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd); /* it may be open for writing only */
    int readable = open(self, O_RDONLY | O_CLOEXEC);
    if (readable >= 0) {
        close(from);
        from = readable;
    }
    int to = openat(kept, "new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const struct timespec times[2] = {st.st_mtim, st.st_mtim};
    int failed = to < 0 || copy_bytes(from, to, st.st_size) < 0 || fchmod(to, st.st_mode) < 0 ||
                 futimens(to, times) < 0 || renameat(kept, "new", kept, path.text) < 0;
    close(to);
    close(from);
    return failed ? -1 : 0;
}

typedef struct {
    int kept, live, dir;
    bool deep;
} Keep;

static int forget_entry(const char *name, void *data)
{
    return unlinkat(((Keep *)data)->dir, name, 0);
}

static int keep_dir(int kept, int fd, bool deep);

static int keep_entry(const char *name, void *data)
{
    const Keep *keep = data;
    Entry entry = look_live(keep->live, name);
    if (!*entry.text)
        return 0;
    if (symlinkat(entry.text, keep->dir, name) < 0)
        return -1;
    if (!keep->deep || entry.text[0] == 'l')
        return 0;
    int fd = openat(keep->live, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int failed = fd < 0 ? errno != ENOENT
                        : (entry.text[0] == 'd' ? keep_dir(keep->kept, fd, true)
                                                : strict_keep_file(keep->kept, fd));
    close(fd);
    return failed;
}

static int keep_dir(int kept, int fd, bool deep)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    KeptPath path = kept_path("dirs", st.st_ino);
    mkdirat(kept, path.text, 0700);
    Keep keep = {kept, fd, openat(kept, path.text, DIR_FLAGS), deep};
    int failed = keep.dir < 0 || each_name(keep.dir, forget_entry, &keep) < 0 ||
                 each_name(fd, keep_entry, &keep) < 0;
    close(keep.dir);
    return failed ? -1 : 0;
}

int strict_keep_dir(int kept, int fd)
{
    return keep_dir(kept, fd, false);
}

int strict_keep_all(int kept, int root)
{
    return keep_dir(kept, root, true);
}

/* --- building ------------------------------------------------------------------------------------------- */

typedef struct {
    int kept, kept_dir, live_dir, out;
    uint64_t *chance; /* NULL: nothing but what was kept */
} Build;

/* Of bytes that were not synced: none, zeros, a half, all. */
static int build_unsynced(const Build *build, const char *name, mode_t mode)
{
    int from = build->chance && build->live_dir >= 0
                   ? openat(build->live_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
                   : -1;
    int to = openat(build->out, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    struct stat st;
    int failed = to < 0;
    if (!failed && from >= 0 && fstat(from, &st) == 0) {
        unsigned much = chance_next(build->chance) % 4;
        failed = (much > 0 && ftruncate(to, st.st_size) < 0) ||
                 (much > 1 && copy_bytes(from, to, much == 2 ? st.st_size / 2 : st.st_size) < 0);
    }
    if (from >= 0)
        close(from);
    close(to);
    return failed ? -1 : 0;
}

static int build_file(const Build *build, const char *name, const Entry *entry)
{
    KeptPath path = kept_path("files", entry_inode(entry));
    struct stat st, live;
    if (fstatat(build->kept, path.text, &st, 0) < 0)
        return build_unsynced(build, name, 0644);
    bool changed = build->chance && build->live_dir >= 0 &&
                   fstatat(build->live_dir, name, &live, AT_SYMLINK_NOFOLLOW) == 0 &&
                   live.st_ino == entry_inode(entry) &&
                   memcmp(&live.st_mtim, &st.st_mtim, sizeof st.st_mtim) != 0;
    if (changed && chance_next(build->chance) & 1)
        return build_unsynced(build, name, st.st_mode);
    return linkat(build->kept, path.text, build->out, name, 0);
}

static int build_dir(Build build, uint64_t inode);

static int build_entry(const Build *build, const char *name, const Entry *entry)
{
    if (entry->text[0] == 'l')
        return symlinkat(entry->text + 1, build->out, name);
    if (entry->text[0] == 'f')
        return build_file(build, name, entry);
    if (mkdirat(build->out, name, 0700) < 0)
        return -1;
    Build below = *build;
    below.out = openat(build->out, name, DIR_FLAGS);
    below.live_dir = build->live_dir < 0 ? -1 : openat(build->live_dir, name, DIR_FLAGS);
    int failed = build_dir(below, entry_inode(entry));
    close(below.out);
    if (below.live_dir >= 0)
        close(below.live_dir);
    return failed;
}

static int build_kept(const char *name, void *data)
{
    const Build *build = data;
    Entry kept = look_kept(build->kept_dir, name);
    if (build->chance) {
        Entry live = look_live(build->live_dir, name);
        if (strcmp(kept.text, live.text) != 0 && chance_next(build->chance) & 1)
            kept = live;
    }
    return *kept.text ? build_entry(build, name, &kept) : 0;
}

static int build_new(const char *name, void *data)
{
    const Build *build = data;
    if (*look_kept(build->kept_dir, name).text || chance_next(build->chance) & 1)
        return 0;
    Entry live = look_live(build->live_dir, name);
    return *live.text ? build_entry(build, name, &live) : 0;
}

static int build_dir(Build build, uint64_t inode)
{
    build.kept_dir = openat(build.kept, kept_path("dirs", inode).text, DIR_FLAGS);
    int failed = build.kept_dir < 0 ? 0 : each_name(build.kept_dir, build_kept, &build);
    if (!failed && build.chance && build.live_dir >= 0)
        failed = each_name(build.live_dir, build_new, &build);
    if (build.kept_dir >= 0)
        close(build.kept_dir);
    return failed;
}

int strict_build(int kept, int root, int out, const uint64_t *seed)
{
    struct stat st;
    uint64_t chance = seed ? *seed : 0;
    Build build = {
        .kept = kept, .live_dir = seed ? root : -1, .out = out, .chance = seed ? &chance : NULL};
    return fstat(root, &st) < 0 ? -1 : build_dir(build, st.st_ino);
}
