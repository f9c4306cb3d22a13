/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that read files into objects while the caller walks on. Private to src/store.
 *
 * A file is handed over open; its inode gets its object in the caller's thread, in a later readers_add() or in
 * readers_finish(): the tree itself is never touched by two threads. Files go by the chunk, so that neither side wakes
 * the other for each; what is underway is bounded in files, whatever the input. No thread lives before the first
 * chunk nor after readers_free(), so that a process which imports may fork afterwards. */
#pragma once

#include "store/txn.h"
#include "tree/tree.h"

typedef struct Readers Readers;

/* Without a transaction files are measured only. `checksum` may be NULL. */
Readers *readers_new(StoreTxn *txn, Tree *tree, const StoreChecksum *checksum);
/* Takes the fd of a file, which is `node`, and has `size` bytes as far as known. Waits while enough are underway. False
 * with the first failure of any file handed over before, which is prefixed with that file's path. */
bool readers_add(Readers *readers, int fd, TreeNode *node, uint64_t size, GError **error);
/* Waits for all. More may be added. */
bool readers_finish(Readers *readers, GError **error);
/* NULL is fine; what isn't read yet stays unread. */
void readers_free(Readers *readers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Readers, readers_free)
