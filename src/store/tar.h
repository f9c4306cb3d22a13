/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tar format, a file per part: the bytes (tar_input.c), the 512-byte header (tar_header.c; POSIX ustar, also v7's,
 * GNU's and star's), what describes the entry after it (tar_extra.c; pax headers, GNU's long names), sparse files
 * (tar_sparse.c). tar_read.c makes a tree of them. Private to src/store. */
#pragma once

#include "store/txn.h"

enum {
    TAR_BLOCK = 512,
    TAR_PIECE = 1 << 20,
    TAR_EXTRA_MAX = 16 << 20,  /* what pax headers and GNU long names may say about one entry */
    TAR_REGIONS_MAX = 1 << 20, /* of one sparse file */
    TAR_HOLES_GIB = 64,        /* of all sparse files of one archive; tar_sparse.c says why */
};

typedef struct {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], unused[12];
} TarHeader;
G_STATIC_ASSERT(sizeof(TarHeader) == TAR_BLOCK);

/* --- bytes ---------------------------------------------------------------------------------------------- */

/* The archive's bytes with read-ahead, and the split stream that gets them as they are. */
typedef struct {
    StoreReadFunc read;
    void *data;
    StoreStreamWriter *stream; /* may be NULL */
    uint8_t *buffer;
    size_t at, end;
    bool ended;
} TarInput;
void tar_input_init(TarInput *input, StoreReadFunc read, void *data, StoreStreamWriter *stream);
void tar_input_clear(TarInput *input);
/* The next bytes, at most TAR_PIECE, fewer (*size) only at the end; NULL with the error set. Valid until the next call. */
const uint8_t *tar_input_some(TarInput *input, size_t *size, GError **error);
/* Exactly so many; ERROR_CORRUPT when the archive ends before. */
const uint8_t *tar_input_take(TarInput *input, size_t size, GError **error);
/* The same, for what is part of the stream as it is. */
const uint8_t *tar_input_inline(TarInput *input, size_t size, GError **error);
bool tar_input_skip(TarInput *input, uint64_t size, GError **error);
bool tar_input_padding(TarInput *input, uint64_t size, GError **error);

/* --- entries -------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t offset, size;
} TarRegion;

typedef enum {
    TAR_DENSE,
    TAR_SPARSE_HEADER, /* GNU's type 'S': the map is in the header, and goes on in blocks behind it */
    TAR_SPARSE_RECORDS, /* pax, versions 0.0 and 0.1: in the pax header */
    TAR_SPARSE_CONTENT, /* pax, version 1.0: before the content, as text */
} TarSparse;

typedef struct {
    char type;
    char *path, *link;
    uint32_t mode, uid, gid, major, minor, mtime_nsec;
    int64_t mtime; /* >= 0: a tree has no earlier times */
    uint64_t size; /* of what is in the archive */
    TarSparse sparse;
    uint64_t real_size; /* of a sparse file */
    GArray *regions;    /* of TarRegion: what of it is in the archive; NULL = none yet */
    bool more_regions;  /* TAR_SPARSE_HEADER: another block of them follows */
    GArray *xattrs;     /* of TreeXattr */
    GPtrArray *memory;  /* where they are */
} TarEntry;

TarEntry *tar_entry_new(void);
void tar_entry_free(TarEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TarEntry, tar_entry_free)
/* ERROR_INVALID when there are too many. */
bool tar_entry_add_region(TarEntry *entry, uint64_t offset, uint64_t size, GError **error);

bool tar_header_is_zero(const TarHeader *header);
/* Its checksum is right. */
bool tar_header_is_good(const TarHeader *header);
/* ERROR_CORRUPT for a wrong checksum or number. */
bool tar_header_parse(const TarHeader *header, TarEntry *entry, GError **error);
/* A number of a field: octal digits, or GNU's binary number. */
bool tar_number_parse(const char *field, size_t size, int64_t *out_number, GError **error);
/* The regions of a field with `n` pairs of numbers, up to the first that is not used. */
bool tar_header_regions(TarEntry *entry, const char *field, int n, GError **error);

/* --- what is said about the next entry ------------------------------------------------------------------- */

typedef struct TarExtra TarExtra;
TarExtra *tar_extra_new(void);
void tar_extra_free(TarExtra *extra);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TarExtra, tar_extra_free)
/* The content of an entry of a type that tar_extra_is() says yes to. */
bool tar_extra_is(char type);
bool tar_extra_parse(TarExtra *extra, char type, const char *text, size_t size, GError **error);
/* Says it about the entry, and forgets all but what global headers said. ERROR_INVALID for what may not be imported. */
bool tar_extra_apply(TarExtra *extra, TarEntry *entry, GError **error);

/* --- sparse files --------------------------------------------------------------------------------------- */

/* The file's content, holes filled: up to TREE_INLINE_MAX bytes into `small`, else an object. What is in the archive goes
 * inline into the stream. `holes_left`: how many bytes of holes the rest of the archive may claim. */
bool tar_sparse_read(TarInput *input, TarEntry *entry, StoreTxn *txn, uint64_t *holes_left,
                     uint8_t *small, Digest *out_object, GError **error);
