/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic tree serve`: a directory of static files over HTTP, made for OSTree repositories.
 *
 * GET and HEAD, keep-alive, one byte range, conditional requests. Only regular files below the
 * directory are served: openat2(RESOLVE_BENEATH) sees to it, and no name that begins with a dot.
 * Objects never change, so caches may keep them for ever; refs, summary and config are asked again.
 */
#include "cli/cli.h"

#include "base/digest.h"
#include "base/file.h"
#include "cli/tree_verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/openat2.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    int root, log;
} Server;

typedef struct {
    struct stat st;
    char etag[96];
    char modified[64];
    bool immutable;
} FileFacts;

static int open_beneath(int root, const char *path)
{
    const struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* objects/XX/REST.type: the name is the content's checksum */
static bool is_object(const char *path)
{
    return g_str_has_prefix(path, "objects/") && strlen(path) > 74 && !strstr(path, ".commitmeta");
}

static void learn_facts(const char *path, FileFacts *facts)
{
    facts->immutable = is_object(path);
    if (facts->immutable)
        g_snprintf(facts->etag, sizeof facts->etag, "\"%.2s%.62s\"", path + 8, path + 11);
    else
        g_snprintf(facts->etag, sizeof facts->etag, "\"%llx-%llx-%llx-%lx\"",
                   (unsigned long long)facts->st.st_ino, (unsigned long long)facts->st.st_size,
                   (unsigned long long)facts->st.st_mtim.tv_sec, facts->st.st_mtim.tv_nsec);
    struct tm tm;
    gmtime_r(&facts->st.st_mtim.tv_sec, &tm);
    strftime(facts->modified, sizeof facts->modified, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool is_unchanged(struct MHD_Connection *connection, const FileFacts *facts)
{
    const char *tags = header(connection, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (tags)
        return strstr(tags, facts->etag) || strcmp(tags, "*") == 0;
    /* exact comparison, as most servers do: clients send back what they were given */
    const char *since = header(connection, MHD_HTTP_HEADER_IF_MODIFIED_SINCE);
    return since && strcmp(since, facts->modified) == 0;
}

/* "bytes=A-B", "bytes=A-" and "bytes=-N". 200: no range that we understand; 206, or 416. */
static unsigned parse_range(const char *text, uint64_t size, uint64_t *out_from,
                            uint64_t *out_length)
{
    if (!text || !g_str_has_prefix(text, "bytes=") || strchr(text, ','))
        return MHD_HTTP_OK;
    text += strlen("bytes=");
    char *end;
    uint64_t from = 0, last = size - 1;
    if (*text == '-') {
        uint64_t n = g_ascii_strtoull(text + 1, &end, 10);
        if (end == text + 1 || *end)
            return MHD_HTTP_OK;
        if (n == 0 || size == 0)
            return MHD_HTTP_RANGE_NOT_SATISFIABLE;
        from = n < size ? size - n : 0;
    } else {
        from = g_ascii_strtoull(text, &end, 10);
        if (end == text || *end != '-')
            return MHD_HTTP_OK;
        if (end[1]) {
            const char *second = end + 1;
            uint64_t to = g_ascii_strtoull(second, &end, 10);
            if (end == second || *end || to < from)
                return MHD_HTTP_OK;
            last = MIN(to, size ? size - 1 : 0);
        }
        if (from >= size)
            return MHD_HTTP_RANGE_NOT_SATISFIABLE;
    }
    *out_from = from;
    *out_length = last - from + 1;
    return MHD_HTTP_PARTIAL_CONTENT;
}

static void log_request(const Server *server, const char *method, const char *url, unsigned status,
                        uint64_t size)
{
    if (server->log < 0)
        return;
    g_autofree char *name = g_strescape(url, NULL);
    g_autofree char *line =
        g_strdup_printf("%s %s %u %" G_GUINT64_FORMAT "\n", method, name, status, size);
    /* one write to an O_APPEND file: lines of several threads don't mix; a full disk doesn't stop us */
    if (sys_write_all(server->log, line, strlen(line)) < 0)
        return;
}

static enum MHD_Result answer(const Server *server, struct MHD_Connection *connection,
                              const char *method, const char *url, unsigned status,
                              struct MHD_Response *response, uint64_t size)
{
    log_request(server, method, url, status, size);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(const Server *server, struct MHD_Connection *connection,
                                   const char *method, const char *url, unsigned status,
                                   const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    return answer(server, connection, method, url, status, response, strlen(text));
}

static void add_headers(struct MHD_Response *response, const FileFacts *facts)
{
    MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, facts->etag);
    MHD_add_response_header(response, MHD_HTTP_HEADER_LAST_MODIFIED, facts->modified);
    MHD_add_response_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                            facts->immutable ? "public, max-age=31536000, immutable" : "no-cache");
}

static enum MHD_Result answer_file(const Server *server, struct MHD_Connection *connection,
                                   const char *method, const char *url, int fd,
                                   const FileFacts *facts)
{
    uint64_t from = 0, size = (uint64_t)facts->st.st_size, length = size;
    unsigned status = MHD_HTTP_OK;
    if (is_unchanged(connection, facts))
        status = MHD_HTTP_NOT_MODIFIED;
    else if (!header(connection, "If-Range") ||
             g_str_equal(header(connection, "If-Range"), facts->etag))
        status = parse_range(header(connection, MHD_HTTP_HEADER_RANGE), size, &from, &length);

    struct MHD_Response *response;
    if (status == MHD_HTTP_OK || status == MHD_HTTP_PARTIAL_CONTENT) {
        response = MHD_create_response_from_fd_at_offset64(length, fd, from);
    } else {
        close(fd);
        length = 0;
        response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    }
    if (!response)
        return MHD_NO;
    add_headers(response, facts);
    char range[96];
    if (status == MHD_HTTP_PARTIAL_CONTENT) {
        g_snprintf(range, sizeof range,
                   "bytes %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, from,
                   from + length - 1, size);
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, range);
    } else if (status == MHD_HTTP_RANGE_NOT_SATISFIABLE) {
        g_snprintf(range, sizeof range, "bytes */%" G_GUINT64_FORMAT, size);
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, range);
    }
    return answer(server, connection, method, url, status, response, length);
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version _unused,
                                  const char *upload _unused, size_t *upload_size, void **state)
{
    const Server *server = data;
    static int seen;
    if (!*state) { /* headers only: called again when there is a body */
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer_text(server, connection, method, url, MHD_HTTP_METHOD_NOT_ALLOWED,
                           "only GET and HEAD\n");
    const char *path = url;
    while (*path == '/')
        path++;
    bool hidden = !*path || *path == '.' || strstr(path, "/.") || g_str_has_prefix(path, "tmp/");
    int fd = hidden ? -1 : open_beneath(server->root, path);
    FileFacts facts;
    if (fd < 0 || fstat(fd, &facts.st) < 0 || !S_ISREG(facts.st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return answer_text(server, connection, method, url, MHD_HTTP_NOT_FOUND, "not found\n");
    }
    learn_facts(path, &facts);
    return answer_file(server, connection, method, url, fd, &facts);
}

/* A listening socket on "ADDRESS:PORT", and the URL under which it is reached. */
static int listen_on(const char *where, char **out_url, GError **error)
{
    const char *colon = strrchr(where, ':');
    if (!colon)
        return error_throw_fd(error, ERROR_USAGE, "'%s' is not ADDRESS:PORT", where);
    g_autofree char *host = g_strndup(where, (size_t)(colon - where));
    size_t length = strlen(host);
    if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        memmove(host, host + 1, length - 1);
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    guint64 number;
    /* getaddrinfo() takes 99999 for 34463 */
    if (!g_ascii_string_to_unsigned(colon + 1, 10, 0, 65535, &number, NULL))
        return error_throw_fd(error, ERROR_USAGE,
                              "cannot listen on '%s': a port is a number from 0 to 65535", where);
    int failed = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
    if (failed)
        return error_throw_fd(error, ERROR_USAGE, "cannot listen on '%s': %s", where,
                              gai_strerror(failed));
    struct sockaddr_storage address = {0};
    socklen_t size = found->ai_addrlen;
    memcpy(&address, found->ai_addr, size);
    freeaddrinfo(found);

    _autofd int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return error_throw_errno_fd(error, "cannot listen on '%s'", where);
    char name[INET6_ADDRSTRLEN], port[16];
    failed = getnameinfo((struct sockaddr *)&address, size, name, sizeof name, port, sizeof port,
                         NI_NUMERICHOST | NI_NUMERICSERV);
    if (failed)
        return error_throw_fd(error, ERROR_FAILED, "cannot name '%s': %s", where,
                              gai_strerror(failed));
    bool six = address.ss_family == AF_INET6;
    *out_url = g_strdup_printf("http://%s%s%s:%s", six ? "[" : "", name, six ? "]" : "", port);
    return fd_steal(&fd);
}

/* Opens the repository and the log. */
static bool prepare(Server *server, const char *repo, const char *log, GError **error)
{
    server->root = file_open_dir_at(AT_FDCWD, repo, error);
    if (server->root < 0)
        return false;
    bool has_config, has_objects;
    if (!file_exists_at(server->root, "config", &has_config, error) ||
        !file_exists_at(server->root, "objects", &has_objects, error))
        return error_prefix(error, "'%s'", repo);
    if (!has_config || !has_objects)
        return error_throw(
            error, ERROR_INVALID,
            "'%s' is not an OSTree repository\nhint: 'atomic tree publish --repo %s REF' makes one",
            repo, repo);
    if (log) {
        server->log = file_open_at(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, error);
        if (server->log < 0)
            return false;
    }
    return true;
}

int cli_tree_serve(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_autofree char *repo = NULL, *listen_at = NULL, *log = NULL;
    const GOptionEntry entries[] = {
        {"repo", 0, 0, G_OPTION_ARG_FILENAME, &repo, "The repository", "DIR"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &listen_at,
         "Where to listen; port 0 picks a free one (default 127.0.0.1:8080)", "ADDRESS:PORT"},
        {"log", 0, 0, G_OPTION_ARG_FILENAME, &log, "Append a line per request to FILE", "FILE"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    if (!repo)
        return error_throw(error, ERROR_USAGE, "--repo is missing"), 1;

    Server server = {.root = -1, .log = -1};
    g_autofree char *url = NULL;
    if (!prepare(&server, repo, log, error))
        return 1;
    int fd = listen_on(listen_at ? listen_at : "127.0.0.1:8080", &url, error);
    if (fd < 0)
        return 1;

    /* blocked before the threads start, so that only this one takes them */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, 0, NULL, NULL, on_request,
                         &server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, 2u,
                         MHD_OPTION_CONNECTION_TIMEOUT, 120u, MHD_OPTION_END);
    if (!daemon)
        return error_throw(error, ERROR_FAILED, "cannot start the HTTP server"), 1;
    printf("%s\n", url);
    fflush(stdout);
    int number;
    sigwait(&signals, &number);
    MHD_stop_daemon(daemon);
    return 0;
}
