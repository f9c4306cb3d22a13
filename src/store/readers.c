/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a queue under one mutex. Jobs are kept until the end, since their results wait there; a job's fd lives
 * until it is read, and at most MAX_OPEN are open at a time. */
#include "store/readers.h"

#include "base/sys/process.h"

#include <unistd.h>

enum { MAX_THREADS = 4, MAX_OPEN = 128 };

typedef struct {
    int fd;
    TreeNode *node;
    Digest object;
    uint64_t size;
} Job;

struct Readers {
    StoreTxn *txn;
    GThread *threads[MAX_THREADS];
    unsigned n_threads;
    GMutex mutex;     /* all below */
    GCond more, room; /* a job or the end; a place in the queue or nothing to do */
    GPtrArray *jobs;
    unsigned next, done; /* of jobs: the first nobody took; how many are ready */
    bool stop;
    GError *failed; /* the first one, not prefixed yet: the tree is the caller's */
    const TreeNode *failed_node;
};

Readers *readers_new(StoreTxn *txn)
{
    Readers *readers = g_new0(Readers, 1);
    readers->txn = txn;
    g_mutex_init(&readers->mutex);
    g_cond_init(&readers->more);
    g_cond_init(&readers->room);
    readers->jobs = g_ptr_array_new_with_free_func(g_free);
    return readers;
}

static bool read_job(Readers *readers, Job *job, GError **error)
{
    bool good = readers->txn
                    ? store_txn_put_fd(readers->txn, job->fd, &job->object, &job->size, error)
                    : store_measure(job->fd, &job->object, &job->size, error);
    if (good && job->size <= TREE_INLINE_MAX)
        good = error_throw(error, ERROR_FAILED, "it was changed while it was read");
    sys_fd_closep(&job->fd);
    return good;
}

static void *reader_main(void *data)
{
    Readers *readers = data;
    g_mutex_lock(&readers->mutex);
    for (;;) {
        while (!readers->stop && readers->next == readers->jobs->len)
            g_cond_wait(&readers->more, &readers->mutex);
        if (readers->stop)
            break;
        Job *job = readers->jobs->pdata[readers->next++];
        g_autoptr(GError) failed = NULL;
        g_mutex_unlock(&readers->mutex);
        bool good = read_job(readers, job, &failed);
        g_mutex_lock(&readers->mutex);
        readers->done++;
        if (!good && !readers->failed) {
            readers->failed = g_steal_pointer(&failed);
            readers->failed_node = job->node;
            readers->stop = true;
            g_cond_broadcast(&readers->more);
        }
        g_cond_signal(&readers->room);
    }
    g_mutex_unlock(&readers->mutex);
    return NULL;
}

/* Under the mutex. */
static bool check(const Readers *readers, GError **error)
{
    if (!readers->failed)
        return true;
    g_autofree char *path = tree_path(readers->failed_node);
    g_propagate_error(error, g_error_copy(readers->failed));
    return error_prefix(error, "'%s'", path);
}

static void start_threads(Readers *readers)
{
    readers->n_threads = sys_threads(MAX_THREADS);
    for (unsigned i = 0; i < readers->n_threads; i++)
        readers->threads[i] = g_thread_new("reader", reader_main, readers);
}

bool readers_add(Readers *readers, int fd, TreeNode *node, GError **error)
{
    if (!readers->n_threads)
        start_threads(readers);
    Job *job = g_new0(Job, 1);
    *job = (Job){.fd = fd, .node = node};
    g_mutex_lock(&readers->mutex);
    g_ptr_array_add(readers->jobs, job);
    g_cond_signal(&readers->more);
    while (!readers->failed && readers->jobs->len - readers->done >= MAX_OPEN)
        g_cond_wait(&readers->room, &readers->mutex);
    bool good = check(readers, error);
    g_mutex_unlock(&readers->mutex);
    return good;
}

bool readers_finish(Readers *readers, Tree *tree, GError **error)
{
    g_mutex_lock(&readers->mutex);
    while (!readers->failed && readers->done < readers->jobs->len)
        g_cond_wait(&readers->room, &readers->mutex);
    bool good = check(readers, error);
    g_mutex_unlock(&readers->mutex);
    for (guint i = 0; good && i < readers->jobs->len; i++) {
        const Job *job = readers->jobs->pdata[i];
        tree_set_object(tree, job->node->inode, &job->object, job->size);
    }
    return good;
}

void readers_free(Readers *readers)
{
    if (!readers)
        return;
    g_mutex_lock(&readers->mutex);
    readers->stop = true;
    g_cond_broadcast(&readers->more);
    g_mutex_unlock(&readers->mutex);
    for (unsigned i = 0; i < readers->n_threads; i++)
        g_thread_join(readers->threads[i]);
    for (guint i = 0; i < readers->jobs->len; i++)
        sys_fd_closep(&((Job *)readers->jobs->pdata[i])->fd);
    g_ptr_array_unref(readers->jobs);
    g_clear_error(&readers->failed);
    g_cond_clear(&readers->more);
    g_cond_clear(&readers->room);
    g_mutex_clear(&readers->mutex);
    g_free(readers);
}
