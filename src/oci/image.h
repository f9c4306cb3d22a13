/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to oci/: where images are in the store. */
#pragma once

#include "oci/oci.h"

#include <jansson.h>

/* stream ids, followed by "sha256:…" */
#define OCI_CONFIG_STREAM   "oci-config-"
#define OCI_MANIFEST_STREAM "oci-manifest-"
#define OCI_LAYER_STREAM    "oci-layer-"

/* the named reference of a config stream to its EROFS image (V1) */
#define OCI_IMAGE_REF "composefs.image.v1"

/* folders of refs */
#define OCI_NAMES "oci"
#define OCI_IDS   "oci-id"
#define OCI_CACHE "oci-cache"

#define OCI_JSON_MAX (4u << 20) /* larger configs and manifests are refused, as registries do */

/* The "sha256:…" behind `kind` in a stream's id; NULL when it is no such stream. Borrowed. */
const char *oci_stream_digest(const char *stream, const char *kind);
