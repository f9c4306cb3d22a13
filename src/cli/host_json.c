/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/host_json.h"

#include "cli/document.h"

#include <stdio.h>

/* `from`: the old packages in the same order, or NULL. */
static json_t *packages_json(const GPtrArray *packages, const GPtrArray *from)
{
    json_t *list = json_array();
    for (size_t i = 0; i < packages->len; i++) {
        const OstreePackage *p = packages->pdata[i];
        const OstreePackage *old = from ? from->pdata[i] : NULL;
        json_t *item = json_pack("{ss ss ss}", "name", p->name, "arch", p->arch,
                                 old ? "to" : "version", p->version);
        if (old)
            json_object_set_new(item, "from", json_string(old->version));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *diff_json(GVariant *old, GVariant *new)
{
    g_autoptr(GPtrArray) before = ostree_packages(old);
    g_autoptr(GPtrArray) after = ostree_packages(new);
    g_autoptr(OstreePackageDiff) diff = ostree_packages_diff(before, after);
    return json_pack("{so so so}", "changed", packages_json(diff->changed, diff->changed_from),
                     "removed", packages_json(diff->removed, NULL), "added",
                     packages_json(diff->added, NULL));
}

bool host_print_check_json(const OstreePullResult *pulled, const char *refspec, bool available,
                           GVariant *old, GError **error)
{
    g_autofree char *version = ostree_commit_version(pulled->commit);
    json_t *document = json_pack("{sb ss ss ss* sI}", "available", available, "commit",
                                 pulled->checksum, "refspec", refspec, "version", version,
                                 "timestamp", (json_int_t)ostree_commit_timestamp(pulled->commit));
    if (document && available && old)
        json_object_set_new(document, "packages", diff_json(old, pulled->commit));
    return cli_print_document("atomic.upgrade-check/1", document, error);
}
