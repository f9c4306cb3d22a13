/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the options and the image's config become one EngineConfig. Then, in this order: the
 * container's directories (so that the name is never taken for a left-over), the name, the store's ref (so
 * that no garbage collection takes the image away), and last config.json: from then on the container
 * exists. A kill before that leaves directories without config.json, which no listing shows and
 * the first create of the next boot removes. A fleeting container (--rm) does the same without any fsync. */
#include "engine/create.h"

#include "base/file.h"
#include "base/sort.h"
#include "engine/mounts.h"
#include "engine/name.h"
#include "engine/parse.h"
#include "engine/state.h"
#include "oci/oci.h"
#include "runtime/runtime.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* Docker's, for images that don't say. */
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const nothing[] = {NULL};

static const char *const *or_nothing(const char *const *list)
{
    return list ? list : nothing;
}

static char **copy_list(const char *const *list)
{
    return g_strdupv((char **)or_nothing(list));
}

static bool read_lists(const EngineCreateOptions *options, EngineConfig *config, GError **error)
{
    for (const char *const *text = or_nothing(options->publish); *text; text++)
        if (!engine_parse_publish(*text, config->ports, error))
            return false;
    for (const char *const *text = or_nothing(options->volumes); *text; text++)
        if (!engine_parse_volume(*text, config->binds, error))
            return false;
    return engine_parse_network(options->network, &config->network, error);
}

static char **read_capabilities(const char *const *list, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (const char *const *text = or_nothing(list); *text; text++) {
        char *name = engine_parse_capability(*text, error);
        if (!name)
            return NULL;
        g_ptr_array_add(names, name);
    }
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_steal(names, NULL);
}

/* Docker's order: the image's, then --env-file, then -e; later ones replace. */
static char **merge_env(const EngineCreateOptions *options, const OciConfig *image, GError **error)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(env, g_strdup(DEFAULT_PATH));
    for (char **entry = image->env; *entry; entry++)
        if (strchr(*entry, '=') && !engine_env_set(env, *entry, error))
            return NULL;
    for (const char *const *file = or_nothing(options->env_files); *file; file++)
        if (!engine_env_load(env, *file, error))
            return NULL;
    for (const char *const *entry = or_nothing(options->env); *entry; entry++)
        if (!engine_env_set(env, *entry, error))
            return NULL;
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_steal(env, NULL);
}

static char **merge_labels(const EngineCreateOptions *options, const OciConfig *image)
{
    g_autoptr(GHashTable) labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, image->labels);
    while (g_hash_table_iter_next(&iter, &key, &value))
        g_hash_table_insert(labels, g_strdup(key), g_strdup(value));
    for (const char *const *label = or_nothing(options->labels); *label; label++) {
        const char *equals = strchr(*label, '=');
        g_hash_table_insert(labels,
                            equals ? g_strndup(*label, (gsize)(equals - *label)) : g_strdup(*label),
                            g_strdup(equals ? equals + 1 : ""));
    }
    unsigned n;
    g_autofree char **keys = sort_keys(labels, &n);
    GPtrArray *merged = g_ptr_array_new();
    for (unsigned i = 0; i < n; i++)
        g_ptr_array_add(merged,
                        g_strconcat(keys[i], "=", g_hash_table_lookup(labels, keys[i]), NULL));
    g_ptr_array_add(merged, NULL);
    return (char **)g_ptr_array_free(merged, FALSE);
}

static char **merge_exposed(const EngineCreateOptions *options, const OciConfig *image,
                            const GPtrArray *published, GError **error)
{
    g_autoptr(GPtrArray) ports = engine_ports_new();
    for (char **text = image->exposed_ports; *text; text++)
        if (!engine_parse_expose(*text, ports, error))
            return NULL;
    for (const char *const *text = or_nothing(options->expose); *text; text++)
        if (!engine_parse_expose(*text, ports, error))
            return NULL;
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < ports->len + published->len; i++) {
        const EnginePort *port =
            i < ports->len ? ports->pdata[i] : published->pdata[i - ports->len];
        g_autofree char *text = engine_format_port(port);
        if (!g_ptr_array_find_with_equal_func(texts, text, g_str_equal, NULL))
            g_ptr_array_add(texts, g_steal_pointer(&text));
    }
    g_ptr_array_add(texts, NULL);
    return (char **)g_ptr_array_steal(texts, NULL);
}

/* A new entrypoint resets the image's command; a command replaces it. */
static bool merge_command(const EngineCreateOptions *options, const OciConfig *image,
                          EngineConfig *config, GError **error)
{
    const char *const given[] = {options->entrypoint, NULL};
    bool reset = options->entrypoint != NULL;
    bool has_command = options->command && *options->command;
    config->entrypoint = !reset                 ? g_strdupv(image->entrypoint)
                         : *options->entrypoint ? copy_list(given)
                                                : copy_list(NULL);
    config->cmd = has_command ? copy_list(options->command)
                  : reset     ? copy_list(NULL)
                              : g_strdupv(image->cmd);
    if (!*config->entrypoint && !*config->cmd)
        return error_throw(error, ERROR_INVALID, "no command specified: image '%s' has none",
                           options->image);
    return true;
}

static bool check_hostname(const char *name, GError **error)
{
    size_t size = strlen(name);
    bool good = size > 0 && size <= HOST_NAME_MAX - 1;
    for (size_t i = 0; good && i < size; i++)
        good = g_ascii_isalnum(name[i]) || strchr("-._", name[i]);
    return good || error_throw(error, ERROR_INVALID, "invalid hostname '%s'", name);
}

static char *first_of(const char *given, const char *fallback)
{
    return g_strdup(given ? given : fallback);
}

static bool check_numbers(const EngineCreateOptions *options, EngineConfig *config, GError **error)
{
    if (options->init)
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: --init");
    if (options->memory && !engine_parse_memory(options->memory, &config->memory, error))
        return false;
    /* Docker: -1 and 0 are no limit */
    config->pids_limit = MAX(options->pids_limit, 0);
    g_autofree char *signal = first_of(options->stop_signal, "");
    return !*signal || engine_parse_signal(signal, error) > 0;
}

static bool fill_config(const EngineCreateOptions *options, const OciImage *image,
                        EngineConfig *config, GError **error)
{
    const OciConfig *from = image->config;
    config->ports = engine_ports_new();
    config->binds = engine_binds_new();
    config->created = g_get_real_time();
    config->image = g_strdup(options->image);
    config->image_id = g_strdup(image->id);
    config->image_digest = g_strdup(digest_hex(&image->image).text);
    config->working_dir =
        first_of(options->working_dir, *from->working_dir ? from->working_dir : "/");
    config->user = first_of(options->user, from->user);
    config->stop_signal = first_of(options->stop_signal, from->stop_signal);
    config->tty = options->tty;
    config->open_stdin = options->open_stdin;
    config->auto_remove = options->auto_remove;
    config->read_only = options->read_only;
    config->publish_all = options->publish_all;
    config->attach_output = !options->detach;
    config->attach_stdin = !options->detach && options->open_stdin;
    if (*config->working_dir != '/')
        return error_throw(error, ERROR_INVALID, "working directory '%s' is not an absolute path",
                           config->working_dir);
    if (!merge_command(options, from, config, error) || !read_lists(options, config, error) ||
        !check_numbers(options, config, error))
        return false;
    config->env = merge_env(options, from, error);
    config->exposed = config->env ? merge_exposed(options, from, config->ports, error) : NULL;
    config->labels = merge_labels(options, from);
    config->cap_add = config->exposed ? read_capabilities(options->cap_add, error) : NULL;
    config->cap_drop = config->cap_add ? read_capabilities(options->cap_drop, error) : NULL;
    return config->cap_drop && (!options->hostname || check_hostname(options->hostname, error));
}

static bool check_binds(Engine *engine, Store *store, EngineConfig *config, GError **error)
{
    for (guint i = 0; i < config->binds->len; i++) {
        const EngineBind *bind = config->binds->pdata[i];
        /* as Docker does for -v; --mount would refuse */
        if (access(bind->source, F_OK) < 0 &&
            !file_ensure_dir_at(AT_FDCWD, bind->source, 0755, error))
            return false;
        g_autofree char *real = realpath(bind->source, NULL);
        if (!real)
            return error_throw_errno(error, "cannot bind '%s'", bind->source);
        if (!engine_bind_check(engine, store, bind, real, error))
            return false;
    }
    return true;
}

/* --- putting it on disk -------------------------------------------------------------------------- */

static char *ref_name(const char *id)
{
    return g_strconcat("container/", id, NULL);
}

void engine_container_discard(Engine *engine, const EngineDirs *dirs, const char *name)
{
    if (name)
        engine_name_release(engine, name, dirs->id);
    /* without its config.json the container is gone for everybody */
    unlink(dirs->config);
    file_remove_all_at(AT_FDCWD, dirs->keep, NULL);
    file_remove_all_at(AT_FDCWD, dirs->run, NULL);
    g_autofree char *ref = ref_name(dirs->id);
    Store *store = engine_store(engine, NULL);
    if (store)
        store_remove_ref(store, STORE_IMAGES, ref, NULL);
}

static bool take_some_name(Engine *engine, EngineConfig *config, GError **error)
{
    enum { TRIES = 50 };
    for (int i = 0;; i++) {
        g_autoptr(GError) failed = NULL;
        g_autofree char *name = engine_name_random();
        /* with thousands of containers every plain name may be taken */
        if (i >= TRIES / 2) {
            g_autofree char *longer = g_strdup_printf("%s%.4s", name, config->id + i);
            g_free(g_steal_pointer(&name));
            name = g_steal_pointer(&longer);
        }
        if (engine_name_take(engine, name, config->id, &failed)) {
            config->name = g_steal_pointer(&name);
            return true;
        }
        if (!error_is(failed, ERROR_EXISTS) || i == TRIES) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return false;
        }
    }
}

static bool take_name(Engine *engine, const char *wanted, EngineConfig *config, GError **error)
{
    if (!wanted)
        return take_some_name(engine, config, error);
    g_autofree char *name = engine_name_check(wanted, error);
    if (!name || !engine_name_take(engine, name, config->id, error))
        return false;
    config->name = g_steal_pointer(&name);
    return true;
}

/* The container's ref on its image. store_set_ref() makes it durable, which costs several fsyncs; a fleeting
 * container does not outlive the boot, so its ref needn't either: the same link, without them. */
static bool protect_image(Store *store, const EngineDirs *dirs, const EngineConfig *config,
                          GError **error)
{
    g_autofree char *ref = ref_name(config->id);
    if (!dirs->fleeting)
        return store_set_ref(store, STORE_IMAGES, ref, config->image_digest, error);
    g_autofree char *path = g_strconcat("images/refs/", ref, NULL);
    g_autofree char *target = g_strconcat("../../", config->image_digest, NULL);
    if (symlinkat(target, store_dirfd(store), path) == 0)
        return true;
    if (errno == ENOENT &&
        !file_ensure_dir_at(store_dirfd(store), "images/refs/container", 0755, error))
        return false;
    return symlinkat(target, store_dirfd(store), path) == 0 ||
           error_throw_errno(error, "cannot create '%s'", path);
}

static bool write_record(Engine *engine, Store *store, const EngineDirs *dirs,
                         const EngineConfig *config, GError **error)
{
    if (!protect_image(store, dirs, config, error))
        return false;
    json_t *json = engine_config_to_json(config, error);
    if (!json)
        return false;
    bool good = engine_record_write(dirs->config, json, !dirs->fleeting, error);
    json_decref(json);
    if (!good || dirs->fleeting)
        return good;
    g_autofree char *names = g_build_filename(engine_root(engine), "names", NULL);
    g_autofree char *containers = g_path_get_dirname(dirs->keep);
    return file_sync_dir_at(AT_FDCWD, names, error) &&
           file_sync_dir_at(AT_FDCWD, containers, error);
}

/* The image, or Docker's words for one that isn't there. */
static OciImage *find_image(Store *store, const char *name, GError **error)
{
    g_autoptr(GError) failed = NULL;
    OciImage *image = oci_image_open(store, name, &failed);
    if (image)
        return image;
    if (!error_is(failed, ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return NULL;
    }
    g_autofree char *full = oci_name_normalize(name, NULL);
    return error_throw_null(error, ERROR_NOT_FOUND,
                            "Unable to find image '%s' locally\n"
                            "hint: pulling is not supported yet; build it, or see 'atomic images'",
                            full ? full : name);
}

EngineContainer *engine_create(Engine *engine, const EngineCreateOptions *options, GError **error)
{
    Store *store = engine_store(engine, error);
    g_autoptr(OciImage) image = store ? find_image(store, options->image, error) : NULL;
    g_autoptr(EngineContainer) container = g_new0(EngineContainer, 1);
    EngineConfig *config = &container->config;
    if (!image || !fill_config(options, image, config, error) ||
        !check_binds(engine, store, config, error))
        return NULL;
    container->state.ports = engine_ports_new();
    config->id = engine_id_new();
    config->hostname = options->hostname ? g_strdup(options->hostname)
                                         : g_strndup(config->id, ENGINE_SHORT_ID_LENGTH);
    engine_sweep(engine);
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, engine, config->id, config->auto_remove);
    if (!engine_dirs_create(&dirs, error) || !take_name(engine, options->name, config, error) ||
        !write_record(engine, store, &dirs, config, error)) {
        engine_container_discard(engine, &dirs, config->name);
        return NULL;
    }
    return g_steal_pointer(&container);
}
