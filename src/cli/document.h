/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What --json prints: one JSON object on stdout that says what it is. */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* Prints {"schema": SCHEMA, …members of `steal`}. `schema` is "atomic.WHAT/VERSION": a member may be added under
 * the same version, not taken away. ERROR_INVALID when `steal` is NULL: json_pack() refused a text that is not
 * UTF-8. */
bool cli_print_document(const char *schema, json_t *steal, GError **error);
/* A string; what is not UTF-8 in it (a file's name may be anything) is replaced. */
json_t *cli_json_text(const char *text);
