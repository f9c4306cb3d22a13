/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Netlink messages built in a caller's buffer, sent in one system call.
 *
 *     char space[1024];
 *     Netlink nl = netlink_init(space, sizeof space);
 *     netlink_begin(&nl, RTM_NEWLINK, NLM_F_CREATE, &info, sizeof info);
 *     netlink_put(&nl, IFLA_IFNAME, "eth0", 5);
 *     netlink_end(&nl);
 *     int failed = netlink_talk(&nl, NETLINK_ROUTE, &which);
 *
 * Child-safe: nothing here allocates. Overflow of the buffer is remembered and reported by the
 * talk.
 */
#pragma once

#include "base/sys/attr.h"

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *space; /* aligned to 4 by netlink_init() */
    size_t size, used;
    size_t message; /* where the open message begins */
    uint32_t count; /* messages so far; their sequence numbers are 0, 1, … */
    bool overflow;
} Netlink;

Netlink netlink_init(void *space, size_t size);

/* Opens a message with its family header; NLM_F_REQUEST | NLM_F_ACK are added unless it is a dump. */
void netlink_begin(Netlink *nl, int type, int flags, const void *header, size_t size);
/* The same without asking for an answer (the brackets of an nfnetlink batch). */
void netlink_begin_silent(Netlink *nl, int type, const void *header, size_t size);
void netlink_end(Netlink *nl);

void netlink_put(Netlink *nl, int type, const void *data, size_t size);
void netlink_put_text(Netlink *nl, int type, const char *text);
void netlink_put_u32(Netlink *nl, int type, uint32_t value);
/* An attribute that holds others: begin returns what end needs. */
size_t netlink_nest(Netlink *nl, int type);
void netlink_nest_end(Netlink *nl, size_t nest);
/* Raw bytes without an attribute header (the header inside VETH_INFO_PEER). */
void netlink_put_raw(Netlink *nl, const void *data, size_t size);

/* A socket of the protocol, or -errno. */
int netlink_open(int protocol);
/* Sends all and reads the answers, which are there when the send returns. 0, or -errno of the first
 * message that failed and its number (from 0) in *out_which when that is not NULL. */
int netlink_talk_on(int fd, Netlink *nl, unsigned *out_which) _must_use;
/* The same with a socket of its own. */
int netlink_talk(Netlink *nl, int protocol, unsigned *out_which) _must_use;

/* Sends one NLM_F_DUMP request; `each` gets every answer. 0 or -errno. */
typedef void (*NetlinkEach)(const struct nlmsghdr *message, void *data);
int netlink_dump(Netlink *nl, int protocol, NetlinkEach each, void *data) _must_use;

/* Sorts the attributes of [at, end) by type into table[0..max]; the last of a kind wins. */
void netlink_parse(const void *at, const void *end, const struct nlattr **table, int max);
/* Payload of an attribute. */
static inline const void *netlink_data(const struct nlattr *attribute)
{
    return (const char *)attribute + NLA_HDRLEN;
}
static inline size_t netlink_size(const struct nlattr *attribute)
{
    return (size_t)(attribute->nla_len - NLA_HDRLEN);
}
