/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-store. */
#include "cli/cli.h"
#include "cli/host_verbs.h"
#include "cli/tree_verbs.h"

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
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_STORE, verbs, argc, argv);
}
