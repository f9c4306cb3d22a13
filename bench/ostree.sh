# SPDX-License-Identifier: LGPL-2.1-or-later
# Pulling a Debian tree from an archive repository over loopback, one server for both sides.

pull_setup() {
    bench_tree || return
    ostree init --repo "$work/archive" --mode archive &&
        ostree commit --repo "$work/archive" -b tree --tree=dir="$BENCH_TREE" >/dev/null &&
        ostree summary --repo "$work/archive" -u || return
    "$ATOMIC" tree serve --repo "$work/archive" >"$work/url" &
    pull_server=$!
    for _ in $(seq 100); do [ -s "$work/url" ] && break; sleep 0.05; done
}
pull_prepare() {
    rm -rf "$work/store" "$work/bare"
    "$ATOMIC" store init --store "$work/store" &&
        "$ATOMIC" tree remote add --store "$work/store" --no-verify origin "$(cat "$work/url")" &&
        ostree init --repo "$work/bare" --mode bare &&
        ostree remote add --repo "$work/bare" --no-gpg-verify origin "$(cat "$work/url")" && sync
}
pull_ours() { "$ATOMIC" tree pull --store "$work/store" origin:tree; }
pull_theirs() { ostree pull --repo "$work/bare" origin:tree; }

bench_pull() {
    pull_setup || return
    compare "pull a Debian tree over loopback" ostree pull_ours pull_theirs pull_prepare
    kill "$pull_server"
}
