/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fetching over HTTP, done by a child process: the client side.
 *
 * Talking to strangers (HTTP, TLS, inflating what they send) happens in the program atomic-fetch,
 * which gives up root (uid 65534, no new privileges) before its first request. This side speaks to
 * it over two pipes and links no network library. Up to NET_IN_FLIGHT requests are with the child
 * at a time, the rest queues here.
 *
 *     g_autoptr(NetClient) client = net_client_new(&error);
 *     net_client_get(client, &(NetRequest){.url = url, .limit = 1 << 20, .done = done, .user = x});
 *     net_client_run(client, 0, &error);       calls back until nothing is left
 *
 * Callbacks run inside net_client_run(), on its thread, and may queue more requests. One client
 * belongs to one thread. Proxies by the usual environment variables, names by the system's
 * resolver. A request that fails by network trouble, a 408, 429 or 5xx is tried again, with
 * back-off, a few times.
 *
 * The pipe protocol: frames of {uint32 size of the rest, then the rest}, host byte order, strings
 * without NUL.
 *
 *     request  uint64 id, uint64 limit, uint8 decode, URL
 *     data     uint64 id, uint8 'D', decoded bytes of the body, in order
 *     end      uint64 id, uint8 'E', uint8 NetOutcome, uint32 HTTP status,
 *              uint64 bytes received on the wire, message
 *
 * Answers of different requests interleave. End of file on the child's stdin ends it.
 */
#pragma once

#include "base/error.h"

typedef enum {
    NET_DECODE_NONE,
    NET_DECODE_GZIP,  /* the body is gzip: its content is delivered */
    NET_DECODE_FILEZ, /* an OSTree archive object: the header as it is, then the content inflated */
} NetDecode;

typedef enum {
    NET_OK,
    NET_HTTP_STATUS, /* answered, but not 200: see http_status */
    NET_TRANSPORT,   /* resolving, connecting, TLS, a cut connection, time-out */
    NET_MALFORMED,   /* can't be decoded */
    NET_TOO_LARGE,   /* more decoded bytes than the limit */
} NetOutcome;

typedef struct {
    const char *url;
    NetOutcome outcome;
    unsigned http_status; /* 0 when there was no answer */
    uint64_t received;    /* bytes of the body on the wire */
    uint64_t size;        /* bytes delivered, decoded */
    GBytes *bytes;        /* NET_OK and neither fd nor data was given; borrowed */
    const char *message;  /* why it failed; "" else */
} NetResponse;

/* The request ended. Returning false ends net_client_run() with *error. A failed request is no
 * error of the run unless the callback makes it one: net_response_error() says it well. */
typedef bool (*NetDone)(const NetResponse *response, void *user, GError **error);
/* Decoded bytes as they come. Returning false ends net_client_run() with *error. */
typedef bool (*NetData)(const void *bytes, size_t size, void *user, GError **error);

typedef struct {
    const char *url; /* copied */
    NetDecode decode;
    uint64_t limit; /* of decoded bytes; 0: NET_LIMIT_BYTES in memory, unlimited into fd or data */
    int fd;         /* > 0: the bytes are written here (borrowed until done) */
    NetData data;   /* or handed here; with neither they are collected for `done` */
    NetDone done;   /* required */
    void *user;
} NetRequest;

#define NET_IN_FLIGHT   64
#define NET_LIMIT_BYTES (128u << 20) /* what OSTree clients accept as a metadata object */

typedef struct NetClient NetClient;
/* Starts the child. */
NetClient *net_client_new(GError **error);
/* Drops what is in flight without callbacks. */
void net_client_free(NetClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NetClient, net_client_free)

/* `tick` is called about twice a second by net_client_run() as long as it works or waits, however slow the server is:
 * for what must not be held up by it. Returning false ends the run with *error. */
typedef bool (*NetTick)(void *user, GError **error);
void net_client_set_tick(NetClient *client, NetTick tick, void *user);

/* Queues a GET; nothing is sent before net_client_run(). */
void net_client_get(NetClient *client, const NetRequest *request);
/* Requests queued or in flight. */
size_t net_client_pending(const NetClient *client);
/* Bytes received on the wire so far, of finished requests. */
uint64_t net_client_received(const NetClient *client);
/* Works until at most `pending` requests are left. ERROR_INTERRUPTED (base/cancel.h) leaves what is
 * in flight where it is: free the client. ERROR_NETWORK when the child died. */
bool net_client_run(NetClient *client, size_t pending, GError **error);

/* Sets *error to "cannot fetch 'URL': <reason>" (ERROR_NOT_FOUND for 404 and 410, else
 * ERROR_NETWORK, ERROR_CORRUPT for what can't be decoded, ERROR_INVALID for too large); returns
 * false. */
bool net_response_error(const NetResponse *response, GError **error);

/* One URL to memory, waiting for it. `limit` 0: NET_LIMIT_BYTES. */
GBytes *net_fetch_bytes(NetClient *client, const char *url, NetDecode decode, uint64_t limit,
                        GError **error);
