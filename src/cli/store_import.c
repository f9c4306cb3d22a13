/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store import` and `export`. */
#include "cli/store_verbs.h"

#include "base/cancel.h"
#include "base/file.h"

#include <string.h>
#include <unistd.h>

/* Exactly one of three places. */
typedef struct {
    char *dir, *tar, *dump;
} Place;

static void place_clear(Place *place)
{
    g_free(place->dir);
    g_free(place->tar);
    g_free(place->dump);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

static bool check_place(const Place *place, GError **error)
{
    if (!!place->dir + !!place->tar + !!place->dump != 1)
        return error_throw(error, ERROR_USAGE, "exactly one of --dir, --tar and --dump is needed");
    return true;
}

/* --- import --------------------------------------------------------------------------------------------- */

/* An fd of the caller's; "-" is standard input. */
static int open_input(const char *path, GError **error)
{
    if (strcmp(path, "-") != 0)
        return file_open_at(AT_FDCWD, path, O_RDONLY, error);
    int fd = dup(STDIN_FILENO);
    return fd < 0 ? error_throw_errno_fd(error, "cannot read standard input") : fd;
}

static bool check_object(TreeNode *node, void *data, GError **error)
{
    bool has = true;
    if (node->inode->has_object && !store_txn_find(data, &node->inode->object, &has, error))
        return false;
    if (has)
        return true;
    g_autofree char *path = tree_path(node);
    return error_throw(error, ERROR_PERMISSION,
                       "cannot import the dump: the object of '%s' is not in the store\n"
                       "hint: root may import it nevertheless",
                       path);
}

/* A dump names objects without bringing their bytes: in a store that several people use, that would give whoever
 * knows a digest the bytes of a file that he can't read. */
static Tree *import_dump(StoreTxn *txn, const char *path, GError **error)
{
    enum { DUMP_MAX = 1 << 30 };
    _autofd int fd = open_input(path, error);
    size_t size;
    g_autofree char *text = fd < 0 ? NULL : file_read_fd(fd, DUMP_MAX, &size, error);
    g_autoptr(Tree) tree = text ? tree_parse_dump(text, size, error) : NULL;
    if (text && !tree)
        error_prefix(error, "cannot import '%s'", path);
    if (!tree || (geteuid() != 0 && !tree_walk(tree, check_object, txn, error)))
        return NULL;
    return g_steal_pointer(&tree);
}

static Tree *import_place(StoreTxn *txn, const Place *place, StoreImportFlags flags, GError **error)
{
    if (place->dump)
        return import_dump(txn, place->dump, error);
    _autofd int fd =
        place->dir ? file_open_dir_at(AT_FDCWD, place->dir, error) : open_input(place->tar, error);
    if (fd < 0)
        return NULL;
    Tree *tree = place->dir ? store_import_dir(txn, fd, flags, error)
                            : store_import_tar_file(txn, fd, false, NULL, error);
    if (!tree)
        error_prefix(error, "cannot import '%s'", place->dir ? place->dir : place->tar);
    return tree;
}

static bool run_import(Store *store, const Place *place, const char *name, StoreImportFlags flags,
                       Digest *out_image, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, error);
    g_autoptr(Tree) tree = txn ? import_place(txn, place, flags, error) : NULL;
    if (!tree || !store_commit_image(txn, tree, out_image, error))
        return false;
    return (!name || store_set_ref(store, STORE_IMAGES, name, digest_hex(out_image).text, error)) &&
           store_txn_done(txn, error);
}

int cli_store_import(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(Place) place = {0};
    g_autofree char *name = NULL;
    gboolean no_xattrs = false;
    const GOptionEntry entries[] = {
        {"dir", 0, 0, G_OPTION_ARG_FILENAME, &place.dir, "Import a directory", "DIR"},
        {"tar", 0, 0, G_OPTION_ARG_FILENAME, &place.tar,
         "Import a tar, compressed or not (- for stdin)", "FILE"},
        {"dump", 0, 0, G_OPTION_ARG_FILENAME, &place.dump, "Import a composefs dump (- for stdin)",
         "FILE"},
        {"name", 0, 0, G_OPTION_ARG_STRING, &name, "Name the image, which also keeps it", "NAME"},
        {"no-xattrs", 0, 0, G_OPTION_ARG_NONE, &no_xattrs,
         "Leave out a directory's extended attributes", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error) ||
        !check_place(&place, error))
        return 1;
    cancel_install();
    g_autofree char *path = cli_store_path(&common);
    g_autoptr(Store) store = store_init(path, error) ? store_open(path, error) : NULL;
    Digest image;
    if (!store ||
        !run_import(store, &place, name, no_xattrs ? STORE_IMPORT_NO_XATTRS : 0, &image, error))
        return 1;
    printf("%s\n", digest_hex(&image).text);
    return 0;
}

/* --- export --------------------------------------------------------------------------------------------- */

/* "-" is standard output. */
static bool export_file(Store *store, Tree *tree, const Place *place, GError **error)
{
    const char *path = place->tar ? place->tar : place->dump;
    bool standard = strcmp(path, "-") == 0;
    FILE *out = standard ? stdout : fopen(path, "we");
    if (!out)
        return error_throw_errno(error, "cannot create '%s'", path);
    bool good;
    if (place->tar) {
        good = store_write_tar_fd(store, tree, fileno(out), error) ||
               error_prefix(error, "'%s'", path);
    } else {
        g_autofree char *dump = tree_format_dump(tree);
        good = fputs(dump, out) >= 0 || error_throw_errno(error, "cannot write '%s'", path);
    }
    if (standard ? fflush(out) != 0 : fclose(out) != 0)
        good = good && error_throw_errno(error, "cannot write '%s'", path);
    return good;
}

static void say_lost(const StoreExportResult *result)
{
    const struct {
        uint64_t n;
        const char *what;
    } lost[] = {
        {result->lost_owners, "the owners of files (only root can give files away)"},
        {result->lost_setids, "setuid and setgid bits, which were for those owners"},
        {result->lost_devices, "device nodes (only root can make them)"},
        {result->lost_xattrs, "extended attributes that need rights, or another filesystem"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lost); i++)
        if (lost[i].n)
            fprintf(stderr, "Not kept: %" G_GUINT64_FORMAT " times %s\n", lost[i].n, lost[i].what);
}

static bool export_directory(Store *store, Tree *tree, const char *path, const CliCommon *common,
                             bool sync, GError **error)
{
    StoreExportResult result;
    if (!file_ensure_dir_at(AT_FDCWD, path, 0755, error))
        return false;
    _autofd int fd = file_open_dir_at(AT_FDCWD, path, error);
    if (fd < 0)
        return false;
    if (!store_export_dir(store, tree, fd, &result, error))
        return error_prefix(error, "cannot export into '%s'", path);
    if (sync && syncfs(fd) < 0)
        return error_throw_errno(error, "cannot sync '%s'", path);
    say_lost(&result);
    if (common->verbose)
        fprintf(stderr,
                "%" G_GUINT64_FORMAT " files, %" G_GUINT64_FORMAT
                " of them share their blocks with the store\n",
                result.files, result.cloned);
    return true;
}

int cli_store_export(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(Place) place = {0};
    gboolean no_sync = false;
    const GOptionEntry entries[] = {
        {"dir", 0, 0, G_OPTION_ARG_FILENAME, &place.dir,
         "Export into an empty directory; files share blocks with the store where the filesystem "
         "can",
         "DIR"},
        {"no-sync", 0, 0, G_OPTION_ARG_NONE, &no_sync,
         "Don't wait until a directory's files are on the disk", NULL},
        {"tar", 0, 0, G_OPTION_ARG_FILENAME, &place.tar, "Export as a tar (- for stdout)", "FILE"},
        {"dump", 0, 0, G_OPTION_ARG_FILENAME, &place.dump,
         "Export as a composefs dump (- for stdout)", "FILE"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error) ||
        !check_place(&place, error))
        return 1;
    cancel_install();
    g_autoptr(Store) store = cli_store_open(&common, error);
    g_autoptr(Tree) tree = store ? cli_store_load(store, argv[1], NULL, error) : NULL;
    if (!tree)
        return 1;
    bool good = place.dir ? export_directory(store, tree, place.dir, &common, !no_sync, error)
                          : export_file(store, tree, &place, error);
    return good ? 0 : 1;
}
