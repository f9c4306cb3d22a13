/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control groups: v1, v2 and the hybrid of both.
 *
 * A container has one directory of the same path in the v2 tree (for its lifecycle: cgroup.kill,
 * and for the limits where v2 has the controllers) and one in each v1 hierarchy that holds a
 * controller we use. What is mounted where is read from /proc/self/mountinfo once per process.
 *
 * Joining: v2 by CLONE_INTO_CGROUP. v1 by the child writing "0" to `tasks`: that moves only the
 * writing thread and takes no global lock, 40 us; writing a pid to `cgroup.procs` waits for an RCU
 * grace period, 10-20 ms.
 */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    CONTROLLER_MEMORY = 1 << 0,
    CONTROLLER_PIDS = 1 << 1,
    CONTROLLER_CPU = 1 << 2,
    CONTROLLER_CPUACCT = 1 << 3,
    CONTROLLER_DEVICES = 1 << 4,
    CONTROLLER_BLKIO = 1 << 5,
    CONTROLLER_FREEZER = 1 << 6,
};

/* cpuset isn't here: a v1 group must be given cpus and mems before anything may join it. */
static const struct {
    const char *name;
    unsigned bit;
} controllers[] = {
    {"memory", CONTROLLER_MEMORY},   {"pids", CONTROLLER_PIDS},       {"cpu", CONTROLLER_CPU},
    {"cpuacct", CONTROLLER_CPUACCT}, {"devices", CONTROLLER_DEVICES}, {"blkio", CONTROLLER_BLKIO},
    {"freezer", CONTROLLER_FREEZER},
};

typedef struct {
    int dirfd;
    bool v2;
    unsigned controllers;
} Hierarchy;

/* Filled in once; the fds stay open for the life of the process. */
static Hierarchy hierarchies[CGROUP_MAX];
static size_t n_hierarchies;
static pthread_once_t detected = PTHREAD_ONCE_INIT;

/* ---- what the host has */

/* Whether `name` is one of the words of a comma or blank separated list. */
static bool has_word(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *p = list; (p = strstr(p, name)); p += length) {
        bool starts = p == list || strchr(", \n", p[-1]);
        if (starts && (p[length] == '\0' || strchr(", \n", p[length])))
            return true;
    }
    return false;
}

static unsigned controllers_of(const char *list)
{
    unsigned found = 0;
    for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
        if (has_word(list, controllers[i].name))
            found |= controllers[i].bit;
    return found;
}

static void add_hierarchy(const char *mountpoint, bool v2, const char *super_options)
{
    if (n_hierarchies == CGROUP_MAX)
        return;
    _autofd int dirfd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return;
    char list[512] = "";
    if (v2 && sys_read_file_at(dirfd, "cgroup.controllers", list, sizeof list) < 0)
        list[0] = '\0';
    unsigned found = controllers_of(v2 ? list : super_options);
    for (size_t i = 0; i < n_hierarchies; i++)
        if (hierarchies[i].v2 == v2 && (v2 || hierarchies[i].controllers == found))
            return; /* mounted twice */
    if (!v2 && found == 0)
        return;
    hierarchies[n_hierarchies++] =
        (Hierarchy){.dirfd = fd_steal(&dirfd), .v2 = v2, .controllers = found};
}

/* "ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAGS] - TYPE SOURCE SUPEROPTIONS", proc(5) */
static void detect_line(char *line)
{
    char *rest = strstr(line, " - cgroup");
    if (!rest)
        return;
    char mountpoint[256], type[16], options[256];
    if (sscanf(line, "%*s %*s %*s %*s %255s", mountpoint) != 1 ||
        sscanf(rest, " - %15s %*s %255s", type, options) != 2)
        return;
    if (strcmp(type, "cgroup2") == 0 || strcmp(type, "cgroup") == 0)
        add_hierarchy(mountpoint, type[6] == '2', options);
}

static void detect(void)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file)
        return;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0)
        detect_line(line);
    free(line);
    fclose(file);
    bool have_v2 = false;
    for (size_t i = 0; i < n_hierarchies; i++)
        have_v2 |= hierarchies[i].v2;
    /* v2 freezes too, and better: one directory less to make per container */
    for (size_t i = 0; have_v2 && i < n_hierarchies;) {
        if (hierarchies[i].controllers == CONTROLLER_FREEZER && !hierarchies[i].v2) {
            close(hierarchies[i].dirfd);
            hierarchies[i] = hierarchies[--n_hierarchies];
        } else {
            i++;
        }
    }
}

static Hierarchy *find_controller(unsigned bit)
{
    for (size_t i = 0; i < n_hierarchies; i++)
        if (hierarchies[i].controllers & bit)
            return &hierarchies[i];
    return NULL;
}

static Hierarchy *find_v2(void)
{
    for (size_t i = 0; i < n_hierarchies; i++)
        if (hierarchies[i].v2)
            return &hierarchies[i];
    return NULL;
}

const char *runtime_cgroup_version(void)
{
    pthread_once(&detected, detect);
    const Hierarchy *v2 = find_v2();
    if (!v2)
        return "v1";
    return n_hierarchies > 1 ? "hybrid" : "v2";
}

/* ---- limits */

static int write_value(int dirfd, const char *file, const char *text, SysError *error)
{
    int failed = sys_write_file_at(dirfd, file, text);
    if (failed == -ENOENT)
        return sys_fail(error, EOPNOTSUPP, "cannot limit: this kernel has no '%s'", file);
    if (failed < 0)
        return sys_fail(error, -failed, "cannot write '%s' to '%s': %s", text, file,
                        strerror(-failed));
    return 0;
}

static _printf(4, 5) int write_number(int dirfd, const char *file, SysError *error,
                                      const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return write_value(dirfd, file, text, error);
}

static int limit_memory(const Hierarchy *hierarchy, int dirfd, const RuntimeLimits *limits,
                        SysError *error)
{
    const char *limit = hierarchy->v2 ? "memory.max" : "memory.limit_in_bytes";
    const char *swap = hierarchy->v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";
    if (limits->memory &&
        write_number(dirfd, limit, error, "%llu", (unsigned long long)limits->memory) < 0)
        return -1;
    if (!limits->memory_swap)
        return 0;
    if (limits->memory_swap == UINT64_MAX)
        return write_value(dirfd, swap, hierarchy->v2 ? "max" : "-1", error);
    if (limits->memory_swap < limits->memory)
        return sys_fail(error, EINVAL,
                        "the limit of memory and swap is below that of memory alone");
    uint64_t value = limits->memory_swap - (hierarchy->v2 ? limits->memory : 0);
    return write_number(dirfd, swap, error, "%llu", (unsigned long long)value);
}

/* runc's mapping of v1 shares (2…262144) to v2 weights: 10^((L^2 + 125 L) / 612 - 7/34), L =
 * log2(shares). Exact at the powers of two (the table), linear between them. */
static unsigned weight_of_shares(unsigned shares)
{
    static const unsigned at[] = {1,   1,   2,   3,   5,   8,    12,   21,   35,   59,
                                  100, 174, 303, 532, 942, 1681, 3023, 5478, 10000};
    if (shares < 2)
        return 1;
    if (shares >= 1u << 18)
        return 10000;
    unsigned log = 31 - (unsigned)__builtin_clz(shares);
    unsigned low = 1u << log;
    return at[log] + (unsigned)((uint64_t)(at[log + 1] - at[log]) * (shares - low) / low);
}

static int limit_cpu(const Hierarchy *hierarchy, int dirfd, const RuntimeLimits *limits,
                     SysError *error)
{
    unsigned period = limits->cpu_period_us ? limits->cpu_period_us : 100000;
    if (limits->cpu_shares) {
        bool v2 = hierarchy->v2;
        unsigned value = v2 ? weight_of_shares(limits->cpu_shares) : limits->cpu_shares;
        if (write_number(dirfd, v2 ? "cpu.weight" : "cpu.shares", error, "%u", value) < 0)
            return -1;
    }
    if (!limits->cpu_quota_us)
        return 0;
    if (hierarchy->v2)
        return write_number(dirfd, "cpu.max", error, "%u %u", limits->cpu_quota_us, period);
    if (write_number(dirfd, "cpu.cfs_period_us", error, "%u", period) < 0)
        return -1;
    return write_number(dirfd, "cpu.cfs_quota_us", error, "%u", limits->cpu_quota_us);
}

static int require_controller(bool wanted, unsigned bit, const char *what, SysError *error)
{
    if (!wanted || find_controller(bit))
        return 0;
    return sys_fail(error, EOPNOTSUPP,
                    "cannot limit %s: this host's cgroups have no such controller", what);
}

static int check_limits(const RuntimeLimits *limits, SysError *error)
{
    if (require_controller(limits->memory || limits->memory_swap, CONTROLLER_MEMORY, "memory",
                           error) < 0 ||
        require_controller(limits->pids, CONTROLLER_PIDS, "the number of processes", error) < 0)
        return -1;
    return require_controller(limits->cpu_quota_us || limits->cpu_shares, CONTROLLER_CPU,
                              "cpu time", error);
}

static int apply_limits(const Hierarchy *hierarchy, int dirfd, const RuntimeLimits *limits,
                        SysError *error)
{
    if ((hierarchy->controllers & CONTROLLER_MEMORY) &&
        limit_memory(hierarchy, dirfd, limits, error) < 0)
        return -1;
    if ((hierarchy->controllers & CONTROLLER_PIDS) && limits->pids &&
        write_number(dirfd, "pids.max", error, "%llu", (unsigned long long)limits->pids) < 0)
        return -1;
    if ((hierarchy->controllers & CONTROLLER_CPU) && limit_cpu(hierarchy, dirfd, limits, error) < 0)
        return -1;
    return 0;
}

/* ---- making, opening, removing */

/* So that the children of dirfd have the controllers of v2. What can't be switched on shows when a
 * limit is written. */
static void delegate(const Hierarchy *hierarchy, int dirfd)
{
    static const char *const wanted[] = {"+memory", "+pids", "+cpu", "+io"};
    if (!hierarchy->v2 || hierarchy->controllers == 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (sys_write_file_at(dirfd, "cgroup.subtree_control", wanted[i]) < 0)
            continue;
}

/* The group's directory; parents are made, the last component must be new. */
static int make_dir(const Hierarchy *hierarchy, const char *path, SysError *error)
{
    _autofd int current = fcntl(hierarchy->dirfd, F_DUPFD_CLOEXEC, 3);
    if (current < 0)
        return sys_fail_errno(error, "cannot copy an fd");
    for (const char *name = path; *name;) {
        const char *end = strchrnul(name, '/');
        char component[256];
        if (end == name || (size_t)(end - name) >= sizeof component || *name == '.')
            return sys_fail(error, EINVAL, "bad name of a cgroup '%s'", path);
        memcpy(component, name, (size_t)(end - name));
        component[end - name] = '\0';
        int made = mkdirat(current, component, 0755);
        if (made < 0 && errno == EEXIST && *end == '\0') {
            /* left behind by a monitor that was killed; with processes in it rmdir says EBUSY */
            unlinkat(current, component, AT_REMOVEDIR);
            made = mkdirat(current, component, 0755);
        }
        if (made < 0 && (errno != EEXIST || *end == '\0'))
            return sys_fail_errno(error, "cannot make the cgroup '%s'", path);
        int next = openat(current, component, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (next < 0)
            return sys_fail_errno(error, "cannot open the cgroup '%s'", path);
        if (*end)
            delegate(hierarchy, next);
        close(current);
        current = next;
        name = *end ? end + 1 : end;
    }
    return fd_steal(&current);
}

/* Adds one hierarchy's directory (taken over) to the fds. */
static int add_fds(const Hierarchy *hierarchy, int dirfd, CgroupFds *fds, SysError *error)
{
    if (hierarchy->v2) {
        fds->v2 = dirfd;
        return 0;
    }
    int tasks = openat(dirfd, "tasks", O_WRONLY | O_CLOEXEC);
    if (tasks < 0)
        sys_fail_errno(error, "cannot open the cgroup's 'tasks'");
    else
        fds->tasks[fds->n_tasks++] = tasks;
    close(dirfd);
    return tasks < 0 ? -1 : 0;
}

static void sleep_ms(long ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000};
    nanosleep(&time, NULL);
}

static int remove_dirs(const char *cgroup, int patience_ms, SysError *error)
{
    for (size_t i = 0; i < n_hierarchies; i++) {
        int waited = 0;
        while (unlinkat(hierarchies[i].dirfd, cgroup, AT_REMOVEDIR) < 0 && errno != ENOENT) {
            /* a process that is a zombie or still exiting keeps it busy for a moment */
            if (errno != EBUSY || waited >= patience_ms)
                return sys_fail_errno(error, "cannot remove the cgroup '%s'", cgroup);
            int step = waited < 20 ? 1 : 20;
            sleep_ms(step);
            waited += step;
        }
    }
    return 0;
}

/* v1 where its controller is, else on the v2 directory. */
static int filter_devices(const Hierarchy *hierarchy, int dirfd, SysError *error)
{
    if (!find_controller(CONTROLLER_DEVICES))
        return hierarchy->v2 ? devices_filter_v2(dirfd, error) : 0;
    return hierarchy->controllers & CONTROLLER_DEVICES ? devices_filter_v1(dirfd, error) : 0;
}

/* One hierarchy's directory, set up. */
static int create_dir(const Hierarchy *hierarchy, const char *path, const RuntimeLimits *limits,
                      bool devices, CgroupFds *fds, SysError *error)
{
    delegate(hierarchy, hierarchy->dirfd);
    _autofd int dirfd = make_dir(hierarchy, path, error);
    if (dirfd < 0 || apply_limits(hierarchy, dirfd, limits, error) < 0 ||
        (devices && filter_devices(hierarchy, dirfd, error) < 0))
        return -1;
    return add_fds(hierarchy, fd_steal(&dirfd), fds, error);
}

int cgroup_create(const char *path, const RuntimeLimits *limits, bool devices, CgroupFds *out,
                  SysError *error)
{
    *out = (CgroupFds)CGROUP_FDS_NONE;
    pthread_once(&detected, detect);
    /* without any cgroup filesystem (inside some builders) there is a container all the same: its
     * processes end with its init */
    if (check_limits(limits, error) < 0)
        return -1;
    for (size_t i = 0; i < n_hierarchies; i++) {
        if (create_dir(&hierarchies[i], path, limits, devices, out, error) == 0)
            continue;
        cgroup_close(out);
        remove_dirs(path, 0, NULL); /* one with a process in it is somebody else's and stays */
        return -1;
    }
    return 0;
}

int cgroup_open(const char *path, CgroupFds *out, SysError *error)
{
    *out = (CgroupFds)CGROUP_FDS_NONE;
    pthread_once(&detected, detect);
    for (size_t i = 0; i < n_hierarchies; i++) {
        int dirfd =
            openat(hierarchies[i].dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (dirfd < 0) {
            sys_fail_errno(error, "cannot open the cgroup '%s'", path);
            cgroup_close(out);
            return -1;
        }
        if (add_fds(&hierarchies[i], dirfd, out, error) < 0) {
            cgroup_close(out);
            return -1;
        }
    }
    return 0;
}

void cgroup_close(CgroupFds *fds)
{
    sys_fd_closep(&fds->v2);
    for (size_t i = 0; i < fds->n_tasks; i++)
        close(fds->tasks[i]);
    fds->n_tasks = 0;
}

int cgroup_attach_self(const CgroupFds *fds, SysError *error)
{
    for (size_t i = 0; i < fds->n_tasks; i++)
        if (write(fds->tasks[i], "0", 1) != 1)
            return sys_fail_errno(error, "cannot join the cgroup");
    return 0;
}

/* ---- the end */

/* SIGKILL to each process listed in cgroup.procs. How many, or -errno. */
static int kill_listed(int dirfd)
{
    _autofd int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    FILE *file = fdopen(fd, "re");
    if (!file)
        return -errno;
    fd = -1;
    int found = 0, pid;
    while (fscanf(file, "%d", &pid) == 1) {
        kill(pid, SIGKILL);
        found++;
    }
    fclose(file);
    return found;
}

int runtime_kill_all(const char *cgroup, SysError *error)
{
    pthread_once(&detected, detect);
    const Hierarchy *v2 = find_v2();
    if (v2) {
        _autofd int dirfd = openat(v2->dirfd, cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0 && errno == ENOENT)
            return 0;
        if (dirfd >= 0 && sys_write_file_at(dirfd, "cgroup.kill", "1") == 0)
            return 0;
    }
    /* no cgroup.kill (before 5.14): new processes may appear between reading and killing, so until
     * none is left */
    for (size_t i = 0; i < n_hierarchies; i++) {
        _autofd int dirfd =
            openat(hierarchies[i].dirfd, cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int round = 0; dirfd >= 0 && round < 500; round++) {
            int found = kill_listed(dirfd);
            if (found <= 0)
                break;
            if (round == 499)
                return sys_fail(error, EBUSY, "cannot kill everything in the cgroup '%s'", cgroup);
            sleep_ms(2);
        }
    }
    return 0;
}

int runtime_cgroup_remove(const char *cgroup, SysError *error)
{
    pthread_once(&detected, detect);
    return remove_dirs(cgroup, 1000, error);
}

bool runtime_cgroup_oom_killed(const char *cgroup)
{
    pthread_once(&detected, detect);
    const Hierarchy *memory = find_controller(CONTROLLER_MEMORY);
    if (!memory)
        return false;
    char path[512], text[1024];
    snprintf(path, sizeof path, "%s/%s", cgroup,
             memory->v2 ? "memory.events" : "memory.oom_control");
    if (sys_read_file_at(memory->dirfd, path, text, sizeof text) < 0)
        return false;
    const char *line = strstr(text, "oom_kill ");
    return line && strtoul(line + strlen("oom_kill "), NULL, 10) > 0;
}

/* The fd's path, and below it. */
static char *path_below(int dirfd, const char *cgroup, const char *file)
{
    char link[64], base[4096], *path;
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    ssize_t n = readlink(link, base, sizeof base);
    if (n <= 0 || (size_t)n == sizeof base)
        return NULL;
    return asprintf(&path, "%.*s/%s%s", (int)n, base, cgroup, file) < 0 ? NULL : path;
}

char **runtime_cgroup_paths(const char *cgroup, char **out_oom_file)
{
    pthread_once(&detected, detect);
    char **paths = calloc(n_hierarchies + 1, sizeof *paths);
    size_t n = 0;
    for (size_t i = 0; paths && i < n_hierarchies; i++) {
        paths[n] = path_below(hierarchies[i].dirfd, cgroup, "");
        if (paths[n])
            n++;
    }
    const Hierarchy *memory = find_controller(CONTROLLER_MEMORY);
    *out_oom_file = !memory ? NULL
                            : path_below(memory->dirfd, cgroup,
                                         memory->v2 ? "/memory.events" : "/memory.oom_control");
    return paths;
}
