/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packages of a distribution: where they come from, which of them belong together, what is in them.
 *
 *     /etc/apt  ->  PackageSource  ->  InRelease (signature)  ->  Packages (SHA-256)
 *                                                                    |
 *     Tree in the store  <-  .deb (SHA-256)  <-  Package…  <-  PackageUniverse (libsolv)
 *
 * The chain of trust is unbroken: a key file of this machine vouches for InRelease, that for the
 * indices, those for each .deb. Nothing is parsed before it is verified. Fetching is the caller's
 * affair (a PackageFetchFunc), so that tests need no network; package_fetch_net() is the real one.
 *
 * Only Debian's formats are known here so far; apt's preferences (pins) and proxies are not read.
 */
#pragma once

#include "base/digest.h"
#include "base/error.h"
#include "store/store.h"

/* --- sources: package/sources.c --------------------------------------------------------------- */

/* One suite of one repository, as apt's configuration names it. */
typedef struct {
    char *uri; /* ends with a slash */
    char *suite;
    char **components;
    char *signed_by; /* NULL, key file paths, or an armored key itself */
    char *where;     /* "FILE:LINE", for messages */
} PackageSource;

void package_source_free(PackageSource *source);

/* The binary package sources of APT_DIR/sources.list, sources.list.d/{*.list,*.sources}, in that
 * order, for the named suites only (NULL: all). Others are not looked at further, so a source of a
 * kind that we can't read hurts only when its suite is wanted. ERROR_NOT_FOUND when a suite has no
 * source. */
GPtrArray *package_sources_load(const char *apt_dir, const char *const *suites, GError **error);

/* --- fetching: package/fetch.c ---------------------------------------------------------------- */

typedef struct {
    char *url;
    char *name;    /* what progress and errors call it */
    char *path;    /* where it goes: complete and right, or not at all */
    uint64_t size; /* exact when has_sha256, else a limit */
    bool has_sha256;
    Digest sha256;
} PackageDownload;

void package_download_free(PackageDownload *download);

/* Brings every download (PackageDownload*) to its path, by temporary file and rename. Sizes and
 * sums may be left to package_fetch(), which checks them again. `title` heads the progress lines
 * ("packages"). */
typedef bool (*PackageFetchFunc)(GPtrArray *downloads, const char *title, void *data,
                                 GError **error);

/* Fetches those that are not at their path yet with the right size and sum, and verifies what came.
 * ERROR_CORRUPT names the file whose bytes are not what the index says (it is removed). */
bool package_fetch(GPtrArray *downloads, const char *title, PackageFetchFunc fetch, void *data,
                   GError **error);

/* A PackageFetchFunc (data: unused) over net/net.h: many requests in flight, progress on stderr. */
bool package_fetch_net(GPtrArray *downloads, const char *title, void *data, GError **error);

/* --- indices: package/release.c, package/universe.c ------------------------------------------- */

typedef struct {
    char *name, *version, *arch;
    char *url;      /* of the .deb */
    uint64_t size;  /* of the .deb */
    Digest sha256;  /* of the .deb */
    bool essential; /* Essential: yes, or priority "required" */
} Package;

typedef struct {
    const char *apt_dir;    /* NULL: /etc/apt */
    const char *keyrings;   /* NULL: /usr/share/keyrings, for sources without Signed-By */
    const char *cache_dir;  /* verified indices are kept in it */
    const char *arch;       /* NULL: this machine's */
    PackageFetchFunc fetch; /* NULL: package_fetch_net */
    void *fetch_data;
} PackageUniverseOptions;

typedef struct PackageUniverse PackageUniverse;

/* Fetches and verifies the indices of the suites. Not thread-safe. ERROR_CORRUPT for a bad
 * signature or sum. */
PackageUniverse *package_universe_load(const char *const *suites,
                                       const PackageUniverseOptions *options, GError **error);
void package_universe_free(PackageUniverse *universe);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PackageUniverse, package_universe_free)

/* --- solving: package/solve.c (libsolv) ------------------------------------------------------- */

typedef struct {
    const char *const *names;   /* wanted; NULL-ended */
    const char *const *exclude; /* never; may be NULL */
    bool recommends;            /* follow Recommends too */
} PackageRequest;

/* What must be installed: the wanted packages, the essential ones, and what those depend on. Sorted
 * by name; the elements (const Package *) live as long as the universe. ERROR_NOT_FOUND: no such
 * package (all of them are named); ERROR_INVALID: can't be satisfied, with the solver's reasons. */
GPtrArray *package_solve(PackageUniverse *universe, const PackageRequest *request, GError **error);

/* As dpkg orders versions: <0, 0, >0. */
int package_compare_versions(const char *a, const char *b);

/* --- contents: package/deb.c (libarchive) ----------------------------------------------------- */

/* The name under images/refs of a package that was unpacked: "pkg/deb/NAME/VERSION_ARCH". */
char *package_ref(const Package *package);

/* Where the control members of a package are in its tree: dpkg-deb's own convention, so no package
 * ships it. */
#define PACKAGE_CONTROL_DIR "DEBIAN"

/* Unpacks a .deb into the transaction: its files, and DEBIAN/ with the control members and the
 * SHA-256 of the .deb (by which another build of the same version is told apart). The caller
 * commits the tree as an image. Thread-safe. ERROR_CORRUPT names the package. */
Tree *package_import(StoreTxn *txn, const Package *package, const char *path, GError **error);

/* The tree of a package that is in the store already; NULL without error when it is not (or is
 * another build). */
Tree *package_load(Store *store, const Package *package);

/* --- control files: package/control.c --------------------------------------------------------- */

/* Paragraphs of "Field: value" text with continuation lines. `*cursor` (at first the text) moves
 * behind the paragraph that is returned in start and length; false at the end. */
bool control_next(const char **cursor, const char **out_start, size_t *out_size);
/* The value of a field, NULL when it is not there: the first line without surrounding blanks,
 * continuation lines behind newlines. */
char *control_field(const char *paragraph, size_t size, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PackageSource, package_source_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PackageDownload, package_download_free)
