/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: most files of a tree have one of a few headers (owner, mode, xattrs), so each is formatted once and kept;
 * equal sets of xattrs are one pointer in a tree. */
#include "ostree/checksums.h"

#include "ostree/object.h"

typedef struct {
    uint32_t uid, gid, mode, n_xattrs;
    const TreeXattr *xattrs;
    GBytes *bytes;
} Header;

typedef struct {
    const Header *header;
    Digest object, checksum;
} File;

struct OstreeChecksums {
    StoreChecksum hook;
    bool no_xattrs;
    GHashTable *headers; /* Header: a set */
    GHashTable *files;   /* TreeInode * -> File */
};

static unsigned header_hash(const void *data)
{
    const Header *h = data;
    return h->uid * 31 + h->gid * 17 + h->mode * 7 + (unsigned)((uintptr_t)h->xattrs >> 4);
}

static int header_equal(const void *a, const void *b)
{
    const Header *x = a, *y = b;
    return x->uid == y->uid && x->gid == y->gid && x->mode == y->mode &&
           x->n_xattrs == y->n_xattrs && x->xattrs == y->xattrs;
}

static void header_free(void *data)
{
    Header *header = data;
    g_clear_pointer(&header->bytes, g_bytes_unref);
    g_free(header);
}

static Header header_of(const TreeInode *inode)
{
    return (Header){.uid = inode->uid,
                    .gid = inode->gid,
                    .mode = inode->mode,
                    .n_xattrs = inode->n_xattrs,
                    .xattrs = inode->xattrs};
}

static GBytes *prefix(const TreeInode *inode, void *data)
{
    OstreeChecksums *checksums = data;
    Header wanted = header_of(inode), *header = g_hash_table_lookup(checksums->headers, &wanted);
    if (!header) {
        header = g_memdup2(&wanted, sizeof wanted);
        header->bytes = object_inode_hash_header(inode, checksums->no_xattrs);
        g_hash_table_add(checksums->headers, header);
    }
    return g_bytes_ref(header->bytes);
}

static void take(const TreeInode *inode, GBytes *bytes _unused, const Digest *checksum, void *data)
{
    OstreeChecksums *checksums = data;
    Header wanted = header_of(inode);
    File *file = g_new0(File, 1);
    *file = (File){.header = g_hash_table_lookup(checksums->headers, &wanted),
                   .object = inode->object,
                   .checksum = *checksum};
    g_hash_table_insert(checksums->files, (void *)inode, file);
}

OstreeChecksums *ostree_checksums_new(bool no_xattrs)
{
    OstreeChecksums *checksums = g_new0(OstreeChecksums, 1);
    checksums->hook = (StoreChecksum){.prefix = prefix, .take = take, .data = checksums};
    checksums->no_xattrs = no_xattrs;
    checksums->headers = g_hash_table_new_full(header_hash, header_equal, header_free, NULL);
    checksums->files = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    return checksums;
}

const StoreChecksum *ostree_checksums_hook(const OstreeChecksums *checksums)
{
    return &checksums->hook;
}

void ostree_checksums_free(OstreeChecksums *checksums)
{
    if (!checksums)
        return;
    g_hash_table_unref(checksums->files);
    g_hash_table_unref(checksums->headers);
    g_free(checksums);
}

const Digest *checksums_find(const OstreeChecksums *checksums, const TreeInode *inode,
                             bool no_xattrs)
{
    const File *file = checksums ? g_hash_table_lookup(checksums->files, inode) : NULL;
    Header now = header_of(inode);
    bool same = file && checksums->no_xattrs == no_xattrs && file->header &&
                header_equal(file->header, &now) && inode->has_object &&
                digest_equal(&file->object, &inode->object);
    return same ? &file->checksum : NULL;
}
