/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Boot entries (Boot Loader Specification, type 1) of deployments.
 *
 * atomic-I.conf with `version I`, I counting down from the number of deployments in boot order, so that a boot
 * loader that sorts by version or by file name has the default first.
 */
#pragma once

#include "host/host.h"

typedef struct {
    char *version; /* "" when there is none */
    char *options; /* without atomic=ID */
    char *id;      /* of the deployment; NULL: not ours */
    char *title,
        *bootcsum; /* for a deployment whose key file is lost; NULL when the entry is not as we write it */
    bool has_initrd;
} HostEntry;
void entry_clear(HostEntry *entry);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostEntry, entry_clear)

/* Never fails: what isn't understood is not ours. */
void entry_parse(const char *text, HostEntry *out_entry);
/* `prefix`: "/boot" when boot is a directory of the root filesystem, else "". */
char *entry_format(const HostDeployment *deployment, size_t index, size_t count,
                   const char *prefix);
char *entry_file_name(size_t index, size_t count);
/* The words without atomic=…, as one line. */
char *entry_strip_options(const char *options, char **out_id);
