/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A build from beginning to end: which stages are needed, their instructions in turn, the names
 * of the result.
 *
 * Nothing that is visible changes before the end: steps write images that only the cache refers
 * to; the result gets its manifest, its id and its names after the last one. A build that is
 * killed leaves cache entries, and the next one goes on from them.
 */
#include "build/context.h"
#include "build/state.h"

#include "base/cancel.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DOCKERFILE_MAX (1u << 20)

static void stage_free(void *data)
{
    Stage *stage = data;
    oci_image_free(stage->image);
    oci_config_free(stage->config);
    if (stage->tree)
        tree_free(stage->tree);
    g_hash_table_unref(stage->args);
    g_free(stage);
}

static void build_clear(Build *build)
{
    if (build->txn)
        store_txn_free(build->txn);
    context_free(build->context);
    g_hash_table_unref(build->build_args);
    g_hash_table_unref(build->used_args);
    g_hash_table_unref(build->global_args);
    g_ptr_array_unref(build->stages);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Build, build_clear)

/* 12 digits, as people see ids */
static const char *short_id(const OciImage *image, char buffer[13])
{
    g_strlcpy(buffer, image ? image->id + strlen("sha256:") : "", 13);
    return buffer;
}

static void print_result(Build *build, const Stage *stage)
{
    char id[13];
    fprintf(build->out, " ---> %s\n", short_id(stage->image, id));
}

static bool at_line(const Build *build, const DockerfileInstruction *instruction, GError **error)
{
    return error_prefix(error, "%s:%u", build->file->file, instruction->line);
}

/* --- FROM ------------------------------------------------------------------------------------- */

/* The index of an earlier stage of this name, or -1. */
static int find_stage(const Build *build, const char *name, unsigned before)
{
    g_autofree char *lower = g_ascii_strdown(name, -1);
    for (unsigned i = 0; i < before; i++)
        if (g_strcmp0(((DockerfileStage *)build->file->stages->pdata[i])->name, lower) == 0)
            return (int)i;
    return -1;
}

/* The name behind FROM, variables put in. */
static char *base_name(Build *build, const DockerfileStage *source, GError **error)
{
    g_autofree char *name = variables_expand(build, NULL, source->from->words[0], error);
    if (name && !*name)
        return error_throw_null(error, ERROR_INVALID,
                                "FROM has an empty image name: '%s'\n"
                                "hint: an ARG before FROM gives a default, as in 'ARG BASE=debian'",
                                source->from->words[0]);
    return g_steal_pointer(&name);
}

static bool check_platform(Build *build, const DockerfileInstruction *from, GError **error)
{
    const char *option = dockerfile_option(from, "platform");
    if (!option)
        return true;
    g_autofree char *platform = variables_expand(build, NULL, option, error);
    const char *own = g_hash_table_lookup(build->global_args, "BUILDPLATFORM");
    if (!platform || strcmp(platform, own) == 0)
        return platform;
    return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: --platform %s on %s", platform,
                       own);
}

/* NULL without an error: scratch. */
static OciImage *open_base(Build *build, const char *name, unsigned index, GError **error)
{
    int earlier = find_stage(build, name, index);
    if (earlier >= 0) {
        const Stage *stage = build->stages->pdata[earlier];
        return stage->image ? oci_image_open(build->store, stage->image->id, error) : NULL;
    }
    if (strcmp(name, "scratch") == 0)
        return NULL;
    return step_open_image(build, name, error);
}

static bool start_stage(Build *build, unsigned index, GError **error)
{
    Stage *stage = build->stages->pdata[index];
    const DockerfileInstruction *from = stage->source->from;
    g_autofree char *name = base_name(build, stage->source, error);
    if (!name || !check_platform(build, from, error))
        return false;
    GError *why = NULL;
    OciImage *image = open_base(build, name, index, &why);
    if (why) {
        g_propagate_error(error, why);
        return false;
    }
    if (image)
        return step_use(stage, image, error);
    stage->config = oci_config_new();
    oci_config_set_env(stage->config, "PATH",
                       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    return true;
}

/* --- one instruction -------------------------------------------------------------------------- */

/* Everything of a layer but times, one line per name: what a copy puts into the image. */
static bool list_node(TreeNode *node, void *data, GError **error)
{
    GString *list = data;
    const TreeInode *inode = node->inode;
    g_autofree char *path = tree_path(node);
    g_string_append_printf(list, "%s\x01%o %u %u %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, path,
                           inode->mode, inode->uid, inode->gid, inode->rdev,
                           S_ISDIR(inode->mode) ? 0 : inode->size);
    if (inode->has_object)
        g_string_append(list, digest_hex(&inode->object).text);
    else if (S_ISLNK(inode->mode))
        g_string_append(list, inode->target);
    for (size_t i = 0; inode->content && i < inode->size; i++)
        g_string_append_printf(list, "%02x", inode->content[i]);
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        g_string_append_printf(list, "\x01%s=", inode->xattrs[i].name);
        for (size_t j = 0; j < inode->xattrs[i].size; j++)
            g_string_append_printf(list, "%02x", inode->xattrs[i].value[j]);
    }
    g_string_append_c(list, '\n');
    return true;
}

static bool do_copy(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                    GError **error)
{
    g_autoptr(Tree) layer = copy_layer(build, stage, instruction, error);
    g_autoptr(GString) list = g_string_new(NULL);
    if (!layer || !step_clamp(build, layer, error) || !tree_walk(layer, list_node, list, error))
        return false;
    const char *kind = dockerfile_kind_name(instruction->kind);
    g_autofree char *key =
        step_key(stage, (const char *const[]){kind, instruction->rest, list->str, NULL});
    bool found = false;
    if (!step_find(build, stage, key, &found, error))
        return false;
    if (found) {
        fprintf(build->out, " ---> Using cache\n");
        return true;
    }
    g_autofree char *created_by =
        g_strdup_printf("/bin/sh -c #(nop) %s %s ", kind, instruction->rest);
    return step_commit(build, stage, key, created_by, layer, error);
}

static bool do_metadata(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                        GError **error)
{
    g_autofree char *created_by = NULL;
    g_autoptr(Tree) layer = NULL;
    if (!metadata_apply(build, stage, instruction, &created_by, &layer, error))
        return false;
    g_autofree char *config = oci_config_format(stage->config);
    g_autofree char *key = step_key(stage, (const char *const[]){created_by, config, NULL});
    bool found = false;
    if (!step_find(build, stage, key, &found, error))
        return false;
    if (found) {
        fprintf(build->out, " ---> Using cache\n");
        return true;
    }
    return step_commit(build, stage, key, created_by, layer, error);
}

/* What a RUN looks like in the history and in messages: "|1 A=b /bin/sh -c …". */
static char *run_text(char *const *argv, char *const *args)
{
    g_autofree char *command = g_strjoinv(" ", (char **)argv);
    unsigned n = g_strv_length((char **)args);
    if (n == 0)
        return g_steal_pointer(&command);
    g_autofree char *joined = g_strjoinv(" ", (char **)args);
    return g_strdup_printf("|%u %s %s", n, joined, command);
}

static bool do_run(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                   int *out_status, GError **error)
{
    g_auto(GStrv) argv = run_argv(build, stage, instruction, error);
    if (!argv)
        return false;
    g_auto(GStrv) args = variables_for_run(stage);
    g_autofree char *text = run_text(argv, args);
    g_autofree char *exact_argv = g_strjoinv("\x01", argv), *exact_args = g_strjoinv("\x01", args);
    g_autofree char *key =
        step_key(stage, (const char *const[]){"RUN", exact_argv, exact_args, NULL});
    bool found = false;
    if (!step_find(build, stage, key, &found, error))
        return false;
    if (found) {
        fprintf(build->out, " ---> Using cache\n");
        return true;
    }
    fprintf(build->out, " ---> Running in %.12s\n", key);
    g_autoptr(Tree) layer = NULL;
    if (!run_command(build, stage, instruction, argv, out_status, &layer, error))
        return false;
    if (*out_status != 0) {
        g_autofree char *command = g_strjoinv(" ", argv);
        fflush(build->out);
        fprintf(stderr, "The command '%s' returned a non-zero code: %d\n", command, *out_status);
        return true;
    }
    if (layer && !step_clamp(build, layer, error))
        return false;
    return step_commit(build, stage, key, text, layer, error);
}

static bool do_instruction(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                           int *out_status, GError **error)
{
    switch (instruction->kind) {
    case DOCKERFILE_ARG:
        return variables_declare(build, stage, instruction, error);
    case DOCKERFILE_RUN:
        return do_run(build, stage, instruction, out_status, error);
    case DOCKERFILE_COPY:
    case DOCKERFILE_ADD:
        return do_copy(build, stage, instruction, error);
    default:
        return do_metadata(build, stage, instruction, error);
    }
}

/* --- stages ----------------------------------------------------------------------------------- */

/* What the base image wants done in every image made from it. */
static bool run_triggers(Build *build, Stage *stage, int *out_status, GError **error)
{
    g_auto(GStrv) triggers = g_strdupv(stage->config->on_build);
    unsigned n = g_strv_length(triggers);
    if (n == 0)
        return true;
    g_strfreev(stage->config->on_build);
    stage->config->on_build = g_new0(char *, 1);
    fprintf(build->out, "# Executing %u build trigger%s\n", n, n == 1 ? "" : "s");
    for (char **trigger = triggers; *trigger && *out_status == 0; trigger++) {
        g_autoptr(DockerfileInstruction) instruction =
            dockerfile_read_instruction(*trigger, build->file->escape, error);
        if (!instruction || !do_instruction(build, stage, instruction, out_status, error))
            return error_prefix(error, "ONBUILD %s", *trigger);
    }
    return true;
}

static void print_step(Build *build, const DockerfileInstruction *instruction)
{
    fprintf(build->out, "Step %u/%u : %s\n", ++build->step, build->n_steps, instruction->original);
}

static bool build_stage(Build *build, unsigned index, int *out_status, GError **error)
{
    Stage *stage = build->stages->pdata[index];
    const GPtrArray *instructions = stage->source->instructions;
    print_step(build, stage->source->from);
    if (!start_stage(build, index, error))
        return at_line(build, stage->source->from, error);
    print_result(build, stage);
    if (!run_triggers(build, stage, out_status, error))
        return at_line(build, stage->source->from, error);
    for (unsigned i = 0; i < instructions->len && *out_status == 0; i++) {
        const DockerfileInstruction *instruction = instructions->pdata[i];
        if (!cancel_check(error))
            return false;
        print_step(build, instruction);
        if (!do_instruction(build, stage, instruction, out_status, error))
            return at_line(build, instruction, error);
        if (*out_status == 0)
            print_result(build, stage);
    }
    return true;
}

/* The stage that the build is for: --target, or the last one. -1 with an error. */
static int target_stage(const Build *build, GError **error)
{
    const char *target = build->options->target;
    if (!target || !*target)
        return (int)build->file->stages->len - 1;
    int index = find_stage(build, target, build->file->stages->len);
    guint64 number;
    if (index < 0 &&
        g_ascii_string_to_unsigned(target, 10, 0, build->file->stages->len - 1, &number, NULL))
        index = (int)number;
    if (index < 0)
        error_throw(error, ERROR_NOT_FOUND,
                    "no stage '%s' in %s\nhint: a stage is named by FROM … AS NAME", target,
                    build->file->file);
    return index;
}

/* Marks the stage and those that it takes files or its base from. */
static bool mark_needed(Build *build, unsigned index, bool *needed, GError **error)
{
    if (needed[index])
        return true;
    needed[index] = true;
    const DockerfileStage *source = build->file->stages->pdata[index];
    g_autofree char *base = base_name(build, source, error);
    if (!base)
        return at_line(build, source->from, error);
    int earlier = find_stage(build, base, index);
    if (earlier >= 0 && !mark_needed(build, (unsigned)earlier, needed, error))
        return false;
    for (unsigned i = 0; i < source->instructions->len; i++) {
        const DockerfileInstruction *instruction = source->instructions->pdata[i];
        const char *from =
            instruction->kind == DOCKERFILE_COPY ? dockerfile_option(instruction, "from") : NULL;
        guint64 number;
        if (!from)
            continue;
        earlier = find_stage(build, from, index);
        if (earlier < 0 && index > 0 &&
            g_ascii_string_to_unsigned(from, 10, 0, index - 1, &number, NULL))
            earlier = (int)number;
        if (earlier >= 0 && !mark_needed(build, (unsigned)earlier, needed, error))
            return false;
    }
    return true;
}

static bool build_stages(Build *build, Stage **out_result, int *out_status, GError **error)
{
    int target = target_stage(build, error);
    g_autofree bool *needed = g_new0(bool, build->file->stages->len);
    if (target < 0 || !mark_needed(build, (unsigned)target, needed, error))
        return false;
    for (unsigned i = 0; i < build->file->stages->len; i++)
        if (needed[i])
            build->n_steps +=
                1 + ((DockerfileStage *)build->file->stages->pdata[i])->instructions->len;
    for (int i = 0; i <= target && *out_status == 0; i++)
        if (needed[i] && !build_stage(build, (unsigned)i, out_status, error))
            return false;
    *out_result = build->stages->pdata[target];
    return true;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* --label is a LABEL at the end of the last stage. */
static bool add_labels(const Dockerfile *file, const BuildOptions *options, GError **error)
{
    if (!options->labels || !*options->labels)
        return true;
    DockerfileInstruction *label = g_new0(DockerfileInstruction, 1);
    g_autoptr(GPtrArray) pairs = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) text = g_string_new("LABEL");
    for (const char *const *l = options->labels; *l; l++) {
        const char *equals = strchr(*l, '=');
        g_ptr_array_add(pairs, equals ? g_strndup(*l, (size_t)(equals - *l)) : g_strdup(*l));
        /* single quotes: nothing in it is substituted */
        g_auto(GStrv) parts = g_strsplit(equals ? equals + 1 : "", "'", -1);
        g_autofree char *quoted = g_strjoinv("'\"'\"'", parts);
        g_ptr_array_add(pairs, g_strdup_printf("'%s'", quoted));
        g_string_append_printf(text, " %s", *l);
    }
    g_ptr_array_add(pairs, NULL);
    label->kind = DOCKERFILE_LABEL;
    label->original = g_strdup(text->str);
    label->rest = g_strdup(text->str + strlen("LABEL "));
    label->options = g_new0(char *, 1);
    label->words = (char **)g_ptr_array_free(g_steal_pointer(&pairs), FALSE);
    label->heredocs = g_ptr_array_new();
    const DockerfileStage *last = file->stages->pdata[file->stages->len - 1];
    g_ptr_array_add(last->instructions, label);
    return true;
}

static Dockerfile *read_dockerfile(Build *build, const BuildOptions *options, GError **error)
{
    const char *name = options->dockerfile;
    size_t size = 0;
    g_autofree char *text = NULL;
    if (name && strcmp(name, "-") == 0)
        text = file_read_fd(0, DOCKERFILE_MAX, &size, error);
    else if (name)
        text = file_read_at(AT_FDCWD, name, DOCKERFILE_MAX, &size, error);
    else
        text = context_read(build->context, "Dockerfile", DOCKERFILE_MAX, &size, error);
    if (!text) {
        error_prefix(error, "cannot read the Dockerfile");
        return NULL;
    }
    g_autofree char *shown =
        g_path_get_basename(name && strcmp(name, "-") != 0 ? name : "Dockerfile");
    context_set_dockerfile(build->context, shown);
    Dockerfile *file = dockerfile_parse(shown, text, size, error);
    if (file && !add_labels(file, options, error)) {
        dockerfile_free(file);
        return NULL;
    }
    return file;
}

static bool read_timestamp(Build *build, GError **error)
{
    const char *text = g_hash_table_lookup(build->build_args, "SOURCE_DATE_EPOCH");
    if (!text)
        text = getenv("SOURCE_DATE_EPOCH");
    build->timestamp = (uint64_t)time(NULL);
    if (!text || !*text)
        return true;
    guint64 seconds;
    if (!g_ascii_string_to_unsigned(text, 10, 0, 253402300799ull, &seconds,
                                    NULL)) /* the end of year 9999 */
        return error_throw(error, ERROR_INVALID,
                           "bad SOURCE_DATE_EPOCH '%s': expected seconds since 1970", text);
    build->timestamp = seconds;
    build->clamp_times = true;
    return true;
}

static bool read_build_args(Build *build, const BuildOptions *options, GError **error)
{
    for (const char *const *arg = options->build_args; arg && *arg; arg++) {
        const char *equals = strchr(*arg, '=');
        g_autofree char *name = equals ? g_strndup(*arg, (size_t)(equals - *arg)) : g_strdup(*arg);
        const char *value = equals ? equals + 1 : getenv(name);
        if (!*name || !g_utf8_validate(*arg, -1, NULL) ||
            (value && !g_utf8_validate(value, -1, NULL)))
            return error_throw(error, ERROR_USAGE, "bad --build-arg '%s': expected NAME=VALUE",
                               *arg);
        if (value)
            g_hash_table_replace(build->build_args, g_steal_pointer(&name), g_strdup(value));
    }
    return true;
}

static bool check_names(const BuildOptions *options, GError **error)
{
    for (const char *const *tag = options->tags; tag && *tag; tag++) {
        g_autofree char *name = oci_name_normalize(*tag, error);
        if (!name)
            return false;
    }
    for (const char *const *label = options->labels; label && *label; label++)
        if (**label == '=' || !**label || !g_utf8_validate(*label, -1, NULL))
            return error_throw(error, ERROR_USAGE, "bad --label '%s': expected NAME=VALUE", *label);
    return true;
}

static void make_stages(Build *build)
{
    for (unsigned i = 0; i < build->file->stages->len; i++) {
        Stage *stage = g_new0(Stage, 1);
        stage->source = build->file->stages->pdata[i];
        stage->args = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g_ptr_array_add(build->stages, stage);
    }
}

/* The result becomes an image that exists, with its names. */
static bool finish(Build *build, Stage *stage, char **out_id, GError **error)
{
    if (!stage->image)
        return error_throw(error, ERROR_INVALID,
                           "'FROM scratch' alone makes no image: add an instruction");
    if (!oci_image_keep(build->txn, stage->image, error))
        return false;
    char id[13];
    fprintf(build->out, "Successfully built %s\n", short_id(stage->image, id));
    for (const char *const *tag = build->options->tags; tag && *tag; tag++) {
        g_autofree char *name = oci_name_normalize(*tag, error);
        if (!name || !oci_image_tag(build->store, stage->image, name, error))
            return false;
        fprintf(build->out, "Successfully tagged %s\n", name);
    }
    *out_id = g_strdup(stage->image->id);
    return true;
}

static bool run_build(Build *build, int *out_status, char **out_id, GError **error)
{
    for (unsigned i = 0; i < build->file->warnings->len; i++)
        fprintf(build->out, "[Warning] %s\n", (char *)build->file->warnings->pdata[i]);
    make_stages(build);
    Stage *result = NULL;
    if (!variables_read_global(build, error) || !build_stages(build, &result, out_status, error))
        return false;
    if (*out_status != 0)
        return true;
    g_auto(GStrv) unused = variables_unused(build);
    g_autofree char *names = g_strjoinv(" ", unused);
    if (*names)
        fprintf(build->out, "[Warning] One or more build-args [%s] were not consumed\n", names);
    return finish(build, result, out_id, error);
}

bool build_image(Store *store, const BuildOptions *options, int *out_status, char **out_id,
                 GError **error)
{
    g_auto(Build) build = {.store = store, .options = options};
    build.build_args = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    build.used_args = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    build.global_args = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    build.stages = g_ptr_array_new_with_free_func(stage_free);
    if (!check_names(options, error) || !read_build_args(&build, options, error) ||
        !read_timestamp(&build, error))
        return false;
    build.context = context_open(options->context, error);
    g_autoptr(Dockerfile) file = build.context ? read_dockerfile(&build, options, error) : NULL;
    build.txn = file ? store_txn_begin(store, NULL, error) : NULL;
    if (!build.txn)
        return false;
    build.file = file;
    FILE *nothing = options->output ? NULL : fopen("/dev/null", "we");
    build.out = options->output ? options->output : nothing;
    if (!build.out)
        return error_throw_errno(error, "cannot open '/dev/null'");
    *out_status = 0;
    bool done = run_build(&build, out_status, out_id, error);
    fflush(build.out);
    if (nothing)
        fclose(nothing);
    return done;
}
