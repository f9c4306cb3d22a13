/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Committing a tree.
 *
 * How it works: a first walk over the tree makes a job per inode (its header); threads compute the checksums, which
 * needs the files' bytes, unless the parent or a similar commit has a file of the same header and the same bytes (same
 * object), or the import made the checksum already (checksums.c). Then the directories are hashed from the leaves up. The
 * image is made from the OSTree objects gathered, not from the tree given, so that it is the image that anyone makes who
 * pulls the commit. */
#include "ostree/ostree.h"

#include "base/cancel.h"
#include "base/hash.h"
#include "base/sys/process.h"
#include "base/sort.h"
#include "ostree/checksums.h"
#include "ostree/commit_data.h"
#include "ostree/object.h"
#include "ostree/stream_write.h"

#include <string.h>
#include <unistd.h>

typedef struct {
    const TreeInode *inode;
    GBytes *header; /* archive header */
    Digest id, object;
    bool external, known;
} FileJob;

typedef struct {
    StoreTxn *txn;
    const OstreeCommitOptions *options;
    GHashTable *jobs;   /* TreeInode * -> FileJob * */
    GHashTable *before; /* GBytes (header, object) -> Digest *, of a similar commit */
    ObjectSet *set;
    bool reads; /* some objects are to be read */
    GMutex mutex;
    GError *failed; /* of the threads: the first */
} Commit;

static void job_free(void *data)
{
    FileJob *job = data;
    g_bytes_unref(job->header);
    g_free(job);
}

/* --- checksums of files ---------------------------------------------------------------------------------- */

static GBytes *cache_key(const void *header, size_t size, const Digest *object)
{
    uint8_t *key = g_malloc(size + sizeof *object);
    memcpy(key, header, size);
    memcpy(key + size, object, sizeof *object);
    return g_bytes_new_take(key, size + sizeof *object);
}

static void remember_similar(Commit *commit)
{
    commit->before =
        g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, g_free);
    const OstreeCommitOptions *options = commit->options;
    const char *similar = options->similar ? options->similar : options->parent;
    if (!similar)
        return;
    g_autoptr(CommitData) known = commit_data_load(store_txn_store(commit->txn), similar, NULL);
    for (size_t i = 0; known && i < commit_data_count(known); i++) {
        Digest id;
        CommitObject object;
        commit_data_nth(known, i, &id, &object);
        if (object.object)
            g_hash_table_insert(commit->before, cache_key(object.data, object.size, object.object),
                                g_memdup2(&id, sizeof id));
    }
}

static bool hash_object(Store *store, HashSha256 *hash, const FileJob *job, GError **error)
{
    _autofd int fd = store_open_object(store, &job->object, error);
    if (fd < 0)
        return false;
    g_autofree uint8_t *buffer = g_malloc(256 << 10);
    uint64_t total = 0;
    for (ssize_t n; (n = sys_read_all(fd, buffer, 256 << 10)) != 0; total += (uint64_t)n) {
        if (n < 0)
            return error_throw(error, ERROR_FAILED, "cannot read object '%s': %s",
                               digest_hex(&job->object).text, g_strerror((int)-n));
        hash_sha256_update(hash, buffer, (size_t)n);
    }
    if (total != job->inode->size)
        return error_throw(error, ERROR_CORRUPT,
                           "object '%s' has %" G_GUINT64_FORMAT
                           " bytes instead of %" G_GUINT64_FORMAT,
                           digest_hex(&job->object).text, total, job->inode->size);
    return true;
}

static bool hash_file(Commit *commit, FileJob *job, GError **error)
{
    size_t size;
    const uint8_t *header = g_bytes_get_data(job->header, &size);
    g_auto(ObjectFile) file = {0};
    if (!object_parse_file(header, size, &file, error))
        return false;
    g_autoptr(GBytes) prefix = object_hash_header(&file);
    g_autoptr(HashSha256) hash = hash_sha256_new();
    hash_sha256_update(hash, g_bytes_get_data(prefix, NULL), g_bytes_get_size(prefix));
    if (job->external) {
        if (!hash_object(store_txn_store(commit->txn), hash, job, error))
            return false;
    } else if (file.size) {
        hash_sha256_update(hash, job->inode->content, file.size);
    }
    hash_sha256_finish(hash, &job->id);
    return true;
}

static void run_job(void *data, void *user)
{
    Commit *commit = user;
    g_autoptr(GError) error = NULL;
    if (cancel_requested() || hash_file(commit, data, &error))
        return;
    g_mutex_lock(&commit->mutex);
    if (!commit->failed)
        commit->failed = g_steal_pointer(&error);
    g_mutex_unlock(&commit->mutex);
}

static bool hash_files(Commit *commit, GError **error)
{
    /* exclusive: its threads are gone when it is freed, so that who called may clone */
    GThreadPool *pool = g_thread_pool_new(run_job, commit, (int)sys_threads(16), TRUE, error);
    if (!pool)
        return false;
    GHashTableIter iter;
    g_hash_table_iter_init(&iter, commit->jobs);
    for (void *job; g_hash_table_iter_next(&iter, NULL, &job);)
        if (!((FileJob *)job)->known)
            g_thread_pool_push(pool, job, NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    if (commit->failed) {
        g_propagate_error(error, g_steal_pointer(&commit->failed));
        return false;
    }
    return cancel_check(error);
}

/* --- the walk: what a tree may hold, a job per inode ------------------------------------------------------- */

static bool check_node(const TreeNode *node, GError **error)
{
    const TreeInode *inode = node->inode;
    const char *what = NULL;
    if (inode->whiteout || inode->opaque)
        what = "a layer's whiteout";
    else if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        what = "a device";
    else if (S_ISFIFO(inode->mode))
        what = "a FIFO";
    else if (S_ISSOCK(inode->mode))
        what = "a socket";
    else if (!g_utf8_validate(node->name, -1, NULL))
        what = "a file whose name is not UTF-8";
    else if (S_ISLNK(inode->mode) && (!*inode->target || !g_utf8_validate(inode->target, -1, NULL)))
        what = "a symbolic link whose target is not UTF-8";
    if (!what)
        return true;
    g_autofree char *path = tree_path(node);
    g_autofree char *shown = g_utf8_make_valid(path, -1);
    return error_throw(error, ERROR_INVALID, "cannot commit '%s': OSTree can't hold %s", shown,
                       what);
}

static bool add_job(TreeNode *node, void *data, GError **error)
{
    Commit *commit = data;
    const TreeInode *inode = node->inode;
    if (!check_node(node, error))
        return false;
    if (S_ISDIR(inode->mode) || g_hash_table_contains(commit->jobs, inode))
        return true;
    FileJob *job = g_new0(FileJob, 1);
    job->inode = inode;
    job->header = object_archive_header(inode, commit->options->no_xattrs);
    g_hash_table_insert(commit->jobs, (void *)inode, job);
    if (!S_ISREG(inode->mode) || inode->size == 0)
        return true;
    /* asking the transaction also keeps the object from being collected before the commit names it */
    bool has = false;
    if (inode->has_object && !store_txn_find(commit->txn, &inode->object, &has, error))
        return false;
    if (has) {
        job->external = true;
        job->object = inode->object;
    } else if (!inode->content) {
        g_autofree char *path = tree_path(node);
        return error_throw(error, ERROR_INVALID,
                           "cannot commit '%s': the store doesn't have its bytes", path);
    } else if (inode->size > TREE_INLINE_MAX) { /* only a dump has that */
        job->external = true;
        if (!store_txn_put(commit->txn, inode->content, inode->size, &job->object, error))
            return false;
    }
    if (job->external) {
        size_t size;
        const void *header = g_bytes_get_data(job->header, &size);
        g_autoptr(GBytes) key = cache_key(header, size, &job->object);
        const Digest *id = g_hash_table_lookup(commit->before, key);
        if (!id)
            id = checksums_find(commit->options->checksums, inode, commit->options->no_xattrs);
        job->known = id != NULL;
        commit->reads |= !id;
        if (id)
            job->id = *id;
    }
    return true;
}

/* --- directories and the commit ---------------------------------------------------------------------------- */

static void add_metadata(Commit *commit, GBytes *bytes, Digest *out_id)
{
    size_t size;
    const void *data = g_bytes_get_data(bytes, &size);
    hash_sha256(data, size, out_id);
    object_set_add(commit->set, out_id, bytes, NULL);
}

static void add_file(Commit *commit, const FileJob *job)
{
    if (job->external || !S_ISREG(job->inode->mode) || !job->inode->size) {
        object_set_add(commit->set, &job->id, job->header, job->external ? &job->object : NULL);
        return;
    }
    g_autoptr(GByteArray) with_content = g_byte_array_new();
    size_t size;
    const void *header = g_bytes_get_data(job->header, &size);
    g_byte_array_append(with_content, header, (unsigned)size);
    g_byte_array_append(with_content, job->inode->content, (unsigned)job->inode->size);
    g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(g_steal_pointer(&with_content));
    object_set_add(commit->set, &job->id, bytes, NULL);
}

static void add_dir(Commit *commit, const TreeNode *dir, Digest *out_tree, Digest *out_meta)
{
    GVariantBuilder files, dirs;
    g_variant_builder_init(&files, G_VARIANT_TYPE("a(say)"));
    g_variant_builder_init(&dirs, G_VARIANT_TYPE("a(sayay)"));
    TreeNode *child;
    TREE_EACH_CHILD (dir, child) {
        if (S_ISDIR(child->inode->mode)) {
            Digest tree, meta;
            add_dir(commit, child, &tree, &meta);
            g_variant_builder_add(&dirs, "(s@ay@ay)", child->name, object_digest_variant(&tree),
                                  object_digest_variant(&meta));
        } else {
            const FileJob *job = g_hash_table_lookup(commit->jobs, child->inode);
            add_file(commit, job);
            g_variant_builder_add(&files, "(s@ay)", child->name, object_digest_variant(&job->id));
        }
    }
    g_autoptr(GVariant) variant =
        g_variant_ref_sink(g_variant_new("(a(say)a(sayay))", &files, &dirs));
    g_autoptr(GBytes) tree_bytes = g_variant_get_data_as_bytes(variant);
    add_metadata(commit, tree_bytes, out_tree);
    g_autoptr(GBytes) meta_bytes = object_dirmeta(dir->inode, commit->options->no_xattrs);
    add_metadata(commit, meta_bytes, out_meta);
}

/* The caller's metadata with version and ref binding put in; keys sorted, so that equal input gives equal bytes. */
static GVariant *commit_metadata(const OstreeCommitOptions *options)
{
    g_autoptr(GHashTable) all =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_variant_unref);
    if (options->metadata) {
        GVariantIter iter;
        g_variant_iter_init(&iter, options->metadata);
        char *key;
        GVariant *value;
        while (g_variant_iter_next(&iter, "{sv}", &key, &value))
            g_hash_table_insert(all, key, value);
    }
    if (options->version)
        g_hash_table_insert(all, g_strdup("version"),
                            g_variant_ref_sink(g_variant_new_string(options->version)));
    if (options->ref)
        g_hash_table_insert(all, g_strdup("ostree.ref-binding"),
                            g_variant_ref_sink(g_variant_new_strv(&options->ref, 1)));
    unsigned n;
    g_autofree char **keys = sort_keys(all, &n);
    GVariantBuilder builder;
    g_variant_builder_init(&builder, G_VARIANT_TYPE("a{sv}"));
    for (unsigned i = 0; i < n; i++)
        g_variant_builder_add(&builder, "{sv}", keys[i], g_hash_table_lookup(all, keys[i]));
    return g_variant_builder_end(&builder);
}

static bool add_commit(Commit *commit, const Digest *root, const Digest *meta, Digest *out_id,
                       GError **error)
{
    const OstreeCommitOptions *options = commit->options;
    Digest parent;
    if (options->parent && !digest_parse(options->parent, &parent))
        return error_throw(error, ERROR_INVALID, "'%s' is not a commit's checksum",
                           options->parent);
    g_autoptr(GVariant) variant = g_variant_ref_sink(
        g_variant_new("(@a{sv}@ay@a(say)sst@ay@ay)", commit_metadata(options),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, &parent,
                                                options->parent ? DIGEST_SIZE : 0, 1),
                      g_variant_new_array(G_VARIANT_TYPE("(say)"), NULL, 0),
                      options->subject ? options->subject : "", options->body ? options->body : "",
                      GUINT64_TO_BE(options->timestamp), object_digest_variant(root),
                      object_digest_variant(meta)));
    g_autoptr(GBytes) bytes = g_variant_get_data_as_bytes(variant);
    if (g_bytes_get_size(bytes) > OBJECT_METADATA_MAX)
        return error_throw(error, ERROR_INVALID, "the commit's metadata is larger than 128 MiB");
    add_metadata(commit, bytes, out_id);
    return true;
}

static bool commit_tree(Commit *commit, Tree *tree, Digest *out_id, GError **error)
{
    remember_similar(commit);
    Digest root, meta;
    /* flushed before the jobs that open what the transaction put */
    if (!tree_walk(tree, add_job, commit, error) ||
        (commit->reads && !store_txn_flush(commit->txn, error)) || !hash_files(commit, error))
        return false;
    add_dir(commit, tree_root(tree), &root, &meta);
    return add_commit(commit, &root, &meta, out_id, error) &&
           stream_write_commit(commit->txn, commit->set, out_id, commit->options->ref, error);
}

bool ostree_commit(StoreTxn *txn, Tree *tree, const OstreeCommitOptions *options,
                   char **out_checksum, GError **error)
{
    if (options->ref && !ostree_check_ref(options->ref, error))
        return false;
    OstreeCommitOptions own = *options;
    g_autoptr(GVariant) metadata = options->metadata ? g_variant_ref_sink(options->metadata) : NULL;
    own.metadata = metadata;
    Commit commit = {.txn = txn, .options = &own};
    g_mutex_init(&commit.mutex);
    commit.jobs = g_hash_table_new_full(NULL, NULL, NULL, job_free);
    commit.set = object_set_new();
    Digest id;
    bool ok = commit_tree(&commit, tree, &id, error);
    if (ok)
        *out_checksum = g_strdup(digest_hex(&id).text);
    g_hash_table_unref(commit.jobs);
    g_clear_pointer(&commit.before, g_hash_table_unref);
    object_set_free(commit.set);
    g_mutex_clear(&commit.mutex);
    return ok;
}
