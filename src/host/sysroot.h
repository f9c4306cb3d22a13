/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state of an opened host, private to this folder. */
#pragma once

#include "host/host.h"

#define HOST_DEPLOY_DIR  "atomic/deploy"
#define HOST_OS_DIR      "atomic/os"
#define HOST_STORE_DIR   "atomic/store"
#define HOST_REMOTES_DIR "atomic/remotes.d"
#define HOST_LOCK_FILE   "atomic/lock"
#define HOST_KERNEL_DIR  "atomic"     /* below boot */
#define HOST_KEY_FILE    "deployment" /* below atomic/deploy/ID */

struct Host {
    char *path;
    int root_fd;            /* SYSROOT */
    int boot_fd;            /* SYSROOT/boot, on the running host /boot */
    int lock_fd;            /* -1 until host_lock() */
    bool running;           /* the system that runs is one of this host's deployments */
    char *booted_id;        /* from the kernel command line; NULL unless running */
    unsigned loader;        /* N of the current loader.N */
    GPtrArray *deployments; /* HostDeployment *, boot order */
    GPtrArray *foreign;     /* names of entry files that are not ours: carried over as they are */
};

/* Reads loader, entries and key files again. */
bool sysroot_reload(Host *host, GError **error);
/* The value of `atomic=` when it is a deployment's name, in a kernel command line; newly allocated or NULL. */
char *sysroot_parse_cmdline(const char *cmdline);
/* boot is a filesystem of its own. */
bool sysroot_boot_is_separate(const Host *host);
/* ERROR_FAILED (programmer's error made visible) unless host_lock() was called. */
bool sysroot_check_locked(const Host *host, GError **error);
