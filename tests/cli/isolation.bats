# SPDX-License-Identifier: LGPL-2.1-or-later
# Hostile images and containers, tried on the real programs.

bats_require_minimum_version 1.5.0
load engine.bash

setup_file() { engine_setup "$BATS_FILE_TMPDIR"; }
teardown_file() { engine_teardown "$BATS_FILE_TMPDIR"; }
teardown() { for id in $(a ps -aq); do a rm -f "$id" >/dev/null; done; }

# hostile NAME: a copy of the image's files, its path in $tree; made an image by `finish NAME`
hostile() {
    tree=$BATS_TEST_TMPDIR/$1
    cp -a "$BATS_FILE_TMPDIR/rootfs" "$tree"
}
finish() { "$ATOMIC_TEST_BIN/make-image" "$ATOMIC_STORE" "$1" "$BATS_TEST_TMPDIR/$1" env=PATH=/bin >/dev/null; }

@test "an image's device nodes open no device, neither inside nor for us who read its users" {
    hostile devices
    mknod "$tree/zero" c 1 5
    finish devices
    run a run --rm devices head -c 1 /zero
    [ "$status" -ne 0 ]
    [[ $output == *"Permission denied"* ]]
    hostile users
    rm "$tree/etc/passwd"
    mknod "$tree/etc/passwd" c 1 5
    finish users
    run a run --rm users true
    [ "$status" -eq 125 ]
    [[ $output == *"cannot open '/etc/passwd' of the image: Permission denied"* ]]
}

@test "users are read from files only, and from the image's own" {
    hostile fifo
    rm "$tree/etc/group"
    mkfifo "$tree/etc/group"
    finish fifo
    run a run --rm fifo true
    [ "$status" -eq 125 ]
    [[ $output == *"'/etc/group' of the image is not a file"* ]]
    hostile outside
    ln -sf ../../../../../../../etc/passwd "$tree/etc/passwd"
    finish outside
    run a run --rm -u daemon outside id
    [ "$status" -eq 125 ]
}

@test "links in the places of our mounts lead nowhere outside" {
    hostile links
    rmdir "$tree/dev"
    ln -s ../../../../../../devices "$tree/dev"
    ln -s ../../../../../../../../run/resolver/conf "$tree/etc/resolv.conf"
    ln -s hosts2 "$tree/etc/hosts"
    finish links
    run a run --rm links sh -c 'cat /run/resolver/conf >/dev/null && echo resolver; head -n 1 /etc/hosts2'
    [ "${lines[0]}" = resolver ]
    [[ ${lines[1]} == *localhost ]]
    [ ! -e /run/resolver ]
    hostile circle
    ln -s resolv.conf "$tree/etc/resolv.conf"
    finish circle
    run a run --rm circle true
    [ "$status" -eq 125 ]
    [[ $output == *"/etc/resolv.conf"* ]]
}

@test "exec takes nothing from what the container made of /dev/null" {
    a run -d --name trap base sh -c 'rm /dev/null; echo caught >/dev/null; sleep 100'
    until [[ $(a exec trap stat -c %F /dev/null) == regular* ]]; do sleep 0.1; done
    a exec -d trap sh -c 'cat >/tmp/in; echo done >/tmp/done'
    until [ -n "$(a exec trap cat /tmp/done 2>/dev/null)" ]; do sleep 0.1; done
    [ -z "$(a exec trap cat /tmp/in)" ]
}

@test "a container can't make its layer too deep to be removed" {
    a run --name deep base inside deep 3000
    a rm deep
    [ -z "$(ls "$ATOMIC_ROOT/containers")" ]
}

@test "no name in a message speaks to the terminal" {
    run -127 a run --rm base $'no\e]0;title\asuch'
    [[ $output == *'"no\x1b]0;title\x07such": executable file not found'* ]]
    mkdir "$BATS_TEST_TMPDIR/t"
    touch "$BATS_TEST_TMPDIR/t/"$'a\e[2Jb'
    tar -cf "$BATS_TEST_TMPDIR/t.tar" -C "$BATS_TEST_TMPDIR/t" --transform 's,^./a,../a,' .
    run a store import --tar "$BATS_TEST_TMPDIR/t.tar"
    [ "$status" -eq 1 ]
    [[ $output == *'\x1b[2Jb'* ]]
    [[ $output != *$'\e'* ]]
}

@test "a RUN has a pipe for its output, not the file or terminal of the build" {
    mkdir "$BATS_TEST_TMPDIR/context"
    printf 'FROM base\nRUN ls -l /proc/self/fd\n' >"$BATS_TEST_TMPDIR/context/Dockerfile"
    a build --network none "$BATS_TEST_TMPDIR/context" >"$BATS_TEST_TMPDIR/log"
    grep -q '1 -> pipe:' "$BATS_TEST_TMPDIR/log"
    ! grep -q "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/log"
}

@test "with every capability the masks stay and no device opens" {
    run a run --rm --cap-add ALL base bash -c 'mount -o remount,rw,bind /proc/sys || mount -o remount,dev,bind / ||
        mount -t proc none /tmp || mount -t sysfs none /tmp || mount -t devtmpfs none /tmp'
    [ "$status" -ne 0 ]
}

@test "a Dockerfile or .dockerignore that is a link out of the context, or a pipe, is not read" {
    mkdir "$BATS_TEST_TMPDIR/context"
    cd "$BATS_TEST_TMPDIR/context"
    ln -s /etc/passwd Dockerfile
    run a build .
    [ "$status" -eq 1 ]
    [[ $output == *"'Dockerfile' is a link out of the build context"* ]]
    [[ $output != *root* ]]
    rm Dockerfile
    printf 'FROM base\nCOPY f /f\n' >real
    ln -s real Dockerfile
    touch f
    a build .
    mkfifo .dockerignore
    run a build .
    [ "$status" -eq 1 ]
    [[ $output == *"'.dockerignore' of the build context is not a file"* ]]
}
