# SPDX-License-Identifier: LGPL-2.1-or-later
# A host of its own for engine.bats: network namespace, state, store with an image of a shell and few programs.

# make_rootfs DIR: programs of this machine with the libraries they need, and tests/cli/inside.c
make_rootfs() {
    local program path library
    mkdir -p "$1"/{bin,etc,tmp,home/u,proc,sys,dev}
    for program in bash cat echo ls id sleep true false env touch stat head mkdir rm seq hostname ps mount; do
        path=$(readlink -f "$(type -P $program)")
        cp "$path" "$1/bin/$program"
        for library in $(ldd "$path" | grep -o '/[^ )]*'); do
            mkdir -p "$1${library%/*}"
            [ -e "$1$library" ] || cp -L "$library" "$1$library"
        done
    done
    ln -s bash "$1/bin/sh"
    cp "$ATOMIC_TEST_BIN/inside" "$1/bin/"
    printf 'root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\nu:x:1000:\n' >"$1/etc/group"
}

engine_setup() {
    export ATOMIC_STORE=$1/store ATOMIC_ROOT=$1/root ATOMIC_RUN=$1/run ATOMIC_SUBNET=10.97.0.0/24
    make_rootfs "$1/rootfs"
    "$ATOMIC_TEST_BIN/make-image" "$ATOMIC_STORE" base "$1/rootfs" env=PATH=/bin cmd=sh >/dev/null
    "$ATOMIC_TEST_BIN/make-image" "$ATOMIC_STORE" web "$1/rootfs" env=PATH=/bin entrypoint=inside cmd=serve \
        cmd=80 cmd=hello expose=80/tcp expose=443/tcp >/dev/null
    "$ATOMIC_TEST_BIN/make-image" "$ATOMIC_STORE" empty "$1/rootfs" >/dev/null
    unshare -n sleep 1000 3>&- &
    echo $! >"$1/netns"
    for _ in $(seq 100); do
        [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break
        sleep 0.02
    done
    nsenter --net="/proc/$!/ns/net" ip link set lo up
}

engine_teardown() {
    for id in $(a ps -aq); do a rm -f "$id" || true; done
    kill "$(cat "$1/netns")"
}

# in the host's network namespace; nothing may hang
inside() { timeout -k 1 20 nsenter --net="/proc/$(cat "$BATS_FILE_TMPDIR/netns")/ns/net" "$@"; }
a() { inside "$ATOMIC" "$@" 3>&-; }
