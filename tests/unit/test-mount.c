/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

static void test_export(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    make_files(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import_files(f, txn, 0, &error);
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(file_ensure_dir_at(f->top_fd, "out", 0755, NULL));
    _autofd int out = file_open_dir_at(f->top_fd, "out", NULL);
    g_assert_true(store_export_dir(f->store, tree, out, NULL, &error));
    g_assert_no_error(error);
    g_autoptr(Tree) again = store_import_dir(txn, out, 0, &error);
    g_assert_no_error(error);
    g_autofree char *before = tree_format_dump(tree);
    g_autofree char *after = tree_format_dump(again);
    g_assert_cmpstr(before, ==, after);
    g_assert_false(store_export_dir(f->store, tree, out, NULL, &error));
    g_assert_cmpstr(error->message, ==, "the directory is not empty");
}

/* Whether this process may mount at all. */
static int try_mount(Fixture *f, const Digest *image, const StoreMountOptions *options)
{
    g_autoptr(GError) error = NULL;
    int fd = store_mount_image(f->store, image, options, &error);
    if (fd < 0 && (error_is(error, ERROR_PERMISSION) || error_is(error, ERROR_UNSUPPORTED)))
        g_test_skip(error->message);
    else
        g_assert_no_error(error);
    return fd;
}

static void test_mount(Fixture *f, const void *data _unused)
{
    Digest image = commit_files(f);
    _autofd int fd = try_mount(f, &image, NULL);
    if (fd < 0)
        return;
    size_t size;
    g_autofree char *prog = file_read_at(fd, "usr/bin/prog", 1 << 20, &size, NULL);
    g_autoptr(GBytes) expected = make_bytes(9, 20000);
    g_assert_cmpmem(prog, size, g_bytes_get_data(expected, NULL), 20000);
    g_autofree char *small = file_read_at(fd, "usr/small", 100, &size, NULL);
    g_assert_cmpstr(small, ==, "hello\n");
    g_assert_cmpint(openat(fd, "usr/new", O_WRONLY | O_CREAT, 0644), ==, -1);
    struct stat st;
    g_assert_cmpint(fstatat(fd, "aa", &st, 0), ==, -1); /* the object directories don't show */

    g_autoptr(GError) error = NULL;
    Digest object;
    hash_verity(prog, 20000, &object);
    g_assert_cmpint(store_mount_image(f->store, &object, NULL, &error), ==, -1);
    g_assert_true(error_is(error, ERROR_NOT_FOUND)); /* an object is no image */
}

static void test_mount_writable(Fixture *f, const void *data _unused)
{
    Digest image = commit_files(f);
    g_assert_true(file_ensure_dir_at(f->top_fd, "rw", 0700, NULL));
    for (int round = 0; round < 2;
         round++) { /* volatile twice: the mark of the first must not hinder */
        _autofd int rw = file_open_dir_at(f->top_fd, "rw", NULL);
        StoreMountOptions options = {.userns_fd = -1, .writable_fd = rw, .volatile_upper = true};
        _autofd int fd = try_mount(f, &image, &options);
        if (fd < 0)
            return;
        g_assert_true(file_replace_at(fd, "usr/small", "changed", 7, 0600, 0, NULL));
    }
    g_autofree char *upper = file_read_at(f->top_fd, "rw/upper/usr/small", 100, NULL, NULL);
    g_assert_cmpstr(upper, ==, "changed");
}

/* A user namespace whose root is the host's id 100000. */
static int make_userns(void)
{
    int ready[2];
    g_assert_cmpint(pipe2(ready, O_CLOEXEC), ==, 0);
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        char c;
        close(ready[1]);
        _exit(read(ready[0], &c, 1) != 0);
    }
    char path[64];
    int fd = -1;
    for (int i = 0; pid > 0 && i < 2; i++) {
        g_snprintf(path, sizeof path, "/proc/%d/%s", pid, i ? "gid_map" : "uid_map");
        if (sys_write_file_at(AT_FDCWD, path, "0 100000 65536") < 0)
            pid = -pid;
    }
    if (pid > 0) {
        g_snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    close(ready[0]);
    close(ready[1]);
    if (pid != -1)
        waitpid(abs(pid), NULL, 0);
    return fd;
}

static void test_mount_idmapped(Fixture *f, const void *data _unused)
{
    Digest image = commit_files(f);
    _autofd int userns = make_userns();
    if (userns < 0)
        return g_test_skip("cannot make a user namespace");
    g_assert_true(file_ensure_dir_at(f->top_fd, "rw", 0700, NULL));
    _autofd int rw = file_open_dir_at(f->top_fd, "rw", NULL);
    StoreMountOptions options = {
        .userns_fd = userns, .writable_fd = rw, .map_uid = 100000, .map_gid = 100000};
    _autofd int fd = try_mount(f, &image, &options);
    if (fd < 0)
        return;
    g_assert_cmpuint(geteuid(), ==, 0);
    struct stat st;
    g_assert_cmpint(fstatat(fd, "usr/small", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 100000);
    /* copied up, it belongs to the inside's root on disk */
    g_assert_cmpint(fchmodat(fd, "usr/small", 0640, 0), ==, 0);
    g_assert_cmpint(fstatat(rw, "upper/usr/small", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0640);
    /* and this process has its rights back: it may still read what belongs to others */
    g_assert_cmpint(mknodat(f->top_fd, "device", S_IFCHR, makedev(1, 3)), ==, 0);
    g_assert_cmpint(fstatat(f->top_fd, "device", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("export", test_export);
    TEST("mount", test_mount);
    TEST("mount-writable", test_mount_writable);
    TEST("mount-idmapped", test_mount_idmapped);
    return g_test_run();
}
