/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing images.
 *
 * Order: layer, config and manifest are objects of one transaction; it is flushed; then the
 * streams get their names, what is referred to first; then the refs. Power loss before the last
 * ref leaves garbage.
 */
#include "base/hash.h"
#include "oci/image.h"
#include "oci/json.h"

#include <string.h>

#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TYPE_CONFIG   "application/vnd.oci.image.config.v1+json"
#define TYPE_LAYER    "application/vnd.oci.image.layer.v1.tar"

/* eight ASCII bytes as a little-endian number */
#define CONTENT_TYPE(a, b, c, d, e, f, g, h)                                                       \
    ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24 |              \
     (uint64_t)(e) << 32 | (uint64_t)(f) << 40 | (uint64_t)(g) << 48 | (uint64_t)(h) << 56)
#define CONTENT_LAYER    CONTENT_TYPE('o', 'c', 'i', 'l', 'a', 'y', 'e', 'r')
#define CONTENT_CONFIG   CONTENT_TYPE('o', 'c', 'i', 'c', 'o', 'n', 'f', 'g')
#define CONTENT_MANIFEST CONTENT_TYPE('o', 'c', 'i', 'm', 'a', 'n', 'i', 'f')

G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreStreamWriter, store_stream_abort)

void oci_layer_free(OciLayer *layer)
{
    if (!layer)
        return;
    g_free(layer->diff_id);
    g_free(layer);
}

/* --- layers ----------------------------------------------------------------------------------- */

typedef struct {
    StoreTxn *txn;
    StoreStreamWriter *writer;
    HashSha256 *hash;
    uint64_t size;
} LayerSink;

static bool sink_bytes(void *data, const void *bytes, size_t size, GError **error)
{
    LayerSink *sink = data;
    hash_sha256_update(sink->hash, bytes, size);
    sink->size += size;
    return store_stream_write_inline(sink->writer, bytes, size, error);
}

/* The file's bytes are read only to hash them: the diff_id covers them, and nothing else knows
 * it. */
static bool hash_object(LayerSink *sink, const Digest *object, uint64_t size, GError **error)
{
    _autofd int fd = store_open_object(store_txn_store(sink->txn), object, error);
    if (fd < 0)
        return false;
    g_autofree char *buffer = g_malloc(128 * 1024);
    uint64_t done = 0;
    for (;;) {
        ssize_t n = sys_read_all(fd, buffer, 128 * 1024);
        if (n < 0)
            return error_throw(error, ERROR_FAILED, "cannot read object '%s': %s",
                               digest_hex(object).text, g_strerror((int)-n));
        if (n == 0)
            break;
        hash_sha256_update(sink->hash, buffer, (size_t)n);
        done += (uint64_t)n;
    }
    return done == size ||
           error_throw(error, ERROR_CORRUPT,
                       "object '%s' has %" G_GUINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT,
                       digest_hex(object).text, done, size);
}

static bool sink_object(void *data, const Digest *object, uint64_t size, GError **error)
{
    LayerSink *sink = data;
    if (!hash_object(sink, object, size, error))
        return false;
    sink->size += size;
    return store_stream_write_object(sink->writer, object, size, error);
}

/* In a layer's tar such a name means that something is removed, so no file can have it. */
static bool check_name(TreeNode *node, void *data, GError **error)
{
    if (!g_str_has_prefix(node->name, ".wh."))
        return true;
    g_autofree char *path = tree_path(node);
    return error_throw(error, ERROR_INVALID, "an image can't hold a file of this name: '%s'", path);
}

OciLayer *oci_layer_write(StoreTxn *txn, Tree *layer, GError **error)
{
    static const StoreTarSink functions = {sink_bytes, sink_object};
    /* what the layer's files refer to must be readable through the store */
    if (!tree_walk(layer, check_name, NULL, error) || !store_txn_flush(txn, error))
        return NULL;
    g_autoptr(HashSha256) hash = hash_sha256_new();
    g_autoptr(StoreStreamWriter) writer = store_stream_writer_new(txn, CONTENT_LAYER, error);
    LayerSink sink = {txn, writer, hash, 0};
    if (!writer || !store_write_tar(layer, &functions, &sink, error))
        return NULL;
    g_autoptr(OciLayer) result = g_new0(OciLayer, 1);
    if (!store_stream_finish(g_steal_pointer(&writer), &result->stream, error))
        return NULL;
    Digest diff_id;
    hash_sha256_finish(hash, &diff_id);
    result->diff_id = g_strconcat("sha256:", digest_hex(&diff_id).text, NULL);
    result->size = sink.size;
    return g_steal_pointer(&result);
}

/* --- config and manifest ---------------------------------------------------------------------- */

typedef struct {
    char *digest;  /* "sha256:…" of the JSON */
    Digest object; /* the JSON */
    size_t size;
} JsonBlob;

static void json_blob_clear(JsonBlob *object)
{
    g_free(object->digest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JsonBlob, json_blob_clear)

static bool put_json(StoreTxn *txn, const char *json, JsonBlob *out, GError **error)
{
    Digest digest;
    out->size = strlen(json);
    hash_sha256(json, out->size, &digest);
    out->digest = g_strconcat("sha256:", digest_hex(&digest).text, NULL);
    return store_txn_put(txn, json, out->size, &out->object, error);
}

static bool find_layer(StoreTxn *txn, const char *diff_id, const OciLayer *new_layer, Digest *out,
                       GError **error)
{
    if (new_layer && strcmp(diff_id, new_layer->diff_id) == 0) {
        *out = new_layer->stream;
        return true;
    }
    g_autofree char *stream_id = g_strconcat(OCI_LAYER_STREAM, diff_id, NULL);
    return store_find_stream(store_txn_store(txn), stream_id, out, error);
}

static bool is_repeated(char *const *first, char *const *id)
{
    for (; first < id; first++)
        if (strcmp(*first, *id) == 0)
            return true;
    return false;
}

/* A named reference for each layer, in order. */
static bool add_layers(StoreTxn *txn, StoreStreamWriter *writer, const OciConfig *config,
                       const OciLayer *new_layer, GError **error)
{
    for (char **id = config->diff_ids; *id; id++) {
        Digest layer;
        if (is_repeated(config->diff_ids, id))
            continue;
        if (!find_layer(txn, *id, new_layer, &layer, error))
            return false;
        store_stream_add_ref(writer, *id, &layer);
    }
    return true;
}

static bool link_stream(StoreTxn *txn, const char *kind, const char *digest, const Digest *object,
                        GError **error)
{
    g_autofree char *id = g_strconcat(kind, digest, NULL);
    return store_link_stream(store_txn_store(txn), id, object, error);
}

bool oci_image_write(StoreTxn *txn, const OciImageWrite *what, char **out_id, GError **error)
{
    g_autofree char *json = oci_config_format(what->config);
    g_auto(JsonBlob) config = {0};
    if (!put_json(txn, json, &config, error))
        return false;
    g_autoptr(StoreStreamWriter) writer = store_stream_writer_new(txn, CONTENT_CONFIG, error);
    if (!writer || !store_stream_write_object(writer, &config.object, config.size, error) ||
        !add_layers(txn, writer, what->config, what->new_layer, error))
        return false;
    store_stream_add_ref(writer, OCI_IMAGE_REF, what->image);
    Digest stream;
    if (!store_stream_finish(g_steal_pointer(&writer), &stream, error) ||
        !store_txn_flush(txn, error))
        return false;
    if (what->new_layer && !link_stream(txn, OCI_LAYER_STREAM, what->new_layer->diff_id,
                                        &what->new_layer->stream, error))
        return false;
    if (!link_stream(txn, OCI_CONFIG_STREAM, config.digest, &stream, error))
        return false;
    *out_id = g_steal_pointer(&config.digest);
    return true;
}

static json_t *descriptor(const char *type, const char *digest, uint64_t size)
{
    return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size",
                     (json_int_t)size);
}

/* The manifest of a written image. Layers are listed by their uncompressed tars: that is what we
 * hold. */
static char *format_manifest(Store *store, const OciImage *image, size_t config_size,
                             GError **error)
{
    json_t *layers = json_array();
    for (char **id = image->config->diff_ids; *id; id++) {
        g_autofree char *stream_id = g_strconcat(OCI_LAYER_STREAM, *id, NULL);
        g_autoptr(StoreStream) stream = store_stream_open_id(store, stream_id, error);
        if (!stream) {
            json_decref(layers);
            return NULL;
        }
        json_array_append_new(layers, descriptor(TYPE_LAYER, *id, store_stream_size(stream)));
    }
    json_t *root =
        json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", TYPE_MANIFEST, "config",
                  descriptor(TYPE_CONFIG, image->id, config_size), "layers", layers);
    return oci_json_dump(root, JSON_COMPACT);
}

static bool write_manifest(StoreTxn *txn, const OciImage *image, char **out_digest, GError **error)
{
    Store *store = store_txn_store(txn);
    g_autofree char *config_id = g_strconcat(OCI_CONFIG_STREAM, image->id, NULL);
    Digest config_stream, stream;
    g_autoptr(StoreStream) config = store_stream_open_id(store, config_id, error);
    if (!config || !store_find_stream(store, config_id, &config_stream, error))
        return false;
    g_autofree char *json = format_manifest(store, image, store_stream_size(config), error);
    g_auto(JsonBlob) manifest = {0};
    if (!json || !put_json(txn, json, &manifest, error))
        return false;
    g_autoptr(StoreStreamWriter) writer = store_stream_writer_new(txn, CONTENT_MANIFEST, error);
    if (!writer || !store_stream_write_object(writer, &manifest.object, manifest.size, error))
        return false;
    g_autofree char *config_ref = g_strconcat("config:", image->id, NULL);
    store_stream_add_ref(writer, config_ref, &config_stream);
    if (!add_layers(txn, writer, image->config, NULL, error) ||
        !store_stream_finish(g_steal_pointer(&writer), &stream, error) ||
        !store_txn_flush(txn, error) ||
        !link_stream(txn, OCI_MANIFEST_STREAM, manifest.digest, &stream, error))
        return false;
    *out_digest = g_steal_pointer(&manifest.digest);
    return true;
}

bool oci_image_keep(StoreTxn *txn, OciImage *image, GError **error)
{
    if (image->manifest)
        return true;
    g_autofree char *digest = NULL;
    if (!write_manifest(txn, image, &digest, error))
        return error_prefix(error, "cannot write the manifest of '%s'", image->id);
    g_autofree char *ref = g_strconcat(OCI_IDS, "/", image->id + strlen("sha256:"), NULL);
    g_autofree char *stream_id = g_strconcat(OCI_MANIFEST_STREAM, digest, NULL);
    if (!store_set_ref(store_txn_store(txn), STORE_STREAMS, ref, stream_id, error))
        return false;
    image->manifest = g_steal_pointer(&digest);
    return true;
}
