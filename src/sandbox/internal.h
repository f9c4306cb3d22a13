/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to src/sandbox. */
#pragma once

#include "sandbox/sandbox.h"

/* ---- ids.c */

#define IDS_COUNT 65536

/* Takes a free range for the calling process; the list is in `run_dir`. */
bool ids_take(const char *run_dir, const char *name, RuntimeIdMap *out, GError **error);
/* From now on the range belongs to this process: it is free when the process has gone. */
bool ids_hand_over(const char *run_dir, const RuntimeIdMap *map, pid_t pid, GError **error);
/* Free at once. */
void ids_give_back(const char *run_dir, const RuntimeIdMap *map);

/* ---- lease.c */

/* A name that nobody has, and its directory $ATOMIC_RUN/NAME: both are the caller's until it closes
 * the fd (or dies). Removes what killed callers left. -1 on failure. */
int lease_take(const char *run_dir, char **out_name, GError **error);

/* ---- files.c */

/* Writes hosts, hostname and resolv.conf into the directory, owned by the container's root. */
bool files_write(int dirfd, const SandboxOptions *options, const char *hostname, uint32_t owner,
                 GError **error);

/* ---- carry.c */

typedef struct {
    int from[2], ends[2]; /* of the pipes for stdout and stderr: ours, the command's */
    int to[2];            /* the caller's files, borrowed */
} Carry;
void carry_init(Carry *carry);
/* Puts pipes in the place of the command's stdout and stderr. */
bool carry_open(Carry *carry, RuntimeCommand *command, GError **error);
/* The command has its ends. */
void carry_started(Carry *carry);
/* Carries what there is; waits for more, at most half a second. True when `fd` can be read. */
bool carry_until(Carry *carry, int fd);
/* What is left when the command has ended. */
void carry_rest(Carry *carry);
void carry_clear(Carry *carry);
