/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/erofs.h"
#include "tree/node.h"

typedef struct {
    GString *out;
    GHashTable *firsts;     /* Inode of several names -> the node that stands for it */
    GHashTable *xattr_uses; /* value pointer of an interned xattr -> how many inodes have it */
} Printer;

enum { ESCAPE_PLAIN = 0, ESCAPE_EQUALS = 1, ESCAPE_DASH = 2 };

static void append_escaped(GString *out, const void *data, size_t size, int how)
{
    const uint8_t *p = data;
    if (how & ESCAPE_DASH && size == 1 && p[0] == '-') {
        g_string_append(out, "\\x2d");
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (p[i] == '\\')
            g_string_append(out, "\\\\");
        else if (p[i] == '\n')
            g_string_append(out, "\\n");
        else if (p[i] == '\r')
            g_string_append(out, "\\r");
        else if (p[i] == '\t')
            g_string_append(out, "\\t");
        else if (p[i] < 0x21 || p[i] > 0x7e || (p[i] == '=' && how & ESCAPE_EQUALS))
            g_string_append_printf(out, "\\x%02x", p[i]);
        else
            g_string_append_c(out, (char)p[i]);
    }
}

static bool prepare(TreeNode *node, void *data, GError **error _unused)
{
    Printer *printer = data;
    Inode *inode = inode_of(node);
    if (inode->names > 1) {
        if (g_hash_table_contains(printer->firsts, inode))
            return true;
        g_hash_table_insert(printer->firsts, inode, inode->original ? inode->original : node);
    }
    for (size_t i = 0; i < inode->pub.n_xattrs; i++) {
        void *key = (void *)inode->pub.xattrs[i].value;
        size_t uses = GPOINTER_TO_SIZE(g_hash_table_lookup(printer->xattr_uses, key)) + 1;
        /* the root's label is also that of the image's stubs */
        if (!node->parent && strcmp(inode->pub.xattrs[i].name, "security.selinux") == 0)
            uses++;
        g_hash_table_insert(printer->xattr_uses, key, GSIZE_TO_POINTER(uses));
    }
    return true;
}

/* In the order in which an image holds them: those of this inode alone, then the shared ones. */
static void append_xattrs(Printer *printer, const TreeInode *inode)
{
    for (int shared = 0; shared < 2; shared++) {
        int n_shared = 0;
        for (size_t i = 0; i < inode->n_xattrs; i++) {
            const TreeXattr *xattr = &inode->xattrs[i];
            size_t uses = GPOINTER_TO_SIZE(g_hash_table_lookup(printer->xattr_uses, xattr->value));
            int is_shared = uses > 1 && n_shared++ < EROFS_SHARED_MAX;
            if (is_shared != shared)
                continue;
            g_string_append_c(printer->out, ' ');
            append_escaped(printer->out, xattr->name, strlen(xattr->name), ESCAPE_EQUALS);
            g_string_append_c(printer->out, '=');
            append_escaped(printer->out, xattr->value, xattr->size, ESCAPE_EQUALS);
        }
    }
}

static uint32_t dir_nlink(TreeNode *dir)
{
    uint32_t n = 2;
    TreeNode *child;
    TREE_EACH_CHILD (dir, child)
        n += S_ISDIR(child->inode->mode);
    return n;
}

static void append_payload(GString *out, const TreeInode *inode)
{
    const char *path = inode->target ? inode->target : inode->payload;
    ObjectPath object;
    if (!path && inode->has_object) {
        object = object_path(&inode->object);
        path = object.text;
    }
    if (path && *path)
        append_escaped(out, path, strlen(path), ESCAPE_DASH);
    else
        g_string_append_c(out, '-');
}

static void append_content(GString *out, const TreeInode *inode)
{
    g_string_append_c(out, ' ');
    if (inode->content)
        append_escaped(out, inode->content, inode->size, ESCAPE_DASH);
    else
        g_string_append_c(out, '-');
    g_string_append_printf(out, " %s", inode->has_object ? digest_hex(&inode->object).text : "-");
}

static bool print_node(TreeNode *node, void *data, GError **error _unused)
{
    Printer *printer = data;
    GString *out = printer->out;
    const TreeInode *inode = node->inode;
    bool dir = S_ISDIR(inode->mode);
    TreeNode *first =
        inode_of(node)->names > 1 ? g_hash_table_lookup(printer->firsts, inode) : node;
    g_autofree char *path = tree_path(node);
    append_escaped(out, path, strlen(path), ESCAPE_PLAIN);
    g_string_append_printf(out, " %" G_GUINT64_FORMAT " %s%o %u %u %u %u %" G_GINT64_FORMAT ".%u ",
                           dir ? erofs_dir_size(node) : inode->size, first == node ? "" : "@",
                           inode->mode, dir ? dir_nlink(node) : inode->nlink, inode->uid,
                           inode->gid, (uint32_t)inode->rdev, inode->mtime, inode->mtime_nsec);
    if (first != node) { /* the rest as the target has it */
        g_autofree char *target = tree_path(first);
        append_escaped(out, target, strlen(target), ESCAPE_DASH);
    } else {
        append_payload(out, inode);
    }
    append_content(out, inode);
    append_xattrs(printer, inode);
    g_string_append_c(out, '\n');
    return true;
}

char *tree_format_dump(Tree *tree)
{
    g_autoptr(GHashTable) firsts = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) uses = g_hash_table_new(NULL, NULL);
    Printer printer = {.out = g_string_new(NULL), .firsts = firsts, .xattr_uses = uses};
    tree_walk(tree, prepare, &printer, NULL);
    tree_walk(tree, print_node, &printer, NULL);
    return g_string_free(printer.out, false);
}
