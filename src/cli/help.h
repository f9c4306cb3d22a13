/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the program says about its commands; private to cli.c.
 *
 * Everything comes from the tables of table.c. `called` is the name that the program was called by:
 * "docker" sees Docker's commands only, and its examples begin with that word.
 */
#pragma once

#include "cli/cli.h"

/* The command of a group ("" none), under its own name or a second one; NULL when there is none. */
const CliCommand *help_find(const char *called, const char *group, const char *name);
bool help_is_group(const char *called, const char *word);

/* `atomic --help`, and `atomic GROUP --help`. */
void help_print(FILE *out, const char *called, const char *group);

/* For scripts (man page, completion, tests): a line per command and per second name, separated by tabs:
 * group ("-" none), name, program ("later": not there yet; "=VERB": another name of it), usage, summary. */
void help_print_table(FILE *out);

/* The examples of a command as a block of text, empty when it has none. */
char *help_examples(const char *called, const CliCommand *command);

/* What a person may have meant by a word that is no command: "run", "store gc"; NULL: no idea. */
char *help_suggest(const char *called, const char *group, const char *word);
