/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pulling a branch.
 *
 * How it works, in this order:
 *   1. config (is it an archive?), the branch's checksum, the commit object, its signature;
 *   2. the directories, level by level, many requests at a time; what the store's commits or the journal of an
 *      interrupted pull have is taken from there. After this the missing files are known, and so are the totals;
 *   3. the missing files, each verified as it arrives, in batches that are made durable together;
 *   4. image, stream, branch: the commit has a name only now.
 * Whatever goes wrong, what has arrived is flushed, and the journal knows it. */
#include "ostree/ostree.h"

#include "base/cancel.h"
#include "base/digest_set.h"
#include "base/hash.h"
#include "net/net.h"
#include "ostree/pull.h"
#include "ostree/stream_write.h"
#include "ostree/summary.h"
#include "ostree/verify.h"

#include <string.h>

#define CONFIG_MAX (1u << 20)

/* --- what is at hand --------------------------------------------------------------------------------------- */

/* Every commit of the store is a source. */
static bool load_sources(Pull *pull, GError **error)
{
    g_autoptr(GHashTable) refs = ostree_list_refs(pull->store, error);
    if (!refs)
        return false;
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    g_hash_table_iter_init(&iter, refs);
    for (void *checksum; g_hash_table_iter_next(&iter, NULL, &checksum);) {
        if (!g_hash_table_add(seen, checksum))
            continue;
        /* one that can't be read is no source; fsck is who complains */
        CommitData *commit = commit_data_load(pull->store, checksum, NULL);
        if (commit)
            g_ptr_array_add(pull->sources, commit);
    }
    return true;
}

/* The content of what a commit here has. Asking the transaction also keeps it from being collected meanwhile; what
 * is gone, or was damaged and removed, is fetched. */
static bool has_content(Pull *pull, const CommitObject *object)
{
    return !object->object || !pull->txn || store_txn_has(pull->txn, object->object);
}

bool pull_have(Pull *pull, const Digest *id, CommitObject *out_object)
{
    if (object_set_find(pull->set, id, out_object))
        return true;
    bool found = object_set_find(pull->resumed, id, out_object);
    if (found)
        pull->progress.objects++;
    for (unsigned i = 0; i < pull->sources->len && !found; i++)
        found = commit_data_find(pull->sources->pdata[i], id, out_object) &&
                has_content(pull, out_object);
    if (!found)
        return false;
    g_autoptr(GBytes) bytes = g_bytes_new(out_object->data, out_object->size);
    object_set_add(pull->set, id, bytes, out_object->object);
    return object_set_find(pull->set, id, out_object);
}

void pull_report(Pull *pull, bool done)
{
    pull->progress.done = done;
    if (pull->options->progress)
        pull->options->progress(&pull->progress, pull->options->progress_data);
}

/* --- the branch and the commit ----------------------------------------------------------------------------- */

static GBytes *fetch(Pull *pull, const char *path, uint64_t limit, GError **error)
{
    g_autofree char *url = g_strdup_printf("%s/%s", pull->remote->url, path);
    return net_fetch_bytes(pull->net, url, NET_DECODE_NONE, limit, error);
}

static bool check_config(Pull *pull, GError **error)
{
    g_autoptr(GError) failed = NULL;
    g_autoptr(GBytes) bytes = fetch(pull, "config", CONFIG_MAX, &failed);
    if (!bytes && error_is(failed, ERROR_NOT_FOUND))
        return error_throw(error, ERROR_NOT_FOUND,
                           "there is no OSTree repository at '%s' (it has no config)",
                           pull->remote->url);
    if (!bytes) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    g_autoptr(GKeyFile) file = g_key_file_new();
    if (!g_key_file_load_from_bytes(file, bytes, G_KEY_FILE_NONE, &failed))
        return error_throw(error, ERROR_INVALID,
                           "there is no OSTree repository at '%s' (its config is malformed)",
                           pull->remote->url);
    g_autofree char *mode = g_key_file_get_string(file, "core", "mode", NULL);
    if (g_strcmp0(mode, "archive-z2") != 0 && g_strcmp0(mode, "archive") != 0)
        return error_throw(error, ERROR_INVALID,
                           "cannot pull from '%s': the repository's mode is '%s', not archive",
                           pull->remote->url, mode ? mode : "bare");
    return true;
}

/* From the summary: servers without refs/ have only that. The error lists what there is. */
static bool find_in_summary(Pull *pull, Digest *out_commit, GError **error)
{
    g_autoptr(GError) failed = NULL;
    g_autoptr(GBytes) bytes = fetch(pull, "summary", OBJECT_METADATA_MAX, &failed);
    if (!bytes && !error_is(failed, ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    g_autoptr(GHashTable) refs = bytes ? summary_parse(bytes, error) : NULL;
    if (bytes && !refs)
        return error_prefix(error, "'%s/summary'", pull->remote->url);
    const Digest *id = refs ? g_hash_table_lookup(refs, pull->ref) : NULL;
    if (id) {
        *out_commit = *id;
        return true;
    }
    g_autoptr(GString) hint = g_string_new(NULL);
    unsigned n = 0;
    g_autofree const char **names =
        refs ? (const char **)g_hash_table_get_keys_as_array(refs, &n) : NULL;
    for (unsigned i = 0; i < n && i < 8; i++)
        g_string_append_printf(hint, "%s'%s'", i ? ", " : "\nhint: it has ", names[i]);
    return error_throw(error, ERROR_NOT_FOUND, "'%s' has no branch '%s'%s%s", pull->remote->url,
                       pull->ref, hint->str, n > 8 ? " and more" : "");
}

static bool find_commit(Pull *pull, Digest *out_commit, GError **error)
{
    if (pull->options->checksum)
        return digest_parse(pull->options->checksum, out_commit) ||
               error_throw(error, ERROR_INVALID, "'%s' is not a commit's checksum",
                           pull->options->checksum);
    g_autofree char *path = g_strconcat("refs/heads/", pull->ref, NULL);
    g_autoptr(GError) failed = NULL;
    g_autoptr(GBytes) bytes = fetch(pull, path, 4096, &failed);
    if (!bytes && error_is(failed, ERROR_NOT_FOUND))
        return find_in_summary(pull, out_commit, error);
    if (!bytes) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    size_t size;
    const char *text = g_bytes_get_data(bytes, &size);
    g_autofree char *line = g_strchomp(g_strndup(text, size));
    return digest_parse(line, out_commit) ||
           error_throw(error, ERROR_CORRUPT, "'%s/%s' is not a branch's checksum",
                       pull->remote->url, path);
}

static bool check_signature(Pull *pull, const Digest *id, GBytes *commit, GError **error)
{
    if (!pull->remote->verify)
        return true;
    DigestHex hex = digest_hex(id);
    g_autofree char *path = g_strdup_printf("objects/%.2s/%s.commitmeta", hex.text, hex.text + 2);
    g_autoptr(GError) failed = NULL;
    g_autoptr(GBytes) meta = fetch(pull, path, OBJECT_METADATA_MAX, &failed);
    if (!meta && !error_is(failed, ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    return verify_commit(commit, meta, pull->remote->keyring, error) ||
           error_prefix(error, "cannot trust commit '%s'", hex.text);
}

/* A commit says for which branches it was made: a server can't pass off one branch's commit as another's. */
static bool check_binding(Pull *pull, GVariant *commit, GError **error)
{
    g_autoptr(GVariant) metadata = ostree_commit_metadata(commit);
    g_autofree const char **bound = NULL;
    if (!g_variant_lookup(metadata, "ostree.ref-binding", "^a&s", &bound))
        return true;
    for (const char **ref = bound; *ref; ref++)
        if (strcmp(*ref, pull->ref) == 0)
            return true;
    return error_throw(error, ERROR_INVALID, "the commit was not made for branch '%s'", pull->ref);
}

/* The commit object, verified; into the set. */
static GVariant *get_commit(Pull *pull, const Digest *id, GError **error)
{
    CommitObject object;
    g_autoptr(GBytes) bytes = NULL;
    if (pull_have(pull, id, &object)) {
        bytes = g_bytes_new(object.data, object.size);
    } else {
        g_autofree char *path = object_path(id, OBJECT_COMMIT);
        bytes = fetch(pull, path, OBJECT_METADATA_MAX, error);
        if (!bytes || !pull_keep_metadata(pull, id, OBJECT_COMMIT, bytes, error))
            return NULL;
    }
    size_t size;
    const uint8_t *data = g_bytes_get_data(bytes, &size);
    g_autoptr(GVariant) commit = object_parse(OBJECT_COMMIT_TYPE, data, size, error);
    if (!commit || !check_signature(pull, id, bytes, error) || !check_binding(pull, commit, error))
        return NULL;
    return g_steal_pointer(&commit);
}

/* --- all of it ----------------------------------------------------------------------------------------------- */

static char *writing_key(const Pull *pull)
{
    return g_strdup_printf("pull-%s-%s", pull->remote->name, pull->ref);
}

static bool begin_writing(Pull *pull, GError **error)
{
    g_autofree char *key = writing_key(pull);
    pull->txn = store_txn_begin(pull->store, key, error);
    if (!pull->txn)
        return false;
    pull->flushed_at = g_get_monotonic_time();
    pull->journal = journal_open(pull->txn, pull->resumed, &pull->progress.bytes, error);
    return pull->journal && load_sources(pull, error);
}

static bool receive(Pull *pull, GVariant *commit, const Digest *id, GError **error)
{
    Digest root, meta;
    if (!commit_root(commit, &root, &meta, error) || !pull_objects(pull, &root, &meta, error) ||
        !store_txn_flush(pull->txn, error) ||
        !object_set_each_external(pull->set, pull_check_external, pull, error))
        return false;
    g_autofree char *branch = g_strdup_printf("%s:%s", pull->remote->name, pull->ref);
    return stream_write_commit(pull->txn, pull->set, id, branch, error) &&
           store_txn_done(pull->txn, error);
}

static bool pull_commit(Pull *pull, OstreePullResult *result, GError **error)
{
    Digest id;
    if (!check_config(pull, error) || !find_commit(pull, &id, error))
        return false;
    result->checksum = g_strdup(digest_hex(&id).text);
    g_autofree char *branch = g_strdup_printf("%s:%s", pull->remote->name, pull->ref);
    g_autofree char *before = NULL;
    if (ostree_resolve(pull->store, branch, &before, NULL))
        result->unchanged = strcmp(before, result->checksum) == 0;
    bool present = ostree_has_commit(pull->store, result->checksum);
    if (!present && !pull->options->metadata_only && !begin_writing(pull, error))
        return false;
    if (present)
        g_ptr_array_add(pull->sources, commit_data_load(pull->store, result->checksum, error));
    if (present && !pull->sources->pdata[0])
        return false;
    result->commit = get_commit(pull, &id, error);
    if (!result->commit)
        return false;
    if (pull->options->metadata_only)
        return true;
    if (present) {
        /* of a pull that was killed when all was there */
        g_autofree char *key = writing_key(pull);
        store_txn_forget(pull->store, key);
        return result->unchanged || ostree_set_ref(pull->store, branch, result->checksum, error);
    }
    return receive(pull, result->commit, &id, error);
}

static void pull_clear(Pull *pull)
{
    g_clear_pointer(&pull->net, net_client_free);
    g_ptr_array_unref(pull->files); /* their writers belong to the transaction */
    g_clear_pointer(&pull->journal, journal_free);
    g_clear_pointer(&pull->txn, store_txn_free);
    g_ptr_array_unref(pull->requests);
    g_hash_table_unref(pull->asked);
    g_ptr_array_unref(pull->sources);
    object_set_free(pull->set);
    object_set_free(pull->resumed);
}

bool ostree_pull(Store *store, const OstreeRemote *remote, const char *ref,
                 const OstreePullOptions *options, OstreePullResult *out_result, GError **error)
{
    static const OstreePullOptions defaults;
    if (!ostree_check_ref(ref, error))
        return false;
    g_auto(OstreePullResult) result = {0};
    Pull pull = {
        .store = store, .remote = remote, .ref = ref, .options = options ? options : &defaults};
    pull.set = object_set_new();
    pull.resumed = object_set_new();
    pull.sources = g_ptr_array_new_with_free_func((GDestroyNotify)commit_data_free);
    pull.asked = digest_set_new();
    pull.files = g_ptr_array_new_with_free_func(pull_file_free);
    pull.requests = g_ptr_array_new_with_free_func(g_free);
    pull.net = net_client_new(error);
    if (pull.net)
        net_client_set_tick(pull.net, pull_tick, &pull);
    bool ok = pull.net && pull_commit(&pull, &result, error);
    if (!ok) {
        error_prefix(error, "cannot pull '%s:%s'", remote->name, ref);
        if (pull.txn)
            store_txn_flush(pull.txn, NULL); /* for the next try */
    }
    pull_report(&pull, true);
    result.objects = pull.fetched;
    result.bytes = pull.net ? net_client_received(pull.net) : 0;
    pull_clear(&pull);
    if (ok && out_result) {
        *out_result = result;
        result = (OstreePullResult){0};
    }
    return ok;
}

void ostree_pull_result_clear(OstreePullResult *result)
{
    g_clear_pointer(&result->checksum, g_free);
    g_clear_pointer(&result->commit, g_variant_unref);
}
