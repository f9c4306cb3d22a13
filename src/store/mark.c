/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the roots are the refs, what living and resumable writers count on, and, when asked for, what is
 * young. A ref leads to a link, a link to an object; of images and streams what they contain is marked too, once.
 *
 * What a named reference of a stream leads to is expanded even when no link says that it is a stream or an image: its
 * link may have been swept just before the stream that needs it got a name again.
 *
 * A thing that is not there marks nothing (another collection may be at work); one that can't be read is an error,
 * since nobody knows what it needs.
 */
#include "store/mark.h"

#include "store/scan.h"
#include "store/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { IMAGE_LIMIT = 1 << 30 };

/* The roots file is kept open, so that its inode is not that of another file later. */
typedef struct {
    int fd;
    ino_t inode;
    off_t read;
} Writer;

static void writer_free(void *data)
{
    Writer *writer = data;
    sys_fd_closep(&writer->fd);
    g_free(writer);
}

int64_t mark_young_since(uint64_t age)
{
    int64_t now = g_get_real_time() / G_USEC_PER_SEC;
    return age == 0 ? INT64_MAX : age > (uint64_t)now ? 0 : now - (int64_t)age;
}

void mark_init(Mark *mark, Store *store, int64_t young)
{
    *mark = (Mark){.store = store, .young = young};
    digest_table_init(&mark->table);
    mark->writers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, writer_free);
}

void mark_clear(Mark *mark)
{
    digest_table_clear(&mark->table);
    for (int kind = 0; kind < 2; kind++)
        g_clear_pointer(&mark->links[kind], g_hash_table_unref);
    g_clear_pointer(&mark->writers, g_hash_table_unref);
}

bool mark_is_live(const Mark *mark, const Digest *object)
{
    return digest_table_marks(&mark->table, object) & MARK_LIVE;
}

bool mark_is_young(const Mark *mark, const struct stat *st)
{
    return st->st_ctime >= mark->young;
}

/* --- objects -------------------------------------------------------------------------------------------- */

static bool mark_needed(const Digest *object, void *data, GError **error _unused)
{
    Mark *mark = data;
    digest_table_add(&mark->table, object, MARK_LIVE);
    return true;
}

static bool expand(Mark *mark, const Digest *object, uint32_t kind, GError **error);

/* MARK_STREAM, MARK_IMAGE or 0, by its first bytes. */
static bool look_at_kind(Store *store, const Digest *object, uint32_t *out_kind, GError **error)
{
    uint8_t head[STREAM_HEADER_SIZE] = {0};
    *out_kind = 0;
    _autofd int fd =
        openat(store->objects_fd, store_object_path(object).text, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0 || pread(fd, head, sizeof head, 0) < 0)
        return error_throw_errno(error, "cannot read object '%.12s'", digest_hex(object).text);
    if (stream_has_magic(head))
        *out_kind = MARK_STREAM;
    else if (tree_is_image(head, sizeof head))
        *out_kind = MARK_IMAGE;
    return true;
}

static bool mark_reference(Mark *mark, const Digest *object, GError **error)
{
    uint32_t known = digest_table_add(&mark->table, object, MARK_LIVE), kind = known;
    if (known & MARK_EXPANDED)
        return true;
    if (known & (MARK_STREAM | MARK_IMAGE))
        return expand(mark, object, kind, error);
    if (!look_at_kind(mark->store, object, &kind, error))
        return false;
    g_autoptr(GError) failed = NULL;
    if (kind == 0 || expand(mark, object, kind, &failed) || error_is(failed, ERROR_CORRUPT))
        return true; /* a file that only begins like one is just a file */
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

static bool mark_stream(Mark *mark, const Digest *object, GError **error)
{
    g_autoptr(StoreStream) stream = store_stream_open(mark->store, object, error);
    if (!stream)
        return false;
    for (size_t i = 0; i < store_stream_n_objects(stream); i++)
        digest_table_add(&mark->table, store_stream_object(stream, i), MARK_LIVE);
    for (size_t i = 0; i < store_stream_n_refs(stream); i++)
        if (!mark_reference(mark, store_stream_nth_ref(stream, i), error))
            return false;
    return true;
}

static bool mark_image(Mark *mark, const Digest *object, GError **error)
{
    g_autoptr(GBytes) bytes = store_read_object(mark->store, object, IMAGE_LIMIT, error);
    return bytes && tree_image_each_object(bytes, mark_needed, mark, error);
}

static bool expand(Mark *mark, const Digest *object, uint32_t kind, GError **error)
{
    g_autoptr(GError) failed = NULL;
    digest_table_add(&mark->table, object, MARK_EXPANDED);
    if ((!(kind & MARK_STREAM) || mark_stream(mark, object, &failed)) &&
        (!(kind & MARK_IMAGE) || mark_image(mark, object, &failed)))
        return true;
    struct stat st;
    if (error_is(failed, ERROR_NOT_FOUND) &&
        fstatat(mark->store->objects_fd, store_object_path(object).text, &st, AT_SYMLINK_NOFOLLOW) <
            0 &&
        errno == ENOENT) /* it and not something in between */
        return true;
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

/* With what it contains, when links say that it is a stream or image. */
static bool mark_object(Mark *mark, const Digest *object, GError **error)
{
    uint32_t known = digest_table_add(&mark->table, object, MARK_LIVE);
    if (!(known & (MARK_STREAM | MARK_IMAGE)) || known & MARK_EXPANDED)
        return true;
    return expand(mark, object, known, error);
}

/* --- names ---------------------------------------------------------------------------------------------- */

static bool scan_kind(Mark *mark, StoreKind kind, uint32_t is_kind, GError **error)
{
    g_autoptr(GHashTable) links = scan_links(mark->store, kind, error);
    if (!links)
        return false;
    GHashTableIter iter;
    gpointer object;
    g_hash_table_iter_init(&iter, links);
    while (g_hash_table_iter_next(&iter, NULL, &object))
        digest_table_add(&mark->table, object, is_kind);
    g_clear_pointer(&mark->links[kind], g_hash_table_unref);
    mark->links[kind] = g_steal_pointer(&links);
    return true;
}

static bool mark_refs(Mark *mark, StoreKind kind, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(mark->store, kind, "", error);
    if (!refs)
        return false;
    GHashTableIter iter;
    gpointer target;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, NULL, &target)) {
        const Digest *object = g_hash_table_lookup(mark->links[kind], target);
        if (object && !mark_object(mark, object, error))
            return false;
    }
    return true;
}

/* Images and streams that came lately, as if they had a ref: their objects may be older. */
static bool mark_young(Mark *mark, StoreKind kind, GError **error)
{
    GHashTableIter iter;
    gpointer name, object;
    g_hash_table_iter_init(&iter, mark->links[kind]);
    while (mark->young != INT64_MAX && g_hash_table_iter_next(&iter, &name, &object)) {
        g_autofree char *path = g_strconcat(store_kind_dir(kind), "/", name, NULL);
        struct stat st;
        bool there = fstatat(mark->store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (!there && errno != ENOENT)
            return error_throw_errno(error, "cannot look at '%s'", path);
        if (there && mark_is_young(mark, &st) && !mark_object(mark, object, error))
            return false;
    }
    return true;
}

/* --- writers -------------------------------------------------------------------------------------------- */

/* NULL without an error when it has none. */
static Writer *open_roots(Mark *mark, int staging, const char *name, GError **error)
{
    g_autofree char *path = g_strconcat(name, "/" STORE_STAGING_ROOTS, NULL);
    _autofd int fd = openat(staging, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return NULL;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_throw_errno_null(error, "cannot read '" STORE_STAGING "/%s'", path);
    Writer *writer = g_hash_table_lookup(mark->writers, name);
    if (writer && writer->inode == st.st_ino)
        return writer;
    writer = g_new0(Writer, 1);
    *writer = (Writer){.fd = fd_steal(&fd), .inode = st.st_ino};
    g_hash_table_insert(mark->writers, g_strdup(name), writer);
    return writer;
}

static bool mark_writer(int staging, const char *name, StagingState state, void *data,
                        GError **error)
{
    Mark *mark = data;
    if (state != STAGING_ALIVE && state != STAGING_RESUMABLE)
        return true;
    g_autoptr(GError) failed = NULL;
    Writer *writer = open_roots(mark, staging, name, &failed);
    if (failed) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    Digest objects[256];
    ssize_t n;
    while (writer && (n = pread(writer->fd, objects, sizeof objects, writer->read)) != 0) {
        if (n < 0)
            return error_throw_errno(error, "cannot read '" STORE_STAGING "/%s'", name);
        if (n < DIGEST_SIZE) /* torn: its writer was killed, and never counted on it */
            break;
        for (ssize_t i = 0; i < n / DIGEST_SIZE; i++)
            if (!mark_object(mark, &objects[i], error))
                return false;
        writer->read += n / DIGEST_SIZE * DIGEST_SIZE;
    }
    return true;
}

bool mark_roots(Mark *mark, GError **error)
{
    /* both kinds must be known before references between them are followed */
    return (scan_kind(mark, STORE_IMAGES, MARK_IMAGE, error) &&
            scan_kind(mark, STORE_STREAMS, MARK_STREAM, error) &&
            mark_refs(mark, STORE_STREAMS, error) && mark_refs(mark, STORE_IMAGES, error) &&
            mark_young(mark, STORE_STREAMS, error) && mark_young(mark, STORE_IMAGES, error) &&
            scan_staging(mark->store, mark_writer, mark, error)) ||
           error_prefix(error, "cannot collect garbage");
}
