# SPDX-License-Identifier: LGPL-2.1-or-later
# The store against ostree's bare repository. Input: a Debian minbase tree ($BENCH_TREE, else debootstrap makes one
# once below build/).

bench_tree() {
    [ -n "${BENCH_TREE:-}" ] && return
    BENCH_TREE=$PWD/build/bench-tree
    [ -d "$BENCH_TREE/usr" ] && return
    command -v debootstrap >/dev/null || apt-get install -y --no-install-recommends debootstrap >/dev/null
    debootstrap --variant=minbase bookworm "$BENCH_TREE.new" "$(apt-get indextargets \
        --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)' 'Created-By: Packages' |
        sed -nE 's/^Debian\|([^|]+)\|bookworm$/\1/p' | head -1)" >/dev/null &&
        rm -rf "$BENCH_TREE.new/dev" && mv "$BENCH_TREE.new" "$BENCH_TREE"
}

import_prepare() {
    rm -rf "$work/store" "$work/bare"
    "$ATOMIC" store init --store "$work/store" && ostree init --repo "$work/bare" --mode bare && sync
}
import_ours() { "$ATOMIC" store import --store "$work/store" --dir "$BENCH_TREE" --name tree; }
import_theirs() { ostree commit --repo "$work/bare" -b tree --tree=dir="$BENCH_TREE"; }

bench_import() {
    bench_tree || return
    compare "import a Debian tree" ostree import_ours import_theirs import_prepare
}
bench_import_again() {
    bench_tree || return
    import_prepare && import_ours >/dev/null && import_theirs >/dev/null
    compare "import it again, unchanged" ostree import_ours import_theirs
}
