/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The SHA-256 of two blocks of 4096 bytes at once: what a Merkle tree needs all the time. Private to src/base. */
#pragma once

#include <stdint.h>

enum { SHA256_PAIR_BLOCK = 4096 };

void sha256_pair(const uint8_t *const blocks[2], uint8_t digests[2][32]);
