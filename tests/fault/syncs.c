/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Preloaded into a program: counts its syncs, leaves one out, kills it at one, and tells the model of strict.h of each.
 *
 *     SYNCS_LOG=FILE        gets "N CALL PATH" for each
 *     SYNCS_SKIP=N[-M]      the N-th (to the M-th) is not done, and said to have been: a mutant of the program
 *     SYNCS_SKIP_PATH=PATH  those of this file are not done
 *     SYNCS_KILL=N          SIGKILL instead of the N-th
 *     SYNCS_KEPT=DIR        the model's; SYNCS_ROOT=DIR the live tree
 *     SYNCS_CUTS=DIR        before each sync the disk as a power cut leaves it, into DIR/N.0; and with
 *     SYNCS_HALVES=N        so many times with some of what was not synced, into DIR/N.1, N.2…
 */
#include "strict.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned count;

static unsigned number_from(const char *name)
{
    const char *text = getenv(name);
    return text ? (unsigned)atoi(text) : 0;
}

static int open_from(const char *name)
{
    const char *path = getenv(name);
    return path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* The test is worth nothing when the model fails: better no result. */
static void check(int failed, const char *what)
{
    if (!failed)
        return;
    perror(what);
    abort();
}

typedef struct {
    char text[PATH_MAX];
} Path;

static Path path_of(int fd)
{
    char self[64];
    Path path = {""};
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(self, path.text, sizeof path.text - 1);
    path.text[n < 0 ? 0 : n] = '\0';
    return path;
}

static bool is_left_out(int fd)
{
    const char *range = getenv("SYNCS_SKIP"), *path = getenv("SYNCS_SKIP_PATH");
    unsigned first = 0, last = 0;
    if (range && sscanf(range, "%u-%u", &first, &last) == 1)
        last = first;
    return (count >= first && count <= last) || (path && strcmp(path, path_of(fd).text) == 0);
}

static void write_log(const char *call, int fd)
{
    const char *path = getenv("SYNCS_LOG");
    if (!path)
        return;
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dprintf(log, "%u %s %s\n", count, call, path_of(fd).text);
    close(log);
}

static void cut(int kept, int root)
{
    const char *cuts = getenv("SYNCS_CUTS");
    for (unsigned half = 0; cuts && half <= number_from("SYNCS_HALVES"); half++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%u.%u", cuts, count, half);
        check(mkdir(path, 0700), path);
        int out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        uint64_t seed = (uint64_t)count << 32 | half;
        check(out < 0 || strict_build(kept, root, out, half ? &seed : NULL), path);
        close(out);
    }
}

static void keep(int kept, int root, int fd, bool all)
{
    struct stat st;
    check(fstat(fd, &st), "fstat");
    check(all                   ? strict_keep_all(kept, root)
          : S_ISDIR(st.st_mode) ? strict_keep_dir(kept, fd)
                                : strict_keep_file(kept, fd),
          "keep");
}

static int sync_call(const char *name, long call, int fd)
{
    int result = 0;
    pthread_mutex_lock(&mutex);
    count++;
    write_log(name, fd);
    if (count == number_from("SYNCS_KILL"))
        kill(getpid(), SIGKILL);
    int kept = open_from("SYNCS_KEPT"), root = open_from("SYNCS_ROOT");
    if (kept >= 0)
        cut(kept, root);
    if (!is_left_out(fd)) {
        result = (int)syscall(call, fd);
        int saved = errno;
        if (result == 0 && kept >= 0)
            keep(kept, root, fd, call == SYS_syncfs);
        errno = saved;
    }
    if (kept >= 0)
        close(kept);
    if (root >= 0)
        close(root);
    pthread_mutex_unlock(&mutex);
    return result;
}

int fsync(int fd)
{
    return sync_call("fsync", SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_call("fdatasync", SYS_fdatasync, fd);
}

int syncfs(int fd)
{
    return sync_call("syncfs", SYS_syncfs, fd);
}
