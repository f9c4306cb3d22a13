/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/file_text.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

const char *file_type_name(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symlink";
    case S_IFCHR:
        return "character-device";
    case S_IFBLK:
        return "block-device";
    case S_IFIFO:
        return "fifo";
    default:
        return "socket";
    }
}

/* The execute letter of a class whose special bit is set. */
static char special(uint32_t mode, uint32_t bit, uint32_t execute, char plain, char letter)
{
    if (!(mode & bit))
        return plain;
    return mode & execute ? letter : g_ascii_toupper(letter);
}

FileMode file_mode_text(uint32_t mode)
{
    static const char types[16] = "?pc?d?b?-?l?s???", bits[] = "rwxrwxrwx";
    FileMode out = {{types[mode >> 12 & 15]}};
    for (unsigned i = 0; i < 9; i++)
        out.text[i + 1] = mode & (0400u >> i) ? bits[i] : '-';
    out.text[3] = special(mode, S_ISUID, 0100, out.text[3], 's');
    out.text[6] = special(mode, S_ISGID, 0010, out.text[6], 's');
    out.text[9] = special(mode, S_ISVTX, 0001, out.text[9], 't');
    return out;
}

char *file_time_text(int64_t seconds, uint32_t nanoseconds)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
    if (!time) /* beyond the year 9999 */
        return g_strdup_printf("%" G_GINT64_FORMAT ".%09u", seconds, nanoseconds);
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%d %H:%M:%S");
    return g_strdup_printf("%s.%09u UTC", text, nanoseconds);
}

char *file_path_text(const char *path)
{
    GString *text = g_string_new(NULL);
    for (const char *c = path; *c;) {
        gunichar letter = g_utf8_get_char_validated(c, -1);
        bool valid = letter != (gunichar)-1 && letter != (gunichar)-2;
        const char *next = valid ? g_utf8_next_char(c) : c + 1;
        if (*c == '\\')
            g_string_append(text, "\\\\");
        else if (valid && g_unichar_isprint(letter))
            g_string_append_len(text, c, next - c);
        else
            for (const char *byte = c; byte < next; byte++)
                g_string_append_printf(text, "\\x%02x", (unsigned char)*byte);
        c = next;
    }
    return g_string_free(text, false);
}

void file_print(const TreeNode *node)
{
    const TreeInode *inode = node->inode;
    g_autofree char *path = tree_path(node);
    g_autofree char *shown = file_path_text(path);
    g_autofree char *target = inode->target ? file_path_text(inode->target) : NULL;
    printf("%s %5u %5u %10" G_GUINT64_FORMAT " %s%s%s\n", file_mode_text(inode->mode).text,
           inode->uid, inode->gid, S_ISDIR(inode->mode) ? 0 : inode->size, shown,
           target ? " -> " : "", target ? target : "");
}

void file_json_set(json_t *object, const char *key, const char *text)
{
    if (g_utf8_validate(text, -1, NULL)) {
        json_object_set_new(object, key, json_string(text));
        return;
    }
    g_autofree char *base64_key = g_strconcat(key, "_b64", NULL);
    g_autofree char *base64 = g_base64_encode((const guchar *)text, strlen(text));
    json_object_set_new(object, base64_key, json_string(base64));
}

json_t *file_json(const TreeNode *node)
{
    const TreeInode *inode = node->inode;
    g_autofree char *path = tree_path(node);
    char mode[8];
    g_snprintf(mode, sizeof mode, "%04o", inode->mode & 07777);
    json_t *file =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "type", file_type_name(inode->mode),
                  "mode", mode, "uid", (json_int_t)inode->uid, "gid", (json_int_t)inode->gid,
                  "size", (json_int_t)inode->size, "mtime", (json_int_t)inode->mtime, "mtime_nsec",
                  (json_int_t)inode->mtime_nsec, "nlink", (json_int_t)inode->nlink);
    file_json_set(file, "path", path);
    if (inode->target)
        file_json_set(file, "target", inode->target);
    if (inode->has_object)
        json_object_set_new(file, "object", json_string(digest_hex(&inode->object).text));
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        json_object_set_new(file, "device",
                            json_pack("[i, i]", (int)major(inode->rdev), (int)minor(inode->rdev)));
    return file;
}

json_t *file_json_full(const TreeNode *node)
{
    const TreeInode *inode = node->inode;
    json_t *file = file_json(node), *xattrs = json_array();
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        const TreeXattr *xattr = &inode->xattrs[i];
        g_autofree char *value = g_base64_encode(xattr->value, xattr->size);
        json_t *entry = json_pack("{s:s}", "value_b64", value);
        file_json_set(entry, "name", xattr->name);
        json_array_append_new(xattrs, entry);
    }
    json_object_set_new(file, "xattrs", xattrs);
    return file;
}
