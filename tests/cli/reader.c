/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A reader of the store, written from docs/store.md alone and sharing no code with src/: it shows that the page is enough.
 *
 *     reader STORE NAME|DIGEST    prints each file as "TYPE MODE UID GID SIZE MTIME.NSEC PATH[ -> TARGET]", below it
 *                                 its xattrs, and measures every object; exit status 1 when a digest is wrong
 */
#include <err.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096 };
typedef struct {
    uint8_t *data;
    size_t size;
} Bytes;
typedef struct {
    const uint8_t *at, *xattrs, *tail;
    uint64_t size, mtime;
    uint32_t mode, uid, gid, u, nsec, xattr_size;
    int layout;
} Inode;

static Bytes image;
static size_t visited;
static bool wrong;

static uint64_t number(const uint8_t *p, int size)
{
    uint64_t n = 0;
    while (size-- > 0)
        n = n << 8 | p[size];
    return n;
}

static const uint8_t *at(uint64_t offset, uint64_t size)
{
    if (offset > image.size || size > image.size - offset)
        errx(2, "the image is damaged");
    return image.data + offset;
}

static Bytes read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    if (!file || fstat(fileno(file), &st) < 0)
        err(2, "%s", path);
    Bytes bytes = {calloc(1, (size_t)st.st_size + 1), (size_t)st.st_size};
    if (!bytes.data || fread(bytes.data, 1, bytes.size, file) != bytes.size)
        err(2, "%s", path);
    fclose(file);
    return bytes;
}

/* --- digests -------------------------------------------------------------------------------------------- */

static void measure(Bytes bytes, uint8_t digest[32])
{
    uint8_t descriptor[256] = {1, 1, 12};
    for (int i = 0; i < 8; i++)
        descriptor[8 + i] = (uint8_t)((uint64_t)bytes.size >> 8 * i);
    Bytes level = bytes;
    do {
        size_t n = (level.size + BLOCK - 1) / BLOCK;
        Bytes next = {calloc(n + 1, 32), n * 32};
        for (size_t i = 0; i < n; i++) {
            uint8_t block[BLOCK] = {0};
            size_t left = level.size - i * BLOCK;
            memcpy(block, level.data + i * BLOCK, left < BLOCK ? left : BLOCK);
            SHA256(block, BLOCK, next.data + i * 32);
        }
        if (level.data != bytes.data)
            free(level.data);
        level = next;
    } while (level.size > 32);
    memcpy(descriptor + 16, level.data, 32);
    free(level.data);
    SHA256(descriptor, sizeof descriptor, digest);
}

static void check_object(const uint8_t digest[32], uint64_t size)
{
    char path[80] = "objects/";
    uint8_t found[32];
    for (int i = 0; i < 32; i++)
        sprintf(path + strlen(path), i == 0 ? "%02x/" : "%02x", digest[i]);
    Bytes bytes = read_file(path);
    measure(bytes, found);
    if (bytes.size != size || memcmp(found, digest, 32) != 0) {
        printf("wrong: %s\n", path);
        wrong = true;
    }
    free(bytes.data);
}

/* --- inodes --------------------------------------------------------------------------------------------- */

static Inode read_inode(uint64_t nid)
{
    const uint8_t *super = at(1024, 128), *p = at(nid * 32, 32);
    bool extended = p[0] & 1;
    if (extended)
        at(nid * 32, 64);
    Inode inode = {.at = p, .layout = p[0] >> 1 & 7, .mode = (uint32_t)number(p + 4, 2)};
    inode.size = number(p + 8, extended ? 8 : 4);
    inode.u = (uint32_t)number(p + 16, 4);
    inode.uid = (uint32_t)(extended ? number(p + 24, 4) : number(p + 24, 2));
    inode.gid = (uint32_t)(extended ? number(p + 28, 4) : number(p + 26, 2));
    inode.mtime = extended ? number(p + 32, 8) : number(super + 24, 8);
    inode.nsec = (uint32_t)(extended ? number(p + 40, 4) : number(super + 32, 4));
    uint32_t count = (uint32_t)number(p + 2, 2);
    inode.xattr_size = count ? 12 + 4 * (count - 1) : 0;
    inode.xattrs = at(nid * 32 + (extended ? 64 : 32), inode.xattr_size);
    inode.tail = inode.xattrs + inode.xattr_size;
    return inode;
}

/* Block i of the inode's data. */
static const uint8_t *data_block(const Inode *inode, uint64_t i, uint64_t size)
{
    if (inode->layout == 2 && i == inode->size / BLOCK)
        return at((uint64_t)(inode->tail - image.data), size);
    return at((inode->u + i) * BLOCK, size);
}

/* --- xattrs --------------------------------------------------------------------------------------------- */

static const uint8_t *xattr(const uint8_t *p, const Inode *inode, bool print)
{
    static const char *const prefixes[] = {
        "",  "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
        "?", "security."};
    uint64_t offset = (uint64_t)(p - image.data);
    at(offset, 4);
    size_t length = p[0], size = number(p + 2, 2);
    at(offset, 4 + length + size);
    char name[320];
    snprintf(name, sizeof name, "%s%.*s", p[1] < 7 ? prefixes[p[1]] : "?", (int)length, p + 4);
    const uint8_t *value = p + 4 + length;
    if (strcmp(name, "trusted.overlay.metacopy") == 0 && size == 36 && !print)
        check_object(value + 4, inode->size);
    if (strncmp(name, "trusted.overlay.", 16) != 0 && print)
        printf("  %s=%.*s\n", name, (int)size, value);
    return p + (4 + length + size + 3) / 4 * 4;
}

static void each_xattr(const Inode *inode, bool print)
{
    if (!inode->xattr_size)
        return;
    uint64_t shared = number(at(1024 + 44, 4), 4) * BLOCK, n = inode->xattrs[4];
    const uint8_t *p = inode->xattrs + 12, *end = inode->xattrs + inode->xattr_size;
    for (uint64_t i = 0; i < n && p < end; i++, p += 4)
        xattr(at(shared + 4 * number(p, 4), 4), inode, print);
    while (p < end)
        p = xattr(p, inode, print);
}

/* --- directories ---------------------------------------------------------------------------------------- */

static void read_dir(const Inode *dir, const char *path, int depth);

static void visit(uint64_t nid, const char *path, int depth)
{
    Inode inode = read_inode(nid);
    if (depth > 2048 || ++visited > image.size / 12)
        errx(2, "the image is damaged");
    if (depth == 1 && S_ISCHR(inode.mode) && inode.u == 0)
        return;
    printf("%c %04o %u %u %" PRIu64 " %" PRIu64 ".%09u %s", "?pc?d?b?-?l?s???"[inode.mode >> 12],
           inode.mode & 07777, inode.uid, inode.gid, S_ISDIR(inode.mode) ? 0 : inode.size,
           inode.mtime, inode.nsec, depth ? path : "/");
    if (S_ISLNK(inode.mode) && inode.size < BLOCK)
        printf(" -> %.*s", (int)inode.size, data_block(&inode, 0, inode.size));
    putchar('\n');
    each_xattr(&inode, true);
    if (S_ISREG(inode.mode))
        each_xattr(&inode, false);
    if (S_ISDIR(inode.mode))
        read_dir(&inode, path, depth);
}

static void read_dir(const Inode *dir, const char *path, int depth)
{
    for (uint64_t i = 0; i * BLOCK < dir->size; i++) {
        size_t size = dir->size - i * BLOCK < BLOCK ? dir->size - i * BLOCK : BLOCK;
        const uint8_t *block = data_block(dir, i, size);
        size_t n = size < 12 ? 0 : number(block + 8, 2) / 12;
        for (size_t j = 0; j < n && n * 12 <= size; j++) {
            size_t start = number(block + j * 12 + 8, 2);
            size_t end = j + 1 < n ? number(block + j * 12 + 20, 2) : size;
            if (start > end || end > size)
                errx(2, "the image is damaged");
            char child[8192];
            size_t length = strnlen((const char *)block + start, end - start);
            const char *name = (const char *)block + start;
            if ((length == 1 && *name == '.') || (length == 2 && memcmp(name, "..", 2) == 0))
                continue;
            if (snprintf(child, sizeof child, "%s/%.*s", path, (int)length, name) >=
                (int)sizeof child)
                errx(2, "a path is too long for this reader");
            visit(number(block + j * 12, 8), child, depth + 1);
        }
    }
}

int main(int argc, char **argv)
{
    char path[4200], target[4096];
    if (argc != 3 || chdir(argv[1]) < 0)
        errx(2, "usage: reader STORE NAME|DIGEST");
    snprintf(path, sizeof path, "images/refs/%s", argv[2]);
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    const char *digest = n < 0 ? argv[2] : strrchr(target, '/') + 1;
    snprintf(path, sizeof path, "images/%s", digest);
    image = read_file(path);
    if (number(at(0, 4), 4) != 0xd078629a || number(at(1024, 4), 4) != 0xE0F5E1E2)
        errx(2, "not an image");
    uint8_t measured[32];
    measure(image, measured);
    for (int i = 0; i < 32; i++)
        sprintf(path + 2 * i, "%02x", measured[i]);
    if (strcmp(path, digest) != 0) {
        printf("wrong: images/%s\n", digest);
        wrong = true;
    }
    visit(number(at(1024 + 14, 2), 2), "", 0);
    return wrong;
}
