/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: what is bad is moved to damaged/, so that a reader gets a clear error instead of wrong bytes and a writer
 * doesn't take it for present. It is measured once more where it is then: another repair may have been here first, and a
 * good object goes back. Then what something needs is put through a transaction, from a file of the store that has
 * the bytes under another name, or through the caller's function; nothing gets a name but by its measured digest.
 *
 * Killed at any point, each object is where it was, missing, or whole; the next repair goes on.
 */
#include "base/cancel.h"
#include "store/fsck.h"
#include "store/leftovers.h"
#include "store/txn.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { BATCH_US = G_USEC_PER_SEC }; /* the lock is held, shared, while a batch is open */

static bool set_aside(Fsck *fsck, const Digest *object, GError **error)
{
    Store *store = fsck->store;
    StoreObjectPath path = store_object_path(object);
    g_autofree char *aside = g_strconcat(STORE_DAMAGED "/", digest_hex(object).text, NULL);
    if (renameat(store->objects_fd, path.text, store->dirfd, aside) < 0)
        return errno == ENOENT || error_throw_errno(error, "cannot move object '%.12s' aside",
                                                    digest_hex(object).text);
    _autofd int fd = openat(store->dirfd, aside, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    Digest measured;
    uint64_t size;
    if (fd < 0 || !store_measure(fd, &measured, &size, NULL))
        return true;
    if (digest_equal(&measured, object) && store_check_seal(store, fd, object, NULL))
        return renameat2(store->dirfd, aside, store->objects_fd, path.text, RENAME_NOREPLACE) ==
                   0 ||
               errno == EEXIST ||
               error_throw_errno(error, "cannot move object '%.12s' back", digest_hex(object).text);
    g_hash_table_insert(fsck->strays, g_memdup2(&measured, sizeof measured),
                        g_steal_pointer(&aside));
    return true;
}

/* From a file of this store; false without an error: the caller has to be asked. */
static bool put_stray(StoreTxn *txn, const char *path)
{
    _autofd int fd =
        openat(store_txn_store(txn)->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    Digest put;
    return fd >= 0 && store_txn_put_fd(txn, fd, &put, NULL, NULL);
}

/* Whether it is in the transaction now; false with *error: nothing more is tried. */
static bool put_back(Fsck *fsck, StoreTxn *txn, const Digest *object, GHashTable *failures,
                     GError **error)
{
    const char *stray = g_hash_table_lookup(fsck->strays, object);
    if (stray && put_stray(txn, stray) && store_txn_has(txn, object))
        return true;
    g_autoptr(GError) failed = NULL;
    bool got = fsck->options->repair(txn, object, fsck->options->data, &failed);
    if (got && store_txn_has(txn, object))
        return true;
    if (error_is(failed, ERROR_INTERRUPTED)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    g_hash_table_insert(failures, g_memdup2(object, sizeof *object),
                        g_strdup(failed ? failed->message : "what came has other bytes"));
    return false;
}

static bool put_needed(Fsck *fsck, StoreTxn *txn, GHashTable *failures, uint64_t *out_repaired,
                       GError **error)
{
    g_autoptr(GError) failed = NULL;
    gint64 flushed = g_get_monotonic_time();
    GHashTableIter iter;
    gpointer object;
    g_hash_table_iter_init(&iter, fsck->needs);
    while (g_hash_table_iter_next(&iter, &object, NULL)) {
        if (!cancel_check(error))
            return false;
        *out_repaired += put_back(fsck, txn, object, failures, &failed);
        if (failed) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return false;
        }
        if (g_get_monotonic_time() - flushed > BATCH_US) {
            if (!store_txn_flush(txn, error))
                return false;
            flushed = g_get_monotonic_time();
        }
    }
    return store_txn_flush(txn, error);
}

bool fsck_repair(Fsck *fsck, GHashTable *failures, uint64_t *out_repaired, GError **error)
{
    *out_repaired = 0;
    if (fsck->bad->len > 0 && !file_ensure_dir_at(fsck->store->dirfd, STORE_DAMAGED, 0700, error))
        return false;
    for (guint i = 0; i < fsck->bad->len; i++)
        if (!set_aside(fsck, &g_array_index(fsck->bad, FsckBad, i).object, error))
            return false;
    g_autoptr(StoreTxn) txn = store_txn_begin(fsck->store, NULL, error);
    return (txn && put_needed(fsck, txn, failures, out_repaired, error)) ||
           error_prefix(error, "cannot repair the store '%s'", fsck->store->path);
}
