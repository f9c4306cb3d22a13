/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cancel.h"
#include "store/scan.h"
#include "store/txn.h"

#include <string.h>

typedef struct {
    Store *store;
    const StoreFsckOptions *options;
    StoreFsckResult result;
    const char *what; /* the image or stream that is looked at */
} Fsck;

enum { IMAGE_LIMIT = 1 << 30 };

static void problem(Fsck *fsck, const char *format, ...) _printf(2, 3);
static void problem(Fsck *fsck, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    fsck->result.problems++;
    if (fsck->options->report)
        fsck->options->report(&(const StoreProblem){.message = text}, fsck->options->data);
}

static bool check_object(const Digest *object, const char *path, const struct stat *st, void *data,
                         GError **error)
{
    Fsck *fsck = data;
    if (!object) {
        problem(fsck, "'objects/%s' is not an object", path);
        return cancel_check(error);
    }
    fsck->result.objects++;
    fsck->result.bytes += (uint64_t)st->st_size;
    g_autoptr(GError) failed = NULL;
    Digest measured;
    uint64_t size;
    _autofd int fd = store_open_object(fsck->store, object, &failed);
    if (fd < 0 || !store_measure(fd, &measured, &size, &failed))
        problem(fsck, "%s", failed->message);
    else if (!digest_equal(object, &measured))
        problem(fsck, "object '%s' is damaged: its bytes measure '%.12s'", digest_hex(object).text,
                digest_hex(&measured).text);
    return cancel_check(error);
}

static bool check_needed(TreeNode *node, void *data, GError **error _unused)
{
    Fsck *fsck = data;
    if (!node->inode->has_object || store_has(fsck->store, &node->inode->object))
        return true;
    g_autofree char *path = tree_path(node);
    problem(fsck, "%s: object '%.12s' of '%s' is missing", fsck->what,
            digest_hex(&node->inode->object).text, path);
    return true;
}

static bool check_image(Fsck *fsck, const Digest *object, GError **error)
{
    g_autoptr(GBytes) bytes = store_read_object(fsck->store, object, IMAGE_LIMIT, error);
    g_autoptr(Tree) tree = bytes ? tree_read_image(bytes, error) : NULL;
    return tree && tree_walk(tree, check_needed, fsck, error);
}

static bool check_stream(Fsck *fsck, const Digest *object, GError **error)
{
    g_autoptr(StoreStream) stream = store_stream_open(fsck->store, object, error);
    if (!stream)
        return false;
    for (size_t i = 0; i < store_stream_n_objects(stream); i++)
        if (!store_has(fsck->store, store_stream_object(stream, i)))
            problem(fsck, "%s: object '%.12s' is missing", fsck->what,
                    digest_hex(store_stream_object(stream, i)).text);
    g_auto(GStrv) names = store_stream_ref_names(stream, error);
    for (char **name = names; name && *name; name++)
        if (!store_has(fsck->store, store_stream_ref(stream, *name, NULL)))
            problem(fsck, "%s: the object of its reference '%s' is missing", fsck->what, *name);
    const uint8_t *data;
    const Digest *piece;
    size_t size;
    do {
        if (!names || !store_stream_next(stream, &data, &size, &piece, error))
            return false;
    } while (data || piece);
    return true;
}

static void check_link(Fsck *fsck, StoreKind kind, const char *name, const Digest *object)
{
    g_autofree char *what =
        g_strdup_printf("%s '%s'", kind == STORE_IMAGES ? "image" : "stream", name);
    g_autoptr(GError) failed = NULL;
    fsck->what = what;
    if (!object)
        problem(fsck, "%s does not lead to an object", what);
    else if (!store_has(fsck->store, object))
        problem(fsck, "%s: object '%.12s' is missing", what, digest_hex(object).text);
    else if (kind == STORE_IMAGES && strcmp(name, digest_hex(object).text) != 0)
        problem(fsck, "%s leads to another object", what);
    else if (!(kind == STORE_IMAGES ? check_image : check_stream)(fsck, object, &failed))
        problem(fsck, "%s: %s", what, failed->message);
}

static bool check_names(Fsck *fsck, StoreKind kind, uint64_t *count, GError **error)
{
    g_autoptr(GHashTable) links = scan_links(fsck->store, kind, error);
    g_autoptr(GPtrArray) names =
        links ? scan_names(fsck->store, store_kind_dir(kind), false, error) : NULL;
    g_autoptr(GHashTable) refs = names ? store_list_refs(fsck->store, kind, "", error) : NULL;
    if (!refs)
        return false;
    for (guint i = 0; i < names->len; i++, ++*count) {
        const char *name = g_ptr_array_index(names, i);
        check_link(fsck, kind, name, g_hash_table_lookup(links, name));
        if (!cancel_check(error))
            return false;
    }
    GHashTableIter iter;
    gpointer name, target;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &name, &target)) {
        fsck->result.refs++;
        if (!g_hash_table_contains(links, target))
            problem(fsck, "the ref '%s/refs/%s' leads to '%s', which is not there",
                    store_kind_dir(kind), (const char *)name, (const char *)target);
    }
    return true;
}

bool store_fsck(Store *store, const StoreFsckOptions *options, StoreFsckResult *out_result,
                GError **error)
{
    static const StoreFsckOptions defaults;
    Fsck fsck = {.store = store, .options = options ? options : &defaults};
    if (!scan_objects(store, check_object, &fsck, error) ||
        !check_names(&fsck, STORE_IMAGES, &fsck.result.images, error) ||
        !check_names(&fsck, STORE_STREAMS, &fsck.result.streams, error))
        return false;
    *out_result = fsck.result;
    return true;
}
