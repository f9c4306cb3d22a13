/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bridge itself, and which addresses and routes the host has (rtnetlink). Private to
 * src/network. */
#pragma once

#include "network/network.h"

/* network->bridge's index, 0 when there is none. */
int link_index(const char *name);
/* Makes network->bridge with its address, up; sets network->ifindex. */
int link_make_bridge(Network *network, SysError *error);
/* Reads the first IPv4 address of network->ifindex into gateway, subnet and prefix. 1 found, 0
 * none, -1. */
int link_read_address(Network *network, SysError *error);
/* Does a route of the host, or an address, overlap subnet/prefix? The default route and what leads
 * to `but_ifindex` don't count. 1 yes (the route as text in `text`), 0 no, -1. */
int link_route_overlaps(struct in_addr subnet, uint8_t prefix, int but_ifindex, char text[40],
                        SysError *error);

static inline uint32_t link_mask(uint8_t prefix)
{
    return htonl(prefix ? ~0u << (32 - prefix) : 0);
}
