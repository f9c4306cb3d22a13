/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* InRelease: verified by gpgv (the program that apt uses), then read.
 *
 * gpgv gets keyrings of binary keys only, so armored ones (.asc files, keys inside Signed-By) are
 * decoded into a scratch folder. What is parsed afterwards is gpgv's own output, the text that the
 * signature covers: nothing before or behind the signed part is ever seen.
 */
#include "package/release.h"

#include "base/file.h"
#include "base/spawn.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define RELEASE_LIMIT (32u << 20)
#define KEYRING_LIMIT (16u << 20)

void release_free(Release *release)
{
    if (!release)
        return;
    g_free(release->text);
    g_free(release->base);
    g_free(release);
}

/* --- keyrings --------------------------------------------------------------------------------- */

/* The binary keys of every armored block; NULL when there is none. */
static GByteArray *dearmor(const char *text)
{
    GByteArray *keys = g_byte_array_new();
    const char *p = text;
    while ((p = strstr(p, "-----BEGIN PGP PUBLIC KEY BLOCK-----"))) {
        const char *end = strstr(p, "-----END PGP PUBLIC KEY BLOCK-----");
        if (!end)
            break;
        g_autofree char *block = g_strndup(p, (size_t)(end - p));
        g_auto(GStrv) lines = g_strsplit(block, "\n", -1);
        g_autoptr(GString) encoded = g_string_new(NULL);
        /* headers ("Version: …") end at the first blank line; a checksum line begins with '=' */
        bool body = false;
        for (char **line = lines + 1; *line; line++) {
            g_strstrip(*line);
            /* deb822 writes the blank line of an inline key as " ." */
            if (!**line || strcmp(*line, ".") == 0)
                body = true;
            else if (body && **line != '=')
                g_string_append(encoded, *line);
        }
        size_t size;
        g_autofree uint8_t *bytes = g_base64_decode(encoded->str, &size);
        g_byte_array_append(keys, bytes, (unsigned)size);
        p = end;
    }
    if (keys->len == 0)
        g_clear_pointer(&keys, g_byte_array_unref);
    return keys;
}

/* Adds `--keyring FILE` for a key file or an armored text. */
static bool add_keyring(GPtrArray *argv, const char *scratch, const char *text, const char *path,
                        GError **error)
{
    g_autofree char *content =
        text ? g_strdup(text) : file_read_at(AT_FDCWD, path, KEYRING_LIMIT, NULL, error);
    if (!content)
        return false;
    g_autoptr(GByteArray) keys = dearmor(content);
    g_autofree char *usable = g_strdup(path);
    if (keys) {
        g_free(usable);
        usable = g_strdup_printf("%s/key-%u.gpg", scratch, argv->len);
        if (!file_replace_at(AT_FDCWD, usable, keys->data, keys->len, 0600, 0, error))
            return false;
    }
    if (!usable)
        return error_throw(error, ERROR_INVALID, "Signed-By holds no key");
    g_ptr_array_add(argv, g_strdup("--keyring"));
    g_ptr_array_add(argv, g_steal_pointer(&usable));
    return true;
}

static bool add_keyring_dir(GPtrArray *argv, const char *scratch, const char *path, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (!g_str_has_suffix(name, ".gpg") && !g_str_has_suffix(name, ".asc"))
            continue;
        g_autofree char *file = g_build_filename(path, name, NULL);
        if (!add_keyring(argv, scratch, NULL, file, error))
            return false;
    }
    return true;
}

static bool add_keyrings(GPtrArray *argv, const PackageSource *source, const char *scratch,
                         const char *apt_dir, const char *keyrings, GError **error)
{
    if (source->signed_by && strstr(source->signed_by, "BEGIN PGP"))
        return add_keyring(argv, scratch, source->signed_by, NULL, error);
    if (source->signed_by) {
        g_auto(GStrv) paths = g_strsplit_set(source->signed_by, " \t\n", -1);
        for (char **path = paths; *path; path++) {
            if (**path && **path != '/')
                return error_throw(error, ERROR_UNSUPPORTED,
                                   "not supported yet: Signed-By with a fingerprint ('%s')", *path);
            if (**path && !add_keyring(argv, scratch, NULL, *path, error))
                return false;
        }
        return true;
    }
    unsigned before = argv->len;
    g_autofree char *trusted = g_build_filename(apt_dir, "trusted.gpg.d", NULL);
    if (!add_keyring_dir(argv, scratch, trusted, error))
        return false;
    if (argv->len == before && !add_keyring_dir(argv, scratch, keyrings, error))
        return false;
    if (argv->len == before)
        return error_throw(error, ERROR_NOT_FOUND,
                           "there is no key to verify it with in '%s' or '%s'", trusted, keyrings);
    return true;
}

/* --- verification ----------------------------------------------------------------------------- */

/* What gpgv says in --status-fd lines. Its exit status is no verdict: a suite signed by three keys
 * of which this machine has two is good, yet gpgv fails. */
static bool judge(const char *status, GError **error)
{
    bool good = false;
    const char *problem = NULL;
    g_auto(GStrv) lines = g_strsplit(status, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (!g_str_has_prefix(*line, "[GNUPG:] "))
            continue;
        const char *word = *line + strlen("[GNUPG:] ");
        if (g_str_has_prefix(word, "GOODSIG "))
            good = true;
        else if (g_str_has_prefix(word, "BADSIG "))
            return error_throw(error, ERROR_CORRUPT, "the signature is bad (key %s)",
                               word + strlen("BADSIG "));
        else if (g_str_has_prefix(word, "NO_PUBKEY "))
            problem = word;
        else if (g_str_has_prefix(word, "EXPKEYSIG ") || g_str_has_prefix(word, "REVKEYSIG "))
            problem = word;
    }
    if (good)
        return true;
    if (!problem)
        return error_throw(error, ERROR_CORRUPT, "it has no valid signature");
    if (g_str_has_prefix(problem, "NO_PUBKEY "))
        return error_throw(error, ERROR_CORRUPT,
                           "it is signed by a key that isn't trusted here (%s)",
                           problem + strlen("NO_PUBKEY "));
    return error_throw(error, ERROR_CORRUPT, "its signing key is expired or revoked (%s)",
                       strchr(problem, ' ') + 1);
}

static bool run_gpgv(GPtrArray *argv, const char *scratch, GError **error)
{
    g_autofree char *status_path = g_build_filename(scratch, "status", NULL);
    g_autofree char *log_path = g_build_filename(scratch, "log", NULL);
    _autofd int status_fd = file_open_at(AT_FDCWD, status_path, O_RDWR | O_CREAT | O_TRUNC, error);
    if (status_fd < 0)
        return false;
    _autofd int log_fd = file_open_at(AT_FDCWD, log_path, O_RDWR | O_CREAT | O_TRUNC, error);
    if (log_fd < 0)
        return false;
    SpawnOptions options = {.stdin_fd = -1, .stdout_fd = status_fd, .stderr_fd = log_fd};
    pid_t pid;
    if (!spawn_start((const char *const *)argv->pdata, &options, &pid, error))
        return false;
    if (spawn_wait(pid, error) < 0)
        return false;
    g_autofree char *status = file_read_at(AT_FDCWD, status_path, RELEASE_LIMIT, NULL, error);
    return status && judge(status, error);
}

static char *verified_text(const PackageSource *source, const char *path, const char *apt_dir,
                           const char *keyrings, const char *scratch, GError **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *output = g_build_filename(scratch, "text", NULL);
    const char *const start[] = {"gpgv",  "--status-fd", "1",   "--homedir",
                                 scratch, "--output",    output};
    for (size_t i = 0; i < ARRAY_SIZE(start); i++)
        g_ptr_array_add(argv, g_strdup(start[i]));
    if (!add_keyrings(argv, source, scratch, apt_dir, keyrings, error))
        return NULL;
    g_ptr_array_add(argv, g_strdup(path));
    g_ptr_array_add(argv, NULL);
    if (!run_gpgv(argv, scratch, error))
        return NULL;
    return file_read_at(AT_FDCWD, output, RELEASE_LIMIT, NULL, error);
}

/* A frozen mirror can hold back updates only until Valid-Until; apt's own switch turns the check
 * off. */
static bool check_date(const char *text, GError **error)
{
    g_autofree char *until = control_field(text, strlen(text), "Valid-Until");
    if (!until)
        return true;
    struct tm tm = {0};
    const char *end = strptime(until, "%a, %d %b %Y %H:%M:%S", &tm);
    if (!end)
        return error_throw(error, ERROR_INVALID, "malformed Valid-Until '%s'", until);
    if (timegm(&tm) >= time(NULL))
        return true;
    return error_throw(error, ERROR_INVALID,
                       "it was valid until %s only\nhint: if that is meant, set "
                       "Acquire::Check-Valid-Until \"false\" in apt's configuration",
                       until);
}

/* apt's Acquire::Check-Valid-Until, asked of apt itself: its files include each other in many
 * ways. */
static bool date_is_checked(const char *scratch)
{
    g_autofree char *path = g_build_filename(scratch, "config", NULL);
    _autofd int fd = file_open_at(AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC, NULL);
    const char *const argv[] = {"apt-config", "dump", "Acquire::Check-Valid-Until", NULL};
    SpawnOptions options = {.stdin_fd = -1, .stdout_fd = fd, .stderr_fd = -1};
    pid_t pid;
    if (fd < 0 || !spawn_start(argv, &options, &pid, NULL) || spawn_wait(pid, NULL) != 0)
        return true;
    g_autofree char *text = file_read_at(AT_FDCWD, path, 1 << 16, NULL, NULL);
    return !text ||
           (!strstr(text, "\"false\"") && !strstr(text, "\"0\"") && !strstr(text, "\"no\""));
}

Release *release_open(const PackageSource *source, const char *path, const char *apt_dir,
                      const char *keyrings, GError **error)
{
    g_autofree char *scratch = g_dir_make_tmp("atomic-release-XXXXXX", error);
    if (!scratch)
        return NULL;
    g_autoptr(Release) release = g_new0(Release, 1);
    release->base = g_strdup_printf("%sdists/%s/", source->uri, source->suite);
    release->text = verified_text(source, path, apt_dir, keyrings, scratch, error);
    bool ok = release->text && (!date_is_checked(scratch) || check_date(release->text, error));
    file_remove_all_at(AT_FDCWD, scratch, NULL);
    if (!ok) {
        error_prefix(error, "cannot use the package source '%s %s' (%s)", source->uri,
                     source->suite, source->where);
        return NULL;
    }
    g_autofree char *by_hash =
        control_field(release->text, strlen(release->text), "Acquire-By-Hash");
    release->by_hash = by_hash && g_ascii_strcasecmp(by_hash, "yes") == 0;
    return g_steal_pointer(&release);
}

bool release_find(const Release *release, const char *name, uint64_t *out_size, Digest *out_sha256)
{
    const char *p = strstr(release->text, "\nSHA256:");
    if (!p)
        return false;
    /* " HEX  SIZE NAME" lines up to the next field */
    while ((p = strchr(p + 1, '\n')) && p[1] == ' ') {
        char hex[DIGEST_HEX_SIZE], found[512];
        unsigned long long size;
        if (sscanf(p + 1, " %64s %llu %511s", hex, &size, found) == 3 && strcmp(found, name) == 0 &&
            digest_parse(hex, out_sha256)) {
            *out_size = size;
            return true;
        }
    }
    return false;
}
