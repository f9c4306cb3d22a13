/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/netlink.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

Netlink netlink_init(void *space, size_t size)
{
    size_t skip = -(uintptr_t)space & 3;
    return (Netlink){.space = (char *)space + skip, .size = size - skip};
}

/* Room for `size` bytes, padded to 4 and zeroed; NULL when the buffer is full. */
static void *grow(Netlink *nl, size_t size)
{
    size_t padded = NLMSG_ALIGN(size);
    if (nl->overflow || padded > nl->size - nl->used) {
        nl->overflow = true;
        return NULL;
    }
    char *at = nl->space + nl->used;
    memset(at, 0, padded);
    nl->used += padded;
    return at;
}

static void begin(Netlink *nl, int type, int flags, const void *header, size_t size)
{
    nl->message = nl->used;
    struct nlmsghdr *message = grow(nl, sizeof *message);
    if (!message)
        return;
    message->nlmsg_type = (uint16_t)type;
    message->nlmsg_flags = (uint16_t)flags;
    message->nlmsg_seq = nl->count++;
    netlink_put_raw(nl, header, size);
}

void netlink_begin(Netlink *nl, int type, int flags, const void *header, size_t size)
{
    bool dump = (flags & NLM_F_DUMP) == NLM_F_DUMP;
    begin(nl, type, flags | NLM_F_REQUEST | (dump ? 0 : NLM_F_ACK), header, size);
}

void netlink_begin_silent(Netlink *nl, int type, const void *header, size_t size)
{
    begin(nl, type, NLM_F_REQUEST, header, size);
}

void netlink_end(Netlink *nl)
{
    if (nl->overflow)
        return;
    struct nlmsghdr *message = (struct nlmsghdr *)(nl->space + nl->message);
    message->nlmsg_len = (uint32_t)(nl->used - nl->message);
}

void netlink_put(Netlink *nl, int type, const void *data, size_t size)
{
    struct nlattr *attribute = grow(nl, NLA_HDRLEN + size);
    if (!attribute)
        return;
    attribute->nla_type = (uint16_t)type;
    attribute->nla_len = (uint16_t)(NLA_HDRLEN + size);
    memcpy((char *)attribute + NLA_HDRLEN, data, size);
}

void netlink_put_text(Netlink *nl, int type, const char *text)
{
    netlink_put(nl, type, text, strlen(text) + 1);
}

void netlink_put_u32(Netlink *nl, int type, uint32_t value)
{
    netlink_put(nl, type, &value, sizeof value);
}

size_t netlink_nest(Netlink *nl, int type)
{
    size_t at = nl->used;
    struct nlattr *attribute = grow(nl, NLA_HDRLEN);
    if (attribute)
        attribute->nla_type = (uint16_t)(type | NLA_F_NESTED);
    return at;
}

void netlink_nest_end(Netlink *nl, size_t nest)
{
    if (nl->overflow)
        return;
    struct nlattr *attribute = (struct nlattr *)(nl->space + nest);
    if (nl->used - nest > UINT16_MAX)
        nl->overflow = true;
    else
        attribute->nla_len = (uint16_t)(nl->used - nest);
}

void netlink_put_raw(Netlink *nl, const void *data, size_t size)
{
    void *at = grow(nl, size);
    if (at)
        memcpy(at, data, size);
}

int netlink_open(int protocol)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    /* errors come back without a copy of the request */
    int yes = 1;
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
    return fd;
}

/* 0 or -errno. */
static int send_all(int fd, const Netlink *nl)
{
    if (nl->overflow)
        return -EMSGSIZE;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n = sendto(fd, nl->space, nl->used, 0, (struct sockaddr *)&kernel, sizeof kernel);
    if (n < 0)
        return -errno;
    return (size_t)n == nl->used ? 0 : -EIO;
}

static ssize_t receive(int fd, void *buffer, size_t size, int flags)
{
    for (;;) {
        ssize_t n = recv(fd, buffer, size, flags);
        if (n >= 0 || errno != EINTR)
            return n < 0 ? -errno : n;
    }
}

int netlink_talk_on(int fd, Netlink *nl, unsigned *out_which)
{
    char buffer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
    int failed = send_all(fd, nl);
    if (failed)
        return failed;
    /* the kernel handles a send within the system call: all answers are queued by now */
    for (;;) {
        ssize_t n = receive(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n == -EAGAIN)
            return failed;
        if (n < 0)
            return failed ? failed : (int)n;
        size_t left = (size_t)n;
        for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            if (m->nlmsg_type != NLMSG_ERROR ||
                m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
                continue;
            const struct nlmsgerr *answer = NLMSG_DATA(m);
            if (answer->error == 0 || failed)
                continue;
            failed = answer->error;
            if (out_which)
                *out_which = m->nlmsg_seq;
        }
    }
}

int netlink_talk(Netlink *nl, int protocol, unsigned *out_which)
{
    _autofd int fd = netlink_open(protocol);
    return fd < 0 ? fd : netlink_talk_on(fd, nl, out_which);
}

int netlink_dump(Netlink *nl, int protocol, NetlinkEach each, void *data)
{
    _autofd int fd = netlink_open(protocol);
    int failed = fd < 0 ? fd : send_all(fd, nl);
    if (failed)
        return failed;
    char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
    for (;;) {
        ssize_t n = receive(fd, buffer, sizeof buffer, 0);
        if (n < 0)
            return (int)n;
        size_t left = (size_t)n;
        for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            if (m->nlmsg_type == NLMSG_DONE)
                return 0;
            if (m->nlmsg_type == NLMSG_ERROR)
                return ((const struct nlmsgerr *)NLMSG_DATA(m))->error;
            each(m, data);
        }
    }
}

void netlink_parse(const void *at, const void *end, const struct nlattr **table, int max)
{
    memset(table, 0, sizeof *table * (size_t)(max + 1));
    const char *p = at;
    while ((const char *)end - p >= NLA_HDRLEN) {
        const struct nlattr *attribute = (const void *)p;
        if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > (const char *)end - p)
            return;
        int type = attribute->nla_type & NLA_TYPE_MASK;
        if (type <= max)
            table[type] = attribute;
        p += NLA_ALIGN(attribute->nla_len);
    }
}
