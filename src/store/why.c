/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the way that marking goes, backwards. First the images and streams that contain the object; then, for
 * each, the names that lead to it: refs, writers that count on it, and streams that refer to it, which are asked the
 * same. Only images that contain the object are read as trees, for the paths.
 */
#include "base/digest_set.h"
#include "store/mark.h"
#include "store/scan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { IMAGE_LIMIT = 1 << 30, PREFIX_MIN = 4, DEPTH_MAX = 16 };

typedef struct {
    StoreKind kind;
    char *path; /* "images/DIGEST", "streams/ID" */
    const Digest *object;
    StoreStream *stream; /* NULL: an image */
    GPtrArray *refs;     /* char *: "images/refs/NAME" */
} Link;

typedef struct {
    char *path;      /* "staging/NAME" */
    GHashTable *set; /* Digest: what it counts on */
} Writer;

typedef struct {
    Store *store;
    Mark mark; /* its links, and what is young */
    Digest object;
    GPtrArray *links;   /* Link */
    GPtrArray *writers; /* Writer */
    GPtrArray *chain;   /* const char *, from the object's end */
    GPtrArray *paths;   /* char *: of the object in the image at hand */
    StoreReasonFunc each;
    void *data;
} Why;

static void link_free(void *data)
{
    Link *link = data;
    g_free(link->path);
    store_stream_free(link->stream);
    g_ptr_array_unref(link->refs);
    g_free(link);
}

static void writer_free(void *data)
{
    Writer *writer = data;
    g_free(writer->path);
    g_hash_table_unref(writer->set);
    g_free(writer);
}

/* --- the names of the store ----------------------------------------------------------------------------- */

static int compare_links(const void *a, const void *b)
{
    return strcmp((*(Link *const *)a)->path, (*(Link *const *)b)->path);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool load_links(Why *why, StoreKind kind, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(why->store, kind, "", error);
    g_autoptr(GHashTable) by_name = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer name, object, target;
    why->mark.links[kind] = refs ? scan_links(why->store, kind, error) : NULL;
    if (!why->mark.links[kind])
        return false;
    g_hash_table_iter_init(&iter, why->mark.links[kind]);
    while (g_hash_table_iter_next(&iter, &name, &object)) {
        Link *link = g_new0(Link, 1);
        *link = (Link){.kind = kind, .object = object};
        link->path = g_strdup_printf("%s/%s", store_kind_dir(kind), (char *)name);
        link->refs = g_ptr_array_new_with_free_func(g_free);
        if (kind == STORE_STREAMS) /* fsck is who complains of those that can't be read */
            link->stream = store_stream_open(why->store, object, NULL);
        g_ptr_array_add(why->links, link);
        g_hash_table_insert(by_name, name, link);
    }
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &name, &target)) {
        Link *link = g_hash_table_lookup(by_name, target);
        if (link)
            g_ptr_array_add(link->refs,
                            g_strdup_printf("%s/refs/%s", store_kind_dir(kind), (char *)name));
    }
    return true;
}

static bool load_writer(int staging, const char *name, StagingState state, void *data,
                        GError **error)
{
    Why *why = data;
    if (state != STAGING_ALIVE && state != STAGING_RESUMABLE)
        return true;
    g_autofree char *path = g_strconcat(name, "/" STORE_STAGING_ROOTS, NULL);
    g_autoptr(GError) failed = NULL;
    size_t size;
    g_autofree char *roots = file_read_at(staging, path, (size_t)1 << 32, &size, &failed);
    if (!roots && !error_is(failed, ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    Writer *writer = g_new0(Writer, 1);
    *writer = (Writer){g_strconcat(STORE_STAGING "/", name, NULL), digest_set_new()};
    for (size_t at = 0; roots && at + DIGEST_SIZE <= size; at += DIGEST_SIZE) {
        Digest object;
        memcpy(object.bytes, roots + at, DIGEST_SIZE);
        digest_set_add(writer->set, &object);
    }
    g_autofree char *staged = g_strdup_printf("%s/%s", name, digest_hex(&why->object).text);
    if (faccessat(staging, staged, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        digest_set_add(writer->set, &why->object);
    g_ptr_array_add(why->writers, writer);
    return true;
}

static bool load_names(Why *why, GError **error)
{
    if (!load_links(why, STORE_IMAGES, error) || !load_links(why, STORE_STREAMS, error) ||
        !scan_staging(why->store, load_writer, why, error))
        return false;
    g_ptr_array_sort(why->links, compare_links);
    for (guint i = 0; i < why->links->len; i++)
        g_ptr_array_sort(((Link *)why->links->pdata[i])->refs, compare_strings);
    return true;
}

/* --- chains --------------------------------------------------------------------------------------------- */

static void give(Why *why, StoreReasonKind kind, const char *root)
{
    g_autoptr(GPtrArray) links = g_ptr_array_new();
    if (root)
        g_ptr_array_add(links, (void *)root);
    for (guint i = why->chain->len; i > 0; i--)
        g_ptr_array_add(links, why->chain->pdata[i - 1]);
    g_ptr_array_add(links, NULL);
    g_ptr_array_add(why->paths, NULL);
    const StoreReason reason = {
        .kind = kind,
        .links = (const char *const *)links->pdata,
        .paths = (const char *const *)why->paths->pdata,
    };
    why->each(&reason, why->data);
    g_ptr_array_set_size(why->paths, (int)why->paths->len - 1);
}

static bool give_writers(Why *why, const Digest *object)
{
    bool any = false;
    for (guint i = 0; i < why->writers->len; i++) {
        const Writer *writer = why->writers->pdata[i];
        if (!g_hash_table_contains(writer->set, object))
            continue;
        give(why, STORE_REASON_WRITER, writer->path);
        any = true;
    }
    return any;
}

static bool is_young(Why *why, const char *path)
{
    struct stat st;
    return fstatat(why->store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           mark_is_young(&why->mark, &st);
}

static bool refers_to(const Link *link, const Digest *object)
{
    for (size_t i = 0; link->stream && i < store_stream_n_refs(link->stream); i++)
        if (digest_equal(store_stream_nth_ref(link->stream, i), object))
            return true;
    return false;
}

static void explain(Why *why, const Link *link);

/* By the references of streams. */
static bool explain_references(Why *why, const Digest *object)
{
    bool any = false;
    for (guint i = 0; why->chain->len < DEPTH_MAX && i < why->links->len; i++) {
        const Link *from = why->links->pdata[i];
        if (!refers_to(from, object))
            continue;
        explain(why, from);
        any = true;
    }
    return any;
}

/* Whoever leads to the link, which is a reason of what is in the chain already. */
static void explain(Why *why, const Link *link)
{
    g_ptr_array_add(why->chain, link->path);
    bool any = give_writers(why, link->object);
    for (guint i = 0; i < link->refs->len; i++, any = true)
        give(why, STORE_REASON_REF, link->refs->pdata[i]);
    if (is_young(why, link->path)) {
        give(why, STORE_REASON_YOUNG, NULL);
        any = true;
    }
    if (!explain_references(why, link->object) && !any)
        give(why, STORE_REASON_NONE, NULL);
    g_ptr_array_set_size(why->chain, (int)why->chain->len - 1);
}

/* --- what contains the object --------------------------------------------------------------------------- */

typedef struct {
    const Digest *object;
    bool found;
} Search;

static bool search_object(const Digest *object, void *data, GError **error _unused)
{
    Search *search = data;
    search->found |= digest_equal(object, search->object);
    return !search->found; /* ends the walk */
}

static bool add_path(TreeNode *node, void *data, GError **error _unused)
{
    Why *why = data;
    const TreeInode *inode = node->inode;
    Digest object = inode->object;
    if ((inode->has_object ||
         (inode->payload && store_parse_object_path(inode->payload, &object))) &&
        digest_equal(&object, &why->object))
        g_ptr_array_add(why->paths, tree_path(node));
    return true;
}

static bool contains(Why *why, const Link *link)
{
    Search search = {.object = &why->object};
    for (size_t i = 0; link->stream && i < store_stream_n_objects(link->stream); i++)
        if (!search_object(store_stream_object(link->stream, i), &search, NULL))
            return true;
    if (link->kind != STORE_IMAGES)
        return false;
    g_autoptr(GBytes) bytes = store_read_object(why->store, link->object, IMAGE_LIMIT, NULL);
    if (!bytes || (!tree_image_each_object(bytes, search_object, &search, NULL) && !search.found))
        return false;
    g_autoptr(Tree) tree = search.found ? tree_read_image(bytes, NULL) : NULL;
    return search.found && (!tree || tree_walk(tree, add_path, why, NULL));
}

static void explain_object(Why *why)
{
    g_autofree char *path = g_strconcat("objects/", store_object_path(&why->object).text, NULL);
    give_writers(why, &why->object);
    if (is_young(why, path))
        give(why, STORE_REASON_YOUNG, path);
    bool linked = false;
    for (guint i = 0; i < why->links->len; i++) {
        const Link *link = why->links->pdata[i];
        bool is_it = digest_equal(link->object, &why->object);
        linked |= is_it;
        if (is_it || contains(why, link))
            explain(why, link);
        g_ptr_array_set_size(why->paths, 0);
    }
    if (!linked) /* explain() asks for links */
        explain_references(why, &why->object);
}

/* --- the object's name ---------------------------------------------------------------------------------- */

typedef struct {
    const char *prefix;
    Digest object;
    unsigned n;
} Prefix;

static bool match_prefix(const Digest *object, const char *path _unused, ino_t inode _unused,
                         void *data, GError **error _unused)
{
    Prefix *prefix = data;
    if (object && g_str_has_prefix(digest_hex(object).text, prefix->prefix)) {
        prefix->object = *object;
        prefix->n++;
    }
    return true;
}

static bool find_object(Store *store, const char *name, Digest *out_object, GError **error)
{
    Prefix prefix = {.prefix = name};
    if (digest_parse(name, out_object)) /* also one that is missing */
        return true;
    if (strlen(name) < PREFIX_MIN || strspn(name, "0123456789abcdef") != strlen(name))
        return error_throw(error, ERROR_INVALID,
                           "'%s' is not a digest, nor four digits of one or more", name);
    if (!scan_object_names(store, match_prefix, &prefix, error))
        return false;
    if (prefix.n != 1)
        return error_throw(error, prefix.n ? ERROR_INVALID : ERROR_NOT_FOUND,
                           "%s of the store '%s' begins with '%s'",
                           prefix.n ? "more than one object" : "no object", store->path, name);
    *out_object = prefix.object;
    return true;
}

bool store_why(Store *store, const char *object, uint64_t keep_younger, StoreReasonFunc each,
               void *data, Digest *out_object, GError **error)
{
    Why why = {.store = store, .each = each, .data = data};
    if (!find_object(store, object, &why.object, error))
        return false;
    mark_init(&why.mark, store, mark_young_since(keep_younger));
    why.links = g_ptr_array_new_with_free_func(link_free);
    why.writers = g_ptr_array_new_with_free_func(writer_free);
    why.chain = g_ptr_array_new();
    why.paths = g_ptr_array_new_with_free_func(g_free);
    bool good = load_names(&why, error);
    if (good) {
        explain_object(&why);
        *out_object = why.object;
    }
    g_ptr_array_unref(why.links);
    g_ptr_array_unref(why.writers);
    g_ptr_array_unref(why.chain);
    g_ptr_array_unref(why.paths);
    mark_clear(&why.mark);
    return good;
}
