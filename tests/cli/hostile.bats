#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Pulling from servers that mean harm or are broken, and while others work on the store.

bats_require_minimum_version 1.5.0

setup() {
    command -v python3 || skip "needs python3"
    export SERVER=$BATS_TEST_TMPDIR/server ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    cd "$BATS_TEST_TMPDIR"
    mkdir -p tree/usr/bin
    head -c 200000 /dev/urandom >tree/usr/bin/big
    seq 3000 >tree/usr/bin/numbers
    "$ATOMIC" store init --store "$SERVER"
    "$ATOMIC" tree commit --store "$SERVER" --ref main --dir tree
    "$ATOMIC" tree publish --store "$SERVER" --repo repo main
    "$ATOMIC" store init
}

teardown() {
    stop
    mountpoint -q mnt 2>/dev/null && umount mnt
    true
}

serve() { # MODE [SUFFIX]
    rm -f url
    python3 "$BATS_TEST_DIRNAME/hostile.py" repo "$@" >url 2>/dev/null 3>&- &
    echo $! >server.pid
    for _ in $(seq 100); do [ -s url ] && break; sleep 0.05; done
    rm -rf store/remotes.d
    "$ATOMIC" tree remote add origin "$(cat url)" --no-verify
}

stop() {
    [ ! -e server.pid ] || kill "$(cat server.pid)" 2>/dev/null || true
    rm -f server.pid
}

# MODE SUFFIX WORDS: the pull fails with these words, names the object, and leaves no branch and nothing damaged
refuses() {
    rm -rf store
    "$ATOMIC" store init --quiet
    serve "$1" "$2"
    run timeout 60 "$ATOMIC" tree pull origin:main
    stop
    [ "$status" -eq 1 ] || { echo "$1 $2: $status $output"; false; }
    [[ $output == *"$3"* && $output == *"$2"* ]] || { echo "$1 $2: $output"; false; }
    [ -z "$("$ATOMIC" tree refs)" ]
    "$ATOMIC" store fsck
}

@test "a server that cuts, changes, repeats or redirects what it sends" {
    for suffix in .filez .dirtree .commit; do
        refuses other "$suffix" "object"
        refuses empty "$suffix" "object"
        refuses loop "$suffix" "redirects"
        refuses file "$suffix" "cannot fetch"
        refuses endless "$suffix" "cannot fetch"
    done
    refuses flip .filez "object"
    refuses flip .dirtree "is not what its checksum says"
    # and the same store pulls from an honest one
    serve flip .nothing
    "$ATOMIC" tree pull origin:main
}

@test "a server that fails is asked again, then told" {
    refuses cut .filez "cannot fetch"
    refuses 500 .filez "the server answered 500"
}

@test "a stalled pull holds up neither a collection nor another pull; what it has stays" {
    serve stall "$(basename "$(find repo/objects -name '*.filez' -size +100k)")"
    "$ATOMIC" tree pull origin:main >/dev/null 2>&1 3>&- &
    pull=$!
    for _ in $(seq 100); do ls store/staging/*/journal >/dev/null 2>&1 && break; sleep 0.05; done
    sleep 1 # the other file has arrived
    run timeout 30 "$ATOMIC" store gc
    [ "$status" -eq 0 ] || { echo "$output"; kill $pull; false; }
    run timeout 30 "$ATOMIC" tree pull origin:main
    kill $pull
    [ "$status" -eq 1 ]
    [[ $output == *"'pull-origin-main' is being written into the store '$ATOMIC_STORE' by 'atomic tree pull origin:main' (process $pull)"* ]] || { echo "$output"; false; }
    [ -s store/staging/*-pull-origin-main/journal ]
    "$ATOMIC" store gc
    [ -s store/staging/*-pull-origin-main/journal ]
}

@test "no space left in the store: said, nothing half done, goes on when there is" {
    truncate -s 4M disk && mkfs.ext4 -q -m 0 -O ^has_journal disk && mkdir mnt && mount -o loop disk mnt || skip "can't mount here"
    head -c 6000000 /dev/urandom >tree/usr/bin/bigger
    head -c 1000000 /dev/urandom >tree/usr/bin/a
    "$ATOMIC" tree commit --store "$SERVER" --ref main --dir tree
    "$ATOMIC" tree publish --store "$SERVER" --repo repo main
    ATOMIC_STORE=$PWD/mnt/store
    "$ATOMIC" store init
    rm -rf store && ln -s mnt/store store
    serve flip .nothing
    run "$ATOMIC" tree pull origin:main
    [ "$status" -eq 1 ]
    [[ $output == *"No space left on device"* ]] || { echo "$output"; false; }
    [ -z "$("$ATOMIC" tree refs)" ]
    "$ATOMIC" store fsck
    cp -a mnt/store roomy
    export ATOMIC_STORE=$PWD/roomy
    "$ATOMIC" tree pull origin:main
    "$ATOMIC" store fsck
}
