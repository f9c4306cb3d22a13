/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every test is a host of its own: a fresh network namespace, entered by the test process.
 * Containers and the outside world are further namespaces, each held by a child that sleeps. The
 * machine's own network is never touched.
 */
#include "base/error.h"
#include "base/file.h"
#include "network/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *run_dir;
    int netns; /* the host of this test */
    GArray *children;
} Host;

typedef struct {
    pid_t pid;
    int netns;
    struct in_addr address;
    char id[65];
} Space;

static void assert_ok(int result, const SysError *failed)
{
    if (result < 0)
        g_error("%s", failed->message);
}

static int netns_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void shell(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void shell(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    if (system(line) != 0)
        g_error("failed: %s", line);
}

static void host_up(Host *host, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
    shell("ip link set lo up");
    host->run_dir = g_dir_make_tmp("atomic-net-XXXXXX", &error);
    g_assert_no_error(error);
    host->netns = netns_of(getpid());
    host->children = g_array_new(false, false, sizeof(pid_t));
    g_unsetenv("ATOMIC_SUBNET");
    g_unsetenv("ATOMIC_BRIDGE");
}

static void host_down(Host *host, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < host->children->len; i++) {
        pid_t pid = g_array_index(host->children, pid_t, i);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    g_array_free(host->children, true);
    close(host->netns);
    g_assert_true(file_remove_all_at(AT_FDCWD, host->run_dir, &error));
    g_free(host->run_dir);
}

/* A child that ends with the test and does `body` in its own or a given network namespace. */
static pid_t child(Host *host, int netns, int (*body)(void *), void *data)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || (netns >= 0 && setns(netns, CLONE_NEWNET) < 0))
            _exit(99);
        _exit(body(data));
    }
    return pid;
}

static int sleep_in_new_netns(void *data)
{
    int ready = *(int *)data;
    if (unshare(CLONE_NEWNET) < 0 || write(ready, "", 1) != 1)
        return 1;
    for (;;)
        pause();
}

static Space space_new(Host *host)
{
    int ends[2];
    char byte;
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    Space space = {.pid = child(host, -1, sleep_in_new_netns, &ends[1])};
    close(ends[1]);
    g_assert_cmpint(read(ends[0], &byte, 1), ==, 1);
    close(ends[0]);
    g_array_append_val(host->children, space.pid);
    space.netns = netns_of(space.pid);
    return space;
}

static Network setup(Host *host)
{
    SysError failed = {};
    Network network;
    assert_ok(network_setup(host->run_dir, &network, &failed), &failed);
    return network;
}

typedef struct {
    const Network *network;
    struct in_addr address;
} Configure;

static int configure(void *data)
{
    Configure *c = data;
    SysError failed = {};
    if (network_configure(c->network, c->address, &failed) == 0)
        return 0;
    fprintf(stderr, "# %s\n", failed.message);
    return 1;
}

static int wait_for(pid_t pid)
{
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static Space container_new(Host *host, const Network *network, const char *id)
{
    SysError failed = {};
    Space space = space_new(host);
    g_strlcpy(space.id, id, sizeof space.id);
    assert_ok(network_address_take(host->run_dir, network, id, NULL, NULL, &space.address, &failed),
              &failed);
    /* by pid and by fd in turn */
    bool by_fd = space.address.s_addr & htonl(1);
    assert_ok(
        network_attach(network, id, space.pid, by_fd ? space.netns : -1, space.address, &failed),
        &failed);
    Configure c = {network, space.address};
    g_assert_cmpint(wait_for(child(host, space.netns, configure, &c)), ==, 0);
    return space;
}

/* The outside world: a peer at 192.168.77.2, the host at .1. */
static Space outside_new(Host *host)
{
    Space space = space_new(host);
    shell("ip link add up0 type veth peer name eth0 netns %d", space.pid);
    shell("ip address add 192.168.77.1/24 dev up0; ip link set up0 up");
    shell("nsenter -n -t %d sh -c 'ip link set lo up; ip address add 192.168.77.2/24 dev eth0; ip "
          "link set eth0 up'",
          space.pid);
    return space;
}

typedef struct {
    int type;
    uint16_t port;
    int ready;
} Server;

/* Answers everybody with "NAME sees ADDRESS". */
static int serve(void *data)
{
    Server *server = data;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    int yes = 1, fd = socket(AF_INET, server->type | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        (server->type == SOCK_STREAM && listen(fd, 9) < 0) || write(server->ready, "", 1) != 1)
        return 1;
    for (;;) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        char text[64], address[INET_ADDRSTRLEN];
        int talk = fd;
        if (server->type == SOCK_STREAM)
            talk = accept(fd, (struct sockaddr *)&from, &size);
        else if (recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &size) < 0)
            return 1;
        snprintf(text, sizeof text, "port %u sees %s", server->port,
                 inet_ntop(AF_INET, &from.sin_addr, address, sizeof address));
        if (sendto(talk, text, strlen(text), 0, server->type == SOCK_STREAM ? NULL : (void *)&from,
                   server->type == SOCK_STREAM ? 0 : size) < 0)
            return 1;
        if (talk != fd)
            close(talk);
    }
}

static void serve_in(Host *host, const Space *space, int type, uint16_t port)
{
    int ends[2];
    char byte;
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    Server server = {type, port, ends[1]};
    pid_t pid = child(host, space->netns, serve, &server);
    close(ends[1]);
    g_array_append_val(host->children, pid);
    g_assert_cmpint(read(ends[0], &byte, 1), ==, 1);
    close(ends[0]);
}

typedef struct {
    int type;
    const char *address;
    uint16_t port;
    int out;
    int timeout_ms;
} Call;

static int call(void *data)
{
    Call *c = data;
    char text[100];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    struct timeval limit = {c->timeout_ms / 1000, c->timeout_ms % 1000 * 1000};
    inet_pton(AF_INET, c->address, &to.sin_addr);
    int fd = socket(AF_INET, c->type | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    ssize_t n = -1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        (c->type == SOCK_STREAM || send(fd, "?", 1, 0) == 1))
        n = recv(fd, text, sizeof text - 1, 0);
    if (n < 0)
        n = snprintf(text, sizeof text, "%s", errno == ECONNREFUSED ? "refused" : "nothing");
    return write(c->out, text, (size_t)n) == n ? 0 : 1;
}

static char *ask(Host *host, int netns, int type, const char *address, uint16_t port,
                 int timeout_ms)
{
    int ends[2];
    char text[100];
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    Call c = {type, address, port, ends[1], timeout_ms};
    pid_t pid = child(host, netns, call, &c);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text);
    close(ends[0]);
    g_assert_cmpint(wait_for(pid), ==, 0);
    return g_strndup(text, (gsize)n);
}

#define assert_answer(host, netns, type, address, port, expected)                                  \
    do {                                                                                           \
        g_autofree char *answer_ = ask(host, netns, type, address, port, 5000);                    \
        g_assert_cmpstr(answer_, ==, expected);                                                    \
    } while (0)
#define assert_silence(host, netns, address, port)                                                 \
    do {                                                                                           \
        g_autofree char *answer_ = ask(host, netns, SOCK_STREAM, address, port, 300);              \
        g_assert_cmpstr(answer_, ==, "nothing");                                                   \
    } while (0)

static int reserve(const char *text, NetworkPort *port)
{
    SysError failed = {};
    assert_ok(network_port_parse(text, port, &failed), &failed);
    int fd = network_port_reserve(port, &failed);
    assert_ok(fd, &failed);
    return fd;
}

static int publish(const Network *network, const Space *space, const char *text, NetworkPort *port)
{
    SysError failed = {};
    int fd = reserve(text, port);
    port->container_ip = space->address;
    assert_ok(network_publish(network->bridge, port, 1, &failed), &failed);
    return fd;
}

static void test_setup(Host *host, gconstpointer data)
{
    Network first = setup(host), second = setup(host);
    char text[INET_ADDRSTRLEN];
    g_assert_cmpstr(first.bridge, ==, "atomic0");
    g_assert_cmpstr(inet_ntop(AF_INET, &first.gateway, text, sizeof text), ==, "10.88.0.1");
    g_assert_cmpint(first.prefix, ==, 16);
    g_assert_cmpint(first.ifindex, ==, (int)if_nametoindex("atomic0"));
    g_assert_cmpstr(first.hint, ==, "");
    g_assert_cmpmem(&first, sizeof first, &second, sizeof second);
    shell("test $(cat /proc/sys/net/ipv4/ip_forward) = 1");
    shell("test $(cat /proc/sys/net/ipv4/conf/atomic0/route_localnet) = 1");
    shell("test $(cat /proc/sys/net/ipv4/conf/all/route_localnet) = 0");

    /* a firewall that was restarted took our table away */
    shell("nft flush ruleset");
    setup(host);
    shell("nft list chain ip atomic publish | grep -q dnat");
    /* the state file got lost: found again from the bridge; published ports stay */
    shell("nft add element ip atomic ports '{ tcp . 81 : 10.88.0.9 . 80 }'");
    shell("rm %s/network/atomic0.state", host->run_dir);
    Network third = setup(host);
    g_assert_cmpmem(&first, sizeof first, &third, sizeof third);
    shell("nft list map ip atomic ports | grep -q 10.88.0.9");
    shell("test $(nft list chain ip atomic forward | grep -c drop) = 1");
}

static void test_subnet(Host *host, gconstpointer data)
{
    SysError failed = {};
    Network network;
    char text[INET_ADDRSTRLEN];
    shell("ip route add 10.88.3.0/24 dev lo; ip route add 10.89.0.0/16 dev lo; ip route add "
          "10.90.7.7 dev lo");
    network = setup(host);
    g_assert_cmpstr(inet_ntop(AF_INET, &network.subnet, text, sizeof text), ==, "10.91.0.0");

    /* a second network beside it */
    g_setenv("ATOMIC_BRIDGE", "second", true);
    g_setenv("ATOMIC_SUBNET", "10.88.3.128/25", true);
    g_assert_cmpint(network_setup(host->run_dir, &network, &failed), ==, -1);
    g_assert_cmpint(failed.code, ==, EADDRINUSE);
    g_assert_cmpstr(failed.message, ==,
                    "ATOMIC_SUBNET 10.88.3.128/25 overlaps the host's route to 10.88.3.0/24");
    g_setenv("ATOMIC_SUBNET", "10.99.1.0/24", true);
    network = setup(host);
    g_assert_cmpstr(inet_ntop(AF_INET, &network.gateway, text, sizeof text), ==, "10.99.1.1");
    shell("nft list table ip second >/dev/null && nft list table ip atomic >/dev/null");
    setup(host);
    g_setenv("ATOMIC_SUBNET", "10.99.2.0/24", true);
    g_assert_cmpint(network_setup(host->run_dir, &network, &failed), ==, -1);
    g_assert_true(g_str_has_prefix(failed.message, "bridge 'second' has the address 10.99.1.1/24"));

    const char *const bad[] = {"10.0.0.0", "10.0.0.0/7", "10.0.0.0/30", "10.0.0/24x", "/16", "x"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_setenv("ATOMIC_SUBNET", bad[i], true);
        g_assert_cmpint(network_setup(host->run_dir, &network, &failed), ==, -1);
        g_assert_cmpint(failed.code, ==, EINVAL);
    }
    g_unsetenv("ATOMIC_SUBNET");
    g_setenv("ATOMIC_BRIDGE", "a\";flush", true);
    g_assert_cmpint(network_setup(host->run_dir, &network, &failed), ==, -1);
    g_assert_true(g_str_has_prefix(failed.message, "invalid ATOMIC_BRIDGE 'a\";flush'"));
}

static bool id_is_not_b(const char *id, void *data)
{
    return strcmp(id, "b") != 0;
}

static const char *take(Host *host, const Network *network, const char *id)
{
    static char text[INET_ADDRSTRLEN];
    SysError failed = {};
    struct in_addr address;
    if (network_address_take(host->run_dir, network, id, id_is_not_b, NULL, &address, &failed) < 0)
        return failed.code == ENOSPC ? "full" : g_intern_string(failed.message);
    return inet_ntop(AF_INET, &address, text, sizeof text);
}

static void test_addresses(Host *host, gconstpointer data)
{
    SysError failed = {};
    Network network = {.bridge = "br", .prefix = 29};
    inet_pton(AF_INET, "10.9.8.0", &network.subnet);
    g_assert_cmpstr(take(host, &network, "a"), ==, "10.9.8.2");
    g_assert_cmpstr(take(host, &network, "b"), ==, "10.9.8.3");
    g_assert_cmpstr(take(host, &network, "c"), ==, "10.9.8.4");
    g_assert_cmpstr(take(host, &network, "b"), ==, "10.9.8.3");
    assert_ok(network_address_release(host->run_dir, "br", "a", &failed), &failed);
    assert_ok(network_address_release(host->run_dir, "br", "nobody", &failed), &failed);
    g_assert_cmpstr(take(host, &network, "d"), ==, "10.9.8.2");
    g_assert_cmpstr(take(host, &network, "e"), ==, "10.9.8.5");
    g_assert_cmpstr(take(host, &network, "f"), ==, "10.9.8.6");
    g_assert_cmpstr(take(host, &network, "g"), ==, "10.9.8.3"); /* b is dead */
    g_assert_cmpstr(take(host, &network, "h"), ==, "full");
    char id[66];
    memset(id, 'f', sizeof id);
    id[64] = '\0';
    network.prefix = 24;
    g_assert_cmpstr(take(host, &network, id), ==, "10.9.8.2"); /* another subnet: begun anew */
    g_assert_cmpstr(take(host, &network, id), ==, "10.9.8.2");
    g_assert_cmpint(
        network_address_take(host->run_dir, &network, "", NULL, NULL, &network.gateway, &failed),
        ==, -1);
}

static void test_port_text(void)
{
    SysError failed = {};
    NetworkPort port;
    char text[NETWORK_PORT_TEXT];
    const char *const good[][2] = {
        {"80", "0.0.0.0:0:80/tcp"},
        {"8080:80", "0.0.0.0:8080:80/tcp"},
        {"53:53/udp", "0.0.0.0:53:53/udp"},
        {"127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"},
        {"127.0.0.1::80", "127.0.0.1:0:80/tcp"},
        {":80", "0.0.0.0:0:80/tcp"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        assert_ok(network_port_parse(good[i][0], &port, &failed), &failed);
        g_assert_cmpstr(network_port_format(&port, text), ==, good[i][1]);
        NetworkPort again;
        assert_ok(network_port_parse(text, &again, &failed), &failed);
        g_assert_cmpmem(&port, sizeof port, &again, sizeof again);
    }
    const char *const bad[] = {"",
                               "0",
                               "65536",
                               "x",
                               "80x",
                               "80/sctp",
                               "1:2:80",
                               ":1:80",
                               "1.2.3.4.5:1:80",
                               "8080:",
                               "99999999999:1",
                               "[::1]:80:80",
                               "80-90",
                               "300.1.1.1:1:1",
                               "-1"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_cmpint(network_port_parse(bad[i], &port, &failed), ==, -1);
    network_port_parse("8x:80", &port, &failed);
    g_assert_cmpstr(failed.message, ==, "invalid port '8x:80': '8x' is not a port number");
}

static void test_reserve(Host *host, gconstpointer data)
{
    SysError failed = {};
    NetworkPort one, two, three;
    const char *const kinds[] = {"8080:80/tcp", "8080:80/udp"};
    for (int i = 0; i < 2; i++) {
        _autofd int fd = reserve(kinds[i], &one);
        two = one;
        g_assert_cmpint(network_port_reserve(&two, &failed), ==, -1);
        g_assert_cmpint(failed.code, ==, EADDRINUSE);
        g_assert_nonnull(strstr(failed.message, i ? "port 8080/udp is already allocated"
                                                  : "port 8080/tcp is already allocated"));
        inet_pton(AF_INET, "127.0.0.1", &two.host_ip);
        g_assert_cmpint(network_port_reserve(&two, &failed), ==, -1);
        close(fd_steal(&fd));
        fd = network_port_reserve(&two, &failed);
        assert_ok(fd, &failed);
    }
    /* a server that is there, listening on one address only */
    Space self = {.netns = host->netns};
    serve_in(host, &self, SOCK_STREAM, 9090);
    g_assert_cmpint(network_port_parse("9090:80", &one, &failed), ==, 0);
    g_assert_cmpint(network_port_reserve(&one, &failed), ==, -1);
    g_assert_cmpint(failed.code, ==, EADDRINUSE);
    /* no such address */
    network_port_parse("192.0.2.99:80:80", &one, &failed);
    g_assert_cmpint(network_port_reserve(&one, &failed), ==, -1);
    g_assert_cmpint(failed.code, ==, EADDRNOTAVAIL);
    /* chosen ones */
    _autofd int a = reserve("80", &one);
    _autofd int b = reserve("80", &two);
    _autofd int c = reserve("80/udp", &three);
    g_assert_cmpint(one.host_port, >=, 32768);
    g_assert_cmpint(two.host_port, >, one.host_port);
    g_assert_cmpint(three.host_port, ==, 32768);
    /* a reserved port that nothing translates refuses at once */
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", one.host_port, "refused");
}

static void test_reach(Host *host, gconstpointer data)
{
    Network network = setup(host);
    Space outside = outside_new(host);
    Space one = container_new(host, &network, "1111111111111111");
    Space two = container_new(host, &network, "1111111111112222");
    serve_in(host, &one, SOCK_STREAM, 80);
    serve_in(host, &one, SOCK_DGRAM, 53);
    serve_in(host, &two, SOCK_STREAM, 81);
    serve_in(host, &outside, SOCK_STREAM, 7);
    NetworkPort tcp, udp, local, chosen;
    _autofd int fd1 = publish(&network, &one, "8080:80", &tcp);
    _autofd int fd2 = publish(&network, &one, "5353:53/udp", &udp);
    _autofd int fd3 = publish(&network, &one, "127.0.0.1:8081:80", &local);
    _autofd int fd4 = publish(&network, &two, "81", &chosen);

    /* from the host: by loopback, by its other addresses, straight */
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", 8080, "port 80 sees 10.88.0.1");
    assert_answer(host, -1, SOCK_STREAM, "192.168.77.1", 8080, "port 80 sees 192.168.77.1");
    assert_answer(host, -1, SOCK_STREAM, "10.88.0.1", 8080, "port 80 sees 10.88.0.1");
    assert_answer(host, -1, SOCK_STREAM, "10.88.0.2", 80, "port 80 sees 10.88.0.1");
    assert_answer(host, -1, SOCK_DGRAM, "127.0.0.1", 5353, "port 53 sees 10.88.0.1");
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", 8081, "port 80 sees 10.88.0.1");
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", chosen.host_port, "port 81 sees 10.88.0.1");
    /* from outside: the peer's address is seen; a port of 127.0.0.1 isn't there; nor is the
     * container itself */
    assert_answer(host, outside.netns, SOCK_STREAM, "192.168.77.1", 8080,
                  "port 80 sees 192.168.77.2");
    assert_answer(host, outside.netns, SOCK_DGRAM, "192.168.77.1", 5353,
                  "port 53 sees 192.168.77.2");
    assert_answer(host, outside.netns, SOCK_STREAM, "192.168.77.1", 8081, "refused");
    shell("nsenter -n -t %d ip route add 10.88.0.0/16 via 192.168.77.1", outside.pid);
    assert_silence(host, outside.netns, "10.88.0.2", 80);
    /* from containers: itself by the host's port, a sibling both ways, outside under the host's
     * address */
    assert_answer(host, one.netns, SOCK_STREAM, "192.168.77.1", 8080, "port 80 sees 10.88.0.1");
    assert_answer(host, two.netns, SOCK_STREAM, "10.88.0.1", 8080, "port 80 sees 10.88.0.1");
    assert_answer(host, two.netns, SOCK_STREAM, "10.88.0.2", 80, "port 80 sees 10.88.0.3");
    assert_answer(host, one.netns, SOCK_STREAM, "192.168.77.2", 7, "port 7 sees 192.168.77.1");
    shell("bridge -d link show | grep -q 'hairpin on'");

    /* released: refused, and the neighbours stay */
    SysError failed = {};
    assert_ok(network_unpublish("atomic0", &tcp, 1, &failed), &failed);
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", 8080, "refused");
    NetworkPort all[] = {tcp, udp, local};
    assert_ok(network_unpublish("atomic0", all, 3, &failed), &failed);
    assert_ok(network_unpublish("atomic0", all, 3, &failed), &failed);
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", chosen.host_port, "port 81 sees 10.88.0.1");
    shell("test -z \"$(nft list map ip atomic address_ports | grep elements)\"");
}

/* Nothing listens on IPv6: a client that tries [::1] first is refused at once and goes on. */
static void test_ipv6_loopback(Host *host, gconstpointer data)
{
    NetworkPort port;
    _autofd int fd = reserve("8080:80", &port);
    _autofd int client = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0) {
        g_test_skip("no IPv6 here");
        return;
    }
    struct sockaddr_in6 to = {
        .sin6_family = AF_INET6, .sin6_port = htons(8080), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    g_assert_cmpint(connect(client, (struct sockaddr *)&to, sizeof to), ==, -1);
    g_assert_cmpint(errno, ==, ECONNREFUSED);
}

/* A container that routes to the host's loopback addresses must not get there, though the bridge
 * allows such packets. */
static void test_loopback_guard(Host *host, gconstpointer data)
{
    Network network = setup(host);
    Space one = container_new(host, &network, "evil");
    Space self = {.netns = host->netns};
    serve_in(host, &self, SOCK_STREAM, 7070);
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", 7070, "port 7070 sees 127.0.0.1");
    assert_answer(host, one.netns, SOCK_STREAM, "10.88.0.1", 7070, "port 7070 sees 10.88.0.2");
    shell(
        "nsenter -n -t %d sh -c 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet;"
        "ip address del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via 10.88.0.1 src 10.88.0.2'",
        one.pid);
    assert_silence(host, one.netns, "127.0.0.1", 7070);
    /* it is the guard that stops it, and not a flaw of this test */
    shell("nft flush chain ip atomic guard");
    assert_answer(host, one.netns, SOCK_STREAM, "127.0.0.1", 7070, "port 7070 sees 10.88.0.2");
}

static void test_stale_rule(Host *host, gconstpointer data)
{
    Network network = setup(host);
    Space one = container_new(host, &network, "one");
    serve_in(host, &one, SOCK_STREAM, 80);
    shell("nft add element ip atomic ports '{ tcp . 8080 : 10.88.9.9 . 99 }'");
    NetworkPort ports[100], check;
    int fds[100];
    for (int i = 0; i < 100; i++) {
        char text[20];
        snprintf(text, sizeof text, "%d:80", 8000 + i);
        fds[i] = reserve(text, &ports[i]);
        ports[i].container_ip = one.address;
    }
    SysError failed = {};
    assert_ok(network_publish("atomic0", ports, 100, &failed), &failed);
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", 8080, "port 80 sees 10.88.0.1");
    assert_answer(host, -1, SOCK_STREAM, "127.0.0.1", 8099, "port 80 sees 10.88.0.1");
    assert_ok(network_unpublish("atomic0", ports, 100, &failed), &failed);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    check = ports[0];
    g_assert_cmpint(network_publish("nobridge", &check, 1, &failed), ==, -1);
    g_assert_true(g_str_has_prefix(failed.message, "cannot publish port '0.0.0.0:8000:80/tcp'"));
}

/* Others who drop what is forwarded: iptables-nft's FORWARD, with and without Docker's chain, and
 * an unknown firewall. */
static void test_foreign_firewall(Host *host, gconstpointer docker_user)
{
    if (docker_user)
        shell("nft 'table ip filter { chain DOCKER-USER { counter return; }\n"
              "chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; "
              "}\n}'");
    Network network = setup(host);
    Space outside = outside_new(host);
    Space one = container_new(host, &network, "one");
    serve_in(host, &one, SOCK_STREAM, 80);
    serve_in(host, &outside, SOCK_STREAM, 7);
    NetworkPort port;
    _autofd int fd = publish(&network, &one, "8080:80", &port);
    if (!docker_user) {
        /* it comes after us, as when Docker is started later */
        shell("nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy "
              "drop; }\n}'");
        assert_silence(host, outside.netns, "192.168.77.1", 8080);
        network = setup(host);
    }
    g_assert_cmpstr(network.hint, ==, "");
    assert_answer(host, outside.netns, SOCK_STREAM, "192.168.77.1", 8080,
                  "port 80 sees 192.168.77.2");
    assert_answer(host, one.netns, SOCK_STREAM, "192.168.77.2", 7, "port 7 sees 192.168.77.1");
    shell("rm %s/network/atomic0.state", host->run_dir);
    setup(host);
    shell("test $(nft list table ip filter | grep -c atomic0) = 2");

    shell("nft 'table inet fw { chain forward_all { type filter hook forward priority 0; policy "
          "drop; }\n}'");
    network = setup(host);
    g_assert_true(
        g_str_has_prefix(network.hint, "the firewall chain 'inet fw forward_all' has policy drop"));
    Network again = setup(host);
    g_assert_cmpstr(again.hint, ==, network.hint);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/network/port-text", test_port_text);
    if (geteuid() != 0) {
        g_printerr("# the rest needs root\n");
        return g_test_run();
    }
#define ADD(name, data, function) g_test_add(name, Host, data, host_up, function, host_down)
    ADD("/network/setup", NULL, test_setup);
    ADD("/network/subnet", NULL, test_subnet);
    ADD("/network/addresses", NULL, test_addresses);
    ADD("/network/reserve", NULL, test_reserve);
    ADD("/network/reach", NULL, test_reach);
    ADD("/network/ipv6-loopback", NULL, test_ipv6_loopback);
    ADD("/network/loopback-guard", NULL, test_loopback_guard);
    ADD("/network/stale-rule", NULL, test_stale_rule);
    ADD("/network/foreign-firewall/iptables", NULL, test_foreign_firewall);
    ADD("/network/foreign-firewall/docker", "docker", test_foreign_firewall);
    return g_test_run();
}
