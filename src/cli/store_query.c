/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store ls` and `cat`. */
#include "cli/store_verbs.h"

#include "base/sort.h"
#include "cli/document.h"

#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A field that must be text: names that are not UTF-8 come as base64 under another key. */
static void set_text(json_t *object, const char *key, const char *text)
{
    if (g_utf8_validate(text, -1, NULL)) {
        json_object_set_new(object, key, json_string(text));
        return;
    }
    g_autofree char *base64_key = g_strconcat(key, "_b64", NULL);
    g_autofree char *base64 = g_base64_encode((const guchar *)text, strlen(text));
    json_object_set_new(object, base64_key, json_string(base64));
}

/* --- images --------------------------------------------------------------------------------------------- */

static bool list_images(Store *store, bool json, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(store, STORE_IMAGES, "", error);
    if (!refs)
        return false;
    unsigned n;
    g_autofree char **names = sort_keys(refs, &n);
    json_t *images = json_array();
    for (unsigned i = 0; i < n; i++) {
        const char *digest = g_hash_table_lookup(refs, names[i]);
        if (!json) {
            printf("%.12s %s\n", digest, names[i]);
            continue;
        }
        json_t *image = json_pack("{s:s}", "digest", digest);
        set_text(image, "name", names[i]);
        json_array_append_new(images, image);
    }
    json_t *document = json_pack("{s:o}", "images", images);
    if (json)
        return cli_print_document("atomic.store.images/1", document, error);
    json_decref(document);
    return true;
}

/* --- files ---------------------------------------------------------------------------------------------- */

static const char *type_name(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symlink";
    case S_IFCHR:
        return "character-device";
    case S_IFBLK:
        return "block-device";
    case S_IFIFO:
        return "fifo";
    default:
        return "socket";
    }
}

static json_t *describe(const TreeNode *node)
{
    const TreeInode *inode = node->inode;
    g_autofree char *path = tree_path(node);
    char mode[8];
    g_snprintf(mode, sizeof mode, "%04o", inode->mode & 07777);
    json_t *file =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "type", type_name(inode->mode), "mode", mode,
                  "uid", (json_int_t)inode->uid, "gid", (json_int_t)inode->gid, "size",
                  (json_int_t)inode->size, "mtime", (json_int_t)inode->mtime);
    set_text(file, "path", path);
    if (inode->target)
        set_text(file, "target", inode->target);
    if (inode->has_object)
        json_object_set_new(file, "object", json_string(digest_hex(&inode->object).text));
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        json_object_set_new(file, "device",
                            json_pack("[i, i]", (int)major(inode->rdev), (int)minor(inode->rdev)));
    return file;
}

static void print_file(const TreeNode *node)
{
    static const char types[16] = "?pc?d?b?-?l?s???";
    const TreeInode *inode = node->inode;
    g_autofree char *path = tree_path(node);
    printf("%c%04o %5u %5u %10" G_GUINT64_FORMAT " %s%s%s\n", types[inode->mode >> 12 & 15],
           inode->mode & 07777, inode->uid, inode->gid, inode->size, path,
           inode->target ? " -> " : "", inode->target ? inode->target : "");
}

static bool add_file(TreeNode *node, void *data, GError **error _unused)
{
    if (data)
        json_array_append_new(data, describe(node));
    else
        print_file(node);
    return true;
}

static TreeNode *find(Tree *tree, const char *image, const char *path, GError **error)
{
    TreeNode *node = tree_lookup(tree, path);
    if (!node)
        error_throw(error, ERROR_NOT_FOUND, "there is no '%s' in image '%s'", path, image);
    return node;
}

static bool list_files(Store *store, const char *image, const char *path, bool recursive, bool json,
                       GError **error)
{
    Digest digest;
    g_autoptr(Tree) tree = cli_store_load(store, image, &digest, error);
    TreeNode *node = tree ? find(tree, image, path, error) : NULL;
    if (!node)
        return false;
    json_t *files = json ? json_array() : NULL;
    if (recursive) {
        tree_walk(tree, add_file, files, NULL);
    } else if (S_ISDIR(node->inode->mode)) {
        TreeNode *child;
        TREE_EACH_CHILD (node, child)
            add_file(child, files, NULL);
    } else {
        add_file(node, files, NULL);
    }
    return !json ||
           cli_print_document(
               "atomic.store.files/1",
               json_pack("{s:s, s:o}", "image", digest_hex(&digest).text, "files", files), error);
}

int cli_store_ls(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean recursive = false;
    const GOptionEntry entries[] = {
        {"recursive", 'R', 0, G_OPTION_ARG_NONE, &recursive, "List the whole image", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 2, false, error))
        return 1;
    if (recursive && argc != 2)
        return error_throw(error, ERROR_USAGE,
                           "--recursive lists a whole image: name one and no path"),
               1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    if (!store)
        return 1;
    bool good = argc > 1 ? list_files(store, argv[1], argc > 2 ? argv[2] : "/", recursive,
                                      common.json, error)
                         : list_images(store, common.json, error);
    return good ? 0 : 1;
}

/* --- cat ------------------------------------------------------------------------------------------------ */

static bool print_object(Store *store, const Digest *object, GError **error)
{
    _autofd int fd = store_open_object(store, object, error);
    if (fd < 0)
        return false;
    char buffer[65536];
    ssize_t n;
    while ((n = sys_read_all(fd, buffer, sizeof buffer)) > 0)
        if (fwrite(buffer, 1, (size_t)n, stdout) != (size_t)n)
            return error_throw_errno(error, "cannot write to standard output");
    return n == 0 || error_throw(error, ERROR_FAILED, "cannot read object '%.12s': %s",
                                 digest_hex(object).text, g_strerror((int)-n));
}

int cli_store_cat(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    g_autoptr(Tree) tree = store ? cli_store_load(store, argv[1], NULL, error) : NULL;
    if (!tree)
        return 1;
    TreeNode *node = tree_resolve(tree, argv[2]);
    if (!node)
        return error_throw(error, ERROR_NOT_FOUND, "there is no '%s' in image '%s'", argv[2],
                           argv[1]),
               1;
    const TreeInode *inode = node->inode;
    if (!S_ISREG(inode->mode))
        return error_throw(error, ERROR_INVALID, "'%s' is a %s, not a file", argv[2],
                           type_name(inode->mode)),
               1;
    if (inode->content)
        fwrite(inode->content, 1, inode->size, stdout);
    else if (inode->size > 0 && !inode->has_object)
        return error_throw(error, ERROR_INVALID, "the bytes of '%s' are not known", argv[2]), 1;
    else if (inode->size > 0 && !print_object(store, &inode->object, error))
        return 1;
    return 0;
}
