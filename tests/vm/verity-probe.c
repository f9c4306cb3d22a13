/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel says of a file, without a line of the code that is tested:
 *
 *     verity-probe measure FILE            the fs-verity digest in hex, or the error's name
 *     verity-probe damage FILE DEVICE      changes the file's first byte on the device below its filesystem
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int measure(int fd)
{
    _Alignas(struct fsverity_digest) unsigned char room[sizeof(struct fsverity_digest) + 64] = {0};
    struct fsverity_digest *digest = (struct fsverity_digest *)room;
    digest->digest_size = 64;
    if (ioctl(fd, FS_IOC_MEASURE_VERITY, digest) < 0) {
        puts(strerrorname_np(errno));
        return 1;
    }
    for (unsigned i = 0; i < digest->digest_size; i++)
        printf("%02x", digest->digest[i]);
    putchar('\n');
    return 0;
}

static int damage(int fd, const char *device)
{
    _Alignas(
        struct fiemap) unsigned char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)] = {
        0};
    struct fiemap *map = (struct fiemap *)room;
    map->fm_length = ~0ULL;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = 1;
    if (ioctl(fd, FS_IOC_FIEMAP, map) < 0 || map->fm_mapped_extents != 1 ||
        map->fm_extents[0].fe_logical != 0)
        return perror("fiemap"), 1;
    off_t at = (off_t)map->fm_extents[0].fe_physical;
    unsigned char on_file, on_device;
    int disk = open(device, O_RDWR | O_CLOEXEC);
    if (disk < 0 || pread(fd, &on_file, 1, 0) != 1 || pread(disk, &on_device, 1, at) != 1)
        return perror(device), 1;
    if (on_file != on_device)
        return fprintf(stderr, "the file is not where it is said to be\n"), 1;
    on_device ^= 1;
    if (pwrite(disk, &on_device, 1, at) != 1 || fsync(disk) < 0)
        return perror(device), 1;
    return 0;
}

int main(int argc, char **argv)
{
    int fd = argc > 2 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return perror("verity-probe"), 1;
    return strcmp(argv[1], "damage") == 0 && argc > 3 ? damage(fd, argv[3]) : measure(fd);
}
