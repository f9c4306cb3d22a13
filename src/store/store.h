/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store: a composefs repository. Every file's bytes once, under their fs-verity digest.
 *
 *     meta.json
 *     objects/XX/REST        bytes, mode 0644; nothing about a file but its bytes
 *     images/DIGEST          -> ../objects/XX/REST      an EROFS image that may be mounted
 *     images/refs/NAME       -> ../[../…]DIGEST
 *     streams/ID             -> ../objects/XX/REST      a split stream ("oci-layer-sha256:…", "ostree-commit-…")
 *     streams/refs/NAME      -> ../[../…]ID
 *     staging/BOOTID-KEY/    objects being written; nothing refers to them. Also `roots` (what its writer counts
 *                            on), `journal`
 *     reserve                space kept for a host's upgrade, when the store has one
 *     damaged/DIGEST         what a repair moved aside: not used again, gone with the next collection
 *     lock                   flock: shared per written batch, exclusive per sweep slice. In it a line that every shared
 *                            holder changes, so that a sweep knows whether to look again; the last sweep's process
 *
 * Names under refs/ are the roots of garbage collection, and are made before the thing is used. A name may
 * have slashes; each component is percent-encoded where it must be ('%', leading '.').
 *
 * Writing: objects go into a transaction's staging directory, are synced, renamed into objects/, the
 * directories synced; only then does a link or ref name them. A kill leaves garbage, never a name without
 * its bytes.
 *
 * Reading (store_open, refs, streams, mounts) needs neither libcrypto nor libarchive.
 */
#pragma once

#include "base/digest.h"
#include "base/error.h"
#include "tree/tree.h"

typedef struct Store Store;

/* $ATOMIC_STORE, else /sysroot/atomic/store when it exists, else /var/lib/atomic/store; `option` wins. */
char *store_default_path(const char *option);
/* Makes an empty store (mode 0700); one that is there already is fine. */
bool store_init(const char *path, GError **error);
typedef struct {
    /* Secure: meta.json and every object have fs-verity, and a mount requires it. ERROR_UNSUPPORTED where the
     * filesystem has none, ERROR_INVALID for a store that was made without. */
    bool require_verity;
} StoreInitOptions;
bool store_init_with(const char *path, const StoreInitOptions *options, GError **error);
/* ERROR_NOT_FOUND with a hint when there is no store. */
Store *store_open(const char *path, GError **error);
Store *store_ref(Store *store);
void store_unref(Store *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Store, store_unref)
const char *store_path(const Store *store);
int store_dirfd(const Store *store); /* borrowed */
/* Made with require_verity: what has no fs-verity, or another digest, is not opened and not mounted. */
bool store_is_secure(const Store *store);
/* Whether the filesystem has fs-verity: objects written from now on get it. */
bool store_has_verity(const Store *store);
/* Switches fs-verity on for the objects that were written before the filesystem had it; *out_sealed: for how many. */
bool store_seal_all(Store *store, uint64_t *out_sealed, GError **error);

/* --- objects -------------------------------------------------------------------------------------------- */

/* false with errno. */
bool store_has(Store *store, const Digest *object);
int store_open_object(Store *store, const Digest *object, GError **error);
/* Up to `limit` bytes; NUL-terminated behind the end. */
GBytes *store_read_object(Store *store, const Digest *object, size_t limit, GError **error);
bool store_object_size(Store *store, const Digest *object, uint64_t *out_size, GError **error);

/* --- writing (store/txn.c; libcrypto) ------------------------------------------------------------------- */

typedef struct StoreTxn StoreTxn;

/* `key` names what is written ("pull-origin-REF", or NULL): a later transaction with the same key
 * takes over what a killed one staged, of this boot or an earlier one, after measuring it. ERROR_BUSY while another process has the key. What a transaction
 * put or found present is not swept while it lives, so name it (link, ref) before freeing the transaction.
 * From the first put or has of a batch to its end the store's lock is held, shared; a full batch is synced by a thread while
 * the next one fills, so a process that clones flushes first. */
StoreTxn *store_txn_begin(Store *store, const char *key, GError **error);
/* Makes everything put so far durable and present in objects/. May be called several times: batches. */
bool store_txn_flush(StoreTxn *txn, GError **error);
/* Without a flush before it, what was staged since the last one is dropped. */
void store_txn_free(StoreTxn *txn);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreTxn, store_txn_free)
Store *store_txn_store(StoreTxn *txn); /* borrowed */
/* A file in the staging directory for the caller's own resume journal; it goes when the key's work is done
 * (store_txn_done). fd is the caller's, O_APPEND. */
int store_txn_journal(StoreTxn *txn, GError **error);
/* flush, then forget the journal. */
bool store_txn_done(StoreTxn *txn, GError **error);

/* Removes what a killed transaction of the key left, when its work turns out to be done. */
void store_txn_forget(Store *store, const char *key);

/* Objects put are found by store_txn_has() at once, by others only after the flush. Thread-safe. */
bool store_txn_has(StoreTxn *txn, const Digest *object);
/* The same, where it matters why: false with error when the store can't be locked to look. */
bool store_txn_find(StoreTxn *txn, const Digest *object, bool *out_has, GError **error);
bool store_txn_put(StoreTxn *txn, const void *data, size_t size, Digest *out_object,
                   GError **error);
/* Reads the fd from its position to its end. */
bool store_txn_put_fd(StoreTxn *txn, int fd, Digest *out_object, uint64_t *out_size,
                      GError **error);

/* An object written piece by piece, its bytes optionally hashed by the caller meanwhile. */
typedef struct StoreWriter StoreWriter;
StoreWriter *store_writer_new(StoreTxn *txn, GError **error);
bool store_writer_append(StoreWriter *writer, const void *data, size_t size, GError **error);
/* As many zero bytes, as a hole: takes no space. */
bool store_writer_append_hole(StoreWriter *writer, uint64_t size, GError **error);
/* Frees the writer. */
bool store_writer_finish(StoreWriter *writer, Digest *out_object, GError **error);
void store_writer_abort(StoreWriter *writer);

/* --- names ---------------------------------------------------------------------------------------------- */

typedef enum {
    STORE_IMAGES,
    STORE_STREAMS,
} StoreKind;

/* images/DIGEST or streams/ID -> object; durable when it returns. Replaces a stream's link. */
bool store_link_image(Store *store, const Digest *object, GError **error);
bool store_link_stream(Store *store, const char *id, const Digest *object, GError **error);
/* The object behind streams/ID; ERROR_NOT_FOUND. */
bool store_find_stream(Store *store, const char *id, Digest *out_object, GError **error);

/* target: an image's hex digest or a stream's id, which must exist. Durable when it returns. */
bool store_set_ref(Store *store, StoreKind kind, const char *name, const char *target,
                   GError **error);
/* The target; NULL with ERROR_NOT_FOUND. */
char *store_get_ref(Store *store, StoreKind kind, const char *name, GError **error);
bool store_remove_ref(Store *store, StoreKind kind, const char *name, GError **error);
/* (name -> target), names below `prefix` ("" = all, else a whole directory such as "oci"), decoded and
 * without the prefix and its slash. A GHashTable of owned strings. */
GHashTable *store_list_refs(Store *store, StoreKind kind, const char *prefix, GError **error);

/* --- split streams (store/stream_read.c, store/stream_write.c) ------------------------------------------- */

typedef struct StoreStreamWriter StoreStreamWriter;
/* content_type: eight bytes as a number, or'ed from the format's table ("ocilayer", 0xAFE1…). */
StoreStreamWriter *store_stream_writer_new(StoreTxn *txn, uint64_t content_type, GError **error);
/* Adjacent inline data becomes one chunk, of any size, in bounded memory. */
bool store_stream_write_inline(StoreStreamWriter *writer, const void *data, size_t size,
                               GError **error);
bool store_stream_write_object(StoreStreamWriter *writer, const Digest *object, uint64_t size,
                               GError **error);
/* An object that the stream keeps alive without being part of its bytes. Returns its index. */
uint32_t store_stream_add_object(StoreStreamWriter *writer, const Digest *object);
/* A named reference to another stream's or an image's object. */
void store_stream_add_ref(StoreStreamWriter *writer, const char *name, const Digest *object);
/* Stores the stream as an object of the transaction and frees the writer. */
bool store_stream_finish(StoreStreamWriter *writer, Digest *out_object, GError **error);
void store_stream_abort(StoreStreamWriter *writer);

typedef struct StoreStream StoreStream;
StoreStream *store_stream_open(Store *store, const Digest *object, GError **error);
/* by id: streams/ID */
StoreStream *store_stream_open_id(Store *store, const char *id, GError **error);
void store_stream_free(StoreStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreStream, store_stream_free)
uint64_t store_stream_content_type(const StoreStream *stream);
uint64_t store_stream_size(const StoreStream *stream); /* of the reassembled bytes */
size_t store_stream_n_objects(const StoreStream *stream);
const Digest *store_stream_object(const StoreStream *stream, size_t index);
/* NULL when there is no such named reference. */
const Digest *store_stream_ref(StoreStream *stream, const char *name, GError **error);
/* The names of all named references; NULL-ended, the caller's. */
char **store_stream_ref_names(StoreStream *stream, GError **error);
/* The targets of named references, by position. */
size_t store_stream_n_refs(const StoreStream *stream);
const Digest *store_stream_nth_ref(const StoreStream *stream, size_t index);
/* The chunks in order: either data (inline, a long chunk in several pieces) or an object; both NULL at the end. Valid
 * until the next call. */
bool store_stream_next(StoreStream *stream, const uint8_t **out_data, size_t *out_size,
                       const Digest **out_object, GError **error);
/* All bytes with objects put in, up to `limit`. For manifests, configs and commits. */
GBytes *store_stream_read_all(StoreStream *stream, size_t limit, GError **error);
/* All bytes into a file, pipe or socket, in bounded memory: the tar that a layer came as. ERROR_CORRUPT when they are
 * more or fewer than the stream says. */
bool store_stream_write_fd(StoreStream *stream, int fd, GError **error);

/* --- trees in and out (store/import.c, store/tar_read.c, store/tar_write.c, store/export.c) --------------- */

typedef enum {
    STORE_IMPORT_UPPER =
        1 << 0, /* an overlay upper: whiteouts and opaque directories become a layer */
    STORE_IMPORT_NO_XATTRS = 1 << 1,
    STORE_IMPORT_ZERO_TIMES = 1 << 2,
} StoreImportFlags;

/* A second checksum of the files, of the same read. Both functions are called in the thread of the import, for every
 * inode whose bytes go into an object. */
typedef struct {
    /* What is hashed before the bytes; the inode has its owner, mode and xattrs. A new reference. */
    GBytes *(*prefix)(const TreeInode *inode, void *data);
    /* SHA-256 of both; the inode has its object now. */
    void (*take)(const TreeInode *inode, GBytes *prefix, const Digest *checksum, void *data);
    void *data;
} StoreChecksum;

/* A directory's files into objects; hard links kept; sockets skipped; `trusted.*` xattrs refused (upper: dropped). */
Tree *store_import_dir(StoreTxn *txn, int dirfd, StoreImportFlags flags, GError **error);
/* `checksum` may be NULL. */
Tree *store_import_dir_with(StoreTxn *txn, int dirfd, StoreImportFlags flags,
                            const StoreChecksum *checksum, GError **error);
/* The same tree, but nothing is stored: to compare with. */
Tree *store_measure_dir(int dirfd, StoreImportFlags flags, GError **error);

/* A tar (uncompressed bytes come from the callback: the number read, 0 at the end, -1 with error set). The tree
 * is a layer when `layer` (OCI whiteout names `.wh.` are understood). `stream`, when not NULL, gets the tar as a
 * split stream, bit for bit, whatever stands behind its end mark included. Reads to the end. v7, ustar, pax, GNU and star;
 * sparse files of GNU and pax. A later entry of a name replaces an earlier one, a directory keeps what is in it. Paths
 * lead to where they would with the tree as root; an entry that would escape, or has a `trusted.*` attribute or no
 * place to be, is ERROR_INVALID and named. */
typedef ssize_t (*StoreReadFunc)(void *data, void *buffer, size_t size, GError **error);
Tree *store_import_tar(StoreTxn *txn, StoreReadFunc read, void *data, bool layer,
                       StoreStreamWriter *stream, GError **error);
/* The same of a file, pipe or socket, compressed or not (gzip, bzip2, xz, lzma, zstd, lz4). What is compressed is taken apart
 * by a child process without rights (store/decompress.c); `stream` gets the uncompressed tar. */
Tree *store_import_tar_file(StoreTxn *txn, int fd, bool layer, StoreStreamWriter *stream,
                            GError **error);

/* Writes the tree as a deterministic tar (pax where needed), through a sink that gets inline bytes or objects.
 * Whiteouts of a layer become `.wh.` names. */
typedef struct {
    bool (*bytes)(void *data, const void *bytes, size_t size, GError **error);
    bool (*object)(void *data, const Digest *object, uint64_t size, GError **error);
} StoreTarSink;
bool store_write_tar(Tree *tree, const StoreTarSink *sink, void *data, GError **error);
/* The same into a file, pipe or socket, in bounded memory. */
bool store_write_tar_fd(Store *store, Tree *tree, int fd, GError **error);

typedef struct {
    uint64_t files, bytes; /* regular files */
    uint64_t cloned;       /* files that share their blocks with the store */
    /* Files that are not quite as in the tree: who isn't root can't give files away (setuid and setgid bits go with the
     * owner) nor make devices; some attributes need rights, or a filesystem that has them. */
    uint64_t lost_owners, lost_setids, lost_devices, lost_xattrs;
} StoreExportResult;
/* Writes the files below dirfd (must be empty), not synced. `out_result` may be NULL. */
bool store_export_dir(Store *store, Tree *tree, int dirfd, StoreExportResult *out_result,
                      GError **error);

/* Writes the tree as an image, flushes, links images/DIGEST. */
bool store_commit_image(StoreTxn *txn, Tree *tree, Digest *out_image, GError **error);
/* The tree of images/DIGEST, or of a ref name under images/refs. */
Tree *store_load_image(Store *store, const Digest *image, GError **error);
bool store_resolve_image(Store *store, const char *name_or_digest, Digest *out_image,
                         GError **error);

/* --- mounts (store/mount.c; no libraries) ---------------------------------------------------------------- */

typedef struct {
    int userns_fd; /* -1: ids as they are; else the layers are idmapped through this user namespace */
    uid_t map_uid; /* with userns_fd: the host's id of the namespace's root */
    gid_t map_gid;
    int writable_fd; /* -1: read-only; else a directory in which `upper` and `work` are made when missing */
    bool volatile_upper; /* no sync of the upper, ever: for what is thrown away afterwards */
} StoreMountOptions;
#define STORE_MOUNT_READ_ONLY ((StoreMountOptions){.userns_fd = -1, .writable_fd = -1})

/* Only images under images/ are mounted. An overlay over EROFS + objects/, as a detached mount (fsmount): the caller
 * attaches it with move_mount or lets it go by closing the fd. It is nosuid and nodev only when the caller makes it
 * so (mount_setattr). ERROR_UNSUPPORTED says what the kernel lacks; ERROR_PERMISSION what right.
 * With `userns_fd` what is written to `upper` has the ids of the inside on disk (0, 33, 1000…), not the mapped ones.
 * The calling thread's credentials are changed for the duration of the call and are the same again afterwards. */
int store_mount_image(Store *store, const Digest *image, const StoreMountOptions *options,
                      GError **error);

/* --- the reserve (store/reserve.c) ------------------------------------------------------------------------- */

/* Space that is kept for the next upgrade of a host: the store's file `reserve`, allocated and never written. No
 * image, container or volume can take it; only an upgrade gives it up, while it runs. */
typedef struct {
    uint64_t size; /* to be held; 0: there is no reserve */
    uint64_t held; /* less after an upgrade that needed it */
} StoreReserveState;
bool store_reserve_read(Store *store, StoreReserveState *out_state, GError **error);
/* 3 % of the filesystem, at least 512 MiB, at most 16 GiB and an eighth of what is free; none in memory (tmpfs). */
bool store_reserve_default(Store *store, uint64_t *out_size, GError **error);
/* Makes or changes it, durably; 0 removes it. ERROR_NO_SPACE with figures; ERROR_UNSUPPORTED where nothing can be
 * allocated ahead. */
bool store_reserve_set(Store *store, uint64_t size, GError **error);
/* Allocates again what was given up, but no more than half of what is free; nothing while an upgrade has it. */
bool store_reserve_fill(Store *store, GError **error);

typedef struct StoreReserve StoreReserve;
/* For a host's upgrade: when less is free than the reserve has, all of it becomes free. Whatever can be is held again
 * when it is returned; after a kill by the next upgrade, `gc` or `setup`. */
StoreReserve *store_reserve_take(Store *store, GError **error);
void store_reserve_return(StoreReserve *reserve);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreReserve, store_reserve_return)

/* --- garbage collection, fsck ---------------------------------------------------------------------------- */

typedef struct {
    /* Only say what would be removed: takes no lock, so it is a good guess beside writers. */
    bool dry_run;
    /* Seconds: objects, and images and streams with what they need, that came since stay. */
    uint64_t keep_younger;
    /* Each thing that goes, by its path in the store; may be NULL. */
    void (*removed)(const char *path, uint64_t bytes, void *data);
    void *data;
} StoreGcOptions;
typedef struct {
    uint64_t objects, bytes;   /* removed (or would be) */
    uint64_t links, leftovers; /* of images and streams; of killed writers: their bytes count too */
    uint64_t kept_objects;
} StoreGcResult;
/* Removes what no ref reaches and no transaction counts on that lives or (keyed, with a journal, younger
 * than a day) will be gone on with; and what killed processes left. Takes the lock exclusively, a slice at a time:
 * the caller must have no unflushed transaction of its own (ERROR_BUSY after a minute). When a
 * name, stream or image can't be read nothing more is removed (ERROR_CORRUPT when its bytes are wrong), since nobody
 * knows what it needs. `options` may be NULL. */
bool store_gc(Store *store, const StoreGcOptions *options, StoreGcResult *out_result,
              GError **error);

typedef enum {
    STORE_REASON_REF,
    STORE_REASON_WRITER, /* one that lives, or will be gone on with */
    STORE_REASON_YOUNG,  /* only because of keep_younger */
    STORE_REASON_NONE,   /* it is in there, but nothing leads to it: no reason to keep it */
} StoreReasonKind;
typedef struct {
    StoreReasonKind kind;
    const char *const
        *links; /* from the root on: "images/refs/NAME", "images/DIGEST"; NULL-ended */
    const char *const *paths; /* the object's in that image, if any; NULL-ended */
} StoreReason;
typedef void (*StoreReasonFunc)(const StoreReason *reason, void *data);
/* Why a collection keeps an object, or would (a missing one, by its whole digest). `object`: at least four digits.
 * ERROR_NOT_FOUND, ERROR_INVALID when several begin so. */
bool store_why(Store *store, const char *object, uint64_t keep_younger, StoreReasonFunc each,
               void *data, Digest *out_object, GError **error);

typedef enum {
    STORE_PROBLEM_DAMAGED,    /* an object can't be read, or its bytes are not those of its name */
    STORE_PROBLEM_MISSING,    /* an object that something needs */
    STORE_PROBLEM_MISPLACED,  /* the same, and its bytes lie under another name in objects/ */
    STORE_PROBLEM_BAD_IMAGE,  /* it is what its name says, but no image */
    STORE_PROBLEM_BAD_STREAM, /* the same of streams */
    STORE_PROBLEM_WRONG_TYPE, /* a stream whose content type is not that of its id */
    STORE_PROBLEM_DANGLING_LINK, /* in images/ or streams/: it leads to no object, or not to the named one */
    STORE_PROBLEM_DANGLING_REF,
    STORE_PROBLEM_UNKNOWN,  /* a file in objects/ that is none */
    STORE_PROBLEM_LEFTOVER, /* of a killed writer: garbage, not counted among the problems */
} StoreProblemKind;
const char *store_problem_kind_name(StoreProblemKind kind); /* "damaged", "dangling-link" */
typedef struct {
    StoreProblemKind kind;
    const Digest *object; /* NULL: it is not about one */
    const char *path;     /* in the store; NULL for what is missing */
    const char *const
        *needed_by; /* "images/refs/NAME: /usr/bin/env": damaged and missing ones; NULL-ended */
    const char *message; /* as a person reads it */
} StoreProblem;
typedef void (*StoreProblemFunc)(const StoreProblem *problem, void *data);
/* Puts the object into the transaction from wherever it can be had; a wrong one is not taken for it. */
typedef bool (*StoreRepairFunc)(StoreTxn *txn, const Digest *object, void *data, GError **error);
typedef struct {
    unsigned threads; /* 0: as many as there are processors */
    StoreProblemFunc report;
    /* With it, damaged objects are moved aside into damaged/ (never used again; the next collection removes them),
     * what something needs is put back through it, and all is checked again. Reported is what is wrong in the end. */
    StoreRepairFunc repair;
    void *data; /* of both, which may be NULL */
} StoreFsckOptions;
typedef struct {
    uint64_t objects, bytes, images, streams, refs;
    uint64_t problems; /* each was reported through the callback */
    uint64_t leftovers;
    uint64_t repaired; /* objects put back */
} StoreFsckResult;
/* False only when it could not run; problems are counted. `options` may be NULL. */
bool store_fsck(Store *store, const StoreFsckOptions *options, StoreFsckResult *out_result,
                GError **error);

typedef struct {
    uint64_t objects, object_bytes; /* everything in objects/ */
    uint64_t metadata_bytes;        /* images and streams among them */
    uint64_t fs_total, fs_available;
    StoreReserveState reserve;
    bool verity, secure; /* store_has_verity, store_is_secure */
} StoreUsage;
bool store_usage(Store *store, StoreUsage *out_usage, GError **error);

/* --- who uses the space (store/du.c) ---------------------------------------------------------------------- */

typedef struct {
    unsigned item; /* of the other one */
    uint64_t bytes;
} StoreDuShare;
/* A thing that has names: an image, with the commit's or container image's streams that lead to it; else a stream. */
typedef struct {
    GPtrArray *names; /* char *; first those under images/refs, each kind in byte order */
    bool has_image;
    Digest image;
    uint64_t objects;                 /* all it needs that is there, itself included */
    uint64_t own_bytes, shared_bytes; /* of objects that only it needs; that others need too */
    StoreDuShare *shares;             /* with whom, most first; none are given beyond 2048 items */
    size_t n_shares;
    GArray *roots; /* Digest: of the names */
} StoreDuItem;
typedef struct {
    GPtrArray *items;
    uint64_t objects, bytes, disk_bytes; /* in objects/; what the filesystem gives them */
    uint64_t saved_bytes;                /* more, if each item had its own objects */
    uint64_t unreferenced_objects, unreferenced_bytes;
    uint64_t staging_bytes;
    StoreReserveState reserve;
} StoreDu;
/* Time and memory grow with the objects and the names of things, not with how many share what. Takes no lock. */
StoreDu *store_du(Store *store, GError **error);
void store_du_free(StoreDu *du);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreDu, store_du_free)
