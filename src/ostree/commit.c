/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Revs, branches and commit objects. */
#include "ostree/ostree.h"

#include "base/file.h"
#include "ostree/commit_data.h"
#include "ostree/object.h"

#include <string.h>

#define STREAM_PREFIX "ostree-commit-"
#define IMAGE_REF     "composefs.image"

/* --- branches -------------------------------------------------------------------------------------------- */

static bool is_word(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!g_ascii_isalnum(word[i]) && word[i] != '_' && (i == 0 || !strchr("-.", word[i])))
            return false;
    return length > 0;
}

bool ostree_check_ref(const char *ref, GError **error)
{
    for (const char *word = ref;;) {
        size_t length = strcspn(word, "/");
        if (!is_word(word, length) || strlen(ref) > 255)
            return error_throw(
                error, ERROR_INVALID,
                "'%s' is not a branch name\nhint: words of letters, digits, '.', '_' and '-', "
                "joined by '/'",
                ref);
        if (!word[length])
            return true;
        word += length + 1;
    }
}

bool ostree_parse_refspec(const char *refspec, char **out_remote, char **out_ref, GError **error)
{
    const char *colon = strchr(refspec, ':');
    if (!colon || !is_word(refspec, (size_t)(colon - refspec)))
        return error_throw(error, ERROR_INVALID,
                           "'%s' is not REMOTE:REF\nhint: as in 'origin:debian/12/host'; 'atomic "
                           "tree remote list' lists the remotes",
                           refspec);
    if (!ostree_check_ref(colon + 1, error))
        return false;
    *out_remote = g_strndup(refspec, (size_t)(colon - refspec));
    *out_ref = g_strdup(colon + 1);
    return true;
}

/* A branch of ours or "REMOTE:REF" */
static bool check_branch(const char *name, GError **error)
{
    if (!strchr(name, ':'))
        return ostree_check_ref(name, error);
    g_autofree char *remote = NULL, *ref = NULL;
    return ostree_parse_refspec(name, &remote, &ref, error);
}

GHashTable *ostree_list_refs(Store *store, GError **error)
{
    g_autoptr(GHashTable) streams = store_list_refs(store, STORE_STREAMS, "ostree", error);
    if (!streams)
        return NULL;
    GHashTable *refs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    g_hash_table_iter_init(&iter, streams);
    for (void *name, *target; g_hash_table_iter_next(&iter, &name, &target);)
        if (g_str_has_prefix(target, STREAM_PREFIX))
            g_hash_table_insert(refs, g_strdup(name),
                                g_strdup((char *)target + strlen(STREAM_PREFIX)));
    return refs;
}

bool ostree_set_ref(Store *store, const char *ref, const char *checksum, GError **error)
{
    if (!check_branch(ref, error))
        return false;
    g_autofree char *name = g_strconcat("ostree/", ref, NULL);
    g_autofree char *target = g_strconcat(STREAM_PREFIX, checksum, NULL);
    return store_set_ref(store, STORE_STREAMS, name, target, error);
}

bool ostree_has_commit(Store *store, const char *checksum)
{
    g_autofree char *id = g_strconcat(STREAM_PREFIX, checksum, NULL);
    Digest object;
    return store_find_stream(store, id, &object, NULL);
}

/* --- revs ------------------------------------------------------------------------------------------------ */

/* The one commit whose checksum begins so; NULL without an error when there is none. */
static char *find_abbreviated(Store *store, const char *digits, GError **error)
{
    g_autofree char *found = NULL;
    g_autofree char *prefix = g_strconcat(STREAM_PREFIX, digits, NULL);
    g_autoptr(GPtrArray) names = file_list_at(store_dirfd(store), "streams", error);
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = names->pdata[i];
        if (!g_str_has_prefix(name, prefix))
            continue;
        if (found)
            return error_throw_null(error, ERROR_INVALID,
                                    "'%s' begins more than one commit's checksum", digits);
        found = g_strdup(name + strlen(STREAM_PREFIX));
    }
    return g_steal_pointer(&found);
}

static char *resolve_name(Store *store, const char *name, GError **error)
{
    size_t length = strlen(name);
    if (length == 64 && strspn(name, "0123456789abcdef") == 64) {
        if (!ostree_has_commit(store, name))
            return error_throw_null(error, ERROR_NOT_FOUND, "the store has no commit '%s'", name);
        return g_strdup(name);
    }
    if (!check_branch(name, error))
        return NULL;
    g_autofree char *ref = g_strconcat("ostree/", name, NULL);
    g_autofree char *target = store_get_ref(store, STORE_STREAMS, ref, NULL);
    if (target && g_str_has_prefix(target, STREAM_PREFIX))
        return g_strdup(target + strlen(STREAM_PREFIX));
    if (length >= 4 && strspn(name, "0123456789abcdef") == length) {
        g_autoptr(GError) failed = NULL;
        char *found = find_abbreviated(store, name, &failed);
        if (found)
            return found;
        if (failed) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return NULL;
        }
    }
    return error_throw_null(
        error, ERROR_NOT_FOUND,
        "there is no branch or commit '%s'\nhint: 'atomic tree refs' lists the branches", name);
}

bool ostree_resolve(Store *store, const char *rev, char **out_checksum, GError **error)
{
    size_t length = strlen(rev), parents = 0;
    while (length > parents && rev[length - 1 - parents] == '^')
        parents++;
    g_autofree char *name = g_strndup(rev, length - parents);
    g_autofree char *checksum = resolve_name(store, name, error);
    for (; checksum && parents; parents--) {
        g_autoptr(GVariant) commit = ostree_load_commit(store, checksum, error);
        if (!commit)
            return false;
        g_autofree char *parent = ostree_commit_parent(commit);
        if (!parent)
            return error_throw(error, ERROR_NOT_FOUND, "commit '%s' has no parent", checksum);
        g_free(checksum);
        checksum = g_steal_pointer(&parent);
    }
    if (!checksum)
        return false;
    *out_checksum = g_steal_pointer(&checksum);
    return true;
}

/* --- commits --------------------------------------------------------------------------------------------- */

static GVariant *commit_object(const CommitData *data, const char *checksum, GError **error)
{
    Digest id;
    CommitObject object;
    if (!digest_parse(checksum, &id) || !commit_data_find(data, &id, &object))
        return error_throw_null(error, ERROR_CORRUPT, "the stream of commit '%s' lacks the commit",
                                checksum);
    return object_parse(OBJECT_COMMIT_TYPE, object.data, object.size, error);
}

GVariant *ostree_load_commit(Store *store, const char *checksum, GError **error)
{
    g_autoptr(CommitData) data = commit_data_load(store, checksum, error);
    return data ? commit_object(data, checksum, error) : NULL;
}

Tree *ostree_load_tree(Store *store, const char *checksum, GError **error)
{
    g_autoptr(CommitData) data = commit_data_load(store, checksum, error);
    if (!data)
        return NULL;
    g_autoptr(GVariant) commit = commit_object(data, checksum, error);
    Digest root, meta;
    if (!commit || !commit_root(commit, &root, &meta, error))
        return NULL;
    Tree *tree = commit_data_tree(commit_data_find, data, &root, &meta, error);
    if (!tree)
        error_prefix(error, "commit '%s'", checksum);
    return tree;
}

bool ostree_commit_image(Store *store, const char *checksum, Digest *out_image, GError **error)
{
    g_autofree char *id = g_strconcat(STREAM_PREFIX, checksum, NULL);
    if (!ostree_has_commit(store, checksum))
        return error_throw(error, ERROR_NOT_FOUND, "the store has no commit '%s'", checksum);
    g_autoptr(StoreStream) stream = store_stream_open_id(store, id, error);
    if (!stream)
        return false;
    g_autoptr(GError) failed = NULL;
    const Digest *image = store_stream_ref(stream, IMAGE_REF, &failed);
    if (failed) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    if (!image)
        return error_throw(error, ERROR_NOT_FOUND, "commit '%s' has no image", checksum);
    *out_image = *image;
    return true;
}

uint64_t ostree_commit_timestamp(GVariant *commit)
{
    uint64_t seconds;
    g_variant_get_child(commit, 5, "t", &seconds);
    return GUINT64_FROM_BE(seconds);
}

GVariant *ostree_commit_metadata(GVariant *commit)
{
    return g_variant_get_child_value(commit, 0);
}

char *ostree_commit_metadata_string(GVariant *commit, const char *key)
{
    g_autoptr(GVariant) metadata = ostree_commit_metadata(commit);
    char *value = NULL;
    g_variant_lookup(metadata, key, "s", &value);
    return value;
}

char *ostree_commit_version(GVariant *commit)
{
    return ostree_commit_metadata_string(commit, "version");
}

char *ostree_commit_parent(GVariant *commit)
{
    g_autoptr(GVariant) parent = g_variant_get_child_value(commit, 1);
    Digest id;
    return object_get_digest(parent, &id) ? g_strdup(digest_hex(&id).text) : NULL;
}

char *ostree_commit_subject(GVariant *commit)
{
    char *subject;
    g_variant_get_child(commit, 3, "s", &subject);
    return subject;
}
