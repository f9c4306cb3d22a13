/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A reader of the store, written from docs/store.md alone: nothing of src/ is in it.
 *
 *     reader STORE IMAGE           the image (a name or digest) as a composefs dump; every file's object is measured
 *     reader STORE STREAM-ID       the bytes of a split stream, to standard output
 *     reader STORE STREAM-ID refs  its named references
 *
 * What is damaged is named on standard error; the exit status is 1 then.
 */
#include <ctype.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { BLOCK = 4096, DEPTH = 1000 };

typedef struct {
    const uint8_t *data;
    uint64_t size;
} Bytes;

static int store_fd, status;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("reader: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t number(const uint8_t *p, int size)
{
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | p[size];
    return value;
}

static Bytes part(Bytes of, uint64_t start, uint64_t size)
{
    if (start > of.size || size > of.size - start)
        die("something lies outside of its file");
    return (Bytes){of.data + start, size};
}

/* --- objects -------------------------------------------------------------------------------------------- */

static void measure(Bytes bytes, uint8_t digest[32])
{
    uint8_t descriptor[256] = {1, 1, 12, 0}, *level = NULL;
    for (int i = 0; i < 8; i++)
        descriptor[8 + i] = (uint8_t)(bytes.size >> 8 * i);
    while (bytes.size > 0) {
        uint64_t n = (bytes.size + BLOCK - 1) / BLOCK;
        uint8_t *hashes = malloc(n * 32), block[BLOCK];
        for (uint64_t i = 0; i < n; i++) {
            uint64_t size = i + 1 < n ? BLOCK : bytes.size - i * BLOCK;
            memset(block, 0, sizeof block);
            memcpy(block, bytes.data + i * BLOCK, size);
            SHA256(block, sizeof block, hashes + i * 32);
        }
        free(level);
        level = hashes;
        bytes = (Bytes){hashes, n * 32};
        if (n == 1) {
            memcpy(descriptor + 16, hashes, 32);
            break;
        }
    }
    free(level);
    SHA256(descriptor, sizeof descriptor, digest);
}

/* The object's bytes if they are those of its name; else it says so, and *out is empty. */
static bool map_object(const uint8_t digest[32], Bytes *out)
{
    char path[80] = "objects/";
    uint8_t measured[32];
    struct stat st;
    for (int i = 0, at = 8; i < 32; i++)
        at += sprintf(path + at, i == 0 ? "%02x/" : "%02x", digest[i]);
    int fd = openat(store_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    *out = (Bytes){NULL, 0};
    if (fd < 0 || fstat(fd, &st) < 0) {
        fprintf(stderr, "reader: %s: %m\n", path);
        status = 1;
        return false;
    }
    Bytes bytes = {NULL, (uint64_t)st.st_size};
    if (bytes.size > 0)
        bytes.data = mmap(NULL, bytes.size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes.data == MAP_FAILED)
        die("cannot read %s", path);
    measure(bytes, measured);
    if (memcmp(measured, digest, 32) == 0) {
        *out = bytes;
        return true;
    }
    fprintf(stderr, "reader: %s is damaged\n", path);
    if (bytes.data)
        munmap((void *)bytes.data, bytes.size);
    status = 1;
    return false;
}

static void unmap(Bytes bytes)
{
    if (bytes.data)
        munmap((void *)bytes.data, bytes.size);
}

/* --- names ---------------------------------------------------------------------------------------------- */

static bool read_link(const char *dir, const char *name, char target[4096])
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ssize_t n = readlinkat(store_fd, path, target, 4095);
    target[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* From the last 65 characters of a link's target. */
static bool find_object(const char *dir, const char *name, uint8_t digest[32])
{
    char target[4096];
    size_t size = read_link(dir, name, target) ? strlen(target) : 0;
    if (size < 65 || target[size - 63] != '/')
        return false;
    const char *at = target + size - 65;
    for (int i = 0; i < 32; i++, at += i == 1 ? 3 : 2)
        if (sscanf(at, "%2hhx", &digest[i]) != 1)
            return false;
    return true;
}

static bool find_image(const char *name, uint8_t digest[32])
{
    char encoded[4096], target[4096];
    size_t at = 0;
    if (strlen(name) == 64 && find_object("images", name, digest))
        return true;
    for (const char *c = name; *c && at < sizeof encoded - 4; c++) {
        bool first = c == name || c[-1] == '/';
        if (*c == '%' || (unsigned char)*c < 0x20 || (*c == '.' && first))
            at += (size_t)sprintf(encoded + at, "%%%02X", (unsigned char)*c);
        else
            encoded[at++] = *c;
    }
    encoded[at] = '\0';
    if (!read_link("images/refs", encoded, target))
        return false;
    const char *slash = strrchr(target, '/');
    return find_object("images", slash ? slash + 1 : target, digest);
}

/* --- images --------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t mode, nlink, uid, gid, nsec, layout, u;
    int64_t sec;
    uint64_t size;
    Bytes xattrs;
    uint64_t end; /* of the inode and its xattrs */
    /* what overlayfs is told about it */
    bool has_object, whiteout, marked;
    uint8_t object[32];
    Bytes redirect;
} Inode;

typedef struct {
    char name[300];
    Bytes value;
} Xattr;

static Bytes image;
static const uint8_t *super;
static char **first_names; /* by nid */
static uint64_t budget;    /* more than its size is not read of an image */

static void spend(uint64_t size)
{
    if (size > budget)
        die("the image refers to the same bytes too often");
    budget -= size;
}

static Inode read_inode(uint64_t nid)
{
    if (nid > image.size / 32)
        die("an inode lies outside of the image");
    const uint8_t *p = part(image, nid * 32, 32).data;
    bool extended = p[0] & 1;
    if (number(p, 2) >> 4 || !strchr("\1\2\4\6\10\12\14", p[5] >> 4) || p[5] >> 4 == 0)
        die("an inode has an unknown format or file type");
    uint64_t own = extended ? 64 : 32, count = number(p + 2, 2);
    part(image, nid * 32, own);
    Inode inode = {
        .layout = p[0] >> 1 & 7,
        .mode = (uint32_t)number(p + 4, 2),
        .nlink = (uint32_t)(extended ? number(p + 44, 4) : number(p + 6, 2)),
        .size = number(p + 8, extended ? 8 : 4),
        .u = (uint32_t)number(p + 16, 4),
        .uid = (uint32_t)(extended ? number(p + 24, 4) : number(p + 24, 2)),
        .gid = (uint32_t)(extended ? number(p + 28, 4) : number(p + 26, 2)),
        .sec = (int64_t)number(extended ? p + 32 : super + 24, 8),
        .nsec = (uint32_t)number(extended ? p + 40 : super + 32, 4),
    };
    if (inode.nsec > 999999999)
        die("an inode has an impossible time");
    inode.xattrs = part(image, nid * 32 + own, count ? 12 + 4 * (count - 1) : 0);
    inode.end = nid * 32 + own + inode.xattrs.size;
    return inode;
}

/* One block of the inode's bytes, or what is left. */
static Bytes read_block(const Inode *inode, uint64_t from)
{
    uint64_t left = inode->size - from, size = left < BLOCK ? left : BLOCK;
    spend(size);
    if (inode->layout == 2 && left < BLOCK)
        return part(image, inode->end, size);
    if (inode->layout != 0 && inode->layout != 2)
        die("an inode has an unknown layout");
    return part(image, (uint64_t)inode->u * BLOCK + from, size);
}

typedef void (*XattrFunc)(Inode *inode, const Xattr *xattr);

/* Returns its size in the image. */
static uint64_t visit_xattr(Inode *inode, Bytes from, XattrFunc visit)
{
    static const char *const prefixes[] = {
        "",   "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
        NULL, "security."};
    const uint8_t *p = part(from, 0, 4).data;
    uint64_t length = p[0], size = number(p + 2, 2);
    if (p[1] > 6 || !prefixes[p[1]])
        die("an xattr has an unknown prefix");
    const char *suffix = (const char *)part(from, 4, length).data;
    Xattr xattr = {.value = part(from, 4 + length, size)};
    if (memchr(suffix, '\0', length) || (length == 0 && p[1] == 0))
        die("an xattr has an impossible name");
    snprintf(xattr.name, sizeof xattr.name, "%s%.*s", prefixes[p[1]], (int)length, suffix);
    visit(inode, &xattr);
    return (4 + length + size + 3) & ~(uint64_t)3;
}

static void each_xattr(Inode *inode, XattrFunc visit)
{
    if (inode->xattrs.size == 0)
        return;
    uint64_t n_shared = inode->xattrs.data[4], at = 12 + 4 * n_shared;
    part(inode->xattrs, 0, at);
    while (at < inode->xattrs.size)
        at += visit_xattr(inode, part(inode->xattrs, at, inode->xattrs.size - at), visit);
    for (uint64_t i = 0; i < n_shared; i++) {
        uint64_t id = number(inode->xattrs.data + 12 + 4 * i, 4);
        uint64_t start = number(super + 44, 4) * BLOCK + 4 * id;
        part(image, start, 4);
        visit_xattr(inode, part(image, start, image.size - start), visit);
    }
}

#define OVERLAY "trusted.overlay."
#define ESCAPED "trusted.overlay.overlay."

static bool is(const Xattr *xattr, const char *name)
{
    return strcmp(xattr->name, name) == 0;
}

static bool is_mark(const Xattr *xattr)
{
    return is(xattr, ESCAPED "whiteouts") || is(xattr, "user.overlay.whiteouts") ||
           is(xattr, "user.overlay.whiteout");
}

static void note_xattr(Inode *inode, const Xattr *xattr)
{
    if (is(xattr, OVERLAY "metacopy") && xattr->value.size > 0) {
        if (xattr->value.size != 36 || memcmp(xattr->value.data, "\0\x24\0\1", 4) != 0)
            die("a file has a digest of an unknown kind");
        memcpy(inode->object, xattr->value.data + 4, 32);
        inode->has_object = true;
    } else if (is(xattr, OVERLAY "redirect") && xattr->value.size > 0) {
        inode->redirect = part(xattr->value, 1, xattr->value.size - 1);
    } else if (is(xattr, ESCAPED "whiteout") && S_ISREG(inode->mode)) {
        inode->whiteout = true;
    }
    inode->marked |= is_mark(xattr);
}

/* As in dumps. */
static void print_escaped(Bytes bytes, bool equals)
{
    static const char plain[] = "\\\n\r\t", shorts[] = "\\nrt";
    for (uint64_t i = 0; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        const char *known = c ? strchr(plain, c) : NULL;
        if (known)
            printf("\\%c", shorts[known - plain]);
        else if (c < 0x21 || c > 0x7e || (c == '=' && equals))
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static void print_field(Bytes bytes)
{
    if (bytes.size == 0)
        putchar('-');
    else if (bytes.size == 1 && bytes.data[0] == '-')
        fputs("\\x2d", stdout);
    else
        print_escaped(bytes, false);
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* If it is the tree's own. */
static void print_xattr(Inode *inode, const Xattr *xattr)
{
    const char *name = xattr->name;
    bool x = xattr->value.size == 1 && xattr->value.data[0] == 'x';
    bool escaped = begins(name, ESCAPED);
    if ((begins(name, OVERLAY) && !escaped) || is_mark(xattr) ||
        (inode->whiteout && is(xattr, ESCAPED "whiteout")) ||
        (inode->marked && x && (is(xattr, "user.overlay.opaque") || is(xattr, ESCAPED "opaque"))))
        return;
    if (escaped)
        name += strlen(ESCAPED);
    printf(" %s", escaped ? OVERLAY : "");
    print_escaped((Bytes){(const uint8_t *)name, strlen(name)}, true);
    putchar('=');
    print_escaped(xattr->value, true);
}

/* A link's target or a small file's bytes, in memory of the caller. */
static Bytes read_all(const Inode *inode)
{
    if (inode->size > image.size)
        die("an inode is larger than the image");
    uint8_t *all = malloc(inode->size + 1);
    for (uint64_t from = 0; from < inode->size; from += BLOCK) {
        Bytes block = read_block(inode, from);
        memcpy(all + from, block.data, block.size);
    }
    return (Bytes){all, inode->size};
}

/* A line of the dump; `first`: the inode's first name, if this is another one. */
static void print_inode(const char *path, Inode *inode, const char *first)
{
    Bytes content = {NULL, 0}, payload = inode->redirect;
    bool device = S_ISCHR(inode->mode) || S_ISBLK(inode->mode);
    if (inode->whiteout)
        inode->mode = S_IFCHR | (inode->mode & 07777);
    else if (S_ISLNK(inode->mode))
        payload = read_all(inode);
    else if (S_ISREG(inode->mode) && inode->layout != 4)
        content = read_all(inode);
    bool own = payload.data != inode->redirect.data;
    print_escaped((Bytes){(const uint8_t *)path, strlen(path)}, false);
    printf(" %lu %s%o %u %u %u %u %ld.%u ", inode->size, first ? "@" : "", inode->mode,
           inode->nlink, inode->uid, inode->gid, device ? inode->u : 0, inode->sec, inode->nsec);
    print_field(first ? (Bytes){(const uint8_t *)first, strlen(first)} : payload);
    putchar(' ');
    print_field(content);
    putchar(' ');
    for (int i = 0; inode->has_object && i < 32; i++)
        printf("%02x", inode->object[i]);
    if (!inode->has_object)
        putchar('-');
    each_xattr(inode, print_xattr);
    putchar('\n');
    free((void *)content.data);
    if (own)
        free((void *)payload.data);
}

static void check_object(const char *path, const Inode *inode)
{
    Bytes bytes;
    bool good = map_object(inode->object, &bytes);
    if (good && bytes.size != inode->size)
        fprintf(stderr, "reader: the object has not the size of the file\n");
    if (!good || bytes.size != inode->size) {
        fprintf(stderr, "reader: it has the bytes of %s\n", path);
        status = 1;
    }
    unmap(bytes);
}

static void walk(uint64_t nid, const char *path, int depth);

static void read_entry(uint64_t nid, const char *dir, Bytes name, int depth)
{
    static const char hex[] = "0123456789abcdef";
    const char *text = (const char *)name.data;
    char *path;
    bool dots = name.size <= 2 && memcmp(text, "..", name.size) == 0;
    if (name.size == 0 || name.size > 255 || memchr(text, '/', name.size))
        die("a directory has an impossible name");
    if (dots)
        return;
    Inode inode = read_inode(nid);
    if (depth == 0 && name.size == 2 && strchr(hex, text[0]) && strchr(hex, text[1]) &&
        S_ISCHR(inode.mode) && inode.u == 0 && number(image.data + 12, 4) < 2)
        return;
    if (asprintf(&path, "%s/%.*s", depth > 0 ? dir : "", (int)name.size, text) < 0)
        die("out of memory");
    walk(nid, path, depth + 1);
    free(path);
}

static void read_dir(const Inode *dir, const char *path, int depth)
{
    if (dir->size > image.size || depth > DEPTH)
        die("a directory is too large or too deep");
    Bytes last = {NULL, 0};
    for (uint64_t from = 0; from < dir->size; from += BLOCK) {
        Bytes block = read_block(dir, from);
        uint64_t names = number(part(block, 0, 12).data + 8, 2), n = names / 12;
        part(block, 0, names);
        for (uint64_t i = 0; i < n; i++) {
            const uint8_t *entry = block.data + 12 * i;
            uint64_t start = number(entry + 8, 2);
            uint64_t end = i + 1 < n ? number(entry + 20, 2) : block.size;
            if (start < names || end < start)
                die("a directory is not well formed");
            Bytes name = part(block, start, end - start);
            name.size = strnlen((const char *)name.data, name.size);
            if (i + 1 < n && name.size != end - start)
                die("a directory has an impossible name");
            uint64_t common = name.size < last.size ? name.size : last.size;
            int order = common ? memcmp(last.data, name.data, common) : 0;
            if (order > 0 || (order == 0 && last.size >= name.size))
                die("a directory is not in order");
            last = name;
            read_entry(number(entry, 8), path, name, depth);
        }
        if (n == 0)
            die("a directory is not well formed");
    }
}

static void walk(uint64_t nid, const char *path, int depth)
{
    Inode inode = read_inode(nid);
    bool known = first_names[nid];
    spend(known ? 0 : inode.end - nid * 32);
    if (known && S_ISDIR(inode.mode))
        die("a directory has two names");
    each_xattr(&inode, note_xattr);
    print_inode(path, &inode, first_names[nid]);
    if (!known)
        first_names[nid] = strdup(path);
    if (S_ISREG(inode.mode) && inode.has_object && !known)
        check_object(path, &inode);
    if (S_ISDIR(inode.mode))
        read_dir(&inode, path, depth);
}

static void read_image(const uint8_t digest[32])
{
    if (!map_object(digest, &image))
        die("the image can't be read");
    super = part(image, 1024, 128).data;
    if (number(image.data, 4) != 0xd078629a || number(image.data + 4, 4) != 1 ||
        number(super, 4) != 0xe0f5e1e2 || super[12] != 12 || number(super + 40, 4) != 0)
        die("this is not an image");
    budget = image.size;
    first_names = calloc(image.size / 32 + 1, sizeof *first_names);
    walk(number(super + 14, 2), "/", 0);
}

/* --- streams -------------------------------------------------------------------------------------------- */

typedef struct {
    Bytes refs, objects, body, names;
    uint64_t size;
} Stream;

static Bytes range(Bytes of, const uint8_t *p)
{
    uint64_t start = number(p, 8), end = number(p + 8, 8);
    return part(of, start, end < start ? UINT64_MAX : end - start);
}

static Stream open_stream(Bytes file)
{
    const uint8_t *p = part(file, 0, 32).data;
    if (memcmp(p, "SplitStream", 12) != 0 || p[14] != 1 || p[15] != 12)
        die("this is not a split stream, or not one of a known version");
    const uint8_t *info = part(range(file, p + 16), 0, 80).data;
    return (Stream){range(file, info), range(file, info + 16), range(file, info + 32),
                    range(file, info + 48), number(info + 72, 8)};
}

/* Decompresses exactly `size` bytes to `out`; false at the end, if nothing is left of the input. */
static bool inflate(ZSTD_DStream *zstd, ZSTD_inBuffer *in, void *out, size_t size)
{
    ZSTD_outBuffer to = {out, size, 0};
    while (to.pos < size) {
        size_t before = to.pos + in->pos, left = ZSTD_decompressStream(zstd, &to, in);
        if (ZSTD_isError(left))
            die("a stream can't be decompressed: %s", ZSTD_getErrorName(left));
        if (to.pos + in->pos == before && to.pos > 0)
            die("a stream ends too early");
        if (to.pos + in->pos == before)
            return false;
    }
    return true;
}

static void put(Bytes bytes, uint64_t *left)
{
    if (bytes.size > *left)
        die("the stream is longer than it says");
    *left -= bytes.size;
    if (bytes.size > 0 && fwrite(bytes.data, 1, bytes.size, stdout) != bytes.size)
        die("cannot write");
}

static void print_body(const Stream *stream)
{
    static uint8_t buffer[1 << 16];
    ZSTD_DStream *zstd = ZSTD_createDStream();
    ZSTD_inBuffer in = {stream->body.data, stream->body.size, 0};
    uint64_t left = stream->size;
    while (inflate(zstd, &in, buffer, 8)) {
        int64_t n = (int64_t)number(buffer, 8);
        uint64_t inlined = n < 0 ? -(uint64_t)n : 0;
        while (inlined > 0) {
            size_t size = inlined < sizeof buffer ? inlined : sizeof buffer;
            if (!inflate(zstd, &in, buffer, size))
                die("a stream ends too early");
            put((Bytes){buffer, size}, &left);
            inlined -= size;
        }
        Bytes object;
        if (n < 0)
            continue;
        if ((uint64_t)n >= stream->objects.size / 32 ||
            !map_object(part(stream->objects, (uint64_t)n * 32, 32).data, &object))
            die("the stream needs an object that can't be read");
        put(object, &left);
        unmap(object);
    }
    ZSTD_freeDStream(zstd);
    if (left > 0)
        die("the stream is shorter than it says");
}

static void print_names(const Stream *stream)
{
    ZSTD_DStream *zstd = ZSTD_createDStream();
    ZSTD_inBuffer in = {stream->names.data, stream->names.size, 0};
    char text[4096];
    for (size_t at = 0; inflate(zstd, &in, text + at, 1);) {
        char *name;
        if (text[at] != '\0') {
            if (++at == sizeof text)
                die("a name is too long");
            continue;
        }
        uint64_t index = strtoull(text, &name, 10);
        if (!isdigit((unsigned char)text[0]) || *name != ':' || index >= stream->refs.size / 32)
            die("a named reference is not well formed");
        for (int i = 0; i < 32; i++)
            printf("%02x", stream->refs.data[index * 32 + (uint64_t)i]);
        printf(" %s\n", name + 1);
        at = 0;
    }
    ZSTD_freeDStream(zstd);
}

static void check_meta(void)
{
    char meta[4096] = {0};
    int fd = openat(store_fd, "meta.json", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, meta, sizeof meta - 1) <= 0 || !strstr(meta, "\"version\": 1,") ||
        !strstr(meta, "\"fsverity-sha256-12\"") || !strstr(meta, "\"incompatible\": []"))
        die("this is no store, or one of an unknown kind");
    close(fd);
}

int main(int argc, char **argv)
{
    uint8_t digest[32];
    Bytes file;
    bool names = argc == 4 && strcmp(argv[3], "refs") == 0;
    if (argc != 3 && !names) {
        fputs("usage: reader STORE IMAGE | STREAM-ID [refs]\n", stderr);
        return 2;
    }
    store_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store_fd < 0)
        die("cannot open %s", argv[1]);
    check_meta();
    if (!strchr(argv[2], '/') && find_object("streams", argv[2], digest)) {
        if (!map_object(digest, &file))
            die("the stream can't be read");
        Stream stream = open_stream(file);
        (names ? print_names : print_body)(&stream);
    } else if (find_image(argv[2], digest)) {
        read_image(digest);
    } else {
        die("there is no stream or image '%s'", argv[2]);
    }
    return fflush(stdout) == 0 ? status : 1;
}
