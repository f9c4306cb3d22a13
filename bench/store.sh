# SPDX-License-Identifier: LGPL-2.1-or-later
# The store against ostree's bare repository and mkcomposefs' digest store: a Debian minbase tree. mkcomposefs is the
# one that MKCOMPOSEFS names, where there is one.

mkcomposefs=${MKCOMPOSEFS:-mkcomposefs}

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
digest_theirs() {
    command=("$mkcomposefs" "--digest-store=$fs/digests" "$BENCH_TREE" "$fs/image")
    options=(--sync "$fs")
}

bench_import() {
    compare "import a Debian tree" ostree import_ours commit_theirs store_prepare count
    compare "import a Debian tree" "$mkcomposefs" import_ours digest_theirs store_prepare count
}
bench_commit() { compare "commit a Debian tree" ostree commit_ours commit_theirs store_prepare count; }

bench_import_again() {
    local command=()
    store_prepare && import_ours && "${command[@]}" >/dev/null || return
    if command -v ostree >/dev/null; then
        commit_theirs && "${command[@]}" >/dev/null || return
    fi
    compare "import it again, unchanged" ostree import_ours commit_theirs true count
    command -v "$mkcomposefs" >/dev/null || return 0
    digest_theirs && "${command[@]}" >/dev/null || return
    compare "import it again, unchanged" "$mkcomposefs" import_ours digest_theirs true count
}

fsck_ours() { command=("$ATOMIC" store fsck --store "$fs/store"); }
fsck_theirs() { command=(ostree fsck --repo "$fs/bare"); }

# Both hold the same tree; its bytes are in the page cache.
bench_fsck() {
    local command=()
    store_prepare && import_ours && "${command[@]}" >/dev/null || return
    if command -v ostree >/dev/null; then
        commit_theirs && "${command[@]}" >/dev/null || return
    fi
    compare "fsck" ostree fsck_ours fsck_theirs
}

# No peer collects what this does; the aim is in milliseconds. The store holds 10^5 objects that are all needed.
gc_ours() { command=("$ATOMIC" store gc --store "$fs/store"); options=(--sync "$fs"); }

bench_gc() {
    fresh 262144 && "$ATOMIC" store init --store "$fs/store" &>"$work/out" && mkdir -p "$work/state/many" || return
    seq 100000 | awk -v top="$work/state/many" '{
        dir = top "/" int($1 / 1000); if (!(dir in made)) { made[dir]; system("mkdir " dir) }
        file = dir "/" $1; printf "%0100d", $1 >file; close(file) }' &&
        "$ATOMIC" store import --store "$fs/store" --dir "$work/state/many" --name many >/dev/null || return
    rm -rf "$work/state/many"
    figure "gc of nothing, 100,000 objects" gc_ours true count
}

# An image from metadata alone: the files are there, no byte of them is read.
dump_ours() {
    command=("$ATOMIC" store import --store "$fs/store" --dump "$work/tree.dump")
    options=(--sync "$fs")
}
dump_theirs() { command=("$mkcomposefs" --min-version=1 --from-file "$work/tree.dump" "$fs/image"); options=(--sync "$fs"); }
# each time another root mtime: an image that is there already would not be written
dump_prepare() {
    rm -f "$fs/image"
    awk -v t=$((++dump_number)) 'NR == 1 { $8 = t ".0" } { print }' "$work/first.dump" >"$work/tree.dump" && sync -f "$fs"
}

bench_image() {
    local command=() dump_number=0
    store_prepare && import_ours && "${command[@]}" >/dev/null &&
        "$ATOMIC" store export --store "$fs/store" tree --dump "$work/first.dump" || return
    compare "image from metadata" "$mkcomposefs" dump_ours dump_theirs dump_prepare count
}
