/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Composefs dumps from a seed, the same on every machine: what the image writer is compared on with the real
 * mkcomposefs. They hold every shape that decides a byte of an image: names of all bytes, sizes about the limits,
 * shared and unshared xattrs, hard links in any order, devices, whiteouts, symlinks about a block's length. */
#pragma once

#include <glib.h>
#include <stdint.h>

/* A dump that mkcomposefs accepts. */
GString *random_dump(uint64_t seed);
/* One that has been damaged in a line or two: mostly refused. */
GString *random_damaged_dump(uint64_t seed);
