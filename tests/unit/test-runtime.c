/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers from the inside (by tests/unit/probe.c, which is the whole image) and from the
 * outside. Needs root. */
#include "runtime/runtime.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE    0x50000000u
#define CREATOR 0x4fff0001u

typedef struct {
    RuntimeSpec spec;
    RuntimeSeccomp seccomp;
    char *cache, *cgroup;
    int output; /* read end of the container's stdout and stderr, while it runs */
    RuntimeProcess process;
    SysError error;
} Fixture;

static const char *const default_env[] = {"PATH=/bin:/sbin", "COLOR=blue", NULL};

/* ---- an image: a tmpfs with the probe as /bin/probe, and some traps */

static void put_file(int root, const char *path, const char *from, mode_t mode)
{
    char *data = NULL;
    gsize size = 0;
    g_assert_true(g_file_get_contents(from, &data, &size, NULL));
    _autofd int fd = openat(root, path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    g_assert_cmpint(sys_write_all(fd, data, size), ==, 0);
    g_assert_cmpint(fchmod(fd, mode), ==, 0);
    g_free(data);
}

static int make_root(uint32_t owner)
{
    _autofd int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    g_assert_cmpint(fsconfig(fs, FSCONFIG_SET_STRING, "mode", "755", 0), ==, 0);
    g_assert_cmpint(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), ==, 0);
    int root = fsmount(fs, FSMOUNT_CLOEXEC, 0);
    g_assert_cmpint(root, >=, 0);
    static const char *const directories[] = {"bin", "tmp", "etc", "escape", "work"};
    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++)
        g_assert_cmpint(mkdirat(root, directories[i], 0755), ==, 0);
    put_file(root, "bin/probe", g_getenv("ATOMIC_TEST_PROBE"), 0755);
    put_file(root, "bin/data", "/etc/hostname", 0644);
    _autofd int script = openat(root, "bin/script", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    g_assert_cmpint(sys_write_all(script, "#!/nowhere/sh\n", 14), ==, 0);
    _autofd int self = openat(root, "bin/self", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    g_assert_cmpint(sys_write_all(self, "#!/proc/self/exe\n", 17), ==, 0);
    g_assert_cmpint(mknodat(root, "kmsg", S_IFCHR | 0666, makedev(1, 11)), ==, 0);
    g_assert_cmpint(symlinkat("../../../../etc", root, "outside"), ==, 0);
    static const char *const owned[] = {"", "bin", "tmp", "etc", "kmsg", "work"};
    for (size_t i = 0; i < G_N_ELEMENTS(owned); i++)
        g_assert_cmpint(fchownat(root, owned[i], owner, owner, AT_EMPTY_PATH), ==, 0);
    return root;
}

static void set_up(Fixture *f, gconstpointer data)
{
    runtime_spec_init(&f->spec);
    f->process = (RuntimeProcess)RUNTIME_PROCESS_NONE;
    f->output = -1;
    f->cgroup = g_strdup_printf("atomic/test-runtime-%d", (int)getpid());
    f->cache = g_dir_make_tmp("atomic-runtime-XXXXXX", NULL);
    bool own_ids = data == NULL;
    if (own_ids) {
        RuntimeIdMap map = {.base = BASE, .count = 65536, .creator = CREATOR};
        g_assert_cmpint(runtime_namespaces_create(&map, true, &f->spec.namespaces, &f->error), ==,
                        0);
        f->spec.id_base = BASE;
    }
    f->spec.hostname = "boxy";
    f->spec.cgroup = f->cgroup;
    f->spec.command.env = default_env;
    g_autofree char *compiler =
        g_build_filename(g_getenv("ATOMIC_LIBEXEC"), "atomic-seccomp", NULL);
    if (runtime_seccomp_load(f->cache, compiler, f->spec.command.caps, &f->seccomp, &f->error) < 0)
        g_error("%s", f->error.message);
    f->spec.command.seccomp = &f->seccomp;
}

static void tear_down(Fixture *f, gconstpointer data)
{
    runtime_process_clear(&f->process);
    runtime_namespaces_close(&f->spec.namespaces);
    runtime_seccomp_clear(&f->seccomp);
    sys_fd_closep(&f->spec.root_fd);
    sys_fd_closep(&f->output);
    char *remove = g_strdup_printf("rm -r '%s'", f->cache);
    g_assert_cmpint(system(remove), ==, 0);
    g_free(remove);
    g_free(f->cache);
    g_free(f->cgroup);
}

/* ---- running things */

/* Words of a probe, split at blanks; "probe" is put before them. Freed by the caller. */
static char **probe_argv(const char *words)
{
    char *line = g_strconcat("probe ", words, NULL);
    char **argv = g_strsplit(line, " ", -1);
    g_free(line);
    return argv;
}

static int start(Fixture *f, const char *const *argv)
{
    int pipe_fds[2];
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    f->spec.command.argv = argv;
    f->spec.command.stdout_fd = f->spec.command.stderr_fd = pipe_fds[1];
    sys_fd_closep(&f->spec.root_fd);
    f->spec.root_fd = make_root(f->spec.id_base); /* a start uses it up */
    int result = runtime_start(&f->spec, &f->process, &f->error);
    close(pipe_fds[1]);
    sys_fd_closep(&f->output);
    f->output = pipe_fds[0];
    return result;
}

static char *read_output(int fd)
{
    GString *text = g_string_new(NULL);
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR))
        g_string_append_len(text, buffer, MAX(n, 0));
    return g_string_free(text, FALSE);
}

static int reap(Fixture *f)
{
    int status;
    g_assert_cmpint(waitpid(f->process.pid, &status, 0), ==, f->process.pid);
    if (f->spec.cgroup && runtime_cgroup_remove(f->spec.cgroup, &f->error) < 0)
        g_error("%s", f->error.message);
    return status;
}

/* Runs the probe in a container; what it printed. */
static char *probe(Fixture *f, const char *words)
{
    g_auto(GStrv) argv = probe_argv(words);
    if (start(f, (const char *const *)argv) < 0)
        g_error("%s", f->error.message);
    char *text = read_output(f->output);
    reap(f);
    return text;
}

static void expect(Fixture *f, const char *words, const char *expected)
{
    g_autofree char *text = probe(f, words);
    g_assert_cmpstr(text, ==, expected);
}

static void expect_match(Fixture *f, const char *words, const char *pattern)
{
    g_autofree char *text = probe(f, words);
    if (!g_regex_match_simple(pattern, text, G_REGEX_DOTALL | G_REGEX_MULTILINE, 0))
        g_error("'%s' gave '%s', expected /%s/", words, text, pattern);
}

/* ---- tests: identity */

static void test_names(Fixture *f, gconstpointer data)
{
    expect(f, "names env COLOR env HOME", "1 0:0 boxy /\nblue\n-\n");
}

static void test_user(Fixture *f, gconstpointer data)
{
    uint32_t groups[] = {7, 9};
    f->spec.command.uid = 33;
    f->spec.command.gid = 34;
    f->spec.command.groups = groups;
    f->spec.command.n_groups = 2;
    f->spec.command.cwd = "/tmp/a/b";
    expect_match(f,
                 "names status Groups status CapEff status CapPrm status CapBnd openw /dev/stdout",
                 "^1 33:34 boxy /tmp/a/b\nGroups:\t7 9 "
                 "?\nCapEff:\t0+\nCapPrm:\t0+\nCapBnd:\t0+800405fb\nok\n$");
}

/* Limits such as inotify's are counted on the creator: not on the host's root, not on an id that the
 * container could have. */
static void test_creator(Fixture *f, gconstpointer data)
{
    uid_t owner = 0;
    g_assert_cmpint(ioctl(f->spec.namespaces.user, NS_GET_OWNER_UID, &owner), ==, 0);
    g_assert_cmpuint(owner, ==, CREATOR);
    /* and all that is given away with it belongs to it */
    struct stat user, of_net;
    _autofd int net_owner = ioctl(f->spec.namespaces.net, NS_GET_USERNS);
    g_assert_cmpint(fstat(f->spec.namespaces.user, &user) | fstat(net_owner, &of_net), ==, 0);
    g_assert_cmpuint(user.st_ino, ==, of_net.st_ino);
    expect_match(f, "names", "^1 ");
}

static char *outside_status(pid_t pid, const char *key)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid), *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    const char *line = strstr(text, key);
    g_assert_nonnull(line);
    return g_strndup(line, strcspn(line, "\n"));
}

static void test_not_root_outside(Fixture *f, gconstpointer data)
{
    g_auto(GStrv) argv = probe_argv("forever");
    g_assert_cmpint(start(f, (const char *const *)argv), ==, 0);
    g_autofree char *uid = outside_status(f->process.pid, "Uid:");
    g_autofree char *gid = outside_status(f->process.pid, "Gid:");
    g_assert_cmpstr(uid, ==, "Uid:\t1342177280\t1342177280\t1342177280\t1342177280");
    g_assert_cmpstr(gid, ==, "Gid:\t1342177280\t1342177280\t1342177280\t1342177280");
    g_assert_cmpint(runtime_pidfd_pid(f->process.pidfd), ==, f->process.pid);
    g_assert_cmpint(runtime_kill_all(f->cgroup, &f->error), ==, 0);
    g_assert_cmpint(reap(f), ==, SIGKILL);
    g_assert_cmpint(runtime_pidfd_pid(f->process.pidfd), ==, 0);
}

static void test_rights(Fixture *f, gconstpointer data)
{
    expect_match(
        f,
        "status CapInh status CapPrm status CapEff status CapBnd status CapAmb status Seccomp "
        "status NoNewPrivs status Uid",
        "^CapInh:\t0+\nCapPrm:\t0+800405fb\nCapEff:\t0+800405fb\nCapBnd:\t0+800405fb\nCapAmb:\t0+\n"
        "Seccomp:\t2\nNoNewPrivs:\t0\nUid:\t0\t0\t0\t0\n$");
    f->spec.command.no_new_privs = true;
    expect_match(f, "status NoNewPrivs status Seccomp", "^NoNewPrivs:\t1\nSeccomp:\t2\n$");
}

/* Fewer capabilities than a filter without no_new_privs would seem to need. */
static void test_no_caps(Fixture *f, gconstpointer data)
{
    f->spec.command.caps = 0;
    expect_match(f, "status CapEff status CapBnd status Seccomp",
                 "^CapEff:\t0+\nCapBnd:\t0+\nSeccomp:\t2\n$");
}

static void test_seccomp(Fixture *f, gconstpointer data)
{
    expect(f, "unshare mounttmp keyctl clone3 newest fchmodat2 alg mknod /tmp/null",
           "EPERM\nEPERM\nEPERM\nENOSYS\nENOSYS\nEBADF\nEPERM\nEPERM\n");
    expect(f, "wide", "EPERM\nEPERM\nok\n");
}

static void test_seccomp_cache(Fixture *f, gconstpointer data)
{
    RuntimeSeccomp again = {0};
    /* there already: the compiler isn't needed */
    g_assert_cmpint(
        runtime_seccomp_load(f->cache, "/nowhere", f->spec.command.caps, &again, &f->error), ==, 0);
    g_assert_cmpuint(again.count, ==, f->seccomp.count);
    runtime_seccomp_clear(&again);
    /* capabilities that the profile doesn't ask for make no other filter; SYS_ADMIN does */
    uint64_t more = f->spec.command.caps | runtime_cap_parse("NET_RAW");
    g_assert_cmpint(runtime_seccomp_load(f->cache, "/nowhere", more, &again, &f->error), ==, 0);
    runtime_seccomp_clear(&again);
    more |= runtime_cap_parse("cap_sys_admin");
    g_assert_cmpint(runtime_seccomp_load(f->cache, "/nowhere", more, &again, &f->error), ==, -1);
    g_autofree char *dir = g_build_filename(f->cache, "seccomp", NULL);
    g_assert_cmpint(chmod(dir, 0777), ==, 0);
    g_assert_cmpint(
        runtime_seccomp_load(f->cache, "/nowhere", f->spec.command.caps, &again, &f->error), ==,
        -1);
    g_assert_nonnull(strstr(f->error.message, "writable by others"));
}

/* ---- tests: the tree */

static void test_masks(Fixture *f, gconstpointer data)
{
    expect_match(f, "ls /proc/acpi cat /proc/keys ls /sys/firmware openw /proc/sys/kernel/panic",
                 "^\n\n\n(EACCES|EROFS)\n$");
    expect_match(f, "write /sys/x 1 stat /dev/pts stat /dev/shm stat /dev/mqueue",
                 "^E[A-Z]+\n40755 0:0\n41777 0:0\n41777 0:0\n$");
}

static void test_dev(Fixture *f, gconstpointer data)
{
    expect_match(f, "write /dev/null x open /dev/zero open /dev/random stat /dev/null ls /dev",
                 "^ok\nok\nok\n20666 0:0\n");
    g_autofree char *text = probe(f, "ls /dev");
    g_auto(GStrv) names = g_strsplit(g_strstrip(text), " ", -1);
    g_assert_cmpuint(g_strv_length(names), ==, 15);
}

static void test_device_node(Fixture *f, gconstpointer data)
{
    expect(f, "open /kmsg", "EACCES\n");
}

static void test_no_leaks(Fixture *f, gconstpointer data)
{
    int leaked = open("/", O_RDONLY | O_DIRECTORY); /* on purpose not close-on-exec */
    expect(f, "ls /proc/self/fd", "0 1 2 \n");
    g_autofree char *cwd = g_strdup_printf("/proc/self/fd/%d", leaked);
    f->spec.command.cwd = cwd;
    const char *argv[] = {"probe", "names", NULL};
    g_assert_cmpint(start(f, argv), ==, -1);
    g_assert_cmpint(f->process.failed_status, ==, 125);
    close(leaked);
}

static void test_binds(Fixture *f, gconstpointer data)
{
    g_autofree char *dir = g_dir_make_tmp("atomic-bind-XXXXXX", NULL);
    g_autofree char *sub = g_build_filename(dir, "sub", NULL),
                    *file = g_build_filename(dir, "file", NULL);
    g_assert_true(g_file_set_contents(file, "from outside\n", -1, NULL));
    g_assert_cmpint(mkdir(sub, 0777), ==, 0);
    g_assert_cmpint(mount("none", sub, "tmpfs", 0, "mode=777"), ==, 0);
    RuntimeBind binds[] = {
        {.path = dir,
         .fd = -1,
         .target = "/mnt/ro",
         .readonly = true,
         .idmap_fd = f->spec.namespaces.user},
        {.path = dir, .fd = -1, .target = "/mnt/rw", .idmap_fd = f->spec.namespaces.user},
        {.path = file, .fd = -1, .target = "/outside/passwd", .readonly = true, .idmap_fd = -1},
    };
    f->spec.binds = binds;
    f->spec.n_binds = G_N_ELEMENTS(binds);
    /* a read-only bind is so below, too; a mapped one has container root as the host's root; a
     * target behind a link that leads up and out of the image is inside */
    expect(f,
           "cat /mnt/ro/file write /mnt/ro/file x write /mnt/ro/sub/x x write /mnt/rw/file new "
           "stat /mnt/rw/file "
           "cat /etc/passwd",
           "from outside\nEROFS\nEROFS\nok\n100644 0:0\nnewm outside\n");
    g_assert_cmpint(umount(sub), ==, 0);
    g_assert_cmpint(unlink(file) | rmdir(sub) | rmdir(dir), ==, 0);
}

static void test_bind_missing(Fixture *f, gconstpointer data)
{
    RuntimeBind bind = {.path = "/nowhere/at/all", .fd = -1, .target = "/mnt", .idmap_fd = -1};
    f->spec.binds = &bind;
    f->spec.n_binds = 1;
    const char *argv[] = {"probe", NULL};
    g_assert_cmpint(start(f, argv), ==, -1);
    g_assert_cmpstr(f->error.message, ==,
                    "cannot bind '/nowhere/at/all' into the container: No such file or directory");
    bind = (RuntimeBind){.path = "/etc", .fd = -1, .target = "//", .idmap_fd = -1};
    g_assert_cmpint(start(f, argv), ==, -1);
    g_assert_cmpstr(f->error.message, ==, "cannot bind on '//': not an absolute path below '/'");
}

static void test_tmpfs_and_read_only(Fixture *f, gconstpointer data)
{
    RuntimeTmpfs tmpfs = {.target = "/scratch", .size = 1 << 20};
    f->spec.tmpfs = &tmpfs;
    f->spec.n_tmpfs = 1;
    f->spec.root_readonly = true;
    expect(f, "write /scratch/x x write /tmp/x x write /dev/shm/x x remount /",
           "ok\nEROFS\nok\nEPERM\n");
}

/* With CAP_SYS_ADMIN and without a filter the container may mount, but undo nothing that we
 * mounted. */
static void test_mounts_locked(Fixture *f, gconstpointer data)
{
    g_autofree char *dir = g_dir_make_tmp("atomic-bind-XXXXXX", NULL);
    RuntimeBind bind = {.path = dir, .fd = -1, .target = "/mnt", .readonly = true, .idmap_fd = -1};
    f->spec.binds = &bind;
    f->spec.n_binds = 1;
    f->spec.command.caps |= runtime_cap_parse("SYS_ADMIN");
    f->spec.command.seccomp = NULL;
    expect(f,
           "umount /proc/acpi umount /proc/sys umount /proc remount /proc/sys remount /mnt umount "
           "/mnt mounttmp "
           "umount /tmp mountproc",
           "EINVAL\nEINVAL\nEINVAL\nEPERM\nEPERM\nEINVAL\nok\nok\nEPERM\n");
    g_assert_cmpint(rmdir(dir), ==, 0);
}

/* ---- tests: failures of exec */

static void expect_failure(Fixture *f, const char *program, int status, const char *message)
{
    const char *argv[] = {program, NULL};
    f->error = (SysError){0};
    g_assert_cmpint(start(f, argv), ==, -1);
    g_assert_cmpstr(f->error.message, ==, message);
    g_assert_cmpint(f->process.failed_status, ==, status);
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1); /* nobody left behind */
}

static void test_exec_failures(Fixture *f, gconstpointer data)
{
    expect_failure(f, "nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH");
    expect_failure(f, "", 127, "exec: \"\": executable file not found in $PATH");
    expect_failure(f, "/no/such", 127,
                   "exec: \"/no/such\": stat /no/such: no such file or directory");
    expect_failure(f, "data", 126, "exec: \"data\": permission denied");
    expect_failure(f, "/bin", 126, "exec: \"/bin\": permission denied");
    expect_failure(
        f, "script", 127,
        "exec: \"script\": its interpreter or loader is missing: no such file or directory");
    f->spec.command.cwd = "/bin/data";
    expect_failure(f, "probe", 125,
                   "cannot change to the working directory '/bin/data': Not a directory");
}

/* CVE-2019-5736: the program of the container is the binary that starts containers. */
static void test_own_binary(Fixture *f, gconstpointer data)
{
    expect_failure(f, "/proc/self/exe", 126, "exec: \"/proc/self/exe\": Operation not permitted");
    expect_failure(f, "/bin/self", 126, "exec: \"/bin/self\": Operation not permitted");
}

static void test_bad_specs(Fixture *f, gconstpointer data)
{
    const char *none[] = {NULL}, *argv[] = {"probe", NULL};
    g_assert_cmpint(start(f, none), ==, -1);
    g_assert_cmpstr(f->error.message, ==, "no command given");
    f->spec.command.uid = 70000;
    g_assert_cmpint(start(f, argv), ==, -1);
    g_assert_nonnull(strstr(f->error.message, "cannot become user 70000"));
    f->spec.command.uid = 0;
    f->spec.cgroup = "atomic/../../x";
    g_assert_cmpint(start(f, argv), ==, -1);
    g_assert_cmpstr(f->error.message, ==, "bad name of a cgroup 'atomic/../../x'");
}

/* ---- tests: limits, signals, terminal, exec, network */

static void test_memory_limit(Fixture *f, gconstpointer data)
{
    f->spec.limits =
        (RuntimeLimits){.memory = 32 << 20, .pids = 20, .cpu_quota_us = 50000, .cpu_shares = 512};
    g_auto(GStrv) argv = probe_argv("eat 100");
    if (start(f, (const char *const *)argv) < 0)
        g_error("%s", f->error.message);
    int status;
    g_assert_cmpint(waitpid(f->process.pid, &status, 0), ==, f->process.pid);
    g_assert_cmpint(status, ==, SIGKILL);
    g_assert_true(runtime_cgroup_oom_killed(f->cgroup));
    g_assert_cmpint(runtime_cgroup_remove(f->cgroup, &f->error), ==, 0);
    g_assert_cmpint(runtime_cgroup_remove(f->cgroup, &f->error), ==, 0); /* absent is fine */
    g_assert_cmpint(runtime_kill_all(f->cgroup, &f->error), ==, 0);
}

static void test_rlimits(Fixture *f, gconstpointer data)
{
    RuntimeRlimit limit = {.resource = RLIMIT_NOFILE, .soft = 100, .hard = 200};
    int score = 500;
    f->spec.command.rlimits = &limit;
    f->spec.command.n_rlimits = 1;
    f->spec.command.oom_score_adj = &score;
    expect(f, "limit 7 cat /proc/self/oom_score_adj", "100 200\n500\n");
    score = -900; /* needs a right that we may not have: never an error */
    expect_match(f, "names", "^1 ");
}

static void test_terminal(Fixture *f, gconstpointer data)
{
    f->spec.command.terminal = true;
    f->spec.command.rows = 33;
    g_auto(GStrv) argv = probe_argv("tty stat /dev/console");
    if (start(f, (const char *const *)argv) < 0)
        g_error("%s", f->error.message);
    struct winsize size;
    g_assert_cmpint(ioctl(f->process.terminal_fd, TIOCGWINSZ, &size), ==, 0);
    g_assert_cmpint(size.ws_row, ==, 33);
    g_assert_cmpint(size.ws_col, ==, 80);
    g_autofree char *text = read_output(f->process.terminal_fd);
    g_assert_cmpstr(text, ==, "1 /dev/pts/0\r\n20620 0:5\r\n");
    g_assert_cmpint(reap(f), ==, 0);
}

static void test_exec(Fixture *f, gconstpointer data)
{
    g_auto(GStrv) argv = probe_argv("forever");
    if (start(f, (const char *const *)argv) < 0)
        g_error("%s", f->error.message);
    int pipe_fds[2];
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    RuntimeCommand command = f->spec.command;
    g_auto(GStrv) inner = probe_argv(
        "names status CapEff status Seccomp ls /proc/self/fd ls / cat /proc/self/cgroup");
    command.argv = (const char *const *)inner;
    command.stdout_fd = command.stderr_fd = pipe_fds[1];
    command.cwd = "/tmp";
    RuntimeProcess process;
    if (runtime_exec(f->process.pidfd, f->cgroup, &command, &process, &f->error) < 0)
        g_error("%s", f->error.message);
    close(pipe_fds[1]);
    g_autofree char *text = read_output(pipe_fds[0]);
    close(pipe_fds[0]);
    int status;
    g_assert_cmpint(waitpid(process.pid, &status, 0), ==, process.pid);
    g_assert_cmpint(status, ==, 0);
    runtime_process_clear(&process);
    if (!g_regex_match_simple(
            "^[0-9]+ 0:0 boxy /tmp\nCapEff:\t0+800405fb\nSeccomp:\t2\n0 1 2 \n[a-z ]*bin[^\n]*\n.*"
            "[0-9]+:memory:/\n",
            text, G_REGEX_DOTALL, 0))
        g_error("exec gave '%s'", text);
    const char *missing[] = {"nosuch", NULL};
    command.argv = missing;
    g_assert_cmpint(runtime_exec(f->process.pidfd, f->cgroup, &command, &process, &f->error), ==,
                    -1);
    g_assert_cmpint(process.failed_status, ==, 127);
    runtime_kill_all(f->cgroup, &f->error);
    g_assert_cmpint(reap(f), ==, SIGKILL);
    g_assert_cmpint(runtime_exec(f->process.pidfd, f->cgroup, &command, &process, &f->error), ==,
                    -1);
    g_assert_cmpstr(f->error.message, ==, "the container has ended");
}

static void test_exec_terminal(Fixture *f, gconstpointer data)
{
    g_auto(GStrv) argv = probe_argv("forever"), inner = probe_argv("tty stat /dev/pts/0");
    g_assert_cmpint(start(f, (const char *const *)argv), ==, 0);
    RuntimeCommand command = f->spec.command;
    command.argv = (const char *const *)inner;
    command.terminal = true;
    command.uid = 12;
    RuntimeProcess process;
    if (runtime_exec(f->process.pidfd, f->cgroup, &command, &process, &f->error) < 0)
        g_error("%s", f->error.message);
    g_autofree char *text = read_output(process.terminal_fd);
    g_assert_cmpstr(text, ==, "1 /dev/pts/0\r\n20620 12:5\r\n");
    g_assert_cmpint(waitpid(process.pid, NULL, 0), ==, process.pid);
    runtime_process_clear(&process);
    runtime_kill_all(f->cgroup, &f->error);
    reap(f);
}

static int attached_fd = -1;

static int attach(void *data, pid_t pid, int netns_fd, SysError *error)
{
    attached_fd = netns_fd;
    return *(int *)data ? sys_fail(error, EIO, "cable cut") : 0;
}

static int configure(void *data, SysError *error)
{
    return access("/etc/hostname", F_OK); /* still the host's files */
}

static void test_network_hooks(Fixture *f, gconstpointer data)
{
    int cut = 0;
    f->spec.attach_network = attach;
    f->spec.configure_network = configure;
    f->spec.network_data = &cut;
    expect_match(f, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start cat /proc/net/dev",
                 "^0\nInter.* lo:");
    g_assert_cmpint(attached_fd, >=, 0);
    cut = 1;
    expect_failure(f, "probe", 125, "cable cut");
}

static void test_stale_cgroup(Fixture *f, gconstpointer data)
{
    g_auto(GStrv) argv = probe_argv("forever");
    g_assert_cmpint(start(f, (const char *const *)argv), ==, 0);
    RuntimeProcess first = f->process;
    g_assert_cmpint(start(f, (const char *const *)argv), ==,
                    -1); /* in use: refused, and not harmed */
    g_assert_cmpint(kill(first.pid, 0), ==, 0);
    f->process = first;
    runtime_kill_all(f->cgroup, &f->error);
    g_assert_cmpint(reap(f), ==, SIGKILL);
}

/* Without a user namespace (marked by `data`). */
static void test_host_ids(Fixture *f, gconstpointer data)
{
    expect_match(f,
                 "names status Uid status Seccomp status CapBnd cat /proc/self/uid_map open /kmsg "
                 "write /proc/sys/kernel/panic 1",
                 "^1 0:0 boxy /\nUid:\t0\t0\t0\t0\nSeccomp:\t2\nCapBnd:\t0+800405fb\n +0 +0 "
                 "+4294967295\nEACCES\nEROFS\n$");
    test_own_binary(f, data);
}

/* Whoever may make device nodes, and has a mount that isn't nodev, still can't open what isn't ours. */
static void test_device_filter(Fixture *f, gconstpointer data)
{
    f->spec.command.caps |= runtime_cap_parse("MKNOD");
    f->spec.command.seccomp = NULL;
    expect(f,
           "mkkmsg /dev/kmsg open /dev/kmsg mknod /dev/mine open /dev/mine open /dev/tty open "
           "/dev/ptmx",
           "ok\nEPERM\nok\nok\nENXIO\nok\n");
}

static void test_caps_by_name(void)
{
    g_assert_cmpuint(runtime_cap_parse("CHOWN"), ==, 1);
    g_assert_cmpuint(runtime_cap_parse("cap_net_admin"), ==, 1 << 12);
    g_assert_cmpuint(runtime_cap_parse("nonsense"), ==, 0);
    g_assert_cmpstr(runtime_cap_name(21), ==, "CAP_SYS_ADMIN");
    g_assert_null(runtime_cap_name(63));
    g_assert_cmpuint(runtime_cap_parse("all") & RUNTIME_DEFAULT_CAPS, ==, RUNTIME_DEFAULT_CAPS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/runtime/caps-by-name", test_caps_by_name);
    if (geteuid() != 0)
        return g_test_run();
#define ADD(name, test) g_test_add("/runtime/" name, Fixture, NULL, set_up, test, tear_down)
    ADD("names", test_names);
    ADD("user", test_user);
    ADD("creator", test_creator);
    ADD("not-root-outside", test_not_root_outside);
    ADD("rights", test_rights);
    ADD("no-caps", test_no_caps);
    ADD("seccomp", test_seccomp);
    ADD("seccomp-cache", test_seccomp_cache);
    ADD("masks", test_masks);
    ADD("dev", test_dev);
    ADD("device-node", test_device_node);
    ADD("no-leaks", test_no_leaks);
    ADD("binds", test_binds);
    ADD("bind-missing", test_bind_missing);
    ADD("tmpfs-and-read-only", test_tmpfs_and_read_only);
    ADD("mounts-locked", test_mounts_locked);
    ADD("exec-failures", test_exec_failures);
    ADD("own-binary", test_own_binary);
    ADD("bad-specs", test_bad_specs);
    ADD("memory-limit", test_memory_limit);
    ADD("rlimits", test_rlimits);
    ADD("terminal", test_terminal);
    ADD("exec", test_exec);
    ADD("exec-terminal", test_exec_terminal);
    ADD("network-hooks", test_network_hooks);
    ADD("stale-cgroup", test_stale_cgroup);
    g_test_add("/runtime/host-ids", Fixture, "host", set_up, test_host_ids, tear_down);
    g_test_add("/runtime/device-filter", Fixture, "host", set_up, test_device_filter, tear_down);
    return g_test_run();
}
