/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic upgrade`: the newest commit of the branch that this host follows.
 *
 * What is new is told by the deployment that boots next; what changed, and whose /etc goes on, by the one that
 * runs (offline: the same one). */
#include "base/cancel.h"
#include "cli/host_json.h"
#include "cli/host_report.h"
#include "cli/host_verbs.h"
#include "cli/human.h"

#include <string.h>

typedef struct {
    gboolean check, preview, unchanged_77, allow_downgrade;
} Options;

static const HostDeployment *find_origin(Host *host, GError **error)
{
    const HostDeployment *from = host_booted(host) ? host_booted(host) : host_default(host);
    if (!from)
        return error_throw_null(error, ERROR_NOT_FOUND,
                                "nothing is deployed in '%s'\nhint: atomic deploy REMOTE:REF",
                                host_path(host));
    if (from->damaged)
        return error_throw_null(
            error, ERROR_CORRUPT,
            "deployment '%.12s' is damaged\nhint: 'atomic rollback' to the other one, "
            "or atomic deploy REMOTE:REF",
            from->id);
    if (!from->origin)
        return error_throw_null(
            error, ERROR_INVALID,
            "deployment '%.12s' follows no branch\nhint: atomic deploy REMOTE:REF", from->id);
    return from;
}

static bool check_newer(Host *host, const OstreePullResult *pulled, const char *origin,
                        const Options *options, GError **error)
{
    int64_t new = (int64_t)ostree_commit_timestamp(pulled->commit);
    int64_t old = host_default(host)->timestamp;
    if (new >= old || options->allow_downgrade)
        return true;
    g_autofree char *new_text = human_time(new);
    g_autofree char *old_text = human_time(old);
    return error_throw(error, ERROR_INVALID,
                       "the tree of '%s' is older than the deployed one (%s, deployed: %s)\n"
                       "hint: --allow-downgrade takes it all the same",
                       origin, new_text, old_text);
}

static int nothing_new(bool exit_77)
{
    printf("No updates available.\n");
    return exit_77 ? CLI_NOTHING_TO_DO : 0;
}

static void print_available(const OstreePullResult *pulled, const char *origin, GVariant *old)
{
    g_autofree char *version = ostree_commit_version(pulled->commit);
    g_autofree char *time = human_time((int64_t)ostree_commit_timestamp(pulled->commit));
    printf("Available: %.10s  %s%s%s  %s\n", pulled->checksum, version ? version : "",
           version ? "  " : "", time, origin);
    host_print_packages(old, pulled->commit);
}

/* Fetches the commit only; writes nothing, so it needs neither lock nor root's rights on the host. */
static int preview(const CliCommon *common, GError **error)
{
    g_autoptr(Host) host = host_open(common->sysroot, error);
    const HostDeployment *from = host ? find_origin(host, error) : NULL;
    if (!from)
        return 1;
    g_autofree char *path = host_store_path(host);
    g_autoptr(Store) store = store_open(path, error);
    if (!store)
        return 1;
    g_auto(OstreePullResult) pulled = {0};
    if (!host_verb_pull(host, store, from->origin, NULL, common, true, "atomic upgrade --check",
                        &pulled, error))
        return 1;
    bool available = strcmp(pulled.checksum, host_default(host)->commit) != 0;
    g_autoptr(GVariant) old = ostree_load_commit(store, from->commit, NULL);
    if (common->json && !host_print_check_json(&pulled, from->origin, available, old, error))
        return 1;
    if (!available)
        return common->json ? CLI_NOTHING_TO_DO : nothing_new(true);
    if (!common->json)
        print_available(&pulled, from->origin, old);
    return 0;
}

static int upgrade(const CliCommon *common, const Options *options, GError **error)
{
    g_autoptr(Host) host = NULL;
    g_autoptr(Store) store = NULL;
    if (!host_verb_open(common, "atomic upgrade", &host, &store, error))
        return 1;
    g_autoptr(StoreReserve) reserve = store_reserve_take(store, error);
    if (!reserve)
        return 1;
    const HostDeployment *from = find_origin(host, error);
    if (!from)
        return 1;
    g_autofree char *origin = g_strdup(from->origin);
    g_autofree char *os = g_strdup(from->os);
    if (!common->quiet)
        fprintf(stderr, "Updating from: %s\n", origin);
    g_auto(OstreePullResult) pulled = {0};
    if (!host_verb_pull(host, store, origin, NULL, common, false, "atomic upgrade", &pulled, error))
        return 1;
    if (strcmp(pulled.checksum, host_default(host)->commit) == 0) {
        /* of an upgrade that was killed after the swap */
        g_autoptr(GError) garbage = NULL;
        if (!host_cleanup(host, store, NULL, &garbage))
            fprintf(stderr, "warning: %s\n", garbage->message);
        return nothing_new(options->unchanged_77);
    }
    if (!check_newer(host, &pulled, origin, options, error))
        return 1;
    /* read now: it may be garbage afterwards */
    g_autoptr(GVariant) old = ostree_load_commit(store, from->commit, NULL);
    const HostDeployOptions deploy = {.commit = pulled.checksum, .origin = origin, .os = os};
    g_auto(HostResult) result = {0};
    if (!host_deploy(host, store, &deploy, &result, error))
        return 1;
    host_print_result(&result, common->verbose);
    host_print_packages(old, pulled.commit);
    if (host_is_running(host))
        printf("Updates prepared for next boot; run \"systemctl reboot\" to start a reboot\n");
    return 0;
}

int cli_host_upgrade(const CliCommand *command, int argc, char **argv, GError **error)
{
    Options options = {0};
    const GOptionEntry entries[] = {
        {"check", 0, 0, G_OPTION_ARG_NONE, &options.check,
         "Only tell what is new; exit 77 when nothing is", NULL},
        {"preview", 0, 0, G_OPTION_ARG_NONE, &options.preview, "The same as --check", NULL},
        {"unchanged-exit-77", 0, 0, G_OPTION_ARG_NONE, &options.unchanged_77,
         "Exit 77 when there is nothing new", NULL},
        {"allow-downgrade", 0, 0, G_OPTION_ARG_NONE, &options.allow_downgrade,
         "Take an older tree too", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    cancel_install();
    if (options.check || options.preview)
        return preview(&common, error);
    if (common.json)
        return error_throw(error, ERROR_USAGE,
                           "upgrade prints no JSON\nhint: 'atomic upgrade --check --json' says "
                           "what it would "
                           "do, 'atomic status --json' what it did"),
               1;
    return upgrade(&common, &options, error);
}
