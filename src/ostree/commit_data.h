/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One commit's objects: read from its stream (CommitData), or gathered to make one (ObjectSet).
 *
 * An entry is a metadata object's bytes, or a file's archive header followed by its content when that is at
 * most TREE_INLINE_MAX bytes, else with the content in a store object. */
#pragma once

#include "base/digest.h"
#include "store/store.h"

#define COMMIT_STREAM_TYPE 0xAFE138C18C463EF1u

typedef struct {
    const uint8_t *data;
    size_t size;
    const Digest *object; /* NULL: none */
} CommitObject;

/* Finds an object by its OSTree checksum; false: not there. What it gives is borrowed. */
typedef bool (*CommitFind)(const void *from, const Digest *id, CommitObject *out_object);

typedef struct CommitData CommitData;
/* ERROR_NOT_FOUND when the store has no such commit, ERROR_CORRUPT. */
CommitData *commit_data_load(Store *store, const char *checksum, GError **error);
void commit_data_free(CommitData *commit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CommitData, commit_data_free)
bool commit_data_find(const void *commit, const Digest *id, CommitObject *out_object);
size_t commit_data_count(const CommitData *commit);
void commit_data_nth(const CommitData *commit, size_t index, Digest *out_id,
                     CommitObject *out_object);
/* Reads a stream's body; takes a reference. `objects` are its external objects. For tests and commit_data_load(). */
CommitData *commit_data_parse(GBytes *body, const Digest *objects, size_t n_objects,
                              GError **error);

/* The tree below a commit's root. */
Tree *commit_data_tree(CommitFind find, const void *from, const Digest *root, const Digest *meta,
                       GError **error);
/* The commit object and the two checksums of its root. */
bool commit_root(GVariant *commit, Digest *out_root, Digest *out_meta, GError **error);

typedef struct ObjectSet ObjectSet;
ObjectSet *object_set_new(void);
void object_set_free(ObjectSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ObjectSet, object_set_free)
/* An id that is there already stays as it is. */
void object_set_add(ObjectSet *set, const Digest *id, GBytes *data, const Digest *object);
bool object_set_find(const void *set, const Digest *id, CommitObject *out_object);
/* Visits the entries whose content is an object, in no order; false stops. */
bool object_set_each_external(const ObjectSet *set,
                              bool (*visit)(const Digest *id, const Digest *object, void *data,
                                            GError **error),
                              void *data, GError **error);
/* The body of a commit stream; adds the external objects with `add`. ERROR_INVALID when too large. */
GBytes *object_set_format(const ObjectSet *set, const Digest *commit,
                          uint32_t (*add)(void *data, const Digest *object), void *data,
                          GError **error);
