/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other side of OstreeChecksums. Private to src/ostree. */
#pragma once

#include "ostree/ostree.h"

/* The checksum of the inode's file object as it was imported; NULL when it is not known, or the inode has changed
 * since. `checksums` may be NULL. */
const Digest *checksums_find(const OstreeChecksums *checksums, const TreeInode *inode,
                             bool no_xattrs);
