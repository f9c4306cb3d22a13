/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Container images in the store.
 *
 *     streams/oci-config-sha256:C    the image's JSON config; C is the image's id. Its named
 *                                    references: each diff_id -> that layer's stream, and
 *                                    "composefs.image.v1" -> the EROFS image of all layers applied,
 *                                    which is what gets mounted
 *     streams/oci-layer-sha256:D     a layer's tar as a split stream; D (diff_id) hashes the tar
 *     streams/oci-manifest-sha256:M  the manifest; references the config and the layers
 *
 *     streams/refs/oci/NAME:TAG      -> oci-manifest-…; images/refs/oci/NAME:TAG -> EROFS image
 *     streams/refs/oci-id/C          -> oci-manifest-…; one for every image, named or not
 *     streams/refs/oci-cache/KEY     -> oci-config-…; what a build step gave, by what went into it
 *
 * An image exists while refs/oci-id has it; a name that moves away leaves the image unnamed, as
 * in Docker. An intermediate image of a build lives by its cache refs and can be used by its id
 * too.
 *
 * Names are Docker's: "docker.io/library/web:latest", "library/web" and "web" are one image,
 * shown and stored as "web:latest". What no image has as its name is taken as an id or any
 * unique prefix of one, with or without "sha256:".
 *
 * The first half of this header links the store's reader and jansson, no libcrypto and no
 * libarchive: it is on the path of every container start. The second half ("making images") is
 * for the programs that make images.
 */
#pragma once

#include "base/digest.h"
#include "store/store.h"

#include <jansson.h>

typedef struct {
    char *created;    /* RFC 3339, may be NULL */
    char *created_by; /* may be NULL */
    char *author;     /* may be NULL */
    char *comment;    /* may be NULL */
    bool empty_layer;
} OciHistory;

/* Times in nanoseconds as in the file; 0 = the default of whoever runs it. */
typedef struct {
    char **test; /* {"NONE"}, {"CMD", …}, {"CMD-SHELL", text}; NULL: nothing said */
    int64_t interval, timeout, start_period, start_interval;
    int64_t retries;
} OciHealthcheck;

/* The image config. Strings are never NULL where not said ("" = not set); lists are never NULL,
 * NULL-ended. */
typedef struct {
    char *created; /* RFC 3339 */
    char *author;
    char *architecture, *os, *variant; /* Go's names: "amd64", "linux" */

    char *user;        /* "", "user", "uid:gid", … */
    char *working_dir; /* "" = "/" */
    char *stop_signal; /* "SIGTERM", "15"; "" = SIGTERM */
    char **env;        /* "KEY=value", in order, each key once */
    char **entrypoint;
    char **cmd;
    char **shell;         /* Docker's; empty = /bin/sh -c */
    char **on_build;      /* Docker's */
    char **exposed_ports; /* "80/tcp", sorted */
    char **volumes;       /* absolute paths, sorted */
    GHashTable *labels;   /* char * -> char * */
    OciHealthcheck healthcheck;

    char **diff_ids;    /* "sha256:…", lowest layer first */
    GPtrArray *history; /* of OciHistory */
} OciConfig;

OciConfig *oci_config_new(void); /* this machine's architecture, "linux", everything else empty */
OciConfig *oci_config_copy(const OciConfig *config);
void oci_config_free(OciConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OciConfig, oci_config_free)
/* ERROR_CORRUPT for what is no image config. */
OciConfig *oci_config_parse(const char *json, size_t size, GError **error);
/* The same config always gives the same bytes: fixed key order, maps sorted, no white space. */
char *oci_config_format(const OciConfig *config);
/* "KEY=value" for KEY, or NULL; the value begins behind the '='. */
const char *oci_config_env(const OciConfig *config, const char *key);
/* Adds or replaces in place. */
void oci_config_set_env(OciConfig *config, const char *key, const char *value);

/* --- names ------------------------------------------------------------------------------------ */

/* The familiar name with its tag: "web:latest", "quay.io/a/b:1". ERROR_INVALID says what is wrong. */
char *oci_name_normalize(const char *text, GError **error);
/* Splits a normalised name; both newly allocated. */
void oci_name_split(const char *normalized, char **out_repository, char **out_tag);

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct {
    char *id;       /* "sha256:" and 64 hex digits of the config */
    char **names;   /* normalised names, sorted; empty for an unnamed image */
    char *manifest; /* "sha256:…"; NULL for a build's intermediate image */
    Digest image;   /* the EROFS image, under images/ */
    OciConfig *config;
} OciImage;

/* By name, id or unique prefix of an id. ERROR_NOT_FOUND "no such image 'x'" with a hint. `names`
 * is filled in only as far as it costs nothing: by name, that name; oci_image_list() gives all. */
OciImage *oci_image_open(Store *store, const char *name_or_id, GError **error);
void oci_image_free(OciImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OciImage, oci_image_free)
/* All images that exist (OciImage *, owned), newest first; with `intermediate`, what is in the
 * build cache too. */
GPtrArray *oci_image_list(Store *store, bool intermediate, GError **error);
/* Bytes of the layers' tars. */
bool oci_image_size(Store *store, const OciImage *image, uint64_t *out_size, GError **error);

/* Docker's `image inspect` document, with "composefs" (the EROFS image) and "Sharing" added. A
 * new reference. */
json_t *oci_image_inspect(Store *store, const OciImage *image, GError **error);

/* What images take and what they share with this host's trees (images/refs/deploy). Reads every
 * named image's metadata. */
typedef struct {
    uint64_t bytes;        /* of the distinct objects of all images */
    uint64_t shared_bytes; /* of those that a deployed tree has too */
    uint64_t images;
} OciSharing;
bool oci_sharing(Store *store, OciSharing *out_sharing, GError **error);
/* The same for one image, against deployed trees. */
bool oci_image_sharing(Store *store, const OciImage *image, OciSharing *out_sharing,
                       GError **error);

/* --- names of images: writing refs only ------------------------------------------------------- */

/* Gives the image a (further) name; `name` need not be normalised. An image that had it becomes
 * unnamed. */
bool oci_image_tag(Store *store, const OciImage *image, const char *name, GError **error);
/* Takes the name away; the image stays. ERROR_NOT_FOUND. */
bool oci_image_untag(Store *store, const char *name, GError **error);
/* Takes all names and the image itself away, and what only its build left in the cache. The bytes
 * go with the next garbage collection. */
bool oci_image_remove(Store *store, const OciImage *image, GError **error);

/* --- the build cache -------------------------------------------------------------------------- */

/* The intermediate image under this key (hex digits), or NULL without an error. */
OciImage *oci_cache_get(Store *store, const char *key, GError **error);
bool oci_cache_set(Store *store, const char *key, const char *id, GError **error);

/* --- making images (libcrypto) ---------------------------------------------------------------- */

typedef struct {
    char *diff_id; /* "sha256:…" */
    Digest stream; /* the split stream, linked as oci-layer-DIFF_ID once the image is written */
    uint64_t size; /* of the tar */
} OciLayer;
void oci_layer_free(OciLayer *layer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OciLayer, oci_layer_free)

/* The layer tree (whiteouts allowed) as a tar in a split stream of the transaction. */
OciLayer *oci_layer_write(StoreTxn *txn, Tree *layer, GError **error);

/* Writes an image: `image` is the EROFS image of all layers applied (already committed),
 * `new_layer` (may be NULL) the one that is not in the store yet; its diff_id must be among the
 * config's. Durable when it returns, but an intermediate image: it lives by the refs that the
 * caller makes (oci_cache_set) until oci_image_keep(). *out_id: "sha256:…". */
typedef struct {
    const OciConfig *config;
    const Digest *image;
    const OciLayer *new_layer;
} OciImageWrite;
bool oci_image_write(StoreTxn *txn, const OciImageWrite *what, char **out_id, GError **error);
/* Makes it one that exists for itself: manifest and refs/oci-id. Nothing to do when it does. */
bool oci_image_keep(StoreTxn *txn, OciImage *image, GError **error);

/* A composed tree (an OSTree ref or commit of this store) as an image of one layer: /usr/etc
 * becomes /etc, /var is made as its tmpfiles say, the places that a container has mounts on exist.
 * Host and image then have every object in common. Same commit, same image. */
OciImage *oci_image_from_tree(Store *store, const char *ref, GError **error);
