/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/entry.h"

#include "host/deployment.h"

#include <string.h>

#define KARG "atomic="

void entry_clear(HostEntry *entry)
{
    g_free(entry->version);
    g_free(entry->options);
    g_free(entry->id);
    g_free(entry->title);
    g_free(entry->bootcsum);
}

char *entry_strip_options(const char *options, char **out_id)
{
    g_auto(GStrv) words = g_strsplit_set(options, " \t", -1);
    GString *kept = g_string_new(NULL);
    for (char **word = words; *word; word++) {
        if (g_str_has_prefix(*word, KARG)) {
            const char *id = *word + strlen(KARG);
            if (out_id && !*out_id && deployment_parse_id(id, NULL, NULL))
                *out_id = g_strdup(id);
        } else if (**word) {
            g_string_append_printf(kept, "%s%s", kept->len ? " " : "", *word);
        }
    }
    return g_string_free(kept, FALSE);
}

/* The value behind a key and blanks, or NULL. */
static const char *value_of(const char *line, const char *key)
{
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0 || !g_ascii_isspace(line[length]))
        return NULL;
    line += length;
    while (g_ascii_isspace(*line))
        line++;
    return line;
}

/* "…/atomic/BOOTCSUM/vmlinuz" */
static char *parse_bootcsum(const char *linux_path)
{
    Digest digest;
    g_autofree char *dir = g_path_get_dirname(linux_path);
    g_autofree char *name = g_path_get_basename(dir);
    return digest_parse(name, &digest) ? g_steal_pointer(&name) : NULL;
}

static void parse_line(const char *line, HostEntry *entry, GString *options)
{
    const char *value;
    if ((value = value_of(line, "options"))) /* may be given several times: they add up */
        g_string_append_printf(options, "%s ", value);
    else if ((value = value_of(line, "version")) && !entry->version)
        entry->version = g_strdup(value);
    else if ((value = value_of(line, "title")) && !entry->title)
        entry->title = g_strdup(value);
    else if ((value = value_of(line, "linux")) && !entry->bootcsum)
        entry->bootcsum = parse_bootcsum(value);
    else if (value_of(line, "initrd"))
        entry->has_initrd = true;
}

void entry_parse(const char *text, HostEntry *out_entry)
{
    *out_entry = (HostEntry){0};
    GString *options = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        parse_line(g_strstrip(*line), out_entry, options);
    out_entry->options = entry_strip_options(options->str, &out_entry->id);
    g_string_free(options, TRUE);
    if (!out_entry->version)
        out_entry->version = g_strdup("");
}

char *entry_file_name(size_t index, size_t count)
{
    return g_strdup_printf("atomic-%zu.conf", count - index);
}

char *entry_format(const HostDeployment *d, size_t index, size_t count, const char *prefix)
{
    GString *text = g_string_new(NULL);
    const char *title = d->title ? d->title : *d->os ? d->os : "unknown";
    g_string_append_printf(text, "title %s", title);
    if (d->version && !strstr(title, d->version))
        g_string_append_printf(text, " %s", d->version);
    g_string_append_printf(text, " (atomic:%zu)\n", index);
    g_string_append_printf(text, "version %zu\n", count - index);
    g_string_append_printf(text, "linux %s/atomic/%s/vmlinuz\n", prefix, d->bootcsum);
    if (d->has_initrd)
        g_string_append_printf(text, "initrd %s/atomic/%s/initrd\n", prefix, d->bootcsum);
    g_string_append_printf(text, "options %s%s" KARG "%s\n", d->options, *d->options ? " " : "",
                           d->id);
    return g_string_free(text, FALSE);
}
