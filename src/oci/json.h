/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to oci/: pieces of JSON. All results are new references. */
#pragma once

#include "oci/oci.h"

#include <jansson.h>

/* Bytes that are not UTF-8 are replaced: JSON can't hold them. */
json_t *oci_json_text(const char *text);
json_t *oci_json_list(char *const *list);
/* What stands under "config" in an image config. */
json_t *oci_json_settings(const OciConfig *config);
/* Takes the reference. */
char *oci_json_dump(json_t *steal, size_t flags);
