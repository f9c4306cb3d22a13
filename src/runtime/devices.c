/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which devices a container may open: those of its own /dev. Making nodes is left to the capabilities.
 *
 * v1 has a controller with a list; v2 wants a program that the kernel runs at each open and mknod
 * (BPF_CGROUP_DEVICE, struct bpf_cgroup_dev_ctx). It goes with the cgroup's directory.
 */
#include "runtime/internal.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

static int allow_v1(int dirfd, const char *file, const char *text, SysError *error)
{
    int failed = sys_write_file_at(dirfd, file, text);
    if (failed < 0)
        return sys_fail(error, -failed, "cannot write '%s' to '%s': %s", text, file,
                        strerror(-failed));
    return 0;
}

int devices_filter_v1(int dirfd, SysError *error)
{
    static const char *const allowed[] = {
        "c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",   "c 1:8 rwm",
        "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
    };
    if (allow_v1(dirfd, "devices.deny", "a", error) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
        if (allow_v1(dirfd, "devices.allow", allowed[i], error) < 0)
            return -1;
    return 0;
}

/* The instructions used here; linux/bpf.h has the numbers only. */
#define LOAD_FIELD(reg, field)                                                                     \
    {                                                                                              \
        .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (reg), .src_reg = BPF_REG_1,                 \
        .off = offsetof(struct bpf_cgroup_dev_ctx, field)                                          \
    }
#define JUMP(op, reg, value, skip)                                                                 \
    {                                                                                              \
        .code = BPF_JMP | (op) | BPF_K, .dst_reg = (reg), .off = (skip), .imm = (value)            \
    }
#define COMPUTE(op, reg, value)                                                                    \
    {                                                                                              \
        .code = BPF_ALU64 | (op) | BPF_K, .dst_reg = (reg), .imm = (value)                         \
    }
#define RETURN_R0                                                                                  \
    {                                                                                              \
        .code = BPF_JMP | BPF_EXIT                                                                 \
    }

/* r2 type, r3 major, r4 minor, r5 access. Skips count from the next instruction; "yes" is the last but
 * one pair, "no" the last. */
static const struct bpf_insn program[] = {
    LOAD_FIELD(BPF_REG_2, access_type),
    LOAD_FIELD(BPF_REG_3, major),
    LOAD_FIELD(BPF_REG_4, minor),
    LOAD_FIELD(BPF_REG_5, access_type),
    COMPUTE(BPF_RSH, BPF_REG_5, 16),
    COMPUTE(BPF_AND, BPF_REG_2, 0xffff),
    JUMP(BPF_JEQ, BPF_REG_5, BPF_DEVCG_ACC_MKNOD, 11), /* 6: making, not opening: yes */
    JUMP(BPF_JNE, BPF_REG_2, BPF_DEVCG_DEV_CHAR, 12),  /* 7: no */
    JUMP(BPF_JEQ, BPF_REG_3, 136, 9),                  /* 8: pts: yes */
    JUMP(BPF_JEQ, BPF_REG_3, 5, 6),                    /* 9: tty, console, ptmx: to 16 */
    JUMP(BPF_JNE, BPF_REG_3, 1, 9),                    /* 10: no */
    JUMP(BPF_JEQ, BPF_REG_4, 3, 6),                    /* 11: null */
    JUMP(BPF_JEQ, BPF_REG_4, 5, 5),                    /* 12: zero */
    JUMP(BPF_JEQ, BPF_REG_4, 7, 4),                    /* 13: full */
    JUMP(BPF_JEQ, BPF_REG_4, 8, 3),                    /* 14: random */
    JUMP(BPF_JEQ, BPF_REG_4, 9, 2),                    /* 15: urandom */
    JUMP(BPF_JNE, BPF_REG_3, 5, 3),                    /* 16: another of major 1: no */
    JUMP(BPF_JGT, BPF_REG_4, 2, 2),                    /* 17: no */
    COMPUTE(BPF_MOV, BPF_REG_0, 1),                    /* 18: yes */
    RETURN_R0,
    COMPUTE(BPF_MOV, BPF_REG_0, 0), /* 20: no */
    RETURN_R0,
};

int devices_filter_v2(int dirfd, SysError *error)
{
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                           .expected_attach_type = BPF_CGROUP_DEVICE,
                           .insns = (uint64_t)(uintptr_t)program,
                           .insn_cnt = ARRAY_SIZE(program),
                           .license = (uint64_t)(uintptr_t) "LGPL-2.1-or-later"};
    _autofd int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    if (fd < 0)
        return sys_fail_errno(error, "cannot load the filter of devices");
    union bpf_attr attach = {.target_fd = (uint32_t)dirfd,
                             .attach_bpf_fd = (uint32_t)fd,
                             .attach_type = BPF_CGROUP_DEVICE,
                             .attach_flags = BPF_F_ALLOW_MULTI};
    if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) < 0)
        return sys_fail_errno(error, "cannot set the filter of devices");
    return 0;
}
