/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk that keeps nothing but what was synced: the least that POSIX promises, and less than any one filesystem does.
 * ext4 writes everybody's names when anybody's file is synced, so on it most syncs of directories look superfluous;
 * btrfs does so sometimes, the next filesystem may not. Here
 *
 *     a file has the bytes it had when it was last synced, none when it never was;
 *     a directory has the entries it had when it was last synced (its new subdirectories are empty until they are);
 *     syncfs keeps all there is.
 *
 * The live tree lies on a tmpfs: there an inode number is never given twice, so it is what a file is known by. What is
 * kept is a directory:
 *
 *     files/INO            the bytes
 *     dirs/INO/NAME        symbolic links to "fINO", "dINO" or "l" and a link's target
 */
#pragma once

#include <stdint.h>

/* What the model keeps from now on. The fds are of the live tree. 0 or -1 with errno. */
int strict_keep_file(int kept, int fd);
int strict_keep_dir(int kept, int fd);
int strict_keep_all(int kept, int root);
/* Makes in the directory `out` what would be found after a power cut. With a seed also some of what was not synced,
 * in any order: each new or vanished entry or not, each file's bytes, a half of them, zeros or none. */
int strict_build(int kept, int root, int out, const uint64_t *seed);
