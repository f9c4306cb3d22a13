/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/layout.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char meta_json[] = "{\n"
                                "  \"version\": 1,\n"
                                "  \"algorithm\": \"fsverity-sha256-12\",\n"
                                "  \"features\": {\n"
                                "    \"compatible\": [],\n"
                                "    \"read-only-compatible\": [\n"
                                "      \"v1_erofs\"\n"
                                "    ],\n"
                                "    \"incompatible\": []\n"
                                "  },\n"
                                "  \"erofs_formats\": {\n"
                                "    \"default\": 1\n"
                                "  }\n"
                                "}\n";

char *store_default_path(const char *option)
{
    const char *env = g_getenv("ATOMIC_STORE");
    if (option && *option)
        return g_strdup(option);
    if (env && *env)
        return g_strdup(env);
    static const char *const deployed = "/sysroot/atomic/store";
    return g_strdup(access(deployed, F_OK) == 0 ? deployed : "/var/lib/atomic/store");
}

/* --- meta.json ------------------------------------------------------------------------------------------ */

static bool check_features(const json_t *root, const char *path, GError **error)
{
    json_t *features = json_object_get(root, "features"), *flag;
    size_t i;
    json_array_foreach(json_object_get(features, "incompatible"), i, flag) return error_throw(
        error, ERROR_UNSUPPORTED, "cannot open store '%s': it needs the feature '%s'", path,
        json_is_string(flag) ? json_string_value(flag) : "?");
    return true;
}

static bool check_meta(const char *text, size_t size, const char *path, GError **error)
{
    json_error_t failed;
    json_t *root = json_loadb(text, size, 0, &failed);
    if (!root)
        return error_throw(error, ERROR_CORRUPT, "cannot read '%s/meta.json': %s", path,
                           failed.text);
    json_t *version = json_object_get(root, "version"),
           *algorithm = json_object_get(root, "algorithm");
    bool good;
    if (!json_is_integer(version) || !json_is_string(algorithm))
        good =
            error_throw(error, ERROR_CORRUPT, "'%s/meta.json' has no version or algorithm", path);
    else if (json_integer_value(version) != 1)
        good = error_throw(error, ERROR_UNSUPPORTED, "cannot open store '%s': unknown version %d",
                           path, (int)json_integer_value(version));
    else if (strcmp(json_string_value(algorithm), "fsverity-sha256-12") != 0)
        good = error_throw(error, ERROR_UNSUPPORTED, "cannot open store '%s': algorithm '%s'", path,
                           json_string_value(algorithm));
    else
        good = check_features(root, path, error);
    json_decref(root);
    return good;
}

static bool read_meta(int dirfd, const char *path, GError **error)
{
    g_autoptr(GError) failed = NULL;
    size_t size;
    g_autofree char *text = file_read_at(dirfd, STORE_META, 1 << 16, &size, &failed);
    if (text)
        return check_meta(text, size, path, error);
    if (error_is(failed, ERROR_NOT_FOUND))
        return error_throw(
            error, ERROR_NOT_FOUND,
            "there is no store in '%s'\nhint: make one with 'atomic store init --store %s'", path,
            path);
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

#define HINT_OWN_STORE "hint: --store DIR names one of your own, which needs no root"

/* --- open and init -------------------------------------------------------------------------------------- */

static int open_dir(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ENOTDIR)
        return error_throw_fd(error, ERROR_NOT_FOUND,
                              "there is no store in '%s'\nhint: make one with 'atomic store init "
                              "--store %s'",
                              path, path);
    if (errno == EACCES)
        return error_throw_fd(error, ERROR_PERMISSION,
                              "cannot open store '%s' of another user: %s\n" HINT_OWN_STORE, path,
                              g_strerror(errno));
    return error_throw_errno_fd(error, "cannot open store '%s'", path);
}

/* Last: what has a meta.json is a store. */
static bool write_meta(int dirfd, const char *path, const StoreInitOptions *options, GError **error)
{
    if (options->require_verity)
        return verity_write_meta(dirfd, path, meta_json, error);
    return file_replace_at(dirfd, STORE_META, meta_json, sizeof meta_json - 1, 0644,
                           FILE_REPLACE_DURABLE, error);
}

/* What a store was made as it stays. */
static bool check_same(const char *path, const StoreInitOptions *options, GError **error)
{
    g_autoptr(Store) store = store_open(path, error);
    if (!store)
        return false;
    return !options->require_verity || store_is_secure(store) ||
           error_throw(error, ERROR_INVALID,
                       "the store '%s' was made without fs-verity, which can't be required "
                       "afterwards\nhint: make another one with 'atomic store init "
                       "--require-verity --store DIR'",
                       path);
}

/* Before anything is written, so that the message speaks of the store and not of a file in it. */
static bool check_writable(int dirfd, const char *path, GError **error)
{
    struct stat st;
    if (faccessat(dirfd, ".", W_OK, AT_EACCESS) == 0)
        return true;
    if (errno != EACCES || fstat(dirfd, &st) < 0 || st.st_uid == geteuid())
        return error_throw_errno(error, "cannot write to the store '%s'", path);
    return error_throw(error, ERROR_PERMISSION,
                       "cannot write to the store '%s': it belongs to user %u\n" HINT_OWN_STORE,
                       path, (unsigned)st.st_uid);
}

bool store_check_writable(Store *store, GError **error)
{
    return check_writable(store->dirfd, store->path, error);
}

bool store_prefix_write(Store *store, GError **error)
{
    error_prefix(error, "the store '%s'", store->path);
    if (!error || !error_is(*error, ERROR_NO_SPACE))
        return false;
    g_autoptr(GError) failed = g_steal_pointer(error);
    return error_throw(error, ERROR_NO_SPACE,
                       "%s\nhint: 'atomic store gc --store %s' removes what nothing refers to",
                       failed->message, store->path);
}

bool store_init(const char *path, GError **error)
{
    return store_init_with(path, &(const StoreInitOptions){0}, error);
}

bool store_init_with(const char *path, const StoreInitOptions *options, GError **error)
{
    static const char *const dirs[] = {"objects", "images",       "images/refs",
                                       "streams", "streams/refs", STORE_STAGING};
    g_autofree char *parent = g_path_get_dirname(path);
    g_autoptr(GError) failed = NULL;
    if (!file_ensure_dir_at(AT_FDCWD, parent, 0755, &failed) ||
        !file_ensure_dir_at(AT_FDCWD, path, 0700, &failed))
        return error_throw(error, (ErrorCode)failed->code, "cannot make a store: %s%s",
                           failed->message,
                           error_is(failed, ERROR_PERMISSION) ? "\n" HINT_OWN_STORE : "");
    _autofd int dirfd = open_dir(path, error);
    bool exists;
    if (dirfd < 0 || !file_exists_at(dirfd, STORE_META, &exists, error) ||
        !check_writable(dirfd, path, error))
        return false;
    if (exists && !read_meta(dirfd, path, error))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        if (!file_ensure_dir_at(dirfd, dirs[i], 0755, error))
            return error_prefix(error, "'%s'", path);
    _autofd int lock = openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0)
        return error_throw_errno(error, "cannot create '%s/lock'", path);
    /* so that what is made durable in a store is in a directory that is: those above, too. A store that is there
     * already may be that of a process killed before its last sync. */
    if (exists ? fsync(dirfd) < 0 : syncfs(dirfd) < 0)
        return error_throw_errno(error, "cannot sync '%s'", path);
    if (exists)
        return check_same(path, options, error);
    /* another process may have made the store meanwhile, and a third one collect in it: temporary names, too */
    if (flock(lock, LOCK_SH) < 0)
        return error_throw_errno(error, "cannot lock '%s/lock'", path);
    return write_meta(dirfd, path, options, error);
}

Store *store_open(const char *path, GError **error)
{
    g_autoptr(Store) store = g_new0(Store, 1);
    *store = (Store){.references = 1, .path = g_strdup(path), .dirfd = -1, .objects_fd = -1};
    store->dirfd = open_dir(path, error);
    if (store->dirfd < 0 || !read_meta(store->dirfd, path, error) || !verity_open(store, error))
        return NULL;
    store->objects_fd = file_open_dir_at(store->dirfd, "objects", error);
    return store->objects_fd < 0 ? NULL : g_steal_pointer(&store);
}

Store *store_ref(Store *store)
{
    g_atomic_int_inc(&store->references);
    return store;
}

void store_unref(Store *store)
{
    if (!store || !g_atomic_int_dec_and_test(&store->references))
        return;
    sys_fd_closep(&store->dirfd);
    sys_fd_closep(&store->objects_fd);
    g_free(store->path);
    g_free(store);
}

const char *store_path(const Store *store)
{
    return store->path;
}

int store_dirfd(const Store *store)
{
    return store->dirfd;
}

/* --- the lock ------------------------------------------------------------------------------------------- */

enum { LOCK_PATIENCE_S = 60, LOCK_POLL_US = 5000 };

/* The file: the generation, a line of 33 bytes; then, for people who look into it, the last exclusive holder (messages
 * ask the kernel, which knows of shared holders too). */
static void describe_holder(int fd, const char *purpose)
{
    const off_t at = STORE_GENERATION_SIZE;
    char text[128];
    int n = g_snprintf(text, sizeof text, "%s (process %d)\n", purpose, (int)getpid());
    if (pwrite(fd, text, (size_t)n, at) < 0 || ftruncate(fd, at + n) < 0)
        errno = 0;
}

/* Every shared holder writes one, before it changes anything: kept by a kill, and ordered by the lock. */
static bool new_generation(int fd)
{
    char text[STORE_GENERATION_SIZE + 1];
    int n = g_snprintf(text, sizeof text, "%016" G_GINT64_MODIFIER "x%08x%08x\n",
                       g_get_monotonic_time(), (unsigned)getpid(), g_random_int());
    ssize_t written = pwrite(fd, text, (size_t)n, 0);
    if (written >= 0 && written < n)
        errno = ENOSPC;
    return written == n;
}

bool store_lock_generation(int lock_fd, StoreGeneration *out_generation, GError **error)
{
    StoreGeneration generation = {""};
    if (pread(lock_fd, generation.text, STORE_GENERATION_SIZE, 0) < 0)
        return error_throw_errno(error, "cannot read the store's lock");
    *out_generation = generation;
    return true;
}

/* flock of the open file, for a minute; false: ERROR_BUSY names the holder. */
static bool wait_for_lock(Store *store, int fd, int operation, GError **error)
{
    gint64 give_up = g_get_monotonic_time() + LOCK_PATIENCE_S * G_TIME_SPAN_SECOND;
    while (flock(fd, operation | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_throw_errno(error, "cannot lock store '%s'", store->path);
        if (g_get_monotonic_time() > give_up) {
            g_autofree char *holder = file_lock_holder(fd);
            return error_throw(error, ERROR_BUSY, "the store '%s' is in use by %s", store->path,
                               holder ? holder : "another process");
        }
        g_usleep(LOCK_POLL_US);
    }
    return true;
}

int store_lock(Store *store, bool exclusive, const char *purpose, GError **error)
{
    _autofd int fd = openat(store->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    int number = errno;
    if (fd < 0 && !store_check_writable(store, error))
        return -1;
    errno = number;
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open '%s/lock'", store->path);
    if (!wait_for_lock(store, fd, exclusive ? LOCK_EX : LOCK_SH, error))
        return -1;
    if (exclusive)
        describe_holder(fd, purpose);
    else if (!new_generation(fd))
        return error_throw_errno_fd(error, "cannot write '%s/lock'", store->path);
    return fd_steal(&fd);
}

int store_lock_foreign(Store *store, GError **error)
{
    _autofd int fd = file_open_dir_at(store->dirfd, ".", error);
    return fd >= 0 && wait_for_lock(store, fd, LOCK_EX, error) ? fd_steal(&fd) : -1;
}
