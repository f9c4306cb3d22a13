/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a walk without recursion. In the current folder everything that can go goes; a
 * folder that isn't empty is entered, and the walk begins anew there. When nothing is left the walk
 * goes up by ".." and begins the parent again: what it had removed is gone, so the first thing it
 * meets is the folder that it just emptied. If that still can't be removed the walk ends, or it
 * would go on for ever. Nobody else changes the tree: the container is dead.
 */
#include "monitor/remove.h"

#include "base/sys/fd.h"
#include "network/network.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    bool folders_only; /* a cgroup: its files are part of it */
    bool came_back;    /* from below: the next folder is known to be empty */
} Walk;

typedef enum {
    PASS_EMPTY, /* nothing left to do here */
    PASS_GONE,  /* the entry was removed */
    PASS_ENTER, /* it is a folder with something in it */
    PASS_FAILED,
} Pass;

typedef struct {
    uint64_t ino;
    int64_t off;
    unsigned short length;
    unsigned char type;
    char name[];
} Entry; /* struct linux_dirent64 */

static Pass remove_entry(Walk *walk, int dir, const Entry *entry)
{
    bool folder = entry->type == DT_DIR;
    if (!folder && walk->folders_only)
        return PASS_EMPTY;
    if (!folder && unlinkat(dir, entry->name, 0) == 0)
        return PASS_GONE;
    /* a file system that doesn't tell types says so by EISDIR */
    if (!folder && errno != EISDIR)
        return errno == ENOENT ? PASS_GONE : PASS_FAILED;
    if (unlinkat(dir, entry->name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        walk->came_back = false;
        return PASS_GONE;
    }
    bool full = errno == ENOTEMPTY || errno == EEXIST || (walk->folders_only && errno == EBUSY);
    return full && !walk->came_back ? PASS_ENTER : PASS_FAILED;
}

/* Goes through a folder until one has to be entered, whose fd comes out. */
static Pass pass(Walk *walk, int dir, int *out_inner)
{
    char buffer[4096] __attribute__((aligned(8)));
    bool removed = false;
    for (;;) {
        long n = syscall(SYS_getdents64, dir, buffer, sizeof buffer);
        if (n == 0 && removed && lseek(dir, 0, SEEK_SET) == 0) {
            /* a listing may skip names while others are removed: look once more */
            removed = false;
            continue;
        }
        if (n <= 0)
            return n < 0 ? PASS_FAILED : PASS_EMPTY;
        for (long at = 0; at < n;) {
            const Entry *entry = (const void *)(buffer + at);
            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            Pass result = remove_entry(walk, dir, entry);
            removed |= result == PASS_GONE;
            if (result == PASS_GONE || result == PASS_EMPTY)
                continue;
            if (result == PASS_ENTER)
                *out_inner =
                    openat(dir, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            return result == PASS_ENTER && *out_inner < 0 ? PASS_FAILED : result;
        }
    }
}

static bool empty(const char *path, bool folders_only)
{
    Walk walk = {.folders_only = folders_only};
    _autofd int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT;
    for (unsigned long depth = 0;;) {
        int next = -1;
        Pass result = pass(&walk, dir, &next);
        if (result == PASS_FAILED)
            return false;
        if (result == PASS_EMPTY && depth == 0)
            return true;
        if (result == PASS_EMPTY) {
            next = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (next < 0)
                return false;
            depth--;
        } else {
            depth++;
        }
        walk.came_back = result == PASS_EMPTY;
        sys_fd_closep(&dir);
        dir = next;
    }
}

bool remove_tree(const char *path)
{
    /* a file or a link; a folder says EISDIR */
    if (unlink(path) == 0)
        return true;
    return empty(path, false) && (rmdir(path) == 0 || errno == ENOENT);
}

bool remove_cgroup(const char *path)
{
    for (int attempt = 0; attempt < 20; attempt++) {
        if (rmdir(path) == 0 || errno == ENOENT)
            return true;
        if (errno != EBUSY)
            return false;
        if (attempt > 0)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        empty(path, true);
    }
    return false;
}

void remove_network(const SpecArguments *arguments)
{
    const MonitorSpec *spec = &arguments->spec;
    for (const char *const *p = spec->ports; p && *p && spec->bridge; p++) {
        NetworkPort port;
        if (network_port_parse(*p, &port, NULL) == 0)
            /* the socket stays open: closing it takes long, and our end does it */
            network_unpublish_begin(spec->bridge, &port, 1, NULL);
    }
    for (const char *const *p = arguments->port_fd_texts; p && *p; p++)
        close(atoi(*p));
    if (spec->bridge && spec->run_dir)
        network_address_release(spec->run_dir, spec->bridge, spec->id, NULL);
}
