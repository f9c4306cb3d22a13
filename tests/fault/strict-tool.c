/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* strict keep KEPT ROOT: all of ROOT is on the disk.   strict cut KEPT ROOT OUT [SEED]: the power is cut. */
#include "strict.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err(2, "%s", path);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "keep") == 0) {
        int kept = open_dir(argv[2]);
        mkdirat(kept, "files", 0700);
        mkdirat(kept, "dirs", 0700);
        if (strict_keep_all(kept, open_dir(argv[3])) < 0)
            err(2, "cannot keep '%s'", argv[3]);
        return 0;
    }
    if ((argc != 5 && argc != 6) || strcmp(argv[1], "cut") != 0)
        errx(2, "usage: strict keep KEPT ROOT | strict cut KEPT ROOT OUT [SEED]");
    uint64_t seed = argc == 6 ? strtoull(argv[5], NULL, 0) : 0;
    mkdir(argv[4], 0700);
    if (strict_build(open_dir(argv[2]), open_dir(argv[3]), open_dir(argv[4]),
                     argc == 6 ? &seed : NULL) < 0)
        err(2, "cannot build '%s'", argv[4]);
    return 0;
}
