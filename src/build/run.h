/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to build/: what a RUN needs of the machine. */
#pragma once

#include "base/error.h"
#include "base/sys/fail.h"
#include "network/network.h"

/* A directory of its own for a writable layer, under $ATOMIC_ROOT/build; those that killed
 * builds left are removed. */
typedef struct {
    int parent_fd; /* $ATOMIC_ROOT/build */
    int fd;        /* the directory, locked while it is in use */
    char *name;    /* also the sandbox's: what a killed build left running is found by it */
} RunScratch;
#define RUN_SCRATCH_NONE                                                                           \
    {                                                                                              \
        -1, -1, NULL                                                                               \
    }
bool run_scratch_make(RunScratch *scratch, GError **error);
void run_scratch_clear(RunScratch *scratch); /* removes it */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunScratch, run_scratch_clear)

/* The bridge, for the sandbox's hooks (`data` is the RunNetwork). */
typedef struct {
    char *run_dir, *name;
    Network network;
    struct in_addr address;
    bool has_address;
} RunNetwork;
bool run_network_prepare(RunNetwork *network, const char *name, GError **error);
int run_network_attach(void *data, pid_t pid, int netns_fd, SysError *error);
int run_network_configure(void *data, SysError *error);
void run_network_clear(RunNetwork *network); /* gives the address back */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunNetwork, run_network_clear)
