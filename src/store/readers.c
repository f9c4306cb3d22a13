/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the caller fills a chunk and queues it; a thread takes it, reads its files and puts it among the done;
 * the caller takes their results and has it to fill again. There are CHUNKS of them, made once. */
#include "store/readers.h"

#include "base/sys/process.h"

#include <sys/resource.h>
#include <unistd.h>

enum {
    THREADS_MAX = 4,
    CHUNKS = 8,
    CHUNK_FILES = 32,
    CHUNK_BYTES = 1 << 20, /* large files go alone, each by another thread */
};

typedef struct {
    TreeNode *node;
    PutFile file; /* its fd is -1 when it was read */
} Job;

typedef struct {
    unsigned n;
    uint64_t bytes;
    GError *failed; /* of the job before `n` */
    Job jobs[CHUNK_FILES];
} Chunk;

struct Readers {
    StoreTxn *txn;
    Tree *tree;
    const StoreChecksum *checksum;
    Chunk *filling; /* the caller's; NULL: none */
    GError *failed; /* the first one, prefixed */
    unsigned chunk_files;
    GThread *threads[THREADS_MAX];
    unsigned n_threads;
    GMutex mutex; /* all below */
    GCond more, done_one;
    GQueue queued, done, idle; /* of Chunk */
    unsigned underway;         /* queued or being read */
    bool stop;
};

/* Half of the files that this process may have open, so that the threads can open theirs. */
static unsigned files_per_chunk(void)
{
    struct rlimit limit = {.rlim_cur = 2 * CHUNKS * CHUNK_FILES};
    getrlimit(RLIMIT_NOFILE, &limit);
    return (unsigned)CLAMP(limit.rlim_cur / 2 / CHUNKS, 1, CHUNK_FILES);
}

Readers *readers_new(StoreTxn *txn, Tree *tree, const StoreChecksum *checksum)
{
    Readers *readers = g_new0(Readers, 1);
    readers->txn = txn;
    readers->tree = tree;
    readers->checksum = checksum;
    readers->chunk_files = files_per_chunk();
    g_mutex_init(&readers->mutex);
    g_cond_init(&readers->more);
    g_cond_init(&readers->done_one);
    for (int i = 0; i < CHUNKS; i++) {
        Chunk *chunk = g_new0(Chunk, 1);
        for (int j = 0; j < CHUNK_FILES; j++)
            chunk->jobs[j].file.fd = -1;
        g_queue_push_tail(&readers->idle, chunk);
    }
    return readers;
}

/* --- the threads ---------------------------------------------------------------------------------------- */

static bool read_job(Readers *readers, Job *job, char *buffer, GError **error)
{
    PutFile *file = &job->file;
    bool good = readers->txn ? txn_put_file(readers->txn, file, buffer, error)
                             : store_measure(file->fd, &file->object, &file->size, error);
    if (good && job->file.size <= TREE_INLINE_MAX)
        good = error_throw(error, ERROR_FAILED, "it was changed while it was read");
    sys_fd_closep(&job->file.fd);
    return good;
}

static void *reader_main(void *data)
{
    Readers *readers = data;
    g_autofree char *buffer = g_malloc(PUT_BUFFER);
    g_mutex_lock(&readers->mutex);
    for (;;) {
        Chunk *chunk;
        while (!(chunk = g_queue_pop_head(&readers->queued)) && !readers->stop)
            g_cond_wait(&readers->more, &readers->mutex);
        if (!chunk)
            break;
        g_mutex_unlock(&readers->mutex);
        for (unsigned i = 0; i < chunk->n && !chunk->failed; i++)
            if (!read_job(readers, &chunk->jobs[i], buffer, &chunk->failed))
                chunk->n = i + 1;
        g_mutex_lock(&readers->mutex);
        readers->underway--;
        g_queue_push_tail(&readers->done, chunk);
        g_cond_signal(&readers->done_one);
    }
    g_mutex_unlock(&readers->mutex);
    return NULL;
}

/* --- the caller ----------------------------------------------------------------------------------------- */

static void job_clear(Job *job)
{
    sys_fd_closep(&job->file.fd);
    g_clear_pointer(&job->file.prefix, g_bytes_unref);
}

/* Gives the inodes their objects, and empties the chunk. */
static void take_results(Readers *readers, Chunk *chunk)
{
    for (unsigned i = 0; i < chunk->n; i++) {
        Job *job = &chunk->jobs[i];
        bool failed = chunk->failed && i + 1 == chunk->n;
        if (!failed) {
            tree_set_object(readers->tree, job->node->inode, &job->file.object, job->file.size);
            if (job->file.prefix)
                readers->checksum->take(job->node->inode, job->file.prefix, &job->file.checksum,
                                        readers->checksum->data);
        } else if (!readers->failed) {
            g_autofree char *path = tree_path(job->node);
            readers->failed = g_steal_pointer(&chunk->failed);
            error_prefix(&readers->failed, "'%s'", path);
        }
    }
    for (unsigned i = 0; i < CHUNK_FILES; i++)
        job_clear(&chunk->jobs[i]);
    g_clear_error(&chunk->failed);
    chunk->n = 0;
    chunk->bytes = 0;
}

static bool check(const Readers *readers, GError **error)
{
    if (readers->failed)
        g_propagate_error(error, g_error_copy(readers->failed));
    return !readers->failed;
}

/* Under the mutex: the results of the next chunk that is done, waited for. */
static void take_next(Readers *readers)
{
    Chunk *chunk;
    while (!(chunk = g_queue_pop_head(&readers->done)))
        g_cond_wait(&readers->done_one, &readers->mutex);
    take_results(readers, chunk);
    g_queue_push_tail(&readers->idle, chunk);
}

/* An empty chunk, waited for; NULL after a failure. */
static Chunk *next_chunk(Readers *readers)
{
    g_mutex_lock(&readers->mutex);
    while (!g_queue_is_empty(&readers->done) || g_queue_is_empty(&readers->idle))
        take_next(readers);
    Chunk *chunk = readers->failed ? NULL : g_queue_pop_head(&readers->idle);
    g_mutex_unlock(&readers->mutex);
    return chunk;
}

static void start_threads(Readers *readers)
{
    readers->n_threads = sys_threads(THREADS_MAX);
    for (unsigned i = 0; i < readers->n_threads; i++)
        readers->threads[i] = g_thread_new("reader", reader_main, readers);
}

static void queue_filling(Readers *readers)
{
    if (!readers->n_threads)
        start_threads(readers);
    g_mutex_lock(&readers->mutex);
    g_queue_push_tail(&readers->queued, g_steal_pointer(&readers->filling));
    readers->underway++;
    g_cond_signal(&readers->more);
    g_mutex_unlock(&readers->mutex);
}

bool readers_add(Readers *readers, int fd, TreeNode *node, uint64_t size, GError **error)
{
    if (!readers->filling)
        readers->filling = next_chunk(readers);
    Chunk *chunk = readers->filling;
    if (!chunk) {
        close(fd);
        return check(readers, error);
    }
    const StoreChecksum *checksum = readers->checksum;
    Job *job = &chunk->jobs[chunk->n++];
    job->node = node;
    job->file = (PutFile){.fd = fd, .expected = size};
    if (checksum)
        job->file.prefix = checksum->prefix(node->inode, checksum->data);
    chunk->bytes += size;
    if (chunk->n == readers->chunk_files || chunk->bytes >= CHUNK_BYTES)
        queue_filling(readers);
    return true;
}

bool readers_finish(Readers *readers, GError **error)
{
    if (readers->filling)
        queue_filling(readers);
    g_mutex_lock(&readers->mutex);
    while (!readers->failed && (readers->underway || !g_queue_is_empty(&readers->done)))
        take_next(readers);
    g_mutex_unlock(&readers->mutex);
    return check(readers, error);
}

static void free_chunks(GQueue *queue)
{
    for (Chunk *chunk; (chunk = g_queue_pop_head(queue)); g_free(chunk)) {
        for (unsigned i = 0; i < CHUNK_FILES; i++)
            job_clear(&chunk->jobs[i]);
        g_clear_error(&chunk->failed);
    }
}

void readers_free(Readers *readers)
{
    if (!readers)
        return;
    g_mutex_lock(&readers->mutex);
    readers->stop = true;
    if (readers->filling)
        g_queue_push_tail(&readers->idle, readers->filling);
    for (Chunk *chunk; (chunk = g_queue_pop_head(&readers->queued));) /* not read any more */
        g_queue_push_tail(&readers->idle, chunk);
    g_cond_broadcast(&readers->more);
    g_mutex_unlock(&readers->mutex);
    for (unsigned i = 0; i < readers->n_threads; i++)
        g_thread_join(readers->threads[i]);
    free_chunks(&readers->done);
    free_chunks(&readers->idle);
    g_clear_error(&readers->failed);
    g_cond_clear(&readers->more);
    g_cond_clear(&readers->done_one);
    g_mutex_clear(&readers->mutex);
    g_free(readers);
}
