/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The merge of /etc: the administrator's changes carried to a new deployment, exactly as OSTree does.
 *
 *     old    usr/etc of the deployment that the changes were made in
 *     mine   its etc/, as it is on disk
 *     new    usr/etc of the tree that is deployed
 *
 * The changes are the difference old -> mine (type, mode, owner, bytes, link target; not xattrs):
 *     modified  in both and different; a directory with another mode or owner too, and what is below it
 *     removed   in old, not in mine: only the top of a removed subtree
 *     added     in mine, not in old: each name
 * Applied to a copy of new: removed paths go, then modified, then added ones are copied from mine, whole. No
 * text is merged. Parents that are missing are made as mine has them. A directory over a directory is kept; a
 * file of mine over a directory of new can't be merged. Sockets, fifos and devices are left out.
 *
 * The merge is made in memory, so that it fails, or is shown, before anything is written; what a file's bytes
 * are taken from is in its inode's `user`: NULL = its own content (from the store), else a TreeNode of mine.
 */
#pragma once

#include "host/host.h"

typedef struct {
    Store *store;   /* where contents are; may be NULL when no tree has objects */
    Tree *old_tree; /* NULL: a first deployment, nothing to merge */
    TreeNode *old;  /* its usr/etc */
    int mine_fd;    /* -1 without old */
    Tree *new_tree;
    TreeNode *new;
} EtcMergeInput;

typedef struct {
    Tree *result; /* its root is etc; NULL `user` or a node of `mine` */
    Tree *mine;   /* NULL without old */
    HostEtcReport report;
} EtcMerge;
void etc_merge_clear(EtcMerge *merge);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EtcMerge, etc_merge_clear)

/* ERROR_INVALID for what can't be merged, naming the path. Writes nothing. */
bool etc_merge(const EtcMergeInput *input, EtcMerge *out_merge, GError **error);

/* Bytes and names that etc_write() will need, blocks rounded up. */
uint64_t etc_size(Tree *result);
/* Writes the result as directory `name` below dirfd (must not exist): owners, modes, times, xattrs. Nothing is
 * synced. */
bool etc_write(Store *store, const EtcMerge *merge, int mine_fd, int dirfd, const char *name,
               GError **error);

/* A directory as a tree: names, metadata, link targets; regular files have only a size (etc_scan.c). What is no
 * file, link or directory is named in `ignored` (paths with a slash in front) and left out. */
Tree *etc_scan(int dirfd, GPtrArray *ignored, GError **error);
