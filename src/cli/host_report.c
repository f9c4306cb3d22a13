/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/host_report.h"

#include "cli/human.h"

#include <sys/stat.h>

enum { LOCK_SECONDS = 10 };

bool host_verb_open(const CliCommon *common, const char *purpose, Host **out_host,
                    Store **out_store, GError **error)
{
    umask(0022); /* `atomic status` is for everybody */
    g_autoptr(Host) host = host_open(common->sysroot, error);
    if (!host || !host_lock(host, purpose, LOCK_SECONDS, error))
        return false;
    g_autofree char *path = host_store_path(host);
    Store *store = store_open(path, error);
    if (!store)
        return false;
    *out_store = store;
    *out_host = g_steal_pointer(&host);
    return true;
}

bool host_verb_pull(Host *host, Store *store, const char *refspec, const char *commit,
                    const CliCommon *common, bool metadata_only, const char *again,
                    OstreePullResult *out_result, GError **error)
{
    g_autofree char *name = NULL;
    g_autofree char *ref = NULL;
    if (!ostree_parse_refspec(refspec, &name, &ref, error))
        return false;
    g_autofree char *remotes = host_remotes_path(host);
    g_autoptr(OstreeRemote) remote = ostree_remote_load(remotes, name, error);
    if (!remote)
        return false;
    OstreeProgressLine line = {0};
    OstreePullOptions options = {
        .progress = common->quiet ? NULL : ostree_progress_print,
        .progress_data = &line,
        .checksum = commit,
        .metadata_only = metadata_only,
    };
    g_autoptr(GError) failed = NULL;
    if (ostree_pull(store, remote, ref, &options, out_result, &failed))
        return true;
    if (error_is(failed, ERROR_INTERRUPTED))
        return error_throw(error, ERROR_INTERRUPTED,
                           "interrupted; what was received is kept, run '%s' again to resume",
                           again);
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

static void print_paths(const char *title, const GPtrArray *paths)
{
    if (paths->len)
        printf("%s\n", title);
    for (size_t i = 0; i < paths->len; i++)
        printf("  %s\n", (char *)paths->pdata[i]);
}

void host_print_etc(const HostEtcReport *report, bool verbose)
{
    if (report->merged)
        printf("Copying /etc changes: %u modified, %u removed, %u added\n", report->modified,
               report->removed, report->added);
    print_paths("Changed by you and by the new tree (yours kept):", report->both);
    print_paths("Neither file, link nor directory (not carried over):", report->ignored);
    if (verbose) {
        print_paths("Kept yours:", report->kept);
        print_paths("Took new:", report->taken);
    }
}

void host_print_transaction(int count_change)
{
    printf("Transaction complete; bootconfig swap: yes deployment count change: %d\n",
           count_change);
}

void host_print_result(const HostResult *result, bool verbose)
{
    g_autofree char *freed = human_bytes(result->freed_bytes);
    host_print_etc(&result->etc, verbose);
    host_print_transaction(result->count_change);
    if (result->cleanup_error)
        fprintf(stderr, "warning: %s\n", result->cleanup_error->message);
    else
        printf("Freed objects: %s\n", freed);
}

static void print_packages(const char *title, const GPtrArray *packages)
{
    if (packages->len)
        printf("%s:\n", title);
    for (size_t i = 0; i < packages->len; i++) {
        const OstreePackage *p = packages->pdata[i];
        printf("  %s-%s.%s\n", p->name, p->version, p->arch);
    }
}

void host_print_packages(GVariant *old, GVariant *new)
{
    if (!old || !new)
        return;
    g_autoptr(GPtrArray) before = ostree_packages(old);
    g_autoptr(GPtrArray) after = ostree_packages(new);
    g_autoptr(OstreePackageDiff) diff = ostree_packages_diff(before, after);
    print_packages("Changed", diff->changed);
    print_packages("Removed", diff->removed);
    print_packages("Added", diff->added);
}
