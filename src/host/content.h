/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of a tree's regular file, wherever they are: inline or in the store. */
#pragma once

#include "store/store.h"

/* In pieces, in order. Returning false stops. */
typedef bool (*ContentFunc)(const void *bytes, size_t size, void *data, GError **error);
bool content_each(Store *store, const TreeInode *inode, ContentFunc func, void *data,
                  GError **error);
bool content_copy(Store *store, const TreeInode *inode, int fd, GError **error);
/* All of it and a NUL, up to `limit`. */
char *content_read(Store *store, const TreeInode *inode, size_t limit, GError **error);
/* Compares with what `fd` has from its position on; both have inode->size bytes. */
bool content_equals_fd(Store *store, const TreeInode *inode, int fd, bool *out_equal,
                       GError **error);
