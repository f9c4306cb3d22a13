/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The 512-byte header of tar (POSIX ustar, also GNU's) and one parsed entry. Private to src/store. */
#pragma once

#include "store/txn.h"

enum {
    TAR_BLOCK = 512,
    TAR_EXTRA_MAX = 16 << 20, /* a pax header or GNU long name */
};

typedef struct {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], unused[12];
} TarHeader;
G_STATIC_ASSERT(sizeof(TarHeader) == TAR_BLOCK);

typedef struct {
    char type;
    char *path, *link;
    uint32_t mode, uid, gid, major, minor, mtime_nsec;
    int64_t mtime;
    uint64_t size;
    bool sparse;
    GArray *xattrs; /* TreeXattr; name and value are one allocation in `memory` */
    GPtrArray *memory;
} TarEntry;

TarEntry *tar_entry_new(void);
void tar_entry_free(TarEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TarEntry, tar_entry_free)

bool tar_header_is_zero(const TarHeader *header);
/* Fills what `extra` has not set already. ERROR_CORRUPT for a wrong checksum or number. */
bool tar_header_parse(const TarHeader *header, TarEntry *entry, GError **error);
/* What pax and GNU headers before the entry say. */
typedef struct {
    GHashTable *pax; /* key -> GBytes; of "x" headers, over those of "g" */
    GHashTable *global;
    char *long_name, *long_link;
} TarExtra;
void tar_extra_init(TarExtra *extra);
void tar_extra_clear(TarExtra *extra);
/* Forgets what was for one entry only. */
void tar_extra_next(TarExtra *extra);
bool tar_extra_parse_pax(GHashTable *records, const char *text, size_t size, GError **error);
/* Puts it into the parsed entry. ERROR_INVALID for attributes that may not be imported. */
bool tar_extra_apply(const TarExtra *extra, TarEntry *entry, GError **error);
