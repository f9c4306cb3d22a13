/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports as elements of the table's maps; apart from the rules, the monitor needs only
 * this. */
#include "network/rules.h"

#include "base/sys/fd.h"
#include "network/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <string.h>

const char *rules_table(const char *bridge)
{
    return strcmp(bridge, "atomic0") == 0 ? "atomic" : bridge;
}

/* nf_tables pads each field of a concatenation to 4 bytes; ports are big-endian in the first two. */
typedef struct {
    uint32_t address;
    uint8_t protocol, pad1[3];
    uint16_t port, pad2;
} PortKey;
typedef struct {
    uint32_t address;
    uint16_t port, pad;
} PortValue;

static void put_value(Netlink *nl, int type, const void *value, size_t size)
{
    size_t nest = netlink_nest(nl, type);
    netlink_put(nl, NFTA_DATA_VALUE, value, size);
    netlink_nest_end(nl, nest);
}

static void put_element(Netlink *nl, const NetworkPort *port, bool with_value)
{
    PortKey key = {port->host_ip.s_addr, port->protocol, {}, htons(port->host_port), 0};
    PortValue value = {port->container_ip.s_addr, htons(port->container_port), 0};
    bool any = key.address == 0;
    size_t skip = any ? offsetof(PortKey, protocol) : 0;
    size_t element = netlink_nest(nl, NFTA_LIST_ELEM);
    put_value(nl, NFTA_SET_ELEM_KEY, (const char *)&key + skip, sizeof key - skip);
    if (with_value)
        put_value(nl, NFTA_SET_ELEM_DATA, &value, sizeof value);
    netlink_nest_end(nl, element);
}

static void put_bracket(Netlink *nl, int type)
{
    struct nfgenmsg info = {.nfgen_family = NFPROTO_UNSPEC,
                            .version = NFNETLINK_V0,
                            .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    netlink_begin_silent(nl, type, &info, sizeof info);
    netlink_end(nl);
}

/* One message with one element, so that an answer names a port. */
static void put_change(Netlink *nl, const char *bridge, int type, const NetworkPort *port)
{
    struct nfgenmsg info = {.nfgen_family = NFPROTO_IPV4, .version = NFNETLINK_V0};
    bool add = type == NFT_MSG_NEWSETELEM;
    netlink_begin(nl, NFNL_SUBSYS_NFTABLES << 8 | type, add ? NLM_F_CREATE | NLM_F_EXCL : 0, &info,
                  sizeof info);
    netlink_put_text(nl, NFTA_SET_ELEM_LIST_TABLE, rules_table(bridge));
    netlink_put_text(nl, NFTA_SET_ELEM_LIST_SET,
                     port->host_ip.s_addr ? RULES_MAP_ADDRESS : RULES_MAP_ANY);
    size_t list = netlink_nest(nl, NFTA_SET_ELEM_LIST_ELEMENTS);
    put_element(nl, port, add);
    netlink_nest_end(nl, list);
    netlink_end(nl);
}

enum { PORT_BATCH = 64 }; /* answers for so many fit the socket's buffer */

static int change_batch(int fd, const char *bridge, int type, const NetworkPort *ports, size_t n,
                        unsigned *out_which)
{
    char space[PORT_BATCH * 128 + 64];
    Netlink nl = netlink_init(space, sizeof space);
    put_bracket(&nl, NFNL_MSG_BATCH_BEGIN);
    for (size_t i = 0; i < n; i++)
        put_change(&nl, bridge, type, &ports[i]);
    put_bracket(&nl, NFNL_MSG_BATCH_END);
    unsigned which = 1;
    int failed = netlink_talk_on(fd, &nl, &which);
    *out_which = which >= 1 && which <= n ? which - 1 : 0; /* 0 is the opening bracket */
    return failed;
}

/* 0 or -errno; elements that are not there are no failure. */
static int remove_batch(int fd, const char *bridge, const NetworkPort *ports, size_t n)
{
    unsigned which;
    int failed = change_batch(fd, bridge, NFT_MSG_DELSETELEM, ports, n, &which);
    if (failed != -ENOENT)
        return failed;
    /* one that is missing made the kernel undo the whole batch: one by one */
    for (size_t i = 0; i < n; i++) {
        failed = change_batch(fd, bridge, NFT_MSG_DELSETELEM, ports + i, 1, &which);
        if (failed && failed != -ENOENT)
            return failed;
    }
    return 0;
}

static int fail_ports(SysError *error, int failed)
{
    errno = -failed;
    return sys_fail_errno(error, "cannot change published ports");
}

int network_publish(const char *bridge, const NetworkPort *ports, size_t n, SysError *error)
{
    _autofd int fd = netlink_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fail_ports(error, fd);
    for (size_t at = 0; at < n; at += PORT_BATCH) {
        size_t part = n - at < PORT_BATCH ? n - at : PORT_BATCH;
        unsigned which = 0;
        int failed = change_batch(fd, bridge, NFT_MSG_NEWSETELEM, ports + at, part, &which);
        if (failed == -EEXIST || failed == -EBUSY) {
            /* left by a monitor that was killed: the port is reserved by our caller, so nobody
             * uses it */
            failed = remove_batch(fd, bridge, ports + at, part);
            if (!failed)
                failed = change_batch(fd, bridge, NFT_MSG_NEWSETELEM, ports + at, part, &which);
        }
        if (failed) {
            char text[NETWORK_PORT_TEXT];
            errno = -failed;
            return sys_fail_errno(error, "cannot publish port '%s'",
                                  network_port_format(&ports[at + which], text));
        }
    }
    return 0;
}

int network_unpublish_begin(const char *bridge, const NetworkPort *ports, size_t n, SysError *error)
{
    _autofd int fd = netlink_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fail_ports(error, fd);
    for (size_t at = 0; at < n; at += PORT_BATCH) {
        int failed =
            remove_batch(fd, bridge, ports + at, n - at < PORT_BATCH ? n - at : PORT_BATCH);
        if (failed)
            return fail_ports(error, failed);
    }
    return fd_steal(&fd);
}

int network_unpublish(const char *bridge, const NetworkPort *ports, size_t n, SysError *error)
{
    _autofd int fd = network_unpublish_begin(bridge, ports, n, error);
    return fd < 0 ? -1 : 0;
}
