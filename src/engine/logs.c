/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading Docker's json-file logs: LOG.2, LOG.1, LOG, oldest first. Following: at the end of LOG the directory
 * is watched; a file that was renamed meanwhile is read to its end first. */
#include "engine/state.h"

#include "base/cancel.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_FILES = 10 };

typedef struct {
    const EngineLogsOptions *options;
    char *line; /* of getline */
    size_t size;
    bool broken_pipe;
} LogReader;

static void log_reader_clear(LogReader *reader)
{
    free(reader->line);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LogReader, log_reader_clear)

/* A line that is not what it should be (the machine went down while it was written) is skipped. */
static void print_line(LogReader *reader, ssize_t length)
{
    json_t *json = json_loadb(reader->line, (size_t)length, 0, NULL);
    json_t *text = json_object_get(json, "log");
    const char *stream = json_string_value(json_object_get(json, "stream"));
    const char *time = json_string_value(json_object_get(json, "time"));
    if (json_is_string(text)) {
        FILE *out = g_strcmp0(stream, "stderr") == 0 ? stderr : stdout;
        if (reader->options->timestamps && time)
            fprintf(out, "%s ", time);
        fwrite(json_string_value(text), 1, json_string_length(text), out);
        /* the two streams keep their order */
        reader->broken_pipe = fflush(out) != 0;
    }
    json_decref(json);
}

/* A line that is still being written is left for the next time. */
static void print_rest(LogReader *reader, FILE *file)
{
    for (;;) {
        long before = ftell(file);
        ssize_t length = getline(&reader->line, &reader->size, file);
        if (length <= 0 || reader->broken_pipe || cancel_requested())
            break;
        if (reader->line[length - 1] != '\n') {
            fseek(file, before, SEEK_SET);
            break;
        }
        print_line(reader, length);
    }
    clearerr(file);
}

/* --- tail ------------------------------------------------------------------------------------------ */

/* Goes back over `lines` lines; returns how many were missing because the file has fewer. */
static int64_t seek_back(FILE *file, int64_t lines)
{
    fseek(file, 0, SEEK_END);
    long position = ftell(file);
    char block[8192];
    int64_t found = -1; /* the newline at the very end ends the last line */
    while (position > 0) {
        long start = MAX(position - (long)sizeof block, 0);
        fseek(file, start, SEEK_SET);
        size_t n = fread(block, 1, (size_t)(position - start), file);
        while (n > 0) {
            if (block[--n] == '\n' && ++found == lines) {
                fseek(file, start + (long)n + 1, SEEK_SET);
                return 0;
            }
        }
        position = start;
    }
    rewind(file);
    return lines - MAX(found + 1, 0);
}

static void close_file(gpointer file)
{
    fclose(file);
}

/* The files from the oldest that is needed, positioned; an unrotated log is one file. */
static GPtrArray *open_files(const char *path, int64_t tail)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(close_file);
    for (int i = 0; i < MOST_FILES && tail != 0; i++) {
        g_autofree char *rotated = i ? g_strdup_printf("%s.%d", path, i) : g_strdup(path);
        FILE *file = fopen(rotated, "re");
        if (!file)
            break;
        if (tail > 0)
            tail = seek_back(file, tail);
        g_ptr_array_insert(files, 0, file);
    }
    return files;
}

/* --- follow ---------------------------------------------------------------------------------------- */

static bool was_rotated(FILE *file, const char *path)
{
    struct stat open_one, named;
    return fstat(fileno(file), &open_one) == 0 && stat(path, &named) == 0 &&
           open_one.st_ino != named.st_ino;
}

static bool is_running(const EngineDirs *dirs, EngineState *state)
{
    return engine_state_refresh(dirs, state, NULL) && state->status == ENGINE_RUNNING;
}

/* Until the container has ended and all it wrote was printed. */
static void follow(LogReader *reader, FILE *file, const char *path, const EngineDirs *dirs,
                   EngineState *state)
{
    enum { LOOK_AGAIN_MS = 500 };
    g_autofree char *directory = g_path_get_dirname(path);
    _autofd int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    inotify_add_watch(watch, directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    while (!cancel_requested() && !reader->broken_pipe) {
        /* asked before reading: what is written before the end is read after it */
        bool running = is_running(dirs, state);
        if (!file)
            file = fopen(path, "re");
        if (file)
            print_rest(reader, file);
        if (file && was_rotated(file, path)) {
            print_rest(reader, file);
            fclose(file);
            file = NULL;
            continue;
        }
        if (!running)
            break;
        struct pollfd poll_fd = {.fd = watch, .events = POLLIN};
        char events[4096];
        if (poll(&poll_fd, 1, LOOK_AGAIN_MS) > 0 && read(watch, events, sizeof events) < 0)
            break;
    }
    if (file)
        fclose(file);
}

bool engine_logs(Engine *engine, EngineContainer *container, const EngineLogsOptions *options,
                 GError **error)
{
    g_auto(EngineDirs) dirs = {0};
    if (!engine_dirs_find(engine, container->config.id, &dirs))
        return error_throw(error, ERROR_NOT_FOUND, "no such container: %s", container->config.name);
    g_autofree char *path = engine_dirs_keep_file(&dirs, "log/container.log");
    g_auto(LogReader) reader = {.options = options};
    g_autoptr(GPtrArray) files = open_files(path, options->tail);
    for (guint i = 0; i < files->len; i++)
        print_rest(&reader, files->pdata[i]);
    if (options->follow) {
        FILE *last = files->len ? g_ptr_array_steal_index(files, files->len - 1) : NULL;
        if (!last && options->tail == 0 && (last = fopen(path, "re")))
            fseek(last, 0, SEEK_END);
        follow(&reader, last, path, &dirs, &container->state);
    }
    return !cancel_requested() || error_throw(error, ERROR_INTERRUPTED, "interrupted");
}
