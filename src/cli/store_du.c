/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store du` */
#include "cli/store_verbs.h"

#include "cli/document.h"
#include "cli/file_text.h"
#include "cli/human.h"

static void print_size(const char *title, uint64_t bytes, const char *note)
{
    g_autofree char *text = human_bytes(bytes);
    printf("%-15s %12s%s\n", title, text, note);
}

static void print_item(const StoreDu *du, const StoreDuItem *item, bool verbose)
{
    g_autofree char *own = human_bytes(item->own_bytes), *shared = human_bytes(item->shared_bytes);
    printf("%12s %12s  ", own, shared);
    for (guint i = 0; i < item->names->len; i++) {
        g_autofree char *name = file_path_text(item->names->pdata[i]);
        printf("%s%s", i > 0 ? ", " : "", name);
    }
    putchar('\n');
    for (size_t i = 0; verbose && i < item->n_shares; i++) {
        const StoreDuItem *other = du->items->pdata[item->shares[i].item];
        g_autofree char *bytes = human_bytes(item->shares[i].bytes);
        g_autofree char *name = file_path_text(other->names->pdata[0]);
        printf("%12s %12s    with %s\n", "", bytes, name);
    }
}

static void print_du(const StoreDu *du, bool verbose)
{
    printf("%12s %12s  %s\n", "OWN", "SHARED", "NAMES");
    for (guint i = 0; i < du->items->len; i++)
        print_item(du, du->items->pdata[i], verbose);
    g_autofree char *note = g_strdup_printf(" in %" G_GUINT64_FORMAT " objects", du->objects);
    g_autofree char *lost =
        g_strdup_printf(" in %" G_GUINT64_FORMAT " objects", du->unreferenced_objects);
    putchar('\n');
    print_size("Objects:", du->bytes, note);
    print_size("On disk:", du->disk_bytes, "");
    print_size("Saved:", du->saved_bytes, " by sharing");
    print_size("Unreferenced:", du->unreferenced_bytes, lost);
    print_size("Being written:", du->staging_bytes, "");
    print_size("Reserve:", du->reserve.held, "");
}

static json_t *name_json(const char *name)
{
    json_t *object = json_object();
    file_json_set(object, "name", name);
    return object;
}

static json_t *item_json(const StoreDuItem *item)
{
    json_t *names = json_array(), *shares = json_array();
    for (guint i = 0; i < item->names->len; i++)
        json_array_append_new(names, name_json(item->names->pdata[i]));
    for (size_t i = 0; i < item->n_shares; i++)
        json_array_append_new(shares, json_pack("{s:i, s:I}", "item", (int)item->shares[i].item,
                                                "bytes", (json_int_t)item->shares[i].bytes));
    json_t *json = json_pack("{s:o, s:I, s:I, s:I, s:o}", "names", names, "objects",
                             (json_int_t)item->objects, "own_bytes", (json_int_t)item->own_bytes,
                             "shared_bytes", (json_int_t)item->shared_bytes, "shared_with", shares);
    if (item->has_image)
        json_object_set_new(json, "image", json_string(digest_hex(&item->image).text));
    return json;
}

static bool print_json(const StoreDu *du, GError **error)
{
    json_t *items = json_array();
    for (guint i = 0; i < du->items->len; i++)
        json_array_append_new(items, item_json(du->items->pdata[i]));
    return cli_print_document(
        "atomic.store.du/1",
        json_pack("{s:o, s:I, s:I, s:I, s:I, s:{s:I, s:I}, s:I, s:I, s:I}", "items", items,
                  "objects", (json_int_t)du->objects, "bytes", (json_int_t)du->bytes, "disk_bytes",
                  (json_int_t)du->disk_bytes, "saved_bytes", (json_int_t)du->saved_bytes,
                  "unreferenced", "objects", (json_int_t)du->unreferenced_objects, "bytes",
                  (json_int_t)du->unreferenced_bytes, "staging_bytes",
                  (json_int_t)du->staging_bytes, "reserve_bytes", (json_int_t)du->reserve.size,
                  "reserve_held_bytes", (json_int_t)du->reserve.held),
        error);
}

int cli_store_du(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    g_autoptr(StoreDu) du = store ? store_du(store, error) : NULL;
    if (!du)
        return 1;
    if (common.json)
        return print_json(du, error) ? 0 : 1;
    print_du(du, common.verbose);
    return 0;
}
