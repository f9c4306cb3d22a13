/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works.
 *
 * All rules are made once; what changes from container to container are the elements of two maps,
 * (protocol, port) -> (address, port) and (host address, protocol, port) -> (address, port). The
 * rules' text goes through `nft`, whose syntax is the documentation; elements are two fixed netlink
 * messages, written here.
 *
 * - 127.0.0.1 works as a destination because the bridge alone has route_localnet; the `guard` chain
 *   takes away what that would give the containers: packets from the bridge addressed to the host's
 *   127.0.0.0/8, or claiming to come from it.
 * - Hairpin (a container calls a published port of the host) matches the source address, not the
 *   interface: in postrouting the interface a packet came from is the bridge for some paths and
 *   nothing for others.
 * - `forward` drops what comes from outside straight to a container's address; only published ports
 *   lead in.
 * - An accept in our chain does not undo a drop in another base chain: see rules_coexist().
 */
#include "network/rules.h"

#include "network/command.h"
#include "network/link.h"
#include "network/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* $T the table, $B the bridge, $S the subnet. The chains exist before they are flushed and the
 * whole text is one transaction: there is no moment without rules, and elements of the maps stay. */
static const char rules_text[] = //
    "add table ip $T\n"
    "add chain ip $T guard { type filter hook prerouting priority -300; policy accept; }\n"
    "add chain ip $T prerouting { type nat hook prerouting priority -100; policy accept; }\n"
    "add chain ip $T output { type nat hook output priority -100; policy accept; }\n"
    "add chain ip $T publish\n"
    "add chain ip $T postrouting { type nat hook postrouting priority 100; policy accept; }\n"
    "add chain ip $T forward { type filter hook forward priority 0; policy accept; }\n"
    "flush table ip $T\n"
    "table ip $T {\n"
    "  map " RULES_MAP_ANY " {\n"
    "    type inet_proto . inet_service : ipv4_addr . inet_service\n"
    "  }\n"
    "  map " RULES_MAP_ADDRESS " {\n"
    "    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service\n"
    "  }\n"
    "  chain guard {\n"
    "    iifname \"$B\" ip daddr 127.0.0.0/8 drop\n"
    "    iifname \"$B\" ip saddr 127.0.0.0/8 drop\n"
    "  }\n"
    "  chain prerouting {\n"
    "    fib daddr type local jump publish\n"
    "  }\n"
    "  chain output {\n"
    "    fib daddr type local jump publish\n"
    "  }\n"
    "  chain publish {\n"
    "    meta l4proto { tcp, udp } dnat ip to ip daddr . meta l4proto . th dport map "
    "@" RULES_MAP_ADDRESS "\n"
    "    meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @" RULES_MAP_ANY "\n"
    "  }\n"
    "  chain postrouting {\n"
    "    oifname \"$B\" ip saddr 127.0.0.0/8 masquerade\n"
    "    oifname \"$B\" ip saddr $S ct status dnat masquerade\n"
    "    oifname != \"$B\" ip saddr $S masquerade\n"
    "  }\n"
    "  chain forward {\n"
    "    oifname \"$B\" ct status dnat accept\n"
    "    oifname \"$B\" ct state established,related accept\n"
    "    oifname \"$B\" iifname \"$B\" accept\n"
    "    oifname \"$B\" drop\n"
    "  }\n"
    "}\n";

/* Replaces $T, $B and $S. */
static void expand(const char *text, const char *const values[3], char *out, size_t size)
{
    size_t used = 0;
    for (const char *p = text; *p && used + 1 < size; p++) {
        const char *value = *p != '$'     ? NULL
                            : p[1] == 'T' ? values[0]
                            : p[1] == 'B' ? values[1]
                                          : values[2];
        if (!value) {
            out[used++] = *p;
            continue;
        }
        size_t n = strnlen(value, size - 1 - used);
        memcpy(out + used, value, n);
        used += n;
        p++;
    }
    out[used] = '\0';
}

static int run_nft(const char *text, SysError *error)
{
    static const char *const argv[] = {"nft", "-f", "-", NULL};
    char said[300];
    SysError failed = {};
    int status = command_run(argv, text, said, sizeof said, &failed);
    if (status < 0 && failed.code == ENOENT)
        return sys_fail(error, ENOENT,
                        "cannot set up the container network: the program 'nft' is not installed\n"
                        "hint: install the package nftables, or use --network host or none");
    if (status < 0) {
        *error = failed;
        return -1;
    }
    if (status != 0)
        return sys_fail(error, EINVAL, "cannot set up the container network: nft says: %.*s",
                        (int)strcspn(said, "\n"), said);
    return 0;
}

int rules_apply(const Network *network, SysError *error)
{
    char subnet[INET_ADDRSTRLEN + 4], address[INET_ADDRSTRLEN], text[4096];
    inet_ntop(AF_INET, &network->subnet, address, sizeof address);
    snprintf(subnet, sizeof subnet, "%s/%u", address, network->prefix);
    const char *const values[3] = {rules_table(network->bridge), network->bridge, subnet};
    expand(rules_text, values, text, sizeof text);
    return run_nft(text, error);
}

typedef struct {
    const char *table;
    RulesState *state;
} ChainSearch;

static bool text_is(const struct nlattr *attribute, const char *text)
{
    size_t size = strlen(text) + 1;
    return attribute && netlink_size(attribute) == size &&
           memcmp(netlink_data(attribute), text, size) == 0;
}

static uint32_t number_of(const struct nlattr *attribute, uint32_t otherwise)
{
    uint32_t value;
    if (!attribute || netlink_size(attribute) != sizeof value)
        return otherwise;
    memcpy(&value, netlink_data(attribute), sizeof value);
    return ntohl(value);
}

static void each_chain(const struct nlmsghdr *message, void *data)
{
    ChainSearch *search = data;
    RulesState *state = search->state;
    const struct nfgenmsg *info = NLMSG_DATA(message);
    const struct nlattr *a[NFTA_CHAIN_MAX + 1], *hook[NFTA_HOOK_MAX + 1];
    netlink_parse((const char *)info + NLMSG_ALIGN(sizeof *info),
                  (const char *)message + message->nlmsg_len, a, NFTA_CHAIN_MAX);
    bool ipv4 = info->nfgen_family == NFPROTO_IPV4;
    if (!(ipv4 || info->nfgen_family == NFPROTO_INET) || !a[NFTA_CHAIN_TABLE] ||
        !a[NFTA_CHAIN_NAME])
        return;
    bool filter = ipv4 && text_is(a[NFTA_CHAIN_TABLE], "filter");
    if (filter && text_is(a[NFTA_CHAIN_NAME], "DOCKER-USER"))
        state->docker_user = true;
    if (!a[NFTA_CHAIN_HOOK])
        return;
    netlink_parse(netlink_data(a[NFTA_CHAIN_HOOK]),
                  (const char *)a[NFTA_CHAIN_HOOK] + a[NFTA_CHAIN_HOOK]->nla_len, hook,
                  NFTA_HOOK_MAX);
    if (number_of(hook[NFTA_HOOK_HOOKNUM], NF_INET_NUMHOOKS) != NF_INET_FORWARD)
        return;
    if (ipv4 && text_is(a[NFTA_CHAIN_TABLE], search->table)) {
        state->ours = true;
        return;
    }
    if (number_of(a[NFTA_CHAIN_POLICY], NF_ACCEPT) != NF_DROP)
        return;
    /* order does not matter, and 0 means none */
    uint64_t handle = 0;
    if (a[NFTA_CHAIN_HANDLE] && netlink_size(a[NFTA_CHAIN_HANDLE]) == sizeof handle)
        memcpy(&handle, netlink_data(a[NFTA_CHAIN_HANDLE]), sizeof handle);
    state->foreign += 1 + (uint32_t)(handle >> 32) * 7 + (ipv4 ? 0x10000 : 0x20000);
    if (filter && text_is(a[NFTA_CHAIN_NAME], "FORWARD"))
        state->iptables = true;
    else
        snprintf(state->other, sizeof state->other, "%s %.40s %.40s", ipv4 ? "ip" : "inet",
                 (const char *)netlink_data(a[NFTA_CHAIN_TABLE]),
                 (const char *)netlink_data(a[NFTA_CHAIN_NAME]));
}

int rules_inspect(const char *bridge, RulesState *out, SysError *error)
{
    char space[64];
    Netlink nl = netlink_init(space, sizeof space);
    struct nfgenmsg info = {.nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0};
    netlink_begin(&nl, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_DUMP, &info,
                  sizeof info);
    netlink_end(&nl);
    *out = (RulesState){};
    ChainSearch search = {rules_table(bridge), out};
    int failed = netlink_dump(&nl, NETLINK_NETFILTER, each_chain, &search);
    if (failed == -EPERM || failed == -EMSGSIZE) {
        errno = -failed;
        return sys_fail_errno(error, "cannot read the packet rules");
    }
    /* any other failure: nf_tables isn't loaded yet, the first `nft` loads it */
    return 0;
}

/* iptables-nft's chains must hold only what iptables itself could have written, or its programs
 * refuse the table: interface matches and accept. Which packets may come in at all is decided in
 * our own chain. */
static void open_iptables_nft(Network *network, const char *chain)
{
    const char *const list[] = {"nft", "list", "chain", "ip", "filter", chain, NULL};
    char said[8192], quoted[NETWORK_BRIDGE_MAX + 2], text[400];
    SysError failed;
    snprintf(quoted, sizeof quoted, "\"%s\"", network->bridge);
    if (command_run(list, "", said, sizeof said, &failed) == 0 && strstr(said, quoted))
        return;
    snprintf(text, sizeof text,
             "insert rule ip filter %s iifname %s counter accept\n"
             "insert rule ip filter %s oifname %s counter accept\n",
             chain, quoted, chain, quoted);
    if (run_nft(text, &failed) < 0)
        snprintf(network->hint, sizeof network->hint,
                 "the chain FORWARD of iptables drops packets, and letting those of '%s' through "
                 "failed: %.100s",
                 network->bridge, failed.message);
}

/* Does this network namespace use the old iptables? Its rules are invisible to nftables. */
static bool legacy_filter(void)
{
    FILE *file = fopen("/proc/net/ip_tables_names", "re");
    if (!file)
        return false;
    char line[64];
    bool found = false;
    while (!found && fgets(line, sizeof line, file))
        found = strcmp(line, "filter\n") == 0;
    fclose(file);
    return found;
}

static void open_iptables_legacy(Network *network)
{
    static const char *const list[] = {"iptables-legacy", "-w", "-S", "FORWARD", NULL};
    const char *const in[] = {"iptables-legacy", "-w", "-I",     "FORWARD", "-i",
                              network->bridge,   "-j", "ACCEPT", NULL};
    const char *const out[] = {"iptables-legacy", "-w", "-I",     "FORWARD", "-o",
                               network->bridge,   "-j", "ACCEPT", NULL};
    char said[8192], match[NETWORK_BRIDGE_MAX + 5];
    SysError failed;
    snprintf(match, sizeof match, "-o %s ", network->bridge);
    if (command_run(list, "", said, sizeof said, &failed) != 0)
        return;
    if (!strstr(said, "-P FORWARD DROP") || strstr(said, match))
        return;
    if (command_run(in, "", said, sizeof said, &failed) != 0 ||
        command_run(out, "", said, sizeof said, &failed) != 0)
        snprintf(network->hint, sizeof network->hint,
                 "iptables-legacy drops forwarded packets; published ports need: "
                 "iptables-legacy -I FORWARD -o %s -j ACCEPT",
                 network->bridge);
}

void rules_coexist(Network *network, const RulesState *state)
{
    network->hint[0] = '\0';
    if (state->iptables)
        open_iptables_nft(network, state->docker_user ? "DOCKER-USER" : "FORWARD");
    if (legacy_filter())
        open_iptables_legacy(network);
    if (state->other[0] && !network->hint[0])
        snprintf(network->hint, sizeof network->hint,
                 "the firewall chain '%s' has policy drop; containers need rules in it that accept "
                 "iifname \"%s\" and oifname \"%s\"",
                 state->other, network->bridge, network->bridge);
}
