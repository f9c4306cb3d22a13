/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `upgrade --check` says, for programs. */
#pragma once

#include "ostree/ostree.h"

/* {schema, available, commit, refspec, version, timestamp, packages: {changed: [{name, arch, from, to}],
 * removed: [{name, arch, version}], added: […]}}. `old` may be NULL: no packages. */
bool host_print_check_json(const OstreePullResult *pulled, const char *refspec, bool available,
                           GVariant *old, GError **error);
