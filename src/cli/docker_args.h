/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's spelling of options, turned into GOption's: -p8080:80, -e=K=V, -dp 80:80, --rm=true, -t=false. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* A new vector (g_strfreev) for the options of both tables; `strict`: options end at the first operand. Words that
 * are not understood stay as they are, GOption complains about them. */
char **docker_args_normalize(char *const *argv, const GOptionEntry *entries,
                             const GOptionEntry *common, bool strict);
