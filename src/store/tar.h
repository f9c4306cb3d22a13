/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tar header block, shared by reader and writer.
 *
 * Sources: POSIX.1-2017 pax (ustar and pax extended headers), GNU tar manual "Basic Tar Format" (L, K,
 * base-256 numbers).
 */
#pragma once

#include <stdint.h>

#define TAR_BLOCK 512

typedef struct {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char linkname[100];
    char magic[6]; /* "ustar\0" (POSIX) or "ustar " (GNU, where `prefix` is other things) */
    char version[2];
    char uname[32], gname[32];
    char devmajor[8], devminor[8];
    char prefix[155];
    char padding[12];
} TarHeader;

_Static_assert(sizeof(TarHeader) == TAR_BLOCK, "a tar header is one block");

/* The sum of all bytes with the checksum field taken as spaces; the signed variant is what some old
 * writers computed. */
static inline void tar_checksums(const TarHeader *header, int64_t *out_unsigned,
                                 int64_t *out_signed)
{
    const unsigned char *p = (const unsigned char *)header;
    int64_t plain = 0, with_sign = 0;
    for (int i = 0; i < TAR_BLOCK; i++) {
        unsigned char c = i >= 148 && i < 156 ? ' ' : p[i];
        plain += c;
        with_sign += (signed char)c;
    }
    *out_unsigned = plain;
    *out_signed = with_sign;
}

static inline uint64_t tar_padding(uint64_t size)
{
    return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}
