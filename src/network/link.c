/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interfaces: the bridge, a container's veth pair, and its configuration from inside. */
#include "network/link.h"

#include "base/sys/fd.h"
#include "network/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

/* Indices in a new network namespace: lo is always 1, and a veth end may be born with a wish.
 * Knowing both, the child looks nothing up. */
enum { LO_INDEX = 1, ETH0_INDEX = 2 };

typedef struct {
    uint8_t bytes[6];
} Mac;

/* Locally administered, derived from the address as Docker does: the same address is always the
 * same MAC, so that a neighbour's ARP entry stays right when an address goes to the next container. */
static Mac mac_of(struct in_addr address)
{
    const uint8_t *a = (const uint8_t *)&address;
    return (Mac){{0x02, 0x42, a[0], a[1], a[2], a[3]}};
}

int link_index(const char *name)
{
    _autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {};
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
        return 0;
    return request.ifr_ifindex;
}

static void put_address(Netlink *nl, int index, struct in_addr address, uint8_t prefix)
{
    struct ifaddrmsg info = {
        .ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = (unsigned)index};
    struct in_addr broadcast = {address.s_addr | ~link_mask(prefix)};
    netlink_begin(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &info, sizeof info);
    netlink_put(nl, IFA_LOCAL, &address, sizeof address);
    netlink_put(nl, IFA_ADDRESS, &address, sizeof address);
    netlink_put(nl, IFA_BROADCAST, &broadcast, sizeof broadcast);
    netlink_end(nl);
}

static void put_up(Netlink *nl, int index)
{
    struct ifinfomsg info = {
        .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    netlink_begin(nl, RTM_NEWLINK, 0, &info, sizeof info);
    netlink_end(nl);
}

int link_make_bridge(Network *network, SysError *error)
{
    char space[512];
    Netlink nl = netlink_init(space, sizeof space);
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    /* a MAC of its own: else it is that of its first port and changes as containers come and go */
    Mac mac = mac_of(network->gateway);
    netlink_begin(&nl, RTM_NEWLINK, NLM_F_CREATE, &info, sizeof info);
    netlink_put_text(&nl, IFLA_IFNAME, network->bridge);
    netlink_put(&nl, IFLA_ADDRESS, &mac, sizeof mac);
    size_t link = netlink_nest(&nl, IFLA_LINKINFO);
    netlink_put_text(&nl, IFLA_INFO_KIND, "bridge");
    netlink_nest_end(&nl, link);
    netlink_end(&nl);
    errno = -netlink_talk(&nl, NETLINK_ROUTE, NULL);
    if (errno)
        return sys_fail_errno(error, "cannot create bridge '%s'", network->bridge);

    network->ifindex = link_index(network->bridge);
    nl = netlink_init(space, sizeof space);
    put_address(&nl, network->ifindex, network->gateway, network->prefix);
    errno = -netlink_talk(&nl, NETLINK_ROUTE, NULL);
    if (errno)
        return sys_fail_errno(error, "cannot set the address of bridge '%s'", network->bridge);
    return 0;
}

static void each_address(const struct nlmsghdr *message, void *data)
{
    Network *network = data;
    const struct ifaddrmsg *info = NLMSG_DATA(message);
    const struct nlattr *attributes[IFA_MAX + 1];
    if (message->nlmsg_type != RTM_NEWADDR || (int)info->ifa_index != network->ifindex ||
        network->prefix)
        return;
    netlink_parse((const char *)info + NLMSG_ALIGN(sizeof *info),
                  (const char *)message + message->nlmsg_len, attributes, IFA_MAX);
    if (!attributes[IFA_LOCAL] || netlink_size(attributes[IFA_LOCAL]) != sizeof network->gateway)
        return;
    memcpy(&network->gateway, netlink_data(attributes[IFA_LOCAL]), sizeof network->gateway);
    network->prefix = info->ifa_prefixlen;
    network->subnet.s_addr = network->gateway.s_addr & link_mask(network->prefix);
}

int link_read_address(Network *network, SysError *error)
{
    char space[128];
    Netlink nl = netlink_init(space, sizeof space);
    struct ifaddrmsg info = {.ifa_family = AF_INET};
    netlink_begin(&nl, RTM_GETADDR, NLM_F_DUMP, &info, sizeof info);
    netlink_end(&nl);
    network->prefix = 0;
    errno = -netlink_dump(&nl, NETLINK_ROUTE, each_address, network);
    if (errno)
        return sys_fail_errno(error, "cannot read the host's addresses");
    return network->prefix != 0;
}

typedef struct {
    uint32_t subnet;
    uint8_t prefix;
    int but_ifindex;
    char *text;
    bool overlaps;
} RouteSearch;

static void each_route(const struct nlmsghdr *message, void *data)
{
    RouteSearch *search = data;
    const struct rtmsg *info = NLMSG_DATA(message);
    const struct nlattr *attributes[RTA_MAX + 1];
    if (message->nlmsg_type != RTM_NEWROUTE || info->rtm_dst_len == 0 || search->overlaps)
        return;
    netlink_parse((const char *)info + NLMSG_ALIGN(sizeof *info),
                  (const char *)message + message->nlmsg_len, attributes, RTA_MAX);
    uint32_t to;
    int out = 0;
    if (!attributes[RTA_DST] || netlink_size(attributes[RTA_DST]) != sizeof to)
        return;
    memcpy(&to, netlink_data(attributes[RTA_DST]), sizeof to);
    if (attributes[RTA_OIF])
        memcpy(&out, netlink_data(attributes[RTA_OIF]), sizeof out);
    if (out && out == search->but_ifindex)
        return;
    uint8_t shorter = info->rtm_dst_len < search->prefix ? info->rtm_dst_len : search->prefix;
    if ((to ^ search->subnet) & link_mask(shorter))
        return;
    search->overlaps = true;
    char address[INET_ADDRSTRLEN];
    snprintf(search->text, 40, "%s/%u", inet_ntop(AF_INET, &to, address, sizeof address),
             info->rtm_dst_len);
}

int link_route_overlaps(struct in_addr subnet, uint8_t prefix, int but_ifindex, char text[40],
                        SysError *error)
{
    char space[128];
    Netlink nl = netlink_init(space, sizeof space);
    struct rtmsg info = {.rtm_family = AF_INET};
    netlink_begin(&nl, RTM_GETROUTE, NLM_F_DUMP, &info, sizeof info);
    netlink_end(&nl);
    RouteSearch search = {subnet.s_addr, prefix, but_ifindex, text, false};
    errno = -netlink_dump(&nl, NETLINK_ROUTE, each_route, &search);
    if (errno)
        return sys_fail_errno(error, "cannot read the host's routes");
    return search.overlaps;
}

/* The pair: the host's end `name` up and on the bridge, the peer born where it belongs. A peer
 * can't be born up, and hairpin can't be given at birth: it is a second message of the same send,
 * which finds the end by name. */
static void put_veth(Netlink *nl, const Network *network, const char *name, pid_t pid, int netns_fd,
                     struct in_addr address)
{
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct ifinfomsg peer = {.ifi_family = AF_UNSPEC, .ifi_index = ETH0_INDEX};
    Mac mac = mac_of(address);

    netlink_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof info);
    netlink_put_text(nl, IFLA_IFNAME, name);
    netlink_put_u32(nl, IFLA_MASTER, (uint32_t)network->ifindex);
    size_t link = netlink_nest(nl, IFLA_LINKINFO);
    netlink_put_text(nl, IFLA_INFO_KIND, "veth");
    size_t pair = netlink_nest(nl, IFLA_INFO_DATA);
    size_t other = netlink_nest(nl, VETH_INFO_PEER);
    netlink_put_raw(nl, &peer, sizeof peer);
    netlink_put_text(nl, IFLA_IFNAME, "eth0");
    netlink_put(nl, IFLA_ADDRESS, &mac, sizeof mac);
    if (netns_fd >= 0)
        netlink_put_u32(nl, IFLA_NET_NS_FD, (uint32_t)netns_fd);
    else
        netlink_put_u32(nl, IFLA_NET_NS_PID, (uint32_t)pid);
    netlink_nest_end(nl, other);
    netlink_nest_end(nl, pair);
    netlink_nest_end(nl, link);
    netlink_end(nl);

    info = (struct ifinfomsg){.ifi_family = AF_UNSPEC};
    uint8_t hairpin = 1;
    netlink_begin(nl, RTM_NEWLINK, 0, &info, sizeof info);
    netlink_put_text(nl, IFLA_IFNAME, name);
    link = netlink_nest(nl, IFLA_LINKINFO);
    netlink_put_text(nl, IFLA_INFO_SLAVE_KIND, "bridge");
    pair = netlink_nest(nl, IFLA_INFO_SLAVE_DATA);
    netlink_put(nl, IFLA_BRPORT_MODE, &hairpin, sizeof hairpin);
    netlink_nest_end(nl, pair);
    netlink_nest_end(nl, link);
    netlink_end(nl);
}

int network_attach(const Network *network, const char *container_id, pid_t pid, int netns_fd,
                   struct in_addr address, SysError *error)
{
    char space[1024];
    /* The name is for people and free otherwise. The random part: the pair of the same container's
     * last run may still be there, network namespaces are torn down in the background. */
    for (int attempt = 0;; attempt++) {
        uint16_t salt = (uint16_t)(address.s_addr >> 16);
        if (attempt > 0 && getrandom(&salt, sizeof salt, 0) < 0)
            salt = (uint16_t)attempt;
        char name[IFNAMSIZ];
        snprintf(name, sizeof name, "veth%.6s%04x", container_id, salt);
        Netlink nl = netlink_init(space, sizeof space);
        put_veth(&nl, network, name, pid, netns_fd, address);
        unsigned which = 0;
        errno = -netlink_talk(&nl, NETLINK_ROUTE, &which);
        if (!errno)
            return 0;
        bool taken = errno == EEXIST && which == 0 && attempt < 8;
        if (!taken)
            return sys_fail_errno(error, "cannot connect container '%.12s' to bridge '%s'",
                                  container_id, network->bridge);
    }
}

int network_configure(const Network *network, struct in_addr address, SysError *error)
{
    static const char *const steps[] = {"bring up 'lo'", "bring up 'eth0'",
                                        "set the address of 'eth0'", "set the default route"};
    char space[512];
    Netlink nl = netlink_init(space, sizeof space);
    put_up(&nl, LO_INDEX);
    put_up(&nl, ETH0_INDEX);
    put_address(&nl, ETH0_INDEX, address, network->prefix);
    struct rtmsg route = {.rtm_family = AF_INET,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_protocol = RTPROT_BOOT,
                          .rtm_scope = RT_SCOPE_UNIVERSE,
                          .rtm_type = RTN_UNICAST};
    netlink_begin(&nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route, sizeof route);
    netlink_put(&nl, RTA_GATEWAY, &network->gateway, sizeof network->gateway);
    netlink_end(&nl);
    unsigned which = 0;
    errno = -netlink_talk(&nl, NETLINK_ROUTE, &which);
    if (errno)
        return sys_fail_errno(error, "cannot %s in the container",
                              which < ARRAY_SIZE(steps) ? steps[which] : "set up the network");
    return 0;
}
