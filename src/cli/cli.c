/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/cli.h"

#include "base/spawn.h"
#include "cli/docker_args.h"
#include "cli/help.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const programs[] = {
    [CLI_STORE] = "atomic-store",
    [CLI_COMPOSE] = "atomic-compose",
    [CLI_BUILD] = "atomic-build",
    [CLI_SERVE] = "atomic-serve",
};

/* how the program was called: what its messages begin with */
static const char *called = "atomic";

void cli_common_clear(CliCommon *common)
{
    g_free(common->store);
    g_free(common->sysroot);
}

static bool as_docker(void)
{
    return strcmp(called, "docker") == 0;
}

static bool has_long(const GOptionEntry *entries, const char *name)
{
    for (; entries && entries->long_name; entries++)
        if (strcmp(entries->long_name, name) == 0)
            return true;
    return false;
}

static bool has_short(const GOptionEntry *entries, char name)
{
    for (; entries && entries->long_name; entries++)
        if (entries->short_name == name)
            return true;
    return false;
}

/* The options of all verbs, without those that a verb has of its own: Docker's -v, -q, -s and -h win, and
 * its verbs get the long forms only. Hidden: taken, and without effect. */
static GArray *common_entries(const CliCommand *command, const GOptionEntry *entries,
                              CliCommon *common, gboolean *help)
{
    const bool docker = command->flags & CLI_DOCKER;
    const int json = command->flags & CLI_JSON ? 0 : G_OPTION_FLAG_HIDDEN;
    const int sysroot = command->flags & CLI_SYSROOT ? 0 : G_OPTION_FLAG_HIDDEN;
    const int chatter = docker ? G_OPTION_FLAG_HIDDEN : 0;
    const GOptionEntry all[] = {
        {"json", 0, json, G_OPTION_ARG_NONE, &common->json, "Print JSON", NULL},
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &common->store, "The store to use", "DIR"},
        {"sysroot", 0, sysroot, G_OPTION_ARG_FILENAME, &common->sysroot, "Act on the host in DIR",
         "DIR"},
        {"verbose", docker ? 0 : 'v', chatter, G_OPTION_ARG_NONE, &common->verbose, "Say more",
         NULL},
        {"quiet", docker ? 0 : 'q', chatter, G_OPTION_ARG_NONE, &common->quiet, "Say less", NULL},
        {"help", 'h', 0, G_OPTION_ARG_NONE, help, "Show this help", NULL},
    };
    GArray *own = g_array_new(true, true, sizeof *all);
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        GOptionEntry entry = all[i];
        if (has_short(entries, entry.short_name))
            entry.short_name = 0;
        if (!has_long(entries, entry.long_name))
            g_array_append_val(own, entry);
    }
    return own;
}

static GOptionContext *new_context(const CliCommand *command)
{
    GOptionContext *context = g_option_context_new(command->usage);
    g_autofree char *examples = help_examples(called, command);
    g_option_context_set_summary(context, command->summary);
    g_option_context_set_description(context, examples);
    /* GLib's own adds switches that show parts of the help; ours is one piece */
    g_option_context_set_help_enabled(context, false);
    return context;
}

/* GLib's messages in the form of ours: a small letter first, straight quotes. */
static bool option_error(const CliCommand *command, GError **error)
{
    if (error && *error && (*error)->domain == G_OPTION_ERROR) {
        GString *text = g_string_new((*error)->message);
        text->str[0] = g_ascii_tolower(text->str[0]);
        g_string_replace(text, "“", "'", 0);
        g_string_replace(text, "”", "'", 0);
        g_free((*error)->message);
        (*error)->message = g_string_free(text, FALSE);
    }
    return error_prefix(error, "%s%s%s", command->group, *command->group ? " " : "", command->name);
}

static bool operand_error(const CliCommand *command, int operands, int least, int most,
                          GError **error)
{
    const int limit = operands < least ? least : most;
    const char *bound = least == most ? "" : operands < least ? "at least " : "at most ";
    g_autofree char *takes =
        most == 0 ? g_strdup("takes no arguments")
                  : g_strdup_printf("takes %s%d argument%s", bound, limit, limit == 1 ? "" : "s");
    return error_throw(error, ERROR_USAGE, "%s%s%s: %s, not %d\nhint: usage: %s%s%s",
                       command->group, *command->group ? " " : "", command->name, takes, operands,
                       g_get_prgname(), *command->usage ? " [OPTIONS] " : " [OPTIONS]",
                       command->usage);
}

static bool flush_output(void)
{
    if (fflush(stdout) == 0)
        return true;
    /* who closed the pipe has read what it wanted */
    if (errno != EPIPE)
        fprintf(stderr, "%s: cannot write to standard output: %s\n", called, strerror(errno));
    return false;
}

/* "[OPTIONS]" as all other texts have it; GLib has "[OPTION…]". */
static void print_help(GOptionContext *context)
{
    g_autofree char *text = g_option_context_get_help(context, true, NULL);
    g_auto(GStrv) parts = g_strsplit(text, "[OPTION…]", 2);
    printf("%s%s%s", parts[0], parts[1] ? "[OPTIONS]" : "", parts[1] ? parts[1] : "");
}

bool cli_parse(const CliCommand *command, const GOptionEntry *entries, CliCommon *common, int *argc,
               char ***argv, int least, int most, bool strict_order, GError **error)
{
    gboolean help = FALSE;
    g_autofree char *name = g_strdup_printf("%s%s%s %s", called, *command->group ? " " : "",
                                            command->group, command->name);
    g_set_prgname(name);
    g_autoptr(GOptionContext) context = new_context(command);
    g_autoptr(GArray) shared = common_entries(command, entries, common, &help);
    const GOptionEntry *own = (const GOptionEntry *)(void *)shared->data;
    g_option_context_set_strict_posix(context, strict_order);
    if (entries)
        g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_add_main_entries(context, own, NULL);
    if (command->flags & CLI_DOCKER) {
        /* lives as long as the operands that are left in it: for good */
        *argv = docker_args_normalize(*argv, entries, own, strict_order);
        *argc = (int)g_strv_length(*argv);
    }
    if (!g_option_context_parse(context, argc, argv, error))
        return option_error(command, error);
    if (help) {
        print_help(context);
        exit(flush_output() ? 0 : 1);
    }
    if (!common->sysroot)
        common->sysroot = g_strdup(g_getenv("ATOMIC_SYSROOT"));
    /* with strict order GOption leaves the "--" that ended the options */
    if (*argc > 1 && strcmp((*argv)[1], "--") == 0) {
        memmove(*argv + 1, *argv + 2, sizeof(char *) * (size_t)(*argc - 1));
        --*argc;
    }
    int operands = *argc - 1;
    if (operands < least || (most >= 0 && operands > most))
        return operand_error(command, operands, least, most, error);
    return true;
}

/* Names in a message may come from an archive or from inside a container: what would move the cursor or
 * speak to the terminal is shown instead of sent. */
static void print_line(const char *line)
{
    g_autoptr(GString) out = g_string_new(NULL);
    for (const unsigned char *p = (const unsigned char *)line; *p; p++) {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080 to U+009F, in UTF-8 */
        if ((*p < ' ' && *p != '\t') || *p == 0x7f || c1)
            g_string_append_printf(out, "\\x%02x", c1 ? *++p : *p);
        else
            g_string_append_c(out, (char)*p);
    }
    fprintf(stderr, "%s\n", out->str);
}

void cli_print_error(const GError *error)
{
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
    fprintf(stderr, "%s: ", called);
    for (int i = 0; lines[i]; i++)
        print_line(lines[i]);
}

/* Docker's: 125 for words that are wrong and for a `run` that failed before the command, else 1. */
static int docker_status(const CliCommand *command, int code)
{
    if (code == 2 || (strcmp(command->name, "run") == 0 && code != 130))
        return 125;
    return code;
}

static int finish(const CliCommand *command, int status, const GError *error)
{
    if (!flush_output() && !error)
        return 1;
    if (!error)
        return status;
    cli_print_error(error);
    int code = error_exit_status(error);
    if (command && code == 2 && !strstr(error->message, "hint: "))
        fprintf(stderr, "hint: see '%s%s%s %s --help'\n", called, *command->group ? " " : "",
                command->group, command->name);
    return command && (command->flags & CLI_DOCKER) ? docker_status(command, code) : code;
}

static int exec_helper(const CliCommand *command, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = spawn_helper_path(programs[command->program], &error);
    if (path) {
        execv(path, argv);
        error_throw(&error, ERROR_FAILED,
                    "cannot run '%s': %s\nhint: it is part of this program and installed with it; "
                    "ATOMIC_LIBEXEC=DIR names the directory of such programs",
                    path, g_strerror(errno));
    }
    return finish(command, 1, error);
}

static int run_command(const CliCommand *command, CliProgram self, const CliVerb *verbs, int argc,
                       char **argv, char **all)
{
    g_autoptr(GError) error = NULL;
    if (command->program == CLI_LATER) {
        error_throw(&error, ERROR_UNSUPPORTED, "not supported yet: atomic %s%s%s", command->group,
                    *command->group ? " " : "", command->name);
        return finish(NULL, 1, error);
    }
    if (command->program != self)
        return exec_helper(command, all);
    for (const CliVerb *v = verbs; v->name; v++)
        if (strcmp(v->group, command->group) == 0 && strcmp(v->name, command->name) == 0) {
            int status = v->run(command, argc, argv, &error);
            return finish(command, status, error);
        }
    error_throw(&error, ERROR_UNSUPPORTED, "not supported yet: atomic %s%s%s", command->group,
                *command->group ? " " : "", command->name);
    return finish(NULL, 1, error);
}

/* For the test that holds the table against the programs. */
static void print_verbs(const CliVerb *verbs)
{
    for (const CliVerb *v = verbs; v->name; v++)
        printf("%s\t%s\n", *v->group ? v->group : "-", v->name);
}

static int unknown_command(const char *group, const char *word)
{
    const char *space = *group ? " " : "";
    if (word[0] == '-') {
        fprintf(stderr,
                "%s: unknown option '%s'\nhint: options follow the command: see '%s%s%s --help'\n",
                called, word, called, space, group);
        return as_docker() ? 125 : 2;
    }
    g_autofree char *meant = help_suggest(called, group, word);
    fprintf(stderr, "%s: '%s%s%s' is not a command\nhint: ", called, group, space, word);
    if (meant)
        fprintf(stderr, "did you mean '%s %s'? ", called, meant);
    fprintf(stderr, "see '%s%s%s --help'\n", called, space, group);
    return as_docker() ? 125 : 2;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* What begins with a word that is no command. Returns false when it is one. */
static bool answer_about_self(const CliVerb *verbs, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-v") == 0)
        printf("atomic %s\n", ATOMIC_VERSION);
    else if (argc > 2 && strcmp(word, "help") == 0 && strcmp(argv[2], "--table") == 0)
        help_print_table(stdout);
    else if (argc > 2 && strcmp(word, "help") == 0 && strcmp(argv[2], "--verbs") == 0)
        print_verbs(verbs);
    else if (is_help(word) && (argc <= 2 || word[0] == '-'))
        help_print(stdout, called, "");
    else
        return false;
    return true;
}

/* "help WORDS" is "WORDS --help"; argv is the vector of main, so the words may move in it. */
static void turn_help(int argc, char **argv)
{
    static char option[] = "--help";
    memmove(argv, argv + 1, sizeof *argv * (size_t)(argc - 1));
    argv[argc - 1] = option;
}

int cli_main(CliProgram self, const CliVerb *verbs, int argc, char **argv)
{
    /* file names and column widths follow the user's locale; messages are in one language, and each category more is
     * three system calls at the start of every command */
    setlocale(LC_CTYPE, "");
    const char *slash = strrchr(argv[0], '/');
    if (strcmp(slash ? slash + 1 : argv[0], "docker") == 0)
        called = "docker";
    if (answer_about_self(verbs, argc, argv))
        return finish(NULL, 0, NULL);
    if (strcmp(argv[1], "help") == 0)
        turn_help(argc - 1, argv + 1);
    const char *group = help_is_group(called, argv[1]) ? argv[1] : "";
    int used = *group ? 2 : 1;
    if (*group && argc > 3 && strcmp(argv[2], "help") == 0)
        turn_help(argc - 2, argv + 2);
    if (*group && (argc == 2 || is_help(argv[2]))) {
        help_print(stdout, called, group);
        return finish(NULL, 0, NULL);
    }
    const CliCommand *command = help_find(called, group, argv[used]);
    if (!command)
        return unknown_command(group, argv[used]);
    return run_command(command, self, verbs, argc - used, argv + used, argv);
}
