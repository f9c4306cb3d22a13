/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fetch client and its child against a small server of our own; the decoders alone. */
#include "net/decode.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Answers by path: /ok/N body of N bytes 'x'; /gone 404; /flaky 503 once, then "better"; /cut fewer bytes
 * than announced, always. One request per connection. */
static unsigned flaky_asked;

static void reply(int fd, const char *path)
{
    g_autoptr(GString) out = g_string_new(NULL);
    unsigned n = 0;
    if (sscanf(path, "/ok/%u", &n) == 1) {
        g_string_printf(out, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %u\r\n\r\n",
                        n);
        for (unsigned i = 0; i < n; i++)
            g_string_append_c(out, 'x');
    } else if (strcmp(path, "/flaky") == 0 && flaky_asked++ == 0) {
        g_string_assign(out, "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/flaky") == 0) {
        g_string_assign(out,
                        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nbetter");
    } else if (strcmp(path, "/cut") == 0) {
        g_string_assign(out,
                        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nshort");
    } else {
        g_string_assign(out,
                        "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    g_assert_cmpint(sys_write_all(fd, out->str, out->len), ==, 0);
}

static void *serve(void *data)
{
    int listener = GPOINTER_TO_INT(data);
    for (;;) {
        _autofd int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        char request[8192], path[256];
        size_t filled = 0;
        ssize_t n;
        while (filled < sizeof request - 1 &&
               (n = read(fd, request + filled, sizeof request - 1 - filled)) > 0) {
            request[filled += (size_t)n] = '\0';
            if (strstr(request, "\r\n\r\n"))
                break;
        }
        if (sscanf(request, "GET %255s ", path) == 1)
            reply(fd, path);
    }
}

static char *start_server(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    g_assert_cmpint(bind(fd, (void *)&address, size), ==, 0);
    g_assert_cmpint(listen(fd, 64), ==, 0);
    g_assert_cmpint(getsockname(fd, (void *)&address, &size), ==, 0);
    pthread_t thread;
    g_assert_cmpint(pthread_create(&thread, NULL, serve, GINT_TO_POINTER(fd)), ==, 0);
    return g_strdup_printf("http://127.0.0.1:%u", ntohs(address.sin_port));
}

static const char *base_url;

static void assert_fetch(NetClient *client, const char *path, const char *expected, ErrorCode code)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *url = g_strconcat(base_url, path, NULL);
    g_autoptr(GBytes) bytes = net_fetch_bytes(client, url, NET_DECODE_NONE, 1000, &error);
    if (!expected) {
        g_assert_null(bytes);
        g_assert_error(error, ERROR_DOMAIN, code);
        g_assert_nonnull(strstr(error->message, url));
        return;
    }
    g_assert_no_error(error);
    g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), expected,
                    strlen(expected));
}

static void test_fetch(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(NetClient) client = net_client_new(&error);
    g_assert_no_error(error);
    assert_fetch(client, "/ok/3", "xxx", 0);
    assert_fetch(client, "/ok/0", "", 0);
    assert_fetch(client, "/gone", NULL, ERROR_NOT_FOUND);
    assert_fetch(client, "/ok/1001", NULL, ERROR_INVALID);
    assert_fetch(client, "/flaky", "better", 0);
    assert_fetch(client, "/cut", NULL, ERROR_NETWORK);
    g_autoptr(GBytes) nothing =
        net_fetch_bytes(client, "file:///etc/passwd", NET_DECODE_NONE, 0, &error);
    g_assert_null(nothing);
    g_assert_error(error, ERROR_DOMAIN, ERROR_NETWORK);
}

typedef struct {
    NetClient *client;
    unsigned done, more;
    uint64_t bytes;
} Many;

static bool count_bytes(const void *bytes _unused, size_t size, void *user, GError **error _unused)
{
    ((Many *)user)->bytes += size;
    return true;
}

static bool count_done(const NetResponse *response, void *user, GError **error _unused)
{
    Many *many = user;
    g_assert_cmpint(response->outcome, ==, NET_OK);
    many->done++;
    if (many->more) { /* callbacks may ask for more */
        many->more--;
        const NetRequest request = {
            .url = response->url, .data = count_bytes, .done = count_done, .user = many};
        net_client_get(many->client, &request);
    }
    return true;
}

static void test_many(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(NetClient) client = net_client_new(&error);
    g_assert_no_error(error);
    Many many = {.client = client, .more = 50};
    g_autofree char *url = g_strconcat(base_url, "/ok/300000", NULL);
    const NetRequest request = {.url = url, .data = count_bytes, .done = count_done, .user = &many};
    for (unsigned i = 0; i < 100; i++)
        net_client_get(client, &request);
    g_assert_cmpuint(net_client_pending(client), ==, 100);
    g_assert_true(net_client_run(client, 0, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(many.done, ==, 150);
    g_assert_cmpuint(many.bytes, ==, 150 * 300000);
    g_assert_cmpuint(net_client_received(client), ==, 150 * 300000);
}

static bool keep(const void *bytes, size_t size, void *data)
{
    g_byte_array_append(data, bytes, (unsigned)size);
    return true;
}

/* header of ostree.md 1.4, then raw deflate */
static GByteArray *make_filez(const char *content, uint64_t claimed)
{
    GByteArray *out = g_byte_array_new();
    uint8_t header[8 + 26] = {0, 0, 0, 26, [8 + 18] = 0x81, [8 + 19] = 0xa4, [8 + 25] = 0x19};
    uint64_t size = GUINT64_TO_BE(claimed);
    memcpy(header + 8, &size, sizeof size);
    g_byte_array_append(out, header, sizeof header);
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(6);
    uint8_t packed[1000];
    size_t n =
        libdeflate_deflate_compress(compressor, content, strlen(content), packed, sizeof packed);
    libdeflate_free_compressor(compressor);
    g_byte_array_append(out, packed, (unsigned)n);
    return out;
}

static NetOutcome decode(GByteArray *in, size_t size, uint64_t limit, GByteArray *out)
{
    Decoder *decoder = decoder_new(NET_DECODE_FILEZ, limit, keep, out);
    NetOutcome outcome = NET_OK;
    for (size_t i = 0; i < size && outcome == NET_OK; i++)
        outcome = decoder_write(decoder, in->data + i, 1);
    if (outcome == NET_OK)
        outcome = decoder_end(decoder);
    decoder_free(decoder);
    return outcome;
}

static void test_filez(void)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GByteArray) good = make_filez("hello\n", 6);
    g_assert_cmpint(decode(good, good->len, 0, out), ==, NET_OK);
    g_assert_cmpmem(out->data + 34, out->len - 34, "hello\n", 6);
    g_assert_cmpmem(out->data, 34, good->data, 34);
    for (size_t n = 0; n < good->len; n++) /* every truncation is found */
        g_assert_cmpint(decode(good, n, 0, out), ==, NET_MALFORMED);
    g_assert_cmpint(decode(good, good->len, 36, out), ==, NET_TOO_LARGE);
    g_autoptr(GByteArray) longer = make_filez("hello\n", 5);
    g_assert_cmpint(decode(longer, longer->len, 0, out), ==, NET_MALFORMED);
    g_autoptr(GByteArray) shorter = make_filez("hello\n", 7);
    g_assert_cmpint(decode(shorter, shorter->len, 0, out), ==, NET_MALFORMED);
    /* declared huge: passes through zlib instead of one buffer */
    g_autoptr(GByteArray) huge = make_filez("hello\n", UINT64_MAX);
    g_assert_cmpint(decode(huge, huge->len, 0, out), ==, NET_MALFORMED);
    g_byte_array_append(good, (const uint8_t *)"x", 1);
    g_assert_cmpint(decode(good, good->len, 0, out), ==, NET_MALFORMED);
}

/* two members after each other, as `cat a.gz b.gz` makes */
static void test_gzip(void)
{
    g_autoptr(GByteArray) in = g_byte_array_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    for (unsigned i = 0; i < 2; i++) {
        struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(6);
        uint8_t packed[1000];
        size_t n = libdeflate_gzip_compress(compressor, "hello\n", 6, packed, sizeof packed);
        libdeflate_free_compressor(compressor);
        g_byte_array_append(in, packed, (unsigned)n);
    }
    for (unsigned step = 1; step <= in->len; step *= 3) {
        Decoder *decoder = decoder_new(NET_DECODE_GZIP, 12, keep, out);
        g_byte_array_set_size(out, 0);
        for (unsigned at = 0; at < in->len; at += step)
            g_assert_cmpint(decoder_write(decoder, in->data + at, MIN(step, in->len - at)), ==,
                            NET_OK);
        g_assert_cmpint(decoder_end(decoder), ==, NET_OK);
        g_assert_cmpmem(out->data, out->len, "hello\nhello\n", 12);
        decoder_free(decoder);
    }
    Decoder *cut = decoder_new(NET_DECODE_GZIP, 0, keep, out);
    g_assert_cmpint(decoder_write(cut, in->data, in->len - 4), ==, NET_OK);
    g_assert_cmpint(decoder_end(cut), ==, NET_MALFORMED);
    decoder_free(cut);
    Decoder *small = decoder_new(NET_DECODE_GZIP, 11, keep, out);
    g_assert_cmpint(decoder_write(small, in->data, in->len), ==, NET_TOO_LARGE);
    decoder_free(small);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_unsetenv("http_proxy");
    g_autofree char *url = start_server();
    base_url = url;
    g_test_add_func("/net/filez", test_filez);
    g_test_add_func("/net/gzip", test_gzip);
    g_test_add_func("/net/fetch", test_fetch);
    g_test_add_func("/net/many", test_many);
    return g_test_run();
}
