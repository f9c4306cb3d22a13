/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: mark what the roots reach (mark.c), list what is not marked, and remove that in slices. The first
 * marking and the listing need no lock: they only find candidates. Each slice holds the store's lock exclusively, so no
 * batch, link or ref is being written; it marks the roots again when the lock's generation says that anybody had it
 * shared since the last look (most slices: nobody), and only then removes, at most 256 names or for 5 ms.
 *
 * Why nothing is lost:
 *   - A writer finds an object present, or puts one, holding the lock shared; before it lets go the object is in its
 *     directory's `roots`, or the batch failed. So a slice that comes later sees it, one that came earlier has
 *     removed it before the writer looked.
 *   - store_set_ref() looks for the image's or stream's link holding the lock shared. All dead links go before the
 *     first object does. So the link is still there only when no object behind it is gone, and from then on the ref
 *     (which changed the generation) keeps them.
 *   - A link made between two slices by a writer that is gone again before the next leads to what is dead still: it
 *     goes before any more objects do, and a ref is not set to a link whose object is missing.
 *   - A container's start takes no lock: its ref was set before, and a ref that was there when a slice marked covers
 *     whatever that slice removes. A ref removed meanwhile is noticed by the next collection: what is marked stays so.
 *   - A writer that dies leaves `roots` that count while its staging can be resumed; a collection that dies leaves fewer
 *     dead things: links first, then (their removal synced, for a power cut may keep the later of two changes only)
 *     objects, so no name is left without its bytes.
 *   - When a root can't be read nothing more is removed: what it needs would be lost with it.
 *
 * composefs-rs holds a shared flock of the store's directory as long as it has it open, and takes it exclusively to
 * collect. So do we while we remove.
 */
#include "base/cancel.h"
#include "base/sys/process.h"
#include "store/leftovers.h"
#include "store/mark.h"
#include "store/scan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { SLICE_NAMES = 256, SLICE_US = 5000, PAUSE_US = 1000 };

typedef enum {
    ITEM_LINK,
    ITEM_LEFTOVER, /* a name that is never one of ours for long */
    ITEM_OBJECT,
} ItemKind;

typedef struct {
    ItemKind kind;
    Digest object; /* what the link leads to */
    uint64_t size;
    char *path; /* below the store; NULL: that of the object */
} Item;

typedef struct {
    Store *store;
    const StoreGcOptions *options;
    Mark mark;
    GArray *items; /* in the order in which they go */
    guint at;
    StoreGeneration generation; /* when the roots were marked last */
    bool marked;                /* under the lock */
    bool links_swept;           /* no link is dead that was there then */
    StoreGcResult result;
} Gc;

static void item_clear(void *item)
{
    g_free(((Item *)item)->path);
}

static void say_removed(Gc *gc, const char *path, uint64_t bytes)
{
    gc->result.bytes += bytes;
    if (gc->options->removed)
        gc->options->removed(path, bytes, gc->options->data);
}

/* --- what is dead --------------------------------------------------------------------------------------- */

static void add_item(Gc *gc, ItemKind kind, const Digest *object, uint64_t size, const char *path)
{
    Item item = {.kind = kind, .size = size, .path = g_strdup(path)};
    if (object)
        item.object = *object;
    g_array_append_val(gc->items, item);
}

/* Objects last, in the order of their names; of leftovers what is in a directory before it. */
static int compare_items(const void *a, const void *b)
{
    const Item *x = a, *y = b;
    if (x->kind != y->kind)
        return (int)x->kind - (int)y->kind;
    return x->kind == ITEM_OBJECT ? digest_compare(&x->object, &y->object)
                                  : strcmp(y->path, x->path);
}

static bool add_leftover(const char *path, uint64_t bytes, void *data, GError **error _unused)
{
    add_item(data, ITEM_LEFTOVER, NULL, bytes, path);
    return true;
}

static bool collect_object(const Digest *object, const char *path, ino_t inode _unused, void *data,
                           GError **error)
{
    Gc *gc = data;
    struct stat st;
    if (!cancel_check(error))
        return false;
    if (!object)
        return leftovers_visit(gc->store, path, add_leftover, gc, error);
    if (mark_is_live(&gc->mark, object)) {
        gc->result.kept_objects++;
        return true;
    }
    if (fstatat(gc->store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || error_throw_errno(error, "cannot look at '%s'", path);
    if (mark_is_young(&gc->mark, &st))
        gc->result.kept_objects++;
    else
        add_item(gc, ITEM_OBJECT, object, (uint64_t)st.st_size, NULL);
    return true;
}

static void collect_links(Gc *gc, StoreKind kind)
{
    GHashTableIter iter;
    gpointer name, object;
    g_hash_table_iter_init(&iter, gc->mark.links[kind]);
    while (g_hash_table_iter_next(&iter, &name, &object)) {
        g_autofree char *path = g_strconcat(store_kind_dir(kind), "/", name, NULL);
        if (!mark_is_live(&gc->mark, object))
            add_item(gc, ITEM_LINK, object, 0, path);
    }
}

static bool collect(Gc *gc, GError **error)
{
    collect_links(gc, STORE_IMAGES);
    collect_links(gc, STORE_STREAMS);
    guint links = gc->items->len;
    if (!leftovers_scan(gc->store, add_leftover, gc, error) ||
        !scan_object_names(gc->store, collect_object, gc, error))
        return false;
    if (gc->items->len > links)
        qsort(&g_array_index(gc->items, Item, links), gc->items->len - links, sizeof(Item),
              compare_items);
    return true;
}

/* --- writers that died ---------------------------------------------------------------------------------- */

/* The power may be cut when things have been removed that only what is not on the disk yet had made superfluous. */
static bool sync_store(Gc *gc, GError **error)
{
    return syncfs(gc->store->dirfd) == 0 ||
           error_throw_errno(error, "cannot sync the store '%s'", gc->store->path);
}

/* Needs no lock of the store: the directory's own one is held. Names that its writer was killed before syncing are synced
 * now, for without the directory no other writer will think of it (others_write() in txn.c). */
static bool sweep_writer(int staging, const char *name, StagingState state, void *data,
                         GError **error)
{
    Gc *gc = data;
    if (state != STAGING_DEAD)
        return cancel_check(error);
    g_autoptr(GPtrArray) files = file_list_at(staging, name, error);
    uint64_t bytes = 0;
    for (guint i = 0; files && i < files->len; i++) {
        g_autofree char *path = g_strconcat(name, "/", (const char *)files->pdata[i], NULL);
        struct stat st;
        if (fstatat(staging, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
            bytes += (uint64_t)st.st_size;
    }
    bool names_here = g_str_has_prefix(name, sys_boot_id());
    if (!files || (!gc->options->dry_run && ((names_here && !sync_store(gc, error)) ||
                                             !file_remove_all_at(staging, name, error))))
        return error_prefix(error, "cannot collect garbage");
    g_autofree char *path = g_strconcat(STORE_STAGING "/", name, NULL);
    gc->result.leftovers++;
    say_removed(gc, path, bytes);
    return true;
}

/* --- sweep ---------------------------------------------------------------------------------------------- */

/* Whether the link still is what it was when it was listed. When that can't be seen its object must stay too. */
static bool leads_to(Store *store, const char *path, const Digest *object, bool *out_same,
                     GError **error)
{
    char target[256];
    Digest now;
    ssize_t n = readlinkat(store->dirfd, path, target, sizeof target - 1);
    if (n < 0 && errno != ENOENT && errno != EINVAL)
        return error_throw_errno(error, "cannot read link '%s'", path);
    target[MAX(n, 0)] = '\0';
    *out_same = n > 0 && store_parse_object_path(target, &now) && digest_equal(&now, object);
    return true;
}

static int unlink_leftover(int dirfd, const char *path)
{
    if (unlinkat(dirfd, path, 0) == 0)
        return 0;
    if (errno == EISDIR || errno == EPERM)
        return unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY && errno != EEXIST ? -1
                                                                                                : 0;
    return -1;
}

static bool remove_item(Gc *gc, const Item *item, GError **error)
{
    char object_path[sizeof "objects/" + sizeof(StoreObjectPath)];
    const char *path = item->path;
    if (!path) {
        g_snprintf(object_path, sizeof object_path, "objects/%s",
                   store_object_path(&item->object).text);
        path = object_path;
    }
    if (item->kind != ITEM_LEFTOVER && mark_is_live(&gc->mark, &item->object))
        return true; /* needed since */
    if (!gc->options->dry_run) {
        int dirfd = gc->store->dirfd;
        bool same = true;
        if (item->kind == ITEM_LINK && !leads_to(gc->store, path, &item->object, &same, error))
            return false;
        if (!same)
            return true;
        int failed =
            item->kind == ITEM_LEFTOVER ? unlink_leftover(dirfd, path) : unlinkat(dirfd, path, 0);
        if (failed && errno != ENOENT)
            return error_throw_errno(error, "cannot remove '%s'", path);
        if (failed)
            return true;
    }
    gc->result.objects += item->kind == ITEM_OBJECT;
    gc->result.links += item->kind == ITEM_LINK;
    gc->result.leftovers += item->kind == ITEM_LEFTOVER;
    say_removed(gc, path, item->size);
    return true;
}

/* Marks again what may have become a root since the last look. */
static bool mark_again(Gc *gc, int lock, GError **error)
{
    StoreGeneration now;
    if (!store_lock_generation(lock, &now, error))
        return false;
    if (gc->marked && strcmp(now.text, gc->generation.text) == 0)
        return true;
    gc->generation = now;
    gc->marked = mark_roots(&gc->mark, error);
    gc->links_swept = false;
    return gc->marked;
}

/* Also for links that a collection removed which was killed. */
static bool sync_links(Gc *gc, GError **error)
{
    return file_sync_dir_at(gc->store->dirfd, "images", error) &&
           file_sync_dir_at(gc->store->dirfd, "streams", error);
}

/* Links that came after the listing and that nothing needs any more: they go before the objects, like the others. */
static bool sweep_new_links(Gc *gc, GError **error)
{
    uint64_t before = gc->result.links;
    for (int kind = 0; kind < 2 && !gc->links_swept; kind++) {
        GHashTableIter iter;
        gpointer name, object;
        g_hash_table_iter_init(&iter, gc->mark.links[kind]);
        while (g_hash_table_iter_next(&iter, &name, &object)) {
            if (mark_is_live(&gc->mark, object))
                continue;
            g_autofree char *path = g_strconcat(store_kind_dir(kind), "/", name, NULL);
            const Item item = {.kind = ITEM_LINK, .object = *(Digest *)object, .path = path};
            if (!remove_item(gc, &item, error))
                return false;
        }
    }
    gc->links_swept = true;
    return gc->result.links == before || sync_links(gc, error);
}

/* One slice under the lock, of links or of objects. */
static bool sweep_slice(Gc *gc, GError **error)
{
    _autofd int lock = store_lock(gc->store, true, "collecting garbage", error);
    if (lock < 0 || !mark_again(gc, lock, error))
        return false;
    gint64 start = g_get_monotonic_time();
    bool objects = g_array_index(gc->items, Item, gc->at).kind == ITEM_OBJECT;
    if (objects && !sweep_new_links(gc, error))
        return false;
    for (guint n = 0; n < SLICE_NAMES && gc->at < gc->items->len; n++, gc->at++) {
        const Item *item = &g_array_index(gc->items, Item, gc->at);
        if ((item->kind == ITEM_OBJECT) != objects)
            break;
        if (!remove_item(gc, item, error))
            return false;
        if (g_get_monotonic_time() - start > SLICE_US) {
            gc->at++;
            break;
        }
    }
    return true;
}

/* First the marked refs are made durable: one may have been moved by a process killed before its sync, and what it led to
 * on the disk is not marked. */
static bool sweep(Gc *gc, GError **error)
{
    _autofd int foreign = store_lock_foreign(gc->store, error);
    if (foreign < 0 || !sync_store(gc, error))
        return false;
    bool synced = false;
    while (gc->at < gc->items->len) {
        if (gc->at > 0)
            g_usleep(PAUSE_US); /* those who wait for the lock look every few milliseconds */
        if (!synced && g_array_index(gc->items, Item, gc->at).kind == ITEM_OBJECT) {
            if (!sync_links(gc, error))
                return false;
            synced = true;
        }
        if (!cancel_check(error) || !sweep_slice(gc, error))
            return false;
    }
    return true;
}

static bool run(Gc *gc, GError **error)
{
    if (!scan_staging(gc->store, sweep_writer, gc, error) || !mark_roots(&gc->mark, error) ||
        !collect(gc, error))
        return false;
    if (!gc->options->dry_run)
        return gc->items->len == 0 || sweep(gc, error);
    for (; gc->at < gc->items->len; gc->at++)
        remove_item(gc, &g_array_index(gc->items, Item, gc->at), NULL);
    return true;
}

bool store_gc(Store *store, const StoreGcOptions *options, StoreGcResult *out_result,
              GError **error)
{
    static const StoreGcOptions defaults;
    Gc gc = {.store = store, .options = options ? options : &defaults};
    mark_init(&gc.mark, store, mark_young_since(gc.options->keep_younger));
    gc.items = g_array_new(false, false, sizeof(Item));
    g_array_set_clear_func(gc.items, item_clear);
    bool done = run(&gc, error);
    mark_clear(&gc.mark);
    g_array_unref(gc.items);
    if (done)
        *out_result = gc.result;
    return done;
}
