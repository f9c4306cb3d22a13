# SPDX-License-Identifier: LGPL-2.1-or-later
# The host verbs on an offline sysroot: deploy, upgrade, roll back, with everything that can be wrong.

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
    mountpoint -q mnt 2>/dev/null && umount mnt
    mountpoint -q sys/boot 2>/dev/null && umount sys/boot
    stop_server
}

@test "host init: layout, twice is fine, a second OS, no status yet" {
    "$ATOMIC" host init --sysroot sys --os one --reserve 2M
    "$ATOMIC" host init --sysroot sys --os one --reserve 1M
    "$ATOMIC" host init --sysroot sys --os two --reserve 1M
    [ -d sys/atomic/os/one/var ] && [ -d sys/atomic/os/two/var ] && [ -d sys/atomic/deploy ] && [ -d sys/atomic/remotes.d ]
    [ "$(stat -c %s sys/atomic/store/reserve)" = 1048576 ]
    [ -d sys/boot/loader/entries ] && [ "$(readlink sys/boot/loader)" = loader.0 ] && [ -e sys/atomic/store/meta.json ]
    [ "$("$ATOMIC" status --sysroot sys)" = "No deployments." ]
    [ "$("$ATOMIC" status --sysroot sys --json | jq -c .deployments)" = "[]" ]
    run "$ATOMIC" host init --sysroot sys --os ../x
    [ "$status" -eq 1 ] && [[ $output == *"'../x' is no name for an OS"* ]]
    run "$ATOMIC" host init --sysroot sys
    [ "$status" -eq 2 ] && [[ $output == *"--os is missing"* ]]
    mkdir -p other/boot/loader/entries
    run "$ATOMIC" host init --sysroot other --os one --reserve none
    [ "$status" -eq 1 ] && [[ $output == *"'boot/loader' exists and is no link of ours"* ]]
}

@test "the talk: deploy, status, upgrade with the /etc merge, status, rollback" {
    server
    host sys
    run --separate-stderr "$ATOMIC" deploy --karg root=LABEL=x --karg rw origin:test/tree
    [ "$status" -eq 0 ]
    [[ $stderr == *"Receiving objects: 100%"* ]]
    [[ $output != *"Copying /etc"* ]]
    [[ $output == *"Transaction complete; bootconfig swap: yes deployment count change: 1"* ]]
    [[ $output == *"Freed objects: "* ]]
    first=$(deployments)
    [ "$first" = "$one.0" ]
    run "$ATOMIC" status
    [ "${lines[0]}" = "  TIMESTAMP (UTC)         ID             OSNAME      REFSPEC" ]
    [[ ${lines[1]} =~ ^\*\ [0-9]{4}-[0-9]{2}-[0-9]{2}\ [0-9:]{8}\ {5}${one:0:10}\ {5}test-os\ {5}origin:test/tree$ ]]
    entry=sys/boot/loader/entries/atomic-1.conf
    grep -qx "options root=LABEL=x rw atomic=$first" $entry
    grep -qx "title Test OS (atomic:0)" $entry
    cmp "sys$(sed -n 's/^linux //p' $entry)" t1/usr/lib/modules/6.1.0/vmlinuz
    cmp "sys$(sed -n 's/^initrd //p' $entry)" t1/usr/lib/modules/6.1.0/initramfs.img
    [ "$(basename "$(dirname "$(sed -n 's/^linux //p' $entry)")")" = \
        "$(cat t1/usr/lib/modules/6.1.0/{vmlinuz,initramfs.img} | sha256sum | cut -d' ' -f1)" ]
    diff <(list_etc t1/usr/etc) <(list_etc "sys/atomic/deploy/$first/etc")

    edit_etc "sys/atomic/deploy/$first/etc"
    before=$(list_etc "sys/atomic/deploy/$first/etc")
    run "$ATOMIC" upgrade
    [ "$status" -eq 0 ] && [[ $output == *"No updates available."* ]]
    run "$ATOMIC" upgrade --unchanged-exit-77
    [ "$status" -eq 77 ]
    run "$ATOMIC" upgrade --check
    [ "$status" -eq 77 ] && [[ $output == *"No updates available."* ]]

    two=$(publish t2)
    run --separate-stderr "$ATOMIC" upgrade --check
    [ "$status" -eq 0 ] && [[ $output == "Available: ${two:0:10}"* ]]
    [ "$(deployments)" = "$first" ]
    run --separate-stderr "$ATOMIC" upgrade
    [ "$status" -eq 0 ]
    [[ $stderr == *"Receiving objects: 100%"* ]]
    [[ $output =~ "Copying /etc changes: "[0-9]+" modified, "[0-9]+" removed, "[0-9]+" added" ]]
    [[ $output == *"yours kept"*"/etc/both-changed"* ]]
    [[ $output == *"Transaction complete; bootconfig swap: yes deployment count change: 1"* ]]
    second=$two.0
    [ "$(deployments | xargs)" = "$second $first" ]
    [ "$(list_etc "sys/atomic/deploy/$first/etc")" = "$before" ]
    [ "$(cat "sys/atomic/deploy/$second/etc/both-changed")" = mine ]
    [ "$(cat "sys/atomic/deploy/$second/etc/new-default")" = "default 2" ]
    grep -qx "options root=LABEL=x rw atomic=$second" sys/boot/loader/entries/atomic-2.conf
    run "$ATOMIC" status
    [[ ${lines[1]} == "* "*"${two:0:10}"* ]] && [[ ${lines[2]} == "  "*"${one:0:10}"* ]]

    for expected in "$first $second" "$second $first" "$first $second"; do
        run "$ATOMIC" rollback
        [ "$status" -eq 0 ]
        [ "${lines[0]}" = "Moving '${expected%% *}' to be first deployment" ]
        [ "$(deployments | xargs)" = "$expected" ]
    done
    "$ATOMIC" store fsck --store sys/atomic/store
}

@test "the merge of /etc is OSTree's" {
    command -v ostree || skip "needs ostree"
    server
    mkdir -p peer/boot/loader.0
    ostree admin init-fs peer
    ostree admin os-init --sysroot=peer test
    ln -sfn loader.0 peer/boot/loader
    touch peer/boot/loader.0/syslinux.cfg
    mkdir -p peer/boot/syslinux && ln -s ../loader/syslinux.cfg peer/boot/syslinux/syslinux.cfg
    ostree --repo=peer/ostree/repo commit -b t --tree=dir=t1
    ostree admin deploy --sysroot=peer --os=test t
    old=$(ls -d peer/ostree/deploy/test/deploy/*.0)
    edit_etc "$old/etc"
    ostree --repo=peer/ostree/repo commit -b t --tree=dir=t2
    counts=$(ostree admin deploy --sysroot=peer --os=test t | grep '^Copying /etc')
    theirs=$(ls -d peer/ostree/deploy/test/deploy/*.0 | grep -vx "$old")

    host sys
    "$ATOMIC" deploy -q origin:test/tree
    edit_etc "sys/atomic/deploy/$one.0/etc"
    two=$(publish t2)
    run "$ATOMIC" upgrade -q
    [ "$status" -eq 0 ]
    diff <(list_etc "$theirs/etc") <(list_etc "sys/atomic/deploy/$two.0/etc")
    [[ $output == *"$counts"* ]] || { echo "expected: $counts"; echo "$output"; false; }
    chattr -i peer/ostree/deploy/test/deploy/*.0
}

@test "kept: the new one and the one before; the rest and its objects go" {
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    two=$(publish t2)
    "$ATOMIC" upgrade -q
    make_tree t3 3 kernel3
    three=$(publish t3)
    run "$ATOMIC" upgrade -q
    [[ $output == *"deployment count change: 0"* ]]
    [[ $output =~ "Freed objects: "[1-9][0-9.]*" "[kM]B ]]
    [ "$(commits)" = "$three $two" ]
    [ "$(ls sys/atomic/deploy | wc -l)" -eq 2 ]
    [ "$(ls sys/boot/atomic | wc -l)" -eq 2 ]
    [ "$(ls -d sys/boot/loader.*)" = "sys/boot/$(readlink sys/boot/loader)" ]
    "$ATOMIC" store fsck --store sys/atomic/store
    # the same commit again is another deployment of it
    "$ATOMIC" deploy -q origin:test/tree
    [ "$(deployments | xargs)" = "$three.1 $three.0" ]
    # and by its checksum
    "$ATOMIC" deploy -q "origin:test/tree=$two"
    [ "$(commits)" = "$two $three" ]
}

@test "the deployed tree is mounted by its deployment's name" {
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    mkdir mnt
    "$ATOMIC" store mount "deploy/$one.0" mnt --store sys/atomic/store || skip "can't mount here"
    [ -d mnt/etc ] # where the deployment's goes; the tree has only /usr/etc
    cmp mnt/usr/bin/big1 t1/usr/bin/big1
    [ "$(cat mnt/usr/bin/version)" = 1 ]
    "$ATOMIC" store unmount mnt
}

# every name with type, mode, owner, link target, sum of the bytes and xattrs
list_all() {
    (cd "$1" && find . -mindepth 1 -path ./etc -prune -o -printf '%P %y %m %U:%G %l\n' | sort &&
        find . -path ./etc -prune -o -type f -exec md5sum {} + | sort -k 2 &&
        find . -print0 | sort -z | xargs -0 getfattr -h -d -e hex -m '^(user|security)[.]')
}

@test "what the real ostree committed is deployed with every attribute and byte" {
    command -v ostree || skip "needs ostree"
    server
    chown -R 3:4 t2/usr/bin
    chmod 4755 t2/usr/bin/version
    chmod 1770 t2/var
    chown 1000:50 t2/usr/etc/sub
    ln -s ../../nowhere t2/usr/lib/link
    touch t2/usr/lib/empty
    mkdir t2/usr/lib/empty-dir "t2/usr/lib/ä ö"
    echo x >"t2/usr/lib/ä ö/ü"
    setcap cap_net_raw+ep t2/usr/bin/big2
    setfattr -n user.note -v "a note" t2/usr/lib t2/usr/lib/empty
    ostree --repo=repo commit -b test/tree --tree=dir=t2
    ostree --repo=repo summary -u
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    mkdir mnt
    "$ATOMIC" store mount "deploy/$(deployments)" mnt --store sys/atomic/store || skip "can't mount here"
    list_all t2 >wanted
    list_all mnt >got
    [ "$(grep -c . wanted)" -gt 100 ]
    grep -q security.capability wanted && grep -q user.note wanted && grep -q 'version f 4755 3:4' wanted
    diff wanted got
    "$ATOMIC" store unmount mnt
}

@test "package changes are listed" {
    command -v ostree || skip "needs ostree"
    server
    list() { ostree --repo=repo commit -b test/tree --tree=dir="$1" --add-metadata="atomic.pkglist=$2"; }
    list t1 "[('bash','5.1-2','amd64'),('curl','1:7.88-1','amd64'),('make','4.3','amd64')]"
    ostree --repo=repo summary -u
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    list t2 "[('bash','5.1-2','amd64'),('bridge-utils','1.7','amd64'),('curl','1:7.88-2','amd64')]"
    ostree --repo=repo summary -u
    expected=$(printf '%s\n' "Changed:" "  curl-1:7.88-2.amd64" "Removed:" "  make-4.3.amd64" "Added:" \
        "  bridge-utils-1.7.amd64")
    run --separate-stderr "$ATOMIC" upgrade --preview
    [ "$status" -eq 0 ] && [[ $output == *"$expected" ]]
    run "$ATOMIC" upgrade --json
    [ "$status" -eq 2 ]
    [[ $output == *"hint: 'atomic upgrade --check --json'"* ]]
    [ "$("$ATOMIC" upgrade --check --json | jq -c '[.schema, .available, .packages.changed]')" = \
        '["atomic.upgrade-check/1",true,[{"name":"curl","arch":"amd64","to":"1:7.88-2","from":"1:7.88-1"}]]' ]
    run --separate-stderr "$ATOMIC" upgrade -q
    [ "$status" -eq 0 ] && [[ $output == *"$expected" ]]
    run --separate-stderr "$ATOMIC" rollback
    [[ $output == *"Added:"*"  make-4.3.amd64"* ]]
}

@test "what can't be deployed changes nothing and says why" {
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    state=$(find sys/atomic/deploy sys/boot | sort)
    refuses() {
        local words=$1
        shift
        run "$ATOMIC" "$@"
        echo "$output"
        [ "$status" -eq 1 ] && [[ $output == *"$words"* ]] && [ "$(find sys/atomic/deploy sys/boot | sort)" = "$state" ]
    }
    refuses "there is no other deployment to roll back to" rollback
    refuses "nowhere" deploy nowhere:test/tree
    refuses "no/such" deploy origin:no/such
    refuses "origin" deploy origin
    refuses "'12' is no commit" deploy origin:test/tree=12
    refuses "can't be a kernel argument" deploy --karg atomic=x origin:test/tree
    refuses "has no OS 'other'" deploy --os other origin:test/tree
    rm -r t2/usr/lib/modules
    publish t2
    refuses "the tree has no kernel" upgrade
    make_tree t3 3
    rm -r t3/usr/etc
    publish t3
    refuses "the tree has no /usr/etc" upgrade
    make_tree t4 4
    rm t4/usr/etc/mine-changed
    mkdir t4/usr/etc/mine-changed
    publish t4
    echo mine >"sys/atomic/deploy/$one.0/etc/mine-changed"
    refuses "'/etc/mine-changed' newly defaults to directory, cannot merge" upgrade
    [[ $output == *"hint: "* ]]
    mkdir empty
    run "$ATOMIC" status --sysroot empty
    [ "$status" -eq 1 ] && [[ $output == *"'empty' is no host"*"hint: "*"atomic host init"* ]]
    run "$ATOMIC" upgrade --sysroot empty
    [ "$status" -eq 1 ] && [[ $output == *"'empty' is no host"* ]]
    "$ATOMIC" host init --sysroot fresh --os x --reserve none
    run "$ATOMIC" upgrade --sysroot fresh
    [ "$status" -eq 1 ] && [[ $output == *"nothing is deployed"* ]]
}

# Mounts a fresh ext4 of this size at sys/boot with what is in boot/.
mount_boot() {
    rm -f boot.img
    truncate -s "$1" boot.img && mkfs.ext4 -q -m 0 boot.img && mount -o loop boot.img sys/boot && cp -a boot/. sys/boot
}

@test "a boot filesystem of its own: no room is said with figures before anything is written; entries; freezing" {
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    make_tree t3 3
    head -c 3000000 /dev/urandom >t3/usr/lib/modules/6.1.0/vmlinuz
    three=$(publish t3)
    cp -a sys/boot boot
    mount_boot 3M || skip "can't mount here"
    run "$ATOMIC" upgrade
    echo "$output"
    [ "$status" -eq 1 ] && [[ $output =~ "not enough space in '"[^\']*"/boot': "[0-9.]+" MB needed, "[0-9.]+" MB available" ]]
    [ "$(commits)" = "$one" ]
    umount sys/boot
    mount_boot 16M
    frozen=(strace -f -qq -e trace=ioctl -o trace)
    command -v strace || frozen=()
    "${frozen[@]}" "$ATOMIC" upgrade -q
    [ "$(commits)" = "$three $one" ]
    # entries name the kernel from the root of its filesystem
    kernel=$(sed -n 's/^linux //p' sys/boot/loader/entries/atomic-2.conf)
    [[ $kernel == /atomic/* ]]
    cmp "sys/boot$kernel" t3/usr/lib/modules/6.1.0/vmlinuz
    # what a boot loader reads, which replays no journal, is the new list: nothing is left in the journal
    [ ! -e trace ] || { grep -q 'FIFREEZE.* = 0' trace && grep -q 'FITHAW.* = 0' trace; }
    touch sys/boot/thawed
}

@test "a damaged deployment can be seen and left" {
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    two=$(publish t2)
    "$ATOMIC" upgrade -q
    echo nonsense >"sys/atomic/deploy/$two.0/deployment"
    [[ $("$ATOMIC" status) == *"* -"*"${two:0:10}"*"(damaged)"*"${one:0:10}"* ]]
    run "$ATOMIC" upgrade
    [ "$status" -eq 1 ] && [[ $output == *"is damaged"*"hint: 'atomic rollback'"* ]]
    run "$ATOMIC" rollback
    [ "$status" -eq 0 ] && [ "$(commits)" = "$one $two" ]
    grep -q "^title Test OS (atomic:1)$" sys/boot/loader/entries/atomic-1.conf
    "$ATOMIC" upgrade -q
    [ "$(deployments | xargs)" = "$two.1 $one.0" ]
    # one that a newer version wrote is not touched
    sed -i s/min_reader=1/min_reader=2/ "sys/atomic/deploy/$two.1/deployment"
    run "$ATOMIC" status
    [ "$status" -eq 1 ] && [[ $output == *"newer atomic"* ]]
}

@test "status is for everybody, whatever the umask of who deployed" {
    server
    umask 077
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    chmod 755 . ..
    [ -n "$(find / -maxdepth 0 -perm -5)" ] || skip "/ is private"
    run setpriv --reuid=65534 --regid=65534 --clear-groups find sys -path sys/atomic/store -prune -o -path '*/etc/*' -prune -o -print
    [[ $output == *"sys/boot/loader.1/entries/atomic-1.conf"* ]] || skip "the work directory is private"
    run setpriv --reuid=65534 --regid=65534 --clear-groups cat sys/boot/loader/entries/atomic-1.conf "sys/atomic/deploy/$one.0/deployment"
    [ "$status" -eq 0 ]
    run setpriv --reuid=65534 --regid=65534 --clear-groups "$ATOMIC" rollback
    [ "$status" -eq 1 ] || [ "$status" -eq 126 ]
}

@test "one change at a time: the other is told who" {
    server
    host sys
    flock -x sys/atomic/lock -c 'echo "4711 atomic upgrade" >sys/atomic/lock; touch held; sleep 15' 3>&- &
    holder=$!
    until [ -e held ]; do sleep 0.02; done
    run "$ATOMIC" deploy origin:test/tree
    kill $holder 2>/dev/null || true
    [ "$status" -eq 1 ] && [[ $output == *"held by 'atomic upgrade' (process 4711)"* ]]
}

@test "interrupted while receiving: kept, resumed, exit 130" {
    server
    host sys
    head -c 20000000 /dev/urandom >t1/usr/bin/large
    for i in $(seq 500); do echo "$i $RANDOM" >t1/usr/bin/file$i; done
    publish t1
    "$ATOMIC" deploy origin:test/tree >out 2>err 3>&- &
    pid=$!
    until grep -q Receiving err || ! kill -0 $pid 2>/dev/null; do sleep 0.005; done
    kill -INT $pid 2>/dev/null || true
    status=0
    wait $pid || status=$?
    cat out err
    if [ "$status" -eq 130 ]; then
        grep -q "interrupted; what was received is kept, run 'atomic deploy origin:test/tree' again to resume" err
        [ "$(deployments)" = "" ]
        "$ATOMIC" deploy -q origin:test/tree
    fi
    [ "$(deployments | wc -l)" -eq 1 ]
}

# Kills the upgrade (or rollback) at its N-th call of one kind, for every N: the list is the old or the new one, it
# can be read, and the next upgrade works.
@test "killed at any moment: the old list or the new one, and the next upgrade succeeds" {
    command -v strace || skip "needs strace"
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    edit_etc "sys/atomic/deploy/$one.0/etc"
    two=$(publish t2)
    mv sys before
    points=0 old=0 new=0
    for call in renameat,renameat2,rename symlinkat,symlink fsync,syncfs,fdatasync unlinkat,unlink; do
        for n in $(seq 60); do
            rm -rf sys
            cp -a before sys
            strace -f -qq -o trace -e trace=$call -e "inject=$call:signal=KILL:when=$n" "$ATOMIC" upgrade -q >/dev/null 2>&1 &&
                ! grep -q 'killed by SIGKILL' trace && break
            points=$((points + 1))
            case $(commits) in
            "$one") old=$((old + 1)) ;;
            "$two $one") new=$((new + 1)) ;;
            *) echo "$call $n: $(commits)"; false ;;
            esac
            "$ATOMIC" upgrade -q >/dev/null || { echo "$call $n: the next upgrade failed"; false; }
            [ "$(commits)" = "$two $one" ]
            # what the kill left is gone, also when nothing was new any more
            for dir in deploy store/images/refs/deploy store/streams/refs/deploy; do
                [ "$(ls "sys/atomic/$dir" | wc -l)" -eq 2 ] || { echo "$call $n"; ls "sys/atomic/$dir"; false; }
            done
            [ -z "$(ls sys/atomic/store/staging)" ]
            garbage=$("$ATOMIC" store gc --dry-run -q --store sys/atomic/store)
            [ "$garbage" = "Would free objects: 0 bytes" ] || { echo "$call $n: $garbage"; false; }
            "$ATOMIC" rollback -q >/dev/null
            "$ATOMIC" store fsck --store sys/atomic/store >/dev/null || { echo "$call $n: fsck"; false; }
        done
    done
    echo "# $points points: $old old, $new new" >&3
    [ "$old" -gt 0 ] && [ "$new" -gt 0 ]
}

# The N-th sync, write of metadata or creation fails: said with status 1, the list is the old or the new one.
@test "a failing disk at any moment: an error, the old list or the new one, and the next upgrade succeeds" {
    command -v strace || skip "needs strace"
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    edit_etc "sys/atomic/deploy/$one.0/etc"
    two=$(publish t2)
    mv sys before
    points=0
    for fault in fsync:error=EIO syncfs:error=EIO mkdirat:error=ENOSPC symlinkat:error=ENOSPC renameat:error=ENOSPC; do
        for n in 1 2 3 5 8 13 21 34; do
            rm -rf sys
            cp -a before sys
            status=0
            strace -f -qq -o trace -e "trace=${fault%%:*}" -e "inject=$fault:when=$n" "$ATOMIC" upgrade -q >out 2>err || status=$?
            grep -q INJECTED trace || break
            points=$((points + 1))
            [ "$status" -eq 1 ] || grep -q '^warning: ' err || { echo "$fault $n: status $status"; cat out err; false; }
            [ "$status" -ne 1 ] || grep -q '^atomic: ' err
            after=$(commits)
            [ "$after" = "$one" ] || [ "$after" = "$two $one" ] || { echo "$fault $n: $after"; false; }
            "$ATOMIC" upgrade -q >/dev/null || { echo "$fault $n: the next upgrade failed"; false; }
            [ "$(commits)" = "$two $one" ]
            "$ATOMIC" store fsck --store sys/atomic/store >/dev/null || { echo "$fault $n: fsck"; false; }
        done
    done
    [ "$points" -gt 10 ]
}

@test "a rollback killed at any moment: one order or the other" {
    command -v strace || skip "needs strace"
    server
    host sys
    "$ATOMIC" deploy -q origin:test/tree
    two=$(publish t2)
    "$ATOMIC" upgrade -q
    mv sys before
    points=0
    for call in renameat,renameat2,rename symlinkat,symlink fsync,syncfs,fdatasync unlinkat,unlink; do
        for n in $(seq 60); do
            rm -rf sys
            cp -a before sys
            strace -f -qq -o trace -e trace=$call -e "inject=$call:signal=KILL:when=$n" "$ATOMIC" rollback >/dev/null 2>&1 &&
                ! grep -q 'killed by SIGKILL' trace && break
            points=$((points + 1))
            after=$(commits)
            [ "$after" = "$one $two" ] || [ "$after" = "$two $one" ] || { echo "$call $n: $after"; false; }
            "$ATOMIC" rollback >/dev/null
            [ "$(commits)" = "$(echo "$after" | awk '{ print $2, $1 }')" ]
        done
    done
    [ "$points" -gt 5 ]
}
