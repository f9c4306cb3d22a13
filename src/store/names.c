/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links and refs: the names under images/ and streams/. All are relative symbolic links, replaced by rename, and on
 * disk when the function returns: syncing the directory commits the link with it. */
#include "store/layout.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

const char *store_kind_dir(StoreKind kind)
{
    return kind == STORE_IMAGES ? "images" : "streams";
}

/* --- links ---------------------------------------------------------------------------------------------- */

/* Not to be there is one thing, not to be seen another. */
static bool check_there(Store *store, const Digest *object, GError **error)
{
    if (store_has(store, object))
        return true;
    if (errno != ENOENT)
        return error_throw_errno(error, "cannot look at object '%.12s'", digest_hex(object).text);
    return error_throw(error, ERROR_NOT_FOUND, "object '%.12s' is not in the store",
                       digest_hex(object).text);
}

static bool link_object(Store *store, StoreKind kind, const char *name, const Digest *object,
                        GError **error)
{
    if (!*name || strchr(name, '/') || *name == '.' || strcmp(name, "refs") == 0 ||
        strlen(name) > 255)
        return error_throw(error, ERROR_INVALID, "'%s' can't be a name in %s/", name,
                           store_kind_dir(kind));
    _autofd int lock = store_lock(store, false, "linking", error);
    if (lock < 0)
        return false;
    if (!check_there(store, object, error))
        return error_prefix(error, "cannot link '%s'", name);
    const char *dir = store_kind_dir(kind);
    g_autofree char *path = g_strdup_printf("%s/%s", dir, name);
    g_autofree char *target = g_strconcat("../objects/", store_object_path(object).text, NULL);
    return file_symlink_replace_at(store->dirfd, path, target, error) &&
           file_sync_dir_at(store->dirfd, dir, error);
}

bool store_link_image(Store *store, const Digest *object, GError **error)
{
    return link_object(store, STORE_IMAGES, digest_hex(object).text, object, error);
}

bool store_link_stream(Store *store, const char *id, const Digest *object, GError **error)
{
    return link_object(store, STORE_STREAMS, id, object, error);
}

static bool find_link(Store *store, StoreKind kind, const char *name, Digest *out_object,
                      GError **error)
{
    char target[256];
    g_autofree char *path = g_strdup_printf("%s/%s", store_kind_dir(kind), name);
    ssize_t n = strchr(name, '/') || !*name
                    ? (errno = ENOENT, -1)
                    : readlinkat(store->dirfd, path, target, sizeof target - 1);
    if (n < 0 && (errno == ENOENT || errno == EINVAL))
        return error_throw(error, ERROR_NOT_FOUND, "there is no %s '%s' in the store",
                           kind == STORE_IMAGES ? "image" : "stream", name);
    if (n < 0)
        return error_throw_errno(error, "cannot read link '%s'", path);
    target[n] = '\0';
    if (!store_parse_object_path(target, out_object))
        return error_throw(error, ERROR_CORRUPT, "the link '%s' does not lead to an object", path);
    return true;
}

bool store_find_stream(Store *store, const char *id, Digest *out_object, GError **error)
{
    return find_link(store, STORE_STREAMS, id, out_object, error);
}

bool store_resolve_image(Store *store, const char *name_or_digest, Digest *out_image,
                         GError **error)
{
    Digest linked;
    if (digest_parse(name_or_digest, out_image))
        return find_link(store, STORE_IMAGES, name_or_digest, &linked, error);
    g_autoptr(GError) failed = NULL;
    g_autofree char *target = store_get_ref(store, STORE_IMAGES, name_or_digest, &failed);
    if (!target) {
        if (error_is(failed, ERROR_NOT_FOUND))
            return error_throw(
                error, ERROR_NOT_FOUND,
                "there is no image '%s' in the store\nhint: 'atomic store ls' lists the images",
                name_or_digest);
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    if (!digest_parse(target, out_image))
        return error_throw(error, ERROR_CORRUPT, "the ref '%s' does not name an image",
                           name_or_digest);
    return find_link(store, STORE_IMAGES, target, &linked, error);
}

/* --- refs ----------------------------------------------------------------------------------------------- */

char *store_ref_path(StoreKind kind, const char *name, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    g_autoptr(GString) path = g_string_new(store_kind_dir(kind));
    g_string_append(path, "/refs");
    for (char **part = parts; *part; part++) {
        if (!**part || strlen(*part) > 200)
            return error_throw_null(error, ERROR_INVALID, "'%s' can't be the name of a ref", name);
        g_string_append_c(path, '/');
        for (const char *c = *part; *c; c++) {
            if (*c == '%' || (*c == '.' && c == *part) || (unsigned char)*c < 0x20)
                g_string_append_printf(path, "%%%02X", (unsigned char)*c);
            else
                g_string_append_c(path, *c);
        }
    }
    if (!*parts)
        return error_throw_null(error, ERROR_INVALID, "a ref needs a name");
    return g_string_free(g_steal_pointer(&path), false);
}

static char *decode(const char *part)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (; *part; part++) {
        if (*part == '%' && g_ascii_isxdigit(part[1]) && g_ascii_isxdigit(part[2])) {
            g_string_append_c(
                text, (char)(g_ascii_xdigit_value(part[1]) << 4 | g_ascii_xdigit_value(part[2])));
            part += 2;
        } else {
            g_string_append_c(text, *part);
        }
    }
    return g_string_free(g_steal_pointer(&text), false);
}

/* Syncs the ref's directory and those above it: some may be new, made by this process or by one that was killed before
 * it could sync. So may the link that the ref leads to, in the uppermost. Of what is on disk already a sync costs
 * little. */
static bool sync_parents(Store *store, const char *path, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(path);
    for (;;) {
        if (!file_sync_dir_at(store->dirfd, dir, error))
            return false;
        if (!strchr(dir, '/'))
            return true;
        char *up = g_path_get_dirname(dir);
        g_free(dir);
        dir = up;
    }
}

static bool place_ref(Store *store, const char *path, const char *target, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(path);
    return file_ensure_dir_at(store->dirfd, dir, 0755, error) &&
           file_symlink_replace_at(store->dirfd, path, target, error) &&
           sync_parents(store, path, error);
}

bool store_set_ref(Store *store, StoreKind kind, const char *name, const char *target,
                   GError **error)
{
    g_autofree char *path = store_ref_path(kind, name, error);
    Digest object;
    if (!path)
        return false;
    /* a sweep sees the ref, or this sees that the target was swept */
    _autofd int lock = store_lock(store, false, "setting a ref", error);
    if (lock < 0 || !find_link(store, kind, target, &object, error))
        return false;
    if (!check_there(store, &object, error))
        return error_prefix(error, "cannot set the ref '%s' to '%s'", name, target);
    g_autoptr(GString) link = g_string_new(NULL);
    for (const char *c = path + strlen(store_kind_dir(kind)) + strlen("/refs"); *c; c++)
        if (*c == '/')
            g_string_append(link, "../");
    g_string_append(link, target);
    for (int attempt = 0;; attempt++) {
        g_autoptr(GError) failed = NULL;
        if (place_ref(store, path, link->str, &failed))
            return true;
        /* somebody may have removed the directory, empty for a moment, that was just made */
        if (attempt < 3 && error_is(failed, ERROR_NOT_FOUND))
            continue;
        g_propagate_error(error, g_steal_pointer(&failed));
        return error_prefix(error, "cannot set the ref '%s'", name);
    }
}

char *store_get_ref(Store *store, StoreKind kind, const char *name, GError **error)
{
    g_autofree char *path = store_ref_path(kind, name, error);
    if (!path)
        return NULL;
    char target[4096];
    ssize_t n = readlinkat(store->dirfd, path, target, sizeof target - 1);
    if (n < 0 && (errno == ENOENT || errno == EINVAL || errno == ENOTDIR))
        return error_throw_null(error, ERROR_NOT_FOUND, "there is no ref '%s' in the store's %s",
                                name, store_kind_dir(kind));
    if (n < 0)
        return error_throw_errno_null(error, "cannot read the ref '%s'", name);
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    return g_strdup(slash ? slash + 1 : target);
}

bool store_remove_ref(Store *store, StoreKind kind, const char *name, GError **error)
{
    g_autofree char *path = store_ref_path(kind, name, error);
    if (!path)
        return false;
    struct stat st;
    if (fstatat(store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
        return error_throw(error, ERROR_NOT_FOUND, "there is no ref '%s' in the store's %s", name,
                           store_kind_dir(kind));
    if (unlinkat(store->dirfd, path, 0) < 0 && errno != ENOENT)
        return error_throw_errno(error, "cannot remove the ref '%s'", name);
    /* directories that are empty now go too; the last that stays is synced */
    size_t root = strlen(store_kind_dir(kind)) + strlen("/refs");
    for (;;) {
        *strrchr(path, '/') = '\0';
        if (strlen(path) > root && unlinkat(store->dirfd, path, AT_REMOVEDIR) == 0)
            continue;
        g_autoptr(GError) failed = NULL;
        if (file_sync_dir_at(store->dirfd, path, &failed))
            return true;
        if (strlen(path) > root && error_is(failed, ERROR_NOT_FOUND))
            continue; /* somebody else removed it, whose sync is not ours */
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
}

static bool list_dir(Store *store, const char *path, const char *prefix, GHashTable *refs,
                     GError **error)
{
    _autofd int fd = openat(store->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return true; /* none, or removed meanwhile */
    _autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return error_throw_errno(error, "cannot list '%s'", path);
    fd_steal(&fd);
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir))) {
        if (entry->d_name[0] == '.') /* also a link's temporary name */
            continue;
        g_autofree char *part = decode(entry->d_name);
        g_autofree char *name = g_strconcat(prefix, *prefix ? "/" : "", part, NULL);
        g_autofree char *below = g_strconcat(path, "/", entry->d_name, NULL);
        char target[4096];
        ssize_t n = readlinkat(store->dirfd, below, target, sizeof target - 1);
        if (n < 0 && errno == EINVAL) {
            if (!list_dir(store, below, name, refs, error))
                return false;
        } else if (n >= 0) {
            target[n] = '\0';
            const char *slash = strrchr(target, '/');
            g_hash_table_insert(refs, g_steal_pointer(&name), g_strdup(slash ? slash + 1 : target));
        } else if (errno != ENOENT) { /* a name that can't be read must not look like none */
            return error_throw_errno(error, "cannot read the ref '%s'", below);
        }
    }
    return errno == 0 || error_throw_errno(error, "cannot list '%s'", path);
}

GHashTable *store_list_refs(Store *store, StoreKind kind, const char *prefix, GError **error)
{
    g_autoptr(GHashTable) refs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autofree char *path = prefix && *prefix ? store_ref_path(kind, prefix, error)
                                              : g_strconcat(store_kind_dir(kind), "/refs", NULL);
    if (!path || !list_dir(store, path, "", refs, error))
        return NULL;
    return g_steal_pointer(&refs);
}
