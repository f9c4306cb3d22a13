/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* COPY and ADD: a layer tree made from the context, from another image's tree, or from the
 * Dockerfile itself.
 *
 * Nothing is unpacked or mounted: the files' bytes become objects of the store (for another
 * image they are that already), and the tree names them. Rules for the destination are Docker's:
 * several sources or a slash at its end make it a directory; the contents of a source directory
 * are copied, not the directory.
 */
#include "build/archive.h"
#include "build/context.h"
#include "build/match.h"
#include "build/state.h"

#include "base/cancel.h"

#include <string.h>

typedef struct {
    Build *build;
    Stage *stage;
    const DockerfileInstruction *instruction;
    Tree *source;      /* where sources are looked up */
    bool from_context; /* contents are in the context's files; owners are not taken over */
    LayerDirs dirs;
    bool has_owner, has_mode;
    uint32_t mode; /* --chmod */
} Copy;

/* --- one node and what is below --------------------------------------------------------------- */

static void set_attributes(const Copy *copy, TreeInode *to, const TreeInode *from)
{
    tree_copy_metadata(copy->dirs.layer, to, from);
    if (copy->from_context || copy->has_owner) {
        to->uid = copy->dirs.uid;
        to->gid = copy->dirs.gid;
    }
    if (copy->has_mode && !S_ISLNK(to->mode))
        to->mode = (to->mode & S_IFMT) | copy->mode;
}

static bool read_content(const Copy *copy, TreeInode *to, const TreeNode *node, GError **error)
{
    _autofd int fd = context_open_file(copy->build->context, node, error);
    if (fd < 0)
        return false;
    char small[TREE_INLINE_MAX + 1];
    ssize_t n = sys_read_all(fd, small, sizeof small);
    if (n >= 0 && n <= TREE_INLINE_MAX) {
        tree_set_inline(copy->dirs.layer, to, small, (size_t)n);
        return true;
    }
    Digest object;
    uint64_t size = 0;
    if (n < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return error_throw(error, ERROR_FAILED, "cannot read '%s' of the build context",
                           node->name);
    if (!store_txn_put_fd(copy->build->txn, fd, &object, &size, error))
        return false;
    tree_set_object(copy->dirs.layer, to, &object, size);
    return true;
}

static bool set_content(const Copy *copy, TreeInode *to, const TreeNode *node, GError **error)
{
    const TreeInode *from = node->inode;
    Tree *layer = copy->dirs.layer;
    switch (from->mode & S_IFMT) {
    case S_IFLNK:
        tree_set_target(layer, to, from->target);
        return true;
    case S_IFREG:
        if (copy->from_context)
            return read_content(copy, to, node, error);
        if (from->has_object)
            tree_set_object(layer, to, &from->object, from->size);
        else
            tree_set_inline(layer, to, from->content, from->content ? from->size : 0);
        return true;
    default:
        if (copy->from_context)
            return error_throw(error, ERROR_UNSUPPORTED,
                               "not supported yet: '%s' is a device or a pipe", node->name);
        to->rdev = from->rdev;
        return true;
    }
}

static bool copy_leaf(const Copy *copy, const TreeNode *node, const char *path, GError **error)
{
    if (!cancel_check(error))
        return false;
    g_autofree char *parent = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    TreeNode *dir = layer_dir(&copy->dirs, parent, error);
    if (!dir)
        return false;
    TreeNode *old = tree_child(copy->dirs.layer, dir, name);
    if (old && S_ISDIR(old->inode->mode))
        return error_throw(error, ERROR_INVALID, "cannot put a file in the place of directory '%s'",
                           path);
    if (old)
        tree_remove(copy->dirs.layer, old);
    TreeNode *added = tree_add(copy->dirs.layer, dir, name, node->inode->mode, error);
    if (!added)
        return false;
    set_attributes(copy, added->inode, node->inode);
    return set_content(copy, added->inode, node, error);
}

/* A directory that the image has keeps its attributes: `COPY rootfs /` must not change /tmp. */
static bool copy_dir(const Copy *copy, const TreeNode *node, const char *path, GError **error)
{
    bool is_new = !tree_resolve(copy->dirs.base, path) && !tree_lookup(copy->dirs.layer, path);
    TreeNode *dir = layer_dir(&copy->dirs, path, error), *child;
    if (!dir)
        return false;
    if (is_new)
        set_attributes(copy, dir->inode, node->inode);
    TREE_EACH_CHILD (node, child) {
        g_autofree char *below = g_build_filename(path, child->name, NULL);
        bool good = S_ISDIR(child->inode->mode) ? copy_dir(copy, child, below, error)
                                                : copy_leaf(copy, child, below, error);
        if (!good)
            return false;
    }
    return true;
}

/* --- sources ---------------------------------------------------------------------------------- */

typedef struct {
    TreeNode *node;
    char *name; /* as it will be called in a directory */
} Source;

static void source_clear(void *data)
{
    g_free(((Source *)data)->name);
}

static void add_source(GArray *sources, TreeNode *node, const char *name)
{
    Source source = {node, g_strdup(name)};
    g_array_append_val(sources, source);
}

/* All that the pattern's components match below `dir`. `at` is the path so far: links are
 * followed from the top. */
static void match_below(Tree *tree, TreeNode *dir, char **components, const char *at,
                        GArray *sources)
{
    TreeNode *child;
    TREE_EACH_CHILD (dir, child) {
        if (!match_path(components[0], child->name, false))
            continue;
        g_autofree char *path = g_build_filename(at, child->name, NULL);
        TreeNode *node = tree_resolve(tree, path);
        if (node && !components[1])
            add_source(sources, node, child->name);
        else if (node && S_ISDIR(node->inode->mode))
            match_below(tree, node, components + 1, path, sources);
    }
}

static bool not_found(const Copy *copy, const char *what, GError **error)
{
    return error_throw(
        error, ERROR_NOT_FOUND, "no file '%s' in the %s%s", what,
        copy->from_context ? "build context" : "image",
        copy->from_context
            ? "\nhint: sources are relative to the context; .dockerignore may exclude it"
            : "");
}

static bool find_sources(const Copy *copy, const char *word, GArray *sources, GError **error)
{
    g_autofree char *path = match_clean(word);
    if (!path)
        return error_throw(error, ERROR_INVALID, "'%s' leads out of the %s", word,
                           copy->from_context ? "build context" : "image");
    unsigned before = sources->len;
    if (match_is_pattern(path)) {
        g_auto(GStrv) components = g_strsplit(path, "/", -1);
        match_below(copy->source, tree_root(copy->source), components, "/", sources);
    } else {
        TreeNode *node = tree_resolve(copy->source, path);
        g_autofree char *name = g_path_get_basename(path);
        if (node)
            add_source(sources, node, name);
    }
    return sources->len > before || not_found(copy, word, error);
}

/* --- destination ------------------------------------------------------------------------------ */

typedef struct {
    char *path; /* absolute */
    bool is_dir;
} Destination;

static void destination_clear(Destination *destination)
{
    g_free(destination->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Destination, destination_clear)

static bool is_dir_name(const char *text)
{
    return !*text || g_str_has_suffix(text, "/") || strcmp(text, ".") == 0 ||
           g_str_has_suffix(text, "/.") || strcmp(text, "..") == 0 || g_str_has_suffix(text, "/..");
}

static void find_destination(const Copy *copy, const char *word, Destination *out)
{
    out->path = layer_path(copy->stage, word);
    const TreeNode *node = tree_resolve(copy->dirs.base, out->path);
    out->is_dir = is_dir_name(word) || (node && S_ISDIR(node->inode->mode));
}

static bool extract_archive(Copy *copy, const Source *source, const char *path, bool *out_done,
                            GError **error)
{
    *out_done = false;
    if (copy->instruction->kind != DOCKERFILE_ADD || !S_ISREG(source->node->inode->mode))
        return true;
    _autofd int fd = context_open_file(copy->build->context, source->node, error);
    if (fd < 0)
        return false;
    if (!archive_is_tar(fd))
        return true;
    g_autoptr(Tree) tree = store_import_tar_file(copy->build->txn, fd, false, NULL, error);
    if (!tree)
        return error_prefix(error, "'%s'", source->name);
    Copy inner = *copy;
    inner.from_context = false;
    inner.source = tree;
    *out_done = true;
    return copy_dir(&inner, tree_root(tree), path, error);
}

static bool copy_source(Copy *copy, const Source *source, const Destination *destination,
                        GError **error)
{
    bool extracted = false;
    if (S_ISDIR(source->node->inode->mode))
        return copy_dir(copy, source->node, destination->path, error);
    if (!extract_archive(copy, source, destination->path, &extracted, error) || extracted)
        return extracted;
    if (!destination->is_dir)
        return copy_leaf(copy, source->node, destination->path, error);
    g_autofree char *path = g_build_filename(destination->path, source->name, NULL);
    return copy_leaf(copy, source->node, path, error);
}

/* --- heredocs --------------------------------------------------------------------------------- */

static bool copy_heredoc(Copy *copy, const DockerfileHeredoc *heredoc,
                         const Destination *destination, GError **error)
{
    g_autofree char *content =
        heredoc->expand ? variables_expand(copy->build, copy->stage, heredoc->content, error)
                        : g_strdup(heredoc->content);
    if (!content)
        return false;
    g_autofree char *path = destination->is_dir
                                ? g_build_filename(destination->path, heredoc->name, NULL)
                                : g_strdup(destination->path);
    g_autofree char *parent = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    TreeNode *dir = layer_dir(&copy->dirs, parent, error);
    TreeNode *node = dir ? tree_add(copy->dirs.layer, dir, name, S_IFREG | 0644, error) : NULL;
    if (!node)
        return false;
    node->inode->uid = copy->dirs.uid;
    node->inode->gid = copy->dirs.gid;
    node->inode->mtime = (int64_t)copy->dirs.mtime;
    if (copy->has_mode)
        node->inode->mode = S_IFREG | copy->mode;
    size_t size = strlen(content);
    if (size <= TREE_INLINE_MAX) {
        tree_set_inline(copy->dirs.layer, node->inode, content, size);
        return true;
    }
    Digest object;
    if (!store_txn_put(copy->build->txn, content, size, &object, error))
        return false;
    tree_set_object(copy->dirs.layer, node->inode, &object, size);
    return true;
}

/* --- options ---------------------------------------------------------------------------------- */

/* An id by its name in /etc/passwd or /etc/group: the third field. */
static bool find_id(Copy *copy, const char *file, const char *name, uint32_t *out, GError **error)
{
    guint64 number;
    if (g_ascii_string_to_unsigned(name, 10, 0, UINT32_MAX - 1, &number, NULL)) {
        *out = (uint32_t)number;
        return true;
    }
    g_autofree char *text = layer_read_text(copy->build->store, copy->dirs.base, file);
    g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ":", 4);
        if (g_strv_length(fields) < 3 || strcmp(fields[0], name) != 0 ||
            !g_ascii_string_to_unsigned(fields[2], 10, 0, UINT32_MAX - 1, &number, NULL))
            continue;
        *out = (uint32_t)number;
        return true;
    }
    return error_throw(error, ERROR_NOT_FOUND, "no '%s' in the image's /%s, for --chown", name,
                       file);
}

/* USER[:GROUP]; without a group the number of the user is the group's too. */
static bool read_owner(Copy *copy, const char *option, GError **error)
{
    g_autofree char *text = variables_expand(copy->build, copy->stage, option, error);
    if (!text)
        return false;
    g_auto(GStrv) parts = g_strsplit(text, ":", 2);
    if (!parts[0] || !*parts[0] || (parts[1] && !*parts[1]))
        return error_throw(error, ERROR_INVALID, "bad --chown '%s': expected USER[:GROUP]", text);
    copy->has_owner = true;
    if (!find_id(copy, "etc/passwd", parts[0], &copy->dirs.uid, error))
        return false;
    copy->dirs.gid = copy->dirs.uid;
    return !parts[1] || find_id(copy, "etc/group", parts[1], &copy->dirs.gid, error);
}

static bool read_mode(Copy *copy, const char *option, GError **error)
{
    g_autofree char *text = variables_expand(copy->build, copy->stage, option, error);
    guint64 mode;
    if (!text)
        return false;
    if (!g_ascii_string_to_unsigned(text, 8, 0, 07777, &mode, NULL))
        return error_throw(error, ERROR_INVALID,
                           "bad --chmod '%s': expected an octal mode such as 0755", text);
    copy->has_mode = true;
    copy->mode = (uint32_t)mode;
    return true;
}

static Stage *find_stage(const Copy *copy, const char *name)
{
    guint64 number;
    bool is_number = g_ascii_string_to_unsigned(name, 10, 0, 10000, &number, NULL);
    g_autofree char *lower = g_ascii_strdown(name, -1);
    for (unsigned i = 0; i < copy->build->stages->len; i++) {
        Stage *stage = copy->build->stages->pdata[i];
        if (stage == copy->stage)
            break;
        if (is_number ? i == number : g_strcmp0(stage->source->name, lower) == 0)
            return stage;
    }
    return NULL;
}

/* The tree of an earlier stage or of an image. *out_owned is set when it has to be freed. */
static bool open_from(Copy *copy, const char *name, Tree **out_owned, GError **error)
{
    Stage *stage = find_stage(copy, name);
    if (stage) {
        copy->source = step_tree(copy->build, stage, error);
        return copy->source;
    }
    g_autoptr(OciImage) image = step_open_image(copy->build, name, error);
    if (!image)
        return error_prefix(error, "--from");
    copy->source = *out_owned = store_load_image(copy->build->store, &image->image, error);
    return copy->source;
}

/* --- the instruction -------------------------------------------------------------------------- */

static bool is_remote(const char *word)
{
    return strstr(word, "://") || g_str_has_prefix(word, "git@");
}

static bool copy_words(Copy *copy, char *const *words, GError **error)
{
    unsigned n = g_strv_length((char **)words), n_heredocs = 0;
    const GPtrArray *heredocs = copy->instruction->heredocs;
    g_auto(Destination) destination = {NULL, false};
    g_autoptr(GArray) sources = g_array_new(FALSE, FALSE, sizeof(Source));
    g_array_set_clear_func(sources, source_clear);
    find_destination(copy, words[n - 1], &destination);
    for (unsigned i = 0; i + 1 < n; i++) {
        if (n_heredocs < heredocs->len && strstr(words[i], "<<"))
            n_heredocs++;
        else if (copy->instruction->kind == DOCKERFILE_ADD && is_remote(words[i]))
            return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: ADD of a URL: '%s'",
                               words[i]);
        else if (!find_sources(copy, words[i], sources, error))
            return false;
    }
    if (sources->len + n_heredocs > 1 && !is_dir_name(words[n - 1]))
        return error_throw(
            error, ERROR_INVALID,
            "with more than one source the destination must be a directory and end with '/': '%s'",
            words[n - 1]);
    for (unsigned i = 0; i < sources->len; i++)
        if (!copy_source(copy, &g_array_index(sources, Source, i), &destination, error))
            return false;
    for (unsigned i = 0; i < n_heredocs; i++)
        if (!copy_heredoc(copy, heredocs->pdata[i], &destination, error))
            return false;
    return true;
}

static bool prepare(Copy *copy, Tree **out_owned, GError **error)
{
    const DockerfileInstruction *instruction = copy->instruction;
    const char *chown = dockerfile_option(instruction, "chown"),
               *chmod = dockerfile_option(instruction, "chmod");
    const char *from = dockerfile_option(instruction, "from");
    copy->dirs.base = step_tree(copy->build, copy->stage, error);
    if (!copy->dirs.base || (chown && !read_owner(copy, chown, error)) ||
        (chmod && !read_mode(copy, chmod, error)))
        return false;
    if (from)
        return open_from(copy, from, out_owned, error);
    copy->from_context = true;
    copy->source = context_tree(copy->build->context, error);
    return copy->source;
}

static char **expand_words(const Copy *copy, GError **error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    for (char **word = copy->instruction->words; *word; word++) {
        char *expanded = variables_expand(copy->build, copy->stage, *word, error);
        if (!expanded)
            return NULL;
        g_ptr_array_add(words, expanded);
    }
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&words), FALSE);
}

Tree *copy_layer(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                 GError **error)
{
    g_autoptr(Tree) layer = tree_new();
    g_autoptr(Tree) owned = NULL;
    Copy copy = {.build = build, .stage = stage, .instruction = instruction};
    copy.dirs.layer = layer;
    copy.dirs.mtime = build->timestamp;
    if (!prepare(&copy, &owned, error))
        return NULL;
    tree_copy_metadata(layer, tree_root(layer)->inode, tree_root(copy.dirs.base)->inode);
    g_auto(GStrv) words = expand_words(&copy, error);
    return words && copy_words(&copy, words, error) ? g_steal_pointer(&layer) : NULL;
}
