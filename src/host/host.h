/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host: whole trees deployed side by side, one of which boots next.
 *
 *     SYSROOT/atomic/store              the store (store/store.h)
 *     SYSROOT/atomic/os/NAME/var        writable state, shared by all deployments of NAME
 *     SYSROOT/atomic/deploy/ID/         one deployment: `deployment` (key file) and `etc/`; ID = COMMIT.N
 *     SYSROOT/atomic/remotes.d/         OSTree remotes
 *     SYSROOT/atomic/lock               flock: one change at a time; the holder's name inside
 *     SYSROOT/boot/loader -> loader.0   or loader.1; entries/atomic-I.conf, the greatest I boots by default
 *     SYSROOT/boot/atomic/BOOTCSUM/     vmlinuz, initrd
 *
 * A deployment exists if and only if an entry of the current loader names it (kernel argument atomic=ID);
 * all the rest is derived from that, or garbage that the next change collects. Every change ends in one
 * rename of the link `loader`; before it everything new is durable and nothing refers to it, so a kill or a
 * power cut leaves the old list or the new one.
 *
 * In the store, images/refs/deploy/ID and streams/refs/deploy/ID keep a deployment's image and commit; they
 * are made before the deployment is, so `atomic store mount deploy/ID DIR` works as long as it exists.
 *
 * Reading (host_open, host_deployments) needs neither the store nor libcrypto: the library host_read.
 * A Host is for one thread. Changing needs root.
 */
#pragma once

#include "base/digest.h"
#include "base/error.h"
#include "store/store.h"

typedef struct Host Host;

typedef struct {
    char *id;     /* COMMIT.N */
    char *commit; /* 64 hex */
    unsigned serial;
    Digest image;      /* EROFS image of the tree */
    char *os;          /* NAME */
    char *origin;      /* "REMOTE:REF" */
    char *version;     /* the commit's `version`, or NULL */
    int64_t timestamp; /* of the commit, seconds UTC */
    char *title;       /* PRETTY_NAME of its os-release */
    char *bootcsum;
    bool has_initrd;
    bool pinned;
    bool booted;   /* the running system is this one */
    bool damaged;  /* its key file can't be read: os is "", image zero; it can only be left */
    char *options; /* kernel arguments without atomic=ID; "" when none */
} HostDeployment;

void host_deployment_free(HostDeployment *deployment);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostDeployment, host_deployment_free)

/* --- reading (library host_read) -------------------------------------------------------------------------- */

/* `sysroot`: an offline host's root, or NULL for the running host (/sysroot, else /). ERROR_NOT_FOUND with a
 * hint when there is no host. A sysroot that is the running host's own is recognised. */
Host *host_open(const char *sysroot, GError **error);
void host_free(Host *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Host, host_free)

const char *host_path(const Host *host);
char *host_store_path(const Host *host); /* SYSROOT/atomic/store; `atomic/remotes.d` is beside it */
char *host_remotes_path(const Host *host); /* SYSROOT/atomic/remotes.d */
bool host_is_running(const Host *host);
/* HostDeployment *, in boot order: the first boots by default. Borrowed; valid until the host changes. */
GPtrArray *host_deployments(const Host *host);
/* The booted one when this is the running host, else NULL. */
const HostDeployment *host_booted(const Host *host);
/* NULL when there is none. */
const HostDeployment *host_default(const Host *host);
/* Whose /etc and kernel arguments the next deployment of this OS begins from: the booted one when it is of
 * this OS, else the first of this OS in boot order; NULL when there is none. */
const HostDeployment *host_merge_source(const Host *host, const char *os);

/* --- changing (library host) ------------------------------------------------------------------------------ */

/* Makes the layout and an empty store; completes one that is there, adds an OS name to it. */
bool host_init(const char *sysroot, const char *os, GError **error);

/* One change at a time: waits up to `seconds`, then ERROR_BUSY naming the holder. `purpose` is what others
 * read ("atomic upgrade"). Reads the deployments again. Held until host_free(). */
bool host_lock(Host *host, const char *purpose, unsigned seconds, GError **error);

/* What the merge of /etc decided. Paths begin with "/etc/", sorted; GPtrArrays own them. */
typedef struct {
    bool merged;                       /* false: a first deployment, there was nothing to merge */
    unsigned modified, removed, added; /* the administrator's changes, as OSTree counts them */
    GPtrArray *kept;                   /* yours: changed by the administrator only */
    GPtrArray *taken;                  /* new: default changed by the tree only */
    GPtrArray *both;                   /* changed by both: yours was kept */
    GPtrArray *ignored;                /* sockets, fifos, devices: not carried over */
} HostEtcReport;
void host_etc_report_clear(HostEtcReport *report);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostEtcReport, host_etc_report_clear)

typedef struct {
    const char *commit;       /* in the store, complete */
    const char *origin;       /* recorded; NULL: the merge source's */
    const char *os;           /* NULL: the merge source's, or the only name under atomic/os */
    const char *const *kargs; /* appended to the merge source's; NULL: none */
} HostDeployOptions;

typedef struct {
    char *id;
    HostEtcReport etc;
    int count_change;      /* of the number of deployments */
    uint64_t freed_bytes;  /* by collecting what is no longer used */
    GError *cleanup_error; /* the change is made, but collecting garbage failed; NULL: fine */
} HostResult;
void host_result_clear(HostResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostResult, host_result_clear)

/* Deploys the commit as the first in boot order. Kept beside it: the merge source, the booted one, pinned ones
 * and those of other OS names. Needs host_lock(). ERROR_INVALID: the tree can't be deployed or /etc can't be
 * merged (nothing was written); ERROR_NO_SPACE with figures, before the first write. */
bool host_deploy(Host *host, Store *store, const HostDeployOptions *options, HostResult *out_result,
                 GError **error);
/* Which deployment a rollback makes the first: the booted one when another is first, else the second. NULL
 * with ERROR_INVALID when there is only one. Borrowed. */
const HostDeployment *host_rollback_target(const Host *host, GError **error);
/* Makes that one the first. Needs host_lock(). */
bool host_rollback(Host *host, GError **error);
/* Removes everything that no deployment needs: directories, kernels, names, then objects of the store. Needs
 * host_lock(). */
bool host_cleanup(Host *host, Store *store, uint64_t *out_freed_bytes, GError **error);
/* All but the store's objects: cheap, and what a killed change left is gone. Needs host_lock(). */
bool host_cleanup_names(Host *host, Store *store, GError **error);
