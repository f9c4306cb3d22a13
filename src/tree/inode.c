/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/node.h"

#include <string.h>

void tree_set_inline(Tree *tree, TreeInode *inode, const void *data, size_t size)
{
    inode->content = size ? arena_copy(&tree->arena, data, size) : NULL;
    inode->size = size;
    inode->has_object = false;
    inode->payload = NULL;
    memset(&inode->object, 0, sizeof inode->object);
}

void tree_set_object(Tree *tree _unused, TreeInode *inode, const Digest *object, uint64_t size)
{
    inode->content = NULL;
    inode->size = size;
    inode->has_object = true;
    inode->payload = NULL;
    inode->object = *object;
}

void tree_set_target(Tree *tree, TreeInode *inode, const char *target)
{
    inode->size = strlen(target);
    inode->target = arena_string(&tree->arena, target, inode->size);
}

void tree_copy_metadata(Tree *tree, TreeInode *to, const TreeInode *from)
{
    to->mode = (to->mode & S_IFMT) | (from->mode & 07777);
    to->uid = from->uid;
    to->gid = from->gid;
    to->mtime = from->mtime;
    to->mtime_nsec = from->mtime_nsec;
    tree_set_xattrs(tree, to, from->xattrs, from->n_xattrs);
}

void inode_copy(Tree *tree, TreeInode *to, const TreeInode *from)
{
    tree_copy_metadata(tree, to, from);
    to->mode = from->mode;
    to->rdev = from->rdev;
    to->size = from->size;
    to->has_object = from->has_object;
    to->object = from->object;
    to->whiteout = from->whiteout;
    to->opaque = from->opaque;
    to->implicit = from->implicit;
    if (from->target)
        to->target = arena_string(&tree->arena, from->target, strlen(from->target));
    if (from->content)
        to->content = arena_copy(&tree->arena, from->content, from->size);
    if (from->payload)
        to->payload = arena_string(&tree->arena, from->payload, strlen(from->payload));
}
