/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `atomic store`, for the programs' lists. */
#pragma once

#include "cli/cli.h"
#include "store/store.h"

int cli_store_init(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_import(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_export(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_ls(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_cat(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_mount(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_unmount(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_gc(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_setup(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_check(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_fsck(const CliCommand *command, int argc, char **argv, GError **error);

/* --store, else that of --sysroot, else the default one; the caller's. */
char *cli_store_path(const CliCommon *common);
Store *cli_store_open(const CliCommon *common, GError **error);
/* An image's tree, by name or digest; *out_image may be NULL. */
Tree *cli_store_load(Store *store, const char *name, Digest *out_image, GError **error);
