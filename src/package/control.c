/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Debian control files: paragraphs of fields (deb822). */
#include "package/package.h"

#include <string.h>

bool control_next(const char **cursor, const char **out_start, size_t *out_size)
{
    const char *p = *cursor;
    while (*p == '\n')
        p++;
    if (!*p)
        return false;
    *out_start = p;
    const char *end = strstr(p, "\n\n");
    /* the newline that ends the last line belongs to the paragraph */
    end = end ? end + 1 : p + strlen(p);
    *out_size = (size_t)(end - p);
    *cursor = end;
    return true;
}

/* The start of the field's value behind the colon, or NULL. Names are compared as ASCII without
 * case. */
static const char *find_field(const char *paragraph, size_t size, const char *name)
{
    size_t length = strlen(name);
    const char *end = paragraph + size;
    for (const char *line = paragraph; line < end;) {
        if ((size_t)(end - line) > length && line[length] == ':' &&
            g_ascii_strncasecmp(line, name, length) == 0)
            return line + length + 1;
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        line = newline ? newline + 1 : end;
    }
    return NULL;
}

char *control_field(const char *paragraph, size_t size, const char *name)
{
    const char *value = find_field(paragraph, size, name);
    if (!value)
        return NULL;
    const char *end = paragraph + size, *stop = value;
    for (;;) {
        stop = memchr(stop, '\n', (size_t)(end - stop));
        if (!stop) {
            stop = end;
            break;
        }
        if (stop + 1 >= end || (stop[1] != ' ' && stop[1] != '\t'))
            break;
        stop++;
    }
    while (value < stop && (*value == ' ' || *value == '\t'))
        value++;
    char *text = g_strndup(value, (size_t)(stop - value));
    g_strchomp(text);
    return text;
}
