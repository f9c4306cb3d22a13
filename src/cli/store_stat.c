/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store stat`: everything about one file of an image. */
#include "cli/store_verbs.h"

#include "cli/document.h"
#include "cli/file_text.h"
#include "cli/operand.h"

#include <sys/sysmacros.h>

typedef struct {
    const TreeNode *node;
    GPtrArray *names; /* paths of the same inode, the node's own first */
} Links;

static bool add_link(TreeNode *node, void *data, GError **error _unused)
{
    Links *links = data;
    if (node->inode == links->node->inode && node != links->node)
        g_ptr_array_add(links->names, tree_path(node));
    return true;
}

/* Where the bytes are. */
static const char *bytes_place(Store *store, const TreeInode *inode)
{
    if (!S_ISREG(inode->mode))
        return NULL;
    if (inode->size == 0)
        return "none";
    if (inode->content)
        return "inline";
    if (!inode->has_object)
        return "unknown";
    return store_has(store, &inode->object) ? "object" : "missing";
}

static void print_xattrs(const TreeInode *inode)
{
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        const TreeXattr *xattr = &inode->xattrs[i];
        g_autofree char *name = file_path_text(xattr->name);
        printf("%s%s=0x", i ? "          " : "  Xattrs: ", name);
        for (size_t j = 0; j < xattr->size; j++)
            printf("%02x", xattr->value[j]);
        printf("\n");
    }
}

static void print_bytes(const TreeInode *inode, const char *place)
{
    if (g_strcmp0(place, "object") == 0 || g_strcmp0(place, "missing") == 0) {
        DigestHex hex = digest_hex(&inode->object);
        printf("  Object: %s\n", hex.text);
        printf("   Bytes: %s\n", g_strcmp0(place, "missing") == 0
                                     ? "missing from the store\nhint: 'atomic store fsck --repair'"
                                     : "in the store");
    } else if (place) {
        printf("   Bytes: %s\n", g_strcmp0(place, "inline") == 0 ? "in the image itself" : place);
    }
}

static void print_stat(const TreeNode *node, const char *place, const GPtrArray *links)
{
    const TreeInode *inode = node->inode;
    g_autofree char *path = file_path_text(links->pdata[0]);
    g_autofree char *target = inode->target ? file_path_text(inode->target) : NULL;
    g_autofree char *time = file_time_text(inode->mtime, inode->mtime_nsec);
    printf("    File: %s%s%s\n", path, target ? " -> " : "", target ? target : "");
    printf("    Type: %s\n", file_type_name(inode->mode));
    printf("    Mode: %04o (%s)\n", inode->mode & 07777, file_mode_text(inode->mode).text);
    printf("   Owner: %u:%u\n", inode->uid, inode->gid);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        printf("  Device: %u, %u\n", major(inode->rdev), minor(inode->rdev));
    else if (!S_ISDIR(inode->mode))
        printf("    Size: %" G_GUINT64_FORMAT "\n", inode->size);
    printf("Modified: %s\n", time);
    printf("   Links: %u\n", inode->nlink);
    for (guint i = 1; i < links->len; i++) {
        g_autofree char *other = file_path_text(links->pdata[i]);
        printf("          %s\n", other);
    }
    print_bytes(inode, place);
    print_xattrs(inode);
}

static json_t *stat_json(const TreeNode *node, const Digest *image, const char *place,
                         const GPtrArray *links)
{
    json_t *file = file_json_full(node), *others = json_array();
    for (guint i = 1; i < links->len; i++) {
        json_t *other = json_object();
        file_json_set(other, "path", links->pdata[i]);
        json_array_append_new(others, other);
    }
    json_object_set_new(file, "image", json_string(digest_hex(image).text));
    json_object_set_new(file, "links", others);
    if (place)
        json_object_set_new(file, "bytes", json_string(place));
    return file;
}

int cli_store_stat(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean follow = false;
    const GOptionEntry entries[] = {
        {"dereference", 'L', 0, G_OPTION_ARG_NONE, &follow, "Follow a link at the end of the path",
         NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    Digest image;
    g_autoptr(Tree) tree = store ? cli_store_load(store, argv[1], &image, error) : NULL;
    const TreeNode *node = tree ? cli_store_find(tree, argv[1], argv[2], follow, error) : NULL;
    if (!node)
        return 1;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(names, tree_path(node));
    Links links = {.node = node, .names = names};
    if (node->inode->nlink > 1 && !S_ISDIR(node->inode->mode))
        tree_walk(tree, add_link, &links, NULL);
    const char *place = bytes_place(store, node->inode);
    if (common.json)
        return cli_print_document("atomic.store.stat/1", stat_json(node, &image, place, names),
                                  error)
                   ? 0
                   : 1;
    print_stat(node, place, names);
    return 0;
}
