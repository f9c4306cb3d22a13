/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Our images against mkcomposefs', byte for byte, on dumps made from seeds (random-dump.h).
 *
 * Always: against what the real tool made of some of them (tests/data/composefs/generated.tsv). With $MKCOMPOSEFS naming
 * the tool: against the tool itself, on $MKCOMPOSEFS_SEEDS ("FIRST-LAST") more, damaged ones too; where they differ the dump
 * is left in $TMPDIR and named. `test-composefs --make-vectors` prints that table. */
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/spawn.h"
#include "random-dump.h"
#include "tree/erofs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *judge; /* NULL: only the table */
static uint64_t first_seed = 1, last_seed = 200;

/* False: the tool refuses. */
static bool run_judge(const char *const *argv)
{
    _autofd int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    SpawnOptions options = {-1, -1, null, NULL};
    pid_t pid;
    g_assert_true(spawn_start(argv, &options, &pid, NULL));
    int status = spawn_wait(pid, NULL);
    g_assert_cmpint(status, <, 128); /* the dumps are meant to be parsed, not to find its faults */
    return status == 0;
}

/* What mkcomposefs makes of the dump; NULL: it refuses it. */
static GBytes *judge_image(const GString *dump, int min, int max)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("atomic-composefs-XXXXXX", &error);
    g_assert_no_error(error);
    g_autofree char *from = g_build_filename(dir, "dump", NULL);
    g_autofree char *to = g_build_filename(dir, "image", NULL);
    g_assert_true(g_file_set_contents(from, dump->str, (gssize)dump->len, NULL));
    char low[] = "--min-version=0", high[] = "--max-version=0";
    low[sizeof low - 2] = (char)('0' + min);
    high[sizeof high - 2] = (char)('0' + max);
    const char *argv[] = {judge, "--from-file", low, high, from, to, NULL};
    char *data = NULL;
    size_t size = 0;
    if (run_judge(argv))
        g_assert_true(g_file_get_contents(to, &data, &size, NULL));
    unlink(from);
    unlink(to);
    rmdir(dir);
    return data ? g_bytes_new_take(data, size) : NULL;
}

static GBytes *our_image(const GString *dump, int min, int max, GError **error)
{
    g_autoptr(Tree) tree = tree_parse_dump(dump->str, dump->len, error);
    return tree ? erofs_write_image(tree, min, max, error) : NULL;
}

static void format_row(char *row, size_t room, uint64_t seed, int min, int max, GBytes *image)
{
    size_t size;
    const void *data = g_bytes_get_data(image, &size);
    Digest sha256, verity;
    hash_sha256(data, size, &sha256);
    hash_verity(data, size, &verity);
    g_snprintf(row, (gulong)room, "%" G_GUINT64_FORMAT "\t%d,%d\t%" G_GSIZE_FORMAT "\t%s\t%s", seed,
               min, max, size, digest_hex(&sha256).text, digest_hex(&verity).text);
}

static void test_pinned(void)
{
    g_autofree char *path =
        g_build_filename(g_getenv("ATOMIC_TEST_DATA"), "composefs", "generated.tsv", NULL);
    g_autofree char *table = NULL;
    g_assert_true(g_file_get_contents(path, &table, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(table, "\n", -1);
    int rows = 0;
    for (char **line = lines + 1; *line && **line; line++, rows++) {
        char *end;
        uint64_t seed = g_ascii_strtoull(*line, &end, 10);
        int min = end[1] - '0', max = end[3] - '0';
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) dump = random_dump(seed);
        g_autoptr(GBytes) image = our_image(dump, min, max, &error);
        g_assert_no_error(error);
        char row[256];
        format_row(row, sizeof row, seed, min, max, image);
        g_assert_cmpstr(row, ==, *line);
    }
    g_assert_cmpint(rows, >=, 100);
}

static G_GNUC_NORETURN void report(const GString *dump, uint64_t seed, const char *what)
{
    g_autofree char *path =
        g_strdup_printf("%s/composefs-%" G_GUINT64_FORMAT ".dump", g_get_tmp_dir(), seed);
    g_file_set_contents(path, dump->str, (gssize)dump->len, NULL);
    g_error("%s, see %s", what, path);
}

/* mkcomposefs loses count of the bytes of an inode's xattrs when it replaces one by a mark of its own, and then refuses
 * some, though not by their size: that is not for us to repeat. */
static bool miscounted(const GString *dump)
{
    return strstr(dump->str, "overlay.whiteout") || strstr(dump->str, "overlay.opaque");
}

static void test_judged(void)
{
    if (!judge) {
        g_test_skip("MKCOMPOSEFS does not name the tool");
        return;
    }
    for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
        int min = seed % 4 != 0, max = seed % 8 != 0;
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) dump = random_dump(seed);
        g_autoptr(GBytes) theirs = judge_image(dump, min, max);
        g_autoptr(GBytes) ours = our_image(dump, min, max, &error);
        if (!ours)
            report(dump, seed, error->message);
        if (!theirs && !miscounted(dump))
            report(dump, seed, "only mkcomposefs refuses it");
        if (theirs && !g_bytes_equal(ours, theirs))
            report(dump, seed, "the images differ");
    }
}

/* What we refuse and mkcomposefs takes, on purpose: see tests/data/composefs/README. */
static bool stricter(const char *message)
{
    static const char *const reasons[] = {"there are fewer than 11 fields",
                                          "a number is missing",
                                          "a number is too large",
                                          "a number has other characters than digits",
                                          "has a NUL byte",
                                          "the digest does not have 64 hex digits",
                                          "the hard link's target is a directory"};
    for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++)
        if (strstr(message, reasons[i]))
            return true;
    return false;
}

static void test_damaged(void)
{
    if (!judge) {
        g_test_skip("MKCOMPOSEFS does not name the tool");
        return;
    }
    int taken = 0, refused = 0, on_purpose = 0;
    for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) dump = random_damaged_dump(seed);
        g_autoptr(GBytes) theirs = judge_image(dump, 1, 1);
        g_autoptr(GBytes) ours = our_image(dump, 1, 1, &error);
        if (ours && !theirs && !miscounted(dump))
            report(dump, seed, "only mkcomposefs refuses it");
        if (theirs && !ours && !stricter(error->message))
            report(dump, seed, error->message);
        if (ours && theirs && !g_bytes_equal(ours, theirs))
            report(dump, seed, "the images differ");
        taken += ours != NULL;
        refused += !theirs;
        on_purpose += theirs && !ours;
    }
    g_test_message("damaged dumps: %d taken by both, %d refused by both, %d by us on purpose",
                   taken, refused, on_purpose);
}

static void make_vectors(void)
{
    puts("#seed\tversion_args(min,max)\tsize\tsha256\tfsverity_sha256");
    for (uint64_t seed = 1; seed <= 160; seed++) {
        int min = seed % 8 != 0;
        g_autoptr(GString) dump = random_dump(seed);
        g_autoptr(GBytes) image = judge_image(dump, min, 1);
        char row[256];
        if (image) {
            format_row(row, sizeof row, seed, min, 1, image);
            puts(row);
        }
    }
}

int main(int argc, char **argv)
{
    judge = g_getenv("MKCOMPOSEFS");
    const char *seeds = g_getenv("MKCOMPOSEFS_SEEDS");
    if (seeds)
        g_assert_cmpint(sscanf(seeds, "%" G_GINT64_MODIFIER "u-%" G_GINT64_MODIFIER "u",
                               &first_seed, &last_seed),
                        ==, 2);
    if (argc == 2 && strcmp(argv[1], "--make-vectors") == 0) {
        g_assert_nonnull(judge);
        make_vectors();
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/composefs/pinned", test_pinned);
    g_test_add_func("/composefs/judged", test_judged);
    g_test_add_func("/composefs/damaged", test_damaged);
    return g_test_run();
}
