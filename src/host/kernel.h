/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel of a tree, and its copy below boot. */
#pragma once

#include "host/sysroot.h"

typedef struct {
    TreeInode *vmlinuz; /* of the tree */
    TreeInode *initrd;  /* NULL: the tree has none */
    char *release;      /* KVER of usr/lib/modules/KVER */
    char *bootcsum;     /* SHA-256 over vmlinuz and initrd, 64 hex */
    uint64_t size;      /* of both */
} HostKernel;
void kernel_clear(HostKernel *kernel);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostKernel, kernel_clear)

/* Finds usr/lib/modules/KVER/{vmlinuz,initramfs.img|initramfs|initrd.img|initrd} and measures it. Of several
 * kernels the newest. ERROR_INVALID without any. */
bool kernel_load(Store *store, Tree *tree, HostKernel *out_kernel, GError **error);
bool kernel_is_installed(const Host *host, const HostKernel *kernel);
/* Copies to boot/atomic/BOOTCSUM unless it is there; durable when it returns. */
bool kernel_install(Host *host, Store *store, const HostKernel *kernel, GError **error);
