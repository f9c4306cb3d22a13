/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a treefile to a commit: packages solved, unpacked once, merged, configured in the sandbox,
 * made a host tree.
 *
 *     treefile -> solve -> fetch -> import (each package once, ever) -> merge -> configure
 *              -> finish -> commit -> publish
 *
 * Nothing is ever unpacked into a directory: the packages' trees are merged in memory, the merged
 * tree is an image, the sandbox mounts it with a writable layer, and what the maintainer scripts
 * changed is read back from that layer.
 *
 * What the tree looks like in the end (as OSTree hosts have it):
 *   /usr                     everything; /bin /sbin /lib* are links into it
 *   /usr/etc                 what /etc is made of on a host
 *   /usr/lib/modules/KVER/{vmlinuz,initramfs.img}     exactly one kernel, or none; /boot is empty
 *   /usr/lib/sysimage/dpkg   dpkg's database; /var/lib/dpkg is a link to it
 *   /usr/lib/tmpfiles.d/atomic-var.conf
 *          what /var is made of, one line per path, parents first; a container image is made from
 *          it too (numeric ids; PATH with \xHH for odd bytes and %% for %):
 *            d PATH MODE UID GID -          a directory
 *            L PATH - - - - TARGET          a symbolic link
 *            C PATH MODE UID GID - FROM     a file, copied from /usr/share/factory/var/…
 *   /var     an empty directory, like /boot /dev /proc /run /sys /sysroot; /tmp is 1777
 *   /home /root /srv /opt /mnt -> var/…, /media -> run/media, /usr/local -> ../var/usrlocal,
 *   /ostree -> sysroot/ostree
 *
 * Reproducible: the commit is a function of the treefile, the packages and this program (and, with
 * an automatic version, of how many came before). So it has no parent. Its time is that of the
 * newest file in the packages ($SOURCE_DATE_EPOCH wins), all others are zero.
 */
#pragma once

#include "base/error.h"
#include "package/package.h"
#include "store/store.h"

/* --- treefiles: compose/treefile.c ------------------------------------------------------------ */

typedef struct {
    char *path;
    char *ref;
    char **repos;  /* only "host" */
    char **suites; /* NULL: all of the host's sources */
    char **packages;
    char **exclude_packages;
    bool recommends;      /* default no */
    bool documentation;   /* default yes */
    char *version;        /* or: */
    char *version_prefix; /* "12": 12, 12.1, 12.2… */
    char **remove_files;  /* paths or glob patterns */
    char **postprocess;   /* shell scripts, run in the tree after configuration */
    GString *content;     /* of all files read, for the input hash */
} Treefile;

/* YAML or JSON. Errors name file, line and key. Included files' lists come first; their scalars
 * lose. */
Treefile *treefile_load(const char *path, GError **error);
void treefile_free(Treefile *treefile);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Treefile, treefile_free)

/* --- composing: compose/compose.c ------------------------------------------------------------- */

typedef struct {
    Store *store;
    const char *cache_dir;  /* downloads */
    const char *apt_dir;    /* NULL: /etc/apt */
    const char *keyrings;   /* NULL: /usr/share/keyrings */
    PackageFetchFunc fetch; /* NULL: over the network */
    void *fetch_data;
    const char *repo; /* archive repository to publish to; NULL: none */
    bool dry_run;     /* solve only */
    bool force;       /* compose even when nothing changed: gives the same commit again */
    bool verbose;     /* what the maintainer scripts say goes to stderr */
} ComposeOptions;

typedef struct {
    GPtrArray *packages; /* const Package *, by name; live as long as `universe` */
    PackageUniverse *universe;
    char *checksum, *version; /* of the commit; of the one before when `unchanged` */
    bool unchanged;
} ComposeResult;
void compose_result_clear(ComposeResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ComposeResult, compose_result_clear)

/* Progress goes to stderr. Needs root (the sandbox does), except for dry_run. */
bool compose_tree(const Treefile *treefile, const ComposeOptions *options,
                  ComposeResult *out_result, GError **error);
