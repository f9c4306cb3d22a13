/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packet rules: our table `ip atomic`, and chains of others that would drop our packets.
 * Private to src/network. */
#pragma once

#include "network/network.h"

/* The two maps: (protocol, port) and (host address, protocol, port) -> (address, port). */
#define RULES_MAP_ANY     "ports"
#define RULES_MAP_ADDRESS "address_ports"

/* A second network on the same host (another ATOMIC_BRIDGE) has a table of its own, named like the
 * bridge. */
const char *rules_table(const char *bridge);

/* What the forward hook looks like. */
typedef struct {
    bool ours;        /* our table is there */
    uint32_t foreign; /* a fingerprint of all foreign forward chains that drop; 0: none */
    bool iptables;    /* one of them is iptables-nft's (table ip filter, chain FORWARD) */
    bool docker_user; /* which has Docker's chain for the administrator's rules */
    char other[100];  /* "inet fw forward": another one, of the administrator */
} RulesState;

/* One dump of all chains, about 20 us. A kernel without nftables shows nothing. */
int rules_inspect(const char *bridge, RulesState *out, SysError *error);

/* Makes the table, or renews its rules and keeps the published ports. Runs `nft`. */
int rules_apply(const Network *network, SysError *error);

/* Lets our packets through iptables' FORWARD chain where its policy is DROP; where that is not ours
 * to change, puts a hint into network->hint. Never fails: rules of others are no reason not to
 * start a container. */
void rules_coexist(Network *network, const RulesState *state);
