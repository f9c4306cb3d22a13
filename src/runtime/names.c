/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of the interface: capabilities, and the structs' empty values. */
#include "runtime/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Order is the kernel's numbering (include/uapi/linux/capability.h). */
static const char *const cap_names[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

uint64_t runtime_cap_parse(const char *name)
{
    if (strcasecmp(name, "ALL") == 0)
        return (1ull << ARRAY_SIZE(cap_names)) - 1;
    if (strncasecmp(name, "CAP_", 4) == 0)
        name += 4;
    for (size_t i = 0; i < ARRAY_SIZE(cap_names); i++)
        if (strcasecmp(name, cap_names[i] + 4) == 0)
            return 1ull << i;
    return 0;
}

const char *runtime_cap_name(unsigned number)
{
    return number < ARRAY_SIZE(cap_names) ? cap_names[number] : NULL;
}

void runtime_command_init(RuntimeCommand *command)
{
    *command = (RuntimeCommand){
        .caps = RUNTIME_DEFAULT_CAPS, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
}

void runtime_spec_init(RuntimeSpec *spec)
{
    *spec = (RuntimeSpec){.namespaces = RUNTIME_NAMESPACES_NONE, .root_fd = -1};
    runtime_command_init(&spec->command);
}

void runtime_process_clear(RuntimeProcess *process)
{
    sys_fd_closep(&process->pidfd);
    sys_fd_closep(&process->terminal_fd);
    process->pid = 0;
}

pid_t runtime_pidfd_pid(int pidfd)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    if (sys_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
        return 0;
    const char *line = strstr(text, "\nPid:");
    long pid = line ? strtol(line + 5, NULL, 10) : 0;
    return pid > 0 ? (pid_t)pid : 0; /* -1: reaped */
}
