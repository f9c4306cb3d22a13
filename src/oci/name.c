/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's image names: [DOMAIN/]PATH[:TAG]. */
#include "oci/oci.h"

#include <string.h>

#define NAME_MAX_LENGTH 255
#define TAG_MAX_LENGTH  128

static bool is_alphanumeric(char c)
{
    return g_ascii_islower(c) || g_ascii_isdigit(c);
}

/* [a-z0-9]+ parted by '.', '_', '__' or dashes. The length of the component, 0 when it is none. */
static size_t component_length(const char *text)
{
    size_t n = 0;
    if (!is_alphanumeric(text[0]))
        return 0;
    for (;;) {
        while (is_alphanumeric(text[n]))
            n++;
        size_t separator = n;
        if (text[n] == '.')
            n++;
        else if (text[n] == '_')
            n += text[n + 1] == '_' ? 2 : 1;
        else
            while (text[n] == '-')
                n++;
        if (n == separator)
            return n;
        if (!is_alphanumeric(text[n]))
            return 0;
    }
}

static bool is_path(const char *text)
{
    for (;;) {
        size_t n = component_length(text);
        if (n == 0)
            return false;
        if (text[n] == '\0')
            return true;
        if (text[n] != '/')
            return false;
        text += n + 1;
    }
}

static bool is_tag(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n > TAG_MAX_LENGTH || text[0] == '.' || text[0] == '-')
        return false;
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

/* host[:port]; the host may have capitals. */
static bool is_domain(const char *text)
{
    size_t host = 0;
    while (g_ascii_isalnum(text[host]) || text[host] == '.' || text[host] == '-')
        host++;
    if (host == 0 || !g_ascii_isalnum(text[0]) || !g_ascii_isalnum(text[host - 1]))
        return false;
    if (text[host] == '\0')
        return true;
    const char *port = text + host + 1;
    return text[host] == ':' && *port && strspn(port, "0123456789") == strlen(port);
}

/* The first component is a registry when it can't be a path component of Docker Hub's. */
static char *take_domain(const char **rest)
{
    const char *slash = strchr(*rest, '/');
    if (!slash)
        return NULL;
    g_autofree char *first = g_strndup(*rest, (size_t)(slash - *rest));
    bool upper = false;
    for (const char *c = first; *c; c++)
        upper |= g_ascii_isupper(*c);
    if (!strpbrk(first, ".:") && strcmp(first, "localhost") != 0 && !upper)
        return NULL;
    *rest = slash + 1;
    return g_steal_pointer(&first);
}

static bool is_hub(const char *domain)
{
    return !domain || strcmp(domain, "docker.io") == 0 || strcmp(domain, "index.docker.io") == 0;
}

char *oci_name_normalize(const char *text, GError **error)
{
    if (strchr(text, '@'))
        return error_throw_null(error, ERROR_UNSUPPORTED,
                                "not supported yet: image name with a digest: '%s'", text);
    const char *rest = text;
    g_autofree char *domain = take_domain(&rest);
    const char *slash = strrchr(rest, '/');
    const char *colon = strchr(slash ? slash : rest, ':');
    g_autofree char *path = colon ? g_strndup(rest, (size_t)(colon - rest)) : g_strdup(rest);
    const char *tag = colon ? colon + 1 : "latest";
    bool hub = is_hub(domain);
    if (!is_path(path) || (!hub && !is_domain(domain)) || strlen(text) > NAME_MAX_LENGTH)
        return error_throw_null(error, ERROR_INVALID,
                                "'%s' is not an image name\n"
                                "hint: names are lower-case letters and digits parted by '.', '_', "
                                "'-' and '/', as in 'team/web:1.0'",
                                text);
    if (!is_tag(tag))
        return error_throw_null(error, ERROR_INVALID,
                                "'%s' is not an image name: bad tag '%s'\n"
                                "hint: tags are at most 128 letters, digits, '_', '.' and '-'",
                                text, tag);
    Digest digest;
    if (hub && digest_parse(path, &digest))
        return error_throw_null(error, ERROR_INVALID, "'%s' is an id, not an image name", text);
    const char *familiar = path;
    if (hub && g_str_has_prefix(path, "library/") && !strchr(path + strlen("library/"), '/'))
        familiar = path + strlen("library/");
    return g_strdup_printf("%s%s%s:%s", hub ? "" : domain, hub ? "" : "/", familiar, tag);
}

void oci_name_split(const char *normalized, char **out_repository, char **out_tag)
{
    const char *colon = strrchr(normalized, ':');
    *out_repository =
        colon ? g_strndup(normalized, (size_t)(colon - normalized)) : g_strdup(normalized);
    *out_tag = g_strdup(colon ? colon + 1 : "latest");
}
