/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The signed top of a suite: InRelease, which vouches for its indices. Private to package/. */
#pragma once

#include "package/package.h"

typedef struct {
    char *text; /* what the signature covers */
    char *base; /* URI of dists/SUITE/, with the slash */
    bool by_hash;
} Release;

void release_free(Release *release);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Release, release_free)

/* Reads the InRelease file at `path`, which came from `source`, and verifies it: at least one good
 * signature by a key of Signed-By (else of APT_DIR/trusted.gpg.d, else of `keyrings`), no bad one.
 * ERROR_CORRUPT. */
Release *release_open(const PackageSource *source, const char *path, const char *apt_dir,
                      const char *keyrings, GError **error);

/* Size and SHA-256 of a file of the suite ("main/binary-amd64/Packages.xz"); false when it has
 * none. */
bool release_find(const Release *release, const char *name, uint64_t *out_size, Digest *out_sha256);
