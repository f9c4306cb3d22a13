/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of Go's templates that people use with --format: {{.A.B}}, {{json .A}}, {{.}}, plain text, \t and \n. */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* The text for one document. A member that isn't there is "<no value>", as Docker prints it. ERROR_UNSUPPORTED
 * names an action that is not understood. */
char *template_format(const char *format, json_t *document, GError **error);
