/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishing into an archive repository: static files that any `ostree pull` understands.
 *
 * How it works: the objects of a commit that the repository lacks are written into tmp/atomic-PID, by several threads
 * (packing costs most), synced, and renamed into objects/; the directories they went to are synced; then the commit
 * objects come the same way. So a commit object in objects/ means that all it needs is there. Branches and the summary
 * follow, each by one rename. A kill leaves a directory in tmp/ (removed by the next run) and objects that are right. */
#include "ostree/ostree.h"

#include "base/cancel.h"
#include "base/file.h"
#include "base/sys/process.h"
#include "ostree/commit_data.h"
#include "ostree/filez.h"
#include "ostree/object.h"
#include "ostree/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONFIG          "[core]\nrepo_version=1\nmode=archive-z2\n"
#define SYNC_FILES_MAX  64 /* more are synced by one syncfs */
#define LOCK_WAIT_TRIES 300

typedef struct {
    Digest id;
    ObjectType type;
    CommitObject object;
} Job;

typedef struct {
    Store *store;
    const char *path;
    int repo, staging; /* directories */
    int lock;
    char *staging_name;
    GPtrArray *commits; /* CommitData *, whose bytes the jobs point at */
    GHashTable *seen;   /* Digest * of jobs: an object is written once */
    GPtrArray *jobs;    /* Job *: all but commits */
    GPtrArray *tips;    /* Job *: commit objects */
    GMutex mutex;       /* for the threads: failed, result */
    GError *failed;
    OstreePublishResult *result;
} Publish;

/* --- the repository -------------------------------------------------------------------------------------- */

/* Nothing but what a killed make_repo() leaves: files don't get mixed into a directory given by mistake. */
static bool check_empty(const char *path, GError **error)
{
    static const char *const ours[] = {"config", "extensions", "refs", "state", "tmp", NULL};
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));)
        if (!g_strv_contains(ours, name) && !g_str_has_prefix(name, ".tmp-"))
            return error_throw(error, ERROR_INVALID,
                               "cannot make a repository in '%s': it isn't empty (it has '%s')",
                               path, name);
    return true;
}

static bool make_repo(int repo, GError **error)
{
    static const char *const dirs[] = {"refs",  "refs/heads", "refs/remotes", "refs/mirrors",
                                       "state", "tmp",        "tmp/cache",    "extensions"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        if (!file_ensure_dir_at(repo, dirs[i], 0755, error))
            return false;
    /* objects/ last: its presence says that this is a repository */
    return file_replace_at(repo, "config", CONFIG, strlen(CONFIG), 0644, FILE_REPLACE_DURABLE,
                           error) &&
           file_ensure_dir_at(repo, "objects", 0755, error);
}

static bool check_repo(Publish *p, GError **error)
{
    size_t size;
    g_autofree char *text = file_read_at(p->repo, "config", 1 << 20, &size, error);
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) failed = NULL;
    if (!text)
        return error_prefix(error, "'%s' is not a repository", p->path);
    if (!g_key_file_load_from_data(file, text, size, G_KEY_FILE_NONE, &failed))
        return error_throw(error, ERROR_INVALID, "cannot read '%s/config': %s", p->path,
                           failed->message);
    g_autofree char *mode = g_key_file_get_string(file, "core", "mode", NULL);
    if (g_strcmp0(mode, "archive-z2") != 0 && g_strcmp0(mode, "archive") != 0)
        return error_throw(error, ERROR_INVALID,
                           "cannot publish to '%s': its mode is '%s', not archive", p->path,
                           mode ? mode : "unknown");
    return true;
}

static bool lock_repo(Publish *p, GError **error)
{
    p->lock = file_open_at(p->repo, ".lock", O_RDWR | O_CREAT, error);
    if (p->lock < 0)
        return false;
    for (unsigned i = 0; flock(p->lock, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_throw_errno(error, "cannot lock '%s'", p->path);
        if (!cancel_check(error))
            return false;
        if (i == LOCK_WAIT_TRIES) {
            g_autofree char *holder = file_lock_holder(p->lock);
            return error_throw(error, ERROR_BUSY, "'%s' is locked for %u seconds by %s", p->path,
                               LOCK_WAIT_TRIES / 10, holder ? holder : "another process");
        }
        g_usleep(100 * 1000);
    }
    return true;
}

static bool open_repo(Publish *p, GError **error)
{
    if (!file_ensure_dir_at(AT_FDCWD, p->path, 0755, error))
        return false;
    p->repo = file_open_dir_at(AT_FDCWD, p->path, error);
    bool exists;
    if (p->repo < 0 || !file_exists_at(p->repo, "objects", &exists, error))
        return false;
    if (!(exists ? check_repo(p, error)
                 : check_empty(p->path, error) && make_repo(p->repo, error)) ||
        !lock_repo(p, error))
        return false;
    /* under the lock nobody else's is alive */
    g_autofree char *tmp = g_build_filename(p->path, "tmp", NULL);
    g_autoptr(GDir) dir = g_dir_open(tmp, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *stale = g_strconcat("tmp/", name, NULL);
        if (g_str_has_prefix(name, "atomic-") && !file_remove_all_at(p->repo, stale, error))
            return false;
    }
    p->staging_name = g_strdup_printf("tmp/atomic-%d", (int)getpid());
    if (!file_ensure_dir_at(p->repo, p->staging_name, 0755, error))
        return false;
    p->staging = file_open_dir_at(p->repo, p->staging_name, error);
    return p->staging >= 0;
}

static void publish_clear(Publish *p)
{
    if (p->staging >= 0)
        file_remove_all_at(p->repo, p->staging_name, NULL);
    sys_fd_closep(&p->staging);
    sys_fd_closep(&p->lock);
    sys_fd_closep(&p->repo);
    g_free(p->staging_name);
    g_ptr_array_unref(p->jobs);
    g_ptr_array_unref(p->tips);
    g_hash_table_unref(p->seen);
    g_ptr_array_unref(p->commits);
    g_mutex_clear(&p->mutex);
}

/* --- what is missing --------------------------------------------------------------------------------------- */

typedef struct {
    Publish *publish;
    const CommitData *commit;
} Walk;

/* Plans the object unless the repository has it. */
static bool want(const Walk *walk, const Digest *id, ObjectType type, CommitObject *out_object,
                 bool *out_new, GError **error)
{
    Publish *p = walk->publish;
    if (!commit_data_find(walk->commit, id, out_object))
        return error_throw(error, ERROR_CORRUPT, "the commit lacks the object '%s'",
                           digest_hex(id).text);
    *out_new = !g_hash_table_contains(p->seen, id);
    if (!*out_new)
        return true;
    Job *job = g_new0(Job, 1);
    *job = (Job){.id = *id, .type = type, .object = *out_object};
    g_hash_table_insert(p->seen, &job->id, job);
    g_autofree char *path = object_path(id, type);
    bool exists;
    if (!file_exists_at(p->repo, path, &exists, error))
        return false;
    if (!exists)
        g_ptr_array_add(type == OBJECT_COMMIT ? p->tips : p->jobs, job);
    return true;
}

static bool walk_dir(const Walk *walk, const Digest *tree, const Digest *meta, GError **error);

static bool walk_entry(const char *name _unused, const Digest *id, const Digest *meta, void *data,
                       GError **error)
{
    CommitObject object;
    bool is_new;
    return meta ? walk_dir(data, id, meta, error)
                : want(data, id, OBJECT_FILE, &object, &is_new, error);
}

static bool walk_dir(const Walk *walk, const Digest *tree, const Digest *meta, GError **error)
{
    CommitObject object;
    bool is_new;
    if (!want(walk, meta, OBJECT_DIRMETA, &object, &is_new, error) ||
        !want(walk, tree, OBJECT_DIRTREE, &object, &is_new, error))
        return false;
    if (!is_new)
        return true;
    g_autoptr(GVariant) dirtree =
        object_parse(OBJECT_DIRTREE_TYPE, object.data, object.size, error);
    return dirtree && object_each_entry(dirtree, walk_entry, (void *)walk, error);
}

static bool plan_commit(Publish *p, const char *checksum, GError **error)
{
    CommitData *commit = commit_data_load(p->store, checksum, error);
    if (!commit)
        return false;
    g_ptr_array_add(p->commits, commit);
    const Walk walk = {.publish = p, .commit = commit};
    Digest id, root, meta;
    CommitObject object;
    bool is_new;
    if (!digest_parse(checksum, &id) || !want(&walk, &id, OBJECT_COMMIT, &object, &is_new, error))
        return false;
    g_autoptr(GVariant) variant = object_parse(OBJECT_COMMIT_TYPE, object.data, object.size, error);
    return variant && commit_root(variant, &root, &meta, error) &&
           walk_dir(&walk, &root, &meta, error);
}

/* --- writing ----------------------------------------------------------------------------------------------- */

static bool write_file_object(Publish *p, const Job *job, int fd, uint64_t *out_written,
                              GError **error)
{
    g_auto(ObjectFile) file = {0};
    if (!object_parse_file(job->object.data, job->object.size, &file, error))
        return false;
    *out_written = file.header_size;
    if (!S_ISREG(file.mode))
        return file_write_all(fd, job->object.data, file.header_size, error);
    _autofd int content = -1;
    if (job->object.object) {
        content = store_open_object(p->store, job->object.object, error);
        if (content < 0)
            return false;
    } else if (job->object.size - file.header_size != file.size) {
        return error_throw(error, ERROR_CORRUPT, "a file is not as long as its header says");
    }
    return filez_write(fd, job->object.data, file.header_size, job->object.data + file.header_size,
                       content, file.size, out_written, error);
}

static bool write_object(Publish *p, const Job *job, uint64_t *out_written, GError **error)
{
    g_autofree char *name = object_name(&job->id, job->type);
    _autofd int fd = file_open_at(p->staging, name, O_WRONLY | O_CREAT | O_EXCL, error);
    if (fd < 0)
        return false;
    *out_written = job->object.size;
    bool ok = job->type == OBJECT_FILE
                  ? write_file_object(p, job, fd, out_written, error)
                  : file_write_all(fd, job->object.data, job->object.size, error);
    if (!ok)
        return error_prefix(error, "cannot write object '%s'", name);
    if (fchmod(fd, 0644) < 0)
        return error_throw_errno(error, "cannot set the mode of '%s'", name);
    return true;
}

static void run_job(void *data, void *user)
{
    Publish *p = user;
    g_autoptr(GError) error = NULL;
    uint64_t written = 0;
    if (cancel_requested())
        return;
    bool ok = write_object(p, data, &written, &error);
    g_mutex_lock(&p->mutex);
    if (ok) {
        p->result->objects++;
        p->result->bytes += written;
    } else if (!p->failed) {
        p->failed = g_steal_pointer(&error);
    }
    g_mutex_unlock(&p->mutex);
}

static bool write_objects(Publish *p, GPtrArray *jobs, GError **error)
{
    GThreadPool *pool = g_thread_pool_new(run_job, p, (int)sys_threads(16), TRUE, error);
    if (!pool)
        return false;
    for (unsigned i = 0; i < jobs->len; i++)
        g_thread_pool_push(pool, jobs->pdata[i], NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    if (p->failed) {
        g_propagate_error(error, g_steal_pointer(&p->failed));
        return false;
    }
    return cancel_check(error);
}

static bool sync_objects(Publish *p, GPtrArray *jobs, GError **error)
{
    if (jobs->len > SYNC_FILES_MAX)
        return syncfs(p->repo) == 0 || error_throw_errno(error, "cannot sync '%s'", p->path);
    for (unsigned i = 0; i < jobs->len; i++) {
        const Job *job = jobs->pdata[i];
        g_autofree char *name = object_name(&job->id, job->type);
        _autofd int fd = file_open_at(p->staging, name, O_RDONLY, error);
        if (fd < 0)
            return false;
        if (fsync(fd) < 0)
            return error_throw_errno(error, "cannot sync '%s'", name);
    }
    return true;
}

/* Into their places, and the directories on disk. */
static bool place_objects(Publish *p, GPtrArray *jobs, GError **error)
{
    bool touched[256] = {0};
    for (unsigned i = 0; i < jobs->len; i++) {
        const Job *job = jobs->pdata[i];
        g_autofree char *name = object_name(&job->id, job->type);
        g_autofree char *path = object_path(&job->id, job->type);
        g_autofree char *dir = g_path_get_dirname(path);
        if (!file_ensure_dir_at(p->repo, dir, 0755, error))
            return false;
        if (renameat(p->staging, name, p->repo, path) < 0)
            return error_throw_errno(error, "cannot rename '%s' to '%s/%s'", name, p->path, path);
        touched[job->id.bytes[0]] = true;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(touched); i++) {
        g_autofree char *dir = g_strdup_printf("objects/%02x", i);
        if (touched[i] && !file_sync_dir_at(p->repo, dir, error))
            return false;
    }
    return file_sync_dir_at(p->repo, "objects", error);
}

static bool write_all(Publish *p, GPtrArray *jobs, GError **error)
{
    return jobs->len == 0 || (write_objects(p, jobs, error) && sync_objects(p, jobs, error) &&
                              place_objects(p, jobs, error));
}

/* --- branches and summary ---------------------------------------------------------------------------------- */

static bool write_ref(Publish *p, const char *ref, const char *checksum, GError **error)
{
    g_autofree char *path = g_strconcat("refs/heads/", ref, NULL);
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *line = g_strconcat(checksum, "\n", NULL);
    return file_ensure_dir_at(p->repo, dir, 0755, error) &&
           file_replace_at(p->repo, path, line, strlen(line), 0644, FILE_REPLACE_DURABLE, error);
}

static bool add_summary_ref(Publish *p, GPtrArray *refs, const char *path, const char *ref,
                            GError **error)
{
    size_t size;
    g_autofree char *line = file_read_at(p->repo, path, 4096, &size, error);
    if (!line)
        return false;
    Digest id;
    if (!digest_parse(g_strchomp(line), &id))
        return error_throw(error, ERROR_CORRUPT, "branch '%s' of '%s' is malformed", ref, p->path);
    g_autofree char *object = object_path(&id, OBJECT_COMMIT);
    g_autofree char *data = file_read_at(p->repo, object, OBJECT_METADATA_MAX, &size, error);
    g_autoptr(GVariant) commit =
        data ? object_parse(OBJECT_COMMIT_TYPE, (uint8_t *)data, size, error) : NULL;
    if (!commit)
        return error_prefix(error, "branch '%s' of '%s'", ref, p->path);
    g_ptr_array_add(refs, summary_ref_new(ref, &id, commit));
    return true;
}

/* All branches below refs/heads/PREFIX. */
static bool collect_refs(Publish *p, GPtrArray *refs, const char *prefix, GError **error)
{
    g_autofree char *dir = g_strconcat("refs/heads/", prefix, NULL);
    g_autofree char *full = g_build_filename(p->path, dir, NULL);
    g_autoptr(GDir) entries = g_dir_open(full, 0, NULL);
    for (const char *name; entries && (name = g_dir_read_name(entries));) {
        if (*name == '.')
            continue; /* a temporary file of somebody who was killed */
        g_autofree char *ref = *prefix ? g_strconcat(prefix, "/", name, NULL) : g_strdup(name);
        g_autofree char *path = g_strconcat("refs/heads/", ref, NULL);
        struct stat st;
        if (fstatat(p->repo, path, &st, 0) < 0)
            return error_throw_errno(error, "cannot look at '%s/%s'", p->path, path);
        if (!(S_ISDIR(st.st_mode) ? collect_refs(p, refs, ref, error)
                                  : add_summary_ref(p, refs, path, ref, error)))
            return false;
    }
    return true;
}

static bool write_summary(Publish *p, GError **error)
{
    g_autoptr(GPtrArray) refs = g_ptr_array_new_with_free_func((GDestroyNotify)summary_ref_free);
    if (!collect_refs(p, refs, "", error))
        return false;
    g_autoptr(GBytes) summary = summary_format(refs, (uint64_t)time(NULL));
    size_t size;
    const void *data = g_bytes_get_data(summary, &size);
    /* a signature of the old one would make clients refuse the new one */
    if (unlinkat(p->repo, "summary.sig", 0) < 0 && errno != ENOENT)
        return error_throw_errno(error, "cannot remove '%s/summary.sig'", p->path);
    return file_replace_at(p->repo, "summary", data, size, 0644, FILE_REPLACE_DURABLE, error);
}

static bool publish(Publish *p, const char *const *refs, GError **error)
{
    g_autoptr(GPtrArray) checksums = g_ptr_array_new_with_free_func(g_free);
    for (const char *const *ref = refs; *ref; ref++) {
        char *checksum;
        if (!ostree_check_ref(*ref, error) || !ostree_resolve(p->store, *ref, &checksum, error))
            return false;
        g_ptr_array_add(checksums, checksum);
    }
    if (!open_repo(p, error))
        return false;
    for (unsigned i = 0; i < checksums->len; i++)
        if (!plan_commit(p, checksums->pdata[i], error))
            return error_prefix(error, "cannot publish '%s'", refs[i]);
    if (!write_all(p, p->jobs, error) || !write_all(p, p->tips, error))
        return error_prefix(error, "cannot publish to '%s'", p->path);
    p->result->commits = p->tips->len;
    for (unsigned i = 0; i < checksums->len; i++)
        if (!write_ref(p, refs[i], checksums->pdata[i], error))
            return false;
    return write_summary(p, error);
}

bool ostree_publish(Store *store, const char *repo, const char *const *refs,
                    OstreePublishResult *out_result, GError **error)
{
    OstreePublishResult result = {0};
    Publish p = {
        .store = store, .path = repo, .repo = -1, .staging = -1, .lock = -1, .result = &result};
    g_mutex_init(&p.mutex);
    p.commits = g_ptr_array_new_with_free_func((GDestroyNotify)commit_data_free);
    p.seen = g_hash_table_new_full(digest_hash, digest_equal_void, NULL, g_free);
    p.jobs = g_ptr_array_new();
    p.tips = g_ptr_array_new();
    bool ok = publish(&p, refs, error);
    publish_clear(&p);
    if (ok && out_result)
        *out_result = result;
    return ok;
}
