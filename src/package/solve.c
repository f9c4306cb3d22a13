/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which packages belong together: libsolv's answer, and its reasons when there is none. */
#include "package/universe.h"

#include <solv/evr.h>
#include <solv/policy.h>
#include <solv/problems.h>
#include <solv/solver.h>
#include <solv/transaction.h>
#include <string.h>

/* Packages of which one must be chosen although another comes first in the alternatives, or no
 * order is given: a composed tree is made with merged directories from the start, so nothing needs
 * to merge them. */
static const char *const favored[] = {"usr-is-merged", "mawk"};
static const char *const disfavored[] = {"usrmerge"};

typedef Queue AutoQueue;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AutoQueue, queue_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Solver, solver_free)

static void exclude(PackageUniverse *universe, const char *const *names)
{
    Pool *pool = universe->pool;
    if (!pool->considered) {
        pool->considered = solv_calloc(1, sizeof *pool->considered);
        map_init(pool->considered, pool->nsolvables);
    }
    map_setall(pool->considered);
    for (const char *const *name = names; name && *name; name++) {
        Id wanted = pool_str2id(pool, *name, 0);
        Id id;
        FOR_POOL_SOLVABLES(id)
        if (pool->solvables[id].name == wanted)
            MAPCLR(pool->considered, id);
    }
}

static bool has_package(Pool *pool, Id name)
{
    Id id, provider;
    if (!name)
        return false;
    FOR_PROVIDES(id, provider, name)
    if (pool->solvables[id].name == name)
        return true;
    return false;
}

static bool push_wanted(PackageUniverse *universe, const PackageRequest *request, Queue *jobs,
                        GError **error)
{
    Pool *pool = universe->pool;
    g_autoptr(GString) unknown = g_string_new(NULL);
    unsigned count = 0;
    for (const char *const *name = request->names; *name; name++) {
        Id id = pool_str2id(pool, *name, 0);
        if (has_package(pool, id)) {
            queue_push2(jobs, SOLVER_INSTALL | SOLVER_SOLVABLE_NAME, id);
            continue;
        }
        g_string_append_printf(unknown, "%s'%s'", count++ ? ", " : "", *name);
    }
    if (count > 0)
        return error_throw(error, ERROR_NOT_FOUND, "unknown package%s %s: no chosen suite has %s",
                           count > 1 ? "s" : "", unknown->str, count > 1 ? "them" : "it");
    return true;
}

static void push_essential(PackageUniverse *universe, Queue *jobs)
{
    GHashTableIter iter;
    void *key, *value;
    g_autoptr(GHashTable) pushed = g_hash_table_new(NULL, NULL);
    g_hash_table_iter_init(&iter, universe->by_solvable);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        Id id = GPOINTER_TO_INT(key);
        Id name = universe->pool->solvables[id].name;
        const Package *package = value;
        if (package->essential && MAPTST(universe->pool->considered, id) &&
            g_hash_table_add(pushed, GINT_TO_POINTER(name)))
            queue_push2(jobs, SOLVER_INSTALL | SOLVER_SOLVABLE_NAME, name);
    }
}

static void push_names(Pool *pool, Queue *jobs, Id how, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Id name = pool_str2id(pool, names[i], 0);
        if (name)
            queue_push2(jobs, how | SOLVER_SOLVABLE_NAME, name);
    }
}

/* The first alternative of "a (>= 1) | b | c" and the name that it is about. */
static Id first_alternative(Pool *pool, Id dep, Id *out_name, bool *out_alternatives)
{
    *out_alternatives = false;
    for (Id inner = dep;;) {
        if (!ISRELDEP(inner)) {
            *out_name = inner;
            return dep;
        }
        const Reldep *relation = GETRELDEP(pool, inner);
        inner = relation->name;
        if (relation->flags == REL_OR) {
            *out_alternatives = true;
            dep = inner;
        }
    }
}

typedef struct {
    Pool *pool;
    Queue *jobs;
    GHashTable *favored; /* names */
    GHashTable *seen;    /* solvables */
    Queue todo;          /* solvables */
} Preferences;

static void visit_providers(Preferences *preferences, Id dep)
{
    Id id, provider;
    Pool *pool = preferences->pool;
    FOR_PROVIDES(id, provider, dep)
    if (g_hash_table_add(preferences->seen, GINT_TO_POINTER(id)))
        queue_push(&preferences->todo, id);
}

static void visit_requires(Preferences *preferences, Id id)
{
    g_auto(AutoQueue) deps;
    queue_init(&deps);
    solvable_lookup_deparray(&preferences->pool->solvables[id], SOLVABLE_REQUIRES, &deps, 0);
    for (int i = 0; i < deps.count; i++) {
        Id name;
        bool alternatives;
        Id dep = first_alternative(preferences->pool, deps.elements[i], &name, &alternatives);
        visit_providers(preferences, dep);
        if (alternatives && g_hash_table_add(preferences->favored, GINT_TO_POINTER(name)))
            queue_push2(preferences->jobs, SOLVER_FAVOR | SOLVER_SOLVABLE_NAME, name);
    }
}

/* libsolv takes any alternative; Debian's packages count on the first one that can be had. Only
 * what the wanted packages may lead to is looked at: each preference costs the solver time. */
static void push_preferences(Pool *pool, Queue *jobs)
{
    g_autoptr(GHashTable) names = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    Preferences preferences = {.pool = pool, .jobs = jobs, .favored = names, .seen = seen};
    queue_init(&preferences.todo);
    for (int i = 0; i < jobs->count; i += 2)
        visit_providers(&preferences, jobs->elements[i + 1]);
    for (size_t i = 0; i < ARRAY_SIZE(disfavored); i++)
        g_hash_table_add(names, GINT_TO_POINTER(pool_str2id(pool, disfavored[i], 0)));
    push_names(pool, jobs, SOLVER_FAVOR, favored, ARRAY_SIZE(favored));
    push_names(pool, jobs, SOLVER_DISFAVOR, disfavored, ARRAY_SIZE(disfavored));
    while (preferences.todo.count > 0)
        visit_requires(&preferences, queue_pop(&preferences.todo));
    queue_free(&preferences.todo);
}

static bool throw_problems(Solver *solver, GError **error)
{
    g_autoptr(GString) text = g_string_new("cannot satisfy the dependencies:");
    unsigned count = solver_problem_count(solver);
    for (Id problem = 1; problem <= (Id)count; problem++) {
        Queue rules;
        queue_init(&rules);
        solver_findallproblemrules(solver, problem, &rules);
        g_autoptr(GHashTable) said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (int i = 0; i < rules.count; i++) {
            Id source, target, dep;
            SolverRuleinfo type =
                solver_ruleinfo(solver, rules.elements[i], &source, &target, &dep);
            /* that what is wanted is wanted explains nothing */
            if (type == SOLVER_RULE_JOB && rules.count > 1)
                continue;
            const char *reason = solver_problemruleinfo2str(solver, type, source, target, dep);
            if (g_hash_table_add(said, g_strdup(reason)))
                g_string_append_printf(text, "\n  %s", reason);
        }
        queue_free(&rules);
    }
    return error_throw(error, ERROR_INVALID, "%s", text->str);
}

static int compare_names(const void *a, const void *b)
{
    const Package *x = *(Package *const *)a, *y = *(Package *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->arch, y->arch);
}

static GPtrArray *collect(PackageUniverse *universe, Solver *solver)
{
    GPtrArray *packages = g_ptr_array_new();
    Transaction *transaction = solver_create_transaction(solver);
    g_auto(AutoQueue) installed;
    queue_init(&installed);
    transaction_installedresult(transaction, &installed);
    for (int i = 0; i < installed.count; i++) {
        Package *package =
            g_hash_table_lookup(universe->by_solvable, GINT_TO_POINTER(installed.elements[i]));
        if (package)
            g_ptr_array_add(packages, package);
    }
    transaction_free(transaction);
    g_ptr_array_sort(packages, compare_names);
    return packages;
}

GPtrArray *package_solve(PackageUniverse *universe, const PackageRequest *request, GError **error)
{
    exclude(universe, request->exclude);
    pool_createwhatprovides(universe->pool);
    g_auto(AutoQueue) jobs;
    queue_init(&jobs);
    if (!push_wanted(universe, request, &jobs, error))
        return NULL;
    push_essential(universe, &jobs);
    push_preferences(universe->pool, &jobs);
    g_autoptr(Solver) solver = solver_create(universe->pool);
    solver_set_flag(solver, SOLVER_FLAG_IGNORE_RECOMMENDED, !request->recommends);
    if (solver_solve(solver, &jobs) != 0) {
        throw_problems(solver, error);
        return NULL;
    }
    return collect(universe, solver);
}

int package_compare_versions(const char *a, const char *b)
{
    Pool *pool = pool_create();
    pool_setdisttype(pool, DISTTYPE_DEB);
    int order = pool_evrcmp_str(pool, a, b, EVRCMP_COMPARE);
    pool_free(pool);
    return order;
}
