/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What uses the space, and who shares it.
 *
 * How it works: the objects are listed once. Then each thing that has a name is walked, once: objects that exactly the
 * same things need form a class, and a thing that is walked splits the classes it meets into what it needs of them and
 * what not. So a pair of things is looked at once per class, of which there are few, not once per object, of which
 * there are millions; a class knows who needs it by the chain of splits that made it. */
#include "base/digest_table.h"
#include "base/sort.h"
#include "store/scan.h"
#include "store/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { IMAGE_LIMIT = 1 << 30, PAIRS_MAX = 2048 };

typedef struct {
    uint64_t size, blocks;
    uint32_t class, item; /* whose walk met it last, plus one */
} Object;

typedef struct {
    uint32_t parent, item; /* the class it was split off, and the item that did; class 0: nobody */
    uint32_t split_item, split; /* the item that split it last (plus one), and into what */
    uint64_t objects, bytes;
} Class;

typedef struct {
    Store *store;
    DigestTable index; /* object -> its place in `objects`, plus one */
    GArray *objects, *classes;
    GHashTable *items; /* hex of the image or stream -> StoreDuItem */
    uint32_t item;     /* that is walked, plus one */
    StoreDu *du;
} Du;

/* --- walking -------------------------------------------------------------------------------------------- */

/* True when the item that is walked meets the object for the first time. Missing objects use no space. */
static bool meet(Du *du, const Digest *digest)
{
    uint32_t at = digest_table_marks(&du->index, digest);
    if (!at)
        return false;
    Object *object = &g_array_index(du->objects, Object, at - 1);
    if (object->item == du->item)
        return false;
    object->item = du->item;
    Class *class = &g_array_index(du->classes, Class, object->class);
    if (class->split_item != du->item) {
        class->split_item = du->item;
        class->split = du->classes->len;
        Class new = {.parent = object->class, .item = du->item - 1};
        g_array_append_val(du->classes, new); /* `class` may have moved */
    }
    object->class = g_array_index(du->classes, Class, object->class).split;
    return true;
}

static bool meet_file(const Digest *object, void *data, GError **error _unused)
{
    meet(data, object);
    return true;
}

static bool walk(Du *du, const Digest *digest, GError **error);

static bool walk_stream(Du *du, const Digest *digest, GError **error)
{
    g_autoptr(StoreStream) stream = store_stream_open(du->store, digest, error);
    if (!stream)
        return false;
    for (size_t i = 0; i < store_stream_n_objects(stream); i++)
        meet(du, store_stream_object(stream, i));
    for (size_t i = 0; i < store_stream_n_refs(stream); i++)
        if (!walk(du, store_stream_nth_ref(stream, i), error))
            return false;
    return true;
}

/* An image, a stream or, a named reference may be that too, just an object; with all it needs. */
static bool walk(Du *du, const Digest *digest, GError **error)
{
    uint8_t head[STREAM_HEADER_SIZE] = {0};
    if (!meet(du, digest))
        return true;
    _autofd int fd = store_open_object(du->store, digest, error);
    if (fd < 0)
        return false;
    ssize_t n = sys_read_all(fd, head, sizeof head);
    if (n < 0)
        return error_throw(error, ERROR_FAILED, "cannot read object '%.12s': %s",
                           digest_hex(digest).text, g_strerror((int)-n));
    if (stream_has_magic(head))
        return walk_stream(du, digest, error);
    if (!tree_is_image(head, (size_t)n))
        return true;
    g_autoptr(GBytes) image = store_read_object(du->store, digest, IMAGE_LIMIT, error);
    return image && tree_image_each_object(image, meet_file, du, error);
}

/* --- what has a name ------------------------------------------------------------------------------------ */

static void item_free(void *data)
{
    StoreDuItem *item = data;
    g_ptr_array_unref(item->names);
    g_array_unref(item->roots);
    g_free(item->shares);
    g_free(item);
}

/* The image that a commit's or a container image's stream leads to: both names are of one thing. */
static bool find_image(Store *store, const Digest *object, int depth, Digest *out_image)
{
    g_autoptr(StoreStream) stream = store_stream_open(store, object, NULL);
    g_auto(GStrv) names = stream ? store_stream_ref_names(stream, NULL) : NULL;
    for (char **name = names; name && *name; name++) {
        const Digest *target = store_stream_ref(stream, *name, NULL);
        if (target && g_str_has_prefix(*name, "composefs.image")) {
            *out_image = *target;
            return true;
        }
        if (target && depth > 0 && g_str_has_prefix(*name, "config:") &&
            find_image(store, target, depth - 1, out_image))
            return true;
    }
    return false;
}

static void add_name(Du *du, StoreKind kind, const char *name, const Digest *object)
{
    Digest image = *object;
    bool is_image = kind == STORE_IMAGES || find_image(du->store, object, 1, &image);
    DigestHex key = digest_hex(is_image ? &image : object);
    StoreDuItem *item = g_hash_table_lookup(du->items, key.text);
    if (!item) {
        item = g_new0(StoreDuItem, 1);
        item->names = g_ptr_array_new_with_free_func(g_free);
        item->roots = g_array_new(false, false, sizeof(Digest));
        g_hash_table_insert(du->items, g_strdup(key.text), item);
        g_ptr_array_add(du->du->items, item);
    }
    if (is_image) {
        item->has_image = true;
        item->image = image;
    }
    g_array_append_val(item->roots, *object);
    for (guint i = 0; i < item->names->len; i++)
        if (strcmp(item->names->pdata[i], name) == 0)
            return;
    g_ptr_array_add(item->names, g_strdup(name));
}

static bool add_names(Du *du, StoreKind kind, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(du->store, kind, "", error);
    g_autoptr(GHashTable) links = refs ? scan_links(du->store, kind, error) : NULL;
    if (!links)
        return false;
    unsigned n;
    g_autofree char **names = sort_keys(refs, &n);
    for (unsigned i = 0; i < n; i++) {
        const Digest *object = g_hash_table_lookup(links, g_hash_table_lookup(refs, names[i]));
        if (object)
            add_name(du, kind, names[i], object);
    }
    return true;
}

/* --- adding up ------------------------------------------------------------------------------------------ */

static bool add_object(const Digest *digest, const char *path _unused, const struct stat *st,
                       void *data, GError **error _unused)
{
    Du *du = data;
    Object object = {.size = (uint64_t)st->st_size, .blocks = (uint64_t)st->st_blocks * 512};
    du->du->disk_bytes += object.blocks;
    if (!digest)
        return true;
    du->du->objects++;
    du->du->bytes += object.size;
    g_array_append_val(du->objects, object);
    digest_table_add(&du->index, digest, du->objects->len);
    return true;
}

static void add_up_class(Du *du, const Class *class, GArray *who, uint64_t *pairs)
{
    GPtrArray *items = du->du->items;
    g_array_set_size(who, 0);
    for (const Class *c = class; c != &g_array_index(du->classes, Class, 0);
         c = &g_array_index(du->classes, Class, c->parent))
        g_array_append_val(who, c->item);
    for (guint i = 0; i < who->len; i++) {
        uint32_t a = g_array_index(who, uint32_t, i);
        StoreDuItem *item = items->pdata[a];
        item->objects += class->objects;
        *(who->len == 1 ? &item->own_bytes : &item->shared_bytes) += class->bytes;
        for (guint j = 0; pairs && j < who->len; j++)
            if (j != i)
                pairs[(size_t)a * items->len + g_array_index(who, uint32_t, j)] += class->bytes;
    }
    if (who->len > 1)
        du->du->saved_bytes += (who->len - 1) * class->bytes;
}

static int most_first(const void *a, const void *b)
{
    const StoreDuShare *x = a, *y = b;
    return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : (int)x->item - (int)y->item;
}

static void keep_shares(StoreDu *du, const uint64_t *pairs)
{
    for (guint i = 0; i < du->items->len; i++) {
        StoreDuItem *item = du->items->pdata[i];
        item->shares = g_new0(StoreDuShare, du->items->len);
        for (guint j = 0; j < du->items->len; j++)
            if (pairs[(size_t)i * du->items->len + j])
                item->shares[item->n_shares++] =
                    (StoreDuShare){.item = j, .bytes = pairs[(size_t)i * du->items->len + j]};
        qsort(item->shares, item->n_shares, sizeof *item->shares, most_first);
    }
}

static void add_up(Du *du)
{
    size_t n = du->du->items->len;
    g_autofree uint64_t *pairs = n <= PAIRS_MAX ? g_new0(uint64_t, n * n + 1) : NULL;
    g_autoptr(GArray) who = g_array_new(false, false, sizeof(uint32_t));
    for (guint i = 0; i < du->objects->len; i++) {
        const Object *object = &g_array_index(du->objects, Object, i);
        Class *class = &g_array_index(du->classes, Class, object->class);
        class->objects++;
        class->bytes += object->size;
    }
    const Class *nobody = &g_array_index(du->classes, Class, 0);
    du->du->unreferenced_objects = nobody->objects;
    du->du->unreferenced_bytes = nobody->bytes;
    for (guint i = 1; i < du->classes->len; i++)
        if (g_array_index(du->classes, Class, i).objects)
            add_up_class(du, &g_array_index(du->classes, Class, i), who, pairs);
    if (pairs)
        keep_shares(du->du, pairs);
}

/* Of all writers; what they finish or drop meanwhile doesn't count. */
static bool add_staging(Store *store, StoreDu *du, GError **error)
{
    g_autoptr(GPtrArray) writers = scan_names(store, STORE_STAGING, true, error);
    for (guint i = 0; writers && i < writers->len; i++) {
        g_autofree char *dir = g_strconcat(STORE_STAGING "/", (char *)writers->pdata[i], NULL);
        g_autoptr(GPtrArray) names = file_list_at(store->dirfd, dir, NULL);
        for (guint j = 0; names && j < names->len; j++) {
            g_autofree char *path = g_strconcat(dir, "/", (char *)names->pdata[j], NULL);
            struct stat st;
            if (fstatat(store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
                du->staging_bytes += (uint64_t)st.st_blocks * 512;
        }
    }
    return writers && store_reserve_read(store, &du->reserve, error);
}

static bool run(Du *du, GError **error)
{
    Class nobody = {0};
    g_array_append_val(du->classes, nobody);
    if (!add_names(du, STORE_IMAGES, error) || !add_names(du, STORE_STREAMS, error) ||
        !scan_objects(du->store, add_object, du, error))
        return false;
    for (guint i = 0; i < du->du->items->len; i++) {
        const StoreDuItem *item = du->du->items->pdata[i];
        du->item = i + 1;
        for (guint j = 0; j < item->roots->len; j++)
            if (!walk(du, &g_array_index(item->roots, Digest, j), error))
                return error_prefix(error, "'%s'", (char *)item->names->pdata[0]);
    }
    add_up(du);
    return add_staging(du->store, du->du, error);
}

StoreDu *store_du(Store *store, GError **error)
{
    g_autoptr(StoreDu) result = g_new0(StoreDu, 1);
    result->items = g_ptr_array_new_with_free_func(item_free);
    Du du = {.store = store, .du = result};
    digest_table_init(&du.index);
    du.objects = g_array_new(false, false, sizeof(Object));
    du.classes = g_array_new(false, false, sizeof(Class));
    du.items = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    bool good = run(&du, error);
    digest_table_clear(&du.index);
    g_array_unref(du.objects);
    g_array_unref(du.classes);
    g_hash_table_unref(du.items);
    return good ? g_steal_pointer(&result) : NULL;
}

void store_du_free(StoreDu *du)
{
    if (!du)
        return;
    g_ptr_array_unref(du->items);
    g_free(du);
}
