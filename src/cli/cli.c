/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/cli.h"

#include "base/spawn.h"
#include "cli/docker_args.h"

#include <errno.h>
#include <locale.h>
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

static const CliCommand *find(const char *group, const char *name)
{
    for (const CliCommand *c = cli_commands; c->name; c++)
        if (strcmp(c->group, group) == 0 && strcmp(c->name, name) == 0 &&
            (c->docker || !as_docker()))
            return c;
    return NULL;
}

static bool is_group(const char *word)
{
    for (const CliCommand *c = cli_commands; c->name; c++)
        if (*c->group && strcmp(c->group, word) == 0)
            return true;
    return false;
}

static void print_commands(FILE *out, const char *group)
{
    for (const CliCommand *c = cli_commands; c->name; c++)
        if (strcmp(c->group, group) == 0 && (c->docker || !as_docker()))
            fprintf(out, "  %-12s %s\n", c->name, c->summary);
}

static void print_help(FILE *out, const char *group)
{
    fprintf(out, "Usage: %s %s%sCOMMAND [OPTIONS]\n\n", called, group, *group ? " " : "");
    print_commands(out, group);
    if (!*group) {
        fprintf(out, "\nGroups of commands (atomic GROUP --help):\n ");
        const char *last = "";
        for (const CliCommand *c = cli_commands; c->name; c++)
            if (*c->group && strcmp(c->group, last) != 0)
                fprintf(out, " %s", last = c->group);
        fprintf(out, "\n");
    }
    fprintf(out, "\nEach command has --help.\n");
}

static char *describe(const CliCommand *command)
{
    GString *text = g_string_new(NULL);
    if (command->examples) {
        g_string_append(text, "Examples:\n");
        g_auto(GStrv) lines = g_strsplit(command->examples, "\n", -1);
        for (char **line = lines; *line; line++)
            g_string_append_printf(text, "  %s\n", *line);
    }
    return g_string_free(text, FALSE);
}

bool cli_parse(const CliCommand *command, const GOptionEntry *entries, CliCommon *common, int *argc,
               char ***argv, int least, int most, bool strict_order, GError **error)
{
    g_autofree char *parameters = g_strdup_printf("- %s", command->summary);
    g_autofree char *name = g_strdup_printf("%s%s%s %s %s", called, *command->group ? " " : "",
                                            command->group, command->name, command->usage);
    g_autoptr(GOptionContext) context = g_option_context_new(parameters);
    const GOptionEntry shared[] = {
        {"store", 0, 0, G_OPTION_ARG_FILENAME, &common->store, "The store to use", "DIR"},
        {"sysroot", 0, 0, G_OPTION_ARG_FILENAME, &common->sysroot, "Act on the host in DIR", "DIR"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &common->json, "Print JSON", NULL},
        {"verbose", 'v', command->docker ? G_OPTION_FLAG_NOALIAS : 0, G_OPTION_ARG_NONE,
         &common->verbose, "Say more", NULL},
        {"quiet", 'q', command->docker ? G_OPTION_FLAG_NOALIAS : 0, G_OPTION_ARG_NONE,
         &common->quiet, "Say less", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_autofree char *help = describe(command);
    g_option_context_set_description(context, help);
    g_option_context_set_strict_posix(context, strict_order);
    if (entries)
        g_option_context_add_main_entries(context, entries, NULL);
    /* Docker's own -v and -q and -s win: its verbs get the long forms of ours only */
    g_autofree GOptionEntry *own = g_memdup2(shared, sizeof shared);
    for (GOptionEntry *e = own; command->docker && e->long_name; e++)
        e->short_name = 0;
    GOptionGroup *group =
        g_option_group_new("common", "Common options:", "Common options", NULL, NULL);
    g_option_group_add_entries(group, own);
    g_option_context_add_group(context, group);
    g_set_prgname(name);
    if (command->docker) {
        /* lives as long as the operands that are left in it: for good */
        *argv = docker_args_normalize(*argv, entries, own, strict_order);
        *argc = (int)g_strv_length(*argv);
    }
    if (!g_option_context_parse(context, argc, argv, error))
        return error_prefix(error, "%s%s%s", command->group, *command->group ? " " : "",
                            command->name);
    if (!common->sysroot)
        common->sysroot = g_strdup(g_getenv("ATOMIC_SYSROOT"));
    /* with strict order GOption leaves the "--" that ended the options */
    if (*argc > 1 && strcmp((*argv)[1], "--") == 0) {
        memmove(*argv + 1, *argv + 2, sizeof(char *) * (size_t)(*argc - 1));
        --*argc;
    }
    int operands = *argc - 1;
    if (operands < least || (most >= 0 && operands > most))
        return error_throw(error, ERROR_USAGE, "wrong number of arguments\nhint: usage: %s", name);
    return true;
}

void cli_print_error(const GError *error)
{
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
    fprintf(stderr, "%s: ", called);
    for (int i = 0; lines[i]; i++)
        fprintf(stderr, "%s\n", lines[i]);
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
    if (fflush(stdout) != 0 && !error) {
        fprintf(stderr, "atomic: cannot write to standard output: %s\n", strerror(errno));
        return 1;
    }
    if (!error)
        return status;
    cli_print_error(error);
    int code = error_exit_status(error);
    return command && command->docker ? docker_status(command, code) : code;
}

static int exec_helper(const CliCommand *command, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = spawn_helper_path(programs[command->program], &error);
    if (path) {
        execv(path, argv);
        error_throw_errno(&error, "cannot run '%s'", path);
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

int cli_main(CliProgram self, const CliVerb *verbs, int argc, char **argv)
{
    /* file names and column widths follow the user's locale; messages are in one language, and each category more is
     * three system calls at the start of every command */
    setlocale(LC_CTYPE, "");
    const char *slash = strrchr(argv[0], '/');
    if (strcmp(slash ? slash + 1 : argv[0], "docker") == 0)
        called = "docker";
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--version") == 0) {
        printf("atomic %s\n", ATOMIC_VERSION);
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout, "");
        return 0;
    }
    const CliCommand *command = NULL;
    int used = 1;
    if (is_group(word)) {
        const char *verb = argc > 2 ? argv[2] : "--help";
        if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
            print_help(stdout, word);
            return 0;
        }
        command = find(word, verb);
        /* `atomic host VERB` is `atomic VERB`, `docker container VERB` is `docker VERB` */
        if (!command && (strcmp(word, "host") == 0 || strcmp(word, "container") == 0))
            command = find("", verb);
        used = 2;
    } else {
        command = find("", word);
    }
    if (!command) {
        fprintf(stderr, "%s: '%s%s%s' is not a command\nhint: see '%s %s--help'\n", called, word,
                used == 2 ? " " : "", used == 2 ? argv[2] : "", called, used == 2 ? "GROUP " : "");
        return as_docker() ? 125 : 2;
    }
    return run_command(command, self, verbs, argc - used, argv + used, argv);
}
