/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci/json.h"
#include "oci/oci.h"

static json_t *root_fs(const OciConfig *config)
{
    json_t *object = json_object();
    json_object_set_new(object, "Type", json_string("layers"));
    json_object_set_new(object, "Layers", oci_json_list(config->diff_ids));
    return object;
}

static const char *last_comment(const OciConfig *config)
{
    const OciHistory *last =
        config->history->len ? config->history->pdata[config->history->len - 1] : NULL;
    return last && last->comment ? last->comment : "";
}

json_t *oci_image_inspect(Store *store, const OciImage *image, GError **error)
{
    const OciConfig *config = image->config;
    uint64_t size;
    OciSharing sharing;
    if (!oci_image_size(store, image, &size, error) ||
        !oci_image_sharing(store, image, &sharing, error))
        return NULL;
    json_t *object = json_object();
    json_object_set_new(object, "Id", json_string(image->id));
    json_object_set_new(object, "RepoTags", oci_json_list(image->names));
    json_object_set_new(object, "RepoDigests", json_array());
    json_object_set_new(object, "Parent", json_string(""));
    json_object_set_new(object, "Comment", oci_json_text(last_comment(config)));
    json_object_set_new(object, "Created", oci_json_text(config->created));
    json_object_set_new(object, "Author", oci_json_text(config->author));
    json_object_set_new(object, "Architecture", oci_json_text(config->architecture));
    json_object_set_new(object, "Os", oci_json_text(config->os));
    json_object_set_new(object, "Size", json_integer((json_int_t)size));
    json_object_set_new(object, "Config", oci_json_settings(config));
    json_object_set_new(object, "RootFS", root_fs(config));
    json_object_set_new(object, "composefs", json_string(digest_hex(&image->image).text));
    json_object_set_new(object, "Sharing",
                        json_pack("{s:I, s:I}", "Bytes", (json_int_t)sharing.bytes,
                                  "WithDeployedTrees", (json_int_t)sharing.shared_bytes));
    return object;
}
