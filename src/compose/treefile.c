/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Treefiles: YAML (which JSON is a part of) by libyaml; one table of keys. */
#include "compose/compose.h"

#include "base/file.h"

#include <stddef.h>
#include <string.h>
#include <yaml.h>

#define TREEFILE_LIMIT (4u << 20)

typedef enum {
    KEY_STRING,
    KEY_LIST, /* of strings; one string stands for a list of one */
    KEY_BOOL,
    KEY_INCLUDE,
} KeyType;

static const struct Key {
    const char *name;
    KeyType type;
    bool words; /* elements may hold several, as rpm-ostree's packages */
    size_t offset;
} keys[] = {
    {"ref", KEY_STRING, false, offsetof(Treefile, ref)},
    {"repos", KEY_LIST, false, offsetof(Treefile, repos)},
    {"suites", KEY_LIST, false, offsetof(Treefile, suites)},
    {"packages", KEY_LIST, true, offsetof(Treefile, packages)},
    {"exclude-packages", KEY_LIST, true, offsetof(Treefile, exclude_packages)},
    {"recommends", KEY_BOOL, false, offsetof(Treefile, recommends)},
    {"documentation", KEY_BOOL, false, offsetof(Treefile, documentation)},
    {"version", KEY_STRING, false, offsetof(Treefile, version)},
    {"automatic-version-prefix", KEY_STRING, false, offsetof(Treefile, version_prefix)},
    {"remove-files", KEY_LIST, false, offsetof(Treefile, remove_files)},
    {"postprocess", KEY_LIST, false, offsetof(Treefile, postprocess)},
    {"include", KEY_INCLUDE, false, 0},
};

/* What reading one treefile with its includes shares. */
typedef struct {
    Treefile *treefile;
    GHashTable *seen; /* canonical paths */
    const char *path; /* of the file at hand */
    yaml_document_t *document;
} Reader;

void treefile_free(Treefile *treefile)
{
    if (!treefile)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        void *field = (char *)treefile + keys[i].offset;
        if (keys[i].type == KEY_STRING)
            g_free(*(char **)field);
        else if (keys[i].type == KEY_LIST)
            g_strfreev(*(char ***)field);
    }
    g_free(treefile->path);
    g_string_free(treefile->content, TRUE);
    g_free(treefile);
}

static bool throw_at(const Reader *reader, const yaml_node_t *node, GError **error,
                     const char *format, ...) _printf(4, 5);

static bool throw_at(const Reader *reader, const yaml_node_t *node, GError **error,
                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    return error_throw(error, ERROR_INVALID, "%s:%zu: %s", reader->path, node->start_mark.line + 1,
                       text);
}

static const char *scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static bool read_bool(const Reader *reader, const yaml_node_t *node, const char *key, bool *out,
                      GError **error)
{
    const char *text = scalar(node);
    if (text && strcmp(text, "true") == 0)
        *out = true;
    else if (text && strcmp(text, "false") == 0)
        *out = false;
    else
        return throw_at(reader, node, error, "'%s' must be true or false", key);
    return true;
}

static bool add_element(const Reader *reader, const struct Key *key, const yaml_node_t *node,
                        GPtrArray *list, GError **error)
{
    const char *text = scalar(node);
    if (!text)
        return throw_at(reader, node, error, "'%s' must be a list of strings", key->name);
    if (!key->words) {
        g_ptr_array_add(list, g_strdup(text));
        return true;
    }
    g_auto(GStrv) words = g_strsplit_set(text, " \t\n", -1);
    for (char **word = words; *word; word++)
        if (**word)
            g_ptr_array_add(list, g_strdup(*word));
    return true;
}

/* Appends to what the list has already. */
static bool read_list(const Reader *reader, const struct Key *key, const yaml_node_t *node,
                      char ***list, GError **error)
{
    g_autoptr(GPtrArray) elements = g_ptr_array_new_with_free_func(g_free);
    for (char **old = *list; old && *old; old++)
        g_ptr_array_add(elements, g_strdup(*old));
    if (node->type != YAML_SEQUENCE_NODE) {
        if (!add_element(reader, key, node, elements, error))
            return false;
    } else {
        for (yaml_node_item_t *item = node->data.sequence.items.start;
             item < node->data.sequence.items.top; item++)
            if (!add_element(reader, key, yaml_document_get_node(reader->document, *item), elements,
                             error))
                return false;
    }
    g_strfreev(*list);
    g_ptr_array_add(elements, NULL);
    g_ptr_array_set_free_func(elements, NULL);
    *list = (char **)g_ptr_array_free(g_steal_pointer(&elements), FALSE);
    return true;
}

static bool read_value(Reader *reader, const struct Key *key, const yaml_node_t *node,
                       GError **error)
{
    void *field = (char *)reader->treefile + key->offset;
    switch (key->type) {
    case KEY_BOOL:
        return read_bool(reader, node, key->name, field, error);
    case KEY_LIST:
        return read_list(reader, key, node, field, error);
    case KEY_STRING:
        if (!scalar(node) || !*scalar(node))
            return throw_at(reader, node, error, "'%s' must be a string", key->name);
        g_free(*(char **)field);
        *(char **)field = g_strdup(scalar(node));
        return true;
    case KEY_INCLUDE:
        return true; /* done before */
    }
    return true;
}

static bool read_file(Reader *parent, const char *path, GError **error);

static bool read_include(Reader *reader, const yaml_node_t *node, GError **error)
{
    static const struct Key key = {.name = "include"};
    g_auto(GStrv) names = NULL;
    if (!read_list(reader, &key, node, &names, error))
        return false;
    g_autofree char *dir = g_path_get_dirname(reader->path);
    for (char **name = names; *name; name++) {
        g_autofree char *path = g_canonicalize_filename(*name, dir);
        if (g_hash_table_contains(reader->seen, path))
            return throw_at(reader, node, error, "'%s' is included twice", *name);
        if (!read_file(reader, path, error))
            return error_prefix(error, "%s:%zu", reader->path, node->start_mark.line + 1);
    }
    return true;
}

static bool read_mapping(Reader *reader, const yaml_node_t *root, bool includes, GError **error)
{
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
        const struct Key *key = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
            if (scalar(name) && strcmp(scalar(name), keys[i].name) == 0)
                key = &keys[i];
        if (!key)
            return throw_at(reader, name, error, "unknown key '%s'",
                            scalar(name) ? scalar(name) : "(not a string)");
        if (includes && key->type == KEY_INCLUDE && !read_include(reader, value, error))
            return false;
        if (!includes && !read_value(reader, key, value, error))
            return false;
    }
    return true;
}

static bool read_document(Reader *reader, GError **error)
{
    const yaml_node_t *root = yaml_document_get_root_node(reader->document);
    if (!root || root->type != YAML_MAPPING_NODE)
        return error_throw(error, ERROR_INVALID,
                           "'%s' is no treefile: it must be a mapping of keys", reader->path);
    /* what is included comes first: its lists are continued, its scalars overruled */
    return read_mapping(reader, root, true, error) && read_mapping(reader, root, false, error);
}

static bool read_file(Reader *parent, const char *path, GError **error)
{
    size_t size;
    g_autofree char *text = file_read_at(AT_FDCWD, path, TREEFILE_LIMIT, &size, error);
    if (!text)
        return false;
    g_hash_table_add(parent->seen, g_strdup(path));
    g_string_append_printf(parent->treefile->content, "%zu\n", size);
    g_string_append_len(parent->treefile->content, text, (gssize)size);
    yaml_parser_t parser;
    yaml_document_t document;
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    bool ok = yaml_parser_load(&parser, &document);
    if (ok) {
        Reader reader = {.treefile = parent->treefile,
                         .seen = parent->seen,
                         .path = path,
                         .document = &document};
        ok = read_document(&reader, error);
        yaml_document_delete(&document);
    } else {
        error_throw(error, ERROR_INVALID, "%s:%zu: %s", path, parser.problem_mark.line + 1,
                    parser.problem ? parser.problem : "malformed YAML");
    }
    yaml_parser_delete(&parser);
    return ok;
}

static bool check(const Treefile *treefile, GError **error)
{
    if (!treefile->ref)
        return error_throw(error, ERROR_INVALID, "'%s' has no ref", treefile->path);
    if (!treefile->packages || !treefile->packages[0])
        return error_throw(error, ERROR_INVALID, "'%s' names no packages", treefile->path);
    if (!treefile->repos || !treefile->repos[0])
        return error_throw(error, ERROR_INVALID,
                           "'%s' names no repos\nhint: 'repos: [host]' means this "
                           "machine's own configured repositories",
                           treefile->path);
    for (char **repo = treefile->repos; *repo; repo++)
        if (strcmp(*repo, "host") != 0)
            return error_throw(error, ERROR_UNSUPPORTED,
                               "not supported yet: repository '%s' (only 'host')", *repo);
    if (treefile->version && treefile->version_prefix)
        return error_throw(error, ERROR_INVALID,
                           "'%s' has both version and automatic-version-prefix", treefile->path);
    return true;
}

Treefile *treefile_load(const char *path, GError **error)
{
    g_autoptr(Treefile) treefile = g_new0(Treefile, 1);
    treefile->path = g_canonicalize_filename(path, NULL);
    treefile->documentation = true;
    treefile->content = g_string_new(NULL);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Reader reader = {.treefile = treefile, .seen = seen};
    if (!read_file(&reader, treefile->path, error) || !check(treefile, error))
        return NULL;
    return g_steal_pointer(&treefile);
}
