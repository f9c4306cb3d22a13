/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/engine.h"

#include "base/places.h"
#include "engine/name.h"
#include "engine/state.h"

#include <string.h>

struct Engine {
    char *root, *run;
    char *store_option;
    Store *store;
};

Engine *engine_new(const char *store)
{
    Engine *engine = g_new0(Engine, 1);
    engine->root = places_root();
    engine->run = places_run();
    engine->store_option = g_strdup(store);
    return engine;
}

void engine_free(Engine *engine)
{
    if (!engine)
        return;
    g_free(engine->root);
    g_free(engine->run);
    g_free(engine->store_option);
    store_unref(engine->store);
    g_free(engine);
}

const char *engine_root(const Engine *engine)
{
    return engine->root;
}

const char *engine_run(const Engine *engine)
{
    return engine->run;
}

Store *engine_store(Engine *engine, GError **error)
{
    if (!engine->store) {
        g_autofree char *path = store_default_path(engine->store_option);
        engine->store = store_open(path, error);
    }
    return engine->store;
}

char *engine_container_upper(const Engine *engine, const EngineContainer *container)
{
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, engine, container->config.id, container->config.auto_remove);
    return engine_dirs_keep_file(&dirs, "layer/upper");
}

static gint newest_first(gconstpointer a, gconstpointer b)
{
    const EngineContainer *x = *(EngineContainer *const *)a, *y = *(EngineContainer *const *)b;
    if (x->config.created != y->config.created)
        return x->config.created < y->config.created ? 1 : -1;
    return strcmp(x->config.id, y->config.id);
}

GPtrArray *engine_list(Engine *engine, GError **error)
{
    g_autoptr(GPtrArray) ids = engine_dirs_list(engine, error);
    if (!ids)
        return NULL;
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)engine_container_free);
    for (guint i = 0; i < ids->len; i++) {
        g_auto(EngineDirs) dirs = {0};
        EngineContainer *container = NULL;
        if (engine_dirs_find(engine, ids->pdata[i], &dirs))
            container = engine_container_load(&dirs, NULL);
        if (container)
            g_ptr_array_add(list, container);
    }
    g_ptr_array_sort(list, newest_first);
    return list;
}

static EngineContainer *load_id(Engine *engine, const char *id, GError **error)
{
    g_auto(EngineDirs) dirs = {0};
    if (!engine_dirs_find(engine, id, &dirs))
        return error_throw_null(error, ERROR_NOT_FOUND, "no such container: %s", id);
    return engine_container_load(&dirs, error);
}

/* The one id that begins with the prefix. NULL without error: none does. */
static char *find_prefix(Engine *engine, const char *prefix, GError **error)
{
    g_autoptr(GPtrArray) ids = engine_dirs_list(engine, error);
    const char *found = NULL;
    for (guint i = 0; ids && i < ids->len; i++) {
        if (!g_str_has_prefix(ids->pdata[i], prefix))
            continue;
        if (found)
            return error_throw_null(error, ERROR_INVALID,
                                    "several containers have ids that begin with '%s'", prefix);
        found = ids->pdata[i];
    }
    return g_strdup(found);
}

EngineContainer *engine_find(Engine *engine, const char *name, GError **error)
{
    const char *bare = *name == '/' ? name + 1 : name;
    g_autofree char *holder = engine_name_lookup(engine, bare);
    if (holder && engine_id_is_full(holder)) {
        EngineContainer *container = load_id(engine, holder, NULL);
        if (container)
            return container;
    }
    if (engine_id_is_prefix(name)) {
        GError *failed = NULL;
        g_autofree char *id = find_prefix(engine, name, &failed);
        if (failed) {
            g_propagate_error(error, failed);
            return NULL;
        }
        g_autoptr(GError) gone = NULL;
        EngineContainer *container = id ? load_id(engine, id, &gone) : NULL;
        if (container)
            return container;
        if (gone && !error_is(gone, ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&gone));
            return NULL;
        }
    }
    return error_throw_null(error, ERROR_NOT_FOUND, "no such container: %s", name);
}
