/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/document.h"

#include <stdio.h>

bool cli_print_document(const char *schema, json_t *steal, GError **error)
{
    if (!steal)
        return error_throw(error, ERROR_INVALID, "cannot print JSON: a text is not UTF-8");
    json_t *document = json_pack("{s:s}", "schema", schema);
    json_object_update(document, steal);
    json_decref(steal);
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(document);
    return true;
}

json_t *cli_json_text(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    return json_string(valid);
}
