/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Id ranges: which 65,536 ids of the host a container's 0…65535 are.
 *
 * The ids from REGION up are cut into slots of 65,536. Slot 0 holds the creators: the container in
 * slot N has its user namespace made by uid REGION + N, which is in nobody's range. Slots that
 * touch a range of /etc/subuid or /etc/subgid are left out.
 *
 * $ATOMIC_RUN/ids is an array of records, one per slot, changed under flock for the time of a few
 * reads and writes. A record names a process (pid and start time); the slot is taken as long as
 * that process exists. Nothing has to be given back, so nothing leaks when a monitor is killed.
 * Slots are taken in turn (the first record remembers where), so a range isn't used again soon and
 * the next slot is nearly always free at the first look.
 */
#include "sandbox/internal.h"

#include "base/file.h"
#include "base/sys/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define REGION    0x40000000u
#define MAX_SLOTS 16384u

typedef struct {
    int32_t pid;   /* 0: free. Record 0: unused */
    uint32_t next; /* record 0 only: where to look first */
    uint64_t start_time;
    char name[80];
} Record;
_Static_assert(sizeof(Record) == 96, "the layout of $ATOMIC_RUN/ids");

static int open_list(const char *run_dir, GError **error)
{
    g_autofree char *path = g_build_filename(run_dir, "ids", NULL);
    _autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open '%s'", path);
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return error_throw_errno_fd(error, "cannot lock '%s'", path);
    return fd_steal(&fd);
}

static bool record_taken(const Record *record)
{
    return record->pid > 0 && sys_process_start(record->pid, NULL) == record->start_time;
}

static bool read_record(int fd, uint32_t slot, Record *out, GError **error)
{
    *out = (Record){0};
    ssize_t n = pread(fd, out, sizeof *out, (off_t)slot * (off_t)sizeof *out);
    if (n < 0)
        return error_throw_errno(error, "cannot read the list of id ranges");
    if (n != sizeof *out)
        *out = (Record){0};
    return true;
}

static bool write_record(int fd, uint32_t slot, const Record *record, GError **error)
{
    ssize_t n = pwrite(fd, record, sizeof *record, (off_t)slot * (off_t)sizeof *record);
    return n == sizeof *record || error_throw_errno(error, "cannot write the list of id ranges");
}

static uint32_t slot_base(uint32_t slot)
{
    return REGION + slot * IDS_COUNT;
}

/* Marks the slots that lie in a range of a file of "NAME:FIRST:COUNT" lines (subuid(5)). */
static bool mark_foreign(const char *path, uint8_t *foreign, GError **error)
{
    g_autoptr(GError) failed = NULL;
    g_autofree char *text = file_read_at(AT_FDCWD, path, 4 << 20, NULL, &failed);
    if (!text) {
        if (error_is(failed, ERROR_NOT_FOUND))
            return true;
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        unsigned long long first, count;
        const char *colon = strchr(*line, ':');
        if (!colon || sscanf(colon, ":%llu:%llu", &first, &count) != 2 || count == 0 ||
            first > UINT32_MAX)
            continue;
        unsigned long long last = first + MIN(count, UINT32_MAX) - 1;
        if (last < REGION)
            continue;
        unsigned long long from = first < REGION ? 0 : (first - REGION) / IDS_COUNT;
        for (unsigned long long slot = from; slot < MAX_SLOTS && slot_base((uint32_t)slot) <= last;
             slot++)
            foreign[slot] = 1;
    }
    return true;
}

static bool take_slot(int fd, const Record *wanted, uint32_t *out_slot, GError **error)
{
    g_autofree uint8_t *foreign = g_malloc0(MAX_SLOTS);
    if (!mark_foreign("/etc/subuid", foreign, error) ||
        !mark_foreign("/etc/subgid", foreign, error))
        return false;
    Record first;
    if (!read_record(fd, 0, &first, error))
        return false;
    for (uint32_t i = 0; i < MAX_SLOTS; i++) {
        uint32_t slot = (first.next + i) % MAX_SLOTS;
        Record record;
        if (slot == 0 || foreign[slot])
            continue;
        if (!read_record(fd, slot, &record, error))
            return false;
        if (record_taken(&record))
            continue;
        first.next = (slot + 1) % MAX_SLOTS;
        *out_slot = slot;
        return write_record(fd, slot, wanted, error) && write_record(fd, 0, &first, error);
    }
    return error_throw(error, ERROR_NO_SPACE,
                       "cannot find a free id range: %u containers are running", MAX_SLOTS - 1);
}

bool ids_take(const char *run_dir, const char *name, RuntimeIdMap *out, GError **error)
{
    Record record = {.pid = getpid(), .start_time = sys_process_start(getpid(), NULL)};
    g_strlcpy(record.name, name, sizeof record.name);
    _autofd int fd = open_list(run_dir, error);
    uint32_t slot = 0;
    if (fd < 0 || !take_slot(fd, &record, &slot, error))
        return false;
    *out = (RuntimeIdMap){.base = slot_base(slot), .count = IDS_COUNT, .creator = REGION + slot};
    return true;
}

bool ids_hand_over(const char *run_dir, const RuntimeIdMap *map, pid_t pid, GError **error)
{
    uint32_t slot = (map->base - REGION) / IDS_COUNT;
    _autofd int fd = open_list(run_dir, error);
    Record record;
    if (fd < 0 || !read_record(fd, slot, &record, error))
        return false;
    record.pid = pid;
    record.start_time = sys_process_start(pid, NULL);
    return write_record(fd, slot, &record, error);
}

void ids_give_back(const char *run_dir, const RuntimeIdMap *map)
{
    _autofd int fd = open_list(run_dir, NULL);
    if (fd >= 0)
        write_record(fd, (map->base - REGION) / IDS_COUNT, &(Record){0}, NULL);
}
