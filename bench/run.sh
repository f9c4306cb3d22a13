# SPDX-License-Identifier: LGPL-2.1-or-later
# Starting a container: `atomic run --rm IMAGE true` (bridge network, user namespace, seccomp) against `crun run` and
# `runc run` of a plain bundle (own namespaces, no seccomp, no bridge, no user namespace: less work). In network
# namespaces of its own; crun refuses hybrid cgroups, so the unified hierarchy is unmounted for it.

run_setup() {
    bench_tree || return
    export ATOMIC_STORE=$work/run/store ATOMIC_ROOT=$work/run/root ATOMIC_RUN=/run/atomic-bench
    export ATOMIC_BRIDGE=abench ATOMIC_SUBNET=10.88.99.0/24
    mkdir -p "$work/run/context" "$ATOMIC_ROOT"
    "$ATOMIC" store init && "$ATOMIC" tree commit --ref bench --dir "$BENCH_TREE" >/dev/null || return
    printf 'FROM tree:bench\nCMD ["true"]\n' >"$work/run/context/Dockerfile"
    "$ATOMIC" build -q -t bench "$work/run/context" >/dev/null || return
    mkdir -p "$work/bundle"
    ln -sfn "$BENCH_TREE" "$work/bundle/rootfs"
    local peer
    for peer in crun runc; do command -v $peer >/dev/null && break; done
    (cd "$work/bundle" && rm -f config.json && $peer spec &&
        jq --arg root "$BENCH_TREE" '.process.terminal = false | .process.args = ["true"] | .root.path = $root' config.json >c &&
        mv c config.json)
}
run_ours() { "$ATOMIC" run --rm bench true; }
run_crun() { unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec crun run --bundle "$0" bench' "$work/bundle"; }
run_runc() { runc run --bundle "$work/bundle" bench; }

bench_run() {
    command -v crun >/dev/null || command -v runc >/dev/null || { echo "run --rm true: skipped, neither crun nor runc is installed"; return; }
    run_setup || return
    "$ATOMIC" run --rm bench true || return
    compare "run --rm true (bridge, userns)" crun run_ours run_crun
    compare "run --rm true (bridge, userns)" runc run_ours run_runc
    ip link del "$ATOMIC_BRIDGE" 2>/dev/null
}
