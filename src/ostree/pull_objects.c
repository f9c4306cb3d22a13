/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fetching the objects of a pull: first directories, then files. */
#include "ostree/pull.h"

#include "base/digest_set.h"
#include "base/hash.h"

#include <string.h>

#define BATCH_USEC (2 * G_USEC_PER_SEC)
#define SMALL_MAX  (1u << 20) /* larger files go to the store piece by piece */

/* No honest commit comes near; without them an unsigned one could be without end. */
#define KEPT_MAX    (1u << 30)
#define OBJECTS_MAX 20000000u
#define DEPTH_MAX   2000

/* --- metadata ------------------------------------------------------------------------------------------------ */

typedef struct {
    Pull *pull;
    Digest id;
    ObjectType type;
} MetaRequest;

static char *object_url(const Pull *pull, const Digest *id, ObjectType type)
{
    g_autofree char *path = object_path(id, type);
    return g_strdup_printf("%s/%s", pull->remote->url, path);
}

static bool wrong_content(const Pull *pull, const Digest *id, ObjectType type, GError **error)
{
    g_autofree char *name = object_name(id, type);
    g_autofree char *url = object_url(pull, id, type);
    return error_throw(error, ERROR_CORRUPT,
                       "object '%s': what '%s' sent is not what its checksum says", name, url);
}

static bool keep(Pull *pull, const Digest *id, GBytes *bytes, const Digest *object,
                 uint64_t received, GError **error)
{
    pull->kept_bytes += g_bytes_get_size(bytes);
    if (pull->kept_bytes > KEPT_MAX)
        return error_throw(error, ERROR_INVALID, "the commit's metadata is larger than 1 GiB");
    object_set_add(pull->set, id, bytes, object);
    pull->fetched++;
    pull->progress.objects++;
    pull->progress.bytes += received;
    return !pull->journal || journal_add(pull->journal, id, bytes, object, received, error);
}

bool pull_keep_metadata(Pull *pull, const Digest *id, ObjectType type, GBytes *bytes,
                        GError **error)
{
    size_t size;
    const void *data = g_bytes_get_data(bytes, &size);
    Digest digest;
    hash_sha256(data, size, &digest);
    if (!digest_equal(&digest, id))
        return wrong_content(pull, id, type, error);
    return keep(pull, id, bytes, NULL, size, error);
}

static bool need_dir(Pull *pull, const Digest *tree, const Digest *meta, GError **error);
static bool need_metadata(Pull *pull, const Digest *id, ObjectType type, GError **error);

static void need_file(Pull *pull, const Digest *id);

static bool check_count(const Pull *pull, GError **error)
{
    return g_hash_table_size(pull->asked) <= OBJECTS_MAX ||
           error_throw(error, ERROR_INVALID, "the commit has more than %u objects", OBJECTS_MAX);
}

static bool need_entry(const char *name _unused, const Digest *id, const Digest *meta, void *data,
                       GError **error)
{
    if (meta)
        return need_dir(data, id, meta, error);
    need_file(data, id);
    return check_count(data, error);
}

static bool read_dirtree(Pull *pull, const CommitObject *object, GError **error)
{
    /* its own copy: the set grows while it is read */
    g_autoptr(GVariant) dirtree =
        object_parse(OBJECT_DIRTREE_TYPE, object->data, object->size, error);
    if (pull->depth >= DEPTH_MAX) /* what is at hand is read recursively */
        return error_throw(error, ERROR_INVALID, "the commit's directories are nested too deep");
    pull->depth++;
    bool ok = dirtree && object_each_entry(dirtree, need_entry, pull, error);
    pull->depth--;
    return ok;
}

static bool on_metadata(const NetResponse *response, void *user, GError **error)
{
    const MetaRequest *request = user;
    Pull *pull = request->pull;
    CommitObject object;
    bool ok = response->outcome == NET_OK
                  ? pull_keep_metadata(pull, &request->id, request->type, response->bytes, error)
                  : net_response_error(response, error);
    if (!ok)
        return false;
    pull_report(pull, false);
    if (request->type != OBJECT_DIRTREE)
        return true;
    return object_set_find(pull->set, &request->id, &object) && read_dirtree(pull, &object, error);
}

static bool need_metadata(Pull *pull, const Digest *id, ObjectType type, GError **error)
{
    if (!digest_set_add(pull->asked, id))
        return true;
    CommitObject object;
    if (pull_have(pull, id, &object))
        return type != OBJECT_DIRTREE || read_dirtree(pull, &object, error);
    MetaRequest *data = g_new0(MetaRequest, 1);
    *data = (MetaRequest){.pull = pull, .id = *id, .type = type};
    g_ptr_array_add(pull->requests, data);
    g_autofree char *url = object_url(pull, id, type);
    const NetRequest request = {
        .url = url, .limit = OBJECT_METADATA_MAX, .done = on_metadata, .user = data};
    net_client_get(pull->net, &request);
    return true;
}

static bool need_dir(Pull *pull, const Digest *tree, const Digest *meta, GError **error)
{
    return need_metadata(pull, meta, OBJECT_DIRMETA, error) &&
           need_metadata(pull, tree, OBJECT_DIRTREE, error);
}

/* --- files --------------------------------------------------------------------------------------------------- */

typedef struct {
    Pull *pull;
    Digest id;
    GByteArray *buffer; /* header, then the content while it is small */
    bool parsed;
    uint64_t size, seen; /* of the content */
    size_t header_size;
    HashSha256 *hash;
    StoreWriter *writer; /* large ones */
} PullFile;

void pull_file_free(void *data)
{
    PullFile *file = data;
    g_clear_pointer(&file->buffer, g_byte_array_unref);
    g_clear_pointer(&file->hash, hash_sha256_free);
    g_clear_pointer(&file->writer, store_writer_abort);
    g_free(file);
}

static void need_file(Pull *pull, const Digest *id)
{
    CommitObject object;
    if (!digest_set_add(pull->asked, id) || pull_have(pull, id, &object))
        return;
    PullFile *file = g_new0(PullFile, 1);
    file->pull = pull;
    file->id = *id;
    g_ptr_array_add(pull->files, file);
}

/* The header is complete: the checksum begins with its other form. */
static bool take_header(PullFile *file, GError **error)
{
    g_auto(ObjectFile) parsed = {0};
    if (!object_parse_file(file->buffer->data, file->buffer->len, &parsed, error))
        return false;
    file->parsed = true;
    file->size = parsed.size;
    file->header_size = parsed.header_size;
    g_autoptr(GBytes) header = object_hash_header(&parsed);
    file->hash = hash_sha256_new();
    size_t size;
    const void *bytes = g_bytes_get_data(header, &size);
    hash_sha256_update(file->hash, bytes, size);
    if (file->size > SMALL_MAX) {
        file->writer = store_writer_new(file->pull->txn, error);
        return file->writer != NULL;
    }
    return true;
}

static bool take_content(PullFile *file, const void *bytes, size_t size, GError **error)
{
    file->seen += size;
    hash_sha256_update(file->hash, bytes, size);
    if (file->writer)
        return store_writer_append(file->writer, bytes, size, error);
    g_byte_array_append(file->buffer, bytes, (unsigned)size);
    return true;
}

static bool on_file_data(const void *bytes, size_t size, void *user, GError **error)
{
    PullFile *file = user;
    if (file->parsed)
        return take_content(file, bytes, size, error);
    if (!file->buffer)
        file->buffer = g_byte_array_new();
    g_byte_array_append(file->buffer, bytes, (unsigned)size);
    uint32_t length;
    if (file->buffer->len < OBJECT_PREFIX_SIZE)
        return true;
    memcpy(&length, file->buffer->data, sizeof length);
    size_t header = OBJECT_PREFIX_SIZE + (size_t)GUINT32_FROM_BE(length);
    if (file->buffer->len < header)
        return true;
    if (!take_header(file, error))
        return error_prefix(error, "object '%s.filez'", digest_hex(&file->id).text);
    size_t rest = file->buffer->len - header;
    if (!rest)
        return true;
    g_autofree uint8_t *content = g_memdup2(file->buffer->data + header, rest);
    g_byte_array_set_size(file->buffer, (unsigned)header);
    return take_content(file, content, rest, error);
}

/* Full batches go by themselves; what comes slowly becomes durable, too, and may be gone on with after a kill. */
bool pull_tick(void *data, GError **error)
{
    Pull *pull = data;
    if (!pull->txn || g_get_monotonic_time() - pull->flushed_at < BATCH_USEC)
        return true;
    pull->flushed_at = g_get_monotonic_time();
    return store_txn_flush(pull->txn, error);
}

static bool keep_file(PullFile *file, uint64_t received, GError **error)
{
    Digest digest, object;
    Pull *pull = file->pull;
    if (!file->parsed)
        return wrong_content(pull, &file->id, OBJECT_FILE, error);
    hash_sha256_finish(file->hash, &digest);
    if (!digest_equal(&digest, &file->id) || file->seen != file->size)
        return wrong_content(pull, &file->id, OBJECT_FILE, error);
    if (file->writer) {
        if (!store_writer_finish(g_steal_pointer(&file->writer), &object, error))
            return false;
    } else if (file->size > TREE_INLINE_MAX) {
        if (!store_txn_put(pull->txn, file->buffer->data + file->header_size, file->size, &object,
                           error))
            return false;
        g_byte_array_set_size(file->buffer, (unsigned)file->header_size);
    }
    bool external = file->size > TREE_INLINE_MAX;
    g_autoptr(GBytes) bytes = g_bytes_new(file->buffer->data, file->buffer->len);
    return keep(pull, &file->id, bytes, external ? &object : NULL, received, error);
}

static bool on_file(const NetResponse *response, void *user, GError **error)
{
    PullFile *file = user;
    Pull *pull = file->pull;
    bool ok = response->outcome == NET_OK ? keep_file(file, response->received, error)
                                          : net_response_error(response, error);
    g_clear_pointer(&file->buffer, g_byte_array_unref);
    g_clear_pointer(&file->hash, hash_sha256_free);
    pull_report(pull, false);
    return ok;
}

bool pull_objects(Pull *pull, const Digest *root, const Digest *meta, GError **error)
{
    if (!need_dir(pull, root, meta, error) || !net_client_run(pull->net, 0, error))
        return false;
    pull->progress.objects_total = pull->progress.objects + pull->files->len;
    pull_report(pull, false);
    for (unsigned i = 0; i < pull->files->len; i++) {
        PullFile *file = pull->files->pdata[i];
        g_autofree char *url = object_url(pull, &file->id, OBJECT_FILE);
        const NetRequest request = {.url = url,
                                    .decode = NET_DECODE_FILEZ,
                                    .data = on_file_data,
                                    .done = on_file,
                                    .user = file};
        net_client_get(pull->net, &request);
    }
    return net_client_run(pull->net, 0, error);
}

bool pull_check_external(const Digest *id, const Digest *object, void *data, GError **error)
{
    const Pull *pull = data;
    if (store_txn_has(pull->txn, object))
        return true;
    return error_throw(error, ERROR_FAILED,
                       "the bytes of object '%s.filez' were removed meanwhile\nhint: pull again",
                       digest_hex(id).text);
}
