/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the tree holds each set of xattrs once, so a set is translated once (escaped, interned, sorted) and
 * then only counted. What the writer adds itself (metacopy, redirect, marks) is interned too, since what several inodes
 * have is stored once; of a digest's two xattrs only the digest is kept, their bytes are made when they are written.
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

const uint8_t *plan_xattr_value(const PlanXattr *xattr, uint8_t buffer[PLAN_REDIRECT_SIZE])
{
    static const uint8_t header[4] = {0, PLAN_METACOPY_SIZE, 0, 1 /* SHA-256 */};
    static const char digits[] = "0123456789abcdef";
    uint8_t *p = buffer;
    switch (xattr->kind) {
    case PLAN_METACOPY:
        memcpy(buffer, header, sizeof header);
        memcpy(buffer + sizeof header, xattr->value, DIGEST_SIZE);
        return buffer;
    case PLAN_REDIRECT:
        *p++ = '/';
        for (int i = 0; i < DIGEST_SIZE; i++) {
            *p++ = (uint8_t)digits[xattr->value[i] >> 4];
            *p++ = (uint8_t)digits[xattr->value[i] & 15];
            if (i == 0)
                *p++ = '/';
        }
        return buffer;
    default:
        return xattr->value;
    }
}

/* --- each once ------------------------------------------------------------------------------------------- */

static uint32_t stored_size(const PlanXattr *xattr)
{
    return xattr->kind == PLAN_LITERAL ? xattr->size : DIGEST_SIZE;
}

static uint32_t hash_xattr(const PlanXattr *xattr)
{
    const uint8_t *value = xattr->value;
    if (xattr->kind != PLAN_LITERAL)
        return get32(value) + xattr->kind * 0x9e3779b9u;
    uint64_t hash = 0x9e3779b97f4a7c15u + xattr->size;
    for (uint32_t i = 0; i < xattr->name_size; i++)
        hash = (hash ^ (uint8_t)xattr->name[i]) * 0x100000001b3u;
    uint32_t left = xattr->size;
    for (; left >= 8; value += 8, left -= 8)
        hash = (hash ^ get64(value)) * 0xff51afd7ed558ccdu, hash ^= hash >> 32;
    for (; left > 0; value++, left--)
        hash = (hash ^ *value) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 29);
}

static bool same_xattr(const PlanXattr *a, const PlanXattr *b)
{
    return a->kind == b->kind && a->size == b->size && a->name_size == b->name_size &&
           memcmp(a->name, b->name, a->name_size) == 0 &&
           (a->size == 0 || memcmp(a->value, b->value, stored_size(a)) == 0);
}

/* Where the xattr is in the table, or would be. */
static uint32_t *find_xattr(const Plan *plan, const PlanXattr *xattr)
{
    uint32_t mask = plan->table_size - 1, at = hash_xattr(xattr) & mask;
    while (plan->table[at] && !same_xattr(plan_xattr(plan, plan->table[at] - 1), xattr))
        at = (at + 1) & mask;
    return &plan->table[at];
}

static void make_table(Plan *plan, uint64_t room)
{
    plan->table_size = 1024;
    while (plan->table_size < room + room / 3)
        plan->table_size *= 2;
    g_free(plan->table);
    plan->table = g_new0(uint32_t, plan->table_size);
    for (uint32_t i = 0; i < plan->xattrs->len; i++)
        *find_xattr(plan, plan_xattr(plan, i)) = i + 1;
}

static void split_name(Plan *plan, PlanXattr *xattr)
{
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (g_str_has_prefix(xattr->name, prefixes[i].prefix)) {
            xattr->index = prefixes[i].index;
            xattr->suffix_at = (uint8_t)strlen(prefixes[i].prefix);
            break;
        }
    if ((xattr->index == 2 || xattr->index == 3) && xattr->suffix_at == xattr->name_size)
        plan->has_acl = true;
    xattr->filter_bit =
        erofs_xxh32(xattr->name + xattr->suffix_at, (size_t)(xattr->name_size - xattr->suffix_at),
                    EROFS_FILTER_SEED + xattr->index) %
        32;
}

static uint32_t append_xattr(Plan *plan, PlanXattr *xattr)
{
    PlanXattr *like = xattr->kind == PLAN_LITERAL ? NULL : &plan->like[xattr->kind];
    if (like && like->name) {
        xattr->index = like->index;
        xattr->suffix_at = like->suffix_at;
        xattr->filter_bit = like->filter_bit;
    } else {
        split_name(plan, xattr);
        if (like)
            *like = *xattr;
    }
    g_array_append_val(plan->xattrs, *xattr);
    return plan->xattrs->len - 1;
}

static PlanXattr make_xattr(const char *name, const void *value, size_t size, uint8_t kind)
{
    return (PlanXattr){
        .name = name,
        .value = value,
        .size = (uint16_t)size,
        .name_size = (uint16_t)strlen(name),
        .kind = kind,
    };
}

/* Its number. Name and value must live as long as the plan. */
static uint32_t intern(Plan *plan, const char *name, const void *value, size_t size, uint8_t kind)
{
    PlanXattr xattr = make_xattr(name, value, size, kind);
    if (plan->xattrs->len >= plan->table_size / 4 * 3)
        make_table(plan, (uint64_t)plan->table_size);
    uint32_t *place = find_xattr(plan, &xattr);
    if (!*place)
        *place = append_xattr(plan, &xattr) + 1;
    return *place - 1;
}

/* --- sets ------------------------------------------------------------------------------------------------ */

static PlanSet *new_set(Plan *plan, const PlanSet *like, size_t room)
{
    uint32_t n = like ? like->n : 0;
    PlanSet *set = arena_alloc(&plan->arena, sizeof *set + (n + room) * sizeof *set->xattrs);
    *set = (PlanSet){.n = n};
    if (n)
        memcpy(set->xattrs, like->xattrs, n * sizeof *set->xattrs);
    g_ptr_array_add(plan->sets, set);
    return set;
}

/* Keeps the order; an equal name is replaced. */
static void set_add(Plan *plan, PlanSet *set, uint32_t xattr)
{
    const char *name = plan_xattr(plan, xattr)->name;
    uint32_t at = set->n;
    int order = 1;
    while (at > 0 && (order = strcmp(name, plan_xattr(plan, set->xattrs[at - 1])->name)) < 0)
        at--;
    if (at > 0 && order == 0) {
        set->xattrs[at - 1] = xattr;
        return;
    }
    memmove(set->xattrs + at + 1, set->xattrs + at, (set->n - at) * sizeof *set->xattrs);
    set->xattrs[at] = xattr;
    set->n++;
}

static void set_end(Plan *plan, PlanSet *set)
{
    for (uint32_t i = 0; i < set->n; i++) {
        const char *name = plan_xattr(plan, set->xattrs[i])->name;
        set->at_metacopy += strcmp(name, OVERLAY_METACOPY) < 0;
        set->at_redirect += strcmp(name, OVERLAY_REDIRECT) < 0;
    }
    plan->most_xattrs = MAX(plan->most_xattrs, set->n + 2);
}

/* trusted.overlay.* escaped by one level so that overlayfs shows them as they were. */
static PlanSet *translate_set(Plan *plan, const TreeNode *node, GError **error)
{
    const TreeInode *from = node->inode;
    PlanSet *set = new_set(plan, NULL, from->n_xattrs);
    for (uint32_t i = 0; i < from->n_xattrs; i++) {
        const TreeXattr *xattr = &from->xattrs[i];
        const char *name = xattr->name;
        if (g_str_has_prefix(name, OVERLAY_PREFIX)) {
            if (!plan->tree->overlay_xattrs) {
                plan_throw(node, error, "it has a 'trusted.overlay.' attribute");
                return NULL;
            }
            g_autofree char *escaped =
                g_strconcat(OVERLAY_ESCAPED, name + strlen(OVERLAY_PREFIX), NULL);
            name = arena_string(&plan->arena, escaped, strlen(escaped));
        }
        uint32_t number = UINT32_MAX;
        if (xattr->size <= UINT16_MAX && strlen(name) <= 255 + strlen("overlay."))
            number = intern(plan, name, xattr->value, xattr->size, PLAN_LITERAL);
        if (number == UINT32_MAX ||
            plan_xattr(plan, number)->name_size - plan_xattr(plan, number)->suffix_at > 255) {
            plan_throw(node, error, "an extended attribute is too long");
            return NULL;
        }
        set_add(plan, set, number);
    }
    set_end(plan, set);
    return set;
}

static void add_mark(Plan *plan, PlanSet *set, const char *name, const char *value)
{
    set_add(plan, set, intern(plan, name, value, strlen(value), PLAN_LITERAL));
}

/* What overlayfs needs to see, after the inode's own. */
static PlanSet *marked_set(Plan *plan, const PlanInode *inode, const PlanSet *own)
{
    enum { MOST_MARKS = 5 };
    PlanSet *set = new_set(plan, own, MOST_MARKS);
    if (inode->whiteout) {
        add_mark(plan, set, OVERLAY_ESCAPED "whiteout", "");
        add_mark(plan, set, "user.overlay.whiteout", "");
    }
    if (inode->has_whiteouts) {
        add_mark(plan, set, OVERLAY_ESCAPED "whiteouts", "");
        add_mark(plan, set, "user.overlay.whiteouts", "");
        if (plan->version >= 1) {
            add_mark(plan, set, OVERLAY_ESCAPED "opaque", "x");
            add_mark(plan, set, "user.overlay.opaque", "x");
        }
    }
    if (!inode->node->parent)
        add_mark(plan, set, OVERLAY_PREFIX "opaque", "y");
    set_end(plan, set);
    return set;
}

/* --- objects --------------------------------------------------------------------------------------------- */

/* "XX/REST" as the digest that it says: then it is like those that are made of one. */
static bool parse_path(const char *path, Digest *out_digest)
{
    char hex[DIGEST_HEX_SIZE];
    if (strlen(path) != DIGEST_HEX_SIZE || path[2] != '/')
        return false;
    memcpy(hex, path, 2);
    memcpy(hex + 2, path + 3, DIGEST_HEX_SIZE - 2);
    return digest_parse(hex, out_digest);
}

static uint32_t intern_redirect(Plan *plan, const TreeInode *inode)
{
    Digest digest;
    const uint8_t *value = inode->object.bytes;
    if (inode->payload) {
        if (!parse_path(inode->payload, &digest)) {
            g_autofree char *path = g_strconcat("/", inode->payload, NULL);
            size_t size = strlen(path);
            return intern(plan, OVERLAY_REDIRECT, arena_copy(&plan->arena, path, size), size,
                          PLAN_LITERAL);
        }
        value = arena_copy(&plan->arena, digest.bytes, DIGEST_SIZE);
    }
    return intern(plan, OVERLAY_REDIRECT, value, PLAN_REDIRECT_SIZE, PLAN_REDIRECT);
}

/* Where every redirect is made of the digest beside it, its number follows that of the metacopy. */
static void add_pair(Plan *plan, PlanInode *inode, const uint8_t *digest)
{
    uint32_t known = plan->xattrs->len;
    inode->metacopy = intern(plan, OVERLAY_METACOPY, digest, PLAN_METACOPY_SIZE, PLAN_METACOPY);
    inode->redirect = inode->metacopy + 1;
    if (inode->metacopy == known) {
        PlanXattr redirect =
            make_xattr(OVERLAY_REDIRECT, digest, PLAN_REDIRECT_SIZE, PLAN_REDIRECT);
        append_xattr(plan, &redirect);
    }
}

static void add_object(Plan *plan, PlanInode *inode, const TreeInode *from)
{
    if (from->has_object && !plan->has_payloads) {
        add_pair(plan, inode, from->object.bytes);
        return;
    }
    inode->metacopy = from->has_object ? intern(plan, OVERLAY_METACOPY, from->object.bytes,
                                                PLAN_METACOPY_SIZE, PLAN_METACOPY)
                                       : intern(plan, OVERLAY_METACOPY, "", 0, PLAN_LITERAL);
    if (from->payload ? *from->payload : from->has_object)
        inode->redirect = intern_redirect(plan, from);
}

/* --- the xattrs of the inodes ---------------------------------------------------------------------------- */

uint32_t plan_list_xattrs(const PlanInode *inode, uint32_t *out)
{
    static const PlanSet none;
    const PlanSet *set = inode->set ? inode->set : &none;
    uint32_t n = 0;
    for (uint32_t i = 0; i <= set->n; i++) {
        if (i == set->at_metacopy && inode->metacopy != PLAN_NONE)
            out[n++] = inode->metacopy;
        if (i == set->at_redirect && inode->redirect != PLAN_NONE)
            out[n++] = inode->redirect;
        if (i < set->n)
            out[n++] = set->xattrs[i];
    }
    return n;
}

static bool collect(Plan *plan, PlanInode *inode, GHashTable *sets, GError **error)
{
    const TreeInode *from = inode->node->inode;
    PlanSet *set = NULL;
    if (from->n_xattrs > 0) {
        set = g_hash_table_lookup(sets, from->xattrs);
        if (!set && !(set = translate_set(plan, inode->node, error)))
            return false;
        g_hash_table_insert(sets, (void *)from->xattrs, set);
    }
    if (inode->whiteout || inode->has_whiteouts || !inode->node->parent)
        set = marked_set(plan, inode, set);
    if (inode->chunk_bits)
        add_object(plan, inode, from);
    inode->set = set;
    return true;
}

/* The stubs have the root's SELinux label and nothing else. */
static PlanSet *stub_set(Plan *plan)
{
    const PlanSet *root = plan_inode(plan, 0)->set;
    for (uint32_t i = 0; i < root->n; i++)
        if (strcmp(plan_xattr(plan, root->xattrs[i])->name, "security.selinux") == 0) {
            PlanSet *set = new_set(plan, NULL, 1);
            set_add(plan, set, root->xattrs[i]);
            set_end(plan, set);
            return set;
        }
    return NULL;
}

static void count_uses(Plan *plan)
{
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        if (inode->set)
            inode->set->uses++;
        if (inode->metacopy != PLAN_NONE)
            plan_xattr(plan, inode->metacopy)->uses++;
        if (inode->redirect != PLAN_NONE)
            plan_xattr(plan, inode->redirect)->uses++;
    }
    for (guint i = 0; i < plan->sets->len; i++) {
        const PlanSet *set = g_ptr_array_index(plan->sets, i);
        for (uint32_t j = 0; j < set->n; j++)
            plan_xattr(plan, set->xattrs[j])->uses += set->uses;
    }
}

/* Descending: name, then longer values first, then bytes. */
static int compare_shared(const void *a, const void *b, void *data)
{
    const PlanXattr *x = plan_xattr(data, *(const uint32_t *)a);
    const PlanXattr *y = plan_xattr(data, *(const uint32_t *)b);
    uint8_t buffers[2][PLAN_REDIRECT_SIZE];
    int order = strcmp(y->name, x->name);
    if (order == 0)
        order = x->size == y->size ? 0 : x->size < y->size ? 1 : -1;
    if (order || x->size == 0)
        return order;
    return memcmp(plan_xattr_value(y, buffers[0]), plan_xattr_value(x, buffers[1]), x->size);
}

static void share(Plan *plan)
{
    for (uint32_t i = 0; i < plan->xattrs->len; i++)
        plan->n_shared += plan_xattr(plan, i)->uses > 1;
    plan->shared = g_new(uint32_t, plan->n_shared);
    uint32_t n = 0;
    for (uint32_t i = 0; i < plan->xattrs->len; i++)
        if (plan_xattr(plan, i)->uses > 1)
            plan->shared[n++] = i;
    if (n > 0)
        g_qsort_with_data(plan->shared, (int)n, sizeof *plan->shared, compare_shared, plan);
    for (uint32_t i = 0; i < n; i++) {
        PlanXattr *xattr = plan_xattr(plan, plan->shared[i]);
        xattr->offset = (uint32_t)plan->shared_size;
        plan->shared_size += plan_xattr_entry(xattr);
    }
}

/* Bytes of the xattrs in the inode: at most SHARED_MAX by reference, the others in full. */
static bool measure(const Plan *plan, PlanInode *inode, uint32_t *list, GError **error)
{
    uint64_t size = EROFS_XATTR_HEADER_SIZE;
    uint32_t n = plan_list_xattrs(inode, list), n_shared = 0;
    if (n == 0)
        return true;
    for (uint32_t i = 0; i < n; i++) {
        const PlanXattr *xattr = plan_xattr(plan, list[i]);
        bool shared = xattr->uses > 1 && n_shared < EROFS_SHARED_MAX;
        n_shared += shared;
        size += shared ? 4 : plan_xattr_entry(xattr);
    }
    if ((size - EROFS_XATTR_HEADER_SIZE) / 4 + 1 > UINT16_MAX)
        return plan_throw(inode->node, error, "too many extended attributes");
    inode->xattr_size = (uint32_t)size;
    return true;
}

bool plan_xattrs(Plan *plan, GError **error)
{
    g_autoptr(GHashTable) sets = g_hash_table_new(NULL, NULL);
    make_table(plan, (uint64_t)plan->n_external * 2 + 256);
    plan->most_xattrs = 2;
    PlanSet *stub = NULL;
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        if (inode->node && !collect(plan, inode, sets, error))
            return false;
        if (i == 0)
            stub = stub_set(plan);
        if (!inode->node)
            inode->set = stub;
    }
    count_uses(plan);
    share(plan);
    g_autofree uint32_t *list = g_new(uint32_t, plan->most_xattrs);
    for (uint32_t i = 0; i < plan->inodes->len; i++)
        if (!measure(plan, plan_inode(plan, i), list, error))
            return false;
    return true;
}
