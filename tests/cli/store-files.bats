# SPDX-License-Identifier: LGPL-2.1-or-later
# Looking into the store: ls, cat, stat, diff, and mounts that can be changed.

bats_require_minimum_version 1.5.0

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    cd "$BATS_TEST_TMPDIR"
    mkdir -p tree/usr/bin
    head -c 5000 /dev/urandom >tree/usr/bin/prog
    ln tree/usr/bin/prog tree/usr/again
    echo hello >tree/usr/small
    ln -s bin/prog tree/usr/link
    touch -d '2014-10-08 12:00:00.123456789 UTC' tree/usr/small
    setfattr -n user.note -v why tree/usr/small
    digest=$("$ATOMIC" store import --dir tree --name rootfs)
}

teardown() {
    for dir in "$BATS_TEST_TMPDIR"/mnt*; do
        mountpoint -q "$dir" && umount "$dir"
    done
    true
}

@test "an image is named by its name, its digest, the beginning of that, a branch or a container image's name" {
    "$ATOMIC" tree commit --ref os/main --dir tree
    for name in rootfs "$digest" "${digest:0:8}" image:rootfs "image:${digest:0:20}" tree:os/main os/main; do
        [ "$("$ATOMIC" store cat "$name" /usr/small)" = hello ]
    done
    run "$ATOMIC" store cat "${digest:0:7}" /usr/small
    [ "$status" -eq 1 ]
    [[ $output == "atomic: there is no image '${digest:0:7}' in the store"*"hint: 'atomic store ls' lists"* ]]
    run "$ATOMIC" store cat tree:rootfs /usr/small
    [ "$status" -eq 1 ]
    run "$ATOMIC" store cat rootfs /usr/bin
    [ "$output" = "atomic: '/usr/bin' is a directory, not a file" ]
    run "$ATOMIC" store cat rootfs /usr/none
    [ "$output" = "atomic: there is no '/usr/none' in 'rootfs'" ]
    [ "$("$ATOMIC" store cat rootfs usr/link | sha256sum)" = "$(sha256sum <tree/usr/bin/prog)" ]
}

@test "stat shows everything of a file" {
    run "$ATOMIC" store stat rootfs /usr/small
    [[ $output == *"    Type: file"*"    Size: 6"*"Modified: 2014-10-08 12:00:00.123456789 UTC"* ]]
    [[ $output == *"   Bytes: in the image itself"*"  Xattrs: user.note=0x776879"* ]]
    "$ATOMIC" store stat --json rootfs /usr/bin/prog >prog.json
    jq -e '.schema == "atomic.store.stat/1" and .type == "file" and .nlink == 2 and .size == 5000 and
           .links == [{"path": "/usr/again"}] and .bytes == "object" and (.object | length) == 64' prog.json
    object=$(jq -r .object prog.json)
    mv "store/objects/${object:0:2}/${object:2}" away
    run "$ATOMIC" store stat rootfs /usr/again
    [[ $output == *"missing from the store"*"fsck --repair"* ]]
    jq -e .target <("$ATOMIC" store stat --json rootfs /usr/link)
    jq -e '.type == "file"' <("$ATOMIC" store stat -L --json rootfs /usr/link)
}

@test "ls lists a directory, with -R all below; a name that is no text comes as base64" {
    [ "$("$ATOMIC" store ls rootfs /usr | wc -l)" -eq 4 ]
    [ "$("$ATOMIC" store ls -R rootfs | wc -l)" -eq 6 ]
    "$ATOMIC" store ls rootfs /usr | grep -qE '^lrwxrwxrwx +0 +0 +8 /usr/link -> bin/prog$'
    printf x >"tree/$(printf 'odd\377\nx')"
    "$ATOMIC" store import --dir tree --name odd
    "$ATOMIC" store ls odd | grep -qF '/odd\xff\x0ax'
    "$ATOMIC" store ls --json odd | jq -e '[.files[] | select(.path_b64)] | length == 1'
}

@test "diff: the same, and every kind of change, between any two kinds of trees" {
    run "$ATOMIC" store diff rootfs ./tree
    [ "$status" -eq 0 ]
    [ "$output" = "No difference." ]
    "$ATOMIC" tree commit --ref os/main --dir tree
    run "$ATOMIC" store diff --exit-code tree:os/main dir:tree
    [ "$status" -eq 0 ]

    echo hullo >tree/usr/small # the same size
    chmod 700 tree/usr/bin
    chown 5:6 tree/usr/bin/prog
    rm tree/usr/link
    mkdir -p tree/usr/link/below
    run --separate-stderr "$ATOMIC" store diff -v --exit-code rootfs ./tree
    [ "$status" -eq 1 ]
    diff - <(echo "$output") <<'END'
M /usr/again  (owner)
M /usr/bin  (mode)
M /usr/bin/prog  (owner)
D /usr/link
A /usr/link
A /usr/link/below
M /usr/small  (content)
END
    [ "$stderr" = "2 added, 1 removed, 4 modified; +6 bytes -6 bytes" ]
    "$ATOMIC" store diff --json rootfs ./tree >diff.json
    jq -e '.schema == "atomic.store.diff/1" and (.changes | length) == 7 and .modified == 4 and
           (.changes[] | select(.path == "/usr/small") | .old.size == 6 and .differs == ["content"])' diff.json
    [ -z "$("$ATOMIC" store diff --summary rootfs ./tree 2>/dev/null)" ]

    touch -d '2020-01-01 UTC' tree/usr/again
    "$ATOMIC" store diff -v --times rootfs ./tree | grep -q '^M /usr/again  (owner,mtime)$'
    run "$ATOMIC" store diff rootfs tree
    [ "$status" -eq 1 ]
    [[ $output == *"'tree' is a directory, which is written './tree'"* ]]
    # comparing stores nothing
    [ "$("$ATOMIC" store gc --dry-run --json | jq .objects)" -eq 0 ]
}

@test "a writable mount keeps its changes aside, and is not mounted twice" {
    mkdir mnt mnt2
    "$ATOMIC" store mount --writable rootfs mnt || skip "no mounts here"
    echo new >mnt/usr/new
    rm mnt/usr/small
    run "$ATOMIC" store mount --upper mnt.upper rootfs mnt2
    [ "$status" -eq 1 ]
    [[ $output == *"are those of the mount on"*"hint: 'atomic store unmount "* ]]
    [ "$("$ATOMIC" store diff rootfs ./mnt 2>/dev/null)" = $'A /usr/new\nD /usr/small' ]
    (cd mnt && exec sleep 100) 3>&- &
    sleeper=$!
    until [ "$(readlink "/proc/$sleeper/cwd")" = "$PWD/mnt" ]; do sleep 0.02; done
    run "$ATOMIC" store unmount mnt
    kill "$sleeper"
    wait "$sleeper" || true
    [ "$status" -eq 1 ]
    [[ $output == *"cannot unmount 'mnt': it is in use by '"*"(process $sleeper)" ]]
    "$ATOMIC" store unmount mnt
    [ "$(ls mnt.upper)" = $'image\nmounted\nupper\nwork' ]
    other=$("$ATOMIC" store import --dir tree/usr)
    run "$ATOMIC" store mount -w "$other" mnt
    [ "$status" -eq 1 ]
    [[ $output == *"mnt.upper' has changes that were made over another image, '${digest:0:12}'"*"hint: "* ]]
    "$ATOMIC" store mount -w rootfs mnt
    [ "$(cat mnt/usr/new)" = new ]
    "$ATOMIC" store unmount --discard mnt
    [ ! -e mnt.upper ]
    "$ATOMIC" store mount rootfs mnt
    ! touch mnt/usr/x
    "$ATOMIC" store unmount mnt
    "$ATOMIC" store cat rootfs /usr/small # the image is as it was
}

@test "what is mounted is not collected, name or not" {
    mkdir mnt
    rm -r store
    digest=$("$ATOMIC" store import --dir tree)
    "$ATOMIC" store mount "$digest" mnt || skip "no mounts here"
    "$ATOMIC" store gc
    cmp mnt/usr/bin/prog tree/usr/bin/prog
    run "$ATOMIC" store mount "$digest" mnt
    [ "$status" -eq 1 ]
    [[ $output == *"an image is mounted on '"*"/mnt' already"*"hint: 'atomic store unmount "* ]]
    "$ATOMIC" store unmount mnt
    [ "$("$ATOMIC" store gc --dry-run --json | jq .objects)" -eq 2 ]
    # one that a reboot left behind
    "$ATOMIC" store import --dir tree --name "mount/00000000-0000-4000-8000-000000000000/mnt"
    "$ATOMIC" store gc
    [ -z "$("$ATOMIC" store ls)" ]
}

@test "only images are unmounted, and only what a mount made is discarded" {
    mkdir mnt mnt.upper
    run "$ATOMIC" store unmount mnt
    [[ $output == *"nothing is mounted there"* ]]
    run "$ATOMIC" store unmount /proc
    [ "$status" -eq 1 ]
    [[ $output == *"'proc' is mounted there, which is no image"* ]]
    "$ATOMIC" store mount rootfs mnt || skip "no mounts here"
    touch mnt.upper/mine
    run "$ATOMIC" store unmount --discard mnt
    [ "$status" -eq 1 ]
    [[ $output == *"it has 'mine', which no mount made"* ]]
    [ -e mnt.upper/mine ]
}
