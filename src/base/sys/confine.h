/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving up rights, for programs that take apart what strangers sent.
 */
#pragma once

#include "base/sys/fail.h"

#include <stddef.h>

/* Root becomes nobody (65534), without groups; others stay who they are, and so does the root of a user namespace that
 * has no other ids, whose rights outside are some user's. No rights are gained by exec from here on. */
int sys_confine_user(SysError *error);

/* No file can be opened (Landlock), no more memory be had than so many bytes, and no system call be made but for reading and
 * writing what is open, memory, time and the end (seccomp; any other fails with EPERM). To be called when all libraries are
 * loaded. Where the kernel has no Landlock seccomp alone does it. */
int sys_confine_to_pipes(size_t memory, SysError *error);
