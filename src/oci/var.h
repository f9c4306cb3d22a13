/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to oci/: /var of a composed tree. */
#pragma once

#include "tree/tree.h"

/* Makes what the lines of usr/lib/tmpfiles.d/atomic-var.conf say: directories (d), links (L),
 * and files copied from /usr/share/factory (C). Only below /var; what is there already stays. */
bool var_populate(Tree *tree, const char *text, size_t size, GError **error);
