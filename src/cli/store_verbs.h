/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `atomic store`, for the programs' lists. */
#pragma once

#include "cli/cli.h"
#include "store/store.h"

#include <jansson.h>

int cli_store_init(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_import(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_export(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_ls(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_cat(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_stat(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_diff(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_du(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_du(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_mount(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_unmount(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_gc(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_setup(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_check(const CliCommand *command, int argc, char **argv, GError **error);
int cli_store_fsck(const CliCommand *command, int argc, char **argv, GError **error);

/* The names of mounts of earlier boots. */
void cli_store_forget_mounts(Store *store);
/* --store, else that of --sysroot, else the default one; the caller's. */
char *cli_store_path(const CliCommon *common);
Store *cli_store_open(const CliCommon *common, GError **error);
/* An image's tree, by whatever names it (cli/operand.h); *out_image may be NULL. */
Tree *cli_store_load(Store *store, const char *name, Digest *out_image, GError **error);
/* A file of it, `follow`: with links followed. ERROR_NOT_FOUND names both. */
TreeNode *cli_store_find(Tree *tree, const char *image, const char *path, bool follow,
                         GError **error);
typedef json_t *(*CliDescribe)(const TreeNode *node);
/* The file, or those of the directory, onto stdout, or into `files` when that is not NULL. */
void cli_store_list(const TreeNode *node, bool recursive, CliDescribe describe, json_t *files);
/* The file's bytes onto stdout. */
bool cli_store_print_file(Store *store, const TreeNode *node, const char *path, GError **error);
