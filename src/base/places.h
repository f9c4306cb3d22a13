/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two directories in which everything is that is not in a store or on a host's sysroot. Absolute paths, newly
 * allocated; nothing is made. */
#pragma once

/* $ATOMIC_ROOT, else /var/lib/atomic: what outlives a boot. */
char *places_root(void);
/* $ATOMIC_RUN, else /run/atomic: what a boot may empty. */
char *places_run(void);
