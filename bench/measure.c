/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a command and prints what it took, in one line:
 *
 *     measure [--sync DIR] [--hide MOUNT] COMMAND [ARG...]
 *     WALL USER SYSTEM RSS READ WRITTEN      microseconds; KiB of the largest process; bytes
 *
 * READ is what system calls brought in, from the page cache too; WRITTEN what was made dirty for a disk.
 * Small and linked to libc alone: a process begins with the peak RSS of the one that started it. The clock
 * stops when the command has ended and, with --sync, its filesystem is on the disk; what the command left behind
 * (a container's monitor) is waited for afterwards, so that its work counts as CPU time and disturbs nobody's
 * next run. --hide takes a mount away for the command, before the clock starts. Output of the command: stderr. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
    exit(2);
}

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static long long microseconds(struct timeval t)
{
    return t.tv_sec * 1000000LL + t.tv_usec;
}

/* What this process and all children it has waited for read and wrote (proc(5), /proc/PID/io). */
static void io_counters(long long *out_read, long long *out_written)
{
    char line[64];
    FILE *file = fopen("/proc/self/io", "re");
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "rchar: %lld", out_read);
        sscanf(line, "write_bytes: %lld", out_written);
    }
    if (file)
        fclose(file);
}

static void hide(const char *mount)
{
    if (unshare(CLONE_NEWNS) < 0)
        die("cannot make a mount namespace");
    if (umount2(mount, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        die(mount);
}

static pid_t start(char **argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    pid_t pid;
    errno = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    if (errno != 0)
        die(argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

int main(int argc, char **argv)
{
    int sync_fd = -1, i = 1;
    for (; i + 2 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--sync") == 0) {
            sync_fd = open(argv[i + 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (sync_fd < 0)
                die(argv[i + 1]);
        } else if (strcmp(argv[i], "--hide") == 0) {
            hide(argv[i + 1]);
        }
    }
    if (i >= argc) {
        fprintf(stderr, "usage: measure [--sync DIR] [--hide MOUNT] COMMAND [ARG...]\n");
        return 2;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    long long begun = now();
    pid_t pid = start(argv + i);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (sync_fd >= 0 && syncfs(sync_fd) < 0)
        die("cannot sync");
    long long wall = now() - begun;
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "measure: '%s' failed, wait status %#x\n", argv[i], status);
        return 1;
    }
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    long long bytes_read = 0, bytes_written = 0;
    io_counters(&bytes_read, &bytes_written);
    printf("%lld %lld %lld %ld %lld %lld\n", wall, microseconds(usage.ru_utime),
           microseconds(usage.ru_stime), usage.ru_maxrss, bytes_read, bytes_written);
    return 0;
}
