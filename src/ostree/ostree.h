/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OSTree commits: in the store, and to and from repositories of the world.
 *
 * A commit is the split stream "ostree-commit-CHECKSUM" (formats/composefs.md 4): the commit, its
 * dirtrees, dirmetas and file headers verbatim, file bytes by reference to objects; its reference
 * "composefs.image" names the EROFS image of the tree. A branch is the stream ref "ostree/REF"
 * (ours) or "ostree/REMOTE:REF" (pulled). So a commit is there wholly or not at all, and what it
 * needs lives as long as its ref.
 *
 * A *rev* is a branch ("debian/12/host", "origin:debian/12/host"), a checksum or at least four
 * digits of one, each with any number of "^" for the parent behind it. Commits are given as
 * GVariants of OSTREE_COMMIT_TYPE; numbers in them are big-endian as on disk
 * (ostree_commit_timestamp() and friends know).
 *
 * Two libraries: reading (ostree_read_dep: resolve, load, packages, remotes; no libcrypto) and all
 * of it (ostree_dep).
 */
#pragma once

#include "store/store.h"
#include "tree/tree.h"

#define OSTREE_COMMIT_TYPE "(a{sv}aya(say)sstayay)"

/* --- reading (commit.c, packages.c, remote.c) ------------------------------------------------- */

/* The checksum (64 hex) that a rev stands for. ERROR_NOT_FOUND, ERROR_INVALID when ambiguous. */
bool ostree_resolve(Store *store, const char *rev, char **out_checksum, GError **error);
/* Branches: (name -> checksum), a GHashTable of owned strings. */
GHashTable *ostree_list_refs(Store *store, GError **error);
/* Sets a branch to a commit of the store. Durable when it returns. */
bool ostree_set_ref(Store *store, const char *ref, const char *checksum, GError **error);
/* ERROR_INVALID unless it is a legal branch name: words of letters, digits, '.', '_', '-' joined by
 * '/'. */
bool ostree_check_ref(const char *ref, GError **error);
bool ostree_has_commit(Store *store, const char *checksum);

/* The commit object; a full reference. ERROR_NOT_FOUND. */
GVariant *ostree_load_commit(Store *store, const char *checksum, GError **error);
/* The tree: times zero, files of equal metadata and content are hard links (composefs.md 4.2). */
Tree *ostree_load_tree(Store *store, const char *checksum, GError **error);
/* The EROFS image of the commit's tree: what to mount. A host tree's (one with /usr/etc) has empty directories
 * etc, boot, sysroot and var as mount points also where the commit has none. */
bool ostree_commit_image(Store *store, const char *checksum, Digest *out_image, GError **error);

uint64_t ostree_commit_timestamp(GVariant *commit); /* seconds since 1970 */
/* Newly allocated; NULL when there is none. */
char *ostree_commit_version(GVariant *commit);
char *ostree_commit_parent(GVariant *commit);
char *ostree_commit_subject(GVariant *commit);
/* A string of the commit's metadata, or NULL. */
char *ostree_commit_metadata_string(GVariant *commit, const char *key);
/* The a{sv}; a full reference. */
GVariant *ostree_commit_metadata(GVariant *commit);

typedef struct {
    char *name, *version, *arch; /* version: "[EPOCH:]VERSION[-RELEASE]" */
} OstreePackage;
/* Of `rpmostree.rpmdb.pkglist` or `atomic.pkglist`, sorted by name; an array of OstreePackage *
 * (owned). Empty when the commit has no list. */
GPtrArray *ostree_packages(GVariant *commit);
typedef struct {
    GPtrArray *changed;      /* OstreePackage *, borrowed: the new ones of equal name and arch */
    GPtrArray *changed_from; /* their old ones of another version, in the same order */
    GPtrArray *removed, *added;
} OstreePackageDiff;
/* Borrows from both arrays, which must outlive it. */
OstreePackageDiff *ostree_packages_diff(GPtrArray *old, GPtrArray *new);
void ostree_packages_diff_free(OstreePackageDiff *diff);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OstreePackageDiff, ostree_packages_diff_free)
/* The pkglist value for commit metadata: "atomic.pkglist", type a(sss), sorted. A floating
 * reference. */
GVariant *ostree_packages_variant(GPtrArray *packages);
OstreePackage *ostree_package_new(const char *name, const char *version, const char *arch);
void ostree_package_free(OstreePackage *package);

/* Remotes are key files DIR/NAME.conf with a group [remote "NAME"] and OSTree's keys (url,
 * gpg-verify, sign-verify). A host keeps them in SYSROOT/atomic/remotes.d, a plain store in
 * STORE/remotes.d. */
typedef struct {
    char *name;
    char *url;     /* without a slash at the end */
    bool verify;   /* refuse unsigned commits */
    char *keyring; /* path of the OpenPGP keys that are trusted, or NULL */
} OstreeRemote;
char *ostree_remotes_dir(Store *store); /* STORE/remotes.d */
/* ERROR_EXISTS. Makes the directory. `keyring` is copied beside the key file. Without `verify`
 * commits are accepted unsigned. */
bool ostree_remote_add(const char *dir, const char *name, const char *url, bool verify,
                       const char *keyring, GError **error);
OstreeRemote *ostree_remote_load(const char *dir, const char *name, GError **error);
/* OstreeRemote *, by name. */
GPtrArray *ostree_remote_list(const char *dir, GError **error);
void ostree_remote_free(OstreeRemote *remote);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OstreeRemote, ostree_remote_free)
/* "REMOTE:REF" in two; ERROR_INVALID. */
bool ostree_parse_refspec(const char *refspec, char **out_remote, char **out_ref, GError **error);

/* --- committing (commit_write.c) -------------------------------------------------------------- */

/* The checksums of a tree's files, of the same read that imports them (store_import_dir_with); else a commit reads them
 * once more. Lives as long as the tree. */
typedef struct OstreeChecksums OstreeChecksums;
OstreeChecksums *ostree_checksums_new(bool no_xattrs);
const StoreChecksum *ostree_checksums_hook(const OstreeChecksums *checksums);
void ostree_checksums_free(OstreeChecksums *checksums);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OstreeChecksums, ostree_checksums_free)

typedef struct {
    const char *ref;                  /* NULL: no branch is set */
    const char *subject;              /* NULL: "" */
    const char *body;                 /* NULL: "" */
    const char *version;              /* metadata `version`; NULL: none */
    uint64_t timestamp;               /* seconds; 0 means 1970: give the time that is meant */
    const char *parent;               /* checksum; NULL: none */
    const char *similar;              /* a commit that has many of the files; NULL: the parent */
    GVariant *metadata;               /* a{sv} or NULL; sunk when floating */
    const OstreeChecksums *checksums; /* NULL: none are known */
    bool no_xattrs;
} OstreeCommitOptions;

/* Commits the tree: writes the objects, image and stream, links them, sets the branch last. Flushes
 * the transaction. Times are dropped. Same tree and options, same checksum; same checksums as
 * `ostree commit`. Files that the parent or `similar` has with equal metadata and bytes are not read again.
 * ERROR_INVALID names the path of what OSTree can't hold: a name that isn't UTF-8, a device, a
 * socket, a FIFO. */
bool ostree_commit(StoreTxn *txn, Tree *tree, const OstreeCommitOptions *options,
                   char **out_checksum, GError **error);

/* --- publishing (publish.c) ------------------------------------------------------------------- */

typedef struct {
    uint64_t commits, objects, bytes; /* written now */
} OstreePublishResult;
/* Writes the branches (their newest commits) into the archive repository at `repo`, made when
 * missing; what it has already isn't written again. Objects first, synced; then refs and the
 * summary by rename: a reader, or a kill, sees the old state or the new one. */
bool ostree_publish(Store *store, const char *repo, const char *const *refs,
                    OstreePublishResult *out_result, GError **error);

/* --- pulling (pull.c; starts atomic-fetch) ---------------------------------------------------- */

typedef struct {
    uint64_t objects;
    uint64_t objects_total; /* 0: not known yet (the directories are being fetched) */
    uint64_t bytes;         /* received on the wire in this pull and, resumed, in the one before */
    bool done;              /* the last call, also after a failure */
} OstreeProgress;
typedef void (*OstreeProgressFunc)(const OstreeProgress *progress, void *data);
/* Prints `Receiving objects: 71% (25/35) 2.4 MB` to stderr: rewritten in place on a terminal, else
 * a line per 10 %. As the callback of a pull, with data an OstreeProgressLine that starts zeroed.
 */
typedef struct {
    unsigned last_percent;
    bool started;
} OstreeProgressLine;
void ostree_progress_print(const OstreeProgress *progress, void *data);

typedef struct {
    OstreeProgressFunc progress;
    void *progress_data;
    const char *checksum; /* this commit instead of the branch's newest; NULL */
    bool metadata_only; /* only out_result->commit: one or two small requests, nothing is written */
} OstreePullOptions;

typedef struct {
    char *checksum;
    GVariant *commit;
    uint64_t objects, bytes; /* fetched now; bytes on the wire */
    bool unchanged;          /* the branch was at this commit before */
} OstreePullResult;
void ostree_pull_result_clear(OstreePullResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(OstreePullResult, ostree_pull_result_clear)

/* Brings REMOTE's branch into the store as "REMOTE:REF". Only objects that no commit here has are
 * fetched, each is verified before it gets a name. Killed or interrupted (cancel_install():
 * ERROR_INTERRUPTED after a flush) at any point, the next pull of the same branch goes on where it
 * was. Failures name the object and the URL and change nothing. */
bool ostree_pull(Store *store, const OstreeRemote *remote, const char *ref,
                 const OstreePullOptions *options, OstreePullResult *out_result, GError **error);

/* --- single objects again (refetch.c) ---------------------------------------------------------- */

typedef struct OstreeRefetch OstreeRefetch;
/* For `store fsck --repair`. Nothing is read or connected before the first object. */
OstreeRefetch *ostree_refetch_new(Store *store, const char *remotes_dir);
void ostree_refetch_free(OstreeRefetch *refetch);
/* Puts an object of a branch's commit into the transaction: a file fetched from the branch's remote and verified, a
 * commit's image written anew. ERROR_NOT_FOUND when no branch says where it came from. */
bool ostree_refetch(OstreeRefetch *refetch, StoreTxn *txn, const Digest *object, GError **error);
