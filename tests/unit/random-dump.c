/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "random-dump.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    uint64_t state;
    unsigned label; /* with a label on everything, or on nothing */
    bool times;     /* several mtimes: extended inodes */
    bool plain;     /* all objects lie where their digest says, as ours do */
    bool marks;     /* xattrs that mean something to overlayfs */
    GPtrArray *paths;
    GArray *modes;     /* uint32_t, beside `paths`; 0: a hard link */
    GHashTable *taken; /* paths */
} Maker;

static uint64_t draw(Maker *maker) /* splitmix64 */
{
    uint64_t z = maker->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static unsigned below(Maker *maker, unsigned limit)
{
    return (unsigned)(draw(maker) % limit);
}

static uint64_t pick(Maker *maker, const uint64_t *values, unsigned n)
{
    return values[below(maker, n)];
}
#define PICK(maker, ...)                                                                           \
    pick(maker, (const uint64_t[]){__VA_ARGS__},                                                   \
         sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static bool chance(Maker *maker, unsigned percent)
{
    return below(maker, 100) < percent;
}

/* --- text ----------------------------------------------------------------------------------------------- */

/* Escaped where it must be, and now and then where it need not. */
static void append_text(Maker *maker, GString *out, const void *data, size_t size)
{
    static const char digits[][17] = {"0123456789abcdef", "0123456789ABCDEF"};
    const uint8_t *p = data;
    unsigned more = chance(maker, 10) ? 20 : 0;
    if (size == 1 && p[0] == '-') {
        g_string_append(out, "\\x2d");
        return;
    }
    for (size_t i = 0; i < size; i++) {
        const char *hex = digits[p[i] & 1];
        if (p[i] == '\\')
            g_string_append(out, "\\\\");
        else if (p[i] == '\n')
            g_string_append(out, "\\n");
        else if (p[i] <= 0x20 || p[i] > 0x7e || p[i] == '=' || (more && chance(maker, more)))
            g_string_append_printf(out, "\\x%c%c", hex[p[i] >> 4], hex[p[i] & 15]);
        else
            g_string_append_c(out, (char)p[i]);
    }
}

/* `least`: 1 where there can't be a NUL. */
static void append_bytes(Maker *maker, GString *out, size_t size, uint8_t least)
{
    bool text = chance(maker, 70);
    g_autofree uint8_t *bytes = g_malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)draw(maker);
        bytes[i] = text ? (uint8_t)('a' + byte % 26) : MAX(byte, least);
    }
    append_text(maker, out, bytes, size);
}

static size_t name_length(Maker *maker)
{
    return chance(maker, 80)   ? 1 + below(maker, 12)
           : chance(maker, 80) ? 1 + below(maker, 80)
                               : 250 + below(maker, 6);
}

static void fill_name(Maker *maker, char name[256], bool root)
{
    static const char odd[] = "-!.,+#~ =\\\n\t@%";
    size_t length = name_length(maker);
    unsigned kind = below(maker, 10);
    if (root && kind < 3) {
        g_snprintf(name, 256, "%02x", below(maker, 256));
        return;
    }
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = kind < 8 ? (uint8_t)('a' + below(maker, 4)) : (uint8_t)draw(maker);
        if (kind == 8 && chance(maker, 40))
            byte = (uint8_t)odd[below(maker, sizeof odd - 1)];
        name[i] = byte == 0 || byte == '/' ? '_' : (char)byte;
    }
    name[length] = '\0';
}

/* A free path below a directory that there is already; the caller's. */
static char *new_path(Maker *maker)
{
    for (;;) {
        unsigned parent = below(maker, maker->paths->len);
        if (chance(maker, 50)) /* large directories rather than an even spread */
            parent = below(maker, 1 + maker->paths->len / 8);
        if (!S_ISDIR(g_array_index(maker->modes, uint32_t, parent)))
            continue;
        const char *dir = g_ptr_array_index(maker->paths, parent);
        char name[256];
        fill_name(maker, name, parent == 0);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        g_autofree char *path = g_strconcat(parent == 0 ? "" : dir, "/", name, NULL);
        if (g_hash_table_add(maker->taken, g_strdup(path)))
            return g_steal_pointer(&path);
    }
}

/* --- fields --------------------------------------------------------------------------------------------- */

static void append_times(Maker *maker, GString *out)
{
    static const char *const times[] = {"1700000000.0",         "1700000000.5", "1.0",  "0.0",
                                        "1700000000.999999999", "4294967296.1", "-1.0", "-5.7"};
    g_string_append(out, maker->times ? times[below(maker, G_N_ELEMENTS(times))] : times[0]);
}

static void append_owner(Maker *maker, GString *out, uint32_t mode, uint64_t rdev)
{
    uint64_t uid = 0, gid = 0, nlink = S_ISDIR(mode) ? 2 : 1;
    if (chance(maker, 15))
        uid = PICK(maker, 1, 1000, 65535, 65536, 4294967295);
    if (chance(maker, 15))
        gid = PICK(maker, 1, 1000, 65535, 65536, 4294967295);
    if (chance(maker, 5))
        nlink = PICK(maker, 0, 2, 3, 65535, 65536, 4294967295);
    g_string_append_printf(out,
                           " %o %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                           " %" G_GUINT64_FORMAT " ",
                           mode, nlink, uid, gid, rdev);
    append_times(maker, out);
}

static void append_xattr(Maker *maker, GString *out)
{
    static const char *const names[] = {"user.a",
                                        "user.b",
                                        "user.",
                                        "user.longer.name",
                                        "trusted.x",
                                        "security.selinux",
                                        "security.capability",
                                        "security.ima",
                                        "system.posix_acl_access",
                                        "system.posix_acl_default",
                                        "system.posix_acl_accessory",
                                        "lustre.x",
                                        "odd",
                                        "system.other",
                                        "trusted.",
                                        "security."};
    static const char *const marks[] = {
        "trusted.overlay.opaque",   "trusted.overlay.metacopy",
        "trusted.overlay.redirect", "trusted.overlay.overlay.whiteout",
        "trusted.overlay.whiteout", "trusted.overlay.whiteouts",
        "user.overlay.whiteout",    "user.overlay.opaque",
        "user.overlay.whiteouts",   "trusted.overlay.",
        "trusted.overlay"};
    g_string_append_c(out, ' ');
    if (maker->marks && chance(maker, 30)) {
        g_string_append(out, marks[below(maker, G_N_ELEMENTS(marks))]);
    } else if (chance(maker, 85)) {
        g_string_append(out, names[below(maker, G_N_ELEMENTS(names))]);
    } else {
        g_string_append(out, "user.");
        append_bytes(maker, out, chance(maker, 95) ? 1 + below(maker, 30) : 250, 1);
    }
    g_string_append_c(out, '=');
    if (chance(maker, 70))
        g_string_append(out, (const char *[]){"", "1", "yes", "x", "\\x00"}[below(maker, 5)]);
    else
        append_bytes(maker, out, chance(maker, 95) ? below(maker, 60) : below(maker, 3000), 0);
}

static void append_xattrs(Maker *maker, GString *out)
{
    static const char *const labels[] = {"usr_t", "lib_t", "bin_t\\x00", ""};
    if (maker->label)
        g_string_append_printf(out, " security.selinux=%s",
                               labels[below(maker, G_N_ELEMENTS(labels))]);
    if (!chance(maker, 20))
        return;
    unsigned n = chance(maker, 97) ? 1 + below(maker, 6) : 120 + below(maker, 30);
    if (n > 100)
        for (unsigned i = 0; i < n; i++)
            g_string_append_printf(out, " user.n%u=%u", i, i % 7);
    else
        for (unsigned i = 0; i < n; i++)
            append_xattr(maker, out);
}

/* PAYLOAD CONTENT DIGEST of a file with its bytes in the image. */
static void append_inline(Maker *maker, GString *out, uint64_t size)
{
    g_string_append(out, chance(maker, 95) ? " - " : " ignored ");
    append_bytes(maker, out, size, 0);
    g_string_append(out, " -");
}

static void append_object(Maker *maker, GString *out)
{
    char hex[65];
    bool often = chance(maker, 20); /* one of a few objects: several files have it */
    for (int i = 0; i < 64; i++)
        hex[i] = "0123456789abcdef"[below(maker, often && i > 0 ? 1 : 16)];
    hex[64] = '\0';
    bool digest = maker->plain || chance(maker, 90);
    g_string_append_c(out, ' ');
    switch (maker->plain ? 11 : below(maker, 12)) {
    case 0:
        g_string_append_c(out, '-');
        break;
    case 1:
        append_bytes(maker, out, 1 + below(maker, 40), 1);
        break;
    case 2:
        g_string_append_printf(out, "/%.2s/%s", hex, hex + 2);
        break;
    case 3:
        append_bytes(maker, out, chance(maker, 70) ? 100 : 4000 + below(maker, 95), 1);
        break;
    default:
        g_string_append_printf(out, "%.2s/%s", hex, hex + 2);
    }
    g_string_append_printf(out, " - %s", digest ? hex : "-");
}

static void append_file(Maker *maker, GString *out, uint32_t mode)
{
    bool has_content = chance(maker, 40);
    uint64_t size = PICK(maker, 0, 1, 2, 63, 64, 65, 200, 1000);
    if (chance(maker, 20))
        size = PICK(maker, 2047, 2048, 2049, 4095, 4096, 4097, 4999, 5000);
    if (!has_content && chance(maker, 15))
        size =
            PICK(maker, 1u << 31, UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, UINT64_C(1) << 43,
                 (UINT64_C(1) << 43) + 1, UINT64_C(1) << 50, UINT64_C(1) << 52, UINT64_C(1) << 53);
    g_string_append_printf(out, " %" G_GUINT64_FORMAT, size);
    append_owner(maker, out, mode, chance(maker, 3) ? 5 : 0);
    if (size == 0)
        g_string_append(out, chance(maker, 80) ? " - - -" : " ab/cd - -");
    else if (has_content)
        append_inline(maker, out, size);
    else
        append_object(maker, out);
}

static void append_symlink(Maker *maker, GString *out, uint32_t mode)
{
    unsigned length = chance(maker, 80)   ? 1 + below(maker, 40)
                      : chance(maker, 60) ? 1 + below(maker, 4095)
                                          : 3950 + below(maker, 146);
    g_string_append_printf(out, " %u", chance(maker, 90) ? length : below(maker, 9));
    append_owner(maker, out, mode, 0);
    g_string_append_c(out, ' ');
    append_bytes(maker, out, length, 1);
    g_string_append(out, " - -");
}

static void append_other(Maker *maker, GString *out, uint32_t mode)
{
    g_string_append_printf(out, " %u", chance(maker, 90) ? 0 : 4096);
    append_owner(maker, out, mode, PICK(maker, 0, 0, 1, 2049, 0x12345678, UINT64_C(1) << 33));
    g_string_append(out, " - - -");
}

/* --- lines ---------------------------------------------------------------------------------------------- */

static uint32_t draw_mode(Maker *maker)
{
    static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFREG,
                                     S_IFDIR, S_IFDIR, S_IFLNK, S_IFLNK, 0,       0,
                                     S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK};
    uint32_t type = types[below(maker, G_N_ELEMENTS(types))];
    uint32_t bits = chance(maker, 80) ? 0644 : (uint32_t)below(maker, 010000);
    return type ? type | bits : 0;
}

static void append_line(Maker *maker, GString *out, const char *path, uint32_t mode)
{
    append_text(maker, out, path, strlen(path));
    if (S_ISREG(mode))
        append_file(maker, out, mode);
    else if (S_ISLNK(mode))
        append_symlink(maker, out, mode);
    else
        append_other(maker, out, mode);
    append_xattrs(maker, out);
    g_string_append_c(out, '\n');
}

/* A file, or an earlier link: chains without a circle. */
static void append_link(Maker *maker, GString *out, unsigned self)
{
    unsigned target;
    uint32_t mode;
    do {
        target = below(maker, maker->paths->len);
        mode = g_array_index(maker->modes, uint32_t, target);
    } while (S_ISDIR(mode) || (mode == 0 && target >= self));
    const char *path = g_ptr_array_index(maker->paths, self);
    const char *to = g_ptr_array_index(maker->paths, target);
    append_text(maker, out, path, strlen(path));
    g_string_append(out, chance(maker, 80) ? " 0 @100644 1 0 0 0 0.0 " : " 7 @120777 - - x - . ");
    append_text(maker, out, to, strlen(to));
    g_string_append(out, " - -\n");
}

static void draw_paths(Maker *maker)
{
    unsigned n = chance(maker, 60) ? below(maker, 30) : below(maker, 300);
    if (chance(maker, 4))
        n = 1000 + below(maker, 3000);
    bool has_file = false;
    for (unsigned i = 0; i < n; i++) {
        uint32_t mode = draw_mode(maker);
        if (mode == 0 && !has_file) /* a link's first possible target */
            mode = S_IFREG | 0644;
        has_file |= mode && !S_ISDIR(mode);
        g_ptr_array_add(maker->paths, new_path(maker));
        g_array_append_val(maker->modes, mode);
    }
}

GString *random_dump(uint64_t seed)
{
    Maker maker = {
        .state = seed,
        .paths = g_ptr_array_new_with_free_func(g_free),
        .modes = g_array_new(false, false, sizeof(uint32_t)),
        .taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    maker.label = chance(&maker, 50);
    maker.times = chance(&maker, 40);
    maker.marks = chance(&maker, 15);
    maker.plain = chance(&maker, 40);
    uint32_t root = S_IFDIR | 0755;
    g_ptr_array_add(maker.paths, g_strdup("/"));
    g_array_append_val(maker.modes, root);
    draw_paths(&maker);
    GString *out = g_string_new(NULL);
    for (unsigned i = 0; i < maker.paths->len; i++) {
        uint32_t mode = g_array_index(maker.modes, uint32_t, i);
        if (mode)
            append_line(&maker, out, g_ptr_array_index(maker.paths, i), mode);
        else
            append_link(&maker, out, i);
    }
    g_ptr_array_unref(maker.paths);
    g_array_unref(maker.modes);
    g_hash_table_unref(maker.taken);
    return out;
}

/* --- damage --------------------------------------------------------------------------------------------- */

static void damage_field(Maker *maker, GPtrArray *lines, unsigned at)
{
    static const char *const words[] = {"",
                                        "-",
                                        "\\x2d",
                                        "\\x",
                                        "\\xzz",
                                        "\\q",
                                        "\\",
                                        "a\\",
                                        "18446744073709551616",
                                        "-1",
                                        "+5",
                                        "010",
                                        "abc",
                                        "1e3",
                                        "0",
                                        "1",
                                        "5000",
                                        "5001",
                                        "40755",
                                        "100644",
                                        "@40755",
                                        "@100644",
                                        "@120777",
                                        "170000",
                                        "4294967296",
                                        "0.0",
                                        "1.",
                                        ".5",
                                        "1.5.6",
                                        "-1.-1",
                                        "1",
                                        "/",
                                        "//",
                                        "/.",
                                        "/..",
                                        "/a/../b",
                                        "a",
                                        "//a",
                                        "/a/",
                                        "/a//b",
                                        "/nowhere/x",
                                        "\\x00",
                                        "x\\x00y",
                                        "=",
                                        "a=",
                                        "=b",
                                        "user.a=\\x3d",
                                        "a=b=c",
                                        "ABCDEF",
                                        "\\n"};
    g_auto(GStrv) fields = g_strsplit(g_ptr_array_index(lines, at), " ", -1);
    unsigned n = g_strv_length(fields), field = below(maker, n);
    g_free(fields[field]);
    fields[field] = g_strdup(words[below(maker, G_N_ELEMENTS(words))]);
    g_free(g_ptr_array_index(lines, at));
    lines->pdata[at] = g_strjoinv(" ", fields);
}

static void damage_byte(Maker *maker, GPtrArray *lines, unsigned at)
{
    static const char bytes[] = " \\-=@/.0+x";
    GString *line = g_string_new(g_ptr_array_index(lines, at));
    gssize place = (gssize)below(maker, (unsigned)line->len + 1);
    if (chance(maker, 50) && place < (gssize)line->len)
        g_string_erase(line, place, 1);
    if (chance(maker, 60))
        g_string_insert_c(line, place, bytes[below(maker, sizeof bytes - 1)]);
    g_free(g_ptr_array_index(lines, at));
    lines->pdata[at] = g_string_free(line, false);
}

static void damage(Maker *maker, GPtrArray *lines)
{
    unsigned at = below(maker, lines->len), other = below(maker, lines->len);
    switch (below(maker, 10)) {
    case 0: /* a line twice */
        g_ptr_array_insert(lines, (int)at, g_strdup(g_ptr_array_index(lines, other)));
        break;
    case 1: { /* two in the wrong order */
        void *line = lines->pdata[at];
        lines->pdata[at] = lines->pdata[other];
        lines->pdata[other] = line;
        break;
    }
    case 2:
        if (lines->len > 1)
            g_ptr_array_remove_index(lines, at);
        break;
    case 3:
    case 4:
        damage_byte(maker, lines, at);
        break;
    default:
        damage_field(maker, lines, at);
    }
}

GString *random_damaged_dump(uint64_t seed)
{
    g_autoptr(GString) whole = NULL;
    Maker maker = {.state = ~seed};
    do { /* of a short one: most of the damage is to the line, not to the tree */
        if (whole)
            g_string_free(whole, true);
        whole = random_dump(draw(&maker));
    } while (whole->len > 3000);
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) split = g_strsplit(whole->str, "\n", -1);
    for (char **line = split; *line && **line; line++)
        g_ptr_array_add(lines, g_strdup(*line));
    for (unsigned n = 1 + below(&maker, 2); n > 0; n--)
        damage(&maker, lines);
    GString *out = g_string_new(NULL);
    for (guint i = 0; i < lines->len; i++)
        g_string_append_printf(out, "%s\n", (const char *)g_ptr_array_index(lines, i));
    if (chance(&maker, 5))
        g_string_truncate(out, out->len - 1);
    return out;
}
