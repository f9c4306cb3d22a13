/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: what is put goes as a file named by its digest into staging/BOOTID-KEY/, which this process has
 * locked (flock on the directory). A batch ends by itself at 512 objects or 64 MiB (eight times as many without a key,
 * see UNKEYED_TIMES), or by store_txn_flush():
 *
 *     make the files durable -> rename them into objects/XX -> make those directories durable
 *
 * Only what is in objects/ counts, so power loss at any point leaves either no name or a name with its bytes.
 * A process that is killed leaves its directory; the next one with the same key locks it, measures what is there,
 * and goes on.
 *
 * Against garbage collection: the store's lock is held (shared) from a batch's first object to its end, and at the
 * end everything that the batch put or found present is appended to the directory's `roots`, which a sweep reads.
 * So an object that store_txn_has() saw stays as long as the transaction lives; and when it dies with a journal, for a
 * day of the same boot, so that a pull goes on where it was.
 */
#include "store/txn.h"

#include "base/digest_set.h"
#include "base/hash.h"
#include "base/sys/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    BATCH_OBJECTS = 512,
    BATCH_BYTES = 64 << 20,
    /* Without a key nobody could go on after a kill, so there is nothing to save by syncing often. It is bounded all
     * the same: a collection waits for a batch, and memory for dirty pages is everybody's. */
    UNKEYED_TIMES = 8,
    LOCK_TRIES = 20,
    SYNC_EACH =
        64, /* up to so many files fsync is cheaper than syncfs, which pays for others' dirty data */
};

/* --- begin ---------------------------------------------------------------------------------------------- */

static char *staging_name(const char *key)
{
    static int counter;
    g_autoptr(GString) name = g_string_new(sys_boot_id());
    g_string_append_c(name, '-');
    if (!key) {
        g_string_append_printf(name, "%d.%d.%08x", (int)getpid(), g_atomic_int_add(&counter, 1),
                               g_random_int());
        return g_string_free(g_steal_pointer(&name), false);
    }
    for (const char *c = key; *c; c++) {
        if (g_ascii_isalnum(*c) || strchr("-_.:@", *c))
            g_string_append_c(name, *c);
        else
            g_string_append_printf(name, "%%%02X", (unsigned char)*c);
    }
    if (name->len > 200) { /* a name must fit a directory entry */
        g_autofree char *hash = g_strdup_printf("%08x", g_str_hash(key));
        g_string_truncate(name, 190);
        g_string_append(name, hash);
    }
    return g_string_free(g_steal_pointer(&name), false);
}

/* Locks the directory, which may be swept away or finished by another at the same time. */
static int open_staging(Store *store, const char *name, const char *key, GError **error)
{
    g_autofree char *path = g_strconcat(STORE_STAGING "/", name, NULL);
    for (int attempt = 0; attempt < 100; attempt++) {
        if (!file_ensure_dir_at(store->dirfd, path, 0700, error))
            return -1;
        _autofd int fd =
            openat(store->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return error_throw_errno_fd(error, "cannot open '%s'", path);
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!locked && attempt < LOCK_TRIES) { /* a collection holds it for a moment only */
            g_usleep(50 * 1000);
            continue;
        }
        if (!locked) {
            g_autofree char *holder = file_lock_holder(fd);
            return error_throw_fd(
                error, ERROR_BUSY, "'%s' is being written into the store '%s' by %s",
                key ? key : name, store->path, holder ? holder : "another process");
        }
        struct stat own, named;
        if (fstat(fd, &own) == 0 && fstatat(store->dirfd, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            own.st_ino == named.st_ino)
            return fd_steal(&fd);
    }
    return error_throw_fd(error, ERROR_BUSY, "cannot get hold of '%s'", path);
}

/* A file of a killed writer is good when its bytes have its name: it may have been in the middle of one. */
static bool adopt_file(StoreTxn *txn, const char *name, GError **error)
{
    Digest expected, measured;
    if (strcmp(name, STORE_STAGING_JOURNAL) == 0 || strcmp(name, STORE_STAGING_ROOTS) == 0)
        return true;
    _autofd int fd = openat(txn->dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    uint64_t size;
    if (digest_parse(name, &expected) && store_measure(fd, &measured, &size, NULL) &&
        digest_equal(&expected, &measured) &&
        store_seal(txn->store, txn->dirfd, name, &expected, NULL)) {
        txn->staged_bytes += size;
        digest_set_add(txn->staged, &expected);
        return true;
    }
    return unlinkat(txn->dirfd, name, 0) == 0 ||
           error_throw_errno(error, "cannot remove '%s' from the staging directory", name);
}

static bool adopt(StoreTxn *txn, GError **error)
{
    g_autoptr(GPtrArray) names = file_list_fd(txn->dirfd, error);
    for (guint i = 0; names && i < names->len; i++)
        if (!adopt_file(txn, names->pdata[i], error))
            return false;
    return names || error_prefix(error, "the staging directory");
}

StoreTxn *store_txn_begin(Store *store, const char *key, GError **error)
{
    if (!store_check_writable(store, error))
        return NULL;
    g_autoptr(StoreTxn) txn = g_new0(StoreTxn, 1);
    txn->store = store_ref(store);
    txn->keyed = key != NULL;
    txn->name = staging_name(key);
    txn->dirfd = txn->roots_fd = txn->lock_fd = -1;
    g_mutex_init(&txn->mutex);
    txn->staged = digest_set_new();
    txn->settled = digest_set_new();
    txn->found = digest_set_new();
    txn->kept = digest_set_new();
    txn->dirfd = open_staging(store, txn->name, key, error);
    if (txn->dirfd < 0)
        return NULL;
    struct stat st;
    txn->roots_fd =
        openat(txn->dirfd, STORE_STAGING_ROOTS, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (txn->roots_fd < 0 || fstat(txn->roots_fd, &st) < 0)
        return error_throw_errno_null(error, "cannot write to the store '%s'", store->path);
    /* a writer that was killed, or had no space left, may have torn the last one */
    if (st.st_size % DIGEST_SIZE &&
        ftruncate(txn->roots_fd, st.st_size - st.st_size % DIGEST_SIZE) < 0)
        return error_throw_errno_null(error, "cannot write to the store '%s'", store->path);
    txn->modes_set = (st.st_mode & 07777) == 0644;
    txn->inherited = st.st_size > 0;
    return !key || adopt(txn, error) ? g_steal_pointer(&txn) : NULL;
}

Store *store_txn_store(StoreTxn *txn)
{
    return txn->store;
}

/* --- the batch ------------------------------------------------------------------------------------------ */

static bool check_not_failed(const StoreTxn *txn, GError **error)
{
    return !txn->failed ||
           error_throw(error, ERROR_FAILED, "an earlier write to the store '%s' failed",
                       txn->store->path);
}

bool txn_open_batch(StoreTxn *txn, GError **error)
{
    if (!check_not_failed(txn, error))
        return false;
    if (txn->lock_fd < 0)
        txn->lock_fd = store_lock(txn->store, false, "writing", error);
    return txn->lock_fd >= 0;
}

static bool sync_staged(StoreTxn *txn, GError **error)
{
    if (g_hash_table_size(txn->staged) > SYNC_EACH)
        return syncfs(txn->dirfd) == 0 || error_throw_errno(error, "cannot sync the store");
    GHashTableIter iter;
    gpointer digest;
    g_hash_table_iter_init(&iter, txn->staged);
    while (g_hash_table_iter_next(&iter, &digest, NULL)) {
        _autofd int fd = openat(txn->dirfd, digest_hex(digest).text, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
            return error_throw_errno(error, "cannot sync object '%.12s'", digest_hex(digest).text);
    }
    return true;
}

/* *out_new_dir when objects/XX had to be made. */
static bool move_object(StoreTxn *txn, const Digest *digest, bool *out_new_dir, GError **error)
{
    DigestHex hex = digest_hex(digest);
    StoreObjectPath path = store_object_path(digest);
    int to = txn->store->objects_fd;
    int failed = renameat2(txn->dirfd, hex.text, to, path.text, RENAME_NOREPLACE);
    if (failed < 0 && errno == ENOENT) {
        char dir[3] = {hex.text[0], hex.text[1], '\0'};
        if (mkdirat(to, dir, 0755) < 0 && errno != EEXIST)
            return error_throw_errno(error, "cannot create directory 'objects/%s'", dir);
        *out_new_dir = true;
        failed = renameat2(txn->dirfd, hex.text, to, path.text, RENAME_NOREPLACE);
    }
    if (failed < 0 &&
        errno == EINVAL) /* a filesystem without it: replacing the same bytes is fine too */
        failed = renameat(txn->dirfd, hex.text, to, path.text);
    if (failed < 0 && errno == EEXIST)
        failed = unlinkat(txn->dirfd, hex.text, 0);
    return failed == 0 || error_throw_errno(error, "cannot store object '%.12s'", hex.text);
}

typedef struct {
    bool dirs[256]; /* objects/XX */
    int n_dirs;
    bool new_dir; /* objects/ itself */
} Touched;

static void touch(Touched *touched, const Digest *digest)
{
    touched->n_dirs += !touched->dirs[digest->bytes[0]];
    touched->dirs[digest->bytes[0]] = true;
}

static bool sync_dirs(StoreTxn *txn, const Touched *touched, GError **error)
{
    if (touched->n_dirs > SYNC_EACH)
        return syncfs(txn->dirfd) == 0 || error_throw_errno(error, "cannot sync the store");
    for (int i = 0; i < 256; i++) {
        char dir[3];
        g_snprintf(dir, sizeof dir, "%02x", i);
        if (touched->dirs[i] && !file_sync_dir_at(txn->store->objects_fd, dir, error))
            return false;
    }
    return !touched->new_dir || file_sync_dir_at(txn->store->objects_fd, ".", error);
}

/* What others must not sweep, before the objects have their names, so that a kill in between loses none of them to a
 * collection. The file need not be durable: staging of an earlier boot is garbage. */
static bool write_roots(StoreTxn *txn, GError **error)
{
    g_autoptr(GByteArray) roots = g_byte_array_new();
    GHashTable *sets[] = {txn->staged, txn->found};
    GHashTableIter iter;
    gpointer digest, written;
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        g_hash_table_iter_init(&iter, sets[i]);
        while (g_hash_table_iter_next(&iter, &digest, NULL))
            g_byte_array_append(roots, digest, DIGEST_SIZE);
    }
    g_hash_table_iter_init(&iter, txn->kept);
    while (txn->new_kept && g_hash_table_iter_next(&iter, &digest, &written)) {
        if (written)
            continue;
        g_byte_array_append(roots, digest, DIGEST_SIZE);
        g_hash_table_iter_replace(&iter, GINT_TO_POINTER(1));
    }
    txn->new_kept = false;
    return file_write_all(txn->roots_fd, roots->data, roots->len, error);
}

/* Moves the digests of a set to `settled`. */
static void settle(StoreTxn *txn, GHashTable *set)
{
    GHashTableIter iter;
    gpointer digest;
    g_hash_table_iter_init(&iter, set);
    while (g_hash_table_iter_next(&iter, &digest, NULL)) {
        g_hash_table_iter_steal(&iter);
        g_hash_table_add(txn->settled, digest); /* frees it when it is there already */
    }
}

/* Whether names in objects/ may not be on the disk yet: a writer has its staging until it has synced them, and what
 * a killed one left is here until it is gone on with or collected. What another boot left was on the disk, or isn't there. */
static bool others_write(const StoreTxn *txn)
{
    if (txn->inherited)
        return true;
    g_autoptr(GPtrArray) names = file_list_at(txn->store->dirfd, STORE_STAGING, NULL);
    for (guint i = 0; names && i < names->len; i++)
        if (strcmp(names->pdata[i], txn->name) != 0 &&
            g_str_has_prefix(names->pdata[i], sys_boot_id()))
            return true;
    return !names;
}

static bool move_staged(StoreTxn *txn, Touched *touched, GError **error)
{
    GHashTableIter iter;
    gpointer digest;
    g_hash_table_iter_init(&iter, txn->staged);
    while (g_hash_table_iter_next(&iter, &digest, NULL)) {
        if (!move_object(txn, digest, &touched->new_dir, error))
            return false;
        touch(touched, digest);
    }
    return true;
}

/* After this what was put and what was found are both in objects/ for good. Filesystems with one journal for all keep
 * what another process renamed before us; btrfs needn't. */
static bool flush_objects(StoreTxn *txn, GError **error)
{
    Touched touched = {0};
    if (!sync_staged(txn, error) || !move_staged(txn, &touched, error))
        return false;
    if (others_write(txn)) {
        GHashTableIter iter;
        gpointer digest;
        g_hash_table_iter_init(&iter, txn->found);
        while (g_hash_table_iter_next(&iter, &digest, NULL))
            touch(&touched, digest);
        touched.new_dir = true;
    }
    return sync_dirs(txn, &touched, error);
}

/* Under the mutex. A failure is final: after a failed sync nobody knows what is on the disk. */
static bool flush(StoreTxn *txn, GError **error)
{
    if (!check_not_failed(txn, error))
        return false;
    if (g_hash_table_size(txn->staged) == 0 && g_hash_table_size(txn->found) == 0 &&
        !txn->new_kept) {
        sys_fd_closep(&txn->lock_fd);
        return true;
    }
    if (!txn_open_batch(txn, error))
        return false;
    txn->failed = !write_roots(txn, error) || !flush_objects(txn, error);
    if (!txn->failed) {
        settle(txn, txn->staged);
        settle(txn, txn->found);
    }
    txn->staged_bytes = 0;
    sys_fd_closep(&txn->lock_fd);
    return !txn->failed;
}

bool store_txn_flush(StoreTxn *txn, GError **error)
{
    g_mutex_lock(&txn->mutex);
    bool flushed = flush(txn, error);
    g_mutex_unlock(&txn->mutex);
    return flushed;
}

bool txn_present(StoreTxn *txn, const Digest *object)
{
    if (txn->failed)
        return false;
    if (g_hash_table_contains(txn->staged, object) || g_hash_table_contains(txn->settled, object) ||
        g_hash_table_contains(txn->found, object))
        return true;
    if (!txn_open_batch(txn, NULL) || !store_has(txn->store, object))
        return false;
    digest_set_add(txn->found, object);
    return true;
}

bool txn_staged(StoreTxn *txn, const Digest *digest, uint64_t size, GError **error)
{
    digest_set_add(txn->staged, digest);
    txn->staged_bytes += size;
    unsigned times = txn->keyed ? 1 : UNKEYED_TIMES;
    if (g_hash_table_size(txn->staged) < times * BATCH_OBJECTS &&
        txn->staged_bytes < (uint64_t)times * BATCH_BYTES)
        return true;
    return flush(txn, error);
}

bool store_txn_has(StoreTxn *txn, const Digest *object)
{
    g_mutex_lock(&txn->mutex);
    bool has = txn_present(txn, object);
    g_mutex_unlock(&txn->mutex);
    return has;
}

void store_txn_keep(StoreTxn *txn, const Digest *object)
{
    g_mutex_lock(&txn->mutex);
    if (!g_hash_table_contains(txn->settled, object) &&
        !g_hash_table_contains(txn->staged, object) && !g_hash_table_contains(txn->kept, object)) {
        g_hash_table_insert(txn->kept, g_memdup2(object, sizeof *object), NULL);
        txn->new_kept = true;
    }
    g_mutex_unlock(&txn->mutex);
}

/* --- journal and end ------------------------------------------------------------------------------------ */

int store_txn_journal(StoreTxn *txn, GError **error)
{
    return file_open_at(txn->dirfd, STORE_STAGING_JOURNAL, O_RDWR | O_CREAT | O_APPEND, error);
}

bool store_txn_done(StoreTxn *txn, GError **error)
{
    if (!store_txn_flush(txn, error))
        return false;
    txn->done = true;
    if (unlinkat(txn->dirfd, STORE_STAGING_JOURNAL, 0) < 0 && errno != ENOENT)
        return error_throw_errno(error, "cannot remove the journal");
    return true;
}

void store_txn_forget(Store *store, const char *key)
{
    g_autofree char *name = staging_name(key);
    g_autofree char *path = g_strconcat(STORE_STAGING "/", name, NULL);
    if (faccessat(store->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    g_autoptr(StoreTxn) txn = store_txn_begin(store, key, NULL);
    if (txn)
        store_txn_done(txn, NULL);
}

/* A keyed transaction that is not done leaves its journal for the next one; all else goes. Also what a failed sync was
 * about: the next writer would find the right bytes in memory, and its sync would pass without writing them. */
static void leave_staging(StoreTxn *txn)
{
    GHashTableIter iter;
    gpointer digest;
    g_hash_table_iter_init(&iter, txn->staged);
    while (g_hash_table_iter_next(&iter, &digest, NULL))
        unlinkat(txn->dirfd, digest_hex(digest).text, 0);
    if (txn->keyed && !txn->done && faccessat(txn->dirfd, STORE_STAGING_JOURNAL, F_OK, 0) == 0)
        return;
    if (txn->failed &&
        syncfs(txn->dirfd) < 0) /* some may have got into objects/: see others_write() */
        return;
    g_autofree char *path = g_strconcat(STORE_STAGING "/", txn->name, NULL);
    file_remove_all_at(txn->store->dirfd, path,
                       NULL); /* what is left is garbage to the collector too */
}

void store_txn_free(StoreTxn *txn)
{
    if (!txn)
        return;
    if (txn->dirfd >= 0)
        leave_staging(txn);
    sys_fd_closep(&txn->roots_fd);
    sys_fd_closep(&txn->dirfd);
    sys_fd_closep(&txn->lock_fd);
    g_hash_table_unref(txn->staged);
    g_hash_table_unref(txn->settled);
    g_hash_table_unref(txn->found);
    g_hash_table_unref(txn->kept);
    g_mutex_clear(&txn->mutex);
    store_unref(txn->store);
    g_free(txn->name);
    g_free(txn);
}
