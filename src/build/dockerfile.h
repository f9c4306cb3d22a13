/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to build/: a parsed Dockerfile.
 *
 * Parsing knows the language's grammar and nothing of the build: variables are not substituted
 * yet. Every error names the line ("Dockerfile:7: …"), what was found and what was expected.
 */
#pragma once

#include "base/error.h"

typedef enum {
    DOCKERFILE_FROM,
    DOCKERFILE_RUN,
    DOCKERFILE_CMD,
    DOCKERFILE_LABEL,
    DOCKERFILE_MAINTAINER,
    DOCKERFILE_EXPOSE,
    DOCKERFILE_ENV,
    DOCKERFILE_ADD,
    DOCKERFILE_COPY,
    DOCKERFILE_ENTRYPOINT,
    DOCKERFILE_VOLUME,
    DOCKERFILE_USER,
    DOCKERFILE_WORKDIR,
    DOCKERFILE_ARG,
    DOCKERFILE_ONBUILD,
    DOCKERFILE_STOPSIGNAL,
    DOCKERFILE_HEALTHCHECK,
    DOCKERFILE_SHELL,
} DockerfileKind;

/* "RUN" */
const char *dockerfile_kind_name(DockerfileKind kind);

typedef struct {
    char *name;    /* as between << and the end of the word, without quotes */
    char *content; /* with the last newline */
    bool expand;   /* the name was not quoted */
    bool strip;    /* <<-: leading tabs were taken away */
} DockerfileHeredoc;

typedef struct {
    DockerfileKind kind;
    unsigned line;  /* where it begins, from 1 */
    char *original; /* the joined line, as shown in "Step n/m : …" */
    char *rest;     /* what follows the keyword and its options; what ONBUILD keeps */
    char **options; /* "name=value" or "name", without the dashes */
    bool json;      /* the exec form */
    /* json: its strings. RUN, CMD, ENTRYPOINT, HEALTHCHECK CMD, USER, WORKDIR, STOPSIGNAL,
     * MAINTAINER: one string. ENV, LABEL: name and value in turn. All others: words, quotes
     * kept. */
    char **words;
    GPtrArray *heredocs; /* of DockerfileHeredoc; RUN, COPY and ADD */
    bool none;           /* HEALTHCHECK NONE */
} DockerfileInstruction;

void dockerfile_instruction_free(DockerfileInstruction *instruction);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DockerfileInstruction, dockerfile_instruction_free)
/* The value of an option; "" for one without; NULL when it is not given. */
const char *dockerfile_option(const DockerfileInstruction *instruction, const char *name);

typedef struct {
    char *name; /* after AS, lower case; NULL */
    DockerfileInstruction *from;
    GPtrArray *instructions; /* behind FROM */
} DockerfileStage;

typedef struct {
    char *file;          /* for messages */
    char escape;         /* \ or ` */
    GPtrArray *args;     /* ARG instructions before the first FROM */
    GPtrArray *stages;   /* of DockerfileStage, at least one */
    GPtrArray *warnings; /* texts */
} Dockerfile;

/* `file`: its name in messages. ERROR_INVALID, ERROR_UNSUPPORTED. */
Dockerfile *dockerfile_parse(const char *file, const char *text, size_t size, GError **error);
void dockerfile_free(Dockerfile *dockerfile);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Dockerfile, dockerfile_free)

/* --- one logical line: instruction.c ---------------------------------------------------------- */

/* `line` is joined and trimmed; no heredoc is read. Errors come without a line number. */
DockerfileInstruction *dockerfile_read_instruction(const char *line, char escape, GError **error);
/* The heredocs that the words of a line announce (`content` NULL); empty when none. */
GPtrArray *dockerfile_find_heredocs(const char *line, char escape);

/* --- words and variables: words.c ------------------------------------------------------------- */

/* Splits at white space outside quotes; quotes and escapes stay in the words. */
char **words_split(const char *text, char escape);

/* The value of a variable, or NULL. */
typedef const char *(*WordsLookup)(const char *name, void *data);
/* Quotes and escapes removed, variables put in. ERROR_INVALID for an open quote or brace, a bad
 * modifier and ${x:?…}. */
char *words_expand(const char *text, char escape, WordsLookup lookup, void *data, GError **error);
/* The same, then split at white space that was not quoted: `EXPOSE $PORTS`. */
char **words_expand_split(const char *text, char escape, WordsLookup lookup, void *data,
                          GError **error);
