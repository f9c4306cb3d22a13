# SPDX-License-Identifier: LGPL-2.1-or-later
# The store against ostree's bare repository: a Debian minbase tree.

store_prepare() {
    fresh && "$ATOMIC" store init --store "$fs/store" &>"$work/out" && ostree_init && sync -f "$fs"
}
ostree_init() { ! command -v ostree >/dev/null || ostree init --repo "$fs/bare" --mode bare; }

import_ours() {
    command=("$ATOMIC" store import --store "$fs/store" --dir "$BENCH_TREE" --name tree)
    options=(--sync "$fs")
}
commit_ours() {
    command=("$ATOMIC" tree commit --store "$fs/store" --dir "$BENCH_TREE" --ref tree)
    options=(--sync "$fs")
}
commit_theirs() {
    command=(ostree commit --repo "$fs/bare" -b tree "--tree=dir=$BENCH_TREE")
    options=(--sync "$fs")
}

bench_import() { compare "import a Debian tree" ostree import_ours commit_theirs store_prepare count; }
bench_commit() { compare "commit a Debian tree" ostree commit_ours commit_theirs store_prepare count; }

bench_import_again() {
    local command=()
    store_prepare && import_ours && "${command[@]}" >/dev/null || return
    if command -v ostree >/dev/null; then
        commit_theirs && "${command[@]}" >/dev/null || return
    fi
    compare "import it again, unchanged" ostree import_ours commit_theirs true count
}

# An image from metadata alone: the files are there, no byte of them is read.
dump_ours() {
    command=("$ATOMIC" store import --store "$fs/store" --dump "$work/tree.dump")
    options=(--sync "$fs")
}
dump_theirs() { command=(mkcomposefs --from-file "$work/tree.dump" "$fs/image"); options=(--sync "$fs"); }
# each time another root mtime: an image that is there already would not be written
dump_prepare() {
    rm -f "$fs/image"
    awk -v t=$((++dump_number)) 'NR == 1 { $8 = t ".0" } { print }' "$work/first.dump" >"$work/tree.dump" && sync -f "$fs"
}

bench_image() {
    local command=() dump_number=0
    store_prepare && import_ours && "${command[@]}" >/dev/null &&
        "$ATOMIC" store export --store "$fs/store" tree --dump "$work/first.dump" || return
    compare "image from metadata" mkcomposefs dump_ours dump_theirs dump_prepare count
}
