/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that read files into objects while the caller walks on. Private to src/store.
 *
 * A file is handed over open; its inode gets its object in readers_finish(), in the caller's thread: the tree itself is
 * never touched by two threads. No thread lives before the first file nor after readers_free(), so that a process
 * which imports may fork afterwards. */
#pragma once

#include "store/txn.h"
#include "tree/tree.h"

typedef struct Readers Readers;

/* Without a transaction files are measured only. */
Readers *readers_new(StoreTxn *txn);
/* Takes the fd of a file, which is `node`. Waits while enough are underway. False with the first failure of any file
 * handed over before, which is prefixed with that file's path. */
bool readers_add(Readers *readers, int fd, TreeNode *node, GError **error);
/* Waits for all, and gives the inodes their objects. */
bool readers_finish(Readers *readers, Tree *tree, GError **error);
/* NULL is fine; what isn't read yet stays unread. */
void readers_free(Readers *readers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Readers, readers_free)
