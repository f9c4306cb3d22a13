/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A Dockerfile's lines: directives, comments, continuations, heredocs; and how instructions make
 * stages. */
#include "build/dockerfile.h"

#include <string.h>

typedef struct {
    char **lines; /* physical lines, without their newlines */
    unsigned n, next;
    Dockerfile *file;
} Reader;

static void instruction_free(void *data)
{
    dockerfile_instruction_free(data);
}

static void stage_free(void *data)
{
    DockerfileStage *stage = data;
    g_free(stage->name);
    dockerfile_instruction_free(stage->from);
    g_ptr_array_unref(stage->instructions);
    g_free(stage);
}

void dockerfile_free(Dockerfile *dockerfile)
{
    if (!dockerfile)
        return;
    g_free(dockerfile->file);
    g_ptr_array_unref(dockerfile->args);
    g_ptr_array_unref(dockerfile->stages);
    g_ptr_array_unref(dockerfile->warnings);
    g_free(dockerfile);
}

static bool at_line(const Dockerfile *file, unsigned line, GError **error)
{
    return error_prefix(error, "%s:%u", file->file, line);
}

static const char *trim(const char *line)
{
    while (*line == ' ' || *line == '\t')
        line++;
    return line;
}

/* --- directives ------------------------------------------------------------------------------- */

/* "# name = value"; false when the line is no directive. */
static bool split_directive(const char *line, char **out_name, char **out_value)
{
    if (*(line = trim(line)) != '#')
        return false;
    const char *name = trim(line + 1);
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    const char *equals = trim(name + length);
    if (length == 0 || *equals != '=')
        return false;
    *out_name = g_ascii_strdown(name, (gssize)length);
    *out_value = g_strstrip(g_strdup(equals + 1));
    return true;
}

/* Only at the very beginning; what is no known directive is a comment and ends them. */
static bool read_directives(Reader *reader, GError **error)
{
    static const char *const known[] = {"escape", "syntax", "check"};
    bool seen[ARRAY_SIZE(known)] = {false};
    for (; reader->next < reader->n; reader->next++) {
        g_autofree char *name = NULL, *value = NULL;
        if (!split_directive(reader->lines[reader->next], &name, &value))
            return true;
        size_t i = 0;
        while (i < ARRAY_SIZE(known) && strcmp(known[i], name) != 0)
            i++;
        if (i == ARRAY_SIZE(known))
            return true;
        unsigned line = reader->next + 1;
        if (seen[i]) {
            error_throw(error, ERROR_INVALID, "directive '%s' is given twice", name);
            return at_line(reader->file, line, error);
        }
        seen[i] = true;
        if (i != 0)
            continue;
        if (strcmp(value, "\\") != 0 && strcmp(value, "`") != 0) {
            error_throw(error, ERROR_INVALID, "bad escape '%s': expected \\ or `", value);
            return at_line(reader->file, line, error);
        }
        reader->file->escape = *value;
    }
    return true;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Whether the line goes on in the next one: its length without the escape character then, else
 * -1. */
static gssize continued_length(const char *line, char escape)
{
    size_t end = strlen(line);
    while (end > 0 && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    if (end == 0 || line[end - 1] != escape || (end > 1 && line[end - 2] == escape))
        return -1;
    return (gssize)end - 1;
}

static bool is_blank_or_comment(const char *line)
{
    line = trim(line);
    return *line == '\0' || *line == '#';
}

/* The next logical line with its number; NULL at the end. Comments and empty lines inside it are
 * dropped. */
static char *next_line(Reader *reader, unsigned *out_line)
{
    while (reader->next < reader->n && is_blank_or_comment(reader->lines[reader->next]))
        reader->next++;
    if (reader->next == reader->n)
        return NULL;
    *out_line = reader->next + 1;
    g_autoptr(GString) joined = g_string_new(NULL);
    bool first = true;
    while (reader->next < reader->n) {
        const char *line = reader->lines[reader->next++];
        if (!first && is_blank_or_comment(line))
            continue;
        if (first)
            line = trim(line);
        first = false;
        gssize length = continued_length(line, reader->file->escape);
        g_string_append_len(joined, line, length < 0 ? (gssize)strlen(line) : length);
        if (length < 0)
            break;
    }
    return g_strchomp(g_string_free(g_steal_pointer(&joined), FALSE));
}

/* The lines up to the one that is the heredoc's name. `strip`: <<- takes leading tabs away. */
static char *read_heredoc(Reader *reader, const char *name, bool strip, GError **error)
{
    g_autoptr(GString) content = g_string_new(NULL);
    while (reader->next < reader->n) {
        const char *line = reader->lines[reader->next++];
        while (strip && *line == '\t')
            line++;
        if (strcmp(line, name) == 0)
            return g_string_free(g_steal_pointer(&content), FALSE);
        g_string_append_printf(content, "%s\n", line);
    }
    return error_throw_null(error, ERROR_INVALID,
                            "heredoc '%s' is not closed: expected a line that is '%s'", name, name);
}

static bool read_heredocs(Reader *reader, DockerfileInstruction *instruction, GError **error)
{
    DockerfileKind kind = instruction->kind;
    if (instruction->json ||
        (kind != DOCKERFILE_RUN && kind != DOCKERFILE_COPY && kind != DOCKERFILE_ADD))
        return true;
    g_ptr_array_unref(instruction->heredocs);
    instruction->heredocs = dockerfile_find_heredocs(instruction->rest, reader->file->escape);
    for (unsigned i = 0; i < instruction->heredocs->len; i++) {
        DockerfileHeredoc *heredoc = instruction->heredocs->pdata[i];
        heredoc->content = read_heredoc(reader, heredoc->name, heredoc->strip, error);
        if (!heredoc->content)
            return false;
    }
    return true;
}

/* --- stages ----------------------------------------------------------------------------------- */

static bool is_stage_name(const char *name)
{
    return g_ascii_isalpha(*name) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
               strlen(name);
}

static bool add_stage(Dockerfile *file, DockerfileInstruction *from, GError **error)
{
    const char *name = from->words[1] ? from->words[2] : NULL;
    if (name && !is_stage_name(name))
        return error_throw(error, ERROR_INVALID,
                           "'%s' is not a name for a stage: expected a letter, then letters, "
                           "digits, '_', '.', '-'",
                           name);
    DockerfileStage *stage = g_new0(DockerfileStage, 1);
    stage->name = name ? g_ascii_strdown(name, -1) : NULL;
    stage->instructions = g_ptr_array_new_with_free_func(instruction_free);
    g_ptr_array_add(file->stages, stage);
    for (unsigned i = 0; stage->name && i + 1 < file->stages->len; i++)
        if (g_strcmp0(((DockerfileStage *)file->stages->pdata[i])->name, stage->name) == 0)
            return error_throw(error, ERROR_INVALID, "two stages are named '%s'", stage->name);
    stage->from = from;
    return true;
}

static bool looks_like_json(const DockerfileInstruction *instruction)
{
    DockerfileKind kind = instruction->kind;
    return !instruction->json && *instruction->rest == '[' &&
           (kind == DOCKERFILE_CMD || kind == DOCKERFILE_ENTRYPOINT || kind == DOCKERFILE_RUN);
}

/* Takes the instruction over in any case. */
static bool add_instruction(Dockerfile *file, DockerfileInstruction *steal, GError **error)
{
    g_autoptr(DockerfileInstruction) instruction = steal;
    if (looks_like_json(instruction))
        g_ptr_array_add(
            file->warnings,
            g_strdup_printf(
                "%s:%u: this is not JSON (double quotes?), so a shell gets it as it is: %s",
                file->file, instruction->line, instruction->rest));
    if (instruction->kind == DOCKERFILE_FROM) {
        if (!add_stage(file, instruction, error))
            return false;
        g_steal_pointer(&instruction);
        return true;
    }
    if (file->stages->len == 0) {
        if (instruction->kind != DOCKERFILE_ARG)
            return error_throw(error, ERROR_INVALID,
                               "%s stands before the first FROM: expected FROM or ARG",
                               dockerfile_kind_name(instruction->kind));
        g_ptr_array_add(file->args, g_steal_pointer(&instruction));
        return true;
    }
    DockerfileStage *stage = file->stages->pdata[file->stages->len - 1];
    g_ptr_array_add(stage->instructions, g_steal_pointer(&instruction));
    return true;
}

static bool read_instructions(Reader *reader, GError **error)
{
    for (;;) {
        unsigned line = 0;
        g_autofree char *text = next_line(reader, &line);
        if (!text)
            return true;
        /* a file that ends in a continuation of nothing */
        if (!*text)
            continue;
        g_autoptr(DockerfileInstruction) instruction =
            dockerfile_read_instruction(text, reader->file->escape, error);
        if (!instruction)
            return at_line(reader->file, line, error);
        instruction->line = line;
        if (!read_heredocs(reader, instruction, error) ||
            !add_instruction(reader->file, g_steal_pointer(&instruction), error))
            return at_line(reader->file, line, error);
    }
}

/* Splits at newlines; a carriage return before one goes with it. */
static char **split_lines(const char *text)
{
    char **lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        size_t length = strlen(*line);
        if (length > 0 && (*line)[length - 1] == '\r')
            (*line)[length - 1] = '\0';
    }
    return lines;
}

static bool check_text(const Dockerfile *file, const char *text, size_t size, GError **error)
{
    const char *end = NULL;
    if (g_utf8_validate(text, (gssize)size, &end))
        return true;
    unsigned line = 1;
    for (const char *c = text; c < end; c++)
        line += *c == '\n';
    error_throw(error, ERROR_INVALID, "not text: expected UTF-8");
    return at_line(file, line, error);
}

Dockerfile *dockerfile_parse(const char *file, const char *text, size_t size, GError **error)
{
    g_autoptr(Dockerfile) dockerfile = g_new0(Dockerfile, 1);
    dockerfile->file = g_strdup(file);
    dockerfile->escape = '\\';
    dockerfile->args = g_ptr_array_new_with_free_func(instruction_free);
    dockerfile->stages = g_ptr_array_new_with_free_func(stage_free);
    dockerfile->warnings = g_ptr_array_new_with_free_func(g_free);
    if (!check_text(dockerfile, text, size, error))
        return NULL;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        text += 3, size -= 3;
    g_autofree char *copy = g_strndup(text, size);
    g_auto(GStrv) lines = split_lines(copy);
    Reader reader = {lines, g_strv_length(lines), 0, dockerfile};
    if (!read_directives(&reader, error) || !read_instructions(&reader, error))
        return NULL;
    if (dockerfile->stages->len == 0)
        return error_throw_null(error, ERROR_INVALID, "%s: there is no FROM: expected FROM IMAGE",
                                file);
    return g_steal_pointer(&dockerfile);
}
