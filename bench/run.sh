# SPDX-License-Identifier: LGPL-2.1-or-later
# Containers: `atomic run --rm IMAGE true` (bridge network, user namespace, seccomp, image from the store) against
# `crun run` and `runc run` of a plain bundle (own namespaces; no seccomp, no bridge, no user namespace, no image and
# no layer: less work). crun refuses hybrid cgroups, so the unified hierarchy is taken away for it.

engine_setup() {
    export ATOMIC_STORE=$fs/store ATOMIC_ROOT=$fs/root ATOMIC_RUN=$work/state/run
    export ATOMIC_BRIDGE=abench ATOMIC_SUBNET=10.88.99.0/24
    mountpoint -q "$fs" && [ -e "$fs/engine" ] && return
    fresh && touch "$fs/engine" && mkdir -p "$work/context" "$ATOMIC_ROOT" || return
    "$ATOMIC" store init &>"$work/out" && "$ATOMIC" tree commit --ref bench --dir "$BENCH_TREE" >/dev/null || return
    printf 'FROM tree:bench\nCMD ["true"]\n' >"$work/context/Dockerfile"
    "$ATOMIC" build -q -t bench "$work/context" >/dev/null && "$ATOMIC" run --rm bench true
}
engine_forget() { unset ATOMIC_STORE ATOMIC_ROOT ATOMIC_RUN ATOMIC_BRIDGE ATOMIC_SUBNET; }

bundle_make() { # RUNTIME
    mkdir -p "$work/bundle" && (cd "$work/bundle" && rm -f config.json && "$1" spec &&
        jq --arg root "$BENCH_TREE" '.process.terminal = false | .process.args = ["true"] | .root.path = $root' \
            config.json >c && mv c config.json)
}
run_ours() { command=("$ATOMIC" run --rm bench true); }
run_crun() {
    command=(crun --root "$work/state/crun" run --bundle "$work/bundle" bench)
    options=(--hide /sys/fs/cgroup/unified)
}
run_runc() { command=(runc --root "$work/state/runc" run --bundle "$work/bundle" bench); }

bench_run() {
    local peer
    engine_setup || return
    for peer in crun runc; do
        ! command -v $peer >/dev/null || bundle_make $peer || return
        compare "run --rm IMAGE true" $peer run_ours run_$peer
    done
    engine_forget
}

status_ours() { command=("$ATOMIC" status --sysroot "$work/host"); }
ps_ours() { command=("$ATOMIC" ps -a); }
crun_version() { command=(crun --version); }
ostree_version() { command=(ostree --version); }

bench_status() {
    "$ATOMIC" host init --sysroot "$work/host" --os bench &>"$work/out" || return
    compare "status" ostree status_ours ostree_version
}
bench_ps() {
    local i
    engine_setup || return
    for i in 1 2 3; do "$ATOMIC" run -d --name "bench$i" bench sleep 1000 >/dev/null || return; done
    compare "ps, 3 containers" crun ps_ours crun_version
    "$ATOMIC" rm -f bench1 bench2 bench3 >/dev/null
    engine_forget
}

# No peer here (Docker's classic builder would be one).
build_ours() { command=("$ATOMIC" build --no-cache -q -t steps "$work/steps"); options=(--sync "$fs"); }

bench_build() {
    engine_setup && mkdir -p "$work/steps" || return
    printf 'FROM bench\nRUN true\nRUN echo 2 >/2\nRUN echo 3 >/3\nRUN echo 4 >/4\nRUN rm /2\n' >"$work/steps/Dockerfile"
    figure "build, 5 trivial RUN steps" build_ours true count
    engine_forget
}
