# SPDX-License-Identifier: LGPL-2.1-or-later
# Tars of every writer at hand: their bytes come back from the split stream, their tree is what the writer extracts, and what
# we write the others extract.

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    export ATOMIC_LIBEXEC=${ATOMIC%/*} # where tar-stream, which is elsewhere, finds the decompressor
    cd "$BATS_TEST_TMPDIR"
}

# A directory with what a tar can say; times of whole seconds unless the format has more.
make_tree() {
    local long
    long=$(printf 'n%.0s' {1..150})
    mkdir -p tree/usr/bin "tree/$long/$long" tree/empty
    head -c 100000 /dev/urandom >tree/usr/bin/big
    head -c 1500000 /dev/urandom >tree/usr/bin/bigger
    ln tree/usr/bin/big tree/usr/bin/hard
    printf '%064d' 0 >tree/inline
    printf '%065d' 0 >tree/object
    : >tree/nothing
    echo deep >"tree/$long/$long/file"
    ln -s "$long/$long/$long" tree/longlink
    ln -s usr/bin tree/bin
    ln "tree/$long/$long/file" tree/hard-long
    mkfifo tree/fifo
    mknod tree/null c 1 3
    mknod tree/disk b 8 1
    chmod 4755 tree/usr/bin/big
    chmod 1777 tree/empty
    chown 1000:1001 tree/inline
    touch -h -d '2014-10-08 12:00:00 UTC' tree/inline tree/bin
    find tree -depth -newermt 2015-01-01 -exec touch -h -d '2020-01-01 00:00:00 UTC' {} +
}

# The stream of the tar gives the tar, and the tree is that of the directory, judged by the image's digest.
same() {
    "$ATOMIC_TEST_BIN/tar-stream" store "$1" >back.tar
    cmp "$1" back.tar
    [ "$("$ATOMIC" store import --tar "$1")" = "$("$ATOMIC" store import --dir "$2")" ]
}

# A root that the archive doesn't have (or that bsdtar leaves as it is) is as a tree without one has it, or as $2 says.
extract() {
    local root=${2:-@0}
    rm -rf out
    mkdir out
    if [ "${extractor:-}" = bsdtar ]; then
        bsdtar --xattrs -C out -xpf "$1"
        touch -d "$root" out
    else
        tar --xattrs --xattrs-include='*' -C out -xpf "$1" 2>/dev/null
        tar -tf "$1" 2>/dev/null | grep -qx ./ || touch -d "$root" out
    fi
}

@test "every format of GNU tar: the bytes from the stream, the tree that it extracts" {
    make_tree
    for format in v7 oldgnu gnu ustar pax; do
        # v7 and ustar can't say everything: what they refuse is not in the archive
        tar -C tree --format=$format --warning=no-all -cf $format.tar . 2>/dev/null || true
        [ "$(tar -tf $format.tar | wc -l)" -gt 10 ]
        extract $format.tar
        same $format.tar out
    done
    tar -tf pax.tar | grep -q longlink
}

@test "extended attributes, capabilities and nanoseconds in pax" {
    make_tree
    setfattr -n user.note -v 'a=b' tree/inline
    setfattr -n user.empty tree/inline
    setcap cap_net_raw+ep tree/usr/bin/bigger
    touch -d '2001-02-03 04:05:06.123456789 UTC' tree/object
    tar -C tree --format=pax --xattrs --xattrs-include='*' -cf pax.tar .
    same pax.tar tree
    "$ATOMIC" store import --tar pax.tar --name x
    "$ATOMIC" store export x --dump - | grep '^/object .* 981173106.123456789 '
    # GNU tar's own kind: times as decimal numbers with more digits, global headers
    tar -C tree --format=posix --pax-option=globexthdr.name=g,comment=hello,mtime=12345.5 -cf global.tar inline object
    extract global.tar
    same global.tar out
}

@test "record padding, blocking factors, no end mark, and what stands behind it" {
    make_tree
    for factor in 1 2 7 20 128; do
        tar -C tree -b $factor -cf b.tar usr inline
        extract b.tar
        same b.tar out
    done
    # behind the end mark
    { cat b.tar; head -c 12345 /dev/urandom; } >garbage.tar
    same garbage.tar out
    { cat b.tar; cat b.tar; } >twice.tar
    same twice.tar out
    # no end mark; one zero block; half a record
    tar -C tree -b1 -cf end.tar usr inline
    size=$(($(stat -c %s end.tar) - 1024))
    head -c $size end.tar >none.tar
    same none.tar out
    head -c $((size + 512)) end.tar >one.tar
    same one.tar out
    head -c $((size + 700)) end.tar >half.tar
    same half.tar out
    # padding that is not zero: behind a file that is an object, and behind one that is inline
    tar -C tree -b1 -cf pad.tar object inline
    printf 'these are not zeros' | dd of=pad.tar bs=1 seek=$((512 + 65)) conv=notrunc status=none
    printf 'nor are these' | dd of=pad.tar bs=1 seek=$((512 * 3 + 64)) conv=notrunc status=none
    extract pad.tar
    same pad.tar out
    : >empty.tar
    run "$ATOMIC" store import --tar empty.tar
    [ "$status" -eq 1 ]
    [[ $output == *"cannot import 'empty.tar': the file is empty"* ]]
    tar -cf nothing.tar -T /dev/null
    "$ATOMIC_TEST_BIN/tar-stream" store nothing.tar | cmp - nothing.tar
}

@test "numbers: binary ids and sizes, times before 1970" {
    echo x >early
    touch -d '1960-01-01 UTC' early
    chown 3000000:4000000000 early
    tar --format=gnu -cf early.tar early
    tar --format=pax -cf early-pax.tar early
    for tar in early.tar early-pax.tar; do
        "$ATOMIC_TEST_BIN/tar-stream" store $tar | cmp - $tar
        "$ATOMIC" store import --tar $tar --name early
        "$ATOMIC" store export early --dump - | grep -qx '/early 2 100644 1 3000000 4000000000 0 0\.0 - x\\n -'
    done
}

sparse_files() {
    mkdir -p tree
    truncate -s 1M tree/hole
    truncate -s 10M tree/data-at-the-end
    echo end >>tree/data-at-the-end
    echo begin >tree/data-at-the-start
    truncate -s 5000001 tree/data-at-the-start
    for i in $(seq 0 120); do # more pieces than the header and five blocks of extension hold
        printf 'piece %d' "$i" | dd of=tree/many bs=1 seek=$((i * 65536)) conv=notrunc status=none
    done
    truncate -s 20G tree/huge
    printf x | dd of=tree/huge bs=1 seek=15G conv=notrunc status=none
    echo dense >tree/dense
    find tree -depth -exec touch -d '2020-01-01 00:00:00 UTC' {} +
}

@test "sparse files: GNU's and each version of pax, whole in the stream, expanded in the tree" {
    sparse_files
    rm tree/huge # reading it for the import of the directory takes too long
    touch -d '2020-01-01 00:00:00 UTC' tree
    digest=$("$ATOMIC" store import --dir tree)
    for format in 'oldgnu' 'gnu' 'pax --sparse-version=0.0' 'pax --sparse-version=0.1' 'pax --sparse-version=1.0'; do
        tar -C tree -S --format=$format --sort=name -cf sparse.tar .
        [ "$(stat -c %s sparse.tar)" -lt 2000000 ]
        "$ATOMIC_TEST_BIN/tar-stream" store sparse.tar >back.tar
        cmp sparse.tar back.tar
        [ "$("$ATOMIC" store import --tar sparse.tar)" = "$digest" ]
    done
    bsdtar -C tree --format pax --read-sparse -cf bsd.tar .
    "$ATOMIC_TEST_BIN/tar-stream" store bsd.tar | cmp - bsd.tar
    [ "$("$ATOMIC" store import --tar bsd.tar)" = "$digest" ]
}

@test "a hole costs nothing: 20 GiB of them in no space, their digest right; more than 64 GiB are refused" {
    sparse_files
    tar -C tree -S -cf sparse.tar huge
    "$ATOMIC" store import --tar sparse.tar --name huge
    [ "$(du -s --block-size=1M store | cut -f1)" -lt 20 ]
    "$ATOMIC" store export huge --dump - | grep -q '^/huge 21474836480 '
    "$ATOMIC" store fsck
    object=$("$ATOMIC" store ls huge /huge --json | jq -r '.files[0].object')
    dd if="store/objects/${object:0:2}/${object:2}" bs=1 skip=15G count=1 status=none | grep -qx x
    truncate -s 1T tree/terabyte
    tar -C tree -S -cf terabyte.tar terabyte
    run "$ATOMIC" store import --tar terabyte.tar
    [ "$status" -eq 1 ]
    [[ $output == *"'terabyte': its holes are larger than what one archive may claim (64 GiB in all)"* ]]
    # nor in parts
    truncate -s 40G tree/a tree/b
    tar -C tree -S -cf parts.tar a b
    run "$ATOMIC" store import --tar parts.tar
    [ "$status" -eq 1 ]
    [[ $output == *"'b': its holes are larger than"* ]]
}

@test "bsdtar's formats" {
    make_tree
    setfattr -n user.note -v 'a=b' tree/inline
    for format in pax gnutar ustar v7; do
        bsdtar -C tree --format $format -cf bsd-$format.tar . 2>/dev/null || true
        [ "$(tar -tf bsd-$format.tar | wc -l)" -gt 8 ]
        extractor=bsdtar extract bsd-$format.tar '2020-01-01 UTC'
        same bsd-$format.tar out
    done
}

@test "any compression, from a file and a pipe; the stream has what was compressed" {
    make_tree
    tar -C tree -cf plain.tar .
    gzip -k plain.tar
    bzip2 -k plain.tar
    xz -k plain.tar
    xz -k --format=lzma plain.tar
    zstd -q plain.tar
    zstd -q --long=27 plain.tar -o long.tar.zst
    lz4 -q plain.tar plain.tar.lz4
    { gzip -c plain.tar | head -c 30000; } >half.tar.gz
    # two members are one file
    { head -c 100000 plain.tar | gzip; tail -c +100001 plain.tar | gzip; } >two.tar.gz
    digest=$("$ATOMIC" store import --dir tree)
    for tar in plain.tar plain.tar.* long.tar.zst two.tar.gz; do
        [ "$("$ATOMIC" store import --tar $tar)" = "$digest" ]
        [ "$(cat $tar | "$ATOMIC" store import --tar -)" = "$digest" ]
        [ "$("$ATOMIC" store import --tar - <$tar)" = "$digest" ]
        "$ATOMIC_TEST_BIN/tar-stream" store $tar | cmp - plain.tar
    done
    # bytes that come one by one
    [ "$(dd if=plain.tar.gz bs=100 status=none | "$ATOMIC" store import --tar -)" = "$digest" ]
    before=$(find store/objects -type f | wc -l)
    run "$ATOMIC" store import --tar half.tar.gz
    [ "$status" -eq 1 ]
    [[ $output == *"cannot import 'half.tar.gz': cannot decompress the file: "* ]]
    [ "$(find store/objects -type f | wc -l)" = "$before" ]
    run "$ATOMIC" store import --tar - </dev/null
    [ "$status" -eq 1 ]
    [[ $output == *"the file is empty"* ]]
    head -c 5000 /dev/urandom >noise
    run "$ATOMIC" store import --tar noise
    [ "$status" -eq 1 ]
    [[ $output == *"cannot import 'noise': the tar has a damaged header"* ]]
}

@test "decompressing happens without rights" {
    make_tree
    tar -C tree -czf slow.tar.gz usr
    mkfifo pipe
    "$ATOMIC" store init
    "$ATOMIC" store import --tar - <pipe >digest &
    importer=$!
    exec 7>pipe
    head -c 20000 slow.tar.gz >&7
    # it waits for more
    for _ in $(seq 100); do
        child=$(pgrep -P $importer atomic-decompr) && grep -q '^Seccomp:	2' /proc/$child/status && break
        sleep 0.05
    done
    status=$(cat /proc/$child/status)
    files=$(ls -l /proc/$child/fd)
    tail -c +20001 slow.tar.gz >&7
    exec 7>&-
    wait $importer
    grep -q '^Uid:	65534	65534	65534	65534$' <<<"$status"
    grep -q '^Groups:	 *$' <<<"$status"
    grep -q '^NoNewPrivs:	1$' <<<"$status"
    grep -q '^CapEff:	0000000000000000$' <<<"$status"
    grep -q '^Seccomp:	2$' <<<"$status"
    # nothing of the store is open in it
    [[ $files != *"$ATOMIC_STORE"* ]]
    [ "$(cat digest)" = "$("$ATOMIC" store import --tar slow.tar.gz)" ]
}

@test "what we export GNU tar and bsdtar extract to the same tree" {
    make_tree
    setfattr -n user.note -v 'a=b' tree/inline
    setcap cap_net_raw+ep tree/usr/bin/bigger
    touch -d '2001-02-03 04:05:06.123456789 UTC' tree/object
    touch -h -d '2001-02-03 04:05:06.987654321 UTC' tree/bin
    chown 3000000:4000000000 tree/object
    touch "tree/$(printf 'not utf-8: \377')" "$(printf 'tree/new\nline')" 'tree/ blank ' 'tree/back\slash' tree/-dash
    touch -d '2020-01-01 00:00:00 UTC' tree
    digest=$("$ATOMIC" store import --dir tree --name x)
    "$ATOMIC" store export x --tar a.tar
    "$ATOMIC" store export x --tar - >b.tar
    cmp a.tar b.tar
    "$ATOMIC" store export x --tar - | cat >>c.tar
    cmp a.tar c.tar
    # a file that is opened for appending
    : >d.tar
    "$ATOMIC" store export x --tar - >>d.tar
    cmp a.tar d.tar
    [ "$("$ATOMIC" store import --tar a.tar)" = "$digest" ]
    extract a.tar
    [ "$("$ATOMIC" store import --dir out)" = "$digest" ]
    extractor=bsdtar extract a.tar '2020-01-01 UTC'
    [ "$("$ATOMIC" store import --dir out)" = "$digest" ]
    "$ATOMIC_TEST_BIN/tar-stream" store a.tar | cmp - a.tar
}

@test "a file of more than 8 GiB goes out and comes in, in little memory" {
    mkdir tree
    truncate -s 9G tree/large
    echo end >>tree/large
    tar -C tree -S -cf sparse.tar .
    digest=$("$ATOMIC" store import --tar sparse.tar --name x)
    # the tar of 9 GiB is not kept: it goes through
    (ulimit -v 400000 && "$ATOMIC" store export x --tar -) | tar -tvf - >list
    grep -q ' 9663676420 .* ./large$\| 9663676420 .* large$' list
    "$ATOMIC" store export x --tar - | head -c 2048 | grep -q 'size=9663676420'
    [ -n "$digest" ]
}

@test "exporting into a pipe that nobody reads, or onto a full disk, fails" {
    make_tree
    "$ATOMIC" store import --dir tree --name x
    set +e
    "$ATOMIC" store export x --tar - 2>err | true
    status=${PIPESTATUS[0]}
    (trap '' PIPE; "$ATOMIC" store export x --tar - 2>err | true; echo "${PIPESTATUS[0]}" >ignored)
    "$ATOMIC" store export x --tar - >/dev/full 2>full
    full=$?
    set -e
    [ "$status" -ne 0 ]
    [ "$(cat ignored)" -eq 1 ]
    grep -q 'Broken pipe' err
    [ "$full" -eq 1 ]
    grep -q 'No space left on device' full
}

@test "an unprivileged user imports compressed tars too" {
    make_tree
    tar -C tree --exclude=null --exclude=disk -czf x.tar.gz .
    digest=$("$ATOMIC" store import --tar x.tar.gz)
    # the programs are copied: the checkout may be where others can't look
    top=$(mktemp -d)
    chmod 755 "$top"
    cp -a "$(dirname "$ATOMIC")" "$top/bin"
    install -d -o 65533 "$top/own"
    run setpriv --reuid=65533 --clear-groups "$top/bin/atomic" store import --store "$top/own/store" --tar - <x.tar.gz
    rm -rf "$top"
    [ "$status" -eq 0 ]
    [ "$output" = "$digest" ]
}
