/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A gathered commit becomes a stream, an image and a branch: the end of committing and of pulling. */
#pragma once

#include "ostree/commit_data.h"

/* Writes and links image and stream of `commit` (its object is in the set), flushes, and sets `ref` (NULL: none)
 * last. */
bool stream_write_commit(StoreTxn *txn, const ObjectSet *set, const Digest *commit, const char *ref,
                         GError **error);
/* What the image of a commit has and its tree hasn't. */
bool stream_add_mount_points(Tree *tree, GError **error);
