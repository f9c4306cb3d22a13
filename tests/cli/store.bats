# SPDX-License-Identifier: LGPL-2.1-or-later
# The store group: what goes in comes out again, names keep, garbage goes, damage is found.

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    cd "$BATS_TEST_TMPDIR"
}

# A directory with a bit of everything.
make_tree() {
    mkdir -p tree/usr/bin tree/etc
    head -c 100000 /dev/urandom >tree/usr/bin/big
    ln tree/usr/bin/big tree/usr/bin/hard
    echo atomic >tree/etc/hostname
    ln -s usr/bin tree/bin
    mkfifo tree/etc/fifo
    chmod 4755 tree/usr/bin/big
    touch -d '2014-10-08 12:00:00 UTC' tree/etc/hostname tree/etc tree
}

data=${BATS_TEST_DIRNAME:-.}/../data/composefs

@test "there is no store until it is made, and the hint says how" {
    run "$ATOMIC" store ls
    [ "$status" -eq 1 ]
    [[ $output == *"there is no store in '$ATOMIC_STORE'"*"hint: make one with 'atomic store init"* ]]
    "$ATOMIC" store init
    "$ATOMIC" store init
    [ "$(stat -c %a store)" = 700 ]
    jq -e '.version == 1 and .algorithm == "fsverity-sha256-12"' store/meta.json
}

@test "dumps give the digests that mkcomposefs gives, and come out as they went in" {
    while IFS=$'\t' read -r name versions size sha verity; do
        [ "$versions" = 1,1 ] || continue
        digest=$("$ATOMIC" store import --dump "$data/$name.dump")
        [ "$digest" = "$verity" ]
        [ "$(sha256sum <"store/images/$digest" | cut -d' ' -f1)" = "$sha" ]
        "$ATOMIC" store export "$digest" --dump out.dump
        [ "$name" = v5-hardlinks ] || [ "$("$ATOMIC" store import --dump - <out.dump)" = "$verity" ]
    done <"$data/expected.tsv"
}

@test "a directory comes back from a tar, a dump and a directory" {
    make_tree
    digest=$("$ATOMIC" store import --dir tree --name a/tree)
    [[ $digest =~ ^[0-9a-f]{64}$ ]]
    [ "$("$ATOMIC" store import --dir tree)" = "$digest" ]
    "$ATOMIC" store export a/tree --dir out
    diff -r -x fifo --no-dereference tree out
    [ "$(stat -c '%a %h' out/usr/bin/hard)" = '4755 2' ]
    [ "$("$ATOMIC" store import --dir out)" = "$digest" ]
    "$ATOMIC" store export a/tree --tar - >out.tar
    gzip -k out.tar
    [ "$("$ATOMIC" store import --tar out.tar)" = "$digest" ]
    [ "$("$ATOMIC" store import --tar out.tar.gz)" = "$digest" ]
    mkdir tarred
    tar -C tarred -xf out.tar
    [ "$("$ATOMIC" store import --dir tarred)" = "$digest" ]
    "$ATOMIC" store export a/tree --dump - | "$ATOMIC" store import --dump - | grep -q "$digest"
}

@test "what GNU tar writes is read in all its formats" {
    make_tree
    mkdir -p "tree/$(printf 'long%.0s' {1..40})/$(printf 'name%.0s' {1..40})"
    for format in gnu pax ustar oldgnu; do
        [ "$format" != ustar ] || rm -rf tree/long*
        tar --format=$format -C tree -cf "$format.tar" .
        "$ATOMIC" store import --tar "$format.tar" --name "$format"
        "$ATOMIC" store export "$format" --dir "out-$format"
        diff -r -x fifo --no-dereference tree "out-$format"
    done
}

@test "ls and cat look into an image" {
    make_tree
    "$ATOMIC" store import --dir tree --name t
    [[ $("$ATOMIC" store ls) == *" t" ]]
    "$ATOMIC" store ls t /usr/bin | grep -q '^-rwsr-xr-x .* 100000 /usr/bin/big$'
    "$ATOMIC" store ls t | grep -q '/bin -> usr/bin$'
    [ "$("$ATOMIC" store ls --json t /usr/bin | jq '.files | length')" = 2 ]
    [ "$("$ATOMIC" store ls --json | jq -r '.images[0].name')" = t ]
    [ "$("$ATOMIC" store cat t etc/hostname)" = atomic ]
    "$ATOMIC" store cat t /bin/big | cmp - tree/usr/bin/big
    run "$ATOMIC" store cat t /none
    [ "$status" -eq 1 ]
    [ "$output" = "atomic: there is no '/none' in 't'" ]
    run "$ATOMIC" store cat none /x
    [ "$output" = "atomic: there is no image 'none' in the store
hint: 'atomic store ls' lists the images, 'atomic tree refs' the branches" ]
    mkdir full && touch full/x
    run "$ATOMIC" store export t --dir full
    [ "$status" -eq 1 ]
    [ "$output" = "atomic: cannot export into 'full': the directory is not empty" ]
    run "$ATOMIC" store import --dump tree/bin/big
    [ "$status" -eq 1 ]
    [[ $output == "atomic: cannot import 'tree/bin/big': line 1 of the dump: "* ]]
    run "$ATOMIC" store unmount full
    [ "$status" -eq 1 ]
    [ "$output" = "atomic: cannot unmount 'full': nothing is mounted there" ]
}

@test "an image is mounted read-only, without setuid" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    make_tree
    "$ATOMIC" store import --dir tree --name t
    mkdir mnt
    "$ATOMIC" store mount t mnt || skip "cannot mount here"
    run diff -r -x fifo --no-dereference tree mnt
    options=$(findmnt -no OPTIONS mnt)
    "$ATOMIC" store unmount mnt
    [ "$status" -eq 0 ]
    [[ $options == ro,nosuid,nodev* ]]
}

@test "garbage goes, what has a name stays" {
    make_tree
    "$ATOMIC" store import --dir tree --name t
    head -c 5000 /dev/zero >tree/other
    "$ATOMIC" store import --dir tree
    before=$(find store/objects -type f | wc -l)
    [[ $("$ATOMIC" store gc --dry-run --quiet) == "Would free objects: "* ]]
    [ "$(find store/objects -type f | wc -l)" = "$before" ]
    [ "$("$ATOMIC" store gc --json | jq .objects)" = 2 ]
    [ "$("$ATOMIC" store gc --quiet)" = "Freed objects: 0 bytes" ]
    "$ATOMIC" store fsck
    "$ATOMIC" store cat t /usr/bin/big | cmp - tree/usr/bin/big
}

@test "fsck finds damaged and missing objects" {
    make_tree
    "$ATOMIC" store import --dir tree --name t
    object=$("$ATOMIC" store ls --json t /usr/bin | jq -r '.files[0].object')
    echo damage >>"store/objects/${object:0:2}/${object:2}"
    run "$ATOMIC" store fsck
    [ "$status" -eq 1 ]
    [[ $output == *"object '$object' is damaged"* ]]
    rm "store/objects/${object:0:2}/${object:2}"
    run "$ATOMIC" store fsck --json
    [ "$status" -eq 1 ]
    [ "$(jq -r '.problems[0] | [.kind, .object, .needed_by[0]] | join(" ")' <<<"$output")" = \
        "missing $object images/refs/t: /usr/bin/big" ]
}

@test "a tar that would escape is refused" {
    mkdir a
    echo x >a/x
    tar -P -C a -cf bad.tar --transform 's,^,../,' x
    run "$ATOMIC" store import --tar bad.tar
    [ "$status" -eq 1 ]
    [ "$output" = "atomic: cannot import 'bad.tar': '../x': a name in the tar would escape: it has '..'" ]
    head -c 1000 bad.tar >short.tar
    run "$ATOMIC" store import --tar short.tar
    [ "$status" -eq 1 ]
}

@test "wrong words are usage errors" {
    run "$ATOMIC" store import --dir a --tar b
    [ "$status" -eq 2 ]
    run "$ATOMIC" store export x
    [ "$status" -eq 2 ]
    run "$ATOMIC" store gc extra
    [ "$status" -eq 2 ]
}

# A root that can't be read for a moment must not look like no root: what it needs would be collected.
@test "gc on a failing disk removes nothing that is needed" {
    command -v strace || skip "needs strace"
    make_tree
    rm tree/etc/fifo
    "$ATOMIC" store init
    "$ATOMIC" store import --dir tree --name kept
    "$ATOMIC" store import --dir tree/usr --name deep/er/kept
    "$ATOMIC" store import --dir tree/etc
    "$ATOMIC" tree commit --ref b --dir tree
    cp -a store before
    points=0
    for fault in readlinkat:error=EIO openat:error=EIO faccessat:error=EIO faccessat2:error=EIO getdents64:error=EIO newfstatat:error=EIO unlinkat:error=EIO; do
        # marking is done twice, so the fault stays
        for n in 1+ 2+ 3+ 4+ 5+ 6+ 8+ 10+ 12+ 14+ 17+ 20+ 25+ 30+ 35+ 40+; do
            rm -rf store
            cp -a before store
            status=0
            strace -f -qq -o trace -e "trace=${fault%%:*}" -e "inject=$fault:when=$n" "$ATOMIC" store gc >out 2>err || status=$?
            grep -q INJECTED trace || break
            points=$((points + 1))
            "$ATOMIC" store fsck >fsck || { echo "$fault $n (status $status)"; cat err fsck; false; }
        done
    done
    [ "$points" -gt 20 ]
}
