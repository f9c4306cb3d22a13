/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the tree holds each set of xattrs once, so a set is translated once (escaped, interned, sorted) and
 * then only counted. What the writer adds itself (metacopy, redirect, opaque, whiteout marks) is interned per inode.
 */
#include "tree/erofs_plan.h"

/* What `index` of an xattr stands for, in the order in which they are tried. */
static const struct {
    uint8_t index;
    const char *prefix;
} prefixes[] = {
    {1, "user."},
    {2, "system.posix_acl_access"},
    {3, "system.posix_acl_default"},
    {4, "trusted."},
    {6, "security."},
};

static uint32_t hash_pair(const char *name, const uint8_t *value, size_t size)
{
    uint64_t hash = 0x9e3779b97f4a7c15u + size;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    for (; size >= 8; value += 8, size -= 8)
        hash = (hash ^ get64(value)) * 0xff51afd7ed558ccdu, hash ^= hash >> 32;
    for (; size > 0; value++, size--)
        hash = (hash ^ *value) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 29);
}

static void grow_table(Plan *plan)
{
    plan->table_size = plan->table_size ? plan->table_size * 2 : 1024;
    g_free(plan->table);
    plan->table = g_new0(PlanXattr *, plan->table_size);
    for (guint i = 0; i < plan->xattrs->len; i++) {
        PlanXattr *xattr = g_ptr_array_index(plan->xattrs, i);
        uint32_t at = xattr->hash & (plan->table_size - 1);
        while (plan->table[at])
            at = (at + 1) & (plan->table_size - 1);
        plan->table[at] = xattr;
    }
}

static void split_name(Plan *plan, PlanXattr *xattr)
{
    xattr->suffix = xattr->name;
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (g_str_has_prefix(xattr->name, prefixes[i].prefix)) {
            xattr->index = prefixes[i].index;
            xattr->suffix = xattr->name + strlen(prefixes[i].prefix);
            break;
        }
    if ((xattr->index == 2 || xattr->index == 3) && !*xattr->suffix)
        plan->has_acl = true;
    xattr->filter_bit =
        erofs_xxh32(xattr->suffix, strlen(xattr->suffix), EROFS_FILTER_SEED + xattr->index) % 32;
}

static PlanXattr *intern(Plan *plan, const char *name, const void *value, size_t size)
{
    if (plan->xattrs->len >= plan->table_size / 2)
        grow_table(plan);
    uint32_t hash = hash_pair(name, value, size), mask = plan->table_size - 1, at = hash & mask;
    for (PlanXattr *x; (x = plan->table[at]); at = (at + 1) & mask)
        if (x->hash == hash && x->size == size && strcmp(x->name, name) == 0 &&
            (size == 0 || memcmp(x->value, value, size) == 0))
            return x;
    PlanXattr *new = arena_alloc0(&plan->arena, sizeof *new);
    new->name = arena_string(&plan->arena, name, strlen(name));
    new->value = arena_copy(&plan->arena, value, size);
    new->size = (uint32_t)size;
    new->hash = hash;
    split_name(plan, new);
    plan->table[at] = new;
    g_ptr_array_add(plan->xattrs, new);
    return new;
}

/* --- the xattrs of an inode ----------------------------------------------------------------------------- */

typedef struct {
    PlanXattr **xattrs;
    uint32_t n;
} XattrList;

/* Keeps the order; an equal name is replaced. */
static void list_set(XattrList *list, PlanXattr *xattr)
{
    uint32_t at = list->n;
    int order = 1;
    while (at > 0 && (order = strcmp(xattr->name, list->xattrs[at - 1]->name)) < 0)
        at--;
    if (at > 0 && order == 0) {
        list->xattrs[at - 1] = xattr;
        return;
    }
    memmove(list->xattrs + at + 1, list->xattrs + at, (list->n - at) * sizeof *list->xattrs);
    list->xattrs[at] = xattr;
    list->n++;
}

/* The tree's own xattrs, trusted.overlay.* escaped by one level so that overlayfs shows them as they were. */
static XattrList *translate_set(Plan *plan, const PlanInode *inode, const TreeInode *from,
                                GError **error)
{
    XattrList *list = arena_alloc(&plan->arena, sizeof *list);
    list->xattrs = arena_alloc(&plan->arena, from->n_xattrs * sizeof *list->xattrs);
    list->n = 0;
    for (size_t i = 0; i < from->n_xattrs; i++) {
        const TreeXattr *xattr = &from->xattrs[i];
        if (xattr->size > UINT16_MAX || strlen(xattr->name) > 255) {
            plan_throw(inode, error, "an extended attribute is too long");
            return NULL;
        }
        g_autofree char *escaped = NULL;
        if (g_str_has_prefix(xattr->name, OVERLAY_PREFIX)) {
            if (!plan->tree->overlay_xattrs) {
                plan_throw(inode, error, "it has a 'trusted.overlay.' attribute");
                return NULL;
            }
            escaped = g_strconcat(OVERLAY_ESCAPED, xattr->name + strlen(OVERLAY_PREFIX), NULL);
        }
        list_set(list, intern(plan, escaped ? escaped : xattr->name, xattr->value, xattr->size));
    }
    return list;
}

static void add_object(Plan *plan, XattrList *list, const TreeInode *inode)
{
    uint8_t metacopy[4 + DIGEST_SIZE] = {0, 4 + DIGEST_SIZE, 0, 1 /* SHA-256 */};
    memcpy(metacopy + 4, inode->object.bytes, DIGEST_SIZE);
    list_set(list,
             intern(plan, OVERLAY_METACOPY, metacopy, inode->has_object ? sizeof metacopy : 0));
    if (inode->payload && *inode->payload) {
        g_autofree char *redirect = g_strconcat("/", inode->payload, NULL);
        list_set(list, intern(plan, OVERLAY_REDIRECT, redirect, strlen(redirect)));
    } else if (inode->has_object && !inode->payload) {
        char redirect[1 + sizeof(ObjectPath)] = "/";
        ObjectPath path = object_path(&inode->object);
        memcpy(redirect + 1, path.text, sizeof path.text);
        list_set(list, intern(plan, OVERLAY_REDIRECT, redirect, strlen(redirect)));
    }
}

static void add_text(Plan *plan, XattrList *list, const char *name, const char *value)
{
    list_set(list, intern(plan, name, value, strlen(value)));
}

/* What overlayfs needs to see. */
static void add_marks(Plan *plan, XattrList *list, const PlanInode *inode)
{
    if (inode->whiteout) {
        add_text(plan, list, OVERLAY_ESCAPED "whiteout", "");
        add_text(plan, list, "user.overlay.whiteout", "");
    }
    if (inode->has_whiteouts) {
        add_text(plan, list, OVERLAY_ESCAPED "whiteouts", "");
        add_text(plan, list, "user.overlay.whiteouts", "");
        if (plan->version >= 1) {
            add_text(plan, list, OVERLAY_ESCAPED "opaque", "x");
            add_text(plan, list, "user.overlay.opaque", "x");
        }
    }
}

enum { MOST_ADDED = 8 };

static bool collect(Plan *plan, PlanInode *inode, GHashTable *sets, GError **error)
{
    const TreeInode *from = inode->node->inode;
    XattrList *own = NULL;
    if (from->n_xattrs > 0) {
        own = g_hash_table_lookup(sets, from->xattrs);
        if (!own) {
            own = translate_set(plan, inode, from, error);
            if (!own)
                return false;
            g_hash_table_insert(sets, (void *)from->xattrs, own);
        }
    }
    XattrList list = {0};
    bool root = !inode->node->parent;
    if (inode->external || inode->whiteout || inode->has_whiteouts || root) {
        list.xattrs =
            arena_alloc(&plan->arena, ((own ? own->n : 0) + MOST_ADDED) * sizeof *list.xattrs);
        if (own && own->n) {
            memcpy(list.xattrs, own->xattrs, own->n * sizeof *list.xattrs);
            list.n = own->n;
        }
        if (inode->external)
            add_object(plan, &list, from);
        add_marks(plan, &list, inode);
        if (root)
            add_text(plan, &list, OVERLAY_PREFIX "opaque", "y");
    } else if (own) {
        list = *own;
    }
    inode->xattrs = list.xattrs;
    inode->n_xattrs = list.n;
    return true;
}

/* Descending: name, then longer values first, then bytes. */
static int compare_shared(const void *a, const void *b)
{
    const PlanXattr *x = *(PlanXattr *const *)a, *y = *(PlanXattr *const *)b;
    int order = strcmp(y->name, x->name);
    if (order == 0)
        order = x->size == y->size ? 0 : x->size < y->size ? 1 : -1;
    return order || x->size == 0 ? order : memcmp(y->value, x->value, x->size);
}

static uint32_t entry_size(const PlanXattr *xattr)
{
    return (uint32_t)round_up(4 + strlen(xattr->suffix) + xattr->size, 4);
}

static void share(Plan *plan)
{
    for (guint i = 0; i < plan->xattrs->len; i++) {
        PlanXattr *xattr = g_ptr_array_index(plan->xattrs, i);
        if (xattr->uses > 1) {
            xattr->shared = true;
            g_ptr_array_add(plan->shared, xattr);
        }
    }
    if (plan->shared->len > 0)
        qsort(plan->shared->pdata, plan->shared->len, sizeof(void *), compare_shared);
    for (guint i = 0; i < plan->shared->len; i++) {
        PlanXattr *xattr = g_ptr_array_index(plan->shared, i);
        xattr->offset = (uint32_t)plan->shared_size;
        plan->shared_size += entry_size(xattr);
    }
}

/* Bytes of the xattrs in the inode: at most SHARED_MAX by reference, the others in full. */
static bool measure(PlanInode *inode, GError **error)
{
    if (inode->n_xattrs == 0)
        return true;
    uint64_t size = EROFS_XATTR_HEADER_SIZE;
    uint32_t n_shared = 0;
    for (uint32_t i = 0; i < inode->n_xattrs; i++) {
        const PlanXattr *xattr = inode->xattrs[i];
        if (strlen(xattr->suffix) > 255)
            return plan_throw(inode, error, "an extended attribute is too long");
        if (xattr->shared && n_shared < EROFS_SHARED_MAX) {
            n_shared++;
            size += 4;
        } else {
            size += entry_size(xattr);
        }
    }
    if ((size - EROFS_XATTR_HEADER_SIZE) / 4 + 1 > UINT16_MAX)
        return plan_throw(inode, error, "too many extended attributes");
    inode->xattr_size = (uint32_t)size;
    return true;
}

bool plan_xattrs(Plan *plan, GError **error)
{
    g_autoptr(GHashTable) sets = g_hash_table_new(NULL, NULL);
    PlanXattr *label = NULL; /* the stubs have the root's SELinux label and nothing else */
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        if (inode->node && !collect(plan, inode, sets, error))
            return false;
        if (i == 0)
            for (uint32_t j = 0; j < inode->n_xattrs; j++)
                if (strcmp(inode->xattrs[j]->name, "security.selinux") == 0)
                    label = inode->xattrs[j];
        if (!inode->node && label) {
            inode->xattrs = arena_copy(&plan->arena, &label, sizeof label);
            inode->n_xattrs = 1;
        }
        for (uint32_t j = 0; j < inode->n_xattrs; j++)
            inode->xattrs[j]->uses++;
    }
    share(plan);
    for (uint32_t i = 0; i < plan->inodes->len; i++)
        if (!measure(plan_inode(plan, i), error))
            return false;
    return true;
}
