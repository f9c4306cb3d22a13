# SPDX-License-Identifier: LGPL-2.1-or-later
# What `make install` puts in place runs from there, also when the tree was moved after that.

bats_require_minimum_version 1.5.0
load examples.bash

setup_file() {
    export TREE=$BATS_FILE_TMPDIR/tree
    cd "$BATS_TEST_DIRNAME/../.."
    build=${ATOMIC%/bin/atomic}
    prefix=$(meson introspect "$build" --buildoptions | jq -r '.[] | select(.name == "prefix").value')
    make -o build install BUILD="$build" DESTDIR="$TREE" PREFIX="$prefix" >"$BATS_FILE_TMPDIR/log" 2>&1
    export P=$TREE$prefix
    unset ATOMIC_LIBEXEC
}

@test "the programs are where they belong, and no docker" {
    [ "$(ls "$P/bin")" = atomic ]
    for program in store compose build serve fetch seccomp monitor; do
        [ -x "$P/libexec/atomic/atomic-$program" ]
    done
}

@test "the installed program finds its helpers" {
    cd "$BATS_TEST_TMPDIR"
    export ATOMIC_STORE=$PWD/store
    mkdir -p tree/etc
    echo hello >tree/etc/file
    "$P/bin/atomic" store init
    "$P/bin/atomic" tree commit --ref test --dir tree
    [ "$("$P/bin/atomic" tree cat test /etc/file)" = hello ]
    printf 'FROM scratch\nCOPY tree /\n' >Dockerfile
    "$P/bin/atomic" build -q -t image .
    ln -s "$P/bin/atomic" docker
    [[ $(./docker images) == *image*latest* ]]
    run "$P/bin/atomic" compose tree nosuch
    [[ $output == "atomic: cannot open '"*"/nosuch': "* ]]
    "$P/bin/atomic" tree publish --repo repo test
    "$P/bin/atomic" tree serve --repo repo --listen 127.0.0.1:0 >url 3>&- &
    server=$!
    for _ in $(seq 200); do
        [ -s url ] && break
        sleep 0.02
    done
    "$P/bin/atomic" tree remote add --store client --no-verify origin "$(cat url)"
    run "$P/bin/atomic" tree pull --store client origin:test
    kill "$server"
    [ "$status" -eq 0 ]
}

@test "the manual page has every command that is there, in order for man" {
    page=$P/share/man/man1/atomic.1
    while IFS=$'\t' read -r group verb program rest; do
        [[ $program != later && $program != =* ]] || continue
        [ "$group" != - ] || group=
        grep -q "^\.SS \"atomic ${group:+$group }${verb//-/\\\\-}\"$" "$page" || { echo "$group $verb"; false; }
    done < <("$P/bin/atomic" help --table)
    [ "$(LC_ALL=C grep -c '[^ -~]' "$page")" -eq 0 ]
    if type groff >/dev/null 2>&1; then
        run groff -man -ww -z "$page"
        [ -z "$output" ] || { echo "$output"; false; }
    fi
}

@test "the manual page tells about the store, and its example prints what it says" {
    cd "$BATS_TEST_TMPDIR"
    page=$P/share/man/man1/atomic.1
    for text in '^\.SH THE STORE$' '^\.B objects/XX/REST$' '^\.B ATOMIC_STORE$' '^\.B ATOMIC_THREADS$'; do
        grep -qE "$text" "$page" || { echo "not there: $text"; false; }
    done
    [ "$(id -u)" = 0 ] || skip "the files of the example are root's"
    export ATOMIC_STORE=$PWD/store LC_ALL=C
    umask 022
    mkdir -p rootfs/etc rootfs/usr/bin
    echo atomic >rootfs/etc/hostname
    seq 100 >rootfs/usr/bin/numbers
    ln rootfs/usr/bin/numbers rootfs/usr/bin/again
    ln -s bin/numbers rootfs/usr/link
    find rootfs -depth -exec touch -h -d '2014-10-08 12:00:00 UTC' {} +
    example=$BATS_TEST_DIRNAME/../../docs/man/store.example
    examples "$example" >now
    diff "$example" now
    # and that is what one reads
    sed -n '/^\.SS "Examples"/,/^\.fi/p' "$page" | sed -e '/^\./d' -e 's/\\-/-/g' -e 's/^\\&//' | diff - "$example"
}

@test "bash completes commands, options and names" {
    cd "$BATS_TEST_TMPDIR"
    export ATOMIC_STORE=$PWD/store PATH=$P/bin:$PATH
    mkdir tree
    atomic store import --dir tree --name rootfs
    complete() { # WORD...: what the last word may become
        bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _atomic; echo "${COMPREPLY[*]}"' - \
            "$P/share/bash-completion/completions/atomic" "$@"
    }
    [ "$(complete atomic upg)" = upgrade ]
    [ "$(complete atomic store im)" = import ]
    [ "$(complete atomic upgrade --allow)" = --allow-downgrade ]
    [ "$(complete atomic store ls roo)" = rootfs ]
}
