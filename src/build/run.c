/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RUN: the command in a sandbox over the stage's image; what it wrote becomes a layer.
 *
 * The writable layer is thrown away afterwards, so it is mounted volatile: nothing the command
 * syncs costs anything, and a crash loses a step that would be done again anyway.
 */
#include "build/match.h"
#include "build/run.h"
#include "build/state.h"

#include "base/file.h"
#include "sandbox/sandbox.h"

#include <string.h>
#include <unistd.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SandboxUser, sandbox_user_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RuntimeProcess, runtime_process_clear)

/* --- the command ------------------------------------------------------------------------------ */

/* The text for the shell: a line that is nothing but a heredoc is the heredoc's text. */
static char *shell_text(const DockerfileInstruction *instruction, char escape, GError **error)
{
    const GPtrArray *heredocs = instruction->heredocs;
    g_auto(GStrv) words = words_split(instruction->words[0], escape);
    if (heredocs->len == 1 && !words[1]) {
        const DockerfileHeredoc *heredoc = heredocs->pdata[0];
        if (g_str_has_prefix(heredoc->content, "#!"))
            return error_throw_null(error, ERROR_UNSUPPORTED,
                                    "not supported yet: a heredoc of RUN that begins with '#!'");
        return g_strdup(heredoc->content);
    }
    GString *text = g_string_new(instruction->words[0]);
    for (unsigned i = 0; i < heredocs->len; i++) {
        const DockerfileHeredoc *heredoc = heredocs->pdata[i];
        g_string_append_printf(text, "\n%s%s", heredoc->content, heredoc->name);
    }
    return g_string_free(text, FALSE);
}

char **run_argv(const Build *build, const Stage *stage, const DockerfileInstruction *instruction,
                GError **error)
{
    if (instruction->json)
        return g_strdupv(instruction->words);
    static const char *const standard[] = {"/bin/sh", "-c", NULL};
    const char *const *shell =
        *stage->config->shell ? (const char *const *)stage->config->shell : standard;
    char *text = shell_text(instruction, build->file->escape, error);
    if (!text)
        return NULL;
    GPtrArray *argv = g_ptr_array_new();
    for (; *shell; shell++)
        g_ptr_array_add(argv, g_strdup(*shell));
    g_ptr_array_add(argv, text);
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

static void add_all(GPtrArray *list, char **texts)
{
    for (char **text = texts; *text; text++)
        g_ptr_array_add(list, g_strdup(*text));
}

static char **make_env(Build *build, const Stage *stage, const char *home)
{
    g_auto(GStrv) args = variables_for_run(stage);
    g_auto(GStrv) proxies = variables_proxies(build);
    GPtrArray *env = g_ptr_array_new();
    if (!oci_config_env(stage->config, "PATH"))
        g_ptr_array_add(env, g_strdup(DEFAULT_PATH));
    if (!oci_config_env(stage->config, "HOME"))
        g_ptr_array_add(env, g_strconcat("HOME=", home, NULL));
    add_all(env, proxies);
    add_all(env, args);
    add_all(env, stage->config->env);
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_free(env, FALSE);
}

/* --- what it wrote ---------------------------------------------------------------------------- */

static bool same_attributes(const TreeInode *a, const TreeInode *b)
{
    if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->n_xattrs != b->n_xattrs)
        return false;
    for (size_t i = 0; i < a->n_xattrs; i++)
        if (strcmp(a->xattrs[i].name, b->xattrs[i].name) != 0 ||
            a->xattrs[i].size != b->xattrs[i].size ||
            memcmp(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].size) != 0)
            return false;
    return true;
}

/* Directories that nothing remains in and that are as they were: copied up for a file that came
 * and went. */
static void drop_untouched_dirs(Tree *layer, TreeNode *dir, Tree *base)
{
    for (size_t i = tree_n_children(dir); i-- > 0;) {
        TreeNode *child = tree_nth_child(dir, i);
        if (!S_ISDIR(child->inode->mode))
            continue;
        drop_untouched_dirs(layer, child, base);
        g_autofree char *path = tree_path(child);
        const TreeNode *old = tree_lookup(base, path);
        if (tree_n_children(child) == 0 && !child->inode->opaque && old &&
            S_ISDIR(old->inode->mode) && same_attributes(child->inode, old->inode))
            tree_remove(layer, child);
    }
}

/* Where a mount on this path lands: the image may have a link there (/etc/resolv.conf often is). */
static char *mount_point(Tree *base, const char *path)
{
    const TreeNode *node = tree_lookup(base, path);
    if (!node || !S_ISLNK(node->inode->mode))
        return g_strdup(path);
    g_autofree char *dir = g_path_get_dirname(path);
    return *node->inode->target == '/' ? g_strdup(node->inode->target)
                                       : g_build_filename(dir, node->inode->target, NULL);
}

static bool is_empty(const TreeNode *node)
{
    return S_ISDIR(node->inode->mode) ? tree_n_children(node) == 0
                                      : S_ISREG(node->inode->mode) && node->inode->size == 0;
}

/* The sandbox mounts on these; where the image lacks them it had to make them first, with the
 * directories above. A program's own empty file of the same name looks the same, and goes too. */
static void drop_mount_points(Tree *layer, Tree *base)
{
    static const char *const points[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf",
                                         "proc",      "sys",          "dev"};
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        g_autofree char *written = mount_point(base, points[i]);
        g_autofree char *clean = match_clean(written);
        TreeNode *node = clean ? tree_lookup(layer, clean) : NULL;
        while (node && node->parent && is_empty(node)) {
            g_autofree char *path = tree_path(node);
            TreeNode *parent = node->parent;
            if (tree_lookup(base, path))
                break;
            tree_remove(layer, node);
            node = parent;
        }
    }
}

/* *out_layer stays NULL when nothing was written. */
static bool read_layer(Build *build, Stage *stage, int scratch_fd, Tree **out_layer, GError **error)
{
    _autofd int upper = openat(scratch_fd, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0)
        return error_throw_errno(error, "cannot open what RUN wrote");
    g_autoptr(Tree) layer = store_import_dir(build->txn, upper, STORE_IMPORT_UPPER, error);
    Tree *base = layer ? step_tree(build, stage, error) : NULL;
    if (!base)
        return false;
    /* the upper's own directory is not the image's root */
    tree_copy_metadata(layer, tree_root(layer)->inode, tree_root(base)->inode);
    drop_mount_points(layer, base);
    drop_untouched_dirs(layer, tree_root(layer), base);
    if (tree_n_children(tree_root(layer)) > 0)
        *out_layer = g_steal_pointer(&layer);
    return true;
}

/* --- running ---------------------------------------------------------------------------------- */

static bool choose_network(const Build *build, const DockerfileInstruction *instruction,
                           SandboxNet *out, GError **error)
{
    static const SandboxNet by_option[] = {
        [BUILD_NETWORK_BRIDGE] = SANDBOX_NET_BRIDGE,
        [BUILD_NETWORK_HOST] = SANDBOX_NET_HOST,
        [BUILD_NETWORK_NONE] = SANDBOX_NET_NONE,
    };
    const char *text = dockerfile_option(instruction, "network");
    *out = by_option[build->options->network];
    if (!text || strcmp(text, "default") == 0)
        return true;
    if (strcmp(text, "none") == 0)
        *out = SANDBOX_NET_NONE;
    else if (strcmp(text, "host") == 0)
        *out = SANDBOX_NET_HOST;
    else
        return error_throw(error, ERROR_INVALID,
                           "bad --network '%s': expected default, none or host", text);
    return true;
}

/* Starts the command in the prepared sandbox and waits. */
static bool execute(Build *build, const Stage *stage, Sandbox *sandbox, char *const *argv,
                    int *out_status, GError **error)
{
    g_auto(SandboxUser) user = {0};
    g_auto(RuntimeProcess) process = RUNTIME_PROCESS_NONE;
    const OciConfig *config = stage->config;
    if (!sandbox_user_resolve(sandbox_root_fd(sandbox), config->user, &user, error))
        return false;
    g_auto(GStrv) env = make_env(build, stage, user.home ? user.home : "/");
    fflush(build->out);
    RuntimeCommand command;
    runtime_command_init(&command);
    command.argv = (const char *const *)argv;
    command.env = (const char *const *)env;
    command.cwd = *config->working_dir ? config->working_dir : "/";
    command.uid = user.uid;
    command.gid = user.gid;
    command.groups = user.groups;
    command.n_groups = user.n_groups;
    command.stdout_fd = build->options->output ? fileno(build->options->output) : -1;
    command.stderr_fd = build->options->output ? STDERR_FILENO : -1;
    if (!sandbox_start(sandbox, &command, &process, error))
        return false;
    *out_status = sandbox_wait(sandbox, &process, NULL, error);
    return *out_status >= 0;
}

bool run_command(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                 char *const *argv, int *out_status, Tree **out_layer, GError **error)
{
    if (!stage->image)
        return error_throw(error, ERROR_INVALID,
                           "there is nothing to run yet in 'FROM scratch': COPY a program first");
    g_auto(RunScratch) scratch = RUN_SCRATCH_NONE;
    g_auto(RunNetwork) network = {0};
    SandboxOptions options;
    sandbox_options_init(&options);
    options.store = build->store;
    options.image = &stage->image->image;
    options.volatile_upper = true;
    options.carry_output = true;
    if (!choose_network(build, instruction, &options.net, error) ||
        !run_scratch_make(&scratch, error))
        return false;
    options.writable_fd = scratch.fd;
    options.name = scratch.name;
    if (options.net == SANDBOX_NET_BRIDGE) {
        if (!run_network_prepare(&network, scratch.name, error))
            return false;
        options.attach_network = run_network_attach;
        options.configure_network = run_network_configure;
        options.network_data = &network;
    }
    g_autoptr(Sandbox) sandbox = sandbox_prepare(&options, error);
    if (!sandbox || !execute(build, stage, sandbox, argv, out_status, error))
        return false;
    return *out_status != 0 || read_layer(build, stage, scratch.fd, out_layer, error);
}
