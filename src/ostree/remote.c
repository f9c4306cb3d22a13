/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remotes: key files in a remotes.d directory, readable for ostree itself. */
#include "ostree/ostree.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>

#define KEYRING_MAX (16u << 20)

char *ostree_remotes_dir(Store *store)
{
    return g_build_filename(store_path(store), "remotes.d", NULL);
}

void ostree_remote_free(OstreeRemote *remote)
{
    if (!remote)
        return;
    g_free(remote->name);
    g_free(remote->url);
    g_free(remote->keyring);
    g_free(remote);
}

static bool check_remote_name(const char *name, GError **error)
{
    for (const char *c = name; *c; c++)
        if (!g_ascii_isalnum(*c) && *c != '_' && (c == name || !strchr("-.", *c)))
            return error_throw(
                error, ERROR_INVALID,
                "'%s' is not a remote's name\nhint: letters, digits, '.', '_' and '-'", name);
    return *name || error_throw(error, ERROR_INVALID, "a remote's name can't be empty");
}

static char *group_name(const char *name)
{
    return g_strdup_printf("remote \"%s\"", name);
}

#define ARMOUR_BEGIN "-----BEGIN PGP PUBLIC KEY BLOCK-----"
#define ARMOUR_END   "-----END PGP PUBLIC KEY BLOCK-----"

/* ASCII-armoured keys (RFC 9580, 6.2) as bytes: headers end at an empty line, "=…" is the checksum. */
static bool dearmour(const char *text, GByteArray *out, GError **error)
{
    for (const char *block = text; (block = strstr(block, ARMOUR_BEGIN));) {
        const char *end = strstr(block, ARMOUR_END);
        if (!end)
            return error_throw(error, ERROR_INVALID, "the armoured keys are cut short");
        g_autofree char *inside = g_strndup(block, (size_t)(end - block));
        g_auto(GStrv) lines = g_strsplit(inside, "\n", -1);
        g_autoptr(GString) base64 = g_string_new(NULL);
        char **line = lines + 1;
        while (*line && *g_strstrip(*line))
            line++;
        for (; *line && *g_strstrip(*line) != '='; line++)
            g_string_append(base64, *line);
        size_t size;
        g_autofree uint8_t *bytes = g_base64_decode(base64->str, &size);
        if (!size)
            return error_throw(error, ERROR_INVALID, "the armoured keys are malformed");
        g_byte_array_append(out, bytes, (unsigned)size);
        block = end;
    }
    return out->len > 0 || error_throw(error, ERROR_INVALID, "there are no keys in it");
}

/* OpenPGP keys for gpgv, which takes them binary only. */
static bool copy_keyring(const char *dir, const char *name, const char *from, GError **error)
{
    size_t size;
    g_autofree char *keys = file_read_at(AT_FDCWD, from, KEYRING_MAX, &size, error);
    if (!keys)
        return false;
    g_autoptr(GByteArray) binary = g_byte_array_new();
    /* a packet's first byte has its highest bit set, text has not */
    if (size && (uint8_t)keys[0] >= 0x80)
        g_byte_array_append(binary, (uint8_t *)keys, (unsigned)size);
    else if (!dearmour(keys, binary, error))
        return error_prefix(error, "cannot import the keys of '%s'", from);
    g_autofree char *path = g_strdup_printf("%s/%s.gpg", dir, name);
    return file_replace_at(AT_FDCWD, path, binary->data, binary->len, 0644, FILE_REPLACE_DURABLE,
                           error);
}

bool ostree_remote_add(const char *dir, const char *name, const char *url, bool verify,
                       const char *keyring, GError **error)
{
    if (!check_remote_name(name, error))
        return false;
    if (!g_str_has_prefix(url, "http://") && !g_str_has_prefix(url, "https://"))
        return error_throw(error, ERROR_INVALID,
                           "cannot add remote '%s': '%s' is not an http or https URL", name, url);
    if (verify && !keyring)
        return error_throw(
            error, ERROR_INVALID,
            "cannot add remote '%s': no keys to verify its commits with\nhint: give them with "
            "--gpg-import, or accept unsigned commits with --no-verify",
            name);
    g_autofree char *path = g_strdup_printf("%s/%s.conf", dir, name);
    if (!file_ensure_dir_at(AT_FDCWD, dir, 0755, error))
        return false;
    bool exists;
    if (!file_exists_at(AT_FDCWD, path, &exists, error))
        return false;
    if (exists)
        return error_throw(error, ERROR_EXISTS, "there is a remote '%s' already", name);
    if (keyring && !copy_keyring(dir, name, keyring, error))
        return false;

    size_t length = strlen(url);
    while (length && url[length - 1] == '/')
        length--;
    g_autofree char *trimmed = g_strndup(url, length);
    g_autofree char *group = group_name(name);
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_key_file_set_string(file, group, "url", trimmed);
    g_key_file_set_boolean(file, group, "gpg-verify", verify);
    size_t size;
    g_autofree char *text = g_key_file_to_data(file, &size, NULL);
    return file_replace_at(AT_FDCWD, path, text, size, 0644,
                           FILE_REPLACE_DURABLE | FILE_REPLACE_EXCLUSIVE, error);
}

OstreeRemote *ostree_remote_load(const char *dir, const char *name, GError **error)
{
    if (!check_remote_name(name, error))
        return NULL;
    g_autofree char *path = g_strdup_printf("%s/%s.conf", dir, name);
    g_autoptr(GError) failed = NULL;
    size_t size;
    g_autofree char *text = file_read_at(AT_FDCWD, path, 1 << 20, &size, &failed);
    if (!text && error_is(failed, ERROR_NOT_FOUND))
        return error_throw_null(
            error, ERROR_NOT_FOUND,
            "there is no remote '%s'\nhint: 'atomic tree remote add %s URL' makes one", name, name);
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autofree char *group = group_name(name);
    if (!text || !g_key_file_load_from_data(file, text, size, G_KEY_FILE_NONE, &failed))
        return error_throw_null(error, ERROR_INVALID, "cannot read '%s': %s", path,
                                failed->message);
    g_autoptr(OstreeRemote) remote = g_new0(OstreeRemote, 1);
    remote->name = g_strdup(name);
    remote->url = g_key_file_get_string(file, group, "url", NULL);
    if (!remote->url)
        return error_throw_null(error, ERROR_INVALID, "'%s' has no url in its group [%s]", path,
                                group);
    /* OSTree's default is to verify; only a written "false" turns it off */
    remote->verify = !g_key_file_has_key(file, group, "gpg-verify", NULL) ||
                     g_key_file_get_boolean(file, group, "gpg-verify", NULL);
    g_autofree char *sign = g_key_file_get_string(file, group, "sign-verify", NULL);
    if (sign && strcmp(sign, "false") != 0)
        return error_throw_null(error, ERROR_UNSUPPORTED,
                                "not supported yet: sign-verify, which '%s' asks for", path);
    g_autofree char *keyring = g_strdup_printf("%s/%s.gpg", dir, name);
    bool exists = false;
    if (!file_exists_at(AT_FDCWD, keyring, &exists, error))
        return NULL;
    if (exists)
        remote->keyring = g_steal_pointer(&keyring);
    return g_steal_pointer(&remote);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(OstreeRemote *const *)a)->name, (*(OstreeRemote *const *)b)->name);
}

GPtrArray *ostree_remote_list(const char *dir, GError **error)
{
    g_autoptr(GPtrArray) remotes =
        g_ptr_array_new_with_free_func((GDestroyNotify)ostree_remote_free);
    g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
    for (const char *entry; entries && (entry = g_dir_read_name(entries));) {
        if (!g_str_has_suffix(entry, ".conf"))
            continue;
        g_autofree char *name = g_strndup(entry, strlen(entry) - strlen(".conf"));
        OstreeRemote *remote = ostree_remote_load(dir, name, error);
        if (!remote)
            return NULL;
        g_ptr_array_add(remotes, remote);
    }
    g_ptr_array_sort(remotes, compare_names);
    return g_steal_pointer(&remotes);
}
