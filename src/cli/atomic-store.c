/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-store. */
#include "cli/cli.h"
#include "cli/host_verbs.h"
#include "cli/store_verbs.h"
#include "cli/tree_verbs.h"

/* clang-format off */
static const CliVerb verbs[] = {
    {"host", "init", cli_host_init},
    {"", "deploy", cli_host_deploy},
    {"", "upgrade", cli_host_upgrade},
    {"", "rollback", cli_host_rollback},
    {"tree", "commit", cli_tree_commit},
    {"tree", "publish", cli_tree_publish},
    {"tree", "remote", cli_tree_remote},
    {"tree", "pull", cli_tree_pull},
    {"tree", "refs", cli_tree_refs},
    {"tree", "log", cli_tree_log},
    {"tree", "show", cli_tree_show},
    {"tree", "ls", cli_tree_ls},
    {"tree", "cat", cli_tree_cat},
    {"tree", "pkglist", cli_tree_pkglist},
    {"store", "init", cli_store_init},
    {"store", "setup", cli_store_setup},
    {"store", "check", cli_store_check},
    {"store", "import", cli_store_import},
    {"store", "export", cli_store_export},
    {"store", "ls", cli_store_ls},
    {"store", "cat", cli_store_cat},
    {"store", "stat", cli_store_stat},
    {"store", "diff", cli_store_diff},
    {"store", "du", cli_store_du},
    {"store", "mount", cli_store_mount},
    {"store", "unmount", cli_store_unmount},
    {"store", "gc", cli_store_gc},
    {"store", "fsck", cli_store_fsck},
    {NULL},
};
/* clang-format on */

int main(int argc, char **argv)
{
    return cli_main(CLI_STORE, verbs, argc, argv);
}
