/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `atomic tree`, for the programs' lists. */
#pragma once

#include "cli/cli.h"
#include "store/store.h"

int cli_tree_commit(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_publish(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_serve(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_remote(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_pull(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_refs(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_log(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_show(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_ls(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_cat(const CliCommand *command, int argc, char **argv, GError **error);
int cli_tree_pkglist(const CliCommand *command, int argc, char **argv, GError **error);

/* The store that the options name: --store, else the host's of --sysroot, else the default one. With
 * `make` it is made when it is missing. */
Store *cli_tree_open_store(const CliCommon *common, bool make, GError **error);
/* Where its remotes are: a host's own, else the store's. */
char *cli_tree_remotes_dir(const CliCommon *common, Store *store);
