/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of boot entries, replaced as a whole by one rename. */
#pragma once

#include "host/sysroot.h"

/* Makes `deployments` (HostDeployment *, boot order) the host's list. What they need must be durable already.
 * On success the host is read again. */
bool loader_swap(Host *host, GPtrArray *deployments, GError **error);
