/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Measuring bytes: SHA-256 and the fs-verity digest, incrementally, several at once over one read.
 *
 * The fs-verity digest is that of Linux (fs/verity, "fsverity_descriptor"): SHA-256, 4096-byte blocks,
 * no salt. Needs libcrypto; programs on the start path link base/digest.h only.
 */
#pragma once

#include "base/digest.h"

#include <glib.h>

typedef struct HashSha256 HashSha256;
HashSha256 *hash_sha256_new(void);
void hash_sha256_update(HashSha256 *hash, const void *data, size_t size);
/* Gives the digest and makes the hash ready for another message. */
void hash_sha256_finish(HashSha256 *hash, Digest *out_digest);
void hash_sha256_free(HashSha256 *hash);

void hash_sha256(const void *data, size_t size, Digest *out_digest);

typedef struct HashVerity HashVerity;
HashVerity *hash_verity_new(void);
void hash_verity_update(HashVerity *hash, const void *data, size_t size);
/* As many zero bytes: the holes of sparse files, at a cost that doesn't grow with their size. */
void hash_verity_update_zeros(HashVerity *hash, uint64_t size);
/* Gives the digest and makes the hash ready for another file. */
void hash_verity_finish(HashVerity *hash, Digest *out_digest);
void hash_verity_free(HashVerity *hash);

void hash_verity(const void *data, size_t size, Digest *out_digest);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HashSha256, hash_sha256_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HashVerity, hash_verity_free)
