/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The package list in a commit's metadata, and how two of them differ. */
#include "ostree/ostree.h"

#include <string.h>

OstreePackage *ostree_package_new(const char *name, const char *version, const char *arch)
{
    OstreePackage *package = g_new0(OstreePackage, 1);
    package->name = g_strdup(name);
    package->version = g_strdup(version);
    package->arch = g_strdup(arch);
    return package;
}

void ostree_package_free(OstreePackage *package)
{
    if (!package)
        return;
    g_free(package->name);
    g_free(package->version);
    g_free(package->arch);
    g_free(package);
}

/* The name and the architecture: two packages of both equal are one package in two versions. */
static int compare_identity(const OstreePackage *a, const OstreePackage *b)
{
    int order = strcmp(a->name, b->name);
    return order ? order : strcmp(a->arch, b->arch);
}

static int compare_packages(const void *a, const void *b)
{
    const OstreePackage *left = *(OstreePackage *const *)a, *right = *(OstreePackage *const *)b;
    int order = compare_identity(left, right);
    return order ? order : strcmp(left->version, right->version);
}

static void read_rpm(GVariant *list, GPtrArray *out)
{
    GVariantIter iter;
    const char *name, *epoch, *version, *release, *arch;
    g_variant_iter_init(&iter, list);
    while (g_variant_iter_next(&iter, "(&s&s&s&s&s)", &name, &epoch, &version, &release, &arch)) {
        bool has_epoch = *epoch && strcmp(epoch, "0") != 0;
        g_autofree char *full = g_strdup_printf("%s%s%s-%s", has_epoch ? epoch : "",
                                                has_epoch ? ":" : "", version, release);
        g_ptr_array_add(out, ostree_package_new(name, full, arch));
    }
}

static void read_own(GVariant *list, GPtrArray *out)
{
    GVariantIter iter;
    const char *name, *version, *arch;
    g_variant_iter_init(&iter, list);
    while (g_variant_iter_next(&iter, "(&s&s&s)", &name, &version, &arch))
        g_ptr_array_add(out, ostree_package_new(name, version, arch));
}

GPtrArray *ostree_packages(GVariant *commit)
{
    GPtrArray *packages = g_ptr_array_new_with_free_func((GDestroyNotify)ostree_package_free);
    g_autoptr(GVariant) metadata = ostree_commit_metadata(commit);
    g_autoptr(GVariant) own =
        g_variant_lookup_value(metadata, "atomic.pkglist", G_VARIANT_TYPE("a(sss)"));
    g_autoptr(GVariant) rpm =
        g_variant_lookup_value(metadata, "rpmostree.rpmdb.pkglist", G_VARIANT_TYPE("a(sssss)"));
    if (own)
        read_own(own, packages);
    else if (rpm)
        read_rpm(rpm, packages);
    g_ptr_array_sort(packages, compare_packages);
    return packages;
}

GVariant *ostree_packages_variant(GPtrArray *packages)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_copy(packages, NULL, NULL);
    g_ptr_array_set_free_func(sorted, NULL);
    g_ptr_array_sort(sorted, compare_packages);
    GVariantBuilder builder;
    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(sss)"));
    for (unsigned i = 0; i < sorted->len; i++) {
        const OstreePackage *p = sorted->pdata[i];
        g_variant_builder_add(&builder, "(sss)", p->name, p->version, p->arch);
    }
    return g_variant_builder_end(&builder);
}

void ostree_packages_diff_free(OstreePackageDiff *diff)
{
    if (!diff)
        return;
    g_ptr_array_unref(diff->changed);
    g_ptr_array_unref(diff->changed_from);
    g_ptr_array_unref(diff->removed);
    g_ptr_array_unref(diff->added);
    g_free(diff);
}

OstreePackageDiff *ostree_packages_diff(GPtrArray *old, GPtrArray *new)
{
    OstreePackageDiff *diff = g_new0(OstreePackageDiff, 1);
    diff->changed = g_ptr_array_new();
    diff->changed_from = g_ptr_array_new();
    diff->removed = g_ptr_array_new();
    diff->added = g_ptr_array_new();
    /* both are sorted: one pass */
    for (unsigned i = 0, k = 0; i < old->len || k < new->len;) {
        OstreePackage *a = i < old->len ? old->pdata[i] : NULL,
                      *b = k < new->len ? new->pdata[k] : NULL;
        int order = !a ? 1 : !b ? -1 : compare_identity(a, b);
        if (order < 0) {
            g_ptr_array_add(diff->removed, a);
        } else if (order > 0) {
            g_ptr_array_add(diff->added, b);
        } else if (strcmp(a->version, b->version) != 0) {
            g_ptr_array_add(diff->changed, b);
            g_ptr_array_add(diff->changed_from, a);
        }
        i += order <= 0;
        k += order >= 0;
    }
    return diff;
}
