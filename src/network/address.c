/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The address pool.
 *
 * BRIDGE.pool is a table of records of 72 bytes, one per address of the subnet in order: the
 * container's id, blanks, a line feed; a record of blanks is free. Record 0 (the network's own
 * address is nobody's) names the boot and the subnet: a file that names others is of no use and is
 * begun anew. All under one flock, held for microseconds: a change is one write of one record, so a
 * kill at any moment leaves an old record or a new one.
 */
#include "network/link.h"
#include "network/state.h"

#include "base/sys/fd.h"
#include "base/sys/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = 72, ID_MAX = 64, FIRST = 2, CHUNK = 256 };

/* Record 0 of this boot and subnet. */
static int header_of(const Network *network, char header[RECORD + 1], SysError *error)
{
    char subnet[INET_ADDRSTRLEN];
    const char *boot = sys_boot_id();
    if (!*boot)
        return sys_fail(error, EIO, "cannot read the boot id");
    inet_ntop(AF_INET, &network->subnet, subnet, sizeof subnet);
    char text[96];
    snprintf(text, sizeof text, "pool1 %.36s %s/%u", boot, subnet, network->prefix);
    snprintf(header, RECORD + 1, "%-71.71s\n", text);
    return 0;
}

static int write_record(int pool, uint32_t index, const char *text, SysError *error)
{
    char record[RECORD + 1];
    snprintf(record, sizeof record, "%-71.71s\n", text);
    if (pwrite(pool, record, RECORD, (off_t)index * RECORD) != RECORD)
        return sys_fail_errno(error, "cannot write the address pool");
    return 0;
}

typedef struct {
    uint32_t held; /* by the id looked for; 0: none */
    uint32_t free; /* the lowest; 0: none within the file */
    uint32_t end;  /* records in the file */
} PoolScan;

/* A hole left by a sparse write reads as NUL bytes and is as free as blanks. */
static bool record_is_free(const char *record)
{
    return record[0] == ' ' || record[0] == '\0';
}

static bool record_is(const char *record, const char *id, size_t size)
{
    return memcmp(record, id, size) == 0 && record[size] == ' ';
}

static int scan(int pool, const char *id, PoolScan *out, SysError *error)
{
    char records[CHUNK * RECORD];
    size_t size = strlen(id);
    *out = (PoolScan){};
    for (;;) {
        ssize_t n = pread(pool, records, sizeof records, (off_t)out->end * RECORD);
        if (n < 0)
            return sys_fail_errno(error, "cannot read the address pool");
        for (ssize_t i = 0; i < n / RECORD; i++, out->end++) {
            const char *record = records + i * RECORD;
            if (out->end < FIRST)
                continue;
            if (record_is_free(record))
                out->free = out->free ? out->free : out->end;
            else if (record_is(record, id, size))
                out->held = out->end;
        }
        if (n < (ssize_t)sizeof records)
            return 0;
    }
}

/* Frees the records of containers that are gone. */
static int reclaim(int pool, uint32_t end, NetworkAlive alive, void *data, SysError *error)
{
    for (uint32_t i = FIRST; i < end; i++) {
        char record[RECORD + 1] = "";
        if (pread(pool, record, RECORD, (off_t)i * RECORD) != RECORD)
            return sys_fail_errno(error, "cannot read the address pool");
        if (record_is_free(record))
            continue;
        record[strcspn(record, " \n")] = '\0';
        if (!alive(record, data) && write_record(pool, i, "", error) < 0)
            return -1;
    }
    return 0;
}

static bool id_is_valid(const char *id)
{
    size_t size = strlen(id);
    return size > 0 && size <= ID_MAX && strcspn(id, " \n") == size;
}

static int begin_anew_if_foreign(int pool, const Network *network, SysError *error)
{
    char header[RECORD + 1], found[RECORD];
    if (header_of(network, header, error) < 0)
        return -1;
    if (pread(pool, found, RECORD, 0) == RECORD && memcmp(found, header, RECORD) == 0)
        return 0;
    if (ftruncate(pool, 0) < 0 || pwrite(pool, header, RECORD, 0) != RECORD)
        return sys_fail_errno(error, "cannot write the address pool");
    return write_record(pool, 1, "gateway", error);
}

int network_address_take(const char *run_dir, const Network *network, const char *container_id,
                         NetworkAlive alive, void *data, struct in_addr *out, SysError *error)
{
    if (!id_is_valid(container_id))
        return sys_fail(error, EINVAL, "invalid container id '%.80s'", container_id);
    _autofd int dir = state_dir_open(run_dir, error);
    if (dir < 0)
        return -1;
    _autofd int pool = state_file_lock(dir, network->bridge, "pool", error);
    if (pool < 0 || begin_anew_if_foreign(pool, network, error) < 0)
        return -1;

    /* the last address of the subnet is its broadcast address */
    uint32_t last = ntohl(~link_mask(network->prefix)) - 1;
    uint32_t index = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        PoolScan found;
        if (scan(pool, container_id, &found, error) < 0)
            return -1;
        index = found.held ? found.held : found.free ? found.free : found.end;
        if (index <= last)
            break;
        if (attempt > 0 || !alive)
            return sys_fail(error, ENOSPC, "no free address left on bridge '%s' (%u in use)",
                            network->bridge, found.end - FIRST);
        if (reclaim(pool, found.end, alive, data, error) < 0)
            return -1;
    }
    if (write_record(pool, index, container_id, error) < 0)
        return -1;
    out->s_addr = network->subnet.s_addr | htonl(index);
    return 0;
}

int network_address_release(const char *run_dir, const char *bridge, const char *container_id,
                            SysError *error)
{
    if (!id_is_valid(container_id))
        return sys_fail(error, EINVAL, "invalid container id '%.80s'", container_id);
    _autofd int dir = state_dir_open(run_dir, error);
    if (dir < 0)
        return -1;
    _autofd int pool = state_file_lock(dir, bridge, "pool", error);
    PoolScan found;
    if (pool < 0 || scan(pool, container_id, &found, error) < 0)
        return -1;
    return found.held ? write_record(pool, found.held, "", error) : 0;
}
