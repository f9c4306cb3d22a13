/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where src/network keeps its files: RUN_DIR/network. Private to src/network. */
#pragma once

#include "base/sys/fail.h"

/* Opens (and makes) RUN_DIR/network. The fd or -1. */
int state_dir_open(const char *run_dir, SysError *error);
/* Opens (and makes) DIR/BRIDGE.SUFFIX for reading and writing and takes its lock (flock,
 * exclusive), waiting for the holder: it is held for one write, or while one process sets the host
 * up. */
int state_file_lock(int dir, const char *bridge, const char *suffix, SysError *error);
