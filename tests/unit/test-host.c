/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"
#include "host/deployment.h"
#include "host/entry.h"
#include "host/etc.h"
#include "host/loader.h"
#include "host/sysroot.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define COMMIT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* --- the merge of /etc ------------------------------------------------------------------------------------
 *
 * A tree is written as words: "name/" a directory, "name=bytes" a file, "name->target" a link; "@700" behind it
 * sets the mode. */

typedef struct {
    const char *what, *old, *mine, *new;
    const char *result;   /* sorted by path */
    const char *report;   /* "modified removed added | kept | both | taken" */
    const char *conflict; /* the beginning of the error, instead of both */
} MergeCase;

static const MergeCase merge_cases[] = {
    {"nothing changed", "a=1 d/ d/b=1", "a=1 d/ d/b=1", "a=2 d/ d/b=1 c=1", "a=2 c=1 d/ d/b=1",
     "0 0 0 | | | /etc/a /etc/c", NULL},
    {"mine wins", "a=1 b=1", "a=mine b=1", "a=2 b=2", "a=mine b=2", "1 0 0 | | /etc/a | /etc/b",
     NULL},
    {"mine kept", "a=1", "a=mine", "a=1", "a=mine", "1 0 0 | /etc/a | |", NULL},
    {"both the same way", "a=1", "a=2", "a=2", "a=2", "1 0 0 | /etc/a | |", NULL},
    {"equal to the old default follows the new", "a=1", "a=1", "a=2", "a=2", "0 0 0 | | | /etc/a",
     NULL},
    {"removed", "a=1 b=1 d/ d/e/ d/e/f=1", "b=1", "a=1 b=1 d/ d/e/ d/e/f=1", "b=1",
     "0 2 0 | /etc/a /etc/d | |", NULL},
    {"removed what the new tree changed", "a=1", "", "a=2", "", "0 1 0 | | /etc/a |", NULL},
    {"removed by both", "a=1", "", "", "", "0 1 0 | /etc/a | |", NULL},
    {"added, each name counts", "", "d/ d/a=1 d/e/ l->d", "x=1", "d/ d/a=1 d/e/ l->d x=1",
     "0 0 4 | /etc/d /etc/d/a /etc/d/e /etc/l | | /etc/x", NULL},
    {"added by both", "", "a=mine", "a=2", "a=mine", "0 0 1 | | /etc/a |", NULL},
    {"added in a directory of both", "", "d/@711 d/a=1", "d/ d/b=1", "d/@711 d/a=1 d/b=1",
     "0 0 2 | /etc/d/a | /etc/d | /etc/d/b", NULL},
    {"mode alone", "a=1", "a=1@600", "a=1", "a=1@600", "1 0 0 | /etc/a | |", NULL},
    {"a directory's mode alone is not carried", "d/ d/a=1", "d/@700 d/a=1", "d/ d/a=1", "d/ d/a=1",
     "1 0 0 | /etc/d | |", NULL},
    {"but with a file in it", "d/ d/a=1", "d/@700 d/a=2", "d/ d/a=1", "d/@700 d/a=2",
     "2 0 0 | /etc/d /etc/d/a | |", NULL},
    {"the default is gone, mine stays", "a=1 b=1", "a=mine b=1", "", "a=mine",
     "1 0 0 | | /etc/a | /etc/b", NULL},
    {"its parent is made again", "d/@750 d/a=1 d/b=1", "d/@750 d/a=mine d/b=1", "",
     "d/@750 d/a=mine", "1 0 0 | | /etc/d/a | /etc/d/b", NULL},
    {"a changed directory that is gone comes back whole", "d/ d/a=1", "d/@700 d/a=1", "",
     "d/@700 d/a=1", "1 0 0 | | /etc/d |", NULL},
    {"links", "l->a m->a n=1", "l->b m->a n->a", "l->a m->c n=1", "l->b m->c n->a",
     "2 0 0 | /etc/l /etc/n | | /etc/m", NULL},
    {"file to directory", "a=1", "a/ a/b=1", "a=1", "a/ a/b=1", "1 0 0 | /etc/a | |", NULL},
    {"directory over a new file", "", "a/ a/b/ a/b/c=1", "a=2", "a/ a/b/ a/b/c=1",
     "0 0 3 | /etc/a/b /etc/a/b/c | /etc/a |", NULL},
    {"untouched file becomes directory", "a=1", "a=1", "a/ a/b=1", "a/ a/b=1",
     "0 0 0 | | | /etc/a/b", NULL},
    {"systemd's stamp stays behind", "", ".updated=1", "", "", "0 0 1 | /etc/.updated | |", NULL},
    {"changed file becomes directory", "a=1", "a=mine", "a/ a/b=1", NULL, NULL,
     "config file '/etc/a' newly defaults to directory, cannot merge"},
    {"added file where the new tree has a directory", "", "a=mine", "a/", NULL, NULL,
     "config file '/etc/a' newly defaults to directory, cannot merge"},
    {"a parent becomes a file", "d/ d/a=1", "d/ d/a=mine", "d=1", NULL, NULL,
     "config file '/etc/d' newly defaults to file, cannot merge"},
    {"a parent becomes a link", "d/ d/a=1", "d/ d/a=mine", "d->/root", NULL, NULL,
     "config file '/etc/d' newly defaults to symbolic link, cannot merge"},
};

typedef struct {
    char *path;
    const char *value; /* bytes or target */
    uint32_t mode;
} Word;

static void parse_word(char *text, Word *word)
{
    char *mode = strrchr(text, '@');
    unsigned long bits = mode ? strtoul(mode + 1, NULL, 8) : 0;
    if (mode)
        *mode = '\0';
    char *arrow = strstr(text, "->");
    char *equals = strchr(text, '=');
    if (arrow) {
        *arrow = '\0';
        *word = (Word){text, arrow + 2, S_IFLNK | 0777};
    } else if (equals) {
        *equals = '\0';
        *word = (Word){text, equals + 1, S_IFREG | (uint32_t)(bits ? bits : 0644)};
    } else {
        text[strlen(text) - 1] = '\0';
        *word = (Word){text, "", S_IFDIR | (uint32_t)(bits ? bits : 0755)};
    }
}

static Tree *make_tree(const char *spec)
{
    g_autoptr(GError) error = NULL;
    Tree *tree = tree_new();
    TreeNode *etc = tree_ensure_dir(tree, "usr/etc", &error);
    g_assert_no_error(error);
    etc->inode->uid = getuid();
    etc->inode->gid = getgid();
    g_auto(GStrv) words = g_strsplit(spec, " ", -1);
    for (char **w = words; *w && **w; w++) {
        Word word;
        parse_word(*w, &word);
        g_autofree char *path = g_strconcat("usr/etc/", word.path, NULL);
        g_autofree char *parent = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(path);
        TreeNode *node = tree_add(tree, tree_lookup(tree, parent), name, word.mode, &error);
        g_assert_no_error(error);
        node->inode->uid = getuid();
        node->inode->gid = getgid();
        if (S_ISREG(word.mode))
            tree_set_inline(tree, node->inode, word.value, strlen(word.value));
        if (S_ISLNK(word.mode))
            tree_set_target(tree, node->inode, word.value);
    }
    return tree;
}

static void make_dir(int fd, const char *spec)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) words = g_strsplit(spec, " ", -1);
    for (char **w = words; *w && **w; w++) {
        Word word;
        parse_word(*w, &word);
        if (S_ISLNK(word.mode))
            g_assert_cmpint(symlinkat(word.value, fd, word.path), ==, 0);
        else if (S_ISREG(word.mode))
            file_replace_at(fd, word.path, word.value, strlen(word.value), word.mode & 07777, 0,
                            &error);
        else {
            g_assert_cmpint(mkdirat(fd, word.path, 0700), ==, 0);
            g_assert_cmpint(fchmodat(fd, word.path, word.mode & 07777, 0), ==, 0);
        }
        g_assert_no_error(error);
    }
}

static char *format_dir(int fd)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) ignored = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(Tree) tree = etc_scan(fd, ignored, &error);
    g_assert_no_error(error);
    GString *text = g_string_new(NULL);
    g_autoptr(GPtrArray) todo = g_ptr_array_new();
    g_ptr_array_add(todo, tree_root(tree));
    while (todo->len) {
        TreeNode *node = g_ptr_array_steal_index(todo, todo->len - 1);
        for (size_t i = tree_n_children(node); i > 0 && S_ISDIR(node->inode->mode); i--)
            g_ptr_array_add(todo, tree_nth_child(node, i - 1));
        if (!node->parent)
            continue;
        g_autofree char *path = tree_path(node);
        uint32_t mode = node->inode->mode & 07777;
        g_string_append_printf(text, "%s%s", text->len ? " " : "", path + 1);
        if (S_ISLNK(node->inode->mode)) {
            g_string_append_printf(text, "->%s", node->inode->target);
            continue;
        }
        g_autofree char *bytes =
            S_ISREG(node->inode->mode) ? file_read_at(fd, path + 1, 1000, NULL, &error) : NULL;
        g_assert_no_error(error);
        g_string_append_printf(text, bytes ? "=%s" : "/", bytes);
        if (mode != (bytes ? 0644 : 0755))
            g_string_append_printf(text, "@%o", mode);
    }
    return g_string_free(text, FALSE);
}

static void append_list(GString *text, GPtrArray *list)
{
    g_string_append(text, " |");
    for (size_t i = 0; i < list->len; i++)
        g_string_append_printf(text, " %s", (char *)list->pdata[i]);
}

static void check_merge(const MergeCase *c, int dir)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) old = make_tree(c->old);
    g_autoptr(Tree) new = make_tree(c->new);
    g_assert_true(file_ensure_dir_at(dir, "mine", 0755, &error));
    _autofd int mine = file_open_dir_at(dir, "mine", &error);
    make_dir(mine, c->mine);
    EtcMergeInput input = {NULL, old, tree_lookup(old, "usr/etc"),
                           mine, new, tree_lookup(new, "usr/etc")};
    g_auto(EtcMerge) merge = {0};
    bool ok = etc_merge(&input, &merge, &error);
    if (c->conflict) {
        g_assert_false(ok);
        g_assert_true(error_is(error, ERROR_INVALID));
        g_assert_true(g_str_has_prefix(error->message, c->conflict));
        return;
    }
    g_assert_no_error(error);
    GString *report = g_string_new(NULL);
    g_string_append_printf(report, "%u %u %u", merge.report.modified, merge.report.removed,
                           merge.report.added);
    append_list(report, merge.report.kept);
    append_list(report, merge.report.both);
    append_list(report, merge.report.taken);
    g_assert_cmpstr(report->str, ==, c->report);
    g_string_free(report, TRUE);
    etc_write(NULL, &merge, mine, dir, "result", &error);
    g_assert_no_error(error);
    _autofd int result = file_open_dir_at(dir, "result", &error);
    g_autofree char *text = format_dir(result);
    g_assert_cmpstr(text, ==, c->result);
}

static void test_merge(const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    _autofd int dir = file_open_dir_at(AT_FDCWD, path, &error);
    g_assert_no_error(error);
    mode_t mask = umask(0022);
    check_merge(data, dir);
    umask(mask);
    g_assert_true(file_remove_all_at(AT_FDCWD, path, &error));
}

/* What is no file, link or directory is named and left out. */
static void test_merge_special(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    _autofd int dir = file_open_dir_at(AT_FDCWD, path, &error);
    g_assert_cmpint(mkfifoat(dir, "fifo", 0600), ==, 0);
    g_autoptr(Tree) old = make_tree("");
    EtcMergeInput input = {NULL, old, tree_lookup(old, "usr/etc"),
                           dir,  old, tree_lookup(old, "usr/etc")};
    g_auto(EtcMerge) merge = {0};
    g_assert_true(etc_merge(&input, &merge, &error));
    g_assert_cmpuint(merge.report.added, ==, 0);
    g_assert_cmpuint(merge.report.ignored->len, ==, 1);
    g_assert_cmpstr(merge.report.ignored->pdata[0], ==, "/etc/fifo");
    g_assert_cmpuint(tree_n_children(tree_root(merge.result)), ==, 0);
    g_assert_true(file_remove_all_at(AT_FDCWD, path, &error));
}

/* Owners, modes with special bits, times and attributes arrive. */
static void test_write_metadata(void)
{
    if (getuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    _autofd int dir = file_open_dir_at(AT_FDCWD, path, &error);
    g_autoptr(Tree) tree = make_tree("f=1@4750 d/@2775 l->f");
    TreeNode *etc = tree_lookup(tree, "usr/etc");
    TreeInode *file = tree_lookup(tree, "usr/etc/f")->inode;
    TreeInode *link = tree_lookup(tree, "usr/etc/l")->inode;
    file->uid = link->uid = 5;
    file->gid = link->gid = 6;
    file->mtime = 1000000000;
    tree_set_xattr(tree, file, "user.test", "value", 5);
    EtcMergeInput input = {NULL, NULL, NULL, -1, tree, etc};
    g_auto(EtcMerge) merge = {0};
    g_assert_true(etc_merge(&input, &merge, &error));
    g_assert_false(merge.report.merged);
    g_assert_true(etc_write(NULL, &merge, -1, dir, "etc", &error));
    g_assert_no_error(error);
    struct stat st;
    g_assert_cmpint(fstatat(dir, "etc/f", &st, 0), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 04750);
    g_assert_cmpint(st.st_uid, ==, 5);
    g_assert_cmpint(st.st_gid, ==, 6);
    g_assert_cmpint(st.st_mtime, ==, 1000000000);
    g_assert_cmpint(fstatat(dir, "etc/d", &st, 0), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 02775);
    g_assert_cmpint(fstatat(dir, "etc/l", &st, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_cmpint(st.st_uid, ==, 5);
    _autofd int written = file_open_dir_at(dir, "etc", &error);
    g_autoptr(Tree) again = etc_scan(written, NULL, &error);
    g_assert_nonnull(tree_xattr(tree_lookup(again, "f")->inode, "user.test"));
    g_assert_true(file_remove_all_at(AT_FDCWD, path, &error));
}

/* --- names, key files, entries --------------------------------------------------------------------------- */

static void test_id(void)
{
    g_autofree char *commit = NULL;
    unsigned serial;
    g_assert_true(deployment_parse_id(COMMIT_A ".12", &commit, &serial));
    g_assert_cmpstr(commit, ==, COMMIT_A);
    g_assert_cmpuint(serial, ==, 12);
    static const char *const bad[] = {"",
                                      COMMIT_A,
                                      COMMIT_A ".",
                                      COMMIT_A ".x",
                                      COMMIT_A ".01",
                                      COMMIT_A ".1 ",
                                      "../" COMMIT_A,
                                      COMMIT_A ".-1",
                                      COMMIT_A ".1/..",
                                      "aaaa.1",
                                      COMMIT_A ".99999999999"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        g_assert_false(deployment_parse_id(bad[i], NULL, NULL));
}

static HostDeployment *make_deployment(const char *id, const char *bootcsum)
{
    HostDeployment *d = g_new0(HostDeployment, 1);
    d->id = g_strdup(id);
    g_assert_true(deployment_parse_id(id, &d->commit, &d->serial));
    g_assert_true(digest_parse(COMMIT_B, &d->image));
    d->os = g_strdup("test");
    d->origin = g_strdup("origin:test/tree");
    d->version = g_strdup("12.5");
    d->title = g_strdup("Test OS");
    d->timestamp = 1412709895;
    d->bootcsum = g_strdup(bootcsum);
    d->options = g_strdup("root=LABEL=x rw");
    d->has_initrd = true;
    return d;
}

static void test_key_file(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostDeployment) d = make_deployment(COMMIT_A ".1", COMMIT_B);
    d->pinned = true;
    g_autofree char *text = deployment_format(d);
    g_assert_nonnull(strstr(text, "version=1\nmin_reader=1\n"));
    g_autoptr(HostDeployment) again = deployment_parse(COMMIT_A ".1", text, &error);
    g_assert_no_error(error);
    g_autofree char *text_again = deployment_format(again);
    g_assert_cmpstr(text, ==, text_again);
    g_assert_true(again->pinned && again->has_initrd);
    g_assert_cmpint(again->timestamp, ==, 1412709895);

    g_assert_null(deployment_parse(COMMIT_B ".1", text, &error)); /* another commit's */
    g_assert_true(error_is(error, ERROR_CORRUPT));
    g_clear_error(&error);
    g_assert_null(deployment_parse(COMMIT_A ".1", "nonsense", &error));
    g_assert_true(error_is(error, ERROR_CORRUPT));
    g_clear_error(&error);
    g_assert_null(
        deployment_parse(COMMIT_A ".1", "[deployment]\nversion=9\nmin_reader=2\n", &error));
    g_assert_true(error_is(error, ERROR_UNSUPPORTED));
    g_clear_error(&error);
    /* a newer one that this reader still understands, with keys it does not know */
    char *newer = strstr(text, "version=1");
    newer[strlen("version=")] = '7';
    g_autofree char *more = g_strconcat(text, "future=1\n[other]\nkey=1\n", NULL);
    g_autoptr(HostDeployment) future = deployment_parse(COMMIT_A ".1", more, &error);
    g_assert_no_error(error);
    g_assert_nonnull(future);
}

static void test_entry(void)
{
    g_autoptr(HostDeployment) d = make_deployment(COMMIT_A ".1", COMMIT_B);
    g_autofree char *text = entry_format(d, 0, 2, "/boot");
    g_assert_cmpstr(text, ==,
                    "title Test OS 12.5 (atomic:0)\n"
                    "version 2\n"
                    "linux /boot/atomic/" COMMIT_B "/vmlinuz\n"
                    "initrd /boot/atomic/" COMMIT_B "/initrd\n"
                    "options root=LABEL=x rw atomic=" COMMIT_A ".1\n");
    g_autofree char *name = entry_file_name(0, 2);
    g_assert_cmpstr(name, ==, "atomic-2.conf");
    g_auto(HostEntry) entry;
    entry_parse(text, &entry);
    g_assert_cmpstr(entry.id, ==, COMMIT_A ".1");
    g_assert_cmpstr(entry.version, ==, "2");
    g_assert_cmpstr(entry.options, ==, "root=LABEL=x rw");
}

static void test_entry_foreign(void)
{
    static const char *const texts[] = {"",
                                        "options",
                                        "options atomic=\n",
                                        "options atomic=../../etc\n",
                                        "options ostree=/ostree/boot.1/x root=/dev/vda\n",
                                        "optionsatomic=" COMMIT_A ".1\n",
                                        "# options atomic=" COMMIT_A ".1\n"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        g_auto(HostEntry) entry;
        entry_parse(texts[i], &entry);
        g_assert_null(entry.id);
    }
    g_auto(HostEntry) entry;
    entry_parse("  version\t3 \r\noptions a  b\noptions\tatomic=" COMMIT_A ".0 c\r\n", &entry);
    g_assert_cmpstr(entry.id, ==, COMMIT_A ".0");
    g_assert_cmpstr(entry.options, ==, "a b c");
    g_assert_cmpstr(entry.version, ==, "3");
}

static void test_cmdline(void)
{
    g_autofree char *id =
        sysroot_parse_cmdline("BOOT_IMAGE=x root=y atomic=" COMMIT_A ".3 quiet\n");
    g_assert_cmpstr(id, ==, COMMIT_A ".3");
    g_assert_null(sysroot_parse_cmdline("root=y xatomic=" COMMIT_A ".3\n"));
}

/* --- the loader ------------------------------------------------------------------------------------------ */

typedef struct {
    char *path;
    int fd;
} Sandbox;

static void write_deployment(int fd, const HostDeployment *d)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_strdup_printf("atomic/deploy/%s", d->id);
    g_autofree char *file = g_strdup_printf("%s/deployment", dir);
    g_autofree char *text = deployment_format(d);
    file_ensure_dir_at(fd, dir, 0755, &error);
    g_assert_no_error(error);
    file_replace_at(fd, file, text, strlen(text), 0644, 0, &error);
    g_assert_no_error(error);
}

static void sandbox_init(Sandbox *s)
{
    g_autoptr(GError) error = NULL;
    s->path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    s->fd = file_open_dir_at(AT_FDCWD, s->path, &error);
    g_assert_no_error(error);
    file_ensure_dir_at(s->fd, "atomic/deploy", 0755, &error);
    file_ensure_dir_at(s->fd, "boot/loader.0/entries", 0755, &error);
    file_ensure_dir_at(s->fd, "boot/atomic/" COMMIT_A, 0755, &error);
    file_ensure_dir_at(s->fd, "boot/atomic/" COMMIT_B, 0755, &error);
    g_assert_no_error(error);
    g_assert_cmpint(symlinkat("loader.0", s->fd, "boot/loader"), ==, 0);
}

static void sandbox_clear(Sandbox *s)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(file_remove_all_at(AT_FDCWD, s->path, &error));
    close(s->fd);
    g_free(s->path);
}

static void assert_order(Host *host, const char *first, const char *second)
{
    GPtrArray *deployments = host_deployments(host);
    g_assert_cmpuint(deployments->len, ==, second ? 2 : 1);
    g_assert_cmpstr(host_default(host)->id, ==, first);
    if (second)
        g_assert_cmpstr(((HostDeployment *)deployments->pdata[1])->id, ==, second);
}

static void test_loader(void)
{
    if (getuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    g_autoptr(GError) error = NULL;
    Sandbox s;
    sandbox_init(&s);
    g_autoptr(HostDeployment) a = make_deployment(COMMIT_A ".0", COMMIT_A);
    g_autoptr(HostDeployment) b = make_deployment(COMMIT_B ".0", COMMIT_B);
    write_deployment(s.fd, a);
    write_deployment(s.fd, b);
    /* another system's entry is carried over, swap after swap */
    file_replace_at(s.fd, "boot/loader.0/entries/other.conf", "title Other\n", 12, 0644, 0, &error);
    g_assert_no_error(error);
    g_autoptr(Host) host = host_open(s.path, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(host_deployments(host)->len, ==, 0);
    g_assert_null(host_rollback_target(host, &error));
    g_assert_true(error_is(error, ERROR_INVALID));
    g_clear_error(&error);
    g_assert_false(host_rollback(host, &error)); /* not locked */
    g_clear_error(&error);
    g_assert_true(host_lock(host, "test", 0, &error));

    g_autoptr(GPtrArray) list = g_ptr_array_new();
    g_ptr_array_add(list, a);
    g_ptr_array_add(list, b);
    g_assert_true(loader_swap(host, list, &error));
    assert_order(host, COMMIT_A ".0", COMMIT_B ".0");
    g_assert_cmpstr(host_default(host)->options, ==, "root=LABEL=x rw");
    for (int i = 0; i < 3; i++) {
        g_assert_true(host_rollback(host, &error));
        g_assert_no_error(error);
        assert_order(host, i % 2 ? COMMIT_A ".0" : COMMIT_B ".0",
                     i % 2 ? COMMIT_B ".0" : COMMIT_A ".0");
        g_assert_cmpint(faccessat(s.fd, "boot/loader/entries/other.conf", F_OK, 0), ==, 0);
    }
    /* what the list does not name goes */
    g_ptr_array_set_size(list, 1);
    g_assert_true(loader_swap(host, list, &error));
    g_autofree char *store_path = host_store_path(host);
    g_assert_true(store_init(store_path, &error));
    g_autoptr(Store) store = store_open(store_path, &error);
    g_assert_no_error(error);
    g_assert_true(host_cleanup(host, store, NULL, &error));
    g_assert_no_error(error);
    assert_order(host, COMMIT_A ".0", NULL);
    g_assert_cmpint(faccessat(s.fd, "atomic/deploy/" COMMIT_A ".0", F_OK, 0), ==, 0);
    g_assert_cmpint(faccessat(s.fd, "atomic/deploy/" COMMIT_B ".0", F_OK, 0), ==, -1);
    g_assert_cmpint(faccessat(s.fd, "boot/atomic/" COMMIT_A, F_OK, 0), ==, 0);
    g_assert_cmpint(faccessat(s.fd, "boot/atomic/" COMMIT_B, F_OK, 0), ==, -1);
    sandbox_clear(&s);
}

static void test_lock(void)
{
    if (getuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    g_autoptr(GError) error = NULL;
    Sandbox s;
    sandbox_init(&s);
    g_autoptr(Host) one = host_open(s.path, &error);
    g_autoptr(Host) two = host_open(s.path, &error);
    g_assert_no_error(error);
    g_assert_true(host_lock(one, "atomic upgrade", 0, &error));
    g_assert_false(host_lock(two, "atomic rollback", 0, &error));
    g_assert_true(error_is(error, ERROR_BUSY));
    g_assert_nonnull(strstr(error->message, "held by 'atomic upgrade' (process "));
    g_clear_error(&error);
    g_clear_pointer(&one, host_free);
    g_assert_true(host_lock(two, "atomic rollback", 0, &error));
    g_assert_no_error(error);
    sandbox_clear(&s);
}

static void test_not_a_host(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    g_assert_null(host_open(path, &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_assert_nonnull(strstr(error->message, "hint: make it one with 'atomic host init"));
    g_clear_error(&error);
    rmdir(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(merge_cases); i++) {
        g_autofree char *name = g_strdup_printf("/host/etc/%s", merge_cases[i].what);
        g_test_add_data_func(name, &merge_cases[i], test_merge);
    }
    g_test_add_func("/host/etc/special files", test_merge_special);
    g_test_add_func("/host/etc/metadata", test_write_metadata);
    g_test_add_func("/host/id", test_id);
    g_test_add_func("/host/key file", test_key_file);
    g_test_add_func("/host/entry", test_entry);
    g_test_add_func("/host/entry/foreign", test_entry_foreign);
    g_test_add_func("/host/cmdline", test_cmdline);
    g_test_add_func("/host/loader", test_loader);
    g_test_add_func("/host/lock", test_lock);
    g_test_add_func("/host/not a host", test_not_a_host);
    return g_test_run();
}
