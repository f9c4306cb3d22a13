/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/template.h"

#include <stdlib.h>
#include <string.h>

/* ".A.B" below the document, "." the document itself; NULL when it isn't there. */
static json_t *look_up(json_t *document, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path + 1, ".", -1);
    json_t *value = document;
    for (char **name = names; value && *name && **name; name++)
        value = json_object_get(value, *name);
    return value;
}

static void append_json(GString *out, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    g_string_append(out, text ? text : "null");
    free(text);
}

static void append_value(GString *out, json_t *value)
{
    if (!value)
        g_string_append(out, "<no value>");
    else if (json_is_string(value))
        g_string_append(out, json_string_value(value));
    else
        append_json(out, value);
}

static bool append_action(GString *out, const char *action, json_t *document, GError **error)
{
    if (*action == '.' && !strpbrk(action, " |()")) {
        append_value(out, look_up(document, action));
        return true;
    }
    if (g_str_has_prefix(action, "json ")) {
        const char *path = action + strlen("json ");
        while (*path == ' ')
            path++;
        if (*path == '.' && !strpbrk(path, " |()")) {
            append_json(out, look_up(document, path));
            return true;
        }
    }
    return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: template action '{{%s}}'",
                       action);
}

char *template_format(const char *format, json_t *document, GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);
    for (const char *p = format; *p;) {
        if (p[0] == '\\' && (p[1] == 't' || p[1] == 'n')) {
            g_string_append_c(out, p[1] == 't' ? '\t' : '\n');
            p += 2;
        } else if (p[0] == '{' && p[1] == '{') {
            const char *end = strstr(p, "}}");
            if (!end)
                return error_throw_null(error, ERROR_INVALID, "template '%s' lacks a '}}'", format);
            g_autofree char *action = g_strstrip(g_strndup(p + 2, (gsize)(end - p) - 2));
            if (!append_action(out, action, document, error))
                return NULL;
            p = end + 2;
        } else {
            g_string_append_c(out, *p++);
        }
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}
