/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the names in objects/ are listed and sorted by inode (about the order on the disk); threads take a few
 * at a time from the list. A file costs open, read and close: what is shorter than the buffer is known to be all.
 *
 * Where the files have fs-verity the kernel's digest could be asked for instead, in no time. But that was computed when
 * the object was made, and says nothing about the bytes until they are read and compared: so they are read, always,
 * and hashed, which finds the same in stores with and without it. (What the kernel refuses to read is bad, too.)
 */
#include "base/cancel.h"
#include "base/hash.h"
#include "store/fsck.h"
#include "store/leftovers.h"
#include "store/scan.h"
#include "store/txn.h"

#include <errno.h>
#include <unistd.h>

enum { TAKE = 32, BUFFER_SIZE = 1 << 20 };

typedef struct {
    Digest object;
    ino_t inode; /* 0: it is gone */
} Item;

typedef struct {
    Fsck *fsck;
    GArray *items;  /* Item */
    int next;       /* atomic: of `items` */
    int no_noatime; /* atomic: it is not allowed */
} Measuring;

typedef struct {
    Measuring *measuring;
    HashVerity *hash;
    uint8_t *buffer;
    uint64_t objects, bytes;
} Worker;

/* --- one object ----------------------------------------------------------------------------------------- */

/* Without touching the time of access where that is allowed: it would be written back for each file. */
static int open_object(Measuring *measuring, const Digest *object)
{
    enum { FLAGS = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK };
    int dirfd = measuring->fsck->store->objects_fd;
    StoreObjectPath path = store_object_path(object);
    if (!g_atomic_int_get(&measuring->no_noatime)) {
        int fd = openat(dirfd, path.text, FLAGS | O_NOATIME);
        if (fd >= 0 || errno != EPERM)
            return fd;
        g_atomic_int_set(&measuring->no_noatime, true);
    }
    return openat(dirfd, path.text, FLAGS);
}

static bool measure(Worker *worker, int fd, Digest *out_digest, uint64_t *out_size, GError **error)
{
    ssize_t n;
    while ((n = read(fd, worker->buffer, BUFFER_SIZE)) < 0 && errno == EINTR)
        continue;
    if (n < 0)
        return error_throw_errno(error, "cannot read a file");
    if (n < BUFFER_SIZE) {
        hash_verity_update(worker->hash, worker->buffer, (size_t)n);
        hash_verity_finish(worker->hash, out_digest);
        *out_size = (uint64_t)n;
        return true;
    }
    return (lseek(fd, 0, SEEK_SET) == 0 || error_throw_errno(error, "cannot read a file")) &&
           store_measure(fd, out_digest, out_size, error);
}

static void note_bad(Fsck *fsck, const Digest *object, const Digest *measured, const char *reason)
{
    DigestHex hex = digest_hex(object);
    FsckBad bad = {.object = *object};
    bad.reason = measured ? g_strdup_printf("object '%s' is damaged: its bytes measure '%.12s'",
                                            hex.text, digest_hex(measured).text)
                          : g_strdup_printf("object '%s' is damaged: %s", hex.text, reason);
    g_mutex_lock(&fsck->mutex);
    g_array_append_val(fsck->bad, bad);
    if (measured)
        g_hash_table_insert(fsck->strays, g_memdup2(measured, sizeof *measured),
                            g_strconcat("objects/", store_object_path(object).text, NULL));
    g_mutex_unlock(&fsck->mutex);
}

static void check_object(Worker *worker, Item *item)
{
    Fsck *fsck = worker->measuring->fsck;
    const Digest *object = &item->object;
    g_autoptr(GError) failed = NULL;
    Digest measured;
    uint64_t size;
    _autofd int fd = open_object(worker->measuring, object);
    if (fd < 0 && errno == ENOENT) { /* collected meanwhile; who needs it will say so */
        item->inode = 0;
        return;
    }
    worker->objects++;
    if (fd < 0) {
        note_bad(fsck, object, NULL, g_strerror(errno));
    } else if (!measure(worker, fd, &measured, &size, &failed)) {
        note_bad(fsck, object, NULL, failed->message);
    } else {
        worker->bytes += size;
        if (!digest_equal(object, &measured))
            note_bad(fsck, object, &measured, NULL);
        else if (!store_check_seal(fsck->store, fd, object, &failed))
            note_bad(fsck, object, NULL, failed->message);
    }
}

static void *measure_some(void *data)
{
    Measuring *measuring = data;
    Fsck *fsck = measuring->fsck;
    Worker worker = {.measuring = measuring, .hash = hash_verity_new()};
    worker.buffer = g_malloc(BUFFER_SIZE);
    const guint len = measuring->items->len;
    for (guint at;
         !cancel_requested() && (at = (guint)g_atomic_int_add(&measuring->next, TAKE)) < len;)
        for (guint end = MIN(at + TAKE, len); at < end; at++)
            check_object(&worker, &g_array_index(measuring->items, Item, at));
    g_free(worker.buffer);
    hash_verity_free(worker.hash);
    g_mutex_lock(&fsck->mutex);
    fsck->result.objects += worker.objects;
    fsck->result.bytes += worker.bytes;
    g_mutex_unlock(&fsck->mutex);
    return NULL;
}

/* --- all of them ---------------------------------------------------------------------------------------- */

static bool report_leftover(const char *path, uint64_t bytes _unused, void *data,
                            GError **error _unused)
{
    fsck_problem(data, STORE_PROBLEM_LEFTOVER, NULL, path,
                 g_strdup_printf("'%s' was left by a process that died", path));
    return true;
}

/* It may have the bytes that are missed elsewhere. */
static bool report_unknown(Fsck *fsck, const char *path, GError **error)
{
    if (leftovers_is_temporary(path))
        return leftovers_visit(fsck->store, path, report_leftover, fsck, error);
    Digest measured;
    uint64_t size;
    _autofd int fd =
        openat(fsck->store->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && store_measure(fd, &measured, &size, NULL))
        g_hash_table_insert(fsck->strays, g_memdup2(&measured, sizeof measured), g_strdup(path));
    fsck_problem(fsck, STORE_PROBLEM_UNKNOWN, NULL, path,
                 g_strdup_printf("'%s' is not an object", path));
    return true;
}

static bool list_object(const Digest *object, const char *path, ino_t inode, void *data,
                        GError **error)
{
    const Measuring *measuring = data;
    if (!object)
        return report_unknown(measuring->fsck, path, error);
    Item item = {.object = *object, .inode = inode};
    g_array_append_val(measuring->items, item);
    return cancel_check(error);
}

static int compare_inodes(const void *a, const void *b)
{
    ino_t x = ((const Item *)a)->inode, y = ((const Item *)b)->inode;
    return x < y ? -1 : x > y;
}

bool fsck_objects(Fsck *fsck, GError **error)
{
    g_autoptr(GArray) items = g_array_new(false, false, sizeof(Item));
    Measuring measuring = {.fsck = fsck, .items = items};
    if (!scan_object_names(fsck->store, list_object, &measuring, error))
        return false;
    g_array_sort(items, compare_inodes);
    fsck_in_threads(MIN(fsck->threads, items->len / TAKE + 1), measure_some, &measuring);
    if (!cancel_check(error))
        return false;
    for (guint i = 0; i < fsck->bad->len; i++)
        digest_table_add(&fsck->objects, &g_array_index(fsck->bad, FsckBad, i).object, FSCK_BAD);
    for (guint i = 0; i < items->len; i++) {
        const Item *item = &g_array_index(items, Item, i);
        if (item->inode != 0 && digest_table_marks(&fsck->objects, &item->object) == 0)
            digest_table_add(&fsck->objects, &item->object, FSCK_GOOD);
    }
    return true;
}
