# SPDX-License-Identifier: LGPL-2.1-or-later
# Out of the store again: checkouts that share blocks, keep holes and say what they lost; and who uses the space.

bats_require_minimum_version 1.5.0

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    cd "$BATS_TEST_TMPDIR"
}

teardown() {
    ! mountpoint -q "$BATS_TEST_TMPDIR/disk" || umount "$BATS_TEST_TMPDIR/disk"
}

make_tree() {
    mkdir -p tree/usr/bin
    head -c 300000 /dev/urandom >tree/usr/bin/big
    ln tree/usr/bin/big tree/usr/bin/again
    echo small >tree/usr/small
    truncate -s 50M tree/usr/sparse
    echo end >>tree/usr/sparse
    ln -s bin/big tree/usr/link
    setfattr -n user.note -v why tree/usr/small
    touch -d '2014-10-08 12:00:00.123456789 UTC' tree/usr/small tree/usr/bin
}

# on_disk MKFS ARG...: the store and the checkout on a filesystem of their own
on_disk() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    truncate -s 512M disk.img
    "$@" disk.img >/dev/null || skip "no $1"
    mkdir -p disk
    mount -o loop disk.img disk || skip "cannot mount here"
    export ATOMIC_STORE=$PWD/disk/store
}

# the number of a directory's links is the filesystem's affair
describe() {
    (cd "$1" && find . -type d -printf '%p %y %m %U %G %T@\n' -o -printf '%p %y %m %U %G %n %T@ %l\n' | sort)
}

same_tree() {
    diff -r --no-dereference tree "$1"
    diff <(describe tree) <(describe "$1")
    [ "$(getfattr -n user.note --only-values "$1/usr/small")" = why ]
    [ "$(stat -c %b "$1/usr/sparse")" -lt 1000 ]
}

reflinks() {
    make_tree
    "$ATOMIC" store import --dir tree --name t
    run --separate-stderr "$ATOMIC" store export -v t --dir disk/out
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$stderr" = "3 files, 2 of them share their blocks with the store" ]
    same_tree disk/out
    echo changed >>disk/out/usr/bin/big
    "$ATOMIC" store fsck --quiet
}

@test "a checkout on xfs shares its blocks with the store" {
    on_disk mkfs.xfs -q -m reflink=1
    reflinks
}

@test "a checkout on btrfs shares its blocks with the store" {
    on_disk mkfs.btrfs -q
    reflinks
}

@test "a checkout is the tree: links, times, holes; the store's files are not touched" {
    make_tree
    "$ATOMIC" store import --dir tree --name t
    find store/objects -type f -exec touch -a -d 2001-01-01 {} +
    before=$(find store/objects -type f -printf '%p %A@ %T@ %C@ %n\n' | sort)
    "$ATOMIC" store export t --dir out
    same_tree out
    "$ATOMIC" store export t --no-sync --dir out2
    "$ATOMIC" store cat t /usr/bin/big | cmp - tree/usr/bin/big
    [ "$(find store/objects -type f -printf '%p %A@ %T@ %C@ %n\n' | sort)" = "$before" ]
    [ "$("$ATOMIC" store import --dir out2)" = "$("$ATOMIC" store import --dir tree)" ]
}

@test "a checkout waits for the disk once, or not at all" {
    command -v strace >/dev/null || skip "needs strace"
    make_tree
    "$ATOMIC" store import --dir tree --name t
    strace -f -o trace -e trace=fsync,fdatasync,syncfs,sync "$ATOMIC" store export t --dir out
    [ "$(grep -c 'sync' trace)" -eq 1 ]
    strace -f -o trace -e trace=fsync,fdatasync,syncfs,sync "$ATOMIC" store export t --no-sync --dir out2
    run ! grep -q 'sync' trace
}

@test "who isn't root is told what a checkout could not keep" {
    [ "$(id -u)" = 0 ] || skip "needs root to make the tree"
    cd "$(mktemp -d)" # a path that others may go
    export ATOMIC_STORE=$PWD/store
    mkdir -p tree
    echo suid >tree/suid && chown 12:34 tree/suid && chmod 6755 tree/suid
    mknod tree/null c 1 3
    ln tree/null tree/zero
    echo mine >tree/mine
    chmod 755 . tree
    setpriv --reuid 1000 --regid 1000 --clear-groups test -x "$ATOMIC" || skip "the build is not readable for others"
    "$ATOMIC" store import --dir tree --name t
    chown -R 1000:1000 store
    mkdir -m 777 out
    run setpriv --reuid 1000 --regid 1000 --clear-groups "$ATOMIC" store export t --dir out/t
    [ "$status" -eq 0 ]
    [[ $output == *"Not kept: "*" times the owners of files (only root can give files away)"* ]]
    [[ $output == *"Not kept: 1 times setuid and setgid bits, which were for those owners"* ]]
    [[ $output == *"Not kept: 1 times device nodes (only root can make them)"* ]]
    [ "$(stat -c %a out/t/suid)" = 755 ]
    [ "$(cat out/t/mine)" = mine ]
    rm -rf "$PWD"
}

@test "du: what is whose, what is shared with whom, what nobody needs" {
    mkdir -p a b c
    head -c 100000 /dev/urandom >a/both
    cp a/both b/both
    head -c 50000 /dev/urandom >a/own
    cp a/own a/own-again # one object
    head -c 30000 /dev/urandom >c/gone
    "$ATOMIC" store import --dir a --name a
    "$ATOMIC" store import --dir a --name also-a
    "$ATOMIC" store import --dir b --name b
    "$ATOMIC" store import --dir c
    checksum=$("$ATOMIC" tree commit --ref os/main --dir b)
    "$ATOMIC" store du --json >du.json
    # the metadata of an image is its own: small beside the files
    jq -e '.items | length == 3' du.json
    jq -e '.items[] | select(.names[0].name == "a") | (.names | length) == 2 and
           .own_bytes > 50000 and .own_bytes < 80000 and .shared_bytes == 100000' du.json
    jq -e '.items[] | select(.names[0].name == "b") | .shared_bytes == 100000 and .own_bytes < 20000 and
           ([.shared_with[].bytes] == [100000, 100000])' du.json
    jq -e '.items[] | select(.names[0].name == "ostree/os/main") | .image | length == 64' du.json
    jq -e '.saved_bytes == 200000 and .unreferenced.objects == 2 and .staging_bytes == 0' du.json
    jq -e '(.bytes == '"$(find store/objects -type f -printf '%s\n' | awk '{s+=$1} END {print s}')"')' du.json
    # the sum of what each alone needs, what is shared once, and what nobody needs is everything
    jq -e '.bytes == ([.items[].own_bytes] | add) + 100000 + .unreferenced.bytes' du.json
    run "$ATOMIC" store du -v
    [[ $output == *"a, also-a"*"100.0 kB    with "*"Unreferenced:"*"in 2 objects"* ]]
    "$ATOMIC" store gc --quiet
    [ "$("$ATOMIC" store du --json | jq .unreferenced.objects)" = 0 ]
}
