/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/host_verbs.h"
#include "host/host.h"

#include <sys/stat.h>

int cli_host_init(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_autofree char *os = NULL;
    const GOptionEntry entries[] = {
        {"os", 0, 0, G_OPTION_ARG_STRING, &os, "Name of the OS, for its /var", "NAME"},
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
    if (!host_init(common.sysroot, os, error))
        return 1;
    if (!common.quiet)
        fprintf(stderr, "'%s' is a host with OS '%s'\n", common.sysroot, os);
    return 0;
}
