/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/deployment.h"
#include "host/loader.h"

bool host_rollback(Host *host, GError **error)
{
    if (!sysroot_check_locked(host, error))
        return false;
    const HostDeployment *target = host_rollback_target(host, error);
    if (!target)
        return false;
    g_autoptr(GPtrArray) order =
        g_ptr_array_new_with_free_func((GDestroyNotify)host_deployment_free);
    g_ptr_array_add(order, deployment_copy(target));
    for (size_t i = 0; i < host->deployments->len; i++)
        if (host->deployments->pdata[i] != target)
            g_ptr_array_add(order, deployment_copy(host->deployments->pdata[i]));
    return loader_swap(host, order, error);
}
