/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One joined line of a Dockerfile: keyword, options, and the arguments in the form that the
 * keyword has. */
#include "build/dockerfile.h"

#include <jansson.h>
#include <string.h>

typedef enum {
    FORM_TEXT,    /* one string */
    FORM_COMMAND, /* exec form, else one string */
    FORM_LIST,    /* exec form, else words */
    FORM_WORDS,
    FORM_PAIRS,  /* name=value …, or the old "name value" */
    FORM_JSON,   /* exec form only */
    FORM_NESTED, /* an instruction: ONBUILD */
    FORM_HEALTHCHECK,
} Form;

static const struct {
    const char *name;
    Form form;
    const char *options;  /* understood, in the form " a b " */
    const char *later;    /* known, not supported yet */
    const char *expected; /* what must follow */
} keywords[] = {
    [DOCKERFILE_FROM] = {"FROM", FORM_WORDS, " platform ", "", "IMAGE [AS NAME]"},
    [DOCKERFILE_RUN] = {"RUN", FORM_COMMAND, " network ", " mount security device ", "a command"},
    [DOCKERFILE_CMD] = {"CMD", FORM_COMMAND, "", "", "a command"},
    [DOCKERFILE_LABEL] = {"LABEL", FORM_PAIRS, "", "", "NAME=VALUE..."},
    [DOCKERFILE_MAINTAINER] = {"MAINTAINER", FORM_TEXT, "", "", "a name"},
    [DOCKERFILE_EXPOSE] = {"EXPOSE", FORM_WORDS, "", "", "PORT[/tcp|/udp]..."},
    [DOCKERFILE_ENV] = {"ENV", FORM_PAIRS, "", "", "NAME=VALUE..."},
    [DOCKERFILE_ADD] = {"ADD", FORM_LIST, " chown chmod ",
                        " link exclude checksum keep-git-dir unpack ", "SOURCE... DESTINATION"},
    [DOCKERFILE_COPY] = {"COPY", FORM_LIST, " from chown chmod link ", " parents exclude ",
                         "SOURCE... DESTINATION"},
    [DOCKERFILE_ENTRYPOINT] = {"ENTRYPOINT", FORM_COMMAND, "", "", "a command"},
    [DOCKERFILE_VOLUME] = {"VOLUME", FORM_LIST, "", "", "PATH..."},
    [DOCKERFILE_USER] = {"USER", FORM_TEXT, "", "", "USER[:GROUP]"},
    [DOCKERFILE_WORKDIR] = {"WORKDIR", FORM_TEXT, "", "", "PATH"},
    [DOCKERFILE_ARG] = {"ARG", FORM_WORDS, "", "", "NAME[=DEFAULT]..."},
    [DOCKERFILE_ONBUILD] = {"ONBUILD", FORM_NESTED, "", "", "an instruction"},
    [DOCKERFILE_STOPSIGNAL] = {"STOPSIGNAL", FORM_TEXT, "", "", "SIGNAL"},
    [DOCKERFILE_HEALTHCHECK] = {"HEALTHCHECK", FORM_HEALTHCHECK,
                                " interval timeout start-period start-interval retries ", "",
                                "NONE or CMD COMMAND"},
    [DOCKERFILE_SHELL] = {"SHELL", FORM_JSON, "", "", "[\"SHELL\", \"OPTION\"...]"},
};

const char *dockerfile_kind_name(DockerfileKind kind)
{
    return keywords[kind].name;
}

static void heredoc_free(void *data)
{
    DockerfileHeredoc *heredoc = data;
    g_free(heredoc->name);
    g_free(heredoc->content);
    g_free(heredoc);
}

void dockerfile_instruction_free(DockerfileInstruction *instruction)
{
    if (!instruction)
        return;
    g_free(instruction->original);
    g_free(instruction->rest);
    g_strfreev(instruction->options);
    g_strfreev(instruction->words);
    g_ptr_array_unref(instruction->heredocs);
    g_free(instruction);
}

const char *dockerfile_option(const DockerfileInstruction *instruction, const char *name)
{
    size_t length = strlen(name);
    for (char **option = instruction->options; *option; option++)
        if (strncmp(*option, name, length) == 0) {
            if ((*option)[length] == '=')
                return *option + length + 1;
            if ((*option)[length] == '\0')
                return "";
        }
    return NULL;
}

static const char *skip_space(const char *text)
{
    while (g_ascii_isspace(*text))
        text++;
    return text;
}

/* --- keyword and options ---------------------------------------------------------------------- */

static bool find_keyword(const char *line, size_t length, DockerfileKind *out_kind, GError **error)
{
    g_autofree char *word = g_ascii_strup(line, (gssize)length);
    for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
        if (strcmp(word, keywords[i].name) == 0) {
            *out_kind = i;
            return true;
        }
    g_autofree char *typed = g_strndup(line, length);
    return error_throw(
        error, ERROR_INVALID,
        "unknown instruction '%s'\n"
        "hint: a command stands behind RUN, as in 'RUN %s'; the instructions are FROM RUN CMD "
        "LABEL EXPOSE "
        "ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL HEALTHCHECK SHELL",
        typed, typed);
}

static bool has_word(const char *list, const char *word)
{
    g_autofree char *spaced = g_strdup_printf(" %s ", word);
    return strstr(list, spaced);
}

static bool check_option(DockerfileKind kind, const char *option, GError **error)
{
    g_autofree char *name = g_strndup(option, strcspn(option, "="));
    if (has_word(keywords[kind].options, name))
        return true;
    if (has_word(keywords[kind].later, name))
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: %s --%s",
                           keywords[kind].name, name);
    if (!*keywords[kind].options)
        return error_throw(error, ERROR_INVALID, "%s has no option '--%s'", keywords[kind].name,
                           name);
    return error_throw(error, ERROR_INVALID, "%s has no option '--%s'; expected one of:%s",
                       keywords[kind].name, name, keywords[kind].options);
}

/* Leading "--name[=value]" words; *text is moved behind them. */
static char **take_options(DockerfileKind kind, const char **text, GError **error)
{
    g_autoptr(GPtrArray) options = g_ptr_array_new_with_free_func(g_free);
    const char *at = skip_space(*text);
    bool has_any = *keywords[kind].options || *keywords[kind].later;
    while (has_any && g_str_has_prefix(at, "--")) {
        size_t length = strcspn(at, " \t\n");
        char *option = g_strndup(at + 2, length - 2);
        g_ptr_array_add(options, option);
        if (*option && !check_option(kind, option, error))
            return NULL;
        at = skip_space(at + length);
        if (!*option) { /* "--" ends the options */
            g_ptr_array_remove_index(options, options->len - 1);
            break;
        }
    }
    *text = at;
    g_ptr_array_add(options, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&options), FALSE);
}

/* --- arguments -------------------------------------------------------------------------------- */

/* The strings of a JSON array; NULL when the text is none (Docker takes it as a shell command
 * then). */
static char **parse_exec_form(const char *text)
{
    if (*text != '[')
        return NULL;
    json_t *root = json_loads(text, 0, NULL), *item;
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    bool good = json_is_array(root);
    size_t i;
    json_array_foreach(root, i, item)
    {
        good = good && json_is_string(item);
        g_ptr_array_add(words, g_strdup(good ? json_string_value(item) : ""));
    }
    json_decref(root);
    if (!good)
        return NULL;
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&words), FALSE);
}

static char **one_word(const char *text)
{
    char **words = g_new0(char *, 2);
    words[0] = g_strdup(text);
    return words;
}

/* A label's name may be quoted. */
static bool is_pair_name(DockerfileKind kind, const char *name)
{
    return *name && (kind == DOCKERFILE_LABEL || !strpbrk(name, " \t\"'"));
}

/* ENV and LABEL: names and values in turn. */
static char **parse_pairs(DockerfileKind kind, const char *text, char escape, GError **error)
{
    g_auto(GStrv) words = words_split(text, escape);
    g_autoptr(GPtrArray) pairs = g_ptr_array_new_with_free_func(g_free);
    if (words[0] && !strchr(words[0], '=')) {
        /* the old form: the rest of the line is the value */
        const char *value = skip_space(text + strlen(words[0]));
        if (!*value)
            return error_throw_null(error, ERROR_INVALID, "%s needs a value for '%s': expected %s",
                                    keywords[kind].name, words[0], keywords[kind].expected);
        g_ptr_array_add(pairs, g_strdup(words[0]));
        g_ptr_array_add(pairs, g_strdup(value));
    } else {
        for (char **word = words; *word; word++) {
            char *equals = strchr(*word, '=');
            g_autofree char *name = equals ? g_strndup(*word, (size_t)(equals - *word)) : NULL;
            if (!name || !is_pair_name(kind, name))
                return error_throw_null(error, ERROR_INVALID,
                                        "'%s' in %s is not NAME=VALUE\n"
                                        "hint: values with spaces are quoted, as in NAME=\"a b\"",
                                        *word, keywords[kind].name);
            g_ptr_array_add(pairs, g_steal_pointer(&name));
            g_ptr_array_add(pairs, g_strdup(equals + 1));
        }
    }
    g_ptr_array_add(pairs, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&pairs), FALSE);
}

static bool parse_healthcheck(DockerfileInstruction *instruction, GError **error)
{
    const char *text = instruction->rest;
    size_t length = strcspn(text, " \t");
    const char *command = skip_space(text + length);
    if (length == 4 && g_ascii_strncasecmp(text, "NONE", 4) == 0 && !*command) {
        instruction->none = true;
        instruction->words = g_new0(char *, 1);
        return true;
    }
    if (length != 3 || g_ascii_strncasecmp(text, "CMD", 3) != 0 || !*command)
        return error_throw(error, ERROR_INVALID, "HEALTHCHECK needs %s",
                           keywords[DOCKERFILE_HEALTHCHECK].expected);
    instruction->words = parse_exec_form(command);
    instruction->json = instruction->words;
    if (!instruction->words)
        instruction->words = one_word(command);
    return true;
}

static bool parse_onbuild(DockerfileInstruction *instruction, char escape, GError **error)
{
    g_autoptr(DockerfileInstruction) nested =
        dockerfile_read_instruction(instruction->rest, escape, error);
    if (!nested)
        return error_prefix(error, "ONBUILD");
    if (nested->kind == DOCKERFILE_ONBUILD || nested->kind == DOCKERFILE_FROM ||
        nested->kind == DOCKERFILE_MAINTAINER)
        return error_throw(error, ERROR_INVALID, "ONBUILD can't hold %s",
                           keywords[nested->kind].name);
    instruction->words = one_word(instruction->rest);
    return true;
}

static bool parse_arguments(DockerfileInstruction *instruction, char escape, GError **error)
{
    DockerfileKind kind = instruction->kind;
    const char *text = instruction->rest;
    Form form = keywords[kind].form;
    switch (form) {
    case FORM_HEALTHCHECK:
        return parse_healthcheck(instruction, error);
    case FORM_NESTED:
        return parse_onbuild(instruction, escape, error);
    case FORM_PAIRS:
        instruction->words = parse_pairs(kind, text, escape, error);
        return instruction->words;
    case FORM_TEXT:
        instruction->words = one_word(text);
        return true;
    case FORM_WORDS:
        instruction->words = words_split(text, escape);
        return true;
    case FORM_COMMAND:
    case FORM_LIST:
    case FORM_JSON:
        instruction->words = parse_exec_form(text);
        instruction->json = instruction->words;
        if (instruction->json)
            return true;
        if (form == FORM_JSON)
            return error_throw(error, ERROR_INVALID, "%s needs the JSON form: expected %s",
                               keywords[kind].name, keywords[kind].expected);
        instruction->words = form == FORM_LIST ? words_split(text, escape) : one_word(text);
        return true;
    }
    g_assert_not_reached();
}

/* How many words there must be, and the grammar of FROM and ARG. */
static bool check_arguments(const DockerfileInstruction *instruction, GError **error)
{
    DockerfileKind kind = instruction->kind;
    unsigned n = g_strv_length(instruction->words);
    const char *name = keywords[kind].name, *expected = keywords[kind].expected;
    if ((kind == DOCKERFILE_COPY || kind == DOCKERFILE_ADD) && n < 2)
        return error_throw(error, ERROR_INVALID,
                           "%s needs a source and a destination: expected %s %s", name, name,
                           expected);
    if ((kind == DOCKERFILE_RUN || kind == DOCKERFILE_SHELL || kind == DOCKERFILE_VOLUME) && n < 1)
        return error_throw(error, ERROR_INVALID, "%s needs an argument: expected %s %s", name, name,
                           expected);
    if (kind == DOCKERFILE_FROM && n != 1 &&
        !(n == 3 && g_ascii_strcasecmp(instruction->words[1], "as") == 0))
        return error_throw(error, ERROR_INVALID, "bad FROM: expected FROM %s", expected);
    for (char **word = instruction->words; kind == DOCKERFILE_ARG && *word; word++) {
        size_t length = strcspn(*word, "=");
        if (length == 0 ||
            strspn(*word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") <
                length)
            return error_throw(error, ERROR_INVALID, "'%s' is not a name for ARG: expected %s",
                               *word, expected);
    }
    return true;
}

DockerfileInstruction *dockerfile_read_instruction(const char *line, char escape, GError **error)
{
    size_t length = strcspn(line, " \t\n");
    g_autoptr(DockerfileInstruction) instruction = g_new0(DockerfileInstruction, 1);
    instruction->heredocs = g_ptr_array_new_with_free_func(heredoc_free);
    instruction->original = g_strdup(line);
    if (!find_keyword(line, length, &instruction->kind, error))
        return NULL;
    const char *rest = line + length;
    instruction->options = take_options(instruction->kind, &rest, error);
    if (!instruction->options)
        return NULL;
    instruction->rest = g_strchomp(g_strdup(rest));
    if (!*instruction->rest)
        return error_throw_null(error, ERROR_INVALID, "%s needs an argument: expected %s %s",
                                keywords[instruction->kind].name, keywords[instruction->kind].name,
                                keywords[instruction->kind].expected);
    if (!parse_arguments(instruction, escape, error) || !check_arguments(instruction, error))
        return NULL;
    return g_steal_pointer(&instruction);
}

/* --- heredocs --------------------------------------------------------------------------------- */

/* "<<EOF", "<<-'EOF'", "3<<EOF" */
static DockerfileHeredoc *parse_heredoc(const char *word)
{
    while (g_ascii_isdigit(*word))
        word++;
    if (!g_str_has_prefix(word, "<<"))
        return NULL;
    bool strip = word[2] == '-';
    word += strip ? 3 : 2;
    size_t length = strlen(word);
    char quote = *word == '"' || *word == '\'' ? *word : 0;
    if (quote && (length < 3 || word[length - 1] != quote))
        return NULL;
    g_autofree char *name = quote ? g_strndup(word + 1, length - 2) : g_strdup(word);
    if (!*name || strpbrk(name, "<\"'`$\\ \t(){};|&>"))
        return NULL;
    DockerfileHeredoc *heredoc = g_new0(DockerfileHeredoc, 1);
    heredoc->name = g_steal_pointer(&name);
    heredoc->expand = !quote;
    heredoc->strip = strip;
    return heredoc;
}

GPtrArray *dockerfile_find_heredocs(const char *line, char escape)
{
    GPtrArray *heredocs = g_ptr_array_new_with_free_func(heredoc_free);
    g_auto(GStrv) words = words_split(line, escape);
    for (char **word = words; *word; word++) {
        DockerfileHeredoc *heredoc = parse_heredoc(*word);
        if (heredoc)
            g_ptr_array_add(heredocs, heredoc);
    }
    return heredocs;
}
