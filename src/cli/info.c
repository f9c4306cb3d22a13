/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* info, version */
#include "cli/container_verbs.h"
#include "cli/document.h"
#include "cli/human.h"

#include "engine/engine.h"

#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static char *os_name(void)
{
    g_autofree char *text = NULL;
    if (g_file_get_contents("/etc/os-release", &text, NULL, NULL)) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++)
            if (g_str_has_prefix(*line, "PRETTY_NAME="))
                return g_shell_unquote(*line + strlen("PRETTY_NAME="), NULL);
    }
    return g_strdup("Linux");
}

typedef struct {
    struct utsname system;
    char *os;
    long cpus;
    uint64_t memory;
} Machine;

static void machine_clear(Machine *machine)
{
    g_free(machine->os);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Machine, machine_clear)

static void machine_read(Machine *machine)
{
    uname(&machine->system);
    machine->os = os_name();
    machine->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    machine->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void print_space(const char *name, uint64_t bytes)
{
    g_autofree char *text = human_bytes(bytes);
    printf(" %s: %s\n", name, text);
}

static void print_text(const Engine *engine, const char *store, const EngineInfo *info,
                       const Machine *machine)
{
    const StoreUsage *usage = &info->usage;
    g_autofree char *memory = human_bytes(machine->memory);
    printf("Containers: %u\n Running: %u\n Paused: 0\n Stopped: %u\n", info->containers,
           info->running, info->containers - info->running);
    printf("Images: %u\nServer Version: %s\nStorage Driver: composefs\n Store: %s\n", info->images,
           ATOMIC_VERSION, store);
    print_space("Data Space Used", usage->object_bytes - usage->metadata_bytes);
    print_space("Data Space Total", usage->fs_total);
    print_space("Data Space Available", usage->fs_available);
    /* on the same filesystem */
    print_space("Metadata Space Used", usage->metadata_bytes);
    print_space("Metadata Space Total", usage->fs_total);
    print_space("Image Space Used", info->image_bytes);
    print_space("Space Shared Between Host And Images", info->shared_bytes);
    print_space("Reserve For Upgrades", usage->reserve.size);
    if (usage->reserve.held < usage->reserve.size)
        print_space("Reserve Held", usage->reserve.held);
    printf(" Verity: %s\n", usage->secure ? "required" : usage->verity ? "yes" : "no");
    printf("Logging Driver: json-file\nCgroup Version: %s\nKernel Version: %s\n",
           info->cgroup_version, machine->system.release);
    printf("Operating System: %s\nOSType: linux\nArchitecture: %s\nCPUs: %ld\n", machine->os,
           machine->system.machine, machine->cpus);
    printf("Total Memory: %s\nName: %s\nAtomic Root Dir: %s\n", memory, machine->system.nodename,
           engine_root(engine));
}

static bool print_json(const Engine *engine, const char *store, const EngineInfo *info,
                       const Machine *machine, GError **error)
{
    const StoreUsage *usage = &info->usage;
    json_t *document = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:I, "
        "s:I}",
        "version", ATOMIC_VERSION, "store", store, "containers", (int)info->containers, "running",
        (int)info->running, "created", (int)info->created, "exited", (int)info->exited, "images",
        (int)info->images, "objects", (json_int_t)usage->objects, "data_bytes",
        (json_int_t)(usage->object_bytes - usage->metadata_bytes), "metadata_bytes",
        (json_int_t)usage->metadata_bytes, "total_bytes", (json_int_t)usage->fs_total,
        "available_bytes", (json_int_t)usage->fs_available, "image_bytes",
        (json_int_t)info->image_bytes, "shared_bytes", (json_int_t)info->shared_bytes, "verity",
        usage->verity, "verity_required", usage->secure, "reserve_bytes",
        (json_int_t)usage->reserve.size, "reserve_held_bytes", (json_int_t)usage->reserve.held);
    json_t *host = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s}", "cgroup_version",
                             info->cgroup_version, "kernel", machine->system.release, "os",
                             machine->os, "architecture", machine->system.machine, "cpus",
                             (json_int_t)machine->cpus, "memory_bytes", (json_int_t)machine->memory,
                             "name", machine->system.nodename, "root", engine_root(engine));
    json_object_update(document, host);
    json_decref(host);
    return cli_print_document("atomic.info/1", document, error);
}

int cli_info(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    Store *store = engine_store(engine, error);
    EngineInfo info;
    if (!store || !engine_info(engine, &info, error))
        return 1;
    g_auto(Machine) machine = {0};
    machine_read(&machine);
    if (common.json)
        return print_json(engine, store_path(store), &info, &machine, error) ? 0 : 1;
    print_text(engine, store_path(store), &info, &machine);
    return 0;
}

int cli_version(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    struct utsname system;
    uname(&system);
    if (common.json) {
        json_t *document = json_pack("{s:s, s:s, s:s}", "version", ATOMIC_VERSION, "kernel",
                                     system.release, "architecture", system.machine);
        return cli_print_document("atomic.version/1", document, error) ? 0 : 1;
    }
    printf("Version:        %s\nOS/Arch:        linux/%s\nKernel Version: %s\n", ATOMIC_VERSION,
           system.machine, system.release);
    return 0;
}
