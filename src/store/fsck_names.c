/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: each link in images/ and streams/ is a job for a thread: its object is parsed once, and every object it
 * names is looked up among those that were measured. Only what is not good there costs anything: a name in `needs`.
 *
 * The store's lock is held, shared, so that no collection takes away what has just been listed; a store that can't be
 * written is checked without.
 */
#include "base/cancel.h"
#include "store/fsck.h"
#include "store/scan.h"

#include <string.h>

enum { IMAGE_LIMIT = 1 << 30 };

typedef struct {
    Fsck *fsck;
    StoreKind kind;
    char *name, *path; /* in images/ or streams/; below the store: of a ref to it, or its own */
    const Digest *object;
} Job;

typedef struct {
    Fsck *fsck;
    GArray *jobs; /* Job */
    int next;     /* atomic */
} Jobs;

/* --- what is needed ------------------------------------------------------------------------------------- */

static bool is_good(Fsck *fsck, const Digest *object)
{
    uint32_t marks = digest_table_marks(&fsck->objects, object);
    return marks ? marks & FSCK_GOOD : store_has(fsck->store, object); /* came since */
}

static void note_need(Fsck *fsck, const Digest *object, char *by)
{
    g_mutex_lock(&fsck->mutex);
    GPtrArray *needs = g_hash_table_lookup(fsck->needs, object);
    if (!needs) {
        needs = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(fsck->needs, g_memdup2(object, sizeof *object), needs);
    }
    g_ptr_array_add(needs, by);
    g_mutex_unlock(&fsck->mutex);
}

static bool check_file(TreeNode *node, void *data, GError **error _unused)
{
    const Job *job = data;
    const TreeInode *inode = node->inode;
    Digest object = inode->object;
    bool has = inode->has_object || /* made without digests: the path is all there is */
               (inode->payload && store_parse_object_path(inode->payload, &object));
    if (!has || is_good(job->fsck, &object))
        return true;
    g_autofree char *path = tree_path(node);
    note_need(job->fsck, &object, g_strdup_printf("%s: %s", job->path, path));
    return true;
}

static bool check_image(Job *job, GError **error)
{
    g_autoptr(GBytes) bytes = store_read_object(job->fsck->store, job->object, IMAGE_LIMIT, error);
    g_autoptr(Tree) tree = bytes ? tree_read_image(bytes, error) : NULL;
    return tree && tree_walk(tree, check_file, job, error);
}

/* What the ids of composefs' formats promise. */
static void check_type(Job *job, uint64_t type)
{
    static const struct {
        const char *prefix;
        uint64_t type;
    } types[] = {
        {"ostree-commit-", 0xAFE138C18C463EF1}, /* as the rest: eight bytes, "ocilayer" */
        {"oci-layer-", 0x726579616c69636f},
        {"oci-config-", 0x67666e6f6369636f},
        {"oci-manifest-", 0x66696e616d69636f},
    };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (g_str_has_prefix(job->name, types[i].prefix) && type != types[i].type)
            fsck_problem(job->fsck, STORE_PROBLEM_WRONG_TYPE, job->object, job->path,
                         g_strdup_printf("the stream '%s' has content of another type", job->name));
}

static bool check_stream(Job *job, GError **error)
{
    g_autoptr(StoreStream) stream = store_stream_open(job->fsck->store, job->object, error);
    if (!stream)
        return false;
    check_type(job, store_stream_content_type(stream));
    for (size_t i = 0; i < store_stream_n_objects(stream); i++)
        if (!is_good(job->fsck, store_stream_object(stream, i)))
            note_need(job->fsck, store_stream_object(stream, i), g_strdup(job->path));
    g_auto(GStrv) names = store_stream_ref_names(stream, error);
    for (char **name = names; name && *name; name++) {
        const Digest *object = store_stream_ref(stream, *name, NULL);
        if (!is_good(job->fsck, object))
            note_need(job->fsck, object,
                      g_strdup_printf("%s: its reference '%s'", job->path, *name));
    }
    const uint8_t *data;
    const Digest *piece;
    size_t size;
    do {
        if (!names || !store_stream_next(stream, &data, &size, &piece, error))
            return false;
    } while (data || piece);
    return true;
}

static void check_job(Job *job)
{
    g_autoptr(GError) failed = NULL;
    bool image = job->kind == STORE_IMAGES;
    if (!is_good(job->fsck, job->object))
        note_need(job->fsck, job->object, g_strdup(job->path));
    else if (!(image ? check_image : check_stream)(job, &failed))
        fsck_problem(
            job->fsck, image ? STORE_PROBLEM_BAD_IMAGE : STORE_PROBLEM_BAD_STREAM, job->object,
            job->path,
            g_strdup_printf("%s '%s': %s", image ? "image" : "stream", job->name, failed->message));
}

static void *check_some(void *data)
{
    Jobs *jobs = data;
    for (guint at;
         !cancel_requested() && (at = (guint)g_atomic_int_add(&jobs->next, 1)) < jobs->jobs->len;)
        check_job(&g_array_index(jobs->jobs, Job, at));
    return NULL;
}

/* --- names ---------------------------------------------------------------------------------------------- */

static void job_clear(void *data)
{
    Job *job = data;
    g_free(job->name);
    g_free(job->path);
}

/* target -> the first ref to it, by name; refs that lead nowhere are problems. */
static GHashTable *check_refs(Fsck *fsck, StoreKind kind, GPtrArray *names, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(fsck->store, kind, "", error);
    if (!refs)
        return NULL;
    g_autoptr(GHashTable) links = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < names->len; i++)
        g_hash_table_add(links, names->pdata[i]);
    g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer name, target;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &name, &target)) {
        fsck->result.refs++;
        g_autofree char *path = g_strdup_printf("%s/refs/%s", store_kind_dir(kind), (char *)name);
        const char *other = g_hash_table_lookup(named, target);
        if (!g_hash_table_contains(links, target))
            fsck_problem(fsck, STORE_PROBLEM_DANGLING_REF, NULL, path,
                         g_strdup_printf("the ref '%s' leads to '%s', which is not there", path,
                                         (char *)target));
        else if (!other || strcmp(path, other) < 0)
            g_hash_table_insert(named, g_strdup(target), g_steal_pointer(&path));
    }
    return g_steal_pointer(&named);
}

static void add_job(Fsck *fsck, StoreKind kind, const char *name, const Digest *object,
                    const char *ref, GArray *jobs)
{
    g_autofree char *own = g_strdup_printf("%s/%s", store_kind_dir(kind), name);
    if (!object) {
        fsck_problem(fsck, STORE_PROBLEM_DANGLING_LINK, NULL, own,
                     g_strdup_printf("'%s' does not lead to an object", own));
    } else if (kind == STORE_IMAGES && strcmp(name, digest_hex(object).text) != 0) {
        fsck_problem(fsck, STORE_PROBLEM_DANGLING_LINK, object, own,
                     g_strdup_printf("'%s' leads to another object", own));
    } else {
        Job job = {.fsck = fsck, .kind = kind, .name = g_strdup(name), .object = object};
        job.path = g_strdup(ref ? ref : own);
        g_array_append_val(jobs, job);
    }
}

static bool check_kind(Fsck *fsck, StoreKind kind, uint64_t *out_count, GError **error)
{
    g_autoptr(GHashTable) links = scan_links(fsck->store, kind, error);
    g_autoptr(GPtrArray) names =
        links ? scan_names(fsck->store, store_kind_dir(kind), false, error) : NULL;
    g_autoptr(GHashTable) refs = names ? check_refs(fsck, kind, names, error) : NULL;
    if (!refs)
        return false;
    g_autoptr(GArray) list = g_array_new(false, false, sizeof(Job));
    g_array_set_clear_func(list, job_clear);
    for (guint i = 0; i < names->len; i++)
        add_job(fsck, kind, names->pdata[i], g_hash_table_lookup(links, names->pdata[i]),
                g_hash_table_lookup(refs, names->pdata[i]), list);
    Jobs jobs = {.fsck = fsck, .jobs = list};
    fsck_in_threads(MIN(fsck->threads, list->len), check_some, &jobs);
    *out_count = names->len;
    return cancel_check(error);
}

bool fsck_names(Fsck *fsck, GError **error)
{
    g_autoptr(GError) failed = NULL;
    _autofd int lock = store_lock(fsck->store, false, "checking", &failed);
    if (lock < 0 && !error_is(failed, ERROR_PERMISSION)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    return check_kind(fsck, STORE_IMAGES, &fsck->result.images, error) &&
           check_kind(fsck, STORE_STREAMS, &fsck->result.streams, error);
}
