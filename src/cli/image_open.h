/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the image verbs share. */
#pragma once

#include "cli/cli.h"
#include "oci/oci.h"

/* The store of --store, $ATOMIC_STORE or the default place. */
Store *image_open_store(const CliCommon *common, GError **error);
/* 12 digits of an id, or all of it with its "sha256:". Newly allocated. */
char *image_shown_id(const char *id, bool whole);
/* "5 minutes ago", or "N/A" when it isn't said. */
char *image_age(const char *created);
