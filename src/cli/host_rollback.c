/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/host_report.h"
#include "cli/host_verbs.h"

static bool rollback(const CliCommon *common, GError **error)
{
    g_autoptr(Host) host = NULL;
    g_autoptr(Store) store = NULL;
    if (!host_verb_open(common, "atomic rollback", &host, &store, error))
        return false;
    const HostDeployment *target = host_rollback_target(host, error);
    if (!target)
        return false;
    g_autoptr(GVariant) old = ostree_load_commit(store, host_default(host)->commit, NULL);
    g_autoptr(GVariant) new = ostree_load_commit(store, target->commit, NULL);
    printf("Moving '%s' to be first deployment\n", target->id);
    /* the line belongs before the change even when output is a pipe and the change fails */
    fflush(stdout);
    if (!host_rollback(host, error))
        return false;
    host_print_transaction(0);
    host_print_packages(old, new);
    if (host_is_running(host))
        printf("Successfully reset deployment order; run \"systemctl reboot\" to start a reboot\n");
    else
        printf("Successfully reset deployment order; the host boots it next\n");
    g_autoptr(GError) garbage = NULL;
    if (!host_cleanup_names(host, store, &garbage))
        fprintf(stderr, "warning: %s\n", garbage->message);
    return true;
}

int cli_host_rollback(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    return rollback(&common, error) ? 0 : 1;
}
