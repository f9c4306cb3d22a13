/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Seccomp filters, ready compiled.
 *
 * libseccomp needs 12 ms and 70 kB of library to turn the profile into BPF; loading the result
 * takes 0.1-0.3 ms. So compiling is done by a program of its own, `atomic-seccomp`, and not through
 * dlopen here: the start path then can't load it by mistake (the list of shared objects of each
 * program is tested), nothing of it stays in a long-lived process, and runtime stays linkable into
 * static programs.
 *
 * A compiled filter is a file in CACHE_DIR/seccomp, named by everything it depends on: the profile
 * (hash of its source), the libseccomp it was built with, the machine, the capabilities that matter
 * to it. Whoever could write there could open every container, so directory and files must be
 * root's and nobody else's to write.
 */
#include "runtime/internal.h"
#include "runtime/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

extern char **environ;

static int open_cache(const char *cache_dir, SysError *error)
{
    char path[512];
    if ((size_t)snprintf(path, sizeof path, "%s/seccomp", cache_dir) >= sizeof path)
        return sys_fail(error, ENAMETOOLONG, "the name '%s' is too long", cache_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return sys_fail_errno(error, "cannot make '%s'", path);
    _autofd int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (dirfd < 0 || fstat(dirfd, &st) < 0)
        return sys_fail_errno(error, "cannot open '%s'", path);
    if (st.st_uid != geteuid() || (st.st_mode & 022))
        return sys_fail(error, EPERM, "'%s' is writable by others: its filters can't be trusted",
                        path);
    return fd_steal(&dirfd);
}

static int read_filter(int dirfd, const char *name, RuntimeSeccomp *out, SysError *error)
{
    _autofd int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return sys_fail_errno(error, "cannot open the seccomp filter '%s'", name);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) || st.st_size <= 0 ||
        st.st_size % (off_t)sizeof(struct sock_filter) ||
        st.st_size / (off_t)sizeof(struct sock_filter) > BPF_MAXINSNS)
        return sys_fail(error, EINVAL, "the seccomp filter '%s' is damaged", name);
    void *data = malloc((size_t)st.st_size);
    if (!data || sys_read_all(fd, data, (size_t)st.st_size) != st.st_size) {
        free(data);
        return sys_fail(error, EIO, "cannot read the seccomp filter '%s'", name);
    }
    out->instructions = data;
    out->count = (size_t)st.st_size / sizeof(struct sock_filter);
    return 0;
}

/* Runs `atomic-seccomp CAPS FILE`, which puts the file there by rename. */
static int compile(const char *compiler, const char *cache_dir, const char *name, uint64_t caps,
                   SysError *error)
{
    char path[768], mask[24];
    snprintf(path, sizeof path, "%s/seccomp/%s", cache_dir, name);
    snprintf(mask, sizeof mask, "%llx", (unsigned long long)caps);
    char *argv[] = {(char *)compiler, mask, path, NULL};
    pid_t pid;
    int failed = posix_spawn(&pid, compiler, NULL, NULL, argv, environ), status;
    if (failed)
        return sys_fail(error, failed, "cannot run '%s': %s", compiler, strerror(failed));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return sys_fail_errno(error, "cannot wait for '%s'", compiler);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return sys_fail(error, EIO, "'%s' could not compile the seccomp filter", compiler);
    return 0;
}

int runtime_seccomp_load(const char *cache_dir, const char *compiler, uint64_t caps,
                         RuntimeSeccomp *out, SysError *error)
{
    uint64_t relevant = caps & SECCOMP_CAPS;
    struct utsname machine;
    uname(&machine);
    char name[256];
    snprintf(name, sizeof name, "default-%s-%s-%.32s-%llx.bpf", ATOMIC_SECCOMP_PROFILE,
             ATOMIC_SECCOMP_VERSION, machine.machine, (unsigned long long)relevant);
    _autofd int dirfd = open_cache(cache_dir, error);
    if (dirfd < 0)
        return -1;
    SysError missing = {0};
    if (read_filter(dirfd, name, out, &missing) == 0)
        return 0;
    if (compile(compiler, cache_dir, name, relevant, error) < 0)
        return -1;
    return read_filter(dirfd, name, out, error);
}

void runtime_seccomp_clear(RuntimeSeccomp *seccomp)
{
    free(seccomp->instructions);
    *seccomp = (RuntimeSeccomp){0};
}
