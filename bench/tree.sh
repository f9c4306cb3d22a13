# SPDX-License-Identifier: LGPL-2.1-or-later
# The input: a Debian minbase tree, $BENCH_TREE, else made once below build/ by debootstrap from this machine's mirror.

tree_make() {
    local dir=${BENCH_TREE:-$PWD/build/bench-tree} mirror
    [ -d "$dir/usr" ] && return
    [ -z "${BENCH_TREE:-}" ] || { echo "bench: '$BENCH_TREE' has no usr" >&2; return 1; }
    command -v debootstrap >/dev/null || apt-get install -y --no-install-recommends debootstrap >/dev/null || return
    mirror=$(apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)' 'Created-By: Packages' |
        sed -nE 's/^Debian\|([^|]+)\|bookworm$/\1/p' | head -1)
    rm -rf "$dir.new"
    debootstrap --variant=minbase bookworm "$dir.new" "$mirror" >/dev/null || return
    rm -rf "${dir:?}.new/dev" && mkdir "$dir.new/dev" && mv "$dir.new" "$dir"
}
