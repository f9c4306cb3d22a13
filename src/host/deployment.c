/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/deployment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GROUP "deployment"

void host_deployment_free(HostDeployment *d)
{
    if (!d)
        return;
    g_free(d->id);
    g_free(d->commit);
    g_free(d->os);
    g_free(d->origin);
    g_free(d->version);
    g_free(d->title);
    g_free(d->bootcsum);
    g_free(d->options);
    g_free(d);
}

HostDeployment *deployment_copy(const HostDeployment *d)
{
    HostDeployment *copy = g_new(HostDeployment, 1);
    *copy = *d;
    copy->id = g_strdup(d->id);
    copy->commit = g_strdup(d->commit);
    copy->os = g_strdup(d->os);
    copy->origin = g_strdup(d->origin);
    copy->version = g_strdup(d->version);
    copy->title = g_strdup(d->title);
    copy->bootcsum = g_strdup(d->bootcsum);
    copy->options = g_strdup(d->options);
    return copy;
}

bool deployment_parse_id(const char *id, char **out_commit, unsigned *out_serial)
{
    Digest digest;
    const char *dot = strchr(id, '.');
    if (!dot || !g_ascii_isdigit(dot[1]))
        return false;
    g_autofree char *commit = g_strndup(id, (size_t)(dot - id));
    if (!digest_parse(commit, &digest))
        return false;
    char *end;
    errno = 0;
    unsigned long serial = strtoul(dot + 1, &end, 10);
    /* "x.007" would be another name for "x.7" */
    if (errno || *end || serial > INT32_MAX || (dot[1] == '0' && dot[2]))
        return false;
    if (out_commit)
        *out_commit = g_steal_pointer(&commit);
    if (out_serial)
        *out_serial = (unsigned)serial;
    return true;
}

static void set_string(GKeyFile *keys, const char *key, const char *value)
{
    if (value)
        g_key_file_set_string(keys, GROUP, key, value);
}

char *deployment_format(const HostDeployment *d)
{
    g_autoptr(GKeyFile) keys = g_key_file_new();
    g_key_file_set_integer(keys, GROUP, "version", DEPLOYMENT_VERSION);
    g_key_file_set_integer(keys, GROUP, "min_reader", DEPLOYMENT_VERSION);
    set_string(keys, "commit", d->commit);
    set_string(keys, "image", digest_hex(&d->image).text);
    set_string(keys, "os", d->os);
    set_string(keys, "origin", d->origin);
    g_key_file_set_int64(keys, GROUP, "timestamp", d->timestamp);
    set_string(keys, "tree-version", d->version);
    set_string(keys, "title", d->title);
    set_string(keys, "bootcsum", d->bootcsum);
    g_key_file_set_boolean(keys, GROUP, "initrd", d->has_initrd);
    if (d->pinned)
        g_key_file_set_boolean(keys, GROUP, "pinned", true);
    return g_key_file_to_data(keys, NULL, NULL);
}

static char *get_string(GKeyFile *keys, const char *key)
{
    return g_key_file_get_string(keys, GROUP, key, NULL);
}

/* What other code relies on; the rest may be missing. */
static bool is_complete(GKeyFile *keys, HostDeployment *d)
{
    g_autofree char *commit = get_string(keys, "commit");
    g_autofree char *image = get_string(keys, "image");
    Digest bootcsum;
    return commit && strcmp(commit, d->commit) == 0 && image && digest_parse(image, &d->image) &&
           d->os && d->bootcsum && digest_parse(d->bootcsum, &bootcsum);
}

HostDeployment *deployment_parse(const char *id, const char *text, GError **error)
{
    g_autoptr(HostDeployment) d = g_new0(HostDeployment, 1);
    if (!deployment_parse_id(id, &d->commit, &d->serial))
        return error_throw_null(error, ERROR_INVALID, "'%s' is no name of a deployment", id);
    d->id = g_strdup(id);
    g_autoptr(GKeyFile) keys = g_key_file_new();
    g_autoptr(GError) reason = NULL;
    if (!g_key_file_load_from_data(keys, text, strlen(text), G_KEY_FILE_NONE, &reason))
        return error_throw_null(error, ERROR_CORRUPT, "%s", reason->message);
    if (g_key_file_get_integer(keys, GROUP, "min_reader", NULL) > DEPLOYMENT_VERSION)
        return error_throw_null(error, ERROR_UNSUPPORTED,
                                "it was written by a newer atomic\nhint: use that version");
    d->os = get_string(keys, "os");
    d->origin = get_string(keys, "origin");
    d->timestamp = g_key_file_get_int64(keys, GROUP, "timestamp", NULL);
    d->version = get_string(keys, "tree-version");
    d->title = get_string(keys, "title");
    d->bootcsum = get_string(keys, "bootcsum");
    d->has_initrd = g_key_file_get_boolean(keys, GROUP, "initrd", NULL);
    d->pinned = g_key_file_get_boolean(keys, GROUP, "pinned", NULL);
    if (!is_complete(keys, d))
        return error_throw_null(error, ERROR_CORRUPT, "a key is missing or wrong");
    return g_steal_pointer(&d);
}

HostDeployment *deployment_new_damaged(const char *id)
{
    HostDeployment *d = g_new0(HostDeployment, 1);
    deployment_parse_id(id, &d->commit, &d->serial);
    d->id = g_strdup(id);
    d->os = g_strdup("");
    d->damaged = true;
    return d;
}
