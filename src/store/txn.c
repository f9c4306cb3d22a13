/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: what is put goes as a file named by its digest into staging/BOOTID-KEY/ (staging.c), which this process
 * has locked. A batch ends by itself at 512 objects or 64 MiB, or by store_txn_flush(), and takes its way (batch.c):
 *
 *     make the files durable -> rename them into objects/XX -> make those directories durable
 *
 * Only what is in objects/ counts, so power loss at any point leaves either no name or a name with its bytes. A batch
 * that ends by itself goes in a thread of its own, while the next one fills: the disk and the processors work at the same
 * time, and one batch at most is underway. The directories are synced once, by the flush: no name refers to an object
 * before that. After the first failure everything fails: nobody knows what is on the disk.
 *
 * A process that is killed leaves its directory; the next one with the same key locks it, measures what is there,
 * and goes on.
 *
 * Against garbage collection: whoever finds or puts an object holds the store's lock (shared) until the digest is in the
 * directory's `roots`, which a sweep reads. That is when the batch ends, before it is synced: a collection waits for
 * nobody's disk. So an object that store_txn_has() saw stays as long as the transaction lives; and when it dies with
 * a journal, for a day, so that a pull goes on where it was. */
#include "store/txn.h"

#include "base/sys/process.h"
#include "store/staging.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    BATCH_OBJECTS = 512,
    BATCH_BYTES = 64 << 20,
    UNROOTED_MAX =
        4096, /* so that a collection gets its turn though all is found and nothing put */
};

/* --- what is known -------------------------------------------------------------------------------------- */

/* Under the mutex. */
static void add_known(StoreTxn *txn, const Digest *object, uint32_t mark)
{
    if (digest_table_add(&txn->known, object, mark) == 0)
        g_array_append_val(txn->unrooted, *object);
}

bool txn_knows(const StoreTxn *txn, const Digest *object)
{
    return !txn->failed &&
           digest_table_marks(&txn->known, object) & (uint32_t)(TXN_STAGED | TXN_FOUND);
}

/* --- begin ---------------------------------------------------------------------------------------------- */

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
        add_known(txn, &expected, TXN_STAGED);
        g_array_append_val(txn->staged, expected);
        txn->staged_bytes += size;
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

static bool open_roots(StoreTxn *txn, GError **error)
{
    struct stat st;
    txn->roots_fd =
        openat(txn->dirfd, STORE_STAGING_ROOTS, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (txn->roots_fd < 0 || fstat(txn->roots_fd, &st) < 0)
        return error_throw_errno(error, "cannot write to the store '%s'", txn->store->path);
    /* a writer that was killed, or had no space left, may have torn the last one */
    if (st.st_size % DIGEST_SIZE &&
        ftruncate(txn->roots_fd, st.st_size - st.st_size % DIGEST_SIZE) < 0)
        return error_throw_errno(error, "cannot write to the store '%s'", txn->store->path);
    txn->modes_set = (st.st_mode & 07777) == 0644;
    txn->inherited = st.st_size > 0;
    return true;
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
    digest_table_init(&txn->known);
    txn->unrooted = g_array_new(false, false, sizeof(Digest));
    txn->staged = g_array_new(false, false, sizeof(Digest));
    txn->flying = g_array_new(false, false, sizeof(Digest));
    txn->dirfd = staging_open(store, txn->name, key, error);
    if (txn->dirfd < 0 || !open_roots(txn, error) || (key && !adopt(txn, error)))
        return NULL;
    return g_steal_pointer(&txn);
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

/* What others must not sweep, before the objects have their names, so that a kill in between loses none of them to a
 * collection. The file need not be durable: what a power cut makes of it is that less is found when the key is gone on
 * with. The store's lock ends here. */
static bool write_roots(StoreTxn *txn, GError **error)
{
    bool written = txn->unrooted->len == 0 ||
                   (txn_open_batch(txn, error) &&
                    file_write_all(txn->roots_fd, txn->unrooted->data,
                                   (size_t)txn->unrooted->len * sizeof(Digest), error)) ||
                   error_prefix(error, "the store '%s'", txn->store->path);
    g_array_set_size(txn->unrooted, 0);
    sys_fd_closep(&txn->lock_fd);
    return written;
}

static void *fly(void *data)
{
    StoreTxn *txn = data;
    GError *failed = NULL;
    batch_store(txn->store, txn->dirfd, txn->flying, &txn->dirs, &failed);
    return failed;
}

/* Under the mutex: waits for the batch that is underway. */
static bool land(StoreTxn *txn, GError **error)
{
    if (!txn->flight)
        return true;
    GError *failed = g_thread_join(g_steal_pointer(&txn->flight));
    if (!failed) {
        g_array_set_size(txn->flying, 0);
        return true;
    }
    g_propagate_error(error, failed);
    return false;
}

/* Under the mutex: sends the batch on its way; `aside` in a thread. A new one begins. */
static bool take_off(StoreTxn *txn, bool aside, GError **error)
{
    if (!land(txn, error) || !write_roots(txn, error))
        return false;
    GArray *batch = txn->staged;
    txn->staged = txn->flying;
    txn->flying = batch;
    txn->staged_bytes = 0;
    if (aside && sys_threads(2) > 1)
        txn->flight = g_thread_try_new("flusher", fly, txn, NULL);
    if (txn->flight)
        return true;
    GError *failed = fly(txn);
    if (failed)
        g_propagate_error(error, failed);
    else
        g_array_set_size(txn->flying, 0);
    return !failed;
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

/* After this what was put and what was found are both in objects/ for good. Filesystems with one journal for all keep
 * what another process renamed before us; btrfs needn't. Also objects/XX that was there may be new, and another's. */
static bool sync_names(StoreTxn *txn, GError **error)
{
    if ((txn->found.n > 0 || txn->dirs.n > 0) && others_write(txn)) {
        for (int i = 0; i < 256; i++)
            if (txn->found.touched[i])
                batch_touch(&txn->dirs, &(Digest){.bytes = {(uint8_t)i}});
        txn->dirs.parent = true;
    }
    txn->found = (BatchDirs){0};
    return batch_sync_dirs(txn->store, txn->dirfd, &txn->dirs, error);
}

/* Under the mutex. */
static bool flush(StoreTxn *txn, GError **error)
{
    if (!check_not_failed(txn, error))
        return false;
    txn->failed = !take_off(txn, false, error) || !sync_names(txn, error);
    return !txn->failed;
}

bool store_txn_flush(StoreTxn *txn, GError **error)
{
    g_mutex_lock(&txn->mutex);
    bool flushed = flush(txn, error);
    g_mutex_unlock(&txn->mutex);
    return flushed;
}

/* Under the mutex: whether the object is staged or stored. */
static bool look(StoreTxn *txn, const Digest *object, bool *out_has, GError **error)
{
    *out_has = txn_knows(txn, object);
    if (*out_has)
        return true;
    if (!txn_open_batch(txn, error))
        return false;
    if (!store_has(txn->store, object))
        return errno == ENOENT ||
               error_throw_errno(error, "cannot look at object '%.12s'", digest_hex(object).text);
    add_known(txn, object, TXN_FOUND);
    batch_touch(&txn->found, object);
    txn->n_found++;
    if (txn->unrooted->len >= UNROOTED_MAX && !write_roots(txn, error)) {
        txn->failed = true;
        return false;
    }
    *out_has = true;
    return true;
}

bool txn_staged(StoreTxn *txn, const Digest *digest, uint64_t size, GError **error)
{
    add_known(txn, digest, TXN_STAGED);
    g_array_append_val(txn->staged, *digest);
    txn->n_put++;
    txn->staged_bytes += size;
    if (txn->staged->len >= BATCH_OBJECTS || txn->staged_bytes >= BATCH_BYTES)
        txn->failed = !take_off(txn, true, error);
    return !txn->failed;
}

bool store_txn_has(StoreTxn *txn, const Digest *object)
{
    g_mutex_lock(&txn->mutex);
    bool has, known = look(txn, object, &has, NULL);
    g_mutex_unlock(&txn->mutex);
    return known && has;
}

bool store_txn_find(StoreTxn *txn, const Digest *object, bool *out_has, GError **error)
{
    g_mutex_lock(&txn->mutex);
    bool good = look(txn, object, out_has, error);
    g_mutex_unlock(&txn->mutex);
    return good;
}

void store_txn_keep(StoreTxn *txn, const Digest *object)
{
    g_mutex_lock(&txn->mutex);
    add_known(txn, object, TXN_KEPT);
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
        return error_throw_errno(error, "cannot remove the journal in the store '%s'",
                                 txn->store->path);
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

static void remove_staged(StoreTxn *txn, const GArray *objects)
{
    for (guint i = 0; i < objects->len; i++)
        unlinkat(txn->dirfd, digest_hex(&g_array_index(objects, Digest, i)).text, 0);
}

/* A keyed transaction that is not done leaves its journal for the next one; all else goes. Also what a failed sync was
 * about: the next writer would find the right bytes in memory, and its sync would pass without writing them. */
static void leave_staging(StoreTxn *txn)
{
    txn->failed |= !land(txn, NULL);
    remove_staged(txn, txn->flying);
    remove_staged(txn, txn->staged);
    if (txn->keyed && !txn->done && faccessat(txn->dirfd, STORE_STAGING_JOURNAL, F_OK, 0) == 0)
        return;
    if ((txn->failed || txn->dirs.n > 0) &&
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
    sys_fd_closep(&txn->roots_fd);
    sys_fd_closep(&txn->lock_fd);
    if (txn->dirfd >= 0)
        leave_staging(txn);
    sys_fd_closep(&txn->dirfd);
    digest_table_clear(&txn->known);
    g_array_unref(txn->unrooted);
    g_array_unref(txn->staged);
    g_array_unref(txn->flying);
    g_mutex_clear(&txn->mutex);
    store_unref(txn->store);
    g_free(txn->name);
    g_free(txn);
}
