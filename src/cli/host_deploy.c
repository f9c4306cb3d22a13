/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cancel.h"
#include "cli/host_report.h"
#include "cli/host_verbs.h"

#include <string.h>

typedef struct {
    char *refspec; /* REMOTE:REF */
    char *commit;  /* NULL: the newest */
} Wanted;

static void wanted_clear(Wanted *wanted)
{
    g_free(wanted->refspec);
    g_free(wanted->commit);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wanted, wanted_clear)

/* REMOTE:REF[=COMMIT] */
static bool parse_wanted(const char *text, Wanted *out_wanted, GError **error)
{
    Digest digest;
    const char *sign = strpbrk(text, "@=");
    if (sign && *sign == '@')
        return error_throw(error, ERROR_UNSUPPORTED,
                           "not supported yet: REMOTE:REF@VERSION\nhint: REMOTE:REF=COMMIT is");
    if (sign && !digest_parse(sign + 1, &digest))
        return error_throw(error, ERROR_INVALID, "'%s' is no commit: expected 64 hex digits",
                           sign + 1);
    out_wanted->refspec = sign ? g_strndup(text, (size_t)(sign - text)) : g_strdup(text);
    out_wanted->commit = sign ? g_strdup(sign + 1) : NULL;
    return true;
}

static bool deploy(const CliCommon *common, const Wanted *wanted, const char *os, char **kargs,
                   GError **error)
{
    g_autoptr(Host) host = NULL;
    g_autoptr(Store) store = NULL;
    if (!host_verb_open(common, "atomic deploy", &host, &store, error))
        return false;
    g_autoptr(StoreReserve) reserve = store_reserve_take(store, error);
    if (!reserve)
        return false;
    g_autofree char *again = g_strdup_printf("atomic deploy %s", wanted->refspec);
    g_auto(OstreePullResult) pulled = {0};
    if (!host_verb_pull(host, store, wanted->refspec, wanted->commit, common, false, again, &pulled,
                        error))
        return false;
    const HostDeployment *from = host_booted(host) ? host_booted(host) : host_default(host);
    g_autoptr(GVariant) old = from ? ostree_load_commit(store, from->commit, NULL) : NULL;
    const HostDeployOptions options = {
        .commit = pulled.checksum,
        .origin = wanted->refspec,
        .os = os,
        .kargs = (const char *const *)kargs,
    };
    g_auto(HostResult) result = {0};
    if (!host_deploy(host, store, &options, &result, error))
        return false;
    host_print_result(&result, common->verbose);
    host_print_packages(old, pulled.commit);
    if (host_is_running(host))
        printf("Deployed for next boot; run \"systemctl reboot\" to start a reboot\n");
    return true;
}

int cli_host_deploy(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_autofree char *os = NULL;
    g_auto(GStrv) kargs = NULL;
    const GOptionEntry entries[] = {
        {"os", 0, 0, G_OPTION_ARG_STRING, &os, "Deploy as this OS", "NAME"},
        {"karg", 0, 0, G_OPTION_ARG_STRING_ARRAY, &kargs, "Add a kernel argument (repeatable)",
         "NAME=VALUE"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    g_auto(Wanted) wanted = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error) ||
        !parse_wanted(argv[1], &wanted, error))
        return 1;
    cancel_install();
    return deploy(&common, &wanted, os, kargs, error) ? 0 : 1;
}
