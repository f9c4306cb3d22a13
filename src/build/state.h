/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to build/: a build that is going on.
 *
 * A stage is an image that grows: `image` is what the last instruction gave, `config` a copy of
 * its config that the next instruction changes. step_commit() writes config (and layer) as the
 * next image.
 */
#pragma once

#include "build/build.h"
#include "build/dockerfile.h"
#include "oci/oci.h"

typedef struct Context Context; /* context.h */

typedef struct {
    const DockerfileStage *source;
    OciImage *image;   /* NULL: nothing yet, or scratch */
    OciConfig *config; /* for the image to come */
    Tree *tree;        /* the files of `image`, loaded when first needed; NULL */
    GHashTable *args;  /* ARGs declared so far: name -> value; NULL value: declared only */
    bool cmd_is_own;   /* CMD was set in this stage: ENTRYPOINT keeps it */
} Stage;

typedef struct {
    Store *store;
    StoreTxn *txn;
    const BuildOptions *options;
    const Dockerfile *file;
    Context *context;
    FILE *out;               /* never NULL */
    GHashTable *build_args;  /* --build-arg: name -> value */
    GHashTable *used_args;   /* set of names */
    GHashTable *global_args; /* ARGs before the first FROM: name -> value */
    GPtrArray *stages;       /* of Stage *, one for each of the file's, in order */
    unsigned step, n_steps;
    uint64_t timestamp; /* of everything made */
    bool clamp_times;   /* $SOURCE_DATE_EPOCH: no file is newer than `timestamp` */
} Build;

/* --- variables: variables.c ------------------------------------------------------------------- */

/* ARGs before the first FROM. */
bool variables_read_global(Build *build, GError **error);
/* An ARG instruction inside a stage. */
bool variables_declare(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                       GError **error);
/* stage NULL: FROM, which sees the global ones only. */
char *variables_expand(Build *build, Stage *stage, const char *text, GError **error);
char **variables_expand_split(Build *build, Stage *stage, const char *text, GError **error);
/* The ARGs that a RUN sees, "NAME=value" sorted, without those that the image's environment has
 * too. */
char **variables_for_run(const Stage *stage);
/* The same for the proxy variables, which need no ARG and are no part of the result. */
char **variables_proxies(Build *build);
/* Build arguments that no ARG asked for. */
char **variables_unused(const Build *build);

/* --- steps: step.c ---------------------------------------------------------------------------- */

/* An image by name or id, or "tree:REF". */
OciImage *step_open_image(Build *build, const char *name, GError **error);
/* The stage's files; borrowed. */
Tree *step_tree(Build *build, Stage *stage, GError **error);
/* The key of an instruction with these texts (NULL-ended) on the stage's image. */
char *step_key(const Stage *stage, const char *const *parts);
/* Looks the key up and makes what it finds the stage's image. False on failure. */
bool step_find(Build *build, Stage *stage, const char *key, bool *out_found, GError **error);
/* Writes the next image: stage->config with a history entry, and `layer` (NULL: no files) on
 * top. */
bool step_commit(Build *build, Stage *stage, const char *key, const char *created_by, Tree *layer,
                 GError **error);
/* The stage's image is `image` from now on (taken over). */
bool step_use(Stage *stage, OciImage *image, GError **error);
/* Times of the layer that are later than allowed are set back. */
bool step_clamp(Build *build, Tree *layer, GError **error);

/* --- instructions ----------------------------------------------------------------------------- */

/* metadata.c: all but FROM, ARG, RUN, COPY and ADD. Changes stage->config; *out_created_by is
 * for the history. *out_layer: files that it needs (WORKDIR), or NULL. */
bool metadata_apply(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                    char **out_created_by, Tree **out_layer, GError **error);
/* copy.c: the layer of a COPY or ADD. */
Tree *copy_layer(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                 GError **error);
/* run.c: *out_argv is what runs, for keys and messages. */
char **run_argv(const Build *build, const Stage *stage, const DockerfileInstruction *instruction,
                GError **error);
/* Runs it; *out_status 0: *out_layer is what it wrote (NULL: nothing). */
bool run_command(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                 char *const *argv, int *out_status, Tree **out_layer, GError **error);

/* The directory at this path in the layer: made when it is neither there nor in `base`, with
 * base's attributes when it is in base only. Links are followed as they are in base and layer.
 * layer.c */
typedef struct {
    Tree *base, *layer;
    uint32_t uid, gid; /* of directories that are new */
    uint64_t mtime;
} LayerDirs;
TreeNode *layer_dir(const LayerDirs *dirs, const char *path, GError **error);
/* A text file of the tree ("etc/passwd"), links followed; NULL when it isn't there or isn't
 * readable. */
char *layer_read_text(Store *store, Tree *tree, const char *path);
/* Absolute, relative to the stage's working directory. */
char *layer_path(const Stage *stage, const char *path);
