/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The front program: the verbs that must be quick, and the way to all others. */
#include "cli/cli.h"
#include "cli/container_verbs.h"
#include "cli/host_verbs.h"

static const CliVerb verbs[] = {
    {"", "status", cli_host_status},
    {"", "run", cli_container_run},
    {"", "create", cli_container_create},
    {"", "start", cli_container_start},
    {"", "stop", cli_container_stop},
    {"", "kill", cli_container_kill},
    {"", "rm", cli_container_rm},
    {"", "ps", cli_container_ps},
    {"container", "ls", cli_container_ps},
    {"", "logs", cli_container_logs},
    {"", "exec", cli_container_exec},
    {"", "wait", cli_container_wait},
    {"", "port", cli_container_port},
    {"", "inspect", cli_container_inspect},
    {"", "info", cli_info},
    {"", "version", cli_version},
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_ATOMIC, verbs, argc, argv);
}
