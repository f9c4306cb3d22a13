# SPDX-License-Identifier: LGPL-2.1-or-later
# The store group as an ordinary user: everything works on a store of one's own but mounting; what can't work says
# what is in the way.

bats_require_minimum_version 1.5.0

uid=54321

# The programs are copied: the checkout may be where others can't look.
setup() {
    [ "$(id -u)" = 0 ] || skip "needs root, to become somebody else"
    top=$(mktemp -d)
    chmod 755 "$top"
    cp -a "$(dirname "$ATOMIC")" "$top/bin"
    mkdir "$top/home"
    chown $uid:$uid "$top/home"
    cd "$top/home"
    unset ATOMIC_SYSROOT ATOMIC_LIBEXEC
    export ATOMIC_STORE=$top/home/store HOME=$top/home
    umask 022
}

teardown() {
    [ -z "${top:-}" ] || rm -rf "$top"
}

user() { setpriv --reuid $uid --regid $uid --clear-groups --inh-caps=-all --no-new-privs "$@"; }
a() { user "$top/bin/atomic" "$@"; }

# "REGEX": the command fails with 1 and says that
fails() {
    local says=$1
    shift
    run "$@"
    [ "$status" -eq 1 ] && [[ $output =~ $says ]] || {
        echo "status $status, output: $output"
        false
    }
}

make_tree() {
    user mkdir -p tree/usr/bin tree/etc tree/empty
    head -c 100000 /dev/urandom | user tee tree/usr/bin/big >/dev/null
    user ln tree/usr/bin/big tree/usr/bin/hard
    user ln -s usr/bin tree/bin
    user sh -c 'echo atomic >tree/etc/hostname'
    user mkfifo tree/etc/fifo
    user chmod 2755 tree/usr/bin/big
    user chmod 700 tree/empty
}

@test "init, import, export, ls, cat, gc, fsck, check, setup: of one's own, without root" {
    make_tree
    a store init
    [ "$(stat -c '%a %u' store)" = "700 $uid" ]
    digest=$(a store import --dir tree --name mine)
    a store export mine --tar - >mine.tar
    a store export mine --dump - >mine.dump
    [ "$(a store import --tar mine.tar)" = "$digest" ]
    gzip -k mine.tar
    [ "$(a store import --tar - <mine.tar.gz)" = "$digest" ]
    [ "$(a store import --dump mine.dump)" = "$digest" ]
    [ "$(a store import --dump - <mine.dump)" = "$digest" ]
    a store export mine --dir out
    [ "$(a store import --dir out)" = "$digest" ]
    [ "$(stat -c '%a %h %u' out/usr/bin/hard)" = "2755 2 $uid" ]
    [ "$(a store ls)" = "${digest:0:12} mine" ]
    a store ls mine /usr/bin | grep -q big
    [ "$(a store cat mine /etc/hostname)" = atomic ]
    a store cat mine /usr/bin/big | cmp - tree/usr/bin/big
    a store stat mine /usr/bin/hard | grep -q 2755
    a store diff mine ./tree
    user sh -c 'head -c 5000 /dev/urandom >tree/more'
    run a store diff mine ./tree
    [[ $output == *more* ]]
    a store import --dir tree
    [ "$(a store gc --json | jq .objects)" = 2 ]
    a store fsck
    a store check | grep -q '^fs-verity: '
    a store setup --reserve 1M
    [ "$(a store check --json | jq .reserve_held_bytes)" = 1048576 ]
    [ -z "$(find store ! -uid $uid)" ]
    [ -z "$(ls store/staging)" ]
}

@test "what belongs to others goes in and out with other owners, but only root can give files away" {
    printf '%s\n' '/ 0 40755 2 0 0 0 0.0 - - -' '/root 3 100600 1 0 7 0 0.0 - abc -' '/null 0 20666 1 0 0 259 0.0 - - -' >others.dump
    digest=$(a store import --dump others.dump --name others)
    a store export others --tar others.tar
    tar -tvf others.tar --numeric-owner | grep -q ' 0/7 .*root$'
    [ "$(a store import --tar others.tar)" = "$digest" ]
    run a store export others --dir out
    [ "$status" -eq 0 ]
    [[ $output == *"Not kept: 1 times device nodes (only root can make them)"* ]]
    [ ! -e out/null ]
}

@test "mounting says what it would need, and leaves nothing behind" {
    make_tree
    a store import --dir tree --name mine
    user mkdir mnt
    fails "cannot mount an image: Operation not permitted.*hint: this needs root \(CAP_SYS_ADMIN\).*store export IMAGE --dir" a store mount mine mnt
    [ -z "$(ls mnt)" ]
    fails "cannot mount an image: Operation not permitted" a store mount --writable mine mnt
    fails "cannot unmount 'mnt': nothing is mounted there" a store unmount mnt
    # nor as the root of a namespace of one's own
    ! user unshare -Urm true 2>/dev/null || fails "cannot mount an image" user unshare -Urm "$top/bin/atomic" store mount mine mnt
}

@test "the store of somebody else: whose it is, and what to do" {
    make_tree
    export ATOMIC_STORE=$top/theirs
    "$ATOMIC" store init
    "$ATOMIC" store import --dir tree --name theirs
    for command in "ls" "ls theirs" "cat theirs /etc/hostname" "gc" "fsck" "check" "setup" "init" "import --dir tree" \
        "import --dump /dev/null" "export theirs --tar -"; do
        # shellcheck disable=SC2086
        fails "cannot open store '$top/theirs' of another user: Permission denied.*hint: --store DIR" a store $command
    done
    # one that may be read is read, and not written
    chmod 755 "$top/theirs"
    [ "$(a store cat theirs /etc/hostname)" = atomic ]
    a store fsck
    for command in "init" "import --dir tree" "import --dump /dev/null" "setup --reserve 1M"; do
        # shellcheck disable=SC2086
        fails "cannot write to the store '$top/theirs': it belongs to user 0.*hint: --store DIR" a store $command
    done
    user sh -c 'head -c 5000 /dev/urandom >tree/more'
    "$ATOMIC" store import --dir tree # garbage: nothing names it
    fails "cannot write to the store '$top/theirs': it belongs to user 0" a store gc
    "$ATOMIC" store fsck
    fails "cannot make a store: .*Permission denied.*hint: --store DIR" a store init --store "$top/new/store"
    [ ! -e "$top/new" ]
}

@test "what can't be read or written is named, and nothing of it is stored" {
    make_tree
    a store init
    user chmod 0 tree/usr/bin/big
    fails "cannot import 'tree': '/usr/bin/(big|hard)': cannot open it: Permission denied" a store import --dir tree
    user chmod 644 tree/usr/bin/big
    user chmod 0 tree/empty
    fails "cannot import 'tree': '/empty': cannot open it: Permission denied" a store import --dir tree
    user chmod 755 tree/empty
    (umask 077; echo secret >"$top/secret"; mkdir "$top/closed")
    for kind in tar dump; do
        fails "cannot open '$top/secret': Permission denied" a store import --$kind "$top/secret"
    done
    fails "cannot open '$top/closed': Permission denied" a store import --dir "$top/closed"
    a store import --dir tree --name mine
    fails "cannot create directory '$top/closed/out': Permission denied" a store export mine --dir "$top/closed/out"
    fails "cannot create '$top/closed/out.tar': Permission denied" a store export mine --tar "$top/closed/out.tar"
    a store fsck
    [ -z "$(ls store/staging)" ]
}

@test "a dump that names a digest without bringing the bytes needs root, unless they are here already" {
    make_tree
    a store import --dir tree --name mine
    a store export mine --dump - >mine.dump
    sed 's/ [0-9a-f]\{64\}\( \|$\)/ '"$(printf '1%.0s' {1..64})"'/' mine.dump >unknown.dump
    ! cmp -s mine.dump unknown.dump
    a store import --dump mine.dump
    fails "the object of '/usr/bin/big' is not in the store.*hint: root may" a store import --dump unknown.dump
    a store fsck
    "$ATOMIC" store import --store "$top/roots" --dump unknown.dump
}
