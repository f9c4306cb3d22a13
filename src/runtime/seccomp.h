/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to src/runtime: what the loader and the compiler of seccomp filters must agree on. */
#pragma once

#include <linux/capability.h>

#define SECCOMP_CAP(name) (1ull << CAP_##name)

/* The capabilities that the default profile asks for; all others give the same filter. */
#define SECCOMP_CAPS                                                                               \
    (SECCOMP_CAP(DAC_READ_SEARCH) | SECCOMP_CAP(SYS_ADMIN) | SECCOMP_CAP(SYS_BOOT) |               \
     SECCOMP_CAP(SYS_CHROOT) | SECCOMP_CAP(SYS_MODULE) | SECCOMP_CAP(SYS_PACCT) |                  \
     SECCOMP_CAP(SYS_PTRACE) | SECCOMP_CAP(SYS_RAWIO) | SECCOMP_CAP(SYS_TIME) |                    \
     SECCOMP_CAP(SYS_TTY_CONFIG) | SECCOMP_CAP(SYS_NICE) | SECCOMP_CAP(SYSLOG) |                   \
     SECCOMP_CAP(BPF) | SECCOMP_CAP(PERFMON))
