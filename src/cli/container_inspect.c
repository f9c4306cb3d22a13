/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect, port */
#include "cli/container_verbs.h"
#include "cli/template.h"

#include "base/spawn.h"
#include "cli/document.h"
#include "engine/engine.h"
#include "oci/oci.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Docker's array, or with --json a document that says what it is. */
static bool print_documents(json_t *documents, const char *format, bool json, GError **error)
{
    if (json)
        return cli_print_document("atomic.inspect/1", json_pack("{s:O}", "objects", documents),
                                  error);
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

/* What the build program knows of an image: it has the libraries to tell what the image shares. */
static json_t *inspect_image(Engine *engine, const char *name, GError **error)
{
    Store *store = engine_store(engine, error);
    g_autoptr(OciImage) image = store ? oci_image_open(store, name, error) : NULL;
    g_autofree char *path = image ? spawn_helper_path("atomic-build", error) : NULL;
    if (!path)
        return NULL;
    const char *const words[] = {path, "image", "inspect", "--store", store_path(store),
                                 name, NULL};
    json_t *documents = read_documents(words, error);
    if (!documents)
        return NULL;
    json_t *first = json_incref(json_array_get(documents, 0));
    json_decref(documents);
    return first;
}

/* A container, or else an image, unless `type` says which. */
static json_t *inspect_name(Engine *engine, const char *name, const char *type, GError **error)
{
    g_autoptr(GError) failed = NULL;
    if (g_strcmp0(type, "image") != 0) {
        g_autoptr(EngineContainer) container = engine_find(engine, name, &failed);
        if (container)
            return engine_inspect(engine, container);
        if (type || !error_is(failed, ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return NULL;
        }
        g_clear_error(&failed);
    }
    json_t *document = inspect_image(engine, name, &failed);
    if (!document && !type && error_is(failed, ERROR_NOT_FOUND))
        error_throw(error, ERROR_NOT_FOUND,
                    "no such container or image: %s\n"
                    "hint: 'atomic ps -a' and 'atomic images' list what is here",
                    name);
    else if (!document)
        g_propagate_error(error, g_steal_pointer(&failed));
    return document;
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
    if (type && strcmp(type, "image") != 0 && strcmp(type, "container") != 0)
        return error_throw(error, ERROR_USAGE, "'%s' is not a type: container or image", type), 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    g_autoptr(GPtrArray) failures = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
    json_t *documents = json_array();
    for (int i = 1; i < argc; i++) {
        GError *failed = NULL;
        json_t *document = inspect_name(engine, argv[i], type, &failed);
        if (document)
            json_array_append_new(documents, document);
        else
            g_ptr_array_add(failures, failed);
    }
    /* like Docker: what was found is printed, and what was not makes the exit status */
    bool good = print_documents(documents, format, common.json, error);
    json_decref(documents);
    fflush(stdout);
    for (unsigned i = 0; i < failures->len; i++)
        cli_print_error(failures->pdata[i]);
    return good && failures->len == 0 ? 0 : 1;
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
