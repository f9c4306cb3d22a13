/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/docker_args.h"

#include <string.h>

typedef struct {
    const GOptionEntry *tables[2];
    GPtrArray *out;
    char *const *next; /* the words that are left */
} Normalizer;

static bool takes_value(const GOptionEntry *entry)
{
    if (entry->arg == G_OPTION_ARG_CALLBACK)
        return !(entry->flags & G_OPTION_FLAG_NO_ARG);
    return entry->arg != G_OPTION_ARG_NONE;
}

static const GOptionEntry *find_long(const Normalizer *n, const char *name, size_t size)
{
    for (size_t t = 0; t < G_N_ELEMENTS(n->tables); t++)
        for (const GOptionEntry *e = n->tables[t]; e && e->long_name; e++)
            if (strlen(e->long_name) == size && strncmp(e->long_name, name, size) == 0)
                return e;
    return NULL;
}

static const GOptionEntry *find_short(const Normalizer *n, char name)
{
    for (size_t t = 0; t < G_N_ELEMENTS(n->tables); t++)
        for (const GOptionEntry *e = n->tables[t]; e && e->long_name; e++)
            if (e->short_name == name)
                return e;
    return NULL;
}

static void put(Normalizer *n, char *word)
{
    g_ptr_array_add(n->out, word);
}

static void put_value(Normalizer *n)
{
    if (*n->next)
        put(n, g_strdup(*n->next++));
}

/* Go's spellings; what is neither is left for GOption to refuse. */
static bool is_word_of(const char *text, const char *const *words)
{
    return g_strv_contains(words, text);
}

static const char *const true_words[] = {"1", "t", "T", "true", "TRUE", "True", NULL};
static const char *const false_words[] = {"0", "f", "F", "false", "FALSE", "False", NULL};

static void normalize_long(Normalizer *n, const char *word)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    const GOptionEntry *entry = find_long(n, name, equals ? (size_t)(equals - name) : strlen(name));
    if (entry && !takes_value(entry) && equals) {
        if (is_word_of(equals + 1, true_words))
            put(n, g_strndup(word, (size_t)(equals - word)));
        else if (!is_word_of(equals + 1, false_words))
            put(n, g_strdup(word));
        return;
    }
    put(n, g_strdup(word));
    if (entry && takes_value(entry) && !equals)
        put_value(n);
}

/* "-abc": flags, the last of which may take the rest of the word, or the next word, as its value. */
static void normalize_short(Normalizer *n, const char *word)
{
    for (const char *c = word + 1; *c; c++) {
        const GOptionEntry *entry = find_short(n, *c);
        if (!entry) {
            put(n, g_strconcat("-", c, NULL));
            return;
        }
        if (takes_value(entry)) {
            put(n, g_strdup_printf("-%c", *c));
            if (c[1])
                put(n, g_strdup(c[1] == '=' ? c + 2 : c + 1));
            else
                put_value(n);
            return;
        }
        if (c[1] == '=' && is_word_of(c + 2, false_words))
            return;
        put(n, g_strdup_printf("-%c", *c));
        if (c[1] == '=' && is_word_of(c + 2, true_words))
            return;
    }
}

char **docker_args_normalize(char *const *argv, const GOptionEntry *entries,
                             const GOptionEntry *common, bool strict)
{
    Normalizer n = {
        .tables = {entries, common},
        .out = g_ptr_array_new(),
        .next = argv + 1,
    };
    put(&n, g_strdup(argv[0]));
    while (*n.next) {
        const char *word = *n.next++;
        bool operand = word[0] != '-' || word[1] == '\0';
        if (strcmp(word, "--") == 0 || (operand && strict)) {
            put(&n, g_strdup(word));
            break;
        }
        if (operand)
            put(&n, g_strdup(word));
        else if (word[1] == '-')
            normalize_long(&n, word);
        else
            normalize_short(&n, word);
    }
    while (*n.next)
        put_value(&n);
    put(&n, NULL);
    return (char **)g_ptr_array_free(n.out, FALSE);
}
