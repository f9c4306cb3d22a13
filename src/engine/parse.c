/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/parse.h"

#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

void engine_port_free(EnginePort *port)
{
    if (!port)
        return;
    g_free(port->host_ip);
    g_free(port);
}

void engine_bind_free(EngineBind *bind)
{
    if (!bind)
        return;
    g_free(bind->source);
    g_free(bind->target);
    g_free(bind);
}

GPtrArray *engine_ports_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)engine_port_free);
}

GPtrArray *engine_binds_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)engine_bind_free);
}

/* --- ports ----------------------------------------------------------------------------------- */

typedef struct {
    unsigned first, last;
} PortRange;

/* "80" or "80-82"; the text is `size` bytes of a longer word. */
static bool parse_range(const char *text, size_t size, PortRange *out)
{
    g_autofree char *word = g_strndup(text, size);
    uint64_t first, last;
    char *dash = strchr(word, '-');
    if (dash)
        *dash = '\0';
    if (!g_ascii_string_to_unsigned(word, 10, 1, 65535, &first, NULL))
        return false;
    last = first;
    if (dash && !g_ascii_string_to_unsigned(dash + 1, 10, first, 65535, &last, NULL))
        return false;
    *out = (PortRange){(unsigned)first, (unsigned)last};
    return true;
}

/* Takes "/proto" off the end. */
static bool parse_protocol(const char *text, size_t *size, bool *out_udp, GError **error)
{
    const char *slash = strchr(text, '/');
    *size = slash ? (size_t)(slash - text) : strlen(text);
    const char *protocol = slash ? slash + 1 : "tcp";
    if (g_ascii_strcasecmp(protocol, "sctp") == 0)
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: SCTP port '%s'", text);
    *out_udp = g_ascii_strcasecmp(protocol, "udp") == 0;
    if (!*out_udp && g_ascii_strcasecmp(protocol, "tcp") != 0)
        return error_throw(error, ERROR_INVALID, "invalid port '%s': protocol '%s' is unknown",
                           text, protocol);
    return true;
}

static bool add_ports(GPtrArray *ports, const char *ip, PortRange host, PortRange inside, bool udp,
                      const char *text, GError **error)
{
    unsigned n = inside.last - inside.first;
    if (host.first && host.last - host.first != n)
        return error_throw(error, ERROR_INVALID, "invalid port '%s': the ranges differ in length",
                           text);
    for (unsigned i = 0; i <= n; i++) {
        EnginePort *port = g_new0(EnginePort, 1);
        port->host_ip = g_strdup(ip);
        port->host_port = (uint16_t)(host.first ? host.first + i : 0);
        port->container_port = (uint16_t)(inside.first + i);
        port->udp = udp;
        g_ptr_array_add(ports, port);
    }
    return true;
}

bool engine_parse_publish(const char *text, GPtrArray *ports, GError **error)
{
    size_t size;
    bool udp;
    if (!parse_protocol(text, &size, &udp, error))
        return false;
    g_autofree char *words = g_strndup(text, size);
    g_auto(GStrv) parts = g_strsplit(words, ":", -1);
    guint n = g_strv_length(parts);
    if (*words == '[')
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: IPv6 address in port '%s'",
                           text);
    if (n < 1 || n > 3)
        return error_throw(error, ERROR_INVALID,
                           "invalid port '%s'\nhint: [ip:][host-port:]container-port[/protocol]",
                           text);
    const char *ip = n == 3 ? parts[0] : "";
    const char *host_text = n >= 2 ? parts[n - 2] : "";
    struct in_addr address;
    if (*ip && inet_pton(AF_INET, ip, &address) != 1)
        return error_throw(error, ERROR_INVALID, "invalid port '%s': '%s' is not an address", text,
                           ip);
    if (strcmp(ip, "0.0.0.0") == 0)
        ip = "";
    PortRange host = {0, 0}, inside;
    if (!parse_range(parts[n - 1], strlen(parts[n - 1]), &inside) ||
        (*host_text && !parse_range(host_text, strlen(host_text), &host)))
        return error_throw(error, ERROR_INVALID,
                           "invalid port '%s': a port is a number from 1 to 65535", text);
    return add_ports(ports, ip, host, inside, udp, text, error);
}

bool engine_parse_expose(const char *text, GPtrArray *ports, GError **error)
{
    size_t size;
    bool udp;
    if (!parse_protocol(text, &size, &udp, error))
        return false;
    PortRange inside;
    if (!parse_range(text, size, &inside))
        return error_throw(error, ERROR_INVALID,
                           "invalid port '%s': a port is a number from 1 to 65535", text);
    return add_ports(ports, "", (PortRange){0, 0}, inside, udp, text, error);
}

char *engine_format_port(const EnginePort *port)
{
    return g_strdup_printf("%u/%s", port->container_port, port->udp ? "udp" : "tcp");
}

/* --- binds ----------------------------------------------------------------------------------- */

static bool parse_bind_options(EngineBind *bind, const char *options, const char *text,
                               GError **error)
{
    g_auto(GStrv) words = g_strsplit(options, ",", -1);
    for (char **word = words; *word; word++) {
        if (strcmp(*word, "ro") == 0)
            bind->read_only = true;
        else if (strcmp(*word, "idmap") == 0)
            bind->identity = true;
        else if (strcmp(*word, "rw") != 0)
            return error_throw(error, ERROR_INVALID, "invalid volume '%s': mode '%s' is unknown",
                               text, *word);
    }
    return true;
}

bool engine_parse_volume(const char *text, GPtrArray *binds, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", -1);
    guint n = g_strv_length(parts);
    if (n == 1 && *parts[0] == '/')
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: anonymous volume '%s'",
                           text);
    if (n < 2 || n > 3 || !*parts[0])
        return error_throw(error, ERROR_INVALID, "invalid volume '%s'\nhint: /source:/target[:ro]",
                           text);
    if (*parts[0] != '/' && *parts[0] != '.')
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: named volume '%s'",
                           parts[0]);
    if (*parts[1] != '/')
        return error_throw(error, ERROR_INVALID,
                           "invalid volume '%s': '%s' is not an absolute path", text, parts[1]);
    g_autoptr(EngineBind) bind = g_new0(EngineBind, 1);
    bind->source = g_canonicalize_filename(parts[0], NULL);
    bind->target = g_canonicalize_filename(parts[1], "/");
    if (strcmp(bind->target, "/") == 0)
        return error_throw(error, ERROR_INVALID, "invalid volume '%s': the target can't be '/'",
                           text);
    if (n == 3 && !parse_bind_options(bind, parts[2], text, error))
        return false;
    g_ptr_array_add(binds, g_steal_pointer(&bind));
    return true;
}

/* --- sizes, networks, capabilities ------------------------------------------------------------- */

bool engine_parse_memory(const char *text, int64_t *out_bytes, GError **error)
{
    enum { LEAST = 6 * 1024 * 1024 }; /* Docker's: below, the start itself runs out of memory */
    static const char units[] = "kmgt";
    char *end;
    errno = 0;
    double number = g_ascii_strtod(text, &end);
    double factor = 1;
    bool empty = end == text;
    const char *unit = *end ? strchr(units, g_ascii_tolower(*end)) : NULL;
    if (unit) {
        for (long i = 0; i <= unit - units; i++)
            factor *= 1024;
        end++;
    }
    if (g_ascii_tolower(*end) == 'b')
        end++;
    /* the comparison is false for NaN */
    if (empty || *end || errno || !(number >= 0 && number * factor < 9e18))
        return error_throw(error, ERROR_INVALID, "invalid size '%s'\nhint: for example 64m or 1g",
                           text);
    int64_t bytes = (int64_t)(number * factor);
    if (bytes && bytes < LEAST)
        return error_throw(error, ERROR_INVALID,
                           "invalid memory limit '%s': the minimum allowed is 6MB", text);
    *out_bytes = bytes;
    return true;
}

static const char *const networks[] = {
    [ENGINE_NETWORK_BRIDGE] = "bridge",
    [ENGINE_NETWORK_NONE] = "none",
    [ENGINE_NETWORK_HOST] = "host",
};

const char *engine_network_name(EngineNetwork network)
{
    return networks[network];
}

bool engine_parse_network(const char *text, EngineNetwork *out_network, GError **error)
{
    if (!text || strcmp(text, "default") == 0)
        text = "bridge";
    for (size_t i = 0; i < ARRAY_SIZE(networks); i++)
        if (strcmp(text, networks[i]) == 0) {
            *out_network = (EngineNetwork)i;
            return true;
        }
    return error_throw(error, ERROR_UNSUPPORTED,
                       "not supported yet: network '%s'\nhint: bridge, none or host", text);
}

/* in the kernel's order: the index is the capability's number */
static const char *const capabilities[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

char *engine_parse_capability(const char *text, GError **error)
{
    g_autofree char *upper = g_ascii_strup(text, -1);
    if (strcmp(upper, "ALL") == 0)
        return g_steal_pointer(&upper);
    const char *bare = g_str_has_prefix(upper, "CAP_") ? upper + 4 : upper;
    for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
        if (strcmp(bare, capabilities[i]) == 0)
            return g_strconcat("CAP_", bare, NULL);
    return error_throw_null(error, ERROR_INVALID, "unknown capability '%s'", text);
}

/* --- environment ------------------------------------------------------------------------------ */

bool engine_env_set(GPtrArray *env, const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    if (!*text || equals == text)
        return error_throw(error, ERROR_INVALID, "invalid environment variable: '%s'", text);
    size_t key = equals ? (size_t)(equals - text) : strlen(text);
    const char *ours = equals ? NULL : g_getenv(text);
    char *entry = equals ? g_strdup(text) : ours ? g_strconcat(text, "=", ours, NULL) : NULL;
    for (guint i = 0; i < env->len; i++) {
        char *old = env->pdata[i];
        if (strncmp(old, text, key) != 0 || old[key] != '=')
            continue;
        if (entry) {
            env->pdata[i] = entry;
            g_free(old);
        } else {
            g_ptr_array_remove_index(env, i);
        }
        return true;
    }
    if (entry)
        g_ptr_array_add(env, entry);
    return true;
}

bool engine_env_load(GPtrArray *env, const char *path, GError **error)
{
    enum { LIMIT = 1 << 20 };
    g_autofree char *text = file_read_at(AT_FDCWD, path, LIMIT, NULL, error);
    if (!text)
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_strchug(*line);
        if (**line && **line != '#' && !engine_env_set(env, *line, error))
            return error_prefix(error, "'%s'", path);
    }
    return true;
}
