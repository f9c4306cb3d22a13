/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/help.h"

#include <string.h>

static const char *const programs[] = {
    [CLI_ATOMIC] = "atomic",      [CLI_STORE] = "atomic-store", [CLI_COMPOSE] = "atomic-compose",
    [CLI_BUILD] = "atomic-build", [CLI_SERVE] = "atomic-serve", [CLI_LATER] = "later",
};

static bool is_visible(const char *called, const CliCommand *command)
{
    return (command->flags & CLI_DOCKER) || strcmp(called, "docker") != 0;
}

static const CliCommand *find_row(const char *called, const char *group, const char *name)
{
    for (const CliCommand *c = cli_commands; c->name; c++)
        if (strcmp(c->group, group) == 0 && strcmp(c->name, name) == 0 && is_visible(called, c))
            return c;
    return NULL;
}

const CliCommand *help_find(const char *called, const char *group, const char *name)
{
    const CliCommand *command = find_row(called, group, name);
    for (const CliAlias *a = cli_aliases; !command && a->name; a++)
        if (strcmp(a->group, group) == 0 && strcmp(a->name, name) == 0)
            command = find_row(called, "", a->verb);
    return command;
}

bool help_is_group(const char *called, const char *word)
{
    for (const CliCommand *c = cli_commands; c->name; c++)
        if (*c->group && strcmp(c->group, word) == 0 && is_visible(called, c))
            return true;
    return false;
}

/* Calls for every command of a group under each of its names. */
typedef void (*EachName)(const char *name, const CliCommand *command, void *data);

static void each_name(const char *called, const char *group, EachName each, void *data)
{
    for (const CliCommand *c = cli_commands; c->name; c++)
        if (strcmp(c->group, group) == 0 && is_visible(called, c))
            each(c->name, c, data);
    for (const CliAlias *a = cli_aliases; a->name; a++) {
        const CliCommand *c = find_row(called, "", a->verb);
        if (c && strcmp(a->group, group) == 0)
            each(a->name, c, data);
    }
}

/* --- help ----------------------------------------------------------------------------------------------- */

typedef struct {
    FILE *out;
    const char *title; /* printed before the first row */
    bool later;        /* the planned ones or those that are there */
    unsigned mask, flags;
} Rows;

static void print_row(const char *name, const CliCommand *command, void *data)
{
    Rows *rows = data;
    if ((command->program == CLI_LATER) != rows->later ||
        (command->flags & rows->mask) != rows->flags)
        return;
    if (rows->title)
        fprintf(rows->out, "\n%s\n", rows->title);
    rows->title = NULL;
    fprintf(rows->out, "  %-12s %s\n", name, command->summary);
}

void help_print(FILE *out, const char *called, const char *group)
{
    Rows planned = {.out = out, .title = "Planned, not supported yet:", .later = true};
    if (*group) {
        fprintf(out, "Usage: %s %s COMMAND [OPTIONS]\n", called, group);
        for (const CliGroup *g = cli_groups; g->name; g++)
            if (strcmp(g->name, group) == 0)
                fprintf(out, "\n%s\n", g->summary);
        Rows rows = {.out = out, .title = "Commands:"};
        each_name(called, group, print_row, &rows);
        each_name(called, group, print_row, &planned);
        fprintf(out, "\n'%s %s COMMAND --help' tells more about a command.\n", called, group);
        return;
    }
    fprintf(out, "Usage: %s COMMAND [OPTIONS]\n       %s GROUP COMMAND [OPTIONS]\n", called,
            called);
    Rows host = {.out = out, .title = "The host:", .mask = CLI_DOCKER};
    Rows rows = {
        .out = out, .title = "Containers and images:", .mask = CLI_DOCKER, .flags = CLI_DOCKER};
    each_name(called, "", print_row, &host);
    each_name(called, "", print_row, &rows);
    fprintf(out, "\nGroups of commands:\n");
    for (const CliGroup *g = cli_groups; g->name; g++)
        if (help_is_group(called, g->name))
            fprintf(out, "  %-12s %s\n", g->name, g->summary);
    each_name(called, "", print_row, &planned);
    fprintf(out, "\n'%s COMMAND --help' and '%s GROUP --help' tell more.\n", called, called);
}

typedef struct {
    FILE *out;
    const char *group;
} TableRow;

static void print_table_row(const char *name, const CliCommand *command, void *data)
{
    const TableRow *row = data;
    const char *separator = "";
    const char *program = programs[command->program];
    if (!*command->group && strcmp(row->group, "-") != 0) {
        separator = "=";
        program = command->name;
    }
    fprintf(row->out, "%s\t%s\t%s%s\t%s\t%s\n", row->group, name, separator, program,
            command->usage, command->summary);
}

void help_print_table(FILE *out)
{
    TableRow row = {.out = out, .group = "-"};
    each_name("atomic", "", print_table_row, &row);
    for (const CliGroup *g = cli_groups; g->name; g++) {
        row.group = g->name;
        each_name("atomic", g->name, print_table_row, &row);
    }
}

char *help_examples(const char *called, const CliCommand *command)
{
    GString *text = g_string_new(NULL);
    if (command->examples) {
        g_string_append(text, "Examples:\n");
        g_auto(GStrv) lines = g_strsplit(command->examples, "\n", -1);
        for (char **line = lines; *line; line++)
            g_string_append_printf(text, "  %s%s\n", called, *line + strlen("atomic"));
    }
    return g_string_free(text, FALSE);
}

/* --- suggestions ---------------------------------------------------------------------------------------- */

enum { LONGEST_WORD = 32, MOST_EDITS = 2 };

/* Letters added, removed, changed or swapped with their neighbour on the way from a to b. */
static unsigned distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b);
    unsigned d[LONGEST_WORD + 1][LONGEST_WORD + 1];
    if (m > LONGEST_WORD || n > LONGEST_WORD)
        return MOST_EDITS + 1;
    for (size_t i = 0; i <= m; i++)
        for (size_t j = 0; j <= n; j++) {
            if (!i || !j) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, 1 + MIN(d[i - 1][j], d[i][j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[m][n];
}

typedef struct {
    const char *word, *group;
    unsigned edits; /* of the best so far */
    char *best;
} Guess;

static void consider(const char *name, const CliCommand *command, void *data)
{
    Guess *guess = data;
    unsigned edits = distance(guess->word, name);
    /* short words resemble all others */
    if (command->program == CLI_LATER || edits >= guess->edits || edits >= strlen(name))
        return;
    guess->edits = edits;
    g_free(guess->best);
    guess->best = g_strconcat(guess->group, *guess->group ? " " : "", name, NULL);
}

char *help_suggest(const char *called, const char *group, const char *word)
{
    Guess guess = {.word = word, .group = group, .edits = MOST_EDITS + 1};
    each_name(called, group, consider, &guess);
    if (*group)
        return guess.best;
    for (const CliGroup *g = cli_groups; g->name; g++) {
        if (!help_is_group(called, g->name))
            continue;
        unsigned edits = distance(word, g->name);
        if (edits < guess.edits) {
            guess.edits = edits;
            g_free(guess.best);
            guess.best = g_strdup(g->name);
        }
    }
    /* a verb that is another group's: `gc` for `store gc` */
    for (const CliGroup *g = cli_groups; !guess.best && g->name; g++)
        if (help_is_group(called, g->name) && find_row(called, g->name, word)) {
            guess.group = g->name;
            consider(word, find_row(called, g->name, word), &guess);
        }
    return guess.best;
}
