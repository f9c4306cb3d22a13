/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree's file in words and as JSON, the same in every verb that shows one. */
#pragma once

#include "tree/tree.h"

#include <jansson.h>

/* "file", "directory", "symlink", "character-device", "block-device", "fifo", "socket" */
const char *file_type_name(uint32_t mode);
/* "drwxr-sr-x", as ls prints it. */
typedef struct {
    char text[11];
} FileMode;
FileMode file_mode_text(uint32_t mode);
/* "2014-10-08 12:00:00.000000000 UTC"; the caller's. */
char *file_time_text(int64_t seconds, uint32_t nanoseconds);
/* A path as a terminal may have it: control bytes and what is no UTF-8 as \xhh, backslashes doubled; the caller's. */
char *file_path_text(const char *path);
/* Size and name in a line, as `ls -l` has it. */
void file_print(const TreeNode *node);

/* A field that may not be text: what isn't UTF-8 comes as base64 under KEY_b64. */
void file_json_set(json_t *object, const char *key, const char *text);
/* path, type, mode, uid, gid, size, mtime, mtime_nsec, nlink; target, object, device where there is one. */
json_t *file_json(const TreeNode *node);
/* Everything: that, and xattrs (values as base64). */
json_t *file_json_full(const TreeNode *node);
