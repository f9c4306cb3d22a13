/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: mark from the refs and from what living writers count on; then, with the store's lock held
 * exclusively, look once more at the roots (what is known already costs nothing) and remove a slice of what is
 * not marked; let the lock go between slices. Links that name the dead go before the objects do, so that a kill in
 * between leaves no name without its bytes.
 *
 * Nothing is removed when a root can't be read, for whatever reason: what it needs would be lost with it.
 *
 * What is marked stays marked: a ref removed meanwhile is noticed by the next collection.
 */
#include "base/cancel.h"
#include "base/digest_set.h"
#include "store/scan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    Store *store;
    GHashTable *live;      /* Digest */
    GHashTable *expanded;  /* Digest of streams and images whose contents are marked */
    GHashTable *is_stream; /* Digest of objects that streams/ links to */
    GHashTable *is_image;
    GArray *dead; /* Digest: candidates */
    GArray *dead_sizes;
    StoreGcResult result;
    bool dry_run;
} Gc;

enum { SLICE_OBJECTS = 256, SLICE_US = 5000, IMAGE_LIMIT = 1 << 30 };

/* --- mark ----------------------------------------------------------------------------------------------- */

static bool mark_object(Gc *gc, const Digest *object, GError **error);

static bool mark_tree_node(TreeNode *node, void *data, GError **error _unused)
{
    Gc *gc = data;
    if (node->inode->has_object)
        digest_set_add(gc->live, &node->inode->object);
    return true;
}

static bool mark_image(Gc *gc, const Digest *image, GError **error)
{
    g_autoptr(GBytes) bytes = store_read_object(gc->store, image, IMAGE_LIMIT, error);
    g_autoptr(Tree) tree = bytes ? tree_read_image(bytes, error) : NULL;
    return tree && tree_walk(tree, mark_tree_node, gc, error);
}

static bool mark_stream(Gc *gc, const Digest *object, GError **error)
{
    g_autoptr(StoreStream) stream = store_stream_open(gc->store, object, error);
    if (!stream)
        return false;
    for (size_t i = 0; i < store_stream_n_objects(stream); i++)
        digest_set_add(gc->live, store_stream_object(stream, i));
    for (size_t i = 0; i < store_stream_n_refs(stream); i++)
        if (!mark_object(gc, store_stream_nth_ref(stream, i), error))
            return false;
    return true;
}

/* With what it contains, when it is known as a stream or image. An object that is not there marks nothing; one that
 * can't be read stops the collection, since nobody knows what it needs. */
static bool mark_object(Gc *gc, const Digest *object, GError **error)
{
    digest_set_add(gc->live, object);
    bool stream = g_hash_table_contains(gc->is_stream, object);
    bool image = g_hash_table_contains(gc->is_image, object);
    if ((!stream && !image) || g_hash_table_contains(gc->expanded, object))
        return true;
    if (faccessat(gc->store->objects_fd, store_object_path(object).text, F_OK, 0) < 0)
        return errno == ENOENT ||
               error_throw_errno(error, "cannot look at object '%.12s'", digest_hex(object).text);
    digest_set_add(gc->expanded, object);
    if ((stream && !mark_stream(gc, object, error)) || (image && !mark_image(gc, object, error)))
        return error_prefix(error, "cannot collect garbage");
    return true;
}

static bool mark_refs(Gc *gc, StoreKind kind, GHashTable *is_kind, GError **error)
{
    g_autoptr(GHashTable) links = scan_links(gc->store, kind, error);
    g_autoptr(GHashTable) refs = links ? store_list_refs(gc->store, kind, "", error) : NULL;
    if (!refs)
        return false;
    GHashTableIter iter;
    gpointer name, target;
    g_hash_table_iter_init(&iter, links);
    while (g_hash_table_iter_next(&iter, &name, &target))
        digest_set_add(is_kind, target);
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &name, &target)) {
        const Digest *object = g_hash_table_lookup(links, target);
        if (object && !mark_object(gc, object, error))
            return false;
    }
    return true;
}

static bool mark_staging(Gc *gc, const char *name, GError **error)
{
    g_autofree char *path = g_strconcat(STORE_STAGING "/", name, "/" STORE_STAGING_ROOTS, NULL);
    g_autoptr(GError) failed = NULL;
    size_t size;
    g_autofree char *roots = file_read_at(gc->store->dirfd, path, (size_t)1 << 32, &size, &failed);
    if (!roots && !error_is(failed, ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    for (size_t at = 0; roots && at + DIGEST_SIZE <= size; at += DIGEST_SIZE) {
        Digest object;
        memcpy(object.bytes, roots + at, DIGEST_SIZE);
        if (!mark_object(gc, &object, error))
            return false;
    }
    return true;
}

/* What writers count on: those that live, and those that are gone on with. */
static bool mark_writers(Gc *gc, GError **error)
{
    g_autoptr(GPtrArray) names = scan_names(gc->store, STORE_STAGING, false, error);
    _autofd int staging = names ? file_open_dir_at(gc->store->dirfd, STORE_STAGING, error) : -1;
    if (staging < 0)
        return false;
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        StagingState state;
        _autofd int lock = -1;
        if (!store_lock_staging(staging, name, &state, &lock, error))
            return false;
        if ((state == STAGING_ALIVE || state == STAGING_RESUMABLE) &&
            !mark_staging(gc, name, error))
            return false;
    }
    return true;
}

/* Whatever the roots are now: called again before each slice. */
static bool mark(Gc *gc, GError **error)
{
    /* streams first: both kinds must be known before a stream's named references are followed */
    g_autoptr(GHashTable) images = scan_links(gc->store, STORE_IMAGES, error);
    if (!images)
        return false;
    GHashTableIter iter;
    gpointer object;
    g_hash_table_iter_init(&iter, images);
    while (g_hash_table_iter_next(&iter, NULL, &object))
        digest_set_add(gc->is_image, object);
    return mark_refs(gc, STORE_STREAMS, gc->is_stream, error) &&
           mark_refs(gc, STORE_IMAGES, gc->is_image, error) && mark_writers(gc, error);
}

/* --- sweep ---------------------------------------------------------------------------------------------- */

static bool collect_dead(const Digest *object, const char *path _unused, const struct stat *st,
                         void *data, GError **error)
{
    Gc *gc = data;
    if (object && !g_hash_table_contains(gc->live, object)) {
        uint64_t size = (uint64_t)st->st_size;
        g_array_append_val(gc->dead, *object);
        g_array_append_val(gc->dead_sizes, size);
    } else if (object) {
        gc->result.kept_objects++;
        gc->result.kept_bytes += (uint64_t)st->st_size;
    }
    return cancel_check(error);
}

/* Links to what is not marked, and the temporary names of killed processes. */
static bool sweep_links(Gc *gc, StoreKind kind, GError **error)
{
    const char *dir = store_kind_dir(kind);
    g_autoptr(GHashTable) links = scan_links(gc->store, kind, error);
    g_autoptr(GPtrArray) names = links ? scan_names(gc->store, dir, true, error) : NULL;
    if (!names)
        return false;
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        const Digest *object = g_hash_table_lookup(links, name);
        bool temporary = g_str_has_prefix(name, ".tmp-");
        if (!temporary && (!object || g_hash_table_contains(gc->live, object)))
            continue;
        g_autofree char *path = g_strconcat(dir, "/", name, NULL);
        if (unlinkat(gc->store->dirfd, path, 0) < 0 && errno != ENOENT)
            return error_throw_errno(error, "cannot remove '%s'", path);
    }
    return true;
}

/* The directories of writers that died and that nobody will go on with. */
static bool sweep_staging(Gc *gc, GError **error)
{
    g_autoptr(GPtrArray) names = scan_names(gc->store, STORE_STAGING, false, error);
    _autofd int staging = names ? file_open_dir_at(gc->store->dirfd, STORE_STAGING, error) : -1;
    if (staging < 0)
        return false;
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        StagingState state;
        _autofd int lock = -1;
        if (!store_lock_staging(staging, name, &state, &lock, error) ||
            (state == STAGING_DEAD && !file_remove_all_at(staging, name, error)))
            return false;
    }
    return true;
}

static bool remove_object(Gc *gc, guint index, GError **error)
{
    const Digest *object = &g_array_index(gc->dead, Digest, index);
    if (g_hash_table_contains(gc->live, object)) /* needed since */
        return true;
    if (!gc->dry_run && unlinkat(gc->store->objects_fd, store_object_path(object).text, 0) < 0)
        return errno == ENOENT ||
               error_throw_errno(error, "cannot remove object '%.12s'", digest_hex(object).text);
    gc->result.objects++;
    gc->result.bytes += g_array_index(gc->dead_sizes, uint64_t, index);
    return true;
}

/* One slice under the lock: *at is where to go on. */
static bool sweep_slice(Gc *gc, guint *at, GError **error)
{
    _autofd int lock = store_lock(gc->store, true, "collecting garbage", error);
    if (lock < 0 || !mark(gc, error))
        return false;
    if (*at == 0 && (!sweep_links(gc, STORE_IMAGES, error) ||
                     !sweep_links(gc, STORE_STREAMS, error) || !sweep_staging(gc, error)))
        return false;
    gint64 start = g_get_monotonic_time();
    guint end = *at + MIN(SLICE_OBJECTS, gc->dead->len - *at);
    while (*at < end && g_get_monotonic_time() - start < SLICE_US)
        if (!remove_object(gc, (*at)++, error))
            return false;
    return true;
}

static bool run(Gc *gc, GError **error)
{
    guint at = 0;
    if (!mark(gc, error) || !scan_objects(gc->store, collect_dead, gc, error))
        return false;
    if (gc->dry_run) {
        for (; at < gc->dead->len; at++)
            remove_object(gc, at, NULL);
        return true;
    }
    do {
        if (!cancel_check(error) || !sweep_slice(gc, &at, error))
            return false;
    } while (at < gc->dead->len);
    return true;
}

bool store_gc(Store *store, const StoreGcOptions *options, StoreGcResult *out_result,
              GError **error)
{
    Gc gc = {
        .store = store,
        .live = digest_set_new(),
        .expanded = digest_set_new(),
        .is_stream = digest_set_new(),
        .is_image = digest_set_new(),
        .dead = g_array_new(false, false, sizeof(Digest)),
        .dead_sizes = g_array_new(false, false, sizeof(uint64_t)),
        .dry_run = options && options->dry_run,
    };
    bool done = run(&gc, error);
    g_hash_table_unref(gc.live);
    g_hash_table_unref(gc.expanded);
    g_hash_table_unref(gc.is_stream);
    g_hash_table_unref(gc.is_image);
    g_array_unref(gc.dead);
    g_array_unref(gc.dead_sizes);
    if (done)
        *out_result = gc.result;
    return done;
}
