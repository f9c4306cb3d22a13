/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For command-line tests: the files of a directory as a container image, without a Dockerfile.
 *
 *     make-image STORE NAME DIR [env=K=V] [cmd=WORD]... [entrypoint=WORD]... [expose=80/tcp] [user=U] [workdir=D] [stop=SIG]
 */
#include "oci/oci.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

static char **append(char **list, const char *word)
{
    guint n = g_strv_length(list);
    list = g_renew(char *, list, n + 2);
    list[n] = g_strdup(word);
    list[n + 1] = NULL;
    return list;
}

static bool set(OciConfig *config, const char *text)
{
    const struct {
        const char *key;
        char ***list;
        char **string;
    } members[] = {
        {"cmd=", &config->cmd, NULL},          {"entrypoint=", &config->entrypoint, NULL},
        {"env=", &config->env, NULL},          {"expose=", &config->exposed_ports, NULL},
        {"user=", NULL, &config->user},        {"workdir=", NULL, &config->working_dir},
        {"stop=", NULL, &config->stop_signal},
    };
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        if (!g_str_has_prefix(text, members[i].key))
            continue;
        const char *value = text + strlen(members[i].key);
        if (members[i].list) {
            *members[i].list = append(*members[i].list, value);
        } else {
            g_free(*members[i].string);
            *members[i].string = g_strdup(value);
        }
        return true;
    }
    return false;
}

static bool make(const char *store_path, const char *name, const char *dir, OciConfig *config,
                 GError **error)
{
    if (!store_init(store_path, error))
        return false;
    g_autoptr(Store) store = store_open(store_path, error);
    g_autoptr(StoreTxn) txn = store ? store_txn_begin(store, NULL, error) : NULL;
    _autofd int fd = txn ? file_open_dir_at(AT_FDCWD, dir, error) : -1;
    g_autoptr(Tree) tree = fd >= 0 ? store_import_dir(txn, fd, 0, error) : NULL;
    g_autoptr(OciLayer) layer = tree ? oci_layer_write(txn, tree, error) : NULL;
    Digest image;
    if (!layer || !store_commit_image(txn, tree, &image, error))
        return false;
    config->diff_ids = append(config->diff_ids, layer->diff_id);
    OciImageWrite what = {.config = config, .image = &image, .new_layer = layer};
    g_autofree char *id = NULL;
    if (!oci_image_write(txn, &what, &id, error))
        return false;
    /* by its own id as the key: this is no build */
    const char *key = id + strlen("sha256:");
    if (!oci_cache_set(store, key, id, error))
        return false;
    g_autoptr(OciImage) written = oci_cache_get(store, key, error);
    if (!written || !oci_image_keep(txn, written, error) ||
        !oci_image_tag(store, written, name, error))
        return false;
    printf("%s\n", id);
    return true;
}

int main(int argc, char **argv)
{
    g_autoptr(OciConfig) config = oci_config_new();
    g_autoptr(GError) error = NULL;
    for (int i = 4; i < argc; i++)
        if (!set(config, argv[i]))
            argc = 0;
    if (argc < 4) {
        fprintf(stderr, "usage: make-image STORE NAME DIR [KEY=VALUE]...\n");
        return 2;
    }
    if (!make(argv[1], argv[2], argv[3], config, &error)) {
        fprintf(stderr, "make-image: %s\n", error->message);
        return 1;
    }
    return 0;
}
