/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a deployment is made.
 *
 * Planned first, without writing: the tree, its kernel, the merge of /etc, the new list, the space needed.
 * Then, in this order:
 *
 *   1. refs deploy/ID to image and commit          durable when made; nothing names ID yet
 *   2. deploy/ID/{etc/,deployment}                 syncfs on an fd that was opened before the first write
 *   3. boot/atomic/BOOTCSUM                        synced, renamed
 *   4. loader.N with all entries, rename of loader (loader.c): the commit point
 *   5. what is no longer needed goes               (cleanup.c)
 *
 * A kill or power cut up to 4 leaves the old list and garbage; from 4 on the new list, which needs nothing that
 * isn't durable. A failure after 4 is a warning in the result, not an error: the change is made.
 */
#include "host/content.h"
#include "host/deployment.h"
#include "host/etc.h"
#include "host/kernel.h"
#include "host/loader.h"

#include "base/file.h"
#include "ostree/ostree.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    OS_RELEASE_LIMIT = 64 * 1024,
    SPACE_MARGIN = 1024 * 1024, /* for directories, key file, entries */
};

typedef struct {
    Host *host;
    Store *store;
    const HostDeployment *source; /* merge source, or NULL; borrowed from the host */
    Tree *tree, *source_tree;
    int mine_fd;
    HostKernel kernel;
    EtcMerge etc;
    HostDeployment *new;
    GPtrArray *list; /* the new list, copies */
} Plan;

static void plan_clear(Plan *plan)
{
    g_clear_pointer(&plan->tree, tree_free);
    g_clear_pointer(&plan->source_tree, tree_free);
    sys_fd_closep(&plan->mine_fd);
    kernel_clear(&plan->kernel);
    etc_merge_clear(&plan->etc);
    host_deployment_free(plan->new);
    g_clear_pointer(&plan->list, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

void host_result_clear(HostResult *result)
{
    g_free(result->id);
    host_etc_report_clear(&result->etc);
    g_clear_error(&result->cleanup_error);
}

/* The OS of the default deployment, else the only one there is. */
static char *choose_os(Host *host, const char *os, GError **error)
{
    const HostDeployment *def = host_booted(host) ? host_booted(host) : host_default(host);
    if (!os && def && !def->damaged)
        return g_strdup(def->os);
    g_autofree char *dir = g_build_filename(host->path, HOST_OS_DIR, NULL);
    g_autoptr(GError) failed = NULL;
    g_autoptr(GDir) names = g_dir_open(dir, 0, &failed);
    if (!names)
        return error_throw_null(error, ERROR_NOT_FOUND, "%s", failed->message);
    const char *name;
    const char *found = NULL;
    g_autofree char *only = NULL;
    while ((name = g_dir_read_name(names))) {
        if (os && strcmp(name, os) == 0)
            return g_strdup(os);
        if (only)
            found = "several";
        else
            only = g_strdup(name);
    }
    if (os)
        return error_throw_null(
            error, ERROR_NOT_FOUND,
            "'%s' has no OS '%s'\nhint: 'atomic host init --sysroot %s --os %s' "
            "adds it",
            host->path, os, host->path, os);
    if (!only || found)
        return error_throw_null(error, ERROR_INVALID,
                                "'%s' has %s OS names\nhint: give one with --os", host->path,
                                only ? "several" : "no");
    return g_steal_pointer(&only);
}

static TreeNode *find_usr_etc(Tree *tree)
{
    TreeNode *node = tree_lookup(tree, "usr/etc");
    return node && S_ISDIR(node->inode->mode) ? node : NULL;
}

static bool load_tree(Plan *plan, const char *commit, GError **error)
{
    if (!ostree_commit_image(plan->store, commit, &plan->new->image, error))
        return false;
    plan->tree = store_load_image(plan->store, &plan->new->image, error);
    if (!plan->tree)
        return false;
    if (!find_usr_etc(plan->tree))
        return error_throw(
            error, ERROR_INVALID,
            "the tree has no /usr/etc\nhint: the default configuration of a tree that "
            "is deployed is in /usr/etc; 'atomic compose tree' puts it there");
    TreeNode *etc = tree_lookup(plan->tree, "etc");
    if (etc && S_ISDIR(etc->inode->mode) && tree_n_children(etc) > 0)
        return error_throw(
            error, ERROR_INVALID,
            "the tree has files in both /etc and /usr/etc\nhint: move them to /usr/etc");
    return true;
}

static bool plan_etc(Plan *plan, GError **error)
{
    EtcMergeInput input = {
        .store = plan->store,
        .mine_fd = -1,
        .new_tree = plan->tree,
        .new = find_usr_etc(plan->tree),
    };
    if (plan->source) {
        plan->source_tree = store_load_image(plan->store, &plan->source->image, error);
        if (!plan->source_tree)
            return error_prefix(error, "cannot read the deployment '%.12s'", plan->source->id);
        g_autofree char *path = g_strdup_printf(HOST_DEPLOY_DIR "/%s/etc", plan->source->id);
        plan->mine_fd = file_open_dir_at(plan->host->root_fd, path, error);
        if (plan->mine_fd < 0)
            return false;
        input.old_tree = plan->source_tree;
        input.old = find_usr_etc(plan->source_tree);
        input.mine_fd = plan->mine_fd;
        if (!input.old)
            return error_throw(error, ERROR_INVALID, "deployment '%.12s' has no /usr/etc",
                               plan->source->id);
    }
    return etc_merge(&input, &plan->etc, error);
}

/* PRETTY_NAME, unquoted; NULL when there is none. */
static char *read_title(Store *store, Tree *tree)
{
    TreeNode *node = tree_resolve(tree, "usr/lib/os-release");
    if (!node || !S_ISREG(node->inode->mode))
        return NULL;
    g_autofree char *text = content_read(store, node->inode, OS_RELEASE_LIMIT, NULL);
    if (!text)
        return NULL;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (g_str_has_prefix(*line, "PRETTY_NAME="))
            return g_shell_unquote(*line + strlen("PRETTY_NAME="), NULL);
    return NULL;
}

/* One more than the greatest of the same commit, of what is listed. */
static unsigned next_serial(const Host *host, const char *commit)
{
    unsigned next = 0;
    for (size_t i = 0; i < host->deployments->len; i++) {
        const HostDeployment *d = host->deployments->pdata[i];
        if (strcmp(d->commit, commit) == 0)
            next = MAX(next, d->serial + 1);
    }
    return next;
}

static char *join_options(const HostDeployment *source, const char *const *kargs)
{
    GString *options = g_string_new(source ? source->options : "");
    for (; kargs && *kargs; kargs++)
        g_string_append_printf(options, "%s%s", options->len ? " " : "", *kargs);
    return g_string_free(options, FALSE);
}

static bool check_kargs(const char *const *kargs, GError **error)
{
    for (; kargs && *kargs; kargs++)
        if (!**kargs || strpbrk(*kargs, " \t\n") || g_str_has_prefix(*kargs, "atomic="))
            return error_throw(error, ERROR_INVALID, "'%s' can't be a kernel argument", *kargs);
    return true;
}

static bool describe(Plan *plan, const HostDeployOptions *options, GError **error)
{
    HostDeployment *d = plan->new;
    g_autoptr(GVariant) commit = ostree_load_commit(plan->store, options->commit, error);
    if (!commit || !check_kargs(options->kargs, error))
        return false;
    d->commit = g_strdup(options->commit);
    d->serial = next_serial(plan->host, options->commit);
    d->id = g_strdup_printf("%s.%u", d->commit, d->serial);
    d->timestamp = (int64_t)ostree_commit_timestamp(commit);
    d->version = ostree_commit_version(commit);
    d->origin = g_strdup(options->origin ? options->origin
                         : plan->source  ? plan->source->origin
                                         : NULL);
    d->options = join_options(plan->source, options->kargs);
    return true;
}

/* Kept behind the new one: merge source, booted, pinned, those of other OS names. */
static void plan_list(Plan *plan)
{
    plan->list = g_ptr_array_new_with_free_func((GDestroyNotify)host_deployment_free);
    g_ptr_array_add(plan->list, deployment_copy(plan->new));
    for (size_t i = 0; i < plan->host->deployments->len; i++) {
        const HostDeployment *d = plan->host->deployments->pdata[i];
        if (d == plan->source || d->booted || d->pinned ||
            (!d->damaged && strcmp(d->os, plan->new->os) != 0))
            g_ptr_array_add(plan->list, deployment_copy(d));
    }
}

static bool check_room(int fd, const char *where, uint64_t needed, GError **error)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) < 0)
        return error_throw_errno(error, "cannot look at the space of '%s'", where);
    uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (needed <= available)
        return true;
    return error_throw(error, ERROR_NO_SPACE,
                       "not enough space in '%s': %.1f MB needed, %.1f MB available", where,
                       (double)needed / 1e6, (double)available / 1e6);
}

static bool check_space(Plan *plan, GError **error)
{
    Host *host = plan->host;
    uint64_t kernel = kernel_is_installed(host, &plan->kernel) ? 0 : plan->kernel.size;
    uint64_t root = etc_size(plan->etc.result) + SPACE_MARGIN;
    if (!sysroot_boot_is_separate(host))
        return check_room(host->root_fd, host->path, root + kernel, error);
    g_autofree char *boot = g_build_filename(host->path, "boot", NULL);
    return check_room(host->root_fd, host->path, root, error) &&
           check_room(host->boot_fd, boot, kernel + SPACE_MARGIN, error);
}

static bool make_plan(Plan *plan, const HostDeployOptions *options, GError **error)
{
    plan->new = g_new0(HostDeployment, 1);
    plan->new->os = choose_os(plan->host, options->os, error);
    if (!plan->new->os)
        return false;
    plan->source = host_merge_source(plan->host, plan->new->os);
    if (!load_tree(plan, options->commit, error) ||
        !kernel_load(plan->store, plan->tree, &plan->kernel, error) || !plan_etc(plan, error) ||
        !describe(plan, options, error))
        return false;
    plan->new->title = read_title(plan->store, plan->tree);
    plan->new->bootcsum = g_strdup(plan->kernel.bootcsum);
    plan->new->has_initrd = plan->kernel.initrd != NULL;
    plan_list(plan);
    return check_space(plan, error);
}

static bool write_refs(Plan *plan, GError **error)
{
    g_autofree char *ref = g_strconcat("deploy/", plan->new->id, NULL);
    g_autofree char *stream = g_strconcat("ostree-commit-", plan->new->commit, NULL);
    return store_set_ref(plan->store, STORE_IMAGES, ref, digest_hex(&plan->new->image).text,
                         error) &&
           store_set_ref(plan->store, STORE_STREAMS, ref, stream, error);
}

static bool write_directory(Plan *plan, int deploy_fd, GError **error)
{
    if (mkdirat(deploy_fd, plan->new->id, 0755) < 0)
        return error_throw_errno(error, "cannot create '%s'", plan->new->id);
    _autofd int dir = file_open_dir_at(deploy_fd, plan->new->id, error);
    if (dir < 0 || !etc_write(plan->store, &plan->etc, plan->mine_fd, dir, "etc", error))
        return error_prefix(error, "cannot write /etc");
    g_autofree char *text = deployment_format(plan->new);
    if (!file_replace_at(dir, HOST_KEY_FILE, text, strlen(text), 0644, 0, error))
        return false;
    if (syncfs(deploy_fd) < 0)
        return error_throw_errno(error, "cannot sync '" HOST_DEPLOY_DIR "'");
    return true;
}

static bool carry_out(Plan *plan, GError **error)
{
    /* opened before the first write, or the sync would not report that write's errors */
    _autofd int deploy_fd = file_open_dir_at(plan->host->root_fd, HOST_DEPLOY_DIR, error);
    return deploy_fd >= 0 && write_refs(plan, error) && write_directory(plan, deploy_fd, error) &&
           kernel_install(plan->host, plan->store, &plan->kernel, error) &&
           loader_swap(plan->host, plan->list, error);
}

bool host_deploy(Host *host, Store *store, const HostDeployOptions *options, HostResult *out_result,
                 GError **error)
{
    if (!sysroot_check_locked(host, error))
        return false;
    /* what an interrupted one left would be in the way, and takes the space that is counted below */
    if (!host_cleanup_names(host, store, error))
        return false;
    g_auto(Plan) plan = {.host = host, .store = store, .mine_fd = -1};
    int count = (int)host->deployments->len;
    if (!make_plan(&plan, options, error))
        return error_prefix(error, "cannot deploy '%.12s'", options->commit);
    unsigned before = host->loader;
    if (!carry_out(&plan, error)) {
        /* when the loader is swapped, but perhaps not on disk, both lists' files are needed */
        if (sysroot_reload(host, NULL) && host->loader == before)
            host_cleanup_names(host, store, NULL);
        return error_prefix(error, "cannot deploy '%.12s'", options->commit);
    }
    *out_result = (HostResult){
        .id = g_strdup(plan.new->id),
        .etc = plan.etc.report,
        .count_change = (int)host->deployments->len - count,
    };
    plan.etc.report = (HostEtcReport){0};
    host_cleanup(host, store, &out_result->freed_bytes, &out_result->cleanup_error);
    return true;
}
