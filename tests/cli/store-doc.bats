# SPDX-License-Identifier: LGPL-2.1-or-later
# docs/store.md is enough: a reader written from it alone reads what we write, and its examples are real.

bats_require_minimum_version 1.5.0

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    cd "$BATS_TEST_TMPDIR"
    page=${BATS_TEST_DIRNAME:-.}/../../docs/store.md
    reader=$ATOMIC_TEST_BIN/reader
}

# NAME: what `store ls` says of an image, in the reader's words
ours() {
    "$ATOMIC" store ls -R --json "$1" | jq -r '.files[] |
        ({"directory": "d", "file": "-", "symlink": "l", "character-device": "c", "block-device": "b", "fifo": "p"}[.type]) + " " +
        .mode + " \(.uid) \(.gid) \(if .type == "directory" then 0 else .size end) \(.mtime)." +
        ("00000000\(.mtime_nsec)" | .[-9:]) + " " + .path + (if .target then " -> " + .target else "" end)'
}

@test "the reader lists a real tree and measures every object" {
    mkdir tree
    cp -a /usr/share/perl5 /usr/share/zoneinfo /etc/alternatives tree/ 2>/dev/null || true
    mkdir tree/many
    (cd tree/many && seq -f 'a-rather-long-name-%g' 3000 | xargs touch)
    ln tree/many/a-rather-long-name-1 tree/hard
    mknod tree/device b 7 1 2>/dev/null || mkfifo tree/device
    head -c 1000000 /dev/urandom >tree/large
    for size in 1 64 65 4095 4096 4097 524288 524289; do head -c $size /dev/zero | tr '\0' x >"tree/size-$size"; done
    ln -s "$(printf 'x%.0s' {1..4000})" tree/long-link
    "$ATOMIC" store import --dir tree --name t
    "$reader" store t >theirs
    ours t >ours
    [ "$(wc -l <ours)" -gt 3000 ]
    diff <(grep -v '^  ' theirs | sed 1d) ours
}

@test "the reader sees a wrong object and a wrong image" {
    mkdir tree
    seq 100 >tree/numbers
    digest=$("$ATOMIC" store import --dir tree --name t)
    "$reader" store "$digest"
    object=$("$ATOMIC" store stat --json t /numbers | jq -r .object)
    printf X | dd of="store/objects/${object:0:2}/${object:2}" conv=notrunc status=none
    run -1 "$reader" store t
    [[ $output == *"wrong: objects/${object:0:2}/${object:2}"* ]]
    printf 'XX' | dd of="store/images/$digest" bs=1 seek=1060 conv=notrunc status=none
    run -1 "$reader" store t
    [[ $output == *"wrong: images/$digest"* ]]
}

@test "the page's example is what the program prints" {
    [ "$(id -u)" = 0 ] || skip "needs root: the example's files are root's"
    umask 022
    mkdir -p rootfs/etc rootfs/usr/bin
    echo atomic >rootfs/etc/hostname
    seq 100 >rootfs/usr/bin/numbers
    ln rootfs/usr/bin/numbers rootfs/usr/bin/again
    ln -s bin/numbers rootfs/usr/link
    chmod 4755 rootfs/usr/bin/numbers
    setfattr -n user.note -v why rootfs/etc/hostname
    find rootfs -depth -exec touch -h -d '2014-10-08 12:00:00 UTC' {} +
    for command in 'store import --store store --dir rootfs --name rootfs' 'store ls -R --store store rootfs' \
        'store stat --store store rootfs /usr/bin/numbers'; do
        "$ATOMIC" $command >real
        awk -v command="\$ atomic $command" '$0 == command {on = 1; next} /^\$|^```/ {on = 0} on' "$page" >shown
        diff real shown
    done
    find store/objects -type f -printf '%P\n' | while read -r object; do grep -qF "store/objects/$object" "$page"; done
}
