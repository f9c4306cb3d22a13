/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of OSTree objects: formats/ostree.md 1.1-1.3. Nothing here knows the store.
 *
 * A file object has two headers: the *archive* header (with the size; what `.filez` files begin with and
 * what commit streams keep) and the *hash* header (without it; what the checksum covers, followed by the
 * content). Both are an 8-byte prefix (big-endian length, zeros) and a variant.
 */
#pragma once

#include "base/digest.h"
#include "base/error.h"
#include "tree/tree.h"

#define OBJECT_HASH_TYPE    "(uuuusa(ayay))"
#define OBJECT_ARCHIVE_TYPE "(tuuuusa(ayay))"
#define OBJECT_DIRTREE_TYPE "(a(say)a(sayay))"
#define OBJECT_DIRMETA_TYPE "(uuua(ayay))"
#define OBJECT_COMMIT_TYPE  "(a{sv}aya(say)sstayay)"
#define OBJECT_METADATA_MAX (128u << 20)
#define OBJECT_PREFIX_SIZE  8

typedef enum {
    OBJECT_FILE,
    OBJECT_DIRTREE,
    OBJECT_DIRMETA,
    OBJECT_COMMIT,
} ObjectType;

/* "objects/XX/REST.filez" and so on, as in an archive repository. */
char *object_path(const Digest *id, ObjectType type);
/* "CHECKSUM.filez": how messages name it. */
char *object_name(const Digest *id, ObjectType type);

/* Headers of an inode: a regular file or a symbolic link. */
GBytes *object_archive_header(const TreeInode *inode, bool no_xattrs);
GBytes *object_inode_hash_header(const TreeInode *inode, bool no_xattrs);
GBytes *object_dirmeta(const TreeInode *inode, bool no_xattrs);

typedef struct {
    uint64_t size;
    uint32_t uid, gid, mode;
    const char *target; /* "" for files */
    GVariant *xattrs;   /* a(ayay) */
    size_t header_size; /* of the archive header, with the prefix */
    GVariant *variant;  /* owns all of it */
} ObjectFile;
void object_file_clear(ObjectFile *file);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ObjectFile, object_file_clear)
/* Reads an archive header; what follows it is left to the caller. ERROR_CORRUPT for anything that the format forbids. */
bool object_parse_file(const uint8_t *data, size_t size, ObjectFile *out_file, GError **error);
/* The hash header of a parsed file. */
GBytes *object_hash_header(const ObjectFile *file);

/* A metadata object's variant, checked to be in normal form. */
GVariant *object_parse(const char *type, const uint8_t *data, size_t size, GError **error);
/* Sets owner, mode and xattrs of a directory. */
bool object_apply_dirmeta(GVariant *dirmeta, Tree *tree, TreeInode *inode, GError **error);
bool object_apply_xattrs(GVariant *xattrs, Tree *tree, TreeInode *inode, GError **error);

/* A dirtree read entry by entry: names are valid and strictly ascending. */
typedef bool (*ObjectEntry)(const char *name, const Digest *id,
                            const Digest *meta /* NULL: a file */, void *data, GError **error);
bool object_each_entry(GVariant *dirtree, ObjectEntry each, void *data, GError **error);

/* 32 bytes in an `ay`; false for another length. */
bool object_get_digest(GVariant *bytes, Digest *out_digest);
GVariant *object_digest_variant(const Digest *digest);
