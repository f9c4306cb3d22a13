/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running other programs: ours under libexec, and few foreign ones. Needs no shell, inherits no fd.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

typedef struct {
    int stdin_fd, stdout_fd, stderr_fd; /* -1: inherit */
    const char *const *env;             /* NULL: inherit */
} SpawnOptions;

/* argv[0] is looked up in $PATH unless it has a slash. The caller waits. */
bool spawn_start(const char *const *argv, const SpawnOptions *options, pid_t *out_pid,
                 GError **error);
/* The exit status, 128+n when killed by signal n; -1 on failure. */
int spawn_wait(pid_t pid, GError **error);
/* start + wait; any exit status but 0 is an error that names the program and the status. */
bool spawn_run(const char *const *argv, const SpawnOptions *options, GError **error);

/* Path of one of our helper programs: beside the running program (a build tree), in ../libexec/atomic of it (an
 * installed tree, wherever it stands now), else in the configured libexec folder; $ATOMIC_LIBEXEC overrides.
 * Newly allocated. */
char *spawn_helper_path(const char *program, GError **error);
