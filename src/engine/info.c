/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/engine.h"

#include "oci/oci.h"
#include "runtime/runtime.h"

bool engine_info(Engine *engine, EngineInfo *out_info, GError **error)
{
    EngineInfo info = {.cgroup_version = runtime_cgroup_version()};
    g_autoptr(GPtrArray) containers = engine_list(engine, error);
    if (!containers)
        return false;
    for (guint i = 0; i < containers->len; i++) {
        const EngineContainer *container = containers->pdata[i];
        unsigned *counts[] = {
            [ENGINE_CREATED] = &info.created,
            [ENGINE_RUNNING] = &info.running,
            [ENGINE_EXITED] = &info.exited,
        };
        ++*counts[container->state.status];
        info.containers++;
    }
    Store *store = engine_store(engine, error);
    OciSharing sharing;
    if (!store || !store_usage(store, &info.usage, error) || !oci_sharing(store, &sharing, error))
        return false;
    info.images = (unsigned)sharing.images;
    info.image_bytes = sharing.bytes;
    info.shared_bytes = sharing.shared_bytes;
    *out_info = info;
    return true;
}
