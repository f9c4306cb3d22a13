/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a compose goes.
 *
 *  1. Solve. The input hash is taken over what decides the result: the treefile's bytes, the
 *     packages with their sums, this program's version. When the branch's newest commit has the
 *     same one, there is nothing to do.
 *  2. Packages that are in the store already (images/refs/pkg/deb/…) are only loaded; the others
 *     are fetched and imported. A kill in between loses nothing that got its name.
 *  3. Merge, dpkg's database, configure (the one step that runs foreign code), finish: in memory,
 *     on one tree.
 *  4. Commit: the one change that others see. Then publish.
 */
#include "compose/compose.h"

#include "base/cancel.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/sys/process.h"
#include "compose/rootfs.h"
#include "ostree/ostree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Raised when the same inputs give another tree. */
#define RECIPE "2"

typedef struct {
    const Treefile *treefile;
    const ComposeOptions *options;
    GPtrArray *packages; /* borrowed from the result */
    char *before;        /* the branch's newest commit, or NULL */
    char *before_version, *before_hash;
    char input_hash[DIGEST_HEX_SIZE];
    StoreTxn *txn;
    GPtrArray *parts;
    Rootfs rootfs;
    char *kernel;
} Compose;

static void compose_clear(Compose *compose)
{
    g_free(compose->before);
    g_free(compose->before_version);
    g_free(compose->before_hash);
    g_clear_pointer(&compose->rootfs.tree, tree_free);
    g_clear_pointer(&compose->parts, g_ptr_array_unref);
    g_clear_pointer(&compose->txn, store_txn_free);
    g_free(compose->kernel);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Compose, compose_clear)

void compose_result_clear(ComposeResult *result)
{
    g_clear_pointer(&result->packages, g_ptr_array_unref);
    g_clear_pointer(&result->universe, package_universe_free);
    g_clear_pointer(&result->checksum, g_free);
    g_clear_pointer(&result->version, g_free);
}

/* --- inputs ----------------------------------------------------------------------------------- */

static bool solve(const Treefile *treefile, const ComposeOptions *options, ComposeResult *result,
                  GError **error)
{
    const PackageUniverseOptions universe_options = {
        .apt_dir = options->apt_dir,
        .keyrings = options->keyrings,
        .cache_dir = options->cache_dir,
        .fetch = options->fetch,
        .fetch_data = options->fetch_data,
    };
    result->universe =
        package_universe_load((const char *const *)treefile->suites, &universe_options, error);
    if (!result->universe)
        return false;
    const PackageRequest request = {
        .names = (const char *const *)treefile->packages,
        .exclude = (const char *const *)treefile->exclude_packages,
        .recommends = treefile->recommends,
    };
    result->packages = package_solve(result->universe, &request, error);
    return result->packages != NULL;
}

static void hash_inputs(Compose *compose)
{
    g_autoptr(GString) text = g_string_new("atomic " ATOMIC_VERSION " recipe " RECIPE "\n");
    g_string_append_len(text, compose->treefile->content->str,
                        (gssize)compose->treefile->content->len);
    for (unsigned i = 0; i < compose->packages->len; i++) {
        const Package *package = compose->packages->pdata[i];
        g_string_append_printf(text, "\n%s %s %s %s", package->name, package->version,
                               package->arch, digest_hex(&package->sha256).text);
    }
    Digest digest;
    hash_sha256(text->str, text->len, &digest);
    memcpy(compose->input_hash, digest_hex(&digest).text, DIGEST_HEX_SIZE);
}

static bool load_before(Compose *compose, GError **error)
{
    Store *store = compose->options->store;
    g_autoptr(GError) missing = NULL;
    if (!ostree_resolve(store, compose->treefile->ref, &compose->before, &missing)) {
        if (error_is(missing, ERROR_NOT_FOUND))
            return true;
        g_propagate_error(error, g_steal_pointer(&missing));
        return false;
    }
    g_autoptr(GVariant) commit = ostree_load_commit(store, compose->before, error);
    if (!commit)
        return false;
    compose->before_version = ostree_commit_version(commit);
    compose->before_hash = ostree_commit_metadata_string(commit, "atomic.inputhash");
    return true;
}

static bool is_unchanged(const Compose *compose)
{
    return compose->before_hash && strcmp(compose->before_hash, compose->input_hash) == 0;
}

/* "12" after nothing, "12.1" after "12", "12.2" after "12.1". The same inputs, composed again by force, are the same
 * version. */
static char *next_version(const Compose *compose)
{
    const char *prefix = compose->treefile->version_prefix;
    if (!prefix)
        return g_strdup(compose->treefile->version);
    const char *old = compose->before_version;
    if (is_unchanged(compose))
        return g_strdup(old);
    size_t length = strlen(prefix);
    if (!old || strncmp(old, prefix, length) != 0 || (old[length] && old[length] != '.'))
        return g_strdup(prefix);
    unsigned long counter = old[length] ? strtoul(old + length + 1, NULL, 10) : 0;
    return g_strdup_printf("%s.%lu", prefix, counter + 1);
}

/* --- packages into the store ------------------------------------------------------------------ */

static PackageDownload *deb_download(const Compose *compose, const Package *package)
{
    PackageDownload *download = g_new0(PackageDownload, 1);
    download->url = g_strdup(package->url);
    download->name = g_path_get_basename(package->url);
    download->path = g_strdup_printf("%s/%s.deb", compose->options->cache_dir,
                                     digest_hex(&package->sha256).text);
    download->size = package->size;
    download->has_sha256 = true;
    download->sha256 = package->sha256;
    return download;
}

typedef struct {
    const Package *package;
    PackageDownload *download;
    Tree *tree;
    Digest image;
    bool done;
} Import;

static void import_free(void *data)
{
    Import *import = data;
    package_download_free(import->download);
    tree_free(import->tree);
    g_free(import);
}

static bool import_one(StoreTxn *txn, Import *import, GError **error)
{
    import->tree = package_import(txn, import->package, import->download->path, error);
    g_autoptr(GBytes) image = import->tree ? tree_write_image(import->tree, error) : NULL;
    if (!image)
        return false;
    size_t size;
    const void *data = g_bytes_get_data(image, &size);
    return store_txn_put(txn, data, size, &import->image, error);
}

/* All objects are flushed at once, so that 140 packages cost one wait for the disk; then each gets
 * its name. */
static bool name_imports(StoreTxn *txn, GPtrArray *imports, GError **error)
{
    Store *store = store_txn_store(txn);
    if (!store_txn_flush(txn, error))
        return false;
    for (unsigned i = 0; i < imports->len; i++) {
        Import *import = imports->pdata[i];
        g_autofree char *ref = package_ref(import->package);
        if (!store_link_image(store, &import->image, error) ||
            !store_set_ref(store, STORE_IMAGES, ref, digest_hex(&import->image).text, error))
            return false;
    }
    return true;
}

/* Inflating is what takes the time, so packages are imported side by side. The threads are gone
 * before anything is cloned. */
typedef struct {
    StoreTxn *txn;
    GPtrArray *imports;
    int next;   /* atomic: index of the next one to do */
    int failed; /* atomic */
    GError *error;
} ImportQueue;

static void *import_worker(void *data)
{
    ImportQueue *queue = data;
    GError *error = NULL;
    for (;;) {
        unsigned i = (unsigned)g_atomic_int_add(&queue->next, 1);
        if (i >= queue->imports->len || g_atomic_int_get(&queue->failed))
            return NULL;
        if (!cancel_check(&error) || !import_one(queue->txn, queue->imports->pdata[i], &error))
            break;
    }
    /* the first failure is the one that is told */
    if (g_atomic_int_compare_and_exchange(&queue->failed, 0, 1))
        queue->error = error;
    else
        g_error_free(error);
    return NULL;
}

static bool import_all(Compose *compose, GPtrArray *imports, GError **error)
{
    ImportQueue queue = {.txn = compose->txn, .imports = imports};
    unsigned count = sys_threads(imports->len);
    g_autofree GThread **threads = g_new0(GThread *, count + 1);
    for (unsigned i = 0; i < count; i++)
        threads[i] = g_thread_new("import", import_worker, &queue);
    for (unsigned i = 0; i < count; i++)
        g_thread_join(threads[i]);
    if (queue.error) {
        g_propagate_error(error, queue.error);
        return false;
    }
    return imports->len == 0 || name_imports(compose->txn, imports, error);
}

static bool add_part(Compose *compose, const Package *package, Tree *tree, GError **error)
{
    Part *part = part_new(&compose->rootfs, package, tree, error);
    if (part)
        g_ptr_array_add(compose->parts, part);
    return part != NULL;
}

static int compare_parts(const void *a, const void *b)
{
    return strcmp((*(Part *const *)a)->package->name, (*(Part *const *)b)->package->name);
}

static bool load_parts(Compose *compose, GError **error)
{
    g_autoptr(GPtrArray) imports = g_ptr_array_new_with_free_func(import_free);
    g_autoptr(GPtrArray) downloads = g_ptr_array_new();
    for (unsigned i = 0; i < compose->packages->len; i++) {
        const Package *package = compose->packages->pdata[i];
        Tree *tree = package_load(compose->options->store, package);
        if (tree) {
            if (!add_part(compose, package, tree, error))
                return false;
            continue;
        }
        Import *import = g_new0(Import, 1);
        import->package = package;
        import->download = deb_download(compose, package);
        g_ptr_array_add(imports, import);
        g_ptr_array_add(downloads, import->download);
    }
    fprintf(stderr, "Packages: %u, unpacked before: %u\n", compose->packages->len,
            compose->parts->len);
    if (!package_fetch(downloads, "packages", compose->options->fetch, compose->options->fetch_data,
                       error))
        return false;
    if (imports->len > 0)
        fprintf(stderr, "Unpacking %u packages into the store\n", imports->len);
    if (!import_all(compose, imports, error))
        return false;
    for (unsigned i = 0; i < imports->len; i++) {
        Import *import = imports->pdata[i];
        if (!add_part(compose, import->package, g_steal_pointer(&import->tree), error))
            return false;
    }
    g_ptr_array_sort(compose->parts, compare_parts);
    return true;
}

/* --- the tree --------------------------------------------------------------------------------- */

static bool newest(TreeNode *node, void *data, GError **error)
{
    int64_t *time = data;
    *time = MAX(*time, node->inode->mtime);
    return true;
}

/* The time of the newest file in the packages: says when the tree's content was made, and depends
 * on nothing else. */
static uint64_t find_epoch(const Compose *compose)
{
    const char *given = getenv("SOURCE_DATE_EPOCH");
    if (given && *given)
        return g_ascii_strtoull(given, NULL, 10);
    int64_t time = 0;
    for (unsigned i = 0; i < compose->parts->len; i++)
        tree_walk(((Part *)compose->parts->pdata[i])->tree, newest, &time, NULL);
    return (uint64_t)time;
}

static bool make_tree(Compose *compose, uint64_t epoch, GError **error)
{
    Rootfs *rootfs = &compose->rootfs;
    const ConfigureOptions options = {.name = compose->treefile->ref,
                                      .epoch = epoch,
                                      .work = compose->options->cache_dir,
                                      .verbose = compose->options->verbose};
    if (!merge_parts(rootfs, compose->parts, compose->treefile->documentation, error) ||
        !dpkg_db_write(rootfs, compose->parts, error))
        return false;
    fprintf(stderr, "Configuring %u packages in the sandbox\n", compose->parts->len);
    return configure(rootfs, compose->parts, compose->treefile->postprocess, &options, error) &&
           finish(rootfs, compose->treefile->remove_files, &compose->kernel, error);
}

static GVariant *commit_metadata(const Compose *compose)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)ostree_package_free);
    for (unsigned i = 0; i < compose->packages->len; i++) {
        const Package *package = compose->packages->pdata[i];
        g_ptr_array_add(list, ostree_package_new(package->name, package->version, package->arch));
    }
    GVariantBuilder builder;
    g_variant_builder_init(&builder, G_VARIANT_TYPE("a{sv}"));
    g_variant_builder_add(&builder, "{sv}", "atomic.inputhash",
                          g_variant_new_string(compose->input_hash));
    g_variant_builder_add(&builder, "{sv}", "atomic.pkglist", ostree_packages_variant(list));
    if (compose->kernel) {
        g_variant_builder_add(&builder, "{sv}", "ostree.bootable", g_variant_new_boolean(true));
        g_variant_builder_add(&builder, "{sv}", "ostree.linux",
                              g_variant_new_string(compose->kernel));
    }
    return g_variant_builder_end(&builder);
}

static bool commit(Compose *compose, uint64_t epoch, ComposeResult *result, GError **error)
{
    g_autofree char *version = next_version(compose);
    g_autofree char *subject = version ? g_strdup_printf("%s %s", compose->treefile->ref, version)
                                       : g_strdup(compose->treefile->ref);
    fprintf(stderr, "Committing %s\n", subject);
    /* no parent: the commit would not be the same again when it is composed elsewhere */
    const OstreeCommitOptions options = {
        .ref = compose->treefile->ref,
        .subject = subject,
        .version = version,
        .timestamp = epoch,
        .similar = compose->before,
        .metadata = commit_metadata(compose),
    };
    if (!ostree_commit(compose->txn, compose->rootfs.tree, &options, &result->checksum, error))
        return false;
    result->version = g_steal_pointer(&version);
    return store_txn_done(compose->txn, error);
}

static bool compose_commit(Compose *compose, ComposeResult *result, GError **error)
{
    if (geteuid() != 0)
        return error_throw(
            error, ERROR_PERMISSION,
            "composing needs root: packages' files have owners and their scripts run "
            "in a sandbox\nhint: --dry-run works without");
    compose->txn = store_txn_begin(compose->options->store, NULL, error);
    if (!compose->txn)
        return false;
    compose->parts = g_ptr_array_new_with_free_func((GDestroyNotify)part_free);
    compose->rootfs.txn = compose->txn;
    compose->rootfs.tree = tree_new();
    if (!load_parts(compose, error))
        return false;
    uint64_t epoch = find_epoch(compose);
    return make_tree(compose, epoch, error) && cancel_check(error) &&
           commit(compose, epoch, result, error);
}

static bool publish(const Treefile *treefile, const ComposeOptions *options, GError **error)
{
    const char *const refs[] = {treefile->ref, NULL};
    OstreePublishResult published = {0};
    if (!options->repo)
        return true;
    if (!ostree_publish(options->store, options->repo, refs, &published, error))
        return false;
    fprintf(stderr, "Published %s to '%s': %" G_GUINT64_FORMAT " objects, %.1f MB\n", treefile->ref,
            options->repo, published.objects, (double)published.bytes / 1e6);
    return true;
}

bool compose_tree(const Treefile *treefile, const ComposeOptions *options,
                  ComposeResult *out_result, GError **error)
{
    g_auto(ComposeResult) result = {0};
    g_auto(Compose) compose = {.treefile = treefile, .options = options};
    if (!ostree_check_ref(treefile->ref, error) ||
        !file_ensure_dir_at(AT_FDCWD, options->cache_dir, 0755, error) ||
        !solve(treefile, options, &result, error))
        return false;
    compose.packages = result.packages;
    if (!options->dry_run) {
        hash_inputs(&compose);
        if (!load_before(&compose, error))
            return false;
        result.unchanged = !options->force && is_unchanged(&compose);
        if (result.unchanged) {
            result.checksum = g_strdup(compose.before);
            result.version = g_strdup(compose.before_version);
        } else if (!compose_commit(&compose, &result, error)) {
            return false;
        }
        if (!publish(treefile, options, error))
            return false;
    }
    *out_result = result;
    memset(&result, 0, sizeof result);
    return true;
}
