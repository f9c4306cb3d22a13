/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The summary file: all branches of a repository in one request (formats/ostree.md 1.8). */
#pragma once

#include "base/digest.h"
#include "base/error.h"

#define SUMMARY_TYPE "(a(s(taya{sv}))a{sv})"

typedef struct {
    char *ref;
    Digest checksum;
    uint64_t commit_size, timestamp;
    char *version; /* NULL: none */
} SummaryRef;
SummaryRef *summary_ref_new(const char *ref, const Digest *checksum, GVariant *commit);
void summary_ref_free(SummaryRef *ref);

/* refs: SummaryRef *, any order. */
GBytes *summary_format(GPtrArray *refs, uint64_t now);
/* Branch name -> Digest *, both owned. ERROR_CORRUPT. */
GHashTable *summary_parse(GBytes *bytes, GError **error);
