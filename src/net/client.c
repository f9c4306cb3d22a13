/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: requests wait in `queue`; up to NET_IN_FLIGHT of them are written to the child, whose answers carry the
 * request's number. Both pipes are non-blocking on this side, so that neither process waits for the other while the
 * other waits for it. */
#include "net/net.h"

#include "base/cancel.h"
#include "base/file.h"
#include "base/spawn.h"
#include "net/protocol.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    NetRequest request;
    char *url;
    GByteArray *collected; /* bytes for `done` */
    uint64_t size;
} Job;

struct NetClient {
    pid_t pid;
    int to_child, from_child;
    uint64_t next_id, received;
    GQueue queue;       /* Job * */
    GHashTable *jobs;   /* id -> Job *, in flight */
    GByteArray *output; /* frames not yet written */
    uint8_t *input;
    size_t input_size;
    NetTick tick;
    void *tick_user;
    int64_t ticked_at;
};

#define INPUT_ROOM (2 * NET_FRAME_MAX)
#define TICK_MSEC  500

static void job_free(void *data)
{
    Job *job = data;
    g_free(job->url);
    g_clear_pointer(&job->collected, g_byte_array_unref);
    g_free(job);
}

NetClient *net_client_new(GError **error)
{
    g_autofree char *program = spawn_helper_path("atomic-fetch", error);
    if (!program)
        return NULL;
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return error_throw_errno_null(error, "cannot make a pipe");
    _autofd int in_read = in[0], in_write = in[1];
    if (pipe2(out, O_CLOEXEC) < 0)
        return error_throw_errno_null(error, "cannot make a pipe");
    _autofd int out_read = out[0], out_write = out[1];
    fcntl(out_read, F_SETPIPE_SZ, 1 << 20); /* fewer switches; a smaller pipe works too */
    const SpawnOptions options = {.stdin_fd = in_read, .stdout_fd = out_write, .stderr_fd = -1};
    const char *argv[] = {program, NULL};
    pid_t pid;
    if (!spawn_start(argv, &options, &pid, error))
        return NULL;
    fcntl(in_write, F_SETFL, O_NONBLOCK);
    fcntl(out_read, F_SETFL, O_NONBLOCK);

    NetClient *client = g_new0(NetClient, 1);
    client->pid = pid;
    client->to_child = fd_steal(&in_write);
    client->from_child = fd_steal(&out_read);
    g_queue_init(&client->queue);
    client->jobs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, job_free);
    client->output = g_byte_array_new();
    client->input = g_malloc(INPUT_ROOM);
    return client;
}

void net_client_free(NetClient *client)
{
    if (!client)
        return;
    sys_fd_closep(&client->to_child);
    sys_fd_closep(&client->from_child);
    kill(client->pid, SIGKILL); /* it keeps no state */
    spawn_wait(client->pid, NULL);
    g_queue_clear_full(&client->queue, job_free);
    g_hash_table_unref(client->jobs);
    g_byte_array_unref(client->output);
    g_free(client->input);
    g_free(client);
}

void net_client_get(NetClient *client, const NetRequest *request)
{
    g_assert(request->done && request->url);
    Job *job = g_new0(Job, 1);
    job->request = *request;
    job->url = g_strdup(request->url);
    job->request.url = job->url;
    if (request->fd <= 0 && !request->data) {
        job->collected = g_byte_array_new();
        if (!job->request.limit)
            job->request.limit = NET_LIMIT_BYTES;
    }
    g_queue_push_tail(&client->queue, job);
}

void net_client_set_tick(NetClient *client, NetTick tick, void *user)
{
    client->tick = tick;
    client->tick_user = user;
    client->ticked_at = g_get_monotonic_time();
}

size_t net_client_pending(const NetClient *client)
{
    return g_queue_get_length((GQueue *)&client->queue) + g_hash_table_size(client->jobs);
}

uint64_t net_client_received(const NetClient *client)
{
    return client->received;
}

static bool finish(NetClient *client, Job *job, const NetEndFrame *end, const char *message,
                   GError **error)
{
    g_autoptr(GBytes) bytes = NULL;
    client->received += end->received;
    if (end->outcome == NET_OK && job->collected)
        bytes = g_byte_array_free_to_bytes(g_steal_pointer(&job->collected));
    const NetResponse response = {
        .url = job->url,
        .outcome = end->outcome,
        .http_status = end->http_status,
        .received = end->received,
        .size = job->size,
        .bytes = bytes,
        .message = message,
    };
    return job->request.done(&response, job->request.user, error);
}

static bool refuse_long_url(NetClient *client, Job *job, GError **error)
{
    const NetEndFrame end = {.outcome = NET_TRANSPORT};
    bool ok = finish(client, job, &end, "the URL is too long", error);
    job_free(job);
    return ok;
}

/* Moves requests from the queue into the output buffer while there is room in flight. */
static bool send_queued(NetClient *client, GError **error)
{
    while (g_hash_table_size(client->jobs) < NET_IN_FLIGHT && client->queue.length) {
        Job *job = g_queue_pop_head(&client->queue);
        size_t length = strlen(job->url);
        if (length > NET_URL_MAX) {
            if (!refuse_long_url(client, job, error))
                return false;
            continue;
        }
        uint64_t *id = g_new(uint64_t, 1);
        *id = client->next_id++;
        const NetRequestFrame frame = {
            .size = (uint32_t)(sizeof frame - sizeof frame.size + length),
            .id = *id,
            .limit = job->request.limit,
            .decode = job->request.decode,
        };
        g_byte_array_append(client->output, (const void *)&frame, sizeof frame);
        g_byte_array_append(client->output, (const void *)job->url, (unsigned)length);
        g_hash_table_insert(client->jobs, id, job);
    }
    return true;
}

static bool child_died(GError **error)
{
    return error_throw(error, ERROR_NETWORK, "atomic-fetch ended unexpectedly");
}

static bool write_output(NetClient *client, GError **error)
{
    while (client->output->len) {
        ssize_t n = write(client->to_child, client->output->data, client->output->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0)
            return child_died(error);
        g_byte_array_remove_range(client->output, 0, (unsigned)n);
    }
    return true;
}

static bool take_data(Job *job, const uint8_t *data, size_t size, GError **error)
{
    job->size += size;
    /* the child keeps to it; but it is the one that strangers talk to */
    if (job->request.limit && job->size > job->request.limit)
        return error_throw(error, ERROR_NETWORK, "atomic-fetch sent more of '%s' than was asked",
                           job->url);
    if (job->request.data)
        return job->request.data(data, size, job->request.user, error);
    if (job->request.fd > 0)
        return file_write_all(job->request.fd, data, size, error) ||
               error_prefix(error, "'%s'", job->url);
    g_byte_array_append(job->collected, data, (unsigned)size);
    return true;
}

static bool take_frame(NetClient *client, const uint8_t *frame, size_t size, GError **error)
{
    NetAnswerFrame head;
    memcpy(&head, frame, sizeof head);
    const uint8_t *rest = frame + sizeof head;
    size_t rest_size = size - sizeof head;
    Job *job = g_hash_table_lookup(client->jobs, &(uint64_t){head.id});
    if (!job)
        return error_throw(error, ERROR_NETWORK, "atomic-fetch answered what was not asked");
    if (head.kind == NET_KIND_DATA)
        return take_data(job, rest, rest_size, error);
    NetEndFrame end;
    if (head.kind != NET_KIND_END || rest_size < sizeof end)
        return error_throw(error, ERROR_NETWORK, "atomic-fetch sent a malformed answer");
    memcpy(&end, rest, sizeof end);
    g_autofree char *message = g_strndup((const char *)rest + sizeof end, rest_size - sizeof end);
    g_autofree void *key = NULL;
    void *stolen = NULL; /* asked for, or it would be freed */
    g_hash_table_steal_extended(client->jobs, &(uint64_t){head.id}, &key, &stolen);
    bool ok = finish(client, job, &end, message, error);
    job_free(job);
    return ok;
}

static bool read_input(NetClient *client, GError **error)
{
    ssize_t n = read(client->from_child, client->input + client->input_size,
                     INPUT_ROOM - client->input_size);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n <= 0)
        return child_died(error);
    client->input_size += (size_t)n;
    size_t at = 0;
    bool ok = true;
    while (ok && client->input_size - at >= sizeof(uint32_t)) {
        uint32_t rest;
        memcpy(&rest, client->input + at, sizeof rest);
        if (rest < sizeof(NetAnswerFrame) - sizeof rest || rest > NET_FRAME_MAX)
            return error_throw(error, ERROR_NETWORK, "atomic-fetch sent a malformed answer");
        if (client->input_size - at < sizeof rest + rest)
            break;
        ok = take_frame(client, client->input + at, sizeof rest + rest, error);
        at += sizeof rest + rest;
    }
    /* also after a callback failed: the client stays usable */
    client->input_size -= at;
    memmove(client->input, client->input + at, client->input_size);
    return ok;
}

static bool tick(NetClient *client, GError **error)
{
    int64_t now = g_get_monotonic_time();
    if (!client->tick || now - client->ticked_at < TICK_MSEC * 1000)
        return true;
    client->ticked_at = now;
    return client->tick(client->tick_user, error);
}

bool net_client_run(NetClient *client, size_t pending, GError **error)
{
    for (;;) {
        if (!cancel_check(error) || !tick(client, error) || !send_queued(client, error) ||
            !write_output(client, error))
            return false;
        if (net_client_pending(client) <= pending)
            return true;
        struct pollfd fds[] = {
            {.fd = client->from_child, .events = POLLIN},
            {.fd = client->output->len ? client->to_child : -1, .events = POLLOUT},
        };
        /* a signal just before the wait doesn't end it, so look again now and then */
        if (poll(fds, ARRAY_SIZE(fds), TICK_MSEC) < 0) {
            if (errno == EINTR)
                continue;
            return error_throw_errno(error, "cannot wait for atomic-fetch");
        }
        if (fds[0].revents && !read_input(client, error))
            return false;
    }
}

bool net_response_error(const NetResponse *response, GError **error)
{
    switch (response->outcome) {
    case NET_HTTP_STATUS:
        return error_throw(
            error,
            response->http_status == 404 || response->http_status == 410 ? ERROR_NOT_FOUND
                                                                         : ERROR_NETWORK,
            "cannot fetch '%s': the server answered %u", response->url, response->http_status);
    case NET_MALFORMED:
        return error_throw(error, ERROR_CORRUPT, "cannot fetch '%s': %s", response->url,
                           response->message);
    case NET_TOO_LARGE:
        return error_throw(error, ERROR_INVALID, "cannot fetch '%s': %s", response->url,
                           response->message);
    default:
        return error_throw(error, ERROR_NETWORK, "cannot fetch '%s': %s", response->url,
                           response->message);
    }
}

static bool keep_bytes(const NetResponse *response, void *user, GError **error)
{
    GBytes **out = user;
    if (response->outcome != NET_OK)
        return net_response_error(response, error);
    if (out)
        *out = g_bytes_ref(response->bytes);
    return true;
}

GBytes *net_fetch_bytes(NetClient *client, const char *url, NetDecode decode, uint64_t limit,
                        GError **error)
{
    g_autoptr(GBytes) bytes = NULL;
    const NetRequest request = {
        .url = url, .decode = decode, .limit = limit, .done = keep_bytes, .user = &bytes};
    net_client_get(client, &request);
    if (!net_client_run(client, 0, error))
        return NULL;
    return g_steal_pointer(&bytes);
}
