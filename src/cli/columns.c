/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/columns.h"

enum { LEAST = 10, PADDING = 3 };

struct Columns {
    guint n;
    GPtrArray *cells;
};

Columns *columns_new(guint n)
{
    Columns *columns = g_new0(Columns, 1);
    columns->n = n;
    columns->cells = g_ptr_array_new_with_free_func(g_free);
    return columns;
}

void columns_free(Columns *columns)
{
    if (!columns)
        return;
    g_ptr_array_unref(columns->cells);
    g_free(columns);
}

void columns_add(Columns *columns, const char *cell)
{
    g_ptr_array_add(columns->cells, g_strdup(cell));
}

static glong width_of(const char *text)
{
    return g_utf8_validate(text, -1, NULL) ? g_utf8_strlen(text, -1) : (glong)strlen(text);
}

void columns_print(const Columns *columns, FILE *out)
{
    g_autofree glong *widths = g_new0(glong, columns->n);
    for (guint i = 0; i < columns->cells->len; i++) {
        glong width = width_of(columns->cells->pdata[i]) + PADDING;
        glong *column = &widths[i % columns->n];
        *column = MAX(*column, MAX(width, LEAST));
    }
    for (guint i = 0; i < columns->cells->len; i++) {
        const char *cell = columns->cells->pdata[i];
        bool last = i % columns->n == columns->n - 1;
        fputs(cell, out);
        if (last)
            fputc('\n', out);
        else
            fprintf(out, "%*s", (int)(widths[i % columns->n] - width_of(cell)), "");
    }
}
