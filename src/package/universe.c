/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packages files: fetched, verified, inflated, given to libsolv, and read once more for what it
 * doesn't keep. */
#include "package/universe.h"

#include "base/file.h"
#include "base/spawn.h"
#include "package/release.h"

#include <archive.h>
#include <errno.h>
#include <solv/repo.h>
#include <solv/repo_deb.h>
#include <solv/util.h>
#include <string.h>
#include <sys/utsname.h>

#define INDEX_LIMIT ((size_t)1 << 30) /* inflated */
#define RELEASE_MAX (32u << 20)

static void package_free(void *data)
{
    Package *package = data;
    g_free(package->name);
    g_free(package->version);
    g_free(package->arch);
    g_free(package->url);
    g_free(package);
}

void package_universe_free(PackageUniverse *universe)
{
    if (!universe)
        return;
    g_hash_table_unref(universe->by_solvable);
    if (universe->pool->considered)
        map_free(universe->pool->considered);
    solv_free(universe->pool->considered);
    pool_free(universe->pool);
    g_free(universe->arch);
    g_free(universe);
}

/* --- reading a Packages file ------------------------------------------------------------------ */

static char *inflate(const char *path, size_t *out_size, GError **error)
{
    struct archive *archive = archive_read_new();
    archive_read_support_filter_all(archive);
    archive_read_support_format_raw(archive);
    /* an empty index is a good one */
    archive_read_support_format_empty(archive);
    g_autoptr(GString) text = g_string_new(NULL);
    struct archive_entry *entry;
    int opened = archive_read_open_filename(archive, path, 1 << 16);
    int status = opened == ARCHIVE_OK ? archive_read_next_header(archive, &entry) : opened;
    while (status == ARCHIVE_OK) {
        size_t old = text->len;
        g_string_set_size(text, old + (1 << 20));
        ssize_t n = archive_read_data(archive, text->str + old, 1 << 20);
        g_string_set_size(text, old + (n > 0 ? (size_t)n : 0));
        if (n <= 0 || text->len > INDEX_LIMIT) {
            status = n == 0 ? ARCHIVE_EOF : ARCHIVE_FATAL;
            break;
        }
    }
    if (status != ARCHIVE_EOF)
        error_throw(error, ERROR_CORRUPT, "cannot inflate '%s': %s", path,
                    archive_error_string(archive) ? archive_error_string(archive) : "too large");
    archive_read_free(archive);
    if (status != ARCHIVE_EOF)
        return NULL;
    *out_size = text->len;
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static Package *read_package(const char *start, size_t size, const char *base, GError **error)
{
    Package *package = g_new0(Package, 1);
    g_autofree char *file = control_field(start, size, "Filename");
    g_autofree char *bytes = control_field(start, size, "Size");
    g_autofree char *sum = control_field(start, size, "SHA256");
    g_autofree char *essential = control_field(start, size, "Essential");
    g_autofree char *priority = control_field(start, size, "Priority");
    package->name = control_field(start, size, "Package");
    package->version = control_field(start, size, "Version");
    package->arch = control_field(start, size, "Architecture");
    if (!package->name || !package->version || !package->arch || !file || !bytes || !sum ||
        !digest_parse(sum, &package->sha256)) {
        error_throw(error, ERROR_INVALID, "malformed package index: package '%s' lacks a field",
                    package->name ? package->name : "?");
        package_free(package);
        return NULL;
    }
    package->url = g_strconcat(base, file, NULL);
    package->size = g_ascii_strtoull(bytes, NULL, 10);
    package->essential = (essential && strcmp(essential, "yes") == 0) ||
                         (priority && strcmp(priority, "required") == 0);
    return package;
}

static char *package_key(const char *name, const char *version, const char *arch)
{
    return g_strdup_printf("%s %s %s", name, version, arch);
}

/* libsolv keeps neither Essential nor Priority, and may drop paragraphs; so names find each
 * other. */
static bool match_solvables(PackageUniverse *universe, Repo *repo, const char *text,
                            const char *base, GError **error)
{
    g_autoptr(GHashTable) offsets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const char *cursor = text, *start;
    size_t size;
    while (control_next(&cursor, &start, &size)) {
        Package *package = read_package(start, size, base, error);
        if (!package)
            return false;
        char *key = package_key(package->name, package->version, package->arch);
        Package *known = g_hash_table_lookup(offsets, key);
        if (known)
            package_free(known);
        g_hash_table_replace(offsets, key, package);
    }
    Pool *pool = universe->pool;
    Id id;
    Solvable *solvable;
    FOR_REPO_SOLVABLES(repo, id, solvable)
    {
        g_autofree char *key =
            package_key(pool_id2str(pool, solvable->name), pool_id2str(pool, solvable->evr),
                        pool_id2str(pool, solvable->arch));
        char *stolen_key = NULL;
        Package *package = NULL;
        if (g_hash_table_steal_extended(offsets, key, (void **)&stolen_key, (void **)&package))
            g_hash_table_insert(universe->by_solvable, GINT_TO_POINTER(id), package);
        g_free(stolen_key);
    }
    GHashTableIter iter;
    void *left;
    g_hash_table_iter_init(&iter, offsets);
    while (g_hash_table_iter_next(&iter, NULL, &left))
        package_free(left);
    return true;
}

static bool add_index(PackageUniverse *universe, const PackageSource *source, const char *path,
                      GError **error)
{
    size_t size;
    g_autofree char *text = inflate(path, &size, error);
    if (!text)
        return false;
    Repo *repo = repo_create(universe->pool, source->suite);
    FILE *file = size ? fmemopen(text, size, "r") : NULL;
    int failed = file ? repo_add_debpackages(repo, file, 0) : 0;
    if (file)
        fclose(file);
    if (failed)
        return error_throw(error, ERROR_INVALID, "malformed package index '%s': %s", path,
                           pool_errstr(universe->pool));
    return match_solvables(universe, repo, text, source->uri, error);
}

/* --- fetching --------------------------------------------------------------------------------- */

typedef struct {
    const PackageUniverseOptions *options;
    const char *apt_dir, *keyrings;
    char *dir; /* of the indices */
    GPtrArray *sources;
    GPtrArray *releases; /* in the order of the sources */
} Loader;

static void loader_clear(Loader *loader)
{
    g_free(loader->dir);
    g_clear_pointer(&loader->sources, g_ptr_array_unref);
    g_clear_pointer(&loader->releases, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Loader, loader_clear)

/* A flat file name for a URL, as apt does it. */
static char *flat_path(const char *dir, const char *url)
{
    const char *slashes = strstr(url, "://");
    g_autofree char *name = g_strdelimit(g_strdup(slashes ? slashes + 3 : url), "/", '_');
    return g_build_filename(dir, name, NULL);
}

static PackageDownload *download_new(const char *dir, const char *url, uint64_t size,
                                     const Digest *sha256, const char *name)
{
    PackageDownload *download = g_new0(PackageDownload, 1);
    download->url = g_strdup(url);
    download->name = g_strdup(name);
    download->path = flat_path(dir, url);
    download->size = size;
    download->has_sha256 = sha256 != NULL;
    if (sha256)
        download->sha256 = *sha256;
    return download;
}

static bool load_releases(Loader *loader, GError **error)
{
    g_autoptr(GPtrArray) downloads =
        g_ptr_array_new_with_free_func((GDestroyNotify)package_download_free);
    for (unsigned i = 0; i < loader->sources->len; i++) {
        PackageSource *source = loader->sources->pdata[i];
        g_autofree char *url = g_strdup_printf("%sdists/%s/InRelease", source->uri, source->suite);
        g_ptr_array_add(downloads, download_new(loader->dir, url, RELEASE_MAX, NULL, url));
    }
    if (!package_fetch(downloads, "signed indices", loader->options->fetch,
                       loader->options->fetch_data, error))
        return false;
    for (unsigned i = 0; i < loader->sources->len; i++) {
        PackageDownload *download = downloads->pdata[i];
        Release *release = release_open(loader->sources->pdata[i], download->path, loader->apt_dir,
                                        loader->keyrings, error);
        if (!release)
            return false;
        g_ptr_array_add(loader->releases, release);
    }
    return true;
}

/* The best form of one component's index; false with ERROR_NOT_FOUND. */
static PackageDownload *choose_index(Loader *loader, unsigned i, const char *component,
                                     const char *arch, GError **error)
{
    static const char *const forms[] = {".xz", ".gz", ""};
    Release *release = loader->releases->pdata[i];
    for (size_t f = 0; f < ARRAY_SIZE(forms); f++) {
        g_autofree char *name =
            g_strdup_printf("%s/binary-%s/Packages%s", component, arch, forms[f]);
        uint64_t size;
        Digest sha256;
        if (!release_find(release, name, &size, &sha256))
            continue;
        /* a mirror in the middle of an update still has the file under its hash */
        g_autofree char *url =
            release->by_hash ? g_strdup_printf("%s%s/binary-%s/by-hash/SHA256/%s", release->base,
                                               component, arch, digest_hex(&sha256).text)
                             : g_strconcat(release->base, name, NULL);
        return download_new(loader->dir, url, size, &sha256, name);
    }
    const PackageSource *source = loader->sources->pdata[i];
    return error_throw_null(error, ERROR_NOT_FOUND,
                            "the suite '%s' (%s) has no package index for '%s' on %s",
                            source->suite, source->where, component, arch);
}

static bool load_indices(Loader *loader, PackageUniverse *universe, GError **error)
{
    g_autoptr(GPtrArray) downloads =
        g_ptr_array_new_with_free_func((GDestroyNotify)package_download_free);
    g_autoptr(GPtrArray) owners = g_ptr_array_new();
    for (unsigned i = 0; i < loader->sources->len; i++) {
        PackageSource *source = loader->sources->pdata[i];
        for (char **component = source->components; *component; component++) {
            PackageDownload *download = choose_index(loader, i, *component, universe->arch, error);
            if (!download)
                return false;
            g_ptr_array_add(downloads, download);
            g_ptr_array_add(owners, source);
        }
    }
    if (!package_fetch(downloads, "package indices", loader->options->fetch,
                       loader->options->fetch_data, error))
        return false;
    for (unsigned i = 0; i < downloads->len; i++)
        if (!add_index(universe, owners->pdata[i], ((PackageDownload *)downloads->pdata[i])->path,
                       error))
            return false;
    return true;
}

/* Debian's name of this machine's architecture. */
static char *machine_arch(void)
{
    static const char *const names[][2] = {{"x86_64", "amd64"},
                                           {"aarch64", "arm64"},
                                           {"armv7l", "armhf"},
                                           {"i686", "i386"},
                                           {"ppc64le", "ppc64el"}};
    struct utsname name;
    uname(&name);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(names[i][0], name.machine) == 0)
            return g_strdup(names[i][1]);
    return g_strdup(name.machine);
}

PackageUniverse *package_universe_load(const char *const *suites,
                                       const PackageUniverseOptions *options, GError **error)
{
    g_auto(Loader) loader = {
        .options = options,
        .apt_dir = options->apt_dir ? options->apt_dir : "/etc/apt",
        .keyrings = options->keyrings ? options->keyrings : "/usr/share/keyrings",
        .dir = g_build_filename(options->cache_dir, "indices", NULL),
        .releases = g_ptr_array_new_with_free_func((GDestroyNotify)release_free),
    };
    if (!file_ensure_dir_at(AT_FDCWD, loader.dir, 0755, error))
        return NULL;
    loader.sources = package_sources_load(loader.apt_dir, suites, error);
    if (!loader.sources || !load_releases(&loader, error))
        return NULL;
    g_autoptr(PackageUniverse) universe = g_new0(PackageUniverse, 1);
    universe->arch = options->arch ? g_strdup(options->arch) : machine_arch();
    universe->by_solvable = g_hash_table_new_full(NULL, NULL, NULL, package_free);
    universe->pool = pool_create();
    pool_setdisttype(universe->pool, DISTTYPE_DEB);
    pool_setarch(universe->pool, universe->arch);
    if (!load_indices(&loader, universe, error))
        return NULL;
    return g_steal_pointer(&universe);
}
