/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "build/dockerfile.h"
#include "build/match.h"

#include <string.h>

static Dockerfile *parse(const char *text, GError **error)
{
    return dockerfile_parse("Dockerfile", text, strlen(text), error);
}

static const DockerfileInstruction *nth(const Dockerfile *file, unsigned stage, unsigned n)
{
    return ((DockerfileStage *)file->stages->pdata[stage])->instructions->pdata[n];
}

static void test_parse(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Dockerfile) file = parse("# escape=\\\n"
                                       "# a comment\n"
                                       "ARG BASE=debian\n"
                                       "FROM ${BASE} AS One\n"
                                       "run apt-get update && \\\n"
                                       "    # a comment inside\n"
                                       "\n"
                                       "    apt-get install -y x\n"
                                       "EXPOSE 80 443/tcp\n"
                                       "CMD [\"/usr/sbin/httpd\", \"-D\", \"FOREGROUND\"]\n"
                                       "\tENV A=1 B=\"x y\" C='q' D=x\\ y\n"
                                       "ENV OLD some  text here\n"
                                       "FROM scratch\n"
                                       "COPY --from=one --chown=1:2 /a /b /c/\n"
                                       "HEALTHCHECK --interval=5s CMD curl x || exit 1\n"
                                       "HEALTHCHECK NONE\n"
                                       "ONBUILD RUN echo \"$X\"\n"
                                       "SHELL [\"/bin/bash\", \"-c\"]\n"
                                       "VOLUME /a /b\n"
                                       "ENTRYPOINT exec top -b\n"
                                       "LABEL x.y=z \"quoted name\"=v\n"
                                       "RUN --network=none [\"a\",\"\"]\n",
                                       &error);
    g_assert_no_error(error);
    g_assert_cmpuint(file->args->len, ==, 1);
    g_assert_cmpuint(file->stages->len, ==, 2);
    const DockerfileStage *one = file->stages->pdata[0];
    g_assert_cmpstr(one->name, ==, "one");
    g_assert_cmpstr(one->from->words[0], ==, "${BASE}");
    g_assert_cmpuint(one->from->line, ==, 4);
    const DockerfileInstruction *run = nth(file, 0, 0);
    g_assert_cmpint(run->kind, ==, DOCKERFILE_RUN);
    g_assert_cmpuint(run->line, ==, 5);
    g_assert_false(run->json);
    g_assert_cmpstr(run->words[0], ==, "apt-get update &&     apt-get install -y x");
    g_assert_cmpuint(g_strv_length(nth(file, 0, 1)->words), ==, 2);
    g_assert_cmpuint(nth(file, 0, 1)->line, ==, 9);
    g_assert_true(nth(file, 0, 2)->json);
    g_assert_cmpstr(nth(file, 0, 2)->words[2], ==, "FOREGROUND");
    const DockerfileInstruction *env = nth(file, 0, 3);
    g_assert_cmpuint(g_strv_length(env->words), ==, 8);
    g_assert_cmpstr(env->words[2], ==, "B");
    g_assert_cmpstr(env->words[3], ==, "\"x y\"");
    g_assert_cmpstr(env->words[7], ==, "x\\ y");
    g_assert_cmpstr(nth(file, 0, 4)->words[1], ==, "some  text here");
    const DockerfileInstruction *copy = nth(file, 1, 0);
    g_assert_cmpstr(dockerfile_option(copy, "from"), ==, "one");
    g_assert_cmpstr(dockerfile_option(copy, "chown"), ==, "1:2");
    g_assert_cmpstr(dockerfile_option(copy, "chmod"), ==, NULL);
    g_assert_cmpuint(g_strv_length(copy->words), ==, 3);
    g_assert_cmpstr(nth(file, 1, 1)->words[0], ==, "curl x || exit 1");
    g_assert_true(nth(file, 1, 2)->none);
    g_assert_cmpstr(nth(file, 1, 3)->words[0], ==, "RUN echo \"$X\"");
    g_assert_cmpstr(nth(file, 1, 6)->words[0], ==, "exec top -b");
    g_assert_cmpstr(nth(file, 1, 8)->words[1], ==, "");
    g_assert_cmpuint(file->warnings->len, ==, 0);
}

static void test_heredocs(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Dockerfile) file = parse("FROM a\n"
                                       "RUN <<EOF\n"
                                       "echo one\n"
                                       "# not a comment\n"
                                       "EOF\n"
                                       "COPY <<-\"x.conf\" <<y /etc/\n"
                                       "\tone $A\n"
                                       "\tx.conf\n"
                                       "two\n"
                                       "y\n"
                                       "RUN echo $((1<<2)) \"<<NOT\" '<<NOT' a<<<b\n"
                                       "RUN x << EOF\n"
                                       "BOGUS\n",
                                       &error);
    g_assert_cmpstr(error->message, ==,
                    "Dockerfile:13: unknown instruction 'BOGUS'\n"
                    "hint: a command stands behind RUN, as in 'RUN BOGUS'; the instructions are "
                    "FROM RUN CMD LABEL "
                    "EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL "
                    "HEALTHCHECK SHELL");
    g_clear_error(&error);
    dockerfile_free(g_steal_pointer(&file));
    file = parse("FROM a\nRUN <<EOF\necho one\n# not a comment\nEOF\n"
                 "COPY <<-\"x.conf\" <<y /etc/\n\tone $A\n\tx.conf\ntwo\ny\nUSER me\n",
                 &error);
    g_assert_no_error(error);
    const DockerfileHeredoc *script = nth(file, 0, 0)->heredocs->pdata[0];
    g_assert_cmpstr(script->content, ==, "echo one\n# not a comment\n");
    g_assert_true(script->expand);
    const DockerfileInstruction *copy = nth(file, 0, 1);
    const DockerfileHeredoc *x = copy->heredocs->pdata[0], *y = copy->heredocs->pdata[1];
    g_assert_cmpstr(x->name, ==, "x.conf");
    g_assert_false(x->expand);
    g_assert_cmpstr(x->content, ==, "one $A\n");
    g_assert_cmpstr(y->content, ==, "two\n");
    g_assert_cmpuint(nth(file, 0, 2)->line, ==, 11);
}

static void test_errors(void)
{
    static const struct {
        const char *text, *message; /* message: how it begins */
    } cases[] = {
        {"", "Dockerfile: there is no FROM"},
        {"# only a comment\n", "Dockerfile: there is no FROM"},
        {"RUN x\n", "Dockerfile:1: RUN stands before the first FROM: expected FROM or ARG"},
        {"FROM a\nFORM b\n", "Dockerfile:2: unknown instruction 'FORM'"},
        {"FROM a\n\n# c\necho \"<body>\" > /x\n", "Dockerfile:4: unknown instruction 'echo'\nhint: "
                                                  "a command stands behind RUN, as in 'RUN echo'"},
        {"FROM a b\n", "Dockerfile:1: bad FROM: expected FROM IMAGE [AS NAME]"},
        {"FROM a AS\n", "Dockerfile:1: bad FROM"},
        {"FROM a AS 1x\n", "Dockerfile:1: '1x' is not a name for a stage"},
        {"FROM a AS x\nFROM b AS X\n", "Dockerfile:2: two stages are named 'x'"},
        {"FROM\n", "Dockerfile:1: FROM needs an argument: expected FROM IMAGE [AS NAME]"},
        {"FROM a\nRUN\n", "Dockerfile:2: RUN needs an argument: expected RUN a command"},
        {"FROM a\nRUN x \\\n  y\nCOPY a\n", "Dockerfile:4: COPY needs a source and a destination"},
        {"FROM a\nENV A=1 B\n", "Dockerfile:2: 'B' in ENV is not NAME=VALUE"},
        {"FROM a\nENV A\n", "Dockerfile:2: ENV needs a value for 'A'"},
        {"FROM a\nLABEL =x\n", "Dockerfile:2: '=x' in LABEL is not NAME=VALUE"},
        {"FROM a\nSHELL /bin/sh -c\n", "Dockerfile:2: SHELL needs the JSON form"},
        {"FROM a\nSHELL []\n", "Dockerfile:2: SHELL needs an argument"},
        {"FROM a\nHEALTHCHECK curl\n", "Dockerfile:2: HEALTHCHECK needs NONE or CMD COMMAND"},
        {"FROM a\nONBUILD FROM b\n", "Dockerfile:2: ONBUILD can't hold FROM"},
        {"FROM a\nONBUILD BOGUS b\n", "Dockerfile:2: ONBUILD: unknown instruction 'BOGUS'"},
        {"FROM a\nCOPY --frm=x a b\n",
         "Dockerfile:2: COPY has no option '--frm'; expected one of: from chown"},
        {"FROM a\nRUN --mount=type=cache,target=/x y\n",
         "Dockerfile:2: not supported yet: RUN --mount"},
        {"FROM a\nARG 9/=x\n", "Dockerfile:2: '9/=x' is not a name for ARG"},
        {"FROM a\nRUN <<EOF\nx\n", "Dockerfile:2: heredoc 'EOF' is not closed"},
        {"# escape=x\nFROM a\n", "Dockerfile:1: bad escape 'x': expected \\ or `"},
        {"# escape=`\n# escape=`\nFROM a\n", "Dockerfile:2: directive 'escape' is given twice"},
        {"FROM a\nRUN \xff\n", "Dockerfile:2: not text: expected UTF-8"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Dockerfile) file = parse(cases[i].text, &error);
        g_assert_null(file);
        if (!g_str_has_prefix(error->message, cases[i].message))
            g_error("case %zu: \"%s\", expected \"%s\"", i, error->message, cases[i].message);
    }
}

static void test_odd_files(void)
{
    g_autoptr(GError) error = NULL;
    /* carriage returns, byte order mark, another escape, no last newline, a JSON form that is none */
    g_autoptr(Dockerfile) file =
        parse("\xef\xbb\xbf# escape=`\r\nFROM a\r\nRUN dir `\r\n c:\\ \r\nCMD ['x']", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(nth(file, 0, 0)->words[0], ==, "dir  c:\\");
    g_assert_false(nth(file, 0, 1)->json);
    g_assert_cmpuint(file->warnings->len, ==, 1);
    g_autoptr(Dockerfile) nul = dockerfile_parse("Dockerfile", "FROM a\nRUN x\0y\n", 15, &error);
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID);
    g_assert_null(nul);
}

static const char *lookup(const char *name, void *data)
{
    return strcmp(name, "A") == 0       ? "1 2"
           : strcmp(name, "EMPTY") == 0 ? ""
           : strcmp(name, "B_2") == 0   ? "b"
                                        : NULL;
}

/* Whatever is changed in a good file, the answer is a parsed file or an error with its place. */
static void test_damaged_files(void)
{
    static const char good[] =
        "# escape=\\\nARG A=${B:-x}\nFROM a AS b\nRUN x <<E \\\n y\nz\nE\nENV A=\"b c\" D='e'\n"
        "COPY --from=b --chown=1 [\"a\",\"b\"]\nHEALTHCHECK --interval=5s CMD [\"x\"]\nONBUILD RUN "
        "x\n"
        "EXPOSE ${A:+80}/tcp\nSHELL [\"/bin/sh\"]\nLABEL a.b=\"c\" 'd e'=f\n";
    static const char pieces[] = "\\`\"'$${}[]<<:-#=\n \tEFROM--\xc3\xa9,/";
    GRand *random = g_rand_new_with_seed(7);
    for (unsigned i = 0; i < 20000; i++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        for (unsigned n = 1 + i % 6; n > 0; n--)
            text[g_rand_int_range(random, 0, sizeof good - 1)] =
                pieces[g_rand_int_range(random, 0, sizeof pieces - 1)];
        size_t size =
            i % 3 == 0 ? (size_t)g_rand_int_range(random, 0, sizeof good) : sizeof good - 1;
        g_autoptr(GError) error = NULL;
        g_autoptr(Dockerfile) file = dockerfile_parse("D", text, size, &error);
        g_assert_true(!file == !!error);
        g_assert_true(file || g_str_has_prefix(error->message, "D:"));
        g_autofree char *copy = g_strndup(text, size);
        g_autofree char *expanded = words_expand(copy, '\\', lookup, NULL, NULL);
        g_auto(GStrv) split = words_expand_split(copy, '`', lookup, NULL, NULL);
    }
    g_rand_free(random);
}

static void test_expand(void)
{
    static const struct {
        const char *text, *result; /* NULL: an error */
    } cases[] = {
        {"x", "x"},
        {"$A", "1 2"},
        {"${A}x", "1 2x"},
        {"$B_2-", "b-"},
        {"$NO", ""},
        {"\\$A", "$A"},
        {"'$A'", "$A"},
        {"\"$A\"", "1 2"},
        {"\"\\$A \\\" \\n\"", "$A \" \\n"},
        {"a\\ b", "a b"},
        {"$", "$"},
        {"$-", "$-"},
        {"${NO:-x$A}", "x1 2"},
        {"${NO:-${NO2:-y}}", "y"},
        {"${EMPTY:-x}", "x"},
        {"${EMPTY-x}", ""},
        {"${EMPTY:+x}", ""},
        {"${EMPTY+x}", "x"},
        {"${A:+x}", "x"},
        {"${A:?no}", "1 2"},
        {"${NO:?no}", NULL},
        {"${NO:-'}'}", "}"},
        {"${A", NULL},
        {"${", NULL},
        {"${A:", NULL},
        {"${A:-x", NULL},
        {"${A!}", NULL},
        {"${A#x}", NULL},
        {"'x", NULL},
        {"\"x", NULL},
        {"x\\", "x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *result = words_expand(cases[i].text, '\\', lookup, NULL, &error);
        if (g_strcmp0(result, cases[i].result) != 0)
            g_error("case %zu: \"%s\" gives \"%s\"", i, cases[i].text, result);
        g_assert_true(!result == !!error);
    }
    g_auto(GStrv) split = words_expand_split("$A \"$A\" 3 '4 5'", '\\', lookup, NULL, NULL);
    g_autofree char *joined = g_strjoinv("|", split);
    g_assert_cmpstr(joined, ==, "1|2|1 2|3|4 5");
    /* no crash, no endless recursion */
    g_autoptr(GString) deep = g_string_new(NULL);
    for (int i = 0; i < 1000; i++)
        g_string_append(deep, "${N:-");
    g_autofree char *none = words_expand(deep->str, '\\', lookup, NULL, NULL);
    g_assert_null(none);
}

static void test_match(void)
{
    static const struct {
        const char *pattern, *path;
        bool deep, match;
    } cases[] = {
        {"a", "a", false, true},
        {"a", "ab", false, false},
        {"*", "a", false, true},
        {"*", "a/b", false, false},
        {"*.c", "x.c", false, true},
        {"*.c", "d/x.c", false, false},
        {"d/*.c", "d/x.c", false, true},
        {"?", "a", false, true},
        {"?", "/", false, false},
        {"[a-c]x", "bx", false, true},
        {"[^a-c]x", "bx", false, false},
        {"[]a]", "]", false, true},
        {"\\*", "*", false, true},
        {"\\*", "a", false, false},
        {"[", "[", false, true},
        {"**/x", "x", true, true},
        {"**/x", "a/b/x", true, true},
        {"**/x", "ax", true, false},
        {"a/**", "a/b/c", true, true},
        {"a/**/c", "a/c", true, true},
        {"a/**/c", "a/x/y/c", true, true},
        {"a/**/c", "a/xc", true, false},
        {"**", "a/b", true, true},
        {"**/*.go", "a/b.go", true, true},
        {"*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (match_path(cases[i].pattern, cases[i].path, cases[i].deep) != cases[i].match)
            g_error("case %zu: '%s' '%s'", i, cases[i].pattern, cases[i].path);

    g_autofree char *clean = match_clean("/a//./b/../c/");
    g_assert_cmpstr(clean, ==, "a/c");
    g_assert_null(match_clean("a/../../b"));
}

static void test_ignore(void)
{
    g_autoptr(Ignore) ignore =
        ignore_new("# comment\n\n*.o\n/build/\n!build/keep.o\n**/tmp\n!keep\nsecret*\n!secret-not\n"
                   "../outside\n");
    g_assert_true(ignore_has_exceptions(ignore));
    static const struct {
        const char *path;
        bool ignored;
    } cases[] = {
        {"a.o", true},           {"d/a.o", false},      {"build", true},     {"build/x/y", true},
        {"build/keep.o", false}, {"tmp", true},         {"a/b/tmp/c", true}, {"secret1", true},
        {"secret-not", false},   {"src/main.c", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (ignore_match(ignore, cases[i].path) != cases[i].ignored)
            g_error("'%s'", cases[i].path);
    g_autoptr(Ignore) none = ignore_new(NULL);
    g_assert_false(ignore_match(none, "x"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/build/dockerfile/parse", test_parse);
    g_test_add_func("/build/dockerfile/heredocs", test_heredocs);
    g_test_add_func("/build/dockerfile/errors", test_errors);
    g_test_add_func("/build/dockerfile/odd-files", test_odd_files);
    g_test_add_func("/build/dockerfile/damaged-files", test_damaged_files);
    g_test_add_func("/build/words/expand", test_expand);
    g_test_add_func("/build/match", test_match);
    g_test_add_func("/build/ignore", test_ignore);
    return g_test_run();
}
