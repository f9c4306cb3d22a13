/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ostree/verify.h"

#include "base/file.h"
#include "base/spawn.h"
#include "ostree/object.h"

#include <string.h>

static bool gpgv(const char *dir, const char *keyring, GBytes *commit, GVariant *signature,
                 GError **error)
{
    g_autofree char *data_path = g_build_filename(dir, "commit", NULL);
    g_autofree char *signature_path = g_build_filename(dir, "signature", NULL);
    size_t commit_size, size;
    const void *commit_bytes = g_bytes_get_data(commit, &commit_size);
    const void *bytes = g_variant_get_fixed_array(signature, &size, 1);
    if (!file_replace_at(AT_FDCWD, data_path, commit_bytes, commit_size, 0600, 0, error) ||
        !file_replace_at(AT_FDCWD, signature_path, bytes, size, 0600, 0, error))
        return false;
    _autofd int null = file_open_at(AT_FDCWD, "/dev/null", O_RDWR, error);
    if (null < 0)
        return false;
    const SpawnOptions options = {.stdin_fd = null, .stdout_fd = null, .stderr_fd = null};
    g_autofree char *full_keyring = g_canonicalize_filename(keyring, NULL);
    const char *argv[] = {"gpgv", "--keyring", full_keyring, signature_path, data_path, NULL};
    return spawn_run(argv, &options, error);
}

bool verify_commit(GBytes *commit, GBytes *commitmeta, const char *keyring, GError **error)
{
    if (!keyring)
        return error_throw(error, ERROR_PERMISSION, "there are no keys to verify the commit with");
    g_autoptr(GVariant) dict = NULL;
    if (commitmeta) {
        size_t size;
        const uint8_t *data = g_bytes_get_data(commitmeta, &size);
        dict = object_parse("a{sv}", data, size, error);
        if (!dict)
            return false;
    }
    g_autoptr(GVariant) signatures =
        dict ? g_variant_lookup_value(dict, "ostree.gpgsigs", G_VARIANT_TYPE("aay")) : NULL;
    size_t n = signatures ? g_variant_n_children(signatures) : 0;
    if (!n)
        return error_throw(
            error, ERROR_PERMISSION,
            "the commit is not signed\nhint: 'atomic tree remote add --no-verify' accepts that");
    g_autofree char *dir = g_dir_make_tmp("atomic-verify-XXXXXX", error);
    if (!dir)
        return false;
    bool good = false;
    g_autoptr(GError) failed = NULL;
    for (size_t i = 0; i < n && !good; i++) {
        g_autoptr(GVariant) signature = g_variant_get_child_value(signatures, i);
        g_clear_error(&failed);
        good = gpgv(dir, keyring, commit, signature, &failed);
    }
    file_remove_all_at(AT_FDCWD, dir, NULL);
    if (!good)
        return error_throw(error, ERROR_PERMISSION,
                           "none of the commit's %zu signatures is by a trusted key (%s)", n,
                           failed->message);
    return true;
}
