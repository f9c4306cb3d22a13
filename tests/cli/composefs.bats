# SPDX-License-Identifier: LGPL-2.1-or-later
# Directories as the real mkcomposefs sees them. The digests are those that it printed (tests/data/composefs/README says
# which one); where $MKCOMPOSEFS names it, it is asked again.

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store
    cd "$BATS_TEST_TMPDIR"
    "$ATOMIC" store init
}

# Files of the sizes about which the format decides something, every type, names and times of all sorts.
make_tree() {
    umask 022
    mkdir -p tree/usr/share tree/odd tree/-first
    for size in 0 1 63 64 65 4095 4096 4097 70000; do
        head -c $size /dev/zero | tr '\0' x >tree/usr/share/size-$size
    done
    truncate -s 5G tree/usr/sparse
    ln -s usr/share tree/link
    ln -s "$(printf '%04000d' 0)" tree/odd/long-link
    mkfifo tree/odd/fifo
    mknod tree/odd/null c 1 3
    mknod tree/odd/whiteout c 0 0
    mknod tree/odd/disk b 8 1
    printf n >tree/odd/$'na\xffme \n\\'
    printf n >"tree/odd/$(printf '%0255d' 0)"
    printf n >tree/ab
    chmod 4750 tree/usr/share/size-65
    chown 1000:70000 tree/usr/share/size-64
    setfattr -n user.label -v same tree/usr/share/size-1 tree/ab
    setfattr -n user.label tree/odd
    setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 tree/usr/share/size-70000
    find tree -exec touch -h -d '2021-02-03 04:05:06.789 UTC' {} +
    touch -d '1960-01-01 00:00:00.5 UTC' tree/usr/share/size-0
}

asked() { [ -z "${MKCOMPOSEFS:-}" ] || [ "$("$MKCOMPOSEFS" --min-version=1 --print-digest-only "$1")" = "$2" ]; }

@test "a directory gives the image that mkcomposefs makes of it" {
    make_tree
    digest=$("$ATOMIC" store import --dir tree)
    [ "$digest" = 5397bb002e036fae1c41177e8de2c67a7a3945c08c30af154c7f316f4edac107 ]
    asked tree "$digest"
}

@test "hard links stay, where mkcomposefs makes files of their own" {
    mkdir tree
    echo one >tree/a
    ln tree/a tree/b
    "$ATOMIC" store export "$("$ATOMIC" store import --dir tree)" --dump out.dump
    grep -q '^/a 4 100644 2 ' out.dump
    grep -q '^/b 4 @100644 2 .* /a ' out.dump
}

@test "what a damaged dump has wrong is said with its line, and nothing is imported" {
    printf '/ 0 40755 2 0 0 0 0.0 - - -\n/a 0 100644 1 0 0 0 0 - - -\n' >bad.dump
    run "$ATOMIC" store import --dump bad.dump --name bad
    [ "$status" -eq 1 ]
    [ "$output" = "atomic: cannot import 'bad.dump': line 2 of the dump: the time has no nanoseconds" ]
    [ -z "$(ls store/images/refs)" ]
}
