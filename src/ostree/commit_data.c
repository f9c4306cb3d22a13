/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The body of a commit stream (formats/composefs.md 4.1):
 *
 *     u32 index of the commit, u32 flags, 256 x u32 bucket ends
 *     n x 32 bytes ids, ascending; the last bucket end is n
 *     n x {u32 offset / 8, u32 length, u32 index of the external object or ~0}
 *     the objects' bytes in order of their ids, each padded to 8
 *
 * It is looked at in place, every number checked: streams may come from other programs. */
#include "ostree/commit_data.h"

#include "ostree/object.h"

#include <string.h>

#define BUCKETS     256
#define HEADER_SIZE (8 + BUCKETS * 4)
#define INFO_SIZE   12
#define NO_OBJECT   UINT32_MAX

struct CommitData {
    GBytes *body;
    Digest *objects;
    size_t n_objects, n;
    const uint8_t *ids, *infos, *data;
    size_t data_size;
};

static uint32_t read_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return GUINT32_FROM_LE(value);
}

/* The entry's place, false when it lies outside. */
static bool get_entry(const CommitData *commit, size_t index, CommitObject *out_object)
{
    const uint8_t *info = commit->infos + index * INFO_SIZE;
    uint64_t offset = (uint64_t)read_u32(info) * 8;
    uint32_t size = read_u32(info + 4), object = read_u32(info + 8);
    if (offset > commit->data_size || size > commit->data_size - offset)
        return false;
    if (object != NO_OBJECT && object >= commit->n_objects)
        return false;
    *out_object = (CommitObject){
        .data = commit->data + offset,
        .size = size,
        .object = object == NO_OBJECT ? NULL : &commit->objects[object],
    };
    return true;
}

static bool check_entries(const CommitData *commit, const uint8_t *header)
{
    for (size_t i = 0; i < commit->n; i++) {
        CommitObject object;
        if (i && memcmp(commit->ids + (i - 1) * DIGEST_SIZE, commit->ids + i * DIGEST_SIZE,
                        DIGEST_SIZE) >= 0)
            return false;
        if (!get_entry(commit, i, &object))
            return false;
    }
    for (size_t b = 0; b < BUCKETS; b++) {
        uint32_t end = read_u32(header + 8 + b * 4);
        if (end > commit->n || (end > 0 && commit->ids[(end - 1) * DIGEST_SIZE] > b) ||
            (end < commit->n && commit->ids[end * DIGEST_SIZE] <= b))
            return false;
    }
    return true;
}

CommitData *commit_data_parse(GBytes *body, const Digest *objects, size_t n_objects, GError **error)
{
    size_t size;
    const uint8_t *data = g_bytes_get_data(body, &size);
    if (size < HEADER_SIZE)
        return error_throw_null(error, ERROR_CORRUPT, "the commit stream is cut short");
    size_t n = read_u32(data + 8 + (BUCKETS - 1) * 4);
    if (n > (size - HEADER_SIZE) / (DIGEST_SIZE + INFO_SIZE))
        return error_throw_null(error, ERROR_CORRUPT, "the commit stream is cut short");
    g_autoptr(CommitData) commit = g_new0(CommitData, 1);
    commit->body = g_bytes_ref(body);
    commit->objects = g_memdup2(objects, n_objects * sizeof *objects);
    commit->n_objects = n_objects;
    commit->n = n;
    commit->ids = data + HEADER_SIZE;
    commit->infos = commit->ids + n * DIGEST_SIZE;
    commit->data = commit->infos + n * INFO_SIZE;
    commit->data_size = size - HEADER_SIZE - n * (DIGEST_SIZE + INFO_SIZE);
    if (!check_entries(commit, data))
        return error_throw_null(error, ERROR_CORRUPT, "the commit stream is malformed");
    return g_steal_pointer(&commit);
}

CommitData *commit_data_load(Store *store, const char *checksum, GError **error)
{
    g_autofree char *id = g_strconcat("ostree-commit-", checksum, NULL);
    Digest object;
    if (!store_find_stream(store, id, &object, NULL))
        return error_throw_null(error, ERROR_NOT_FOUND, "the store has no commit '%s'", checksum);
    g_autoptr(StoreStream) stream = store_stream_open_id(store, id, error);
    if (!stream)
        return NULL;
    if (store_stream_content_type(stream) != COMMIT_STREAM_TYPE)
        return error_throw_null(error, ERROR_CORRUPT, "'%s' is not a commit stream", id);
    g_autoptr(GBytes) body = store_stream_read_all(stream, UINT32_MAX, error);
    if (!body)
        return NULL;
    size_t n = store_stream_n_objects(stream);
    g_autofree Digest *objects = g_new(Digest, n + 1);
    for (size_t i = 0; i < n; i++)
        objects[i] = *store_stream_object(stream, i);
    CommitData *commit = commit_data_parse(body, objects, n, error);
    if (!commit)
        error_prefix(error, "'%s'", id);
    return commit;
}

void commit_data_free(CommitData *commit)
{
    if (!commit)
        return;
    g_bytes_unref(commit->body);
    g_free(commit->objects);
    g_free(commit);
}

bool commit_data_find(const void *from, const Digest *id, CommitObject *out_object)
{
    const CommitData *commit = from;
    size_t low = 0, high = commit->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(id->bytes, commit->ids + middle * DIGEST_SIZE, DIGEST_SIZE);
        if (order == 0)
            return get_entry(commit, middle, out_object);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

size_t commit_data_count(const CommitData *commit)
{
    return commit->n;
}

void commit_data_nth(const CommitData *commit, size_t index, Digest *out_id,
                     CommitObject *out_object)
{
    memcpy(out_id->bytes, commit->ids + index * DIGEST_SIZE, DIGEST_SIZE);
    get_entry(commit, index, out_object);
}

/* --- gathering ------------------------------------------------------------------------------------------- */

typedef struct {
    Digest id, object;
    bool external;
    GBytes *data;
} Entry;

struct ObjectSet {
    GHashTable *entries; /* &entry->id -> Entry * */
};

static void entry_free(void *data)
{
    Entry *entry = data;
    g_bytes_unref(entry->data);
    g_free(entry);
}

ObjectSet *object_set_new(void)
{
    ObjectSet *set = g_new0(ObjectSet, 1);
    set->entries = g_hash_table_new_full(digest_hash, digest_equal_void, NULL, entry_free);
    return set;
}

void object_set_free(ObjectSet *set)
{
    if (!set)
        return;
    g_hash_table_unref(set->entries);
    g_free(set);
}

void object_set_add(ObjectSet *set, const Digest *id, GBytes *data, const Digest *object)
{
    if (g_hash_table_contains(set->entries, id))
        return;
    Entry *entry = g_new0(Entry, 1);
    entry->id = *id;
    entry->data = g_bytes_ref(data);
    entry->external = object != NULL;
    if (object)
        entry->object = *object;
    g_hash_table_insert(set->entries, &entry->id, entry);
}

bool object_set_find(const void *from, const Digest *id, CommitObject *out_object)
{
    const ObjectSet *set = from;
    const Entry *entry = g_hash_table_lookup(set->entries, id);
    if (!entry)
        return false;
    out_object->data = g_bytes_get_data(entry->data, &out_object->size);
    out_object->object = entry->external ? &entry->object : NULL;
    return true;
}

bool object_set_each_external(const ObjectSet *set,
                              bool (*visit)(const Digest *id, const Digest *object, void *data,
                                            GError **error),
                              void *data, GError **error)
{
    GHashTableIter iter;
    g_hash_table_iter_init(&iter, set->entries);
    for (void *value; g_hash_table_iter_next(&iter, NULL, &value);) {
        const Entry *entry = value;
        if (entry->external && !visit(&entry->id, &entry->object, data, error))
            return false;
    }
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    return digest_compare(&(*(Entry *const *)a)->id, &(*(Entry *const *)b)->id);
}

static void append_u32(GByteArray *array, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    g_byte_array_append(array, (const uint8_t *)&value, sizeof value);
}

static void append_header(GByteArray *out, Entry *const *entries, unsigned n, const Digest *commit)
{
    uint32_t index = 0, ends[BUCKETS] = {0};
    for (unsigned i = 0; i < n; i++) {
        ends[entries[i]->id.bytes[0]]++;
        if (digest_equal(&entries[i]->id, commit))
            index = i;
    }
    append_u32(out, index);
    append_u32(out, 0);
    uint32_t end = 0;
    for (unsigned b = 0; b < BUCKETS; b++)
        append_u32(out, end += ends[b]);
}

GBytes *object_set_format(const ObjectSet *set, const Digest *commit,
                          uint32_t (*add)(void *data, const Digest *object), void *data,
                          GError **error)
{
    unsigned n = 0;
    g_autofree Entry **entries = g_new(Entry *, g_hash_table_size(set->entries) + 1);
    GHashTableIter iter;
    g_hash_table_iter_init(&iter, set->entries);
    for (void *value; g_hash_table_iter_next(&iter, NULL, &value);)
        entries[n++] = value;
    qsort(entries, n, sizeof *entries, compare_entries);

    g_autoptr(GByteArray) out = g_byte_array_new();
    append_header(out, entries, n, commit);
    for (unsigned i = 0; i < n; i++)
        g_byte_array_append(out, entries[i]->id.bytes, DIGEST_SIZE);
    uint64_t offset = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t size = g_bytes_get_size(entries[i]->data);
        append_u32(out, (uint32_t)(offset / 8));
        append_u32(out, (uint32_t)size);
        append_u32(out, entries[i]->external ? add(data, &entries[i]->object) : NO_OBJECT);
        offset += (size + 7) & ~(uint64_t)7;
    }
    if (out->len + offset > UINT32_MAX) /* of GByteArray; the format could hold eight times that */
        return error_throw_null(error, ERROR_INVALID, "the commit's metadata is larger than 4 GiB");
    for (unsigned i = 0; i < n; i++) {
        size_t size;
        const void *bytes = g_bytes_get_data(entries[i]->data, &size);
        static const uint8_t zeros[8];
        g_byte_array_append(out, bytes, (unsigned)size);
        g_byte_array_append(out, zeros, (unsigned)(-size & 7));
    }
    return g_byte_array_free_to_bytes(g_steal_pointer(&out));
}
