/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/image_verbs.h"

#include "cli/document.h"
#include "cli/image_open.h"

/* Docker's form: always an array. With --json (the house's form) it stands under "images". */
int cli_image_inspect(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 1, -1, false, error))
        return -1;
    g_autoptr(Store) store = image_open_store(&common, error);
    json_t *array = json_array();
    bool good = store;
    for (int i = 1; good && i < argc; i++) {
        g_autoptr(OciImage) image = oci_image_open(store, argv[i], error);
        json_t *object = image ? oci_image_inspect(store, image, error) : NULL;
        good = object && json_array_append_new(array, object) == 0;
    }
    if (good && common.json)
        return cli_print_document("atomic.image.inspect/1", json_pack("{s:o}", "images", array),
                                  error)
                   ? 0
                   : -1;
    if (good) {
        json_dumpf(array, stdout, JSON_INDENT(4));
        putchar('\n');
    }
    json_decref(array);
    return good ? 0 : -1;
}
