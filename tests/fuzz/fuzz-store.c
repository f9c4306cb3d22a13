/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz-store.h"

#include "base/file.h"
#include "fuzz.h"

static FuzzStore fuzz;
static char *path;

static void remove_store(void)
{
    g_clear_pointer(&fuzz.txn, store_txn_free);
    g_clear_pointer(&fuzz.store, store_unref);
    if (path)
        file_remove_all_at(AT_FDCWD, path, NULL);
    g_clear_pointer(&path, g_free);
}

FuzzStore *fuzz_store(unsigned runs, bool *out_new)
{
    static unsigned used;
    static bool registered;
    *out_new = !fuzz.store || (runs && ++used == runs);
    if (!*out_new)
        return &fuzz;
    if (!registered)
        atexit(remove_store);
    registered = true;
    remove_store();
    used = 0;
    path = g_dir_make_tmp("fuzz-XXXXXX", NULL);
    MUST(path && store_init(path, NULL));
    fuzz.store = store_open(path, NULL);
    MUST(fuzz.store);
    fuzz.txn = store_txn_begin(fuzz.store, NULL, NULL);
    MUST(fuzz.txn);
    return &fuzz;
}
