/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store setup` and `check`: what the filesystem gives the store, and what would make it better. */
#include "cli/store_setup.h"

#include "base/cancel.h"
#include "cli/document.h"
#include "cli/human.h"
#include "cli/store_verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

bool cli_set_reserve(Store *store, const char *text, GError **error)
{
    uint64_t size;
    if (strcmp(text, "none") == 0)
        return store_reserve_set(store, 0, error);
    if (strcmp(text, "default") == 0)
        return store_reserve_default(store, &size, error) && store_reserve_set(store, size, error);
    static const char units[] = "KMGT";
    char *end;
    double number = g_ascii_strtod(text, &end);
    const char *unit = *end ? strchr(units, g_ascii_toupper(*end)) : NULL;
    struct statfs fs;
    if (fstatfs(store_dirfd(store), &fs) < 0)
        return error_throw_errno(error, "cannot look at the filesystem of '%s'", store_path(store));
    double factor = *end == '%' ? (double)fs.f_blocks * (double)fs.f_bsize / 100 : 1;
    for (long i = 0; unit && i <= unit - units; i++)
        factor *= 1024;
    bool whole = end != text && (!*end || ((unit || *end == '%') && !end[1]));
    /* the comparison is false for NaN */
    if (!whole || !(number > 0 && number * factor < 9e18))
        return error_throw(error, ERROR_USAGE,
                           "'%s' is no size of a reserve\nhint: for example 2G, 3%%, default, none",
                           text);
    return store_reserve_set(store, (uint64_t)(number * factor), error);
}

bool cli_init_reserve(Store *store, const char *text, bool host, GError **error)
{
    StoreReserveState state;
    g_autoptr(GError) failed = NULL;
    if (text)
        return cli_set_reserve(store, text, error);
    if (!store_reserve_read(store, &state, error))
        return false;
    if (!host || state.size > 0 || cli_set_reserve(store, "default", &failed) ||
        error_is(failed, ERROR_UNSUPPORTED) || error_is(failed, ERROR_NO_SPACE))
        return true;
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

char *cli_describe_reserve(const StoreReserveState *reserve)
{
    g_autofree char *size = human_bytes(reserve->size);
    g_autofree char *held = human_bytes(reserve->held);
    if (reserve->size == 0)
        return g_strdup("none");
    return reserve->held == reserve->size ? g_steal_pointer(&size)
                                          : g_strdup_printf("%s, of which %s are held", size, held);
}

const char *cli_describe_verity(Store *store)
{
    return store_is_secure(store)    ? "required"
           : store_has_verity(store) ? "on for every new object, not required"
                                     : "none here: 'atomic store fsck' checks digests";
}

/* --- setup ---------------------------------------------------------------------------------------------- */

int cli_store_setup(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_autofree char *reserve = NULL;
    const GOptionEntry entries[] = {
        {"reserve", 0, 0, G_OPTION_ARG_STRING, &reserve,
         "Keep this much for the host's next upgrade: 2G, 3%, default, none", "SIZE"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    cancel_install();
    g_autoptr(Store) store = cli_store_open(&common, error);
    StoreReserveState state;
    uint64_t sealed;
    if (!store || (reserve && !cli_set_reserve(store, reserve, error)) ||
        !store_reserve_fill(store, error) || !store_seal_all(store, &sealed, error) ||
        !store_reserve_read(store, &state, error))
        return 1;
    g_autofree char *text = cli_describe_reserve(&state);
    if (!common.quiet)
        fprintf(stderr, "Reserve: %s\nfs-verity: %s\n", text, cli_describe_verity(store));
    if (!common.quiet && sealed > 0)
        fprintf(stderr, "Switched on for %" G_GUINT64_FORMAT " objects\n", sealed);
    return 0;
}

/* --- check ---------------------------------------------------------------------------------------------- */

typedef struct {
    struct statfs fs;
    uint64_t total, available;
    bool reflink;
    StoreReserveState reserve;
} Storage;

static const char *filesystem_name(const struct statfs *fs)
{
    switch ((unsigned long)fs->f_type) {
    case EXT4_SUPER_MAGIC:
        return "ext4";
    case XFS_SUPER_MAGIC:
        return "xfs";
    case BTRFS_SUPER_MAGIC:
        return "btrfs";
    case F2FS_SUPER_MAGIC:
        return "f2fs";
    case TMPFS_MAGIC:
        return "tmpfs";
    case OVERLAYFS_SUPER_MAGIC:
        return "overlay";
    case NFS_SUPER_MAGIC:
        return "nfs";
    default:
        return "unknown";
    }
}

/* Asked of the filesystem itself, with a file that has no name. */
static bool can_reflink(Store *store)
{
    _autofd int from = openat(store_dirfd(store), "meta.json", O_RDONLY | O_CLOEXEC);
    _autofd int to = openat(store_dirfd(store), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return from >= 0 && to >= 0 && ioctl(to, FICLONE, from) == 0;
}

static bool storage_read(Store *store, Storage *out, GError **error)
{
    if (fstatfs(store_dirfd(store), &out->fs) < 0)
        return error_throw_errno(error, "cannot look at the filesystem of '%s'", store_path(store));
    out->total = (uint64_t)out->fs.f_blocks * (uint64_t)out->fs.f_bsize;
    out->available = (uint64_t)out->fs.f_bavail * (uint64_t)out->fs.f_bsize;
    out->reflink = can_reflink(store);
    return store_reserve_read(store, &out->reserve, error);
}

/* Lines that each say what to do and what for; a host's store only is advised to keep a reserve. */
static GPtrArray *advise(Store *store, const Storage *storage)
{
    enum { LITTLE = 20 }; /* less than a twentieth is free */
    GPtrArray *advice = g_ptr_array_new();
    bool ext4 = storage->fs.f_type == EXT4_SUPER_MAGIC;
    if (storage->fs.f_type == TMPFS_MAGIC)
        g_ptr_array_add(advice,
                        "the store is in memory and gone after a reboot: move it to a disk");
    if (!store_has_verity(store) && ext4)
        g_ptr_array_add(advice, "'tune2fs -O verity DEVICE', then 'atomic store setup': the kernel "
                                "checks what is read from objects and refuses writes to them");
    else if (!store_has_verity(store))
        g_ptr_array_add(advice, "an ext4 (mkfs.ext4 -O verity) or btrfs filesystem: the kernel "
                                "checks what is read from objects and refuses writes to them");
    if (!storage->reflink)
        g_ptr_array_add(advice, "an xfs or btrfs filesystem: 'atomic store export --dir' shares "
                                "the bytes of files on the same filesystem instead of copying");
    if (storage->reserve.size == 0)
        g_ptr_array_add(advice,
                        "if this store is a host's, 'atomic store setup --reserve default': "
                        "full disks don't stop upgrades");
    else if (storage->reserve.held < storage->reserve.size)
        g_ptr_array_add(advice, "free some space, then 'atomic store setup': the reserve for "
                                "upgrades is not held whole");
    if (storage->available < storage->total / LITTLE)
        g_ptr_array_add(advice, "'atomic store gc', or a larger disk: little space is free");
    return advice;
}

static bool print_json(Store *store, const Storage *storage, const GPtrArray *advice,
                       GError **error)
{
    json_t *lines = json_array();
    for (guint i = 0; i < advice->len; i++)
        json_array_append_new(lines, json_string(advice->pdata[i]));
    json_t *document =
        json_pack("{s:s, s:s, s:I, s:I, s:b, s:b, s:b, s:I, s:I, s:o}", "store", store_path(store),
                  "filesystem", filesystem_name(&storage->fs), "total_bytes",
                  (json_int_t)storage->total, "available_bytes", (json_int_t)storage->available,
                  "verity", store_has_verity(store), "verity_required", store_is_secure(store),
                  "reflink", storage->reflink, "reserve_bytes", (json_int_t)storage->reserve.size,
                  "reserve_held_bytes", (json_int_t)storage->reserve.held, "advice", lines);
    return cli_print_document("atomic.store.check/1", document, error);
}

int cli_store_check(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    Storage storage;
    if (!store || !storage_read(store, &storage, error))
        return 1;
    g_autoptr(GPtrArray) advice = advise(store, &storage);
    if (common.json)
        return print_json(store, &storage, advice, error) ? 0 : 1;
    g_autofree char *total = human_bytes(storage.total);
    g_autofree char *available = human_bytes(storage.available);
    g_autofree char *reserve = cli_describe_reserve(&storage.reserve);
    printf("Store: %s\nFilesystem: %s, %s of %s free\nfs-verity: %s\nReflink: %s\nReserve: %s\n",
           store_path(store), filesystem_name(&storage.fs), available, total,
           cli_describe_verity(store), storage.reflink ? "yes" : "no", reserve);
    for (guint i = 0; i < advice->len; i++)
        printf("%s- %s\n", i == 0 ? "Would be better with:\n" : "", (const char *)advice->pdata[i]);
    return 0;
}
