/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/container_row.h"

#include "cli/human.h"

#include <string.h>

void container_row_clear(ContainerRow *row)
{
    char *all[] = {row->id,     row->image, row->command, row->created,
                   row->status, row->ports, row->name};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        g_free(all[i]);
    memset(row, 0, sizeof *row);
}

static char *ago(int64_t then, int64_t now)
{
    g_autofree char *span = human_duration((now - then) / G_USEC_PER_SEC);
    return g_strconcat(span, " ago", NULL);
}

char *container_row_status(const EngineState *state, int64_t now)
{
    if (state->status == ENGINE_CREATED)
        return g_strdup("Created");
    if (state->status == ENGINE_RUNNING) {
        g_autofree char *span = human_duration((now - state->started) / G_USEC_PER_SEC);
        return g_strconcat("Up ", span, NULL);
    }
    if (!state->exit_known)
        return g_strdup("Exited (unknown)");
    g_autofree char *when = ago(state->finished, now);
    return g_strdup_printf("Exited (%d) %s", state->exit_code, when);
}

static bool is_bound(const GPtrArray *ports, const char *exposed)
{
    for (guint i = 0; i < ports->len; i++) {
        const EnginePort *port = ports->pdata[i];
        g_autofree char *text =
            g_strdup_printf("%u/%s", port->container_port, port->udp ? "udp" : "tcp");
        if (strcmp(text, exposed) == 0)
            return true;
    }
    return false;
}

char *container_row_ports(const EngineContainer *container)
{
    const EngineState *state = &container->state;
    GString *text = g_string_new(NULL);
    if (state->status != ENGINE_RUNNING)
        return g_string_free(text, FALSE);
    for (guint i = 0; i < state->ports->len; i++) {
        const EnginePort *port = state->ports->pdata[i];
        g_string_append_printf(text, "%s%s:%u->%u/%s", text->len ? ", " : "",
                               *port->host_ip ? port->host_ip : "0.0.0.0", port->host_port,
                               port->container_port, port->udp ? "udp" : "tcp");
    }
    for (char **exposed = container->config.exposed; *exposed; exposed++)
        if (!is_bound(state->ports, *exposed))
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", *exposed);
    return g_string_free(text, FALSE);
}

/* As Go's strconv.Quote, for what is met in command lines. */
static char *quote(const char *text)
{
    GString *out = g_string_new("\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            g_string_append_c(out, '\\');
        if (*p == '\n')
            g_string_append(out, "\\n");
        else if (*p == '\t')
            g_string_append(out, "\\t");
        else if ((unsigned char)*p < ' ')
            g_string_append_printf(out, "\\x%02x", (unsigned char)*p);
        else
            g_string_append_c(out, *p);
    }
    g_string_append_c(out, '"');
    return g_string_free(out, FALSE);
}

char *container_row_command(const EngineConfig *config, bool whole)
{
    enum { SHOWN = 20 };
    g_autofree char *first = g_strjoinv(" ", config->entrypoint);
    g_autofree char *rest = g_strjoinv(" ", config->cmd);
    g_autofree char *all = g_strconcat(first, *first && *rest ? " " : "", rest, NULL);
    if (!whole && g_utf8_strlen(all, -1) > SHOWN) {
        g_autofree char *head = g_utf8_substring(all, 0, SHOWN - 1);
        g_autofree char *cut = g_strconcat(head, "…", NULL);
        return quote(cut);
    }
    return quote(all);
}

void container_row_fill(ContainerRow *row, const EngineContainer *container, int64_t now,
                        bool whole)
{
    const EngineConfig *config = &container->config;
    row->id = whole ? g_strdup(config->id) : g_strndup(config->id, 12);
    row->image = g_strdup(config->image);
    row->command = container_row_command(config, whole);
    row->created = ago(config->created, now);
    row->status = container_row_status(&container->state, now);
    row->ports = container_row_ports(container);
    row->name = g_strdup(config->name);
}
