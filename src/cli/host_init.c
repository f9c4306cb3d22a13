/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/host_verbs.h"
#include "cli/store_setup.h"
#include "cli/store_verbs.h"
#include "host/host.h"

#include <sys/stat.h>

static bool make_reserve(const CliCommon *common, const char *text, GError **error)
{
    g_autoptr(Store) store = cli_store_open(common, error);
    return store && cli_init_reserve(store, text, true, error);
}

int cli_host_init(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_autofree char *os = NULL, *reserve = NULL;
    const GOptionEntry entries[] = {
        {"os", 0, 0, G_OPTION_ARG_STRING, &os, "Name of the OS, for its /var", "NAME"},
        {"reserve", 0, 0, G_OPTION_ARG_STRING, &reserve,
         "Keep this much for the next upgrade: 2G, 3%, default, none", "SIZE"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    if (!os || !common.sysroot) {
        error_throw(error, ERROR_USAGE,
                    "%s is missing\nhint: atomic host init --sysroot DIR --os NAME",
                    os ? "--sysroot" : "--os");
        return 1;
    }
    umask(0022); /* `atomic status` is for everybody */
    if (!host_init(common.sysroot, os, error) || !make_reserve(&common, reserve, error))
        return 1;
    if (!common.quiet)
        fprintf(stderr, "'%s' is a host with OS '%s'\n", common.sysroot, os);
    return 0;
}
