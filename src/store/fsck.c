/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: measure all objects (fsck_objects.c), read all names and what they need (fsck_names.c), list what is
 * wrong. With a repair function: move aside and put back what can be (fsck_repair.c), and check all again, until
 * nothing more can be: an image that came back may need objects that nobody had known of.
 */
#include "store/fsck.h"

#include "base/sys/process.h"
#include "store/leftovers.h"
#include "store/scan.h"

#include <string.h>

enum { THREADS = 64 };

const char *store_problem_kind_name(StoreProblemKind kind)
{
    static const char *const names[] = {
        [STORE_PROBLEM_DAMAGED] = "damaged",
        [STORE_PROBLEM_MISSING] = "missing",
        [STORE_PROBLEM_MISPLACED] = "misplaced",
        [STORE_PROBLEM_BAD_IMAGE] = "bad-image",
        [STORE_PROBLEM_BAD_STREAM] = "bad-stream",
        [STORE_PROBLEM_WRONG_TYPE] = "wrong-type",
        [STORE_PROBLEM_DANGLING_LINK] = "dangling-link",
        [STORE_PROBLEM_DANGLING_REF] = "dangling-ref",
        [STORE_PROBLEM_UNKNOWN] = "unknown",
        [STORE_PROBLEM_LEFTOVER] = "leftover",
    };
    return names[kind];
}

static void problem_free(void *data)
{
    FsckProblem *problem = data;
    g_free(problem->path);
    g_free(problem->message);
    g_strfreev(problem->needed_by);
    g_free(problem);
}

void fsck_problem(Fsck *fsck, StoreProblemKind kind, const Digest *object, const char *path,
                  char *message)
{
    FsckProblem *problem = g_new0(FsckProblem, 1);
    *problem = (FsckProblem){.kind = kind, .path = g_strdup(path), .message = message};
    problem->has_object = object != NULL;
    if (object)
        problem->object = *object;
    g_mutex_lock(&fsck->mutex);
    g_ptr_array_add(fsck->problems, problem);
    g_mutex_unlock(&fsck->mutex);
}

void fsck_in_threads(unsigned threads, void *(*run)(void *data), void *data)
{
    g_autoptr(GPtrArray) others = g_ptr_array_new();
    for (unsigned i = 1; i < threads; i++) {
        GThread *thread = g_thread_try_new("fsck", run, data, NULL);
        if (thread) /* else it takes longer */
            g_ptr_array_add(others, thread);
    }
    run(data);
    for (guint i = 0; i < others->len; i++)
        g_thread_join(others->pdata[i]);
}

/* --- what is wrong -------------------------------------------------------------------------------------- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The last problem is about an object: who needs it, and why it could not be had again. */
static void add_needs(Fsck *fsck, GHashTable *failures)
{
    enum { SHOWN = 3 };
    FsckProblem *problem = fsck->problems->pdata[fsck->problems->len - 1];
    GPtrArray *needs = g_hash_table_lookup(fsck->needs, &problem->object);
    g_autoptr(GString) text = g_string_new(problem->message);
    if (needs) {
        g_ptr_array_sort(needs, compare_strings);
        g_ptr_array_add(needs, NULL);
        problem->needed_by = g_strdupv((char **)needs->pdata);
        g_ptr_array_set_size(needs, (int)needs->len - 1);
        for (guint i = 0; i < MIN(needs->len, SHOWN); i++)
            g_string_append_printf(text, "%s'%s'", i ? ", " : ", needed by ",
                                   problem->needed_by[i]);
        if (needs->len > SHOWN)
            g_string_append_printf(text, " and %u more", needs->len - SHOWN);
    }
    const char *failure = failures ? g_hash_table_lookup(failures, &problem->object) : NULL;
    if (failure)
        g_string_append_printf(text, "; not repaired: %s", failure);
    g_free(problem->message);
    problem->message = g_string_free(g_steal_pointer(&text), false);
}

static void list_objects(Fsck *fsck, GHashTable *failures)
{
    for (guint i = 0; i < fsck->bad->len; i++) {
        const FsckBad *bad = &g_array_index(fsck->bad, FsckBad, i);
        g_autofree char *path = g_strconcat("objects/", store_object_path(&bad->object).text, NULL);
        fsck_problem(fsck, STORE_PROBLEM_DAMAGED, &bad->object, path, g_strdup(bad->reason));
        add_needs(fsck, failures);
    }
    GHashTableIter iter;
    gpointer object;
    g_hash_table_iter_init(&iter, fsck->needs);
    while (g_hash_table_iter_next(&iter, &object, NULL)) {
        const char *stray = g_hash_table_lookup(fsck->strays, object), *hex;
        if (digest_table_marks(&fsck->objects, object) & FSCK_BAD)
            continue;
        DigestHex text = digest_hex(object);
        hex = text.text;
        fsck_problem(
            fsck, stray ? STORE_PROBLEM_MISPLACED : STORE_PROBLEM_MISSING, object, stray,
            stray ? g_strdup_printf("object '%s' is missing, its bytes are in '%s'", hex, stray)
                  : g_strdup_printf("object '%s' is missing", hex));
        add_needs(fsck, failures);
    }
}

static bool list_leftover(const char *path, uint64_t bytes _unused, void *data,
                          GError **error _unused)
{
    fsck_problem(data, STORE_PROBLEM_LEFTOVER, NULL, path,
                 g_strdup_printf("'%s' is left over", path));
    return true;
}

static bool list_dead_writer(int staging_fd _unused, const char *name, StagingState state,
                             void *data, GError **error)
{
    g_autofree char *path = g_strconcat(STORE_STAGING "/", name, NULL);
    return state != STAGING_DEAD || list_leftover(path, 0, data, error);
}

static int compare_problems(const void *a, const void *b)
{
    const FsckProblem *x = *(FsckProblem *const *)a, *y = *(FsckProblem *const *)b;
    if (x->kind != y->kind)
        return (int)x->kind - (int)y->kind;
    int order = digest_compare(&x->object, &y->object);
    return order ? order : g_strcmp0(x->path, y->path);
}

/* --- the check ------------------------------------------------------------------------------------------ */

static void bad_clear(void *bad)
{
    g_free(((FsckBad *)bad)->reason);
}

static void fsck_init(Fsck *fsck)
{
    fsck->result = (StoreFsckResult){0};
    digest_table_init(&fsck->objects);
    g_mutex_init(&fsck->mutex);
    fsck->bad = g_array_new(false, false, sizeof(FsckBad));
    g_array_set_clear_func(fsck->bad, bad_clear);
    fsck->strays = g_hash_table_new_full(digest_hash, digest_equal_void, g_free, g_free);
    fsck->needs = g_hash_table_new_full(digest_hash, digest_equal_void, g_free,
                                        (GDestroyNotify)g_ptr_array_unref);
    fsck->problems = g_ptr_array_new_with_free_func(problem_free);
}

static void fsck_clear(Fsck *fsck)
{
    digest_table_clear(&fsck->objects);
    g_mutex_clear(&fsck->mutex);
    g_array_unref(fsck->bad);
    g_hash_table_unref(fsck->strays);
    g_hash_table_unref(fsck->needs);
    g_ptr_array_unref(fsck->problems);
}

static bool check(Fsck *fsck, GHashTable *failures, GError **error)
{
    if (!fsck_objects(fsck, error) || !fsck_names(fsck, error) ||
        !leftovers_scan(fsck->store, list_leftover, fsck, error) ||
        !scan_staging(fsck->store, list_dead_writer, fsck, error))
        return false;
    list_objects(fsck, failures);
    g_ptr_array_sort(fsck->problems, compare_problems);
    for (guint i = 0; i < fsck->problems->len; i++) {
        const FsckProblem *problem = fsck->problems->pdata[i];
        if (problem->kind == STORE_PROBLEM_LEFTOVER)
            fsck->result.leftovers++;
        else
            fsck->result.problems++;
    }
    return true;
}

static void report(const Fsck *fsck)
{
    for (guint i = 0; fsck->options->report && i < fsck->problems->len; i++) {
        const FsckProblem *problem = fsck->problems->pdata[i];
        const StoreProblem shown = {
            .kind = problem->kind,
            .object = problem->has_object ? &problem->object : NULL,
            .path = problem->path,
            .needed_by = (const char *const *)problem->needed_by,
            .message = problem->message,
        };
        fsck->options->report(&shown, fsck->options->data);
    }
}

/* Checks, and repairs as long as that gets anything back. */
static bool check_and_repair(Fsck *fsck, GError **error)
{
    g_autoptr(GHashTable) failures =
        g_hash_table_new_full(digest_hash, digest_equal_void, g_free, g_free);
    uint64_t repaired = 0, now = 1;
    for (;;) {
        if (!check(fsck, failures, error))
            return false;
        bool can =
            fsck->options->repair && now > 0 && fsck->bad->len + g_hash_table_size(fsck->needs) > 0;
        if (!can)
            break;
        if (!fsck_repair(fsck, failures, &now, error))
            return false;
        repaired += now;
        fsck_clear(fsck);
        fsck_init(fsck);
    }
    fsck->result.repaired = repaired;
    return true;
}

bool store_fsck(Store *store, const StoreFsckOptions *options, StoreFsckResult *out_result,
                GError **error)
{
    static const StoreFsckOptions defaults;
    Fsck fsck = {.store = store, .options = options ? options : &defaults};
    fsck.threads = fsck.options->threads ? fsck.options->threads : sys_threads(THREADS);
    fsck_init(&fsck);
    bool done = check_and_repair(&fsck, error);
    if (done) {
        report(&fsck);
        *out_result = fsck.result;
    }
    fsck_clear(&fsck);
    return done;
}
