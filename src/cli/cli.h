/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line: one table of all commands, one file per verb or family of verbs.
 *
 * Every program links the table (table.c) and cli.c; each has a list of the verbs that it implements.
 * `atomic` runs its own verbs and execs the helper program for the others with the same words, so a
 * person sees one program and each process loads only the libraries its verb needs.
 *
 * Data goes to stdout, progress and errors to stderr. An error is printed once, by cli_main, as
 * "atomic: <message>", hints on lines of their own. Called through a link named `docker` the program takes
 * Docker's verbs only.
 */
#pragma once

#include "base/error.h"

#include <stdio.h>

typedef enum {
    CLI_ATOMIC,  /* the front itself */
    CLI_STORE,   /* libexec/atomic/atomic-store */
    CLI_COMPOSE, /* libexec/atomic/atomic-compose */
    CLI_BUILD,   /* libexec/atomic/atomic-build */
    CLI_SERVE,   /* libexec/atomic/atomic-serve */
    CLI_LATER,   /* planned: answers "not supported yet: …" */
} CliProgram;

typedef enum {
    CLI_DOCKER =
        1 << 0, /* Docker's verb: its spelling of options and its exit codes, for `docker` too */
    CLI_JSON = 1 << 1,    /* prints JSON when asked; its help says so */
    CLI_SYSROOT = 1 << 2, /* acts on a host, which may be one in a directory */
} CliFlags;

typedef struct {
    const char *group; /* "", "store", "tree", "compose", "host", "image"… */
    const char *name;  /* the verb */
    CliProgram program;
    unsigned flags;       /* of CliFlags */
    const char *usage;    /* what follows the verb, as in "REMOTE:REF" */
    const char *summary;  /* one line, starts with a capital, no full stop */
    const char *examples; /* one per line, as typed */
} CliCommand;

/* All commands, grouped, ended by an entry with name NULL. */
extern const CliCommand cli_commands[];

/* A second name: `atomic image rm` is `atomic rmi`, `atomic host status` is `atomic status`. */
typedef struct {
    const char *group, *name;
    const char *verb; /* of group "" */
} CliAlias;
extern const CliAlias cli_aliases[];

typedef struct {
    const char *name, *summary;
} CliGroup;
extern const CliGroup cli_groups[];

/* Implements a verb. argv[0] is the verb. Returns the exit status; with *error set the status comes from
 * the error's code instead. */
typedef int (*CliRun)(const CliCommand *command, int argc, char **argv, GError **error);

typedef struct {
    const char *group, *name;
    CliRun run;
} CliVerb;

/* What every main calls. `self`: which program this is; `verbs` ends with name NULL. */
int cli_main(CliProgram self, const CliVerb *verbs, int argc, char **argv);

enum { CLI_NOTHING_TO_DO = 77 };

/* "atomic: <message>" ("docker: …" when called so) to stderr: for verbs whose exit status is not their error's. */
void cli_print_error(const GError *error);

/* Options that many verbs have. Zeroed = defaults. */
typedef struct {
    char *store;   /* --store DIR */
    char *sysroot; /* --sysroot DIR, else $ATOMIC_SYSROOT, else NULL: the running host */
    gboolean json; /* --json */
    gboolean verbose, quiet;
} CliCommon;
void cli_common_clear(CliCommon *common);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CliCommon, cli_common_clear)

/* Parses options into `entries` (NULL-ended) and the common ones; --help prints usage, options and the
 * examples and exits 0. Leaves the operands in argv[1…]; false with ERROR_USAGE when they are fewer than
 * `least` or more than `most` (-1: any). Options end at the first operand when `strict_order`
 * (run, exec). */
bool cli_parse(const CliCommand *command, const GOptionEntry *entries, CliCommon *common, int *argc,
               char ***argv, int least, int most, bool strict_order, GError **error);
