/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network of containers: one bridge, one veth pair and one IPv4 address per container,
 * published ports.
 *
 * No GLib and no library: netlink by hand, libc only; the monitor links it too. "The host" is
 * always the network namespace of the calling process, so tests run whole hosts inside `unshare
 * -n`.
 *
 *     engine                                     child in its own network namespace
 *     network_setup()          once per start
 *     network_address_take()   pool file, flock
 *     network_port_reserve()   one fd per port
 *     … clone …
 *     network_attach()         one send ──►   network_configure()   lo, eth0, route in one send
 *     network_publish()        one send
 *
 * and at the end, by the monitor: network_unpublish(), network_address_release(), close the port
 * fds. The veth pair dies with the network namespace: deleting it by hand takes 10 to 30 ms and is
 * never done.
 *
 * Everything permanent lives in the kernel: the bridge, sysctls, and the nftables table `ip
 * atomic`, made by one run of `nft` per boot. A published port is an element of one of two maps of
 * that table; adding one is a raw netlink message (4 us). Under RUN_DIR/network/ (a folder that is
 * empty after a boot) are `BRIDGE.state` (what the set-up found and did) and `BRIDGE.pool` (who has
 * which address).
 *
 * Environment, read by network_setup(): ATOMIC_BRIDGE names the bridge (default atomic0; letters
 * and digits, at most 10), ATOMIC_SUBNET fixes the subnet ("10.99.0.0/24"), which then must not
 * clash with a route. IPv4 only: a connection to [::1] is refused at once, so clients that try it
 * first fall back to 127.0.0.1.
 *
 * Functions return 0 (or an fd) or -1 with *error filled.
 */
#pragma once

#include "base/sys/fail.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NETWORK_BRIDGE_MAX 16

/* The bridge network of this host. */
typedef struct {
    char bridge[NETWORK_BRIDGE_MAX];
    int ifindex;            /* of the bridge */
    struct in_addr subnet;  /* first address; network byte order as in all of this header */
    struct in_addr gateway; /* the bridge's own address, the default route inside */
    uint8_t prefix;         /* 16 = /16 */
    char hint[240];         /* not empty: others will drop our packets; a line for the user */
} Network;

/* Makes bridge, sysctls and rules unless this boot already has them. Idempotent and safe in
 * parallel; costs about 0.1 ms when there is nothing to do, 20 ms and more the first time (runs the
 * program `nft`). run_dir: ATOMIC_RUN, made when missing. Without ATOMIC_SUBNET the first of
 * 10.88.0.0/16, 10.89.0.0/16, … that overlaps no route is taken. EADDRINUSE: ATOMIC_SUBNET clashes
 * with a route, or no subnet is free. */
int network_setup(const char *run_dir, Network *out, SysError *error);

/* Is the container that holds an address still there (running, or being started)? */
typedef bool (*NetworkAlive)(const char *container_id, void *data);

/* Gives the container the lowest free address, or the one it already has. When the pool is full,
 * entries for whom `alive` says no are given up first (alive may be NULL); ENOSPC when that does
 * not help. Entries of an earlier boot don't count. container_id: at most 64 bytes. */
int network_address_take(const char *run_dir, const Network *network, const char *container_id,
                         NetworkAlive alive, void *data, struct in_addr *out, SysError *error);
/* Gives it back. Not an error when the container has none. */
int network_address_release(const char *run_dir, const char *bridge, const char *container_id,
                            SysError *error);

/* Makes a veth pair: one end on the bridge (up, hairpin on), the other born as `eth0` in the
 * network namespace of `netns_fd` (an open /proc/PID/ns/net), or when that is -1 of the process
 * `pid`. The MAC address follows from the IPv4 address, so a reused address needs no new ARP. */
int network_attach(const Network *network, const char *container_id, pid_t pid, int netns_fd,
                   struct in_addr address, SysError *error);

/* To be called inside the container's network namespace, after network_attach(): lo up, eth0 up
 * with the address, default route. Child-safe: no allocation, no lock, one socket opened and
 * closed. */
int network_configure(const Network *network, struct in_addr address, SysError *error);

/* A published port. */
typedef struct {
    struct in_addr host_ip; /* INADDR_ANY: all addresses of the host */
    uint16_t host_port;     /* host byte order; 0 = choose one */
    uint16_t container_port;
    uint8_t protocol;            /* IPPROTO_TCP or IPPROTO_UDP */
    struct in_addr container_ip; /* filled in before network_publish() */
} NetworkPort;

#define NETWORK_PORT_TEXT 64
/* "0.0.0.0:32768:80/tcp" (container_ip is not part of it). Returns text. */
const char *network_port_format(const NetworkPort *port, char text[NETWORK_PORT_TEXT]);
/* The argument of `-p`: [IP:][HOSTPORT:]PORT[/tcp|/udp]; "8080:80", "80", "127.0.0.1::80". EINVAL
 * says what is wrong; ranges and IPv6 addresses are not supported yet. Reads what
 * network_port_format() writes. */
int network_port_parse(const char *text, NetworkPort *out, SysError *error);

/* Binds the host's port without listening, so that nobody else can take it, and returns the fd
 * (close-on-exec). Whoever holds it owns the port: hand it to the monitor. host_port 0 becomes the
 * first free port from 32768. EADDRINUSE: "port 8080/tcp is already allocated"; EADDRNOTAVAIL: no
 * such address on this host. */
int network_port_reserve(NetworkPort *port, SysError *error);

/* Makes reserved ports reach the containers, all in one message. A stale rule of the same port is
 * replaced. */
int network_publish(const char *bridge, const NetworkPort *ports, size_t n, SysError *error);
/* The reverse; ports that are not there are not an error. Takes 1 to 10 ms. */
int network_unpublish(const char *bridge, const NetworkPort *ports, size_t n, SysError *error);
/* The same in microseconds: the ports are free at once; what takes long is closing the socket that
 * did it, because the kernel then waits until no packet sees the old rules. Returns that socket. */
int network_unpublish_begin(const char *bridge, const NetworkPort *ports, size_t n,
                            SysError *error);
