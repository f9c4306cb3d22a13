/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A table in Docker's layout: three blanks between columns, none narrower than ten, nothing behind the last. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct Columns Columns;
Columns *columns_new(guint n);
void columns_free(Columns *columns);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Columns, columns_free)
/* The next cell; the text is copied. */
void columns_add(Columns *columns, const char *cell);
/* Widths are counted in characters, not bytes. */
void columns_print(const Columns *columns, FILE *out);
