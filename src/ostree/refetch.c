/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a commit's stream says which of its files each object of the store was, so a damaged one is that one
 * loose object of the remote that the branch came from: fetched, held against its OSTree checksum, and put. A commit's
 * image isn't fetched but written again, from the same stream.
 */
#include "base/hash.h"
#include "net/net.h"
#include "ostree/commit_data.h"
#include "ostree/object.h"
#include "ostree/ostree.h"
#include "ostree/stream_write.h"

#include <string.h>

typedef struct {
    Digest id;
    uint64_t size;
    const char *url; /* NULL: the commit was made here */
} Origin;

struct OstreeRefetch {
    Store *store;
    char *remotes_dir;
    NetClient *net;
    GHashTable *origins; /* Digest -> Origin; NULL until the first is looked for */
    GHashTable *images;  /* Digest -> checksum of the commit */
    GPtrArray *urls;
};

OstreeRefetch *ostree_refetch_new(Store *store, const char *remotes_dir)
{
    OstreeRefetch *refetch = g_new0(OstreeRefetch, 1);
    refetch->store = store_ref(store);
    refetch->remotes_dir = g_strdup(remotes_dir);
    refetch->urls = g_ptr_array_new_with_free_func(g_free);
    return refetch;
}

void ostree_refetch_free(OstreeRefetch *refetch)
{
    if (!refetch)
        return;
    net_client_free(refetch->net);
    g_clear_pointer(&refetch->origins, g_hash_table_unref);
    g_clear_pointer(&refetch->images, g_hash_table_unref);
    g_ptr_array_unref(refetch->urls);
    g_free(refetch->remotes_dir);
    store_unref(refetch->store);
    g_free(refetch);
}

/* --- where objects came from ---------------------------------------------------------------------------- */

static void add_origins(OstreeRefetch *refetch, const CommitData *commit, const char *url)
{
    for (size_t i = 0; i < commit_data_count(commit); i++) {
        Origin origin = {.url = url};
        CommitObject object;
        g_auto(ObjectFile) file = {0};
        commit_data_nth(commit, i, &origin.id, &object);
        if (!object.object || (!url && g_hash_table_contains(refetch->origins, object.object)) ||
            !object_parse_file(object.data, object.size, &file, NULL))
            continue;
        origin.size = file.size;
        g_hash_table_insert(refetch->origins, g_memdup2(object.object, sizeof(Digest)),
                            g_memdup2(&origin, sizeof origin));
    }
}

/* The URL of the branch's remote; NULL when it is our own, or the remote is not known any more. */
static const char *branch_url(OstreeRefetch *refetch, const char *branch)
{
    const char *colon = strchr(branch, ':');
    g_autofree char *name = colon ? g_strndup(branch, (size_t)(colon - branch)) : NULL;
    g_autoptr(OstreeRemote) remote =
        name ? ostree_remote_load(refetch->remotes_dir, name, NULL) : NULL;
    if (!remote)
        return NULL;
    g_ptr_array_add(refetch->urls, g_strdup(remote->url));
    return refetch->urls->pdata[refetch->urls->len - 1];
}

/* What can't be read tells nothing. */
static bool load_origins(OstreeRefetch *refetch, GError **error)
{
    g_autoptr(GHashTable) refs = ostree_list_refs(refetch->store, error);
    if (!refs)
        return false;
    refetch->origins = g_hash_table_new_full(digest_hash, digest_equal_void, g_free, g_free);
    refetch->images = g_hash_table_new_full(digest_hash, digest_equal_void, g_free, g_free);
    GHashTableIter iter;
    gpointer branch, checksum;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &branch, &checksum)) {
        Digest image;
        g_autoptr(CommitData) commit = commit_data_load(refetch->store, checksum, NULL);
        if (commit)
            add_origins(refetch, commit, branch_url(refetch, branch));
        if (commit && ostree_commit_image(refetch->store, checksum, &image, NULL))
            g_hash_table_insert(refetch->images, g_memdup2(&image, sizeof image),
                                g_strdup(checksum));
    }
    return true;
}

/* --- one object ----------------------------------------------------------------------------------------- */

static bool put_file(StoreTxn *txn, const Origin *origin, const char *url, GBytes *bytes,
                     GError **error)
{
    g_auto(ObjectFile) file = {0};
    size_t size;
    const uint8_t *data = g_bytes_get_data(bytes, &size);
    if (!object_parse_file(data, size, &file, error))
        return error_prefix(error, "'%s'", url);
    g_autoptr(GBytes) header = object_hash_header(&file);
    g_autoptr(HashSha256) hash = hash_sha256_new();
    Digest id, object;
    hash_sha256_update(hash, g_bytes_get_data(header, NULL), g_bytes_get_size(header));
    hash_sha256_update(hash, data + file.header_size, size - file.header_size);
    hash_sha256_finish(hash, &id);
    if (!digest_equal(&id, &origin->id))
        return error_throw(error, ERROR_CORRUPT, "what '%s' sent is not what its checksum says",
                           url);
    return store_txn_put(txn, data + file.header_size, size - file.header_size, &object, error);
}

static bool fetch_file(OstreeRefetch *refetch, StoreTxn *txn, const Origin *origin, GError **error)
{
    enum { HEADER_ROOM = 1 << 20 };
    if (!origin->url)
        return error_throw(error, ERROR_NOT_FOUND, "its commit came from no remote that is known");
    if (!refetch->net && !(refetch->net = net_client_new(error)))
        return false;
    g_autofree char *path = object_path(&origin->id, OBJECT_FILE);
    g_autofree char *url = g_strdup_printf("%s/%s", origin->url, path);
    g_autoptr(GBytes) bytes =
        net_fetch_bytes(refetch->net, url, NET_DECODE_FILEZ, origin->size + HEADER_ROOM, error);
    return bytes && put_file(txn, origin, url, bytes, error);
}

static bool write_image(OstreeRefetch *refetch, StoreTxn *txn, const char *checksum, GError **error)
{
    g_autoptr(Tree) tree = ostree_load_tree(refetch->store, checksum, error);
    g_autoptr(GBytes) image =
        tree && stream_add_mount_points(tree, error) ? tree_write_image(tree, error) : NULL;
    Digest object;
    return image && store_txn_put(txn, g_bytes_get_data(image, NULL), g_bytes_get_size(image),
                                  &object, error);
}

bool ostree_refetch(OstreeRefetch *refetch, StoreTxn *txn, const Digest *object, GError **error)
{
    if (!refetch->origins && !load_origins(refetch, error))
        return false;
    const Origin *origin = g_hash_table_lookup(refetch->origins, object);
    const char *checksum = g_hash_table_lookup(refetch->images, object);
    if (checksum)
        return write_image(refetch, txn, checksum, error);
    if (origin)
        return fetch_file(refetch, txn, origin, error);
    return error_throw(error, ERROR_NOT_FOUND, "no commit here says where it came from");
}
