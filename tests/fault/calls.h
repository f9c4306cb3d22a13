/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one table of system calls that the harness (fault.c) can stop at, by class.
 *
 *     change   what changes files, directories, names or what is on the disk; mounts too
 *     sync     those of `change` that only make durable
 *     fd       what makes a file descriptor
 *     read     what reads bytes, names or attributes
 *
 * Writes are counted wherever they go, pipes and terminals too: whether a descriptor is a file is not worth a look at
 * each call, and to stop before an output costs nothing. What is written through a shared mapping or io_uring is not seen;
 * nothing here uses either. */
#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <stddef.h>
#include <sys/syscall.h>

enum {
    CHANGE = 1 << 0,
    SYNC = 1 << 1,
    FD = 1 << 2,
    READ = 1 << 3,
};

/* What the call is about, for reports. */
typedef enum {
    NOTHING,
    BY_FD,   /* argument `subject` is a descriptor */
    BY_PATH, /* … or a path */
} About;

/* When it is a `change`. */
typedef enum {
    ALWAYS,
    FLAGS_1,   /* argument 1 has one of OPEN_CHANGES */
    FLAGS_2,   /* argument 2 has */
    HOW_2,     /* argument 2 points to a struct open_how that has */
    REQUEST_1, /* argument 1 is one of CHANGING_REQUESTS */
} When;

typedef struct {
    int number;
    const char *name;
    unsigned classes;
    About about;
    int subject;
    When when;
} Call;

/* An open that can change something. One for writing changes nothing yet. */
#define OPEN_CHANGES (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))

#define CHANGING_REQUESTS                                                                          \
    {                                                                                              \
        FICLONE, FICLONERANGE, FIDEDUPERANGE, FIFREEZE, FITHAW, FS_IOC_SETFLAGS,                   \
            FS_IOC_ENABLE_VERITY                                                                   \
    }

#define CALL(name, classes, ...)                                                                   \
    {                                                                                              \
        __NR_##name, #name, classes, __VA_ARGS__                                                   \
    }

static const Call calls[] = {
/* those that only old architectures have */
#ifdef __NR_open
    CALL(open, CHANGE | FD, BY_PATH, 0, FLAGS_1),
    CALL(creat, CHANGE | FD, BY_PATH, 0),
    CALL(rename, CHANGE, BY_PATH, 1),
    CALL(link, CHANGE, BY_PATH, 1),
    CALL(symlink, CHANGE, BY_PATH, 1),
    CALL(unlink, CHANGE, BY_PATH, 0),
    CALL(mkdir, CHANGE, BY_PATH, 0),
    CALL(rmdir, CHANGE, BY_PATH, 0),
    CALL(mknod, CHANGE, BY_PATH, 0),
    CALL(chmod, CHANGE, BY_PATH, 0),
    CALL(chown, CHANGE, BY_PATH, 0),
    CALL(lchown, CHANGE, BY_PATH, 0),
    CALL(utime, CHANGE, BY_PATH, 0),
    CALL(utimes, CHANGE, BY_PATH, 0),
    CALL(futimesat, CHANGE, BY_PATH, 1),
    CALL(readlink, READ, BY_PATH, 0),
    CALL(stat, READ, BY_PATH, 0),
    CALL(lstat, READ, BY_PATH, 0),
    CALL(access, READ, BY_PATH, 0),
    CALL(getdents, READ, BY_FD, 0),
    CALL(dup2, FD, BY_FD, 0),
    CALL(pipe, FD),
    CALL(epoll_create, FD),
    CALL(eventfd, FD),
    CALL(signalfd, FD),
    CALL(inotify_init, FD),
#endif
    /* names */
    CALL(openat, CHANGE | FD, BY_PATH, 1, FLAGS_2),
    CALL(openat2, CHANGE | FD, BY_PATH, 1, HOW_2),
    CALL(renameat, CHANGE, BY_PATH, 3),
    CALL(renameat2, CHANGE, BY_PATH, 3),
    CALL(linkat, CHANGE, BY_PATH, 3),
    CALL(symlinkat, CHANGE, BY_PATH, 2),
    CALL(unlinkat, CHANGE, BY_PATH, 1),
    CALL(mkdirat, CHANGE, BY_PATH, 1),
    CALL(mknodat, CHANGE, BY_PATH, 1),
    /* bytes */
    CALL(write, CHANGE, BY_FD, 0),
    CALL(pwrite64, CHANGE, BY_FD, 0),
    CALL(writev, CHANGE, BY_FD, 0),
    CALL(pwritev, CHANGE, BY_FD, 0),
    CALL(pwritev2, CHANGE, BY_FD, 0),
    CALL(truncate, CHANGE, BY_PATH, 0),
    CALL(ftruncate, CHANGE, BY_FD, 0),
    CALL(fallocate, CHANGE, BY_FD, 0),
    CALL(copy_file_range, CHANGE, BY_FD, 2),
    CALL(sendfile, CHANGE, BY_FD, 0),
    CALL(splice, CHANGE, BY_FD, 2),
    CALL(vmsplice, CHANGE, BY_FD, 0),
    CALL(tee, CHANGE, BY_FD, 1),
    CALL(ioctl, CHANGE, BY_FD, 0, REQUEST_1),
    /* attributes */
    CALL(fchmod, CHANGE, BY_FD, 0),
    CALL(fchmodat, CHANGE, BY_PATH, 1),
    CALL(fchown, CHANGE, BY_FD, 0),
    CALL(fchownat, CHANGE, BY_PATH, 1),
    CALL(utimensat, CHANGE, BY_PATH, 1),
    CALL(setxattr, CHANGE, BY_PATH, 0),
    CALL(lsetxattr, CHANGE, BY_PATH, 0),
    CALL(fsetxattr, CHANGE, BY_FD, 0),
    CALL(removexattr, CHANGE, BY_PATH, 0),
    CALL(lremovexattr, CHANGE, BY_PATH, 0),
    CALL(fremovexattr, CHANGE, BY_FD, 0),
    /* what is on the disk */
    CALL(fsync, CHANGE | SYNC, BY_FD, 0),
    CALL(fdatasync, CHANGE | SYNC, BY_FD, 0),
    CALL(syncfs, CHANGE | SYNC, BY_FD, 0),
    CALL(sync, CHANGE | SYNC),
    CALL(sync_file_range, CHANGE, BY_FD, 0), /* a hint: nothing is durable by it */
    /* mounts */
    CALL(mount, CHANGE, BY_PATH, 1),
    CALL(umount2, CHANGE, BY_PATH, 0),
    CALL(pivot_root, CHANGE, BY_PATH, 0),
    CALL(move_mount, CHANGE, BY_PATH, 3),
    CALL(mount_setattr, CHANGE, BY_PATH, 1),
    CALL(fsopen, FD, BY_PATH, 0),
    CALL(fsmount, CHANGE | FD, BY_FD, 0),
    CALL(open_tree, CHANGE | FD, BY_PATH, 1),
    /* reading */
    CALL(read, READ, BY_FD, 0),
    CALL(pread64, READ, BY_FD, 0),
    CALL(readv, READ, BY_FD, 0),
    CALL(preadv, READ, BY_FD, 0),
    CALL(preadv2, READ, BY_FD, 0),
    CALL(getdents64, READ, BY_FD, 0),
    CALL(readlinkat, READ, BY_PATH, 1),
    CALL(newfstatat, READ, BY_PATH, 1),
    CALL(fstat, READ, BY_FD, 0),
    CALL(statx, READ, BY_PATH, 1),
    CALL(faccessat, READ, BY_PATH, 1),
    CALL(faccessat2, READ, BY_PATH, 1),
    CALL(getxattr, READ, BY_PATH, 0),
    CALL(lgetxattr, READ, BY_PATH, 0),
    CALL(fgetxattr, READ, BY_FD, 0),
    CALL(listxattr, READ, BY_PATH, 0),
    CALL(llistxattr, READ, BY_PATH, 0),
    CALL(flistxattr, READ, BY_FD, 0),
    /* other descriptors */
    CALL(dup, FD, BY_FD, 0),
    CALL(dup3, FD, BY_FD, 0),
    CALL(pipe2, FD),
    CALL(socket, FD),
    CALL(socketpair, FD),
    CALL(accept, FD, BY_FD, 0),
    CALL(accept4, FD, BY_FD, 0),
    CALL(epoll_create1, FD),
    CALL(eventfd2, FD),
    CALL(signalfd4, FD),
    CALL(timerfd_create, FD),
    CALL(memfd_create, FD),
    CALL(inotify_init1, FD),
    CALL(pidfd_open, FD),
};

enum { N_CALLS = sizeof calls / sizeof *calls };
