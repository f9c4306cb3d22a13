# SPDX-License-Identifier: LGPL-2.1-or-later
# The reserve on a small disk of its own: nobody gets it but an upgrade.

bats_require_minimum_version 1.5.0
load host.bash

setup() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    cd "$BATS_TEST_TMPDIR"
    unset ATOMIC_STORE ATOMIC_SYSROOT
    umask 022
}

teardown() {
    cd "$BATS_TEST_TMPDIR"
    stop_server
    ! mountpoint -q disk 2>/dev/null || umount disk
}

# disk SIZE: an ext4 of that size on ./disk
disk() {
    truncate -s "$1" disk.img && mkfs.ext4 -q -b 4096 -m 0 disk.img && mkdir disk && mount -o loop disk.img disk || skip "can't mount here"
}

# Other people's data, up to the last block.
fill_disk() { ! dd if=/dev/zero of=disk/other bs=64k status=none 2>dd.err && grep -q "No space left" dd.err; }
held() { "$ATOMIC" store check --store "${1:-disk/store}" --json | jq -r .reserve_held_bytes; }

@test "store init --reserve: exact sizes, shares, the default of a host, none for others" {
    disk 64M
    "$ATOMIC" store init --store disk/store
    [ "$(held)" = 0 ]
    run --separate-stderr "$ATOMIC" store init --store disk/store --reserve 10M
    [ "$status" -eq 0 ] && [[ $stderr == *"Reserve: 10.5 MB"* ]]
    [ "$(held)" = $((10 << 20)) ] && [ "$(stat -c %s disk/store/reserve)" = $((10 << 20)) ]
    "$ATOMIC" store setup --store disk/store --reserve 25%
    [ "$(held)" = $(($(stat -f -c '%b * %S / 4' disk))) ]
    run "$ATOMIC" store setup --store disk/store --reserve 100M
    [ "$status" -eq 1 ] && [[ $output == *"cannot reserve 104.9 MB in 'disk/store'"*"MB are free"* ]]
    for word in x 3x -1 0 '' 5%5 nan; do
        run "$ATOMIC" store setup --store disk/store --reserve "$word"
        [ "$status" -eq 2 ] && [[ $output == *"'$word' is no size of a reserve"*"hint: for example 2G"* ]]
    done
    "$ATOMIC" store setup --store disk/store --reserve none
    [ ! -e disk/store/reserve ]
    # an eighth of what is free, not 512 MiB of 64
    "$ATOMIC" host init --sysroot disk/sys --os one
    default=$(held disk/sys/atomic/store)
    [ "$default" -gt $((4 << 20)) ] && [ "$default" -le $((8 << 20)) ]
    "$ATOMIC" host init --sysroot disk/sys --os one
    [ "$(held disk/sys/atomic/store)" = "$default" ]
}

@test "info, check and gc show the reserve" {
    disk 64M
    export ATOMIC_STORE=$PWD/disk/store ATOMIC_ROOT=$PWD/root ATOMIC_RUN=$PWD/run
    "$ATOMIC" store init --reserve 10M
    "$ATOMIC" info | grep -q '^ Reserve For Upgrades: 10.5 MB$'
    [ "$("$ATOMIC" info --json | jq -c '[.reserve_bytes, .reserve_held_bytes, .verity_required]')" = '[10485760,10485760,false]' ]
    fallocate -p -o 0 -l 4M disk/store/reserve
    "$ATOMIC" info | grep -q '^ Reserve Held: 6.3 MB$'
    "$ATOMIC" store check | grep -q '^Reserve: 10.5 MB, of which 6.3 MB are held$'
    [ "$("$ATOMIC" store gc --json --dry-run | jq -c '[.reserve_bytes, .reserve_held_bytes]')" = '[10485760,6291456]' ]
    "$ATOMIC" store setup
    [ "$(held)" = 10485760 ]
}

@test "a full disk stops an import, not the reserve; the store stays whole" {
    disk 64M
    export ATOMIC_STORE=$PWD/disk/store
    "$ATOMIC" store init --reserve 20M
    mkdir tree
    head -c 6000000 /dev/urandom >tree/big
    "$ATOMIC" store import --dir tree --name kept
    fill_disk
    head -c 7000000 /dev/urandom >tree/more
    run "$ATOMIC" store import --dir tree --name lost
    [ "$status" -eq 1 ] && [[ $output == *"the store '$ATOMIC_STORE': "*"No space left on device"*"hint: 'atomic store gc"* ]]
    [ "$(held)" = $((20 << 20)) ]
    "$ATOMIC" store fsck
    "$ATOMIC" store ls kept | grep -q big
    [ -z "$(ls disk/store/staging)" ]
}

@test "an upgrade gets the reserve on a full disk, and it is held again when there is room" {
    server
    for n in 1 2; do head -c 8000000 /dev/urandom >t$n/usr/bin/large; done
    one=$(publish t1)
    disk 96M
    export ATOMIC_SYSROOT=$PWD/disk/sys
    "$ATOMIC" host init --os test-os --reserve 24M
    "$ATOMIC" tree remote add --no-verify origin "$url"
    "$ATOMIC" deploy origin:test/tree
    [ "$(held disk/sys/atomic/store)" = $((24 << 20)) ]
    fill_disk
    two=$(publish t2)
    "$ATOMIC" store setup --reserve none
    dd if=/dev/zero of=disk/other2 bs=64k status=none || true
    run "$ATOMIC" upgrade
    [ "$status" -eq 1 ] && [[ $output == *"No space left"* || $output == *"not enough space"* ]]
    rm disk/other2
    "$ATOMIC" store setup --reserve 22M
    dd if=/dev/zero of=disk/other2 bs=64k status=none || true
    "$ATOMIC" upgrade
    [ "$(commits)" = "$two $one" ]
    "$ATOMIC" store fsck
    # what the new tree needs is gone from it; of the rest half is held
    now=$(held disk/sys/atomic/store)
    [ "$now" -gt 0 ] && [ "$now" -lt $((22 << 20)) ]
    "$ATOMIC" store check | grep -q "the reserve for upgrades is not held whole"
    rm disk/other disk/other2
    run --separate-stderr "$ATOMIC" store gc
    [ "$status" -eq 0 ] && [[ $stderr == *"Reserve: 23.1 MB"* ]] && [[ $stderr != *"of which"* ]]
    [ "$(held disk/sys/atomic/store)" = $((22 << 20)) ]
}

@test "an upgrade with room enough leaves the reserve where it is" {
    server
    disk 96M
    export ATOMIC_SYSROOT=$PWD/disk/sys
    "$ATOMIC" host init --os test-os --reserve 8M
    "$ATOMIC" tree remote add --no-verify origin "$url"
    extents=$(filefrag -v disk/sys/atomic/store/reserve)
    "$ATOMIC" deploy origin:test/tree
    [ "$(filefrag -v disk/sys/atomic/store/reserve)" = "$extents" ]
}

@test "killed at any write, or refused space at any, the reserve is as it was or is made good" {
    disk 64M
    export ATOMIC_STORE=$PWD/disk/store
    fault() { "$ATOMIC_TEST_BIN/fault" -o report "$@" -- "$ATOMIC" store setup --reserve 8M; }
    whole() {
        "$ATOMIC" store fsck -q
        [ "$(held)" -le $((12 << 20)) ]
        "$ATOMIC" store setup --reserve 8M -q
        [ "$(held)" = $((8 << 20)) ]
        "$ATOMIC" store setup --reserve "$1" -q
    }
    for before in none 2M 12M; do
        "$ATOMIC" store init --reserve $before -q
        fault count
        calls=$(jq .calls report)
        [ "$calls" -ge 3 ]
        whole $before
        for n in $(seq "$calls"); do
            run ! fault kill "$n"
            whole $before
            run fault fail ENOSPC "$n"
            [ "$status" -eq 1 ] && [[ $output == *"No space left on device"* ]]
            whole $before
        done
    done
}
