/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one-time set-up of the host, and the quick look that says it is not needed.
 *
 * BRIDGE.state, one line "network1 IFINDEX GATEWAY/PREFIX FOREIGN" and the hint, is the memory of
 * the last set-up. It is believed when the bridge still has that index, our table is still there,
 * and the forward chains of others are the same: so a firewall restarted with `flush ruleset`, or
 * Docker started after us, makes the next start repair things.
 */
#include "network/link.h"
#include "network/rules.h"
#include "network/state.h"

#include "base/sys/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int bridge_name(Network *network, SysError *error)
{
    const char *name = getenv("ATOMIC_BRIDGE");
    if (!name || !*name)
        name = "atomic0";
    size_t size = strlen(name);
    /* it becomes the name of a table too, and part of rule text: nothing that would need quotes */
    bool valid = size <= 10 && ((name[0] | 32) >= 'a' && (name[0] | 32) <= 'z');
    for (size_t i = 0; valid && i < size; i++)
        valid =
            ((name[i] | 32) >= 'a' && (name[i] | 32) <= 'z') || (name[i] >= '0' && name[i] <= '9');
    if (!valid)
        return sys_fail(error, EINVAL,
                        "invalid ATOMIC_BRIDGE '%.40s': at most 10 letters and digits are allowed",
                        name);
    memcpy(network->bridge, name, size + 1);
    return 0;
}

static void set_subnet(Network *network, struct in_addr subnet, uint8_t prefix)
{
    network->prefix = prefix;
    network->subnet.s_addr = subnet.s_addr & link_mask(prefix);
    network->gateway.s_addr = network->subnet.s_addr | htonl(1);
}

/* 1: ATOMIC_SUBNET is set and in *network, 0: it is not, -1. */
static int subnet_of_environment(Network *network, SysError *error)
{
    const char *text = getenv("ATOMIC_SUBNET");
    if (!text || !*text)
        return 0;
    char address[INET_ADDRSTRLEN] = "";
    struct in_addr subnet;
    const char *slash = strchr(text, '/');
    char *end;
    unsigned long prefix = slash ? strtoul(slash + 1, &end, 10) : 0;
    if (slash && (size_t)(slash - text) < sizeof address)
        memcpy(address, text, (size_t)(slash - text));
    if (inet_pton(AF_INET, address, &subnet) != 1 || *end || prefix < 8 || prefix > 29)
        return sys_fail(error, EINVAL,
                        "invalid ATOMIC_SUBNET '%.40s': expected like 10.88.0.0/16, /8 to /29",
                        text);
    set_subnet(network, subnet, (uint8_t)prefix);
    return 1;
}

static int check_subnet(Network *network, SysError *error)
{
    char address[INET_ADDRSTRLEN], route[40];
    int clash =
        link_route_overlaps(network->subnet, network->prefix, network->ifindex, route, error);
    if (clash <= 0)
        return clash;
    inet_ntop(AF_INET, &network->subnet, address, sizeof address);
    return sys_fail(error, EADDRINUSE, "ATOMIC_SUBNET %s/%u overlaps the host's route to %s",
                    address, network->prefix, route);
}

static int choose_subnet(Network *network, SysError *error)
{
    char route[40];
    for (unsigned second = 88; second < 128; second++) {
        set_subnet(network, (struct in_addr){htonl(10u << 24 | second << 16)}, 16);
        int clash = link_route_overlaps(network->subnet, network->prefix, 0, route, error);
        if (clash <= 0)
            return clash;
    }
    return sys_fail(error, EADDRINUSE,
                    "no free subnet for containers: the host has routes to all of 10.88.0.0 to "
                    "10.127.0.0 (the last: %s)\nhint: set ATOMIC_SUBNET",
                    route);
}

/* A bridge that is there keeps its address: containers may be on it. */
static int ensure_bridge(Network *network, SysError *error)
{
    int given = subnet_of_environment(network, error);
    if (given < 0)
        return -1;
    network->ifindex = link_index(network->bridge);
    if (network->ifindex) {
        Network wanted = *network;
        int found = link_read_address(network, error);
        if (found < 0)
            return -1;
        if (found && given &&
            (wanted.subnet.s_addr != network->subnet.s_addr || wanted.prefix != network->prefix)) {
            char address[INET_ADDRSTRLEN];
            inet_ntop(AF_INET, &network->gateway, address, sizeof address);
            return sys_fail(error, EADDRINUSE,
                            "bridge '%s' has the address %s/%u, which is not in ATOMIC_SUBNET\n"
                            "hint: stop all containers and run: ip link delete %s",
                            network->bridge, address, network->prefix, network->bridge);
        }
        if (!found)
            *network = wanted;
    }
    int failed =
        network->prefix ? given ? check_subnet(network, error) : 0 : choose_subnet(network, error);
    return failed < 0 ? -1 : link_make_bridge(network, error);
}

/* Sets a switch under /proc/sys/net, of this network namespace. Where /proc/sys is read-only it may
 * be set already. */
static int ensure_sysctl(const char *path, SysError *error)
{
    char now[16];
    if (sys_read_file_at(AT_FDCWD, path, now, sizeof now) == 1 && now[0] == '1')
        return 0;
    errno = -sys_write_file_at(AT_FDCWD, path, "1");
    if (errno)
        return sys_fail_errno(error, "cannot switch on '%s'", path);
    return 0;
}

static int save(int state, const Network *network, const RulesState *rules, SysError *error)
{
    char text[400], address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &network->gateway, address, sizeof address);
    int size = snprintf(text, sizeof text, "network1 %d %s/%u %u\n%s", network->ifindex, address,
                        network->prefix, rules->foreign, network->hint);
    if (ftruncate(state, 0) < 0 || pwrite(state, text, (size_t)size, 0) != size)
        return sys_fail_errno(error, "cannot write 'network/%s.state'", network->bridge);
    return 0;
}

/* 1: the last set-up still holds, and is in *network. 0: it doesn't. */
static int load(int state, Network *network, SysError *error)
{
    char text[400] = "", address[INET_ADDRSTRLEN];
    Network found = *network;
    RulesState rules;
    unsigned prefix, foreign;
    int hint = 0;
    if (pread(state, text, sizeof text - 1, 0) <= 0 ||
        sscanf(text, "network1 %d %15[0-9.]/%u %u%n", &found.ifindex, address, &prefix, &foreign,
               &hint) != 4 ||
        text[hint] != '\n' || prefix < 8 || prefix > 29)
        return 0;
    if (found.ifindex != link_index(found.bridge) ||
        inet_pton(AF_INET, address, &found.gateway) != 1)
        return 0;
    if (rules_inspect(found.bridge, &rules, error) < 0)
        return -1;
    if (!rules.ours || rules.foreign != foreign)
        return 0;
    found.prefix = (uint8_t)prefix;
    found.subnet.s_addr = found.gateway.s_addr & link_mask(found.prefix);
    snprintf(found.hint, sizeof found.hint, "%s", text + hint + 1);
    /* a changed ATOMIC_SUBNET goes the long way, which says what is wrong */
    Network wanted;
    int given = subnet_of_environment(&wanted, error);
    if (given < 0)
        return -1;
    if (given && (wanted.subnet.s_addr != found.subnet.s_addr || wanted.prefix != found.prefix))
        return 0;
    *network = found;
    return 1;
}

static int set_up(int state, Network *network, SysError *error)
{
    char path[80];
    RulesState rules;
    if (ensure_bridge(network, error) < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/route_localnet", network->bridge);
    if (ensure_sysctl(path, error) < 0 || ensure_sysctl("/proc/sys/net/ipv4/ip_forward", error) < 0)
        return -1;
    if (rules_apply(network, error) < 0 || rules_inspect(network->bridge, &rules, error) < 0)
        return -1;
    rules_coexist(network, &rules);
    return save(state, network, &rules, error);
}

int network_setup(const char *run_dir, Network *out, SysError *error)
{
    Network network = {};
    if (bridge_name(&network, error) < 0)
        return -1;
    _autofd int dir = state_dir_open(run_dir, error);
    if (dir < 0)
        return -1;
    /* one process sets up, others that start at the same time wait for it and then find it done */
    _autofd int state = state_file_lock(dir, network.bridge, "state", error);
    if (state < 0)
        return -1;
    int done = load(state, &network, error);
    if (done < 0 || (done == 0 && set_up(state, &network, error) < 0))
        return -1;
    *out = network;
    return 0;
}
