/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The shell-like words of a Dockerfile: quotes, escapes, $variables.
 *
 * One pass over the text. What quotes protected from being split is marked while expanding: a
 * split is only made at white space that stood bare or came out of an unquoted variable.
 */
#include "build/dockerfile.h"

#include <string.h>

/* A byte that can't be in the text (it is checked to be UTF-8): white space at which words are
 * parted. */
#define SPLIT '\xff'

char **words_split(const char *text, char escape)
{
    GPtrArray *words = g_ptr_array_new();
    g_autoptr(GString) word = g_string_new(NULL);
    char quote = 0;
    bool inside = false;
    for (const char *c = text; *c; c++) {
        if (!quote && g_ascii_isspace(*c)) {
            if (inside)
                g_ptr_array_add(words, g_strdup(word->str));
            g_string_truncate(word, 0);
            inside = false;
            continue;
        }
        inside = true;
        g_string_append_c(word, *c);
        if (*c == escape && quote != '\'' && c[1])
            g_string_append_c(word, *++c);
        else if (quote == *c)
            quote = 0;
        else if (!quote && (*c == '"' || *c == '\''))
            quote = *c;
    }
    if (inside)
        g_ptr_array_add(words, g_strdup(word->str));
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(words, FALSE);
}

typedef struct {
    const char *at;
    char escape;
    bool split;
    unsigned depth;
    WordsLookup lookup;
    void *data;
    GString *out;
} Expansion;

static bool expand_until(Expansion *x, char stop, GError **error);

static bool expand_single_quotes(Expansion *x, GError **error)
{
    const char *end = strchr(x->at + 1, '\'');
    if (!end)
        return error_throw(error, ERROR_INVALID, "a single quote is not closed");
    g_string_append_len(x->out, x->at + 1, end - x->at - 1);
    x->at = end + 1;
    return true;
}

/* Appends a variable's value; unquoted, its white space parts words. */
static void append_value(Expansion *x, const char *value, bool quoted)
{
    for (const char *c = value; c && *c; c++)
        g_string_append_c(x->out, x->split && !quoted && g_ascii_isspace(*c) ? SPLIT : *c);
}

static bool is_name_char(char c)
{
    return g_ascii_isalnum(c) || c == '_';
}

static char *take_name(Expansion *x)
{
    const char *start = x->at;
    if (g_ascii_isdigit(*start)) /* a positional parameter, one digit as in a shell */
        x->at++;
    else
        while (is_name_char(*x->at))
            x->at++;
    return g_strndup(start, (size_t)(x->at - start));
}

/* The word of ${name:-word}, up to the brace that closes it, expanded by itself. */
static char *take_modifier_word(Expansion *x, GError **error)
{
    g_autoptr(GString) word = g_string_new(NULL);
    GString *outer = x->out;
    x->out = word;
    bool good = expand_until(x, '}', error);
    x->out = outer;
    if (!good)
        return NULL;
    return g_strdup(word->str);
}

static bool apply_modifier(Expansion *x, const char *name, bool quoted, GError **error)
{
    bool colon = *x->at == ':';
    char modifier = x->at[colon];
    if (modifier != '-' && modifier != '+' && modifier != '?') {
        if (modifier && strchr("#%/", modifier))
            return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: ${%s%c…}", name,
                               modifier);
        return error_throw(error, ERROR_INVALID,
                           "bad substitution '${%s%.2s': expected '}', ':-', ':+' or ':?'", name,
                           x->at);
    }
    x->at += colon + 1;
    g_autofree char *word = take_modifier_word(x, error);
    if (!word)
        return false;
    const char *value = x->lookup(name, x->data);
    bool set = value && (!colon || *value);
    if (modifier == '-')
        append_value(x, set ? value : word, quoted || !set);
    else if (modifier == '+')
        append_value(x, set ? word : NULL, true);
    else if (!set)
        return error_throw(error, ERROR_INVALID, "%s: %s", name, *word ? word : "is not set");
    else
        append_value(x, value, quoted);
    return true;
}

static bool expand_variable(Expansion *x, bool quoted, GError **error)
{
    x->at++;
    if (*x->at != '{') {
        g_autofree char *name = is_name_char(*x->at) ? take_name(x) : NULL;
        if (name)
            append_value(x, x->lookup(name, x->data), quoted);
        else
            g_string_append_c(x->out, '$');
        return true;
    }
    x->at++;
    g_autofree char *name = take_name(x);
    if (!*name)
        return error_throw(error, ERROR_INVALID, "bad substitution '${%.8s': expected a name",
                           x->at);
    if (*x->at == '}') {
        append_value(x, x->lookup(name, x->data), quoted);
    } else if (*x->at == '\0') {
        return error_throw(error, ERROR_INVALID, "'${%s' is not closed", name);
    } else if (!apply_modifier(x, name, quoted, error)) {
        return false;
    }
    x->at++;
    return true;
}

static bool expand_double_quotes(Expansion *x, GError **error)
{
    for (x->at++; *x->at != '"';) {
        if (*x->at == '\0')
            return error_throw(error, ERROR_INVALID, "a double quote is not closed");
        if (*x->at == '$') {
            if (!expand_variable(x, true, error))
                return false;
            continue;
        }
        if (*x->at == x->escape && x->at[1] && (strchr("\"$", x->at[1]) || x->at[1] == x->escape))
            x->at++;
        g_string_append_c(x->out, *x->at++);
    }
    x->at++;
    return true;
}

/* Up to `stop` (left unread) or the end of the text. */
static bool expand_until(Expansion *x, char stop, GError **error)
{
    if (++x->depth > 32)
        return error_throw(error, ERROR_INVALID, "substitutions are nested too deeply");
    while (*x->at && *x->at != stop) {
        bool good = true;
        if (*x->at == '\'') {
            good = expand_single_quotes(x, error);
        } else if (*x->at == '"') {
            good = expand_double_quotes(x, error);
        } else if (*x->at == '$') {
            good = expand_variable(x, false, error);
        } else if (*x->at == x->escape) {
            if (*++x->at)
                g_string_append_c(x->out, *x->at++);
        } else {
            char c = *x->at++;
            g_string_append_c(x->out, x->split && !stop && g_ascii_isspace(c) ? SPLIT : c);
        }
        if (!good)
            return false;
    }
    x->depth--;
    if (stop && *x->at != stop)
        return error_throw(error, ERROR_INVALID, "a '${' is not closed");
    return true;
}

static GString *expand(const char *text, char escape, bool split, WordsLookup lookup, void *data,
                       GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);
    Expansion x = {
        .at = text, .escape = escape, .split = split, .lookup = lookup, .data = data, .out = out};
    return expand_until(&x, '\0', error) ? g_steal_pointer(&out) : NULL;
}

char *words_expand(const char *text, char escape, WordsLookup lookup, void *data, GError **error)
{
    GString *out = expand(text, escape, false, lookup, data, error);
    return out ? g_string_free(out, FALSE) : NULL;
}

char **words_expand_split(const char *text, char escape, WordsLookup lookup, void *data,
                          GError **error)
{
    g_autoptr(GString) out = expand(text, escape, true, lookup, data, error);
    if (!out)
        return NULL;
    static const char separator[] = {SPLIT, '\0'};
    g_auto(GStrv) parts = g_strsplit(out->str, separator, -1);
    GPtrArray *words = g_ptr_array_new();
    for (char **part = parts; *part; part++)
        if (**part)
            g_ptr_array_add(words, g_strdup(*part));
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(words, FALSE);
}
