/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-fetch: requests on stdin, answers on stdout (net.h describes the frames).
 *
 * How it works: one libcurl multi handle does all transfers; the loop waits for it and for stdin. Requests wait here,
 * not in libcurl, until their server has room: what libcurl itself holds back for a limit of connections may sleep
 * until its time-out although every connection is idle (curl 7.88 wakes one waiting transfer per event, which
 * may be one that still can't run; seen once in 60 pulls). Answers are written
 * with blocking writes: when the reader is slow, nothing is read from the network either. A transfer that fails in a
 * way that may pass is started again from its beginning; bytes that were handed over before are skipped then (what is
 * fetched is verified by the other side, so a file that changed in between is found out).
 *
 * Started by root it becomes nobody before the first request, and it can gain no privileges by exec.
 */
#include "base/sys/confine.h"
#include "net/decode.h"
#include "net/protocol.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PER_HOST         8
#define ATTEMPTS         5
#define FIRST_PAUSE_USEC (200 * 1000) /* doubled each time */
#define REQUEST_MAX      (sizeof(NetRequestFrame) + NET_URL_MAX)

/* A scheme, host and port. */
typedef struct {
    bool multiplexes; /* it answered by HTTP/2: one connection carries all */
    unsigned active;
    GQueue queue; /* Transfer * */
} Server;

typedef struct {
    uint64_t id, limit;
    NetDecode decode;
    char *url;
    Server *server;
    CURL *easy; /* NULL between two attempts */
    Decoder *decoder;
    NetOutcome outcome; /* of the decoder */
    unsigned attempt;
    uint64_t received, handed,
        skip; /* skip: bytes of this attempt that were handed over in an earlier one */
    gint64 retry_at;
    char error[CURL_ERROR_SIZE];
} Transfer;

static CURLM *multi;
static GPtrArray *idle_handles; /* CURL *, for their connections and settings */
static GPtrArray *waiting;      /* Transfer *, to be tried again at retry_at */
static GHashTable *servers;     /* "http://host:port" -> Server * */

static _noreturn void leave(int status)
{
    /* no cleanup: a resolver thread may hang, and there is nothing to keep */
    _exit(status);
}

static void write_out(const void *data, size_t size)
{
    if (size && sys_write_all(STDOUT_FILENO, data, size) < 0)
        leave(0); /* nobody reads any more */
}

static void send_data(uint64_t id, const uint8_t *data, size_t size)
{
    const size_t most = NET_FRAME_MAX - sizeof(NetAnswerFrame);
    while (size) {
        size_t n = MIN(size, most);
        const NetAnswerFrame head = {.size = (uint32_t)(sizeof head - sizeof head.size + n),
                                     .id = id,
                                     .kind = NET_KIND_DATA};
        write_out(&head, sizeof head);
        write_out(data, n);
        data += n;
        size -= n;
    }
}

static void send_end(const Transfer *t, NetOutcome outcome, unsigned http_status,
                     const char *message)
{
    size_t length = strlen(message);
    const NetAnswerFrame head = {
        .size = (uint32_t)(sizeof head - sizeof head.size + sizeof(NetEndFrame) + length),
        .id = t->id,
        .kind = NET_KIND_END,
    };
    const NetEndFrame end = {
        .outcome = outcome, .http_status = http_status, .received = t->received};
    write_out(&head, sizeof head);
    write_out(&end, sizeof end);
    write_out(message, length);
}

static bool hand_over(const void *bytes, size_t size, void *data)
{
    Transfer *t = data;
    const uint8_t *from = bytes;
    size_t skipped = MIN(t->skip, size);
    t->skip -= skipped;
    t->handed += size - skipped;
    send_data(t->id, from + skipped, size - skipped);
    return true;
}

static size_t on_body(char *bytes, size_t one _unused, size_t size, void *data)
{
    Transfer *t = data;
    t->received += size;
    t->outcome = decoder_write(t->decoder, bytes, size);
    return t->outcome == NET_OK ? size : CURL_WRITEFUNC_ERROR;
}

static CURL *new_handle(void)
{
    if (idle_handles->len)
        return g_ptr_array_steal_index_fast(idle_handles, idle_handles->len - 1);
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "atomic/" ATOMIC_VERSION);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    return easy;
}

static Server *find_server(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    g_autofree char *name = g_strndup(url, (size_t)(host - url) + strcspn(host, "/?#"));
    Server *server = g_hash_table_lookup(servers, name);
    if (!server) {
        server = g_new0(Server, 1);
        g_queue_init(&server->queue);
        g_hash_table_insert(servers, g_steal_pointer(&name), server);
    }
    return server;
}

static void start_now(Transfer *t)
{
    t->server->active++;
    t->attempt++;
    t->skip = t->handed;
    t->outcome = NET_OK;
    t->decoder = decoder_new(t->decode, t->limit, hand_over, t);
    t->easy = new_handle();
    t->error[0] = '\0';
    curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    /* an HTTP/2 server is asked over one connection, so wait for it rather than open many */
    curl_easy_setopt(t->easy, CURLOPT_PIPEWAIT, (long)g_str_has_prefix(t->url, "https:"));
    curl_multi_add_handle(multi, t->easy);
}

static void start_queued(Server *server)
{
    while (server->queue.length && (server->multiplexes || server->active < PER_HOST))
        start_now(g_queue_pop_head(&server->queue));
}

static void start(Transfer *t)
{
    g_queue_push_tail(&t->server->queue, t);
    start_queued(t->server);
}

static void transfer_free(Transfer *t)
{
    decoder_free(t->decoder);
    g_free(t->url);
    g_free(t);
}

static bool may_pass(CURLcode code, long status)
{
    switch (code) {
    case CURLE_HTTP_RETURNED_ERROR:
        return status == 408 || status == 429 || status >= 500;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_WEIRD_SERVER_REPLY:
        return true;
    default:
        return false;
    }
}

static void retry_later(Transfer *t)
{
    g_clear_pointer(&t->decoder, decoder_free);
    t->retry_at = g_get_monotonic_time() + ((gint64)FIRST_PAUSE_USEC << (t->attempt - 1));
    g_ptr_array_add(waiting, t);
}

/* Gives the handle back; the server has room for the next. */
static void end_attempt(Transfer *t, long *out_status)
{
    long version = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, out_status);
    curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
    curl_multi_remove_handle(multi, t->easy);
    g_ptr_array_add(idle_handles, g_steal_pointer(&t->easy));
    if (version)
        t->server->multiplexes = version >= CURL_HTTP_VERSION_2_0;
    t->server->active--;
    start_queued(t->server);
}

static void finished(Transfer *t, CURLcode code)
{
    long status = 0;
    end_attempt(t, &status);

    NetOutcome outcome = t->outcome;
    if (outcome == NET_OK && code == CURLE_OK)
        outcome = decoder_end(t->decoder);
    const char *message = decoder_message(t->decoder);
    if (outcome == NET_OK && code != CURLE_OK) {
        if (may_pass(code, status) && t->attempt < ATTEMPTS) {
            retry_later(t);
            return;
        }
        outcome = code == CURLE_HTTP_RETURNED_ERROR ? NET_HTTP_STATUS : NET_TRANSPORT;
        message = t->error[0] ? t->error : curl_easy_strerror(code);
    }
    send_end(t, outcome, (unsigned)status, message);
    transfer_free(t);
}

/* Milliseconds to the next retry, at most `most`. */
static int start_due(int most)
{
    gint64 now = g_get_monotonic_time();
    for (unsigned i = 0; i < waiting->len;) {
        Transfer *t = waiting->pdata[i];
        if (t->retry_at > now) {
            most = MIN(most, (int)((t->retry_at - now) / 1000 + 1));
            i++;
            continue;
        }
        g_ptr_array_remove_index_fast(waiting, i);
        start(t);
        most = 0;
    }
    return most;
}

static void read_requests(void)
{
    static uint8_t buffer[4 * REQUEST_MAX];
    static size_t filled;
    ssize_t n = read(STDIN_FILENO, buffer + filled, sizeof buffer - filled);
    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0)
        leave(0);
    filled += (size_t)n;
    size_t at = 0;
    NetRequestFrame frame;
    while (filled - at >= sizeof frame) {
        memcpy(&frame, buffer + at, sizeof frame);
        size_t whole = sizeof frame.size + frame.size;
        if (frame.size < sizeof frame - sizeof frame.size || whole > REQUEST_MAX)
            leave(1);
        if (filled - at < whole)
            break;
        Transfer *t = g_new0(Transfer, 1);
        t->id = frame.id;
        t->limit = frame.limit;
        t->decode = frame.decode;
        t->url = g_strndup((const char *)buffer + at + sizeof frame, whole - sizeof frame);
        t->server = find_server(t->url);
        start(t);
        at += whole;
    }
    filled -= at;
    memmove(buffer, buffer + at, filled);
}

static void drop_privileges(void)
{
    /* before the rights go: a root directory of mode 0700 is no reason to fail */
    if (chdir("/") < 0) {
        fprintf(stderr, "atomic-fetch: cannot change to '/': %s\n", g_strerror(errno));
        leave(1);
    }
    SysError failed;
    if (sys_confine_user(&failed) < 0) {
        fprintf(stderr, "atomic-fetch: %s\n", failed.message);
        leave(1);
    }
}

int main(int argc, char **argv _unused)
{
    if (argc > 1 || isatty(STDIN_FILENO)) {
        fprintf(
            stderr,
            "atomic-fetch is started by other programs of atomic, which speak to it over pipes\n");
        return 2;
    }
    /* ^C reaches the whole foreground group; the other side decides what it means and then closes the pipe */
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    drop_privileges();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)NET_IN_FLIGHT); /* kept, not a limit */
    servers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    idle_handles = g_ptr_array_new();
    waiting = g_ptr_array_new();
    for (;;) {
        int running = 0, left = 0;
        curl_multi_perform(multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));) {
            if (m->msg != CURLMSG_DONE)
                continue;
            Transfer *t = NULL;
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
            finished(t, code);
        }
        struct curl_waitfd in = {.fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN};
        curl_multi_poll(multi, &in, 1, start_due(60 * 1000), NULL);
        /* curl reports POLLIN only; a closed pipe wakes it as well, so ask again */
        struct pollfd ask = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&ask, 1, 0) > 0)
            read_requests();
    }
}
