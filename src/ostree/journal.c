/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ostree/journal.h"

#include "base/file.h"
#include "base/hash.h"
#include "ostree/object.h"

#include <string.h>
#include <unistd.h>

typedef struct __attribute__((packed)) {
    uint32_t size; /* of the data that follows */
    uint8_t external;
    Digest id, object;
    uint64_t received;
    Digest check; /* SHA-256 of all above and the data */
} Record;

struct Journal {
    int fd;
};

static void checksum(const Record *record, const void *data, Digest *out_digest)
{
    g_autoptr(HashSha256) hash = hash_sha256_new();
    hash_sha256_update(hash, record, offsetof(Record, check));
    hash_sha256_update(hash, data, record->size);
    hash_sha256_finish(hash, out_digest);
}

/* The end of the last whole record. */
static size_t replay(StoreTxn *txn, const char *text, size_t size, ObjectSet *set,
                     uint64_t *out_received)
{
    size_t at = 0;
    Record record;
    while (size - at >= sizeof record) {
        memcpy(&record, text + at, sizeof record);
        const char *data = text + at + sizeof record;
        Digest check;
        if (record.size > size - at - sizeof record)
            break;
        checksum(&record, data, &check);
        if (!digest_equal(&check, &record.check))
            break;
        if (!record.external || store_txn_has(txn, &record.object)) {
            g_autoptr(GBytes) bytes = g_bytes_new(data, record.size);
            object_set_add(set, &record.id, bytes, record.external ? &record.object : NULL);
            *out_received += record.received;
        }
        at += sizeof record + record.size;
    }
    return at;
}

Journal *journal_open(StoreTxn *txn, ObjectSet *set, uint64_t *out_received, GError **error)
{
    _autofd int fd = store_txn_journal(txn, error);
    if (fd < 0)
        return NULL;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_throw_errno_null(error, "cannot read the journal");
    size_t size;
    g_autofree char *text = file_read_fd(fd, SIZE_MAX / 2, &size, error);
    if (!text)
        return NULL;
    *out_received = 0;
    size_t whole = replay(txn, text, size, set, out_received);
    if (whole < size && ftruncate(fd, (off_t)whole) < 0)
        return error_throw_errno_null(error, "cannot repair the journal");
    Journal *journal = g_new0(Journal, 1);
    journal->fd = fd_steal(&fd);
    return journal;
}

void journal_free(Journal *journal)
{
    if (!journal)
        return;
    sys_fd_closep(&journal->fd);
    g_free(journal);
}

bool journal_add(Journal *journal, const Digest *id, GBytes *data, const Digest *object,
                 uint64_t received, GError **error)
{
    size_t size;
    const void *bytes = g_bytes_get_data(data, &size);
    Record record = {
        .size = (uint32_t)size,
        .external = object != NULL,
        .id = *id,
        .received = received,
    };
    if (object)
        record.object = *object;
    checksum(&record, bytes, &record.check);
    /* one write: a kill leaves it whole or torn at the end */
    g_autofree uint8_t *both = g_malloc(sizeof record + size);
    memcpy(both, &record, sizeof record);
    memcpy(both + sizeof record, bytes, size);
    return file_write_all(journal->fd, both, sizeof record + size, error) ||
           error_prefix(error, "the pull's journal");
}
