/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sources that apt is configured with: one-line files (*.list) and deb822 files (*.sources). */
#include "package/package.h"

#include "base/file.h"
#include "base/sort.h"

#include <string.h>

#define SOURCES_LIMIT (4u << 20)

typedef struct {
    const char *const *suites; /* the wanted ones; NULL: all */
    GPtrArray *sources;
    const char *file;
} Parser;

void package_source_free(PackageSource *source)
{
    if (!source)
        return;
    g_free(source->uri);
    g_free(source->suite);
    g_strfreev(source->components);
    g_free(source->signed_by);
    g_free(source->where);
    g_free(source);
}

static bool wanted(const Parser *parser, const char *suite)
{
    return !parser->suites || g_strv_contains(parser->suites, suite);
}

static bool add_source(Parser *parser, const char *uri, const char *suite, char **components,
                       const char *signed_by, unsigned line, GError **error)
{
    if (!wanted(parser, suite))
        return true;
    if (!g_str_has_prefix(uri, "http://") && !g_str_has_prefix(uri, "https://"))
        return error_throw(error, ERROR_UNSUPPORTED,
                           "%s:%u: not supported yet: package source '%s' (only http and https)",
                           parser->file, line, uri);
    if (g_str_has_suffix(suite, "/") || !components || !*components)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "%s:%u: not supported yet: package source without components",
                           parser->file, line);
    PackageSource *source = g_new0(PackageSource, 1);
    source->uri = g_str_has_suffix(uri, "/") ? g_strdup(uri) : g_strconcat(uri, "/", NULL);
    source->suite = g_strdup(suite);
    source->components = g_strdupv(components);
    source->signed_by = g_strdup(signed_by);
    source->where = g_strdup_printf("%s:%u", parser->file, line);
    g_ptr_array_add(parser->sources, source);
    return true;
}

/* g_strsplit_set without the empty words. */
static char **split_words(const char *text)
{
    g_auto(GStrv) words = g_strsplit_set(text ? text : "", " \t\n", -1);
    GPtrArray *kept = g_ptr_array_new();
    for (char **word = words; *word; word++)
        if (**word)
            g_ptr_array_add(kept, g_strdup(*word));
    g_ptr_array_add(kept, NULL);
    return (char **)g_ptr_array_free(kept, FALSE);
}

/* deb [option=value …] URI SUITE COMPONENT… */
static bool parse_list_line(Parser *parser, const char *text, unsigned number, GError **error)
{
    g_autofree char *line = g_strdup(text);
    char *hash = strchr(line, '#');
    if (hash)
        *hash = '\0';
    g_strstrip(line);
    if (!*line)
        return true;
    g_autofree char *signed_by = NULL;
    char *open = strchr(line, '['), *close = strchr(line, ']');
    if (open && close > open) {
        *close = '\0';
        g_auto(GStrv) options = split_words(open + 1);
        for (char **option = options; *option; option++)
            if (g_str_has_prefix(*option, "signed-by=")) {
                g_free(signed_by);
                signed_by = g_strdelimit(g_strdup(*option + strlen("signed-by=")), ",", ' ');
            }
        memset(open, ' ', (size_t)(close - open) + 1);
    }
    g_auto(GStrv) words = split_words(line);
    if (strcmp(words[0], "deb-src") == 0)
        return true;
    if (strcmp(words[0], "deb") != 0 || g_strv_length(words) < 3)
        return error_throw(error, ERROR_INVALID, "%s:%u: malformed package source '%s'",
                           parser->file, number, text);
    return add_source(parser, words[1], words[2], words + 3, signed_by, number, error);
}

static bool parse_list(Parser *parser, const char *text, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++)
        if (!parse_list_line(parser, lines[i], i + 1, error))
            return false;
    return true;
}

static bool parse_paragraph(Parser *parser, const char *start, size_t size, unsigned line,
                            GError **error)
{
    g_autofree char *enabled = control_field(start, size, "Enabled");
    g_autofree char *types = control_field(start, size, "Types");
    g_auto(GStrv) type_words = split_words(types);
    if (!g_strv_contains((const char *const *)type_words, "deb") ||
        (enabled && g_ascii_strcasecmp(enabled, "no") == 0))
        return true;
    g_autofree char *uris = control_field(start, size, "URIs");
    g_autofree char *suites = control_field(start, size, "Suites");
    g_autofree char *components = control_field(start, size, "Components");
    g_autofree char *signed_by = control_field(start, size, "Signed-By");
    if (!uris || !suites)
        return error_throw(error, ERROR_INVALID, "%s:%u: package source without URIs or Suites",
                           parser->file, line);
    g_auto(GStrv) uri_words = split_words(uris);
    g_auto(GStrv) suite_words = split_words(suites);
    g_auto(GStrv) component_words = split_words(components);
    for (char **uri = uri_words; *uri; uri++)
        for (char **suite = suite_words; *suite; suite++)
            if (!add_source(parser, *uri, *suite, component_words, signed_by, line, error))
                return false;
    return true;
}

/* Comment lines may stand inside a paragraph; they are blanked, so that lines keep their
 * numbers. */
static char *without_comments(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    GString *out = g_string_new(NULL);
    for (char **line = lines; *line; line++) {
        if (**line == '#')
            continue;
        g_string_append(out, g_strchomp(*line));
        g_string_append_c(out, '\n');
    }
    return g_string_free(out, FALSE);
}

static unsigned line_of(const char *text, const char *position)
{
    unsigned line = 1;
    for (; text < position; text++)
        line += *text == '\n';
    return line;
}

static bool parse_deb822(Parser *parser, const char *raw, GError **error)
{
    g_autofree char *text = without_comments(raw);
    const char *cursor = text, *start;
    size_t size;
    while (control_next(&cursor, &start, &size)) {
        /* the line of the first field in the file as it is */
        g_autofree char *first = g_strndup(start, strcspn(start, "\n"));
        const char *found = strstr(raw, first);
        if (!parse_paragraph(parser, start, size, line_of(raw, found ? found : raw), error))
            return false;
    }
    return true;
}

static bool load_file(Parser *parser, const char *path, GError **error)
{
    g_autofree char *text = file_read_at(AT_FDCWD, path, SOURCES_LIMIT, NULL, error);
    if (!text)
        return false;
    parser->file = path;
    return g_str_has_suffix(path, ".sources") ? parse_deb822(parser, text, error)
                                              : parse_list(parser, text, error);
}

/* sources.list, then the others in byte order, as apt reads them. */
static GPtrArray *list_files(const char *apt_dir)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *parts = g_build_filename(apt_dir, "sources.list.d", NULL);
    g_autoptr(GDir) dir = g_dir_open(parts, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_suffix(name, ".list") || g_str_has_suffix(name, ".sources"))
            g_ptr_array_add(paths, g_build_filename(parts, name, NULL));
    sort_texts(paths);
    g_autofree char *main_list = g_build_filename(apt_dir, "sources.list", NULL);
    if (g_file_test(main_list, G_FILE_TEST_EXISTS))
        g_ptr_array_insert(paths, 0, g_steal_pointer(&main_list));
    return paths;
}

static bool have_suite(GPtrArray *sources, const char *suite)
{
    for (unsigned i = 0; i < sources->len; i++)
        if (strcmp(((PackageSource *)sources->pdata[i])->suite, suite) == 0)
            return true;
    return false;
}

GPtrArray *package_sources_load(const char *apt_dir, const char *const *suites, GError **error)
{
    if (!g_file_test(apt_dir, G_FILE_TEST_IS_DIR))
        return error_throw_null(error, ERROR_UNSUPPORTED,
                                "not supported yet: package repositories other than apt's (there "
                                "is no '%s')",
                                apt_dir);
    g_autoptr(GPtrArray) sources =
        g_ptr_array_new_with_free_func((GDestroyNotify)package_source_free);
    g_autoptr(GPtrArray) files = list_files(apt_dir);
    Parser parser = {.suites = suites, .sources = sources};
    for (unsigned i = 0; i < files->len; i++)
        if (!load_file(&parser, files->pdata[i], error))
            return NULL;
    if (sources->len == 0 && !suites)
        return error_throw_null(error, ERROR_NOT_FOUND, "'%s' names no package source", apt_dir);
    for (const char *const *suite = suites; suite && *suite; suite++)
        if (!have_suite(sources, *suite))
            return error_throw_null(error, ERROR_NOT_FOUND,
                                    "no package source in '%s' has the suite '%s'", apt_dir,
                                    *suite);
    return g_steal_pointer(&sources);
}
