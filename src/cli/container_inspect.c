/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect, port */
#include "cli/container_verbs.h"
#include "cli/template.h"

#include "base/spawn.h"
#include "engine/engine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool print_documents(json_t *documents, const char *format, GError **error)
{
    if (!format) {
        json_dumpf(documents, stdout, JSON_INDENT(4));
        printf("\n");
        return true;
    }
    for (size_t i = 0; i < json_array_size(documents); i++) {
        g_autofree char *text = template_format(format, json_array_get(documents, i), error);
        if (!text)
            return false;
        printf("%s\n", text);
    }
    return true;
}

/* What a program printed: an array of documents. */
static json_t *read_documents(const char *const *argv, GError **error)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_throw_errno_null(error, "cannot create a pipe");
    SpawnOptions options = {.stdin_fd = -1, .stdout_fd = ends[1], .stderr_fd = -1};
    bool started = spawn_start(argv, &options, &pid, error);
    close(ends[1]);
    _autofd int from = ends[0];
    if (!started)
        return NULL;
    json_t *documents = json_loadfd(from, 0, NULL);
    int status = spawn_wait(pid, error);
    if (status == 0 && documents)
        return documents;
    json_decref(documents);
    if (status >= 0)
        error_throw(error, ERROR_FAILED, "cannot inspect the image");
    return NULL;
}

/* Names that are no containers may be images: those the build program knows. */
static int inspect_images(char *const *names, const char *format, const CliCommon *common,
                          GError **error)
{
    g_autofree char *path = spawn_helper_path("atomic-build", error);
    if (!path)
        return 1;
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_ptr_array_add(words, path);
    g_ptr_array_add(words, "image");
    g_ptr_array_add(words, "inspect");
    if (common->store) {
        g_ptr_array_add(words, "--store");
        g_ptr_array_add(words, common->store);
    }
    for (; *names; names++)
        g_ptr_array_add(words, *names);
    g_ptr_array_add(words, NULL);
    if (format) {
        json_t *documents = read_documents((const char *const *)words->pdata, error);
        bool good = documents && print_documents(documents, format, error);
        json_decref(documents);
        return good ? 0 : 1;
    }
    fflush(stdout);
    execv(path, (char **)words->pdata);
    error_throw_errno(error, "cannot run '%s'", path);
    return 1;
}

int cli_container_inspect(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    g_autofree char *format = NULL, *type = NULL;
    const GOptionEntry entries[] = {
        {"format", 'f', 0, G_OPTION_ARG_FILENAME, &format, "A template", "FORMAT"},
        {"type", 0, 0, G_OPTION_ARG_FILENAME, &type, "container or image", "TYPE"},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return 1;
    if (g_strcmp0(type, "image") == 0)
        return inspect_images(argv + 1, format, &common, error);
    g_autoptr(Engine) engine = engine_new(common.store);
    json_t *documents = json_array();
    bool good = true;
    for (int i = 1; good && i < argc; i++) {
        g_autoptr(GError) failed = NULL;
        g_autoptr(EngineContainer) container = engine_find(engine, argv[i], &failed);
        if (container) {
            json_array_append_new(documents, engine_inspect(engine, container));
        } else if (error_is(failed, ERROR_NOT_FOUND) && !type && i == 1) {
            json_decref(documents);
            return inspect_images(argv + 1, format, &common, error);
        } else {
            g_propagate_error(error, g_steal_pointer(&failed));
            good = false;
        }
    }
    good = good && print_documents(documents, format, error);
    json_decref(documents);
    return good ? 0 : 1;
}

/* "80", "80/tcp" -> port and protocol */
static bool parse_private(const char *text, unsigned *out_port, bool *out_udp, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    guint64 number;
    const char *protocol = parts[1] ? parts[1] : "tcp";
    *out_udp = strcmp(protocol, "udp") == 0;
    if (!g_ascii_string_to_unsigned(parts[0], 10, 1, 65535, &number, NULL) ||
        (!*out_udp && strcmp(protocol, "tcp") != 0))
        return error_throw(error, ERROR_INVALID, "invalid port '%s'", text);
    *out_port = (unsigned)number;
    return true;
}

static const char *ip_of(const EnginePort *port)
{
    return *port->host_ip ? port->host_ip : "0.0.0.0";
}

static int print_one(const EngineContainer *container, const char *wanted, const char *name,
                     GError **error)
{
    unsigned number = 0;
    bool udp = false, found = false;
    if (!parse_private(wanted, &number, &udp, error))
        return 1;
    const GPtrArray *ports = container->state.ports;
    bool running = container->state.status == ENGINE_RUNNING;
    for (guint i = 0; running && i < ports->len; i++) {
        const EnginePort *port = ports->pdata[i];
        if (port->container_port != number || port->udp != udp)
            continue;
        printf("%s:%u\n", ip_of(port), port->host_port);
        found = true;
    }
    if (!found)
        error_throw(error, ERROR_NOT_FOUND, "no public port '%u/%s' published for %s", number,
                    udp ? "udp" : "tcp", name);
    return found ? 0 : 1;
}

int cli_container_port(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 1, 2, false, error))
        return 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    g_autoptr(EngineContainer) container = engine_find(engine, argv[1], error);
    if (!container)
        return 1;
    if (argc > 2)
        return print_one(container, argv[2], argv[1], error);
    const GPtrArray *ports = container->state.ports;
    bool running = container->state.status == ENGINE_RUNNING;
    for (guint i = 0; running && i < ports->len; i++) {
        const EnginePort *port = ports->pdata[i];
        printf("%u/%s -> %s:%u\n", port->container_port, port->udp ? "udp" : "tcp", ip_of(port),
               port->host_port);
    }
    return 0;
}
