/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store init`. */
#include "cli/store_verbs.h"

#include "cli/store_setup.h"

#include <string.h>

int cli_store_init(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean require_verity = false;
    g_autofree char *reserve = NULL;
    const GOptionEntry entries[] = {
        {"require-verity", 0, 0, G_OPTION_ARG_NONE, &require_verity,
         "The kernel must check every object (fs-verity); fail where it can't", NULL},
        {"reserve", 0, 0, G_OPTION_ARG_STRING, &reserve,
         "Keep this much for the host's next upgrade: 2G, 3%, default, none", "SIZE"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autofree char *path = cli_store_path(&common);
    const StoreInitOptions options = {.require_verity = require_verity};
    if (!store_init_with(path, &options, error))
        return 1;
    g_autoptr(Store) store = store_open(path, error);
    StoreReserveState state;
    bool host = common.sysroot || strcmp(path, "/sysroot/atomic/store") == 0;
    if (!store || !cli_init_reserve(store, reserve, host, error) ||
        !store_reserve_read(store, &state, error))
        return 1;
    g_autofree char *text = cli_describe_reserve(&state);
    if (!common.quiet)
        fprintf(stderr, "Store: %s\nfs-verity: %s\nReserve: %s\n", path, cli_describe_verity(store),
                text);
    return 0;
}
