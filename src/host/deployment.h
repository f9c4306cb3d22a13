/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A deployment's name and key file.
 *
 *     [deployment]
 *     version=1        what wrote it
 *     min_reader=1     the oldest reader that understands it; newer: refused
 *     commit=, image=, os=, origin=, timestamp=, tree-version=, title=, bootcsum=, initrd=, pinned=
 *
 * Kernel arguments are not here: they live only in the boot entry.
 */
#pragma once

#include "host/host.h"

enum {
    DEPLOYMENT_VERSION = 1, /* what this program writes, and the newest that it reads */
};

/* "COMMIT.N"; the outputs may be NULL. */
bool deployment_parse_id(const char *id, char **out_commit, unsigned *out_serial);
char *deployment_format(const HostDeployment *deployment);
/* `id` is trusted over the text's own commit: they must agree. ERROR_CORRUPT, ERROR_UNSUPPORTED. */
HostDeployment *deployment_parse(const char *id, const char *text, GError **error);
/* One whose key file is lost or damaged: what its name says, `damaged` set, strings "" or NULL. */
HostDeployment *deployment_new_damaged(const char *id);
HostDeployment *deployment_copy(const HostDeployment *deployment);
