/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to build/: the build context.
 *
 * A directory, seen as a tree without file contents: what .dockerignore excludes is not in it,
 * and links are resolved inside it, so nothing outside can be reached. A file's bytes are read
 * when it is copied; it is opened without following any link, so a context that changes
 * meanwhile does not lead out either.
 */
#pragma once

#include "store/store.h"

typedef struct Context Context;
Context *context_open(const char *path, GError **error);
void context_free(Context *context);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Context, context_free)
/* The Dockerfile in use, relative to the context: its own .dockerignore (NAME.dockerignore)
 * wins. */
void context_set_dockerfile(Context *context, const char *name);
/* A whole file that steers the build, such as the Dockerfile. It may be a link within the context: what
 * lies outside would come to light in error messages. */
char *context_read(const Context *context, const char *name, size_t limit, size_t *out_size,
                   GError **error);
/* Read at the first call; borrowed. */
Tree *context_tree(Context *context, GError **error);
/* A regular file of the tree, for reading. */
int context_open_file(Context *context, const TreeNode *node, GError **error);
