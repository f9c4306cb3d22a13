/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The arguments of atomic-monitor. One table serves both directions, so that they can't differ:
 *
 *     atomic-monitor --id=ID --dir=DIR --pid=N --pid-fd=N … --remove A B '' … -- CLEANUP…
 *
 * A list ends in an empty argument, which the parser turns into the NULL that ends it in memory.
 */
#include "monitor/spec.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { KIND_TEXT, KIND_FD, KIND_PID, KIND_COUNT, KIND_BIG, KIND_FLAG, KIND_LIST } Kind;

typedef struct {
    const char *name;
    Kind kind;
    size_t at;
} Option;

#define OPTION(name, kind, member)                                                                 \
    {                                                                                              \
        name, kind, offsetof(MonitorSpec, member)                                                  \
    }
static const Option options[] = {
    OPTION("id", KIND_TEXT, id),
    OPTION("dir", KIND_TEXT, dir),
    OPTION("pid", KIND_PID, pid),
    OPTION("pid-fd", KIND_FD, pid_fd),
    OPTION("started", KIND_BIG, started),
    OPTION("stdout-fd", KIND_FD, stdout_fd),
    OPTION("stderr-fd", KIND_FD, stderr_fd),
    OPTION("pty-fd", KIND_FD, pty_fd),
    OPTION("stdin-fd", KIND_FD, stdin_fd),
    OPTION("stdin-open", KIND_FLAG, stdin_open),
    OPTION("stdin-once", KIND_FLAG, stdin_once),
    OPTION("listen-fd", KIND_FD, listen_fd),
    OPTION("ready-fd", KIND_FD, ready_fd),
    OPTION("mount-fd", KIND_FD, mount_fd),
    OPTION("log", KIND_TEXT, log),
    OPTION("log-size", KIND_BIG, log_size),
    OPTION("log-files", KIND_COUNT, log_files),
    OPTION("oom-file", KIND_TEXT, oom_file),
    OPTION("cgroups", KIND_LIST, cgroups),
    OPTION("bridge", KIND_TEXT, bridge),
    OPTION("run-dir", KIND_TEXT, run_dir),
    OPTION("ports", KIND_LIST, ports),
    OPTION("remove-first", KIND_LIST, remove_first),
    OPTION("remove", KIND_LIST, remove),
};
static const char PORT_FDS[] =
    "port-fds"; /* not in the table: numbers on one side, texts on the other */

/* The new argv while it is built. Memory is not given back: success is exec, failure is exit. */
typedef struct {
    char **argv;
    size_t n, size;
    bool failed;
} Builder;

static void add(Builder *b, const char *text)
{
    if (b->n + 2 > b->size) {
        size_t size = b->size ? b->size * 2 : 64;
        char **grown = realloc(b->argv, size * sizeof *grown);
        if (!grown) {
            b->failed = true;
            return;
        }
        b->argv = grown;
        b->size = size;
    }
    char *copy = strdup(text);
    b->failed |= !copy;
    b->argv[b->n++] = copy;
    b->argv[b->n] = NULL;
}

static void add_text(Builder *b, const char *name, const char *value)
{
    char *text;
    if (asprintf(&text, "--%s=%s", name, value) < 0) {
        b->failed = true;
        return;
    }
    add(b, text);
    free(text);
}

static void add_number(Builder *b, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    add_text(b, name, text);
}

static void add_list(Builder *b, const char *name, const char *const *list)
{
    char text[40];
    if (!list || !*list)
        return;
    snprintf(text, sizeof text, "--%s", name);
    add(b, text);
    for (; *list; list++)
        add(b, *list);
    add(b, "");
}

/* An fd that survives exec and is none of 0-2. */
static int inheritable(Builder *b, int fd)
{
    int kept = fd < 3 ? fcntl(fd, F_DUPFD, 3) : fd;
    if (kept < 0 || fcntl(kept, F_SETFD, 0) < 0)
        b->failed = true;
    return kept;
}

static void add_option(Builder *b, const Option *option, const MonitorSpec *spec)
{
    const void *at = (const char *)spec + option->at;
    switch (option->kind) {
    case KIND_TEXT:
        if (*(const char *const *)at)
            add_text(b, option->name, *(const char *const *)at);
        break;
    case KIND_FD:
        if (*(const int *)at >= 0)
            add_number(b, option->name, inheritable(b, *(const int *)at));
        break;
    case KIND_PID:
        add_number(b, option->name, *(const pid_t *)at);
        break;
    case KIND_COUNT:
        if (*(const unsigned *)at)
            add_number(b, option->name, *(const unsigned *)at);
        break;
    case KIND_BIG:
        if (*(const int64_t *)at)
            add_number(b, option->name, *(const int64_t *)at);
        break;
    case KIND_FLAG:
        if (*(const bool *)at)
            add_number(b, option->name, 1);
        break;
    case KIND_LIST:
        add_list(b, option->name, *(const char *const *const *)at);
        break;
    }
}

static void add_port_fds(Builder *b, const int *fds)
{
    char text[16];
    if (!fds || *fds < 0)
        return;
    snprintf(text, sizeof text, "--%s", PORT_FDS);
    add(b, text);
    for (; *fds >= 0; fds++) {
        snprintf(text, sizeof text, "%d", inheritable(b, *fds));
        add(b, text);
    }
    add(b, "");
}

int monitor_exec(const MonitorSpec *spec, SysError *error)
{
    Builder b = {};
    add(&b, "atomic-monitor");
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        add_option(&b, &options[i], spec);
    add_port_fds(&b, spec->port_fds);
    if (spec->cleanup && *spec->cleanup)
        add(&b, "--");
    for (const char *const *p = spec->cleanup; p && *p; p++)
        add(&b, *p);
    if (b.failed)
        return sys_fail_errno(error, "cannot start the monitor of '%.12s'", spec->id);
    execv(spec->program, b.argv);
    return sys_fail_errno(error, "cannot execute '%s'", spec->program);
}

static bool parse_number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *text && !*end && !errno;
}

static bool store(const Option *option, const char *text, MonitorSpec *spec)
{
    void *at = (char *)spec + option->at;
    int64_t number = 0;
    if (option->kind != KIND_TEXT && (!parse_number(text, &number) || number < 0))
        return false;
    switch (option->kind) {
    case KIND_TEXT:
        *(const char **)at = text;
        return true;
    case KIND_FD:
        *(int *)at = (int)number;
        return number >= 3 && number < 1 << 20;
    case KIND_PID:
        *(pid_t *)at = (pid_t)number;
        return number > 0 && number < 1 << 30;
    case KIND_COUNT:
        *(unsigned *)at = (unsigned)number;
        return number < 1000;
    case KIND_BIG:
        *(int64_t *)at = number;
        return true;
    case KIND_FLAG:
        *(bool *)at = number;
        return true;
    case KIND_LIST:
        break;
    }
    return false;
}

/* The list that begins at argv[*i + 1]; *i moves to its end. */
static const char *const *take_list(char **argv, size_t *i)
{
    char **list = &argv[*i + 1];
    while (argv[*i + 1] && *argv[*i + 1])
        ++*i;
    if (argv[*i + 1])
        argv[++*i] = NULL;
    return (const char *const *)list;
}

static const Option *find_option(const char *name, size_t size)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (strlen(options[i].name) == size && memcmp(options[i].name, name, size) == 0)
            return &options[i];
    return NULL;
}

int spec_parse(char **argv, SpecArguments *out, SysError *error)
{
    *out = (SpecArguments){.spec = MONITOR_SPEC_INIT};
    size_t i = 1;
    for (; argv[i] && strcmp(argv[i], "--") != 0; i++) {
        const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
        size_t size = strcspn(name, "=");
        const Option *option = find_option(name, size);
        const char *word = argv[i];
        bool good = option != NULL;
        if (strcmp(name, PORT_FDS) == 0) {
            out->port_fd_texts = take_list(argv, &i);
            good = true;
        } else if (good && option->kind == KIND_LIST && !name[size]) {
            const char *const *list = take_list(argv, &i);
            memcpy((char *)&out->spec + option->at, &list, sizeof list);
        } else if (good) {
            good = name[size] == '=' && store(option, name + size + 1, &out->spec);
        }
        if (!good)
            return sys_fail(error, EINVAL, "invalid argument '%s'", word);
    }
    if (argv[i])
        out->spec.cleanup = (const char *const *)&argv[i + 1];
    if (!out->spec.id || !out->spec.dir || !out->spec.pid || out->spec.pid_fd < 0)
        return sys_fail(error, EINVAL, "--id, --dir, --pid and --pid-fd are needed");
    return 0;
}

int spec_next_fd(const SpecArguments *arguments, unsigned *state)
{
    for (; *state < ARRAY_SIZE(options); ++*state) {
        const Option *option = &options[*state];
        if (option->kind != KIND_FD)
            continue;
        int fd = *(const int *)((const char *)&arguments->spec + option->at);
        if (fd < 0)
            continue;
        ++*state;
        return fd;
    }
    size_t i = *state - ARRAY_SIZE(options);
    if (!arguments->port_fd_texts || !arguments->port_fd_texts[i])
        return -1;
    ++*state;
    return atoi(arguments->port_fd_texts[i]);
}
