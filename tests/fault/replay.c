/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rebuilds a disk from a log of its writes, as a power cut would have left it.
 *
 *     replay LOG                        lists the points: "POINT OFFSET WRITES"
 *     replay LOG DISK FROM TO           applies what was written between two points
 *     replay LOG DISK FROM TO SEED      applies a random half of it
 *
 * The log is dm-log-writes v1 (QEMU's blklogwrites makes it): a header sector, then for each entry a sector with
 * (sector, count, flags, length) and the data. Point 0 is the disk before the log, point K the K-th flush: what was
 * written before it has survived whatever comes. The last point is the end of the log. OFFSET is where in the log
 * the point is, so that whoever noted the log's size when something was reported knows the flush that this had to
 * rely on. WRITES are those that follow: any part of them may have reached a disk whose power is cut before the
 * next flush. What was written with FUA is not subject to chance. */
#include "chance.h"

#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MAGIC 0x6a736677736872ULL
enum { LOG_FLUSH = 1, LOG_FUA = 2, LOG_DISCARD = 4, LOG_MARK = 8 };
enum {
    UNIT = 512,
    ATOM = 4096
}; /* of the log's counts; of what a disk writes whole or not at all */

typedef struct {
    uint64_t magic, version, entries;
    uint32_t sector_size;
} LogHeader;

typedef struct {
    uint64_t sector, count, flags, length;
} LogEntry;

typedef struct {
    const uint8_t *bytes;
    size_t size, at, sector_size;
} Log;

static Log log_open(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        err(2, "%s", path);
    Log log = {.size = (size_t)st.st_size};
    if (log.size < sizeof(LogHeader))
        errx(2, "%s: no log", path);
    log.bytes = mmap(NULL, log.size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (log.bytes == MAP_FAILED)
        err(2, "%s", path);
    close(fd);
    const LogHeader *header = (const void *)log.bytes;
    if (le64toh(header->magic) != LOG_MAGIC || le64toh(header->version) != 1)
        errx(2, "%s: not a log of writes", path);
    log.at = log.sector_size = le32toh(header->sector_size);
    if (log.sector_size != UNIT)
        errx(2, "%s: sectors of %zu bytes", path, log.sector_size);
    return log;
}

/* False at the end. *out_data is NULL when the entry brings none. */
static bool log_next(Log *log, LogEntry *out_entry, const uint8_t **out_data)
{
    if (log->at + log->sector_size > log->size)
        return false;
    const LogEntry *raw = (const void *)(log->bytes + log->at);
    *out_entry = (LogEntry){le64toh(raw->sector), le64toh(raw->count), le64toh(raw->flags),
                            le64toh(raw->length)};
    log->at += log->sector_size;
    *out_data = NULL;
    if (out_entry->flags & (LOG_DISCARD | LOG_MARK) || out_entry->count == 0)
        return true;
    size_t size = out_entry->count * UNIT;
    if (size > log->size - log->at)
        errx(2, "the log ends within an entry");
    *out_data = log->bytes + log->at;
    log->at += size;
    return true;
}

static void list_points(Log log)
{
    LogEntry entry;
    const uint8_t *data;
    unsigned point = 0;
    size_t writes = 0, offset = 0;
    while (log_next(&log, &entry, &data)) {
        if (entry.flags & LOG_FLUSH) {
            printf("%u %zu %zu\n", point++, offset, writes);
            offset = log.at;
            writes = 0;
        }
        writes += data != NULL;
    }
    printf("%u %zu %zu\n%u %zu 0\n", point, offset, writes, point + 1, log.size);
}

static void write_at(int disk, const uint8_t *data, size_t size, uint64_t offset)
{
    for (ssize_t n; size; data += n, size -= (size_t)n, offset += (uint64_t)n)
        if ((n = pwrite(disk, data, size, (off_t)offset)) <= 0)
            err(2, "cannot write the disk");
}

/* All of it, or with a seed some of its atoms. */
static void apply(int disk, const LogEntry *entry, const uint8_t *data, uint64_t *seed)
{
    uint64_t offset = entry->sector * UNIT;
    size_t size = entry->count * UNIT;
    bool chance = seed && !(entry->flags & LOG_FUA);
    if (entry->flags & LOG_DISCARD) { /* a disk may do it or not */
        if (!chance || chance_next(seed) & 1)
            fallocate(disk, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
        return;
    }
    for (size_t done = 0, piece; data && done < size; done += piece) {
        piece = ATOM - (offset + done) % ATOM;
        if (!chance)
            piece = size;
        if (piece > size - done)
            piece = size - done;
        if (!chance || chance_next(seed) & 1)
            write_at(disk, data + done, piece, offset + done);
    }
}

static void replay(Log log, const char *path, unsigned from, unsigned to, uint64_t *seed)
{
    int disk = open(path, O_RDWR | O_CLOEXEC);
    if (disk < 0)
        err(2, "%s", path);
    LogEntry entry;
    const uint8_t *data;
    unsigned point = 0;
    while (point < to && log_next(&log, &entry, &data)) {
        point += (entry.flags & LOG_FLUSH) != 0;
        /* data that comes with a flush follows it */
        if (point >= from && point < to)
            apply(disk, &entry, data, seed);
    }
    close(disk);
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 5 && argc != 6)
        errx(2, "usage: replay LOG [DISK FROM TO [SEED]]");
    Log log = log_open(argv[1]);
    if (argc == 2) {
        list_points(log);
        return fflush(stdout) == 0 ? 0 : 2;
    }
    uint64_t seed = argc == 6 ? strtoull(argv[5], NULL, 0) : 0;
    replay(log, argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]),
           argc == 6 ? &seed : NULL);
    return 0;
}
