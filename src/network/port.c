/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports as text, and their reservation. */
#include "network/network.h"

#include "base/sys/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { CHOOSE_FIRST = 32768, CHOOSE_LAST = 60999 };

static const char *protocol_name(uint8_t protocol)
{
    return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

const char *network_port_format(const NetworkPort *port, char text[NETWORK_PORT_TEXT])
{
    char address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &port->host_ip, address, sizeof address);
    snprintf(text, NETWORK_PORT_TEXT, "%s:%u:%u/%s", address, port->host_port, port->container_port,
             protocol_name(port->protocol));
    return text;
}

/* Digits only, 1 to 65535; an empty text is 0 when that is allowed. */
static bool parse_number(const char *text, size_t size, bool empty, uint16_t *out)
{
    unsigned value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' ||
            (value = value * 10 + (unsigned)(text[i] - '0')) > 65535)
            return false;
    }
    *out = (uint16_t)value;
    return value || empty;
}

int network_port_parse(const char *text, NetworkPort *out, SysError *error)
{
    NetworkPort port = {.protocol = IPPROTO_TCP};
    size_t size = strcspn(text, "/");
    if (text[size] == '/') {
        if (strcasecmp(text + size, "/udp") == 0)
            port.protocol = IPPROTO_UDP;
        else if (strcasecmp(text + size, "/tcp") != 0)
            return sys_fail(error, EINVAL, "invalid port '%s': the protocol must be tcp or udp",
                            text);
    }
    if (memchr(text, '[', size))
        return sys_fail(error, EOPNOTSUPP, "not supported yet: publishing on IPv6 addresses ('%s')",
                        text);
    if (memchr(text, '-', size))
        return sys_fail(error, EOPNOTSUPP, "not supported yet: ranges of ports ('%s')", text);

    /* from the right: container port, host port, address */
    const char *end = text + size;
    const char *colon = memrchr(text, ':', size);
    const char *container = colon ? colon + 1 : text;
    if (!parse_number(container, (size_t)(end - container), false, &port.container_port))
        return sys_fail(error, EINVAL, "invalid port '%s': '%.*s' is not a port number", text,
                        (int)(end - container), container);
    if (colon) {
        const char *before = memrchr(text, ':', (size_t)(colon - text));
        const char *host = before ? before + 1 : text;
        if (!parse_number(host, (size_t)(colon - host), true, &port.host_port))
            return sys_fail(error, EINVAL, "invalid port '%s': '%.*s' is not a port number", text,
                            (int)(colon - host), host);
        char address[INET_ADDRSTRLEN] = "0.0.0.0";
        if (before && (size_t)(before - text) < sizeof address) {
            memcpy(address, text, (size_t)(before - text));
            address[before - text] = '\0';
        }
        if ((before && (size_t)(before - text) >= sizeof address) ||
            inet_pton(AF_INET, address, &port.host_ip) != 1)
            return sys_fail(error, EINVAL, "invalid port '%s': '%.*s' is not an IPv4 address", text,
                            (int)(before - text), text);
    }
    *out = port;
    return 0;
}

/* A TCP port that is bound and does not listen refuses connections that no rule translates, and
 * keeps everybody else off. Plain bind() would also fail on connections in TIME_WAIT of whoever had
 * the port before; with SO_REUSEADDR these don't count but nor would another reservation. So: bind
 * with it, listen for an instant (which checks for real conflicts and makes the kernel's bucket
 * exclusive again), take both back. */
static int bind_exclusively(int fd, const NetworkPort *port)
{
    int yes = 1, no = 0;
    bool tcp = port->protocol == IPPROTO_TCP;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port->host_port), .sin_addr = port->host_ip};
    if (tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0)
        return -errno;
    /* what reaches a reserved UDP port untranslated is read by nobody: keep as little as possible */
    if (!tcp && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &no, sizeof no) < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    if (tcp && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &no, sizeof no) < 0 || listen(fd, 0) < 0 ||
                shutdown(fd, SHUT_RDWR) < 0))
        return -errno;
    return 0;
}

/* The fd or -errno. */
static int reserve(const NetworkPort *port)
{
    int type = port->protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
    _autofd int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int failed = bind_exclusively(fd, port);
    return failed ? failed : fd_steal(&fd);
}

int network_port_reserve(NetworkPort *port, SysError *error)
{
    bool choose = port->host_port == 0;
    NetworkPort wanted = *port;
    int fd = -EADDRINUSE;
    for (int n = choose ? CHOOSE_FIRST : port->host_port;
         fd == -EADDRINUSE && n <= (choose ? CHOOSE_LAST : port->host_port); n++) {
        wanted.host_port = (uint16_t)n;
        fd = reserve(&wanted);
    }
    char address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &port->host_ip, address, sizeof address);
    if (fd == -EADDRINUSE && choose)
        return sys_fail(error, EADDRINUSE, "cannot publish port %u/%s: no free port from %d to %d",
                        port->container_port, protocol_name(port->protocol), CHOOSE_FIRST,
                        CHOOSE_LAST);
    if (fd == -EADDRINUSE)
        return sys_fail(error, EADDRINUSE,
                        "cannot publish on %s:%u: port %u/%s is already allocated", address,
                        port->host_port, port->host_port, protocol_name(port->protocol));
    if (fd < 0) {
        errno = -fd;
        return sys_fail_errno(error, "cannot publish on %s:%u/%s", address, wanted.host_port,
                              protocol_name(port->protocol));
    }
    port->host_port = wanted.host_port;
    return fd;
}
