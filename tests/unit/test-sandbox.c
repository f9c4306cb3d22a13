/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands over images of a real store. The image is the static probe (tests/unit/probe.c) and a
 * few files. Needs root. */
#include "sandbox/sandbox.h"

#include "base/cancel.h"
#include "base/file.h"
#include "base/spawn.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *dir;
    Store *store;
    Digest image;
    int writable_fd;
    SandboxOptions options;
    RuntimeCommand command;
    char **argv;
} Fixture;

static const char *const default_env[] = {"PATH=/bin", NULL};

static void assert_ok(const GError *error)
{
    if (error)
        g_error("%s", error->message);
}

/* ---- the image */

static void copy_probe(int dirfd)
{
    g_autofree char *data = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(g_getenv("ATOMIC_TEST_PROBE"), &data, &size, NULL));
    g_assert_true(file_replace_at(dirfd, "bin/probe", data, size, 0755, 0, NULL));
}

static void put(int dirfd, const char *name, const char *text)
{
    g_assert_true(file_replace_at(dirfd, name, text, strlen(text), 0644, 0, NULL));
}

static Tree *import(StoreTxn *txn, const char *path, GError **error)
{
    static const char *const directories[] = {"bin", "etc", "proc", "sys", "dev", "home", "tmp"};
    g_assert_cmpint(mkdir(path, 0755), ==, 0);
    _autofd int dirfd = file_open_dir_at(AT_FDCWD, path, error);
    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++)
        g_assert_cmpint(mkdirat(dirfd, directories[i], 0755), ==, 0);
    copy_probe(dirfd);
    put(dirfd, "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbad "
        "line\nwww:x:33:34:web:/var/www:/bin/false\n7:x:70:71::/seven:\n");
    put(dirfd, "etc/group", "root:x:0:\nwww:x:34:\nlogs:x:40:other,www\nops:x:50:www\n");
    g_assert_cmpint(fchownat(dirfd, "home", 33, 34, 0), ==, 0);
    g_assert_cmpint(mknodat(dirfd, "kmsg", S_IFCHR | 0666, makedev(1, 11)), ==, 0);
    g_assert_cmpint(chmod(path, 0755), ==, 0);
    return store_import_dir(txn, dirfd, 0, error);
}

static void set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("atomic-sandbox-XXXXXX", &error);
    g_autofree char *run = g_build_filename(f->dir, "run", NULL),
                    *store = g_build_filename(f->dir, "store", NULL);
    g_autofree char *tree_dir = g_build_filename(f->dir, "tree", NULL),
                    *layer = g_build_filename(f->dir, "layer", NULL);
    g_setenv("ATOMIC_RUN", run, TRUE);
    if (!store_init(store, &error) || !(f->store = store_open(store, &error)))
        assert_ok(error);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import(txn, tree_dir, &error);
    assert_ok(error);
    store_commit_image(txn, tree, &f->image, &error);
    assert_ok(error);
    g_assert_cmpint(mkdir(layer, 0700), ==, 0);
    f->writable_fd = file_open_dir_at(AT_FDCWD, layer, &error);
    sandbox_options_init(&f->options);
    f->options.store = f->store;
    f->options.image = &f->image;
    f->options.writable_fd = f->writable_fd;
    f->options.volatile_upper = true;
    runtime_command_init(&f->command);
    f->command.env = default_env;
}

static void tear_down(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    close(f->writable_fd);
    store_unref(f->store);
    g_strfreev(f->argv);
    file_remove_all_at(AT_FDCWD, f->dir, &error);
    assert_ok(error);
    g_free(f->dir);
}

/* Sets the command to the probe with these words. */
static void say(Fixture *f, const char *words)
{
    g_autofree char *line = g_strconcat("probe ", words, NULL);
    g_strfreev(f->argv);
    f->argv = g_strsplit(line, " ", -1);
    f->command.argv = (const char *const *)f->argv;
}

/* Runs it and reads what it says; the exit status must be 0. */
static char *run(Fixture *f, const char *words)
{
    g_autoptr(GError) error = NULL;
    int pipe_fds[2];
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    say(f, words);
    f->command.stdout_fd = f->command.stderr_fd = pipe_fds[1];
    int status = sandbox_run(&f->options, &f->command, &error);
    close(pipe_fds[1]);
    f->command.stdout_fd = f->command.stderr_fd = -1;
    assert_ok(error);
    g_assert_cmpint(status, ==, 0);
    char *text = file_read_fd(pipe_fds[0], 1 << 20, NULL, &error);
    close(pipe_fds[0]);
    assert_ok(error);
    return text;
}

static void expect(Fixture *f, const char *words, const char *expected)
{
    g_autofree char *text = run(f, words);
    g_assert_cmpstr(text, ==, expected);
}

static int run_status(Fixture *f, const char *words, GError **error)
{
    say(f, words);
    return sandbox_run(&f->options, &f->command, error);
}

/* ---- tests */

static void test_status(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(run_status(f, "exit 0", &error), ==, 0);
    g_assert_cmpint(run_status(f, "exit 7", &error), ==, 7);
    f->options.limits.memory = 32 << 20;
    g_assert_cmpint(run_status(f, "eat 100", &error), ==, 128 + SIGKILL);
    assert_ok(error);
    const char *missing[] = {"/bin/missing", NULL};
    f->command.argv = missing;
    g_assert_cmpint(sandbox_run(&f->options, &f->command, &error), ==, -1);
    g_assert_cmpstr(error->message, ==,
                    "exec: \"/bin/missing\": stat /bin/missing: no such file or directory");
}

/* The command sees a pipe and not the caller's file, into which all it says comes in order. */
static void test_carry(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    _autofd int file = memfd_create("output", MFD_CLOEXEC);
    f->options.carry_output = true;
    f->command.stdout_fd = f->command.stderr_fd = file;
    g_assert_cmpint(run_status(f, "stat /proc/self/fd/1 stat /proc/self/fd/2 exit 7", &error), ==,
                    7);
    assert_ok(error);
    g_assert_cmpint(lseek(file, 0, SEEK_SET), ==, 0);
    g_autofree char *text = file_read_fd(file, 1000, NULL, &error);
    /* the links' modes: open for writing only, which the file isn't */
    g_assert_cmpstr(text, ==, "120300 0:0\n120300 0:0\n");
}

static void test_layer(Fixture *f, gconstpointer data)
{
    f->options.hostname = "box";
    expect(f, "names stat /bin/probe stat /home stat / write /home/new x stat /home/new open /kmsg",
           "1 0:0 box /\n100755 0:0\n40755 33:34\n40755 0:0\nok\n100644 0:0\nEACCES\n");
    /* on disk the owners are those of the inside, so that another range can use the layer */
    struct stat st;
    g_assert_cmpint(fstatat(f->writable_fd, "upper/home/new", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 0);
    g_assert_cmpint(fstatat(f->writable_fd, "upper/home", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 33);
    f->command.uid = 33;
    f->command.gid = 34;
    expect(f, "cat /home/new write /home/new y write /home/mine z", "x\nEACCES\nok\n");
    g_assert_cmpint(fstatat(f->writable_fd, "upper/home/mine", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 33);
}

static void test_no_layer(Fixture *f, gconstpointer data)
{
    f->options.writable_fd = -1;
    f->options.no_files = true;
    expect(f, "write /tmp/x y write /dev/shm/x y cat /etc/group",
           "EROFS\nok\nroot:x:0:\nwww:x:34:\nlogs:x:40:other,www\nops:x:50:www\n");
}

static void test_files(Fixture *f, gconstpointer data)
{
    static const char *const extra[] = {"10.9.8.7 backend", NULL}, *const dns[] = {"192.0.2.1",
                                                                                   NULL};
    f->options.hostname = "boxy";
    f->options.address = "10.88.0.5";
    f->options.extra_hosts = extra;
    f->options.dns = dns;
    g_autofree char *text =
        run(f, "cat /etc/hosts cat /etc/hostname cat /etc/resolv.conf write /etc/hosts x");
    g_assert_true(g_str_has_prefix(text, "127.0.0.1\tlocalhost\n"));
    g_assert_nonnull(
        strstr(text, "\n10.88.0.5\tboxy\n10.9.8.7 backend\nboxy\nnameserver 192.0.2.1\nok\n"));
    f->options.dns = NULL;
    g_autofree char *host = NULL, *given = run(f, "cat /etc/resolv.conf");
    g_assert_null(strstr(given, "nameserver 127."));
    /* with the host's network all of its own */
    f->options.net = SANDBOX_NET_HOST;
    g_autofree char *same = run(f, "cat /etc/resolv.conf");
    if (g_file_get_contents("/etc/resolv.conf", &host, NULL, NULL) && *host)
        g_assert_cmpstr(g_strchomp(same), ==, g_strchomp(host));
    /* nothing is left in the run directory but the list of ids and the filters */
    g_autoptr(GDir) dir = g_dir_open(g_getenv("ATOMIC_RUN"), 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));)
        g_assert_true(g_str_equal(name, "ids") || g_str_equal(name, "seccomp"));
}

static void test_ranges(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->options.writable_fd = -1;
    f->options.no_files = true;
    g_autoptr(Sandbox) first = sandbox_prepare(&f->options, &error);
    assert_ok(error);
    g_autoptr(Sandbox) second = sandbox_prepare(&f->options, &error);
    assert_ok(error);
    g_assert_cmpuint(sandbox_id_base(first), !=, sandbox_id_base(second));
    g_assert_cmpuint(sandbox_id_base(first) % 65536, ==, 0);
    g_assert_cmpuint(sandbox_id_base(first), >, 1u << 30);
    g_assert_cmpstr(sandbox_name(first), !=, sandbox_name(second));
    RuntimeProcess process;
    say(f, "forever");
    g_assert_true(sandbox_start(second, &f->command, &process, &error));
    struct stat st;
    g_autofree char *path = g_strdup_printf("/proc/%d", (int)process.pid);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, sandbox_id_base(second));
    kill(process.pid, SIGTERM); /* PID 1 without a handler: nothing happens */
    kill(process.pid, SIGKILL);
    bool oom = true;
    g_assert_cmpint(sandbox_wait(second, &process, &oom, &error), ==, 128 + SIGKILL);
    assert_ok(error);
    g_assert_false(oom);
}

/* With the network of the host, as an exec enters namespaces of both owners then. */
static void test_exec(Fixture *f, gconstpointer data)
{
    f->options.net = data ? SANDBOX_NET_HOST : SANDBOX_NET_NONE;
    g_autoptr(GError) error = NULL;
    g_autofree char *name = g_strdup_printf("sandbox-test-%d", (int)getpid());
    f->options.name = name;
    g_autoptr(Sandbox) sandbox = sandbox_prepare(&f->options, &error);
    RuntimeProcess process, inner;
    say(f, "forever");
    g_assert_true(sandbox_start(sandbox, &f->command, &process, &error));
    say(f, "exit 5");
    g_assert_true(sandbox_exec(process.pid, name, &f->command, &inner, &error));
    g_assert_cmpint(spawn_wait(inner.pid, &error), ==, 5);
    runtime_process_clear(&inner);
    f->command.argv = default_env; /* "PATH=/bin" is no program */
    g_assert_false(sandbox_exec(process.pid, name, &f->command, &inner, &error));
    g_assert_cmpint(inner.failed_status, ==, 127);
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_clear_error(&error);
    kill(process.pid, SIGKILL);
    g_assert_cmpint(sandbox_wait(sandbox, &process, NULL, &error), ==, 128 + SIGKILL);
}

/* The directory of a sandbox without a name; NULL when there is none. */
static char *find_lease(void)
{
    g_autoptr(GDir) dir = g_dir_open(g_getenv("ATOMIC_RUN"), 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));)
        if (g_str_has_prefix(name, "sandbox-"))
            return g_strdup(name);
    return NULL;
}

/* Whoever runs a sandbox may be killed: what ran in it must not go on alone. */
static void test_caller_killed(Fixture *f, gconstpointer data)
{
    int pipe_fds[2];
    char byte;
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    pid_t caller = fork();
    if (caller == 0) {
        f->command.stdout_fd = pipe_fds[1];
        _exit(run_status(f, "names forever", NULL) == 0);
    }
    close(pipe_fds[1]);
    g_assert_cmpint(read(pipe_fds[0], &byte, 1), ==, 1); /* it runs */
    kill(caller, SIGKILL);
    waitpid(caller, NULL, 0);
    struct pollfd ended = {.fd = pipe_fds[0], .events = POLLIN};
    ssize_t n;
    do { /* until all writers have gone */
        g_assert_cmpint(poll(&ended, 1, 20000), ==, 1);
        n = read(pipe_fds[0], &byte, 1);
    } while (n > 0);
    g_assert_cmpint(n, ==, 0);
    close(pipe_fds[0]);
    /* its directory and its cgroup go with the next one */
    g_autofree char *left = find_lease();
    g_autofree char *cgroup = g_strconcat("/sys/fs/cgroup/unified/atomic/", left, NULL);
    g_assert_nonnull(left);
    g_assert_cmpint(run_status(f, "names", NULL), ==, 0);
    g_assert_null(find_lease());
    g_assert_cmpint(access(cgroup, F_OK), ==, -1);
}

static void test_interrupted(Fixture *f, gconstpointer data)
{
    pid_t caller = fork();
    if (caller == 0) {
        cancel_install();
        raise(SIGINT);
        g_autoptr(GError) error = NULL;
        int status = run_status(f, "forever", &error);
        _exit(status == -1 && error_is(error, ERROR_INTERRUPTED) ? 42 : 1);
    }
    g_assert_cmpint(spawn_wait(caller, NULL), ==, 42);
}

static void expect_user(int root_fd, const char *user, unsigned uid, unsigned gid, size_t n_groups,
                        const char *home)
{
    g_autoptr(GError) error = NULL;
    _cleanup(sandbox_user_clear) SandboxUser found = {0};
    sandbox_user_resolve(root_fd, user, &found, &error);
    assert_ok(error);
    g_assert_cmpuint(found.uid, ==, uid);
    g_assert_cmpuint(found.gid, ==, gid);
    g_assert_cmpuint(found.n_groups, ==, n_groups);
    g_assert_cmpstr(found.home, ==, home);
}

static void test_users(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->options.no_files = true;
    g_autoptr(Sandbox) sandbox = sandbox_prepare(&f->options, &error);
    assert_ok(error);
    int root = sandbox_root_fd(sandbox);
    expect_user(root, "", 0, 0, 0, "/root");
    expect_user(root, NULL, 0, 0, 0, "/root");
    expect_user(root, "www", 33, 34, 2, "/var/www");
    expect_user(root, "33", 33, 34, 2, "/var/www");
    expect_user(root, "www:root", 33, 0, 0, "/var/www");
    expect_user(root, "7", 70, 71, 0, "/seven"); /* a name first */
    expect_user(root, "1234", 1234, 0, 0, "/");
    expect_user(root, "1234:77", 1234, 77, 0, "/");
    SandboxUser user;
    g_assert_false(sandbox_user_resolve(root, "ghost", &user, &error));
    g_assert_cmpstr(error->message, ==,
                    "unable to find user ghost: no matching entries in passwd file");
    g_clear_error(&error);
    g_assert_false(sandbox_user_resolve(root, "www:ghosts", &user, &error));
    g_assert_cmpstr(error->message, ==,
                    "unable to find group ghosts: no matching entries in group file");
    g_clear_error(&error);
    g_assert_false(sandbox_user_resolve(root, "-1", &user, &error));
}

static void test_host_ids(Fixture *f, gconstpointer data)
{
    f->options.host_ids = true;
    f->options.hostname = "box";
    expect(f, "names stat /home cat /proc/self/uid_map write /home/new x unshare",
           "1 0:0 box /\n40755 33:34\n         0          0 4294967295\nok\nEPERM\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0)
        return g_test_run();
#define ADD(name, test) g_test_add("/sandbox/" name, Fixture, NULL, set_up, test, tear_down)
    ADD("status", test_status);
    ADD("carry", test_carry);
    ADD("layer", test_layer);
    ADD("no-layer", test_no_layer);
    ADD("files", test_files);
    ADD("ranges", test_ranges);
    ADD("exec", test_exec);
    g_test_add("/sandbox/exec-host-network", Fixture, "host", set_up, test_exec, tear_down);
    ADD("caller-killed", test_caller_killed);
    ADD("interrupted", test_interrupted);
    ADD("users", test_users);
    ADD("host-ids", test_host_ids);
    return g_test_run();
}
