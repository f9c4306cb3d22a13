/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the low-level SHA256_* calls are used although OpenSSL 3 prefers EVP: a Merkle tree hashes
 * each 4096-byte block by itself, and EVP's set-up costs more there than it does on a stream.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/hash.h"

#include "base/sha256_pair.h"

#include <openssl/sha.h>

enum { BLOCK = SHA256_PAIR_BLOCK, LEVELS = 8, HASHES = BLOCK / DIGEST_SIZE };

struct HashSha256 {
    SHA256_CTX context;
};

HashSha256 *hash_sha256_new(void)
{
    HashSha256 *hash = g_new(HashSha256, 1);
    SHA256_Init(&hash->context);
    return hash;
}

void hash_sha256_update(HashSha256 *hash, const void *data, size_t size)
{
    SHA256_Update(&hash->context, data, size);
}

void hash_sha256_finish(HashSha256 *hash, Digest *out_digest)
{
    SHA256_Final(out_digest->bytes, &hash->context);
    SHA256_Init(&hash->context);
}

void hash_sha256_free(HashSha256 *hash)
{
    g_free(hash);
}

void hash_sha256(const void *data, size_t size, Digest *out_digest)
{
    SHA256(data, size, out_digest->bytes);
}

/* One partial block per level of the Merkle tree; level 0 holds file data, level n the hashes of
 * level n-1's blocks. */
typedef struct {
    uint8_t *block;
    size_t used;
    uint64_t blocks; /* full blocks hashed so far */
} Level;

struct HashVerity {
    Level levels[LEVELS + 1];
    uint64_t size;
};

HashVerity *hash_verity_new(void)
{
    return g_new0(HashVerity, 1);
}

void hash_verity_free(HashVerity *hash)
{
    if (!hash)
        return;
    for (int i = 0; i <= LEVELS; i++)
        g_free(hash->levels[i].block);
    g_free(hash);
}

static void add_to_level(HashVerity *hash, int index, const uint8_t *digest);

/* Hashes the level's block and hands the hash upwards. */
static void flush_level(HashVerity *hash, int index)
{
    Level *level = &hash->levels[index];
    uint8_t digest[DIGEST_SIZE];
    memset(level->block + level->used, 0, BLOCK - level->used);
    SHA256(level->block, BLOCK, digest);
    level->used = 0;
    level->blocks++;
    add_to_level(hash, index + 1, digest);
}

static void add_to_level(HashVerity *hash, int index, const uint8_t *digest)
{
    g_assert(index <= LEVELS); /* 64-bit sizes need no more than LEVELS */
    Level *level = &hash->levels[index];
    if (!level->block)
        level->block = g_malloc(BLOCK);
    /* A full block is flushed only when more comes: the last one of the file may be the root. */
    if (level->used == BLOCK)
        flush_level(hash, index);
    memcpy(level->block + level->used, digest, DIGEST_SIZE);
    level->used += DIGEST_SIZE;
}

void hash_verity_update(HashVerity *hash, const void *data, size_t size)
{
    const uint8_t *p = data;
    Level *level = &hash->levels[0];
    if (!level->block)
        level->block = g_malloc(BLOCK);
    hash->size += size;
    while (size > 0) {
        if (level->used == BLOCK)
            flush_level(hash, 0);
        /* whole blocks that are followed by more data are hashed where they lie */
        while (level->used == 0 && size > 2 * BLOCK) {
            const uint8_t *const blocks[2] = {p, p + BLOCK};
            uint8_t digests[2][DIGEST_SIZE];
            sha256_pair(blocks, digests);
            level->blocks += 2;
            add_to_level(hash, 1, digests[0]);
            add_to_level(hash, 1, digests[1]);
            p += 2 * BLOCK;
            size -= 2 * BLOCK;
        }
        while (level->used == 0 && size > BLOCK) {
            uint8_t digest[DIGEST_SIZE];
            SHA256(p, BLOCK, digest);
            level->blocks++;
            add_to_level(hash, 1, digest);
            p += BLOCK;
            size -= BLOCK;
        }
        size_t n = MIN(size, BLOCK - level->used);
        memcpy(level->block + level->used, p, n);
        level->used += n;
        p += n;
        size -= n;
    }
}

/* By level: the hash of a block with nothing but zeros below it. */
static const uint8_t *zero_block_hash(int level)
{
    static uint8_t hashes[LEVELS + 1][DIGEST_SIZE];
    static gsize ready;
    if (g_once_init_enter(&ready)) {
        uint8_t block[BLOCK] = {0};
        for (int i = 0; i <= LEVELS; i++) {
            SHA256(block, BLOCK, hashes[i]);
            for (int j = 0; j < HASHES; j++)
                memcpy(block + j * DIGEST_SIZE, hashes[i], DIGEST_SIZE);
        }
        g_once_init_leave(&ready, 1);
    }
    return hashes[level];
}

/* Adds n hashes of zero blocks of the level below: one by one to the end of the block, then by whole blocks, which
 * are zero blocks of this level, then the rest. */
static void add_zero_blocks(HashVerity *hash, int index, uint64_t n)
{
    Level *level = &hash->levels[index];
    const uint8_t *digest = zero_block_hash(index - 1);
    while (n > 0 && level->used > 0 && level->used < BLOCK) {
        add_to_level(hash, index, digest);
        n--;
    }
    if (n > HASHES) {
        if (level->used == BLOCK)
            flush_level(hash, index);
        uint64_t whole = (n - 1) / HASHES; /* the last one may be the root: it is not flushed */
        level->blocks += whole;
        add_zero_blocks(hash, index + 1, whole);
        n -= whole * HASHES;
    }
    while (n-- > 0)
        add_to_level(hash, index, digest);
}

void hash_verity_update_zeros(HashVerity *hash, uint64_t size)
{
    static const uint8_t zeros[BLOCK];
    Level *level = &hash->levels[0];
    size_t first = (size_t)MIN(size, (BLOCK - level->used) % BLOCK);
    hash_verity_update(hash, zeros, first);
    size -= first;
    if (size > BLOCK) {
        if (level->used == BLOCK)
            flush_level(hash, 0);
        uint64_t whole = (size - 1) / BLOCK;
        level->blocks += whole;
        hash->size += whole * BLOCK;
        add_zero_blocks(hash, 1, whole);
        size -= whole * BLOCK;
    }
    hash_verity_update(hash, zeros, (size_t)size);
}

/* The root hash: that of the only block of the first level that has just one. */
static void finish_root(HashVerity *hash, uint8_t *out_root)
{
    if (hash->size == 0) {
        memset(out_root, 0, DIGEST_SIZE);
        return;
    }
    for (int i = 0;; i++) {
        Level *level = &hash->levels[i];
        if (level->blocks == 0) {
            memset(level->block + level->used, 0, BLOCK - level->used);
            SHA256(level->block, BLOCK, out_root);
            return;
        }
        flush_level(hash, i);
    }
}

static void hash_descriptor(uint64_t size, const uint8_t root[DIGEST_SIZE], Digest *out_digest)
{
    /* struct fsverity_descriptor, include/uapi/linux/fsverity.h */
    uint8_t descriptor[256] = {
        [0] = 1, [1] = 1 /* SHA-256 */, [2] = 12 /* log2 of the block size */};
    for (int i = 0; i < 8; i++)
        descriptor[8 + i] = (uint8_t)(size >> (8 * i));
    memcpy(descriptor + 16, root, DIGEST_SIZE);
    SHA256(descriptor, sizeof descriptor, out_digest->bytes);
}

void hash_verity_finish(HashVerity *hash, Digest *out_digest)
{
    uint8_t root[DIGEST_SIZE];
    finish_root(hash, root);
    hash_descriptor(hash->size, root, out_digest);
    hash->size = 0;
    for (int i = 0; i <= LEVELS; i++)
        hash->levels[i].used = hash->levels[i].blocks = 0;
}

void hash_verity(const void *data, size_t size, Digest *out_digest)
{
    if (size > 0 && size <= BLOCK) { /* half of all files: no level above, nothing to allocate */
        uint8_t block[BLOCK], root[DIGEST_SIZE];
        memcpy(block, data, size);
        memset(block + size, 0, BLOCK - size);
        SHA256(block, BLOCK, root);
        return hash_descriptor(size, root, out_digest);
    }
    g_autoptr(HashVerity) hash = hash_verity_new();
    hash_verity_update(hash, data, size);
    hash_verity_finish(hash, out_digest);
}
