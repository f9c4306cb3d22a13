/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reserve: its states and its lock. What a full disk does to it, and an upgrade, is in tests/cli/reserve.bats. */
#include "store-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MB = 1 << 20 };

static StoreReserveState state_of(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    StoreReserveState state;
    g_assert_true(store_reserve_read(f->store, &state, &error));
    g_assert_no_error(error);
    return state;
}

static bool set(Fixture *f, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    bool done = store_reserve_set(f->store, size, &error);
    if (error_is(error, ERROR_UNSUPPORTED))
        g_test_skip("nothing can be allocated ahead here");
    else
        g_assert_no_error(error);
    return done;
}

static int open_file(Fixture *f)
{
    return openat(store_dirfd(f->store), "reserve", O_RDWR | O_CLOEXEC);
}

static void punch(Fixture *f, off_t at, off_t size)
{
    _autofd int fd = open_file(f);
    g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size), ==, 0);
}

static void test_sizes(Fixture *f, const void *data _unused)
{
    g_assert_cmpuint(state_of(f).size, ==, 0);
    const uint64_t sizes[] = {4 * MB, 9 * MB, 3 * MB};
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        if (!set(f, sizes[i]))
            return;
        StoreReserveState state = state_of(f);
        g_assert_cmpuint(state.size, ==, sizes[i]);
        g_assert_cmpuint(state.held, ==, sizes[i]);
    }
    g_assert_true(set(f, 0));
    g_assert_true(set(f, 0));
    g_assert_cmpuint(state_of(f).size, ==, 0);
    g_assert_cmpint(open_file(f), ==, -1);
}

static void test_too_large(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    struct statvfs fs;
    g_assert_cmpint(fstatvfs(store_dirfd(f->store), &fs), ==, 0);
    uint64_t disk = (uint64_t)fs.f_blocks * fs.f_frsize;
    g_assert_false(store_reserve_set(f->store, disk, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_NO_SPACE);
    g_assert_nonnull(strstr(error->message, " MB are free"));
    g_clear_error(&error);
    g_assert_cmpint(open_file(f), ==, -1); /* nothing is left of it */
    if (!set(f, 2 * MB))
        return;
    g_assert_false(store_reserve_set(f->store, disk, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_NO_SPACE);
    g_assert_cmpuint(state_of(f).size, ==, 2 * MB);
    g_assert_cmpuint(state_of(f).held, ==, 2 * MB);
}

/* A kill in the middle of anything leaves some blocks and the size. */
static void test_fill(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(store_reserve_fill(f->store, &error)); /* there is none: fine */
    if (!set(f, 8 * MB))
        return;
    punch(f, 2 * MB, 3 * MB);
    g_assert_cmpuint(state_of(f).held, <, 6 * MB);
    g_assert_cmpuint(state_of(f).size, ==, 8 * MB);
    for (int i = 0; i < 4; i++) /* a hole in front of what is held makes a step or two of it */
        g_assert_true(store_reserve_fill(f->store, &error));
    g_assert_cmpuint(state_of(f).held, ==, 8 * MB);
}

/* With room enough an upgrade leaves it alone; who has it is not disturbed. */
static void test_take(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreReserve) none = store_reserve_take(f->store, &error);
    g_assert_no_error(error);
    g_assert_nonnull(none);
    if (!set(f, 4 * MB))
        return;
    StoreReserve *taken = store_reserve_take(f->store, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(state_of(f).held, ==, 4 * MB);
    punch(f, 0, 4 * MB);
    g_assert_true(store_reserve_fill(f->store, &error));
    g_assert_cmpuint(state_of(f).held, ==, 0);
    store_reserve_return(taken);
    g_assert_cmpuint(state_of(f).held, ==, 4 * MB);
}

static void test_default(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    struct statvfs fs;
    uint64_t size;
    g_assert_cmpint(fstatvfs(store_dirfd(f->store), &fs), ==, 0);
    g_assert_true(store_reserve_default(f->store, &size, &error));
    g_assert_cmpuint(size, <=, (uint64_t)16 << 30);
    g_assert_cmpuint(size, <=, (uint64_t)fs.f_bavail * fs.f_frsize / 7);
}

/* The collector and fsck know it. */
static void test_not_garbage(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) problems = g_string_new("");
    StoreGcResult collected;
    StoreFsckResult checked;
    if (!set(f, 1 * MB))
        return;
    g_assert_true(store_gc(f->store, NULL, &collected, &error));
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_cmpstr(problems->str, ==, "");
    g_assert_cmpuint(state_of(f).held, ==, 1 * MB);
}

#undef TEST
#define TEST(name, f) g_test_add("/reserve/" name, Fixture, NULL, set_up, f, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("sizes", test_sizes);
    TEST("too-large", test_too_large);
    TEST("fill", test_fill);
    TEST("take", test_take);
    TEST("default", test_default);
    TEST("not-garbage", test_not_garbage);
    return g_test_run();
}
