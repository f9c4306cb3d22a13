/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the verbs that change a host have in common: opening, fetching, telling. */
#pragma once

#include "cli/cli.h"
#include "host/host.h"
#include "ostree/ostree.h"

/* The host, locked, and its store. */
bool host_verb_open(const CliCommon *common, const char *purpose, Host **out_host,
                    Store **out_store, GError **error);
/* Pulls "REMOTE:REF" with the progress line (not when quiet). `commit`: this one instead of the newest, or NULL.
 * An interruption's message says that what came is kept, and to run `again` ("atomic upgrade"). */
bool host_verb_pull(Host *host, Store *store, const char *refspec, const char *commit,
                    const CliCommon *common, bool metadata_only, const char *again,
                    OstreePullResult *out_result, GError **error);
/* The lines after a deployment: /etc, transaction, freed objects. */
void host_print_result(const HostResult *result, bool verbose);
void host_print_etc(const HostEtcReport *report, bool verbose);
void host_print_transaction(int count_change);
/* Changed:, Removed:, Added:; nothing where a commit is NULL. */
void host_print_packages(GVariant *old, GVariant *new);
