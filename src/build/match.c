/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Patterns.
 *
 * A pattern is matched like a small automaton: for each byte of the path the set of places in
 * the pattern that can be reached is worked out, so the time is pattern times path whatever
 * stars there are.
 */
#include "build/match.h"

#include <string.h>

typedef enum {
    TOKEN_CHAR,
    TOKEN_ANY,      /* ? */
    TOKEN_CLASS,    /* [...]: `text` from behind the bracket */
    TOKEN_DIRS,     /* any bytes that end in a slash */
    TOKEN_STAR,     /* any bytes but slashes */
    TOKEN_DEEP,     /* any bytes */
    TOKEN_OPTIONAL, /* the next one or nothing: "**" with a slash is OPTIONAL DIRS */
} TokenKind;

typedef struct {
    TokenKind kind;
    char c;
    const char *text;
    size_t length;
} Token;

/* The length of a class behind its '[', without the ']'; 0 when it isn't closed. */
static size_t class_length(const char *text)
{
    size_t n = text[0] == '^';
    bool first = true;
    for (; text[n]; n++, first = false) {
        if (text[n] == ']' && !first)
            return n;
        if (text[n] == '\\' && text[n + 1])
            n++;
    }
    return 0;
}

static char class_char(const char *text, size_t *n)
{
    if (text[*n] == '\\')
        ++*n;
    return text[(*n)++];
}

static bool class_match(const char *text, size_t length, char c)
{
    bool negated = text[0] == '^', found = false;
    for (size_t n = negated; n < length;) {
        char low = class_char(text, &n), high = low;
        if (n + 1 < length && text[n] == '-') {
            n++;
            high = class_char(text, &n);
        }
        found |= (unsigned char)c >= (unsigned char)low && (unsigned char)c <= (unsigned char)high;
    }
    return found != negated && c != '/';
}

static GArray *compile(const char *pattern, bool deep)
{
    GArray *tokens = g_array_new(FALSE, TRUE, sizeof(Token));
    for (const char *c = pattern; *c; c++) {
        Token token = {.kind = TOKEN_CHAR, .c = *c};
        size_t length = *c == '[' ? class_length(c + 1) : 0;
        if (*c == '*' && c[1] == '*' && deep) {
            while (c[1] == '*')
                c++;
            token.kind = TOKEN_DEEP;
            if (c[1] == '/') {
                token.kind = TOKEN_OPTIONAL;
                g_array_append_val(tokens, token);
                token.kind = TOKEN_DIRS;
                c++;
            }
        } else if (*c == '*') {
            token.kind = TOKEN_STAR;
        } else if (*c == '?') {
            token.kind = TOKEN_ANY;
        } else if (length) {
            token = (Token){.kind = TOKEN_CLASS, .text = c + 1, .length = length};
            c += length + 1;
        } else if (*c == '\\' && c[1]) {
            token.c = *++c;
        }
        g_array_append_val(tokens, token);
    }
    return tokens;
}

/* Places that are reached without reading a byte. */
static void close_over(const GArray *tokens, bool *reached)
{
    for (unsigned i = 0; i < tokens->len; i++) {
        TokenKind kind = g_array_index(tokens, Token, i).kind;
        if (!reached[i] || kind < TOKEN_STAR)
            continue;
        reached[i + 1] = true;
        if (kind == TOKEN_OPTIONAL)
            reached[i + 2] = true;
    }
}

static void step(const GArray *tokens, const bool *reached, bool *next, char c)
{
    for (unsigned i = 0; i < tokens->len; i++) {
        const Token *token = &g_array_index(tokens, Token, i);
        if (!reached[i])
            continue;
        switch (token->kind) {
        case TOKEN_CHAR:
            next[i + 1] |= c == token->c;
            break;
        case TOKEN_ANY:
            next[i + 1] |= c != '/';
            break;
        case TOKEN_CLASS:
            next[i + 1] |= class_match(token->text, token->length, c);
            break;
        case TOKEN_DIRS:
            next[i] = true;
            next[i + 1] |= c == '/';
            break;
        case TOKEN_STAR:
            next[i] |= c != '/';
            break;
        case TOKEN_DEEP:
            next[i] = true;
            break;
        case TOKEN_OPTIONAL:
            break;
        }
    }
}

bool match_path(const char *pattern, const char *path, bool deep)
{
    g_autoptr(GArray) tokens = compile(pattern, deep);
    g_autofree bool *reached = g_new0(bool, tokens->len + 1);
    g_autofree bool *next = g_new0(bool, tokens->len + 1);
    reached[0] = true;
    close_over(tokens, reached);
    for (const char *c = path; *c; c++) {
        memset(next, 0, tokens->len + 1);
        step(tokens, reached, next, *c);
        close_over(tokens, next);
        bool *swap = reached;
        reached = next;
        next = swap;
    }
    return reached[tokens->len];
}

bool match_is_pattern(const char *text)
{
    return strpbrk(text, "*?[\\");
}

char *match_clean(const char *path)
{
    g_autoptr(GPtrArray) kept = g_ptr_array_new();
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (char **part = parts; *part; part++) {
        if (!**part || strcmp(*part, ".") == 0)
            continue;
        if (strcmp(*part, "..") != 0)
            g_ptr_array_add(kept, *part);
        else if (kept->len == 0)
            return NULL;
        else
            g_ptr_array_set_size(kept, (int)kept->len - 1);
    }
    g_ptr_array_add(kept, NULL);
    return g_strjoinv("/", (char **)kept->pdata);
}

/* --- .dockerignore ---------------------------------------------------------------------------- */

typedef struct {
    char *pattern;
    bool except;
} Rule;

struct Ignore {
    GArray *rules;
    bool has_exceptions;
};

static void rule_clear(void *data)
{
    g_free(((Rule *)data)->pattern);
}

static void add_rule(Ignore *ignore, char *line)
{
    g_strstrip(line);
    if (*line == '\0' || *line == '#')
        return;
    Rule rule = {.except = *line == '!'};
    rule.pattern = match_clean(line + rule.except);
    if (!rule.pattern || !*rule.pattern || strcmp(rule.pattern, "!") == 0) {
        g_free(rule.pattern); /* what is outside is never copied */
        return;
    }
    ignore->has_exceptions |= rule.except;
    g_array_append_val(ignore->rules, rule);
}

Ignore *ignore_new(const char *text)
{
    Ignore *ignore = g_new0(Ignore, 1);
    ignore->rules = g_array_new(FALSE, TRUE, sizeof(Rule));
    g_array_set_clear_func(ignore->rules, rule_clear);
    g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
    for (char **line = lines; *line; line++)
        add_rule(ignore, *line);
    return ignore;
}

void ignore_free(Ignore *ignore)
{
    if (!ignore)
        return;
    g_array_unref(ignore->rules);
    g_free(ignore);
}

bool ignore_has_exceptions(const Ignore *ignore)
{
    return ignore->has_exceptions;
}

/* The path itself or a directory above it. */
static bool rule_match(const Rule *rule, const char *path)
{
    g_autofree char *above = g_strdup(path);
    for (;;) {
        if (match_path(rule->pattern, above, true))
            return true;
        char *slash = strrchr(above, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
}

bool ignore_match(const Ignore *ignore, const char *path)
{
    bool ignored = false;
    for (unsigned i = 0; i < ignore->rules->len; i++) {
        const Rule *rule = &g_array_index(ignore->rules, Rule, i);
        if (ignored == rule->except && rule_match(rule, path))
            ignored = !rule->except;
    }
    return ignored;
}
