/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images from Dockerfiles.
 *
 * A Dockerfile is parsed whole before anything runs (dockerfile.c), so that a mistake in its last
 * line costs no time. Then each instruction of the stages that are needed makes an image from the
 * one before:
 *
 *     RUN         the sandbox runs the command over the image with an empty writable layer; what is
 *                 in that layer afterwards is the new layer
 *     COPY, ADD   a layer tree made directly from the context's files; nothing is mounted
 *     all others  a new config over the same files
 *
 * What an instruction gave is kept under a key of all that went into it (the parent's id, the
 * instruction, the build arguments, the digests of the files copied), and found again by it.
 */
#pragma once

#include "store/store.h"

#include <stdio.h>

typedef enum {
    BUILD_NETWORK_BRIDGE,
    BUILD_NETWORK_HOST,
    BUILD_NETWORK_NONE,
} BuildNetwork;

typedef struct {
    const char *context;           /* directory */
    const char *dockerfile;        /* NULL: CONTEXT/Dockerfile; "-": standard input */
    const char *const *tags;       /* NULL or NULL-ended */
    const char *const *build_args; /* "KEY=value", or "KEY" for that of the environment */
    const char *const *labels;     /* "KEY=value" */
    const char *target;            /* stage to stop at, or NULL */
    BuildNetwork network;
    bool no_cache;
    FILE *output; /* the steps and what the commands print; NULL: nothing */
} BuildOptions;

/* A command that failed is no error: *out_status is what it returned (0: built) and was reported to
 * the output's reader; *out_id is set only when built. */
bool build_image(Store *store, const BuildOptions *options, int *out_status, char **out_id,
                 GError **error);
