/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store ls` and `cat`. */
#include "cli/store_verbs.h"

#include "base/file.h"
#include "base/sort.h"
#include "cli/document.h"
#include "cli/file_text.h"
#include "cli/human.h"

#include <unistd.h>

/* --- images --------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t files, bytes;
} Content;

static bool count_file(TreeNode *node, void *data, GError **error _unused)
{
    Content *content = data;
    TreeInode *inode = node->inode;
    content->files++;
    if (S_ISREG(inode->mode) && !inode->user) /* each inode once, whatever its names */
        content->bytes += inode->size;
    inode->user = content;
    return true;
}

static bool count_content(Store *store, const char *digest, Content *out, GError **error)
{
    Digest image;
    if (!digest_parse(digest, &image))
        return error_throw(error, ERROR_CORRUPT, "'%s' is not an image", digest);
    g_autoptr(Tree) tree = store_load_image(store, &image, error);
    return tree && tree_walk(tree, count_file, out, error);
}

/* With `details`, which takes reading it: the number of files and their bytes. */
static bool list_image(Store *store, const char *name, const char *digest, bool details,
                       json_t *images, GError **error)
{
    Content content = {0};
    if (details && !count_content(store, digest, &content, error))
        return error_prefix(error, "'%s'", name);
    if (images) {
        json_t *image = json_pack("{s:s}", "digest", digest);
        file_json_set(image, "name", name);
        if (details) {
            json_object_set_new(image, "files", json_integer((json_int_t)content.files));
            json_object_set_new(image, "bytes", json_integer((json_int_t)content.bytes));
        }
        json_array_append_new(images, image);
        return true;
    }
    g_autofree char *shown = file_path_text(name), *bytes = human_bytes(content.bytes);
    printf("%.12s ", digest);
    if (details)
        printf("%8" G_GUINT64_FORMAT " %10s ", content.files, bytes);
    printf("%s\n", shown);
    return true;
}

static bool list_images(Store *store, bool details, bool json, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(store, STORE_IMAGES, "", error);
    if (!refs)
        return false;
    unsigned n;
    g_autofree char **names = sort_keys(refs, &n);
    json_t *images = json ? json_array() : NULL;
    for (unsigned i = 0; i < n; i++)
        if (!list_image(store, names[i], g_hash_table_lookup(refs, names[i]), details, images,
                        error)) {
            json_decref(images);
            return false;
        }
    return !json ||
           cli_print_document("atomic.store.images/1", json_pack("{s:o}", "images", images), error);
}

/* --- files ---------------------------------------------------------------------------------------------- */

TreeNode *cli_store_find(Tree *tree, const char *image, const char *path, bool follow,
                         GError **error)
{
    TreeNode *node = follow ? tree_resolve(tree, path) : tree_lookup(tree, path);
    if (!node)
        error_throw(error, ERROR_NOT_FOUND, "there is no '%s' in '%s'", path, image);
    return node;
}

static void list_one(const TreeNode *node, CliDescribe describe, json_t *files)
{
    if (files)
        json_array_append_new(files, describe(node));
    else
        file_print(node);
}

void cli_store_list(const TreeNode *node, bool recursive, CliDescribe describe, json_t *files)
{
    if (!S_ISDIR(node->inode->mode))
        list_one(node, describe, files);
    TreeNode *child;
    TREE_EACH_CHILD (node, child) {
        list_one(child, describe, files);
        if (recursive && S_ISDIR(child->inode->mode))
            cli_store_list(child, true, describe, files);
    }
}

static bool list_files(Store *store, const char *image, const char *path, bool recursive, bool json,
                       GError **error)
{
    Digest digest;
    g_autoptr(Tree) tree = cli_store_load(store, image, &digest, error);
    TreeNode *node = tree ? cli_store_find(tree, image, path, false, error) : NULL;
    if (!node)
        return false;
    json_t *files = json ? json_array() : NULL;
    cli_store_list(node, recursive, file_json, files);
    return !json ||
           cli_print_document(
               "atomic.store.files/1",
               json_pack("{s:s, s:o}", "image", digest_hex(&digest).text, "files", files), error);
}

int cli_store_ls(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean recursive = false, details = false;
    const GOptionEntry entries[] = {
        {"long", 'l', 0, G_OPTION_ARG_NONE, &details, "Images: number of files and bytes too",
         NULL},
        {"recursive", 'R', 0, G_OPTION_ARG_NONE, &recursive, "List directories below too", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 2, false, error))
        return 1;
    if (recursive && argc < 2)
        return error_throw(error, ERROR_USAGE, "--recursive lists the files of an image: name one"),
               1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    if (!store)
        return 1;
    bool good = argc > 1 ? list_files(store, argv[1], argc > 2 ? argv[2] : "/", recursive,
                                      common.json, error)
                         : list_images(store, details, common.json, error);
    return good ? 0 : 1;
}

/* --- cat ------------------------------------------------------------------------------------------------ */

static bool print_object(Store *store, const Digest *object, GError **error)
{
    _autofd int fd = store_open_object(store, object, error);
    g_autofree uint8_t *buffer = g_malloc(256 << 10);
    for (ssize_t n = 1; fd >= 0 && n;) {
        n = sys_read_all(fd, buffer, 256 << 10);
        if (n < 0)
            return error_throw(error, ERROR_FAILED, "cannot read object '%.12s': %s",
                               digest_hex(object).text, g_strerror((int)-n));
        if (!file_write_all(STDOUT_FILENO, buffer, (size_t)n, error))
            return error_prefix(error, "standard output");
    }
    return fd >= 0;
}

bool cli_store_print_file(Store *store, const TreeNode *node, const char *path, GError **error)
{
    const TreeInode *inode = node->inode;
    if (!S_ISREG(inode->mode))
        return error_throw(error, ERROR_INVALID, "'%s' is a %s, not a file", path,
                           file_type_name(inode->mode));
    if (inode->content)
        return file_write_all(STDOUT_FILENO, inode->content, inode->size, error) ||
               error_prefix(error, "standard output");
    if (inode->size > 0 && !inode->has_object)
        return error_throw(error, ERROR_INVALID, "the bytes of '%s' are not known", path);
    return inode->size == 0 || print_object(store, &inode->object, error);
}

int cli_store_cat(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    g_autoptr(Tree) tree = store ? cli_store_load(store, argv[1], NULL, error) : NULL;
    const TreeNode *node = tree ? cli_store_find(tree, argv[1], argv[2], true, error) : NULL;
    return node && cli_store_print_file(store, node, argv[2], error) ? 0 : 1;
}
