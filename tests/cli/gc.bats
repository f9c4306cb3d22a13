# SPDX-License-Identifier: LGPL-2.1-or-later
# What goes and what stays; what is wrong and how it comes back.

setup() {
    cd "$BATS_TEST_TMPDIR"
    export ATOMIC_STORE=$PWD/store
    unset ATOMIC_SYSROOT SOURCE_DATE_EPOCH http_proxy
    mkdir -p tree/usr/bin tree/usr/etc
    head -c 100000 /dev/urandom >tree/usr/bin/big
    seq 100 >tree/usr/bin/small
}

teardown() {
    [ -z "$server" ] || kill "$server"
}

path_of() { echo "store/objects/${1:0:2}/${1:2}"; }
object_of() { "$ATOMIC" store ls --json "$1" /usr/bin | jq -r ".files[] | select(.path | endswith(\"$2\")).object"; }

# damage OBJECT…
damage() {
    local object
    for object in "$@"; do
        printf "more than there was" >>"$(path_of "$object")"
    done
}

@test "gc --dry-run lists what would go, with its bytes, and leaves it" {
    image=$("$ATOMIC" store import --dir tree)
    small=$(object_of "$image" small)
    run "$ATOMIC" store gc --dry-run
    [ "$status" -eq 0 ]
    [[ $output == *"images/$image"* ]]
    [[ $output == *"objects/${small:0:2}/${small:2}"$'\t'"$(stat -c %s tree/usr/bin/small)"* ]]
    run "$ATOMIC" store gc --dry-run --json
    [ "$(jq -c '[.dry_run, .objects, .links, .kept_objects, (.removed | length)]' <<<"$output")" = '[true,3,1,0,4]' ]
    [ "$(jq .bytes <<<"$output")" = "$(find store/objects -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')" ]
    "$ATOMIC" store cat "$image" /usr/bin/big | cmp - tree/usr/bin/big
}

@test "gc --keep-younger keeps what came lately, and wants a time span" {
    image=$("$ATOMIC" store import --dir tree)
    [ "$("$ATOMIC" store gc --quiet --keep-younger 1h30m)" = "Freed objects: 0 bytes" ]
    "$ATOMIC" store cat "$image" /usr/bin/big | cmp - tree/usr/bin/big
    for span in 5 1y '' 1h30 -1h 99999999999w; do
        run "$ATOMIC" store gc --keep-younger="$span"
        [ "$status" -eq 2 ]
        [[ $output == *"is not a time span"*"hint: "* ]]
    done
    "$ATOMIC" store gc --json | jq -e '.objects == 3'
}

@test "gc --why prints the chain from each name to the object" {
    image=$("$ATOMIC" store import --dir tree --name some/tree)
    "$ATOMIC" store import --dir tree/usr --name usr
    nameless=$("$ATOMIC" store import --dir tree/usr/bin)
    big=$(object_of some/tree big)
    run "$ATOMIC" store gc --why "${big:0:8}"
    [ "$status" -eq 0 ]
    [[ $output == *"ref     images/refs/some/tree -> images/$image -> /usr/bin/big"* ]]
    [[ $output == *"ref     images/refs/usr -> images/"*" -> /bin/big"* ]]
    [[ $output == *"-       images/$nameless -> /big"* ]]
    run "$ATOMIC" store gc --why "$nameless"
    [ "$output" = "-       images/$nameless
nothing keeps object $nameless: the next collection removes it" ]
    run "$ATOMIC" store gc --why "$nameless" --keep-younger 1h
    [[ $output == *"young   objects/${nameless:0:2}/${nameless:2}"*"young   images/$nameless"* ]]
    [[ $output != *"nothing keeps"* ]]
    "$ATOMIC" store gc --why "$big" --json >why
    [ "$(jq -c '[.schema, .object, .kept]' why)" = "[\"atomic.store.why/1\",\"$big\",true]" ]
    [ "$(jq -c '[.reasons[] | .reason] | sort' why)" = '["none","ref","ref"]' ]
    [ "$(jq -c '.reasons[] | select(.chain[0] == "images/refs/usr").paths' why)" = '["/bin/big"]' ]

    # a commit's image: the stream refers to it
    "$ATOMIC" tree commit --ref host --dir tree --timestamp 1
    image=$("$ATOMIC" store gc --why "$big" --json | jq -r '.reasons[] | select(.chain[0] == "streams/refs/ostree/host").chain | join(" ")' | head -1)
    [[ $image =~ ^streams/refs/ostree/host\ streams/ostree-commit-[0-9a-f]{64} ]]

    # what agrees with a collection: all that has a reason stays
    "$ATOMIC" store gc --quiet
    run "$ATOMIC" store gc --why "$nameless"
    [[ $output == "nothing keeps object $nameless"* ]]
    for bad in abc xyzw ABCD; do
        run "$ATOMIC" store gc --why "$bad"
        [ "$status" -eq 1 ]
        [[ $output == *"is not a digest"* ]]
    done
    run "$ATOMIC" store gc --why ffffffffffffffff
    [ "$status" -eq 1 ]
    [[ $output == *"no object of the store"* ]]
}

@test "gc removes what killed processes left, and empty directories of refs" {
    "$ATOMIC" store import --dir tree --name a/b/c
    mkdir -p store/staging/00000000-0000-4000-8000-000000000000-1.2.3 store/images/refs/x/y
    echo lost >store/staging/00000000-0000-4000-8000-000000000000-1.2.3/tmp-0
    echo lost >store/objects/.tmp-object-abcdefghijkl
    ln -s nowhere store/.symlink-abcdefghijkl
    run "$ATOMIC" store fsck
    [ "$status" -eq 0 ]
    [[ $output == *"'staging/00000000-0000-4000-8000-000000000000-1.2.3' is left over"* ]]
    [[ $output == *"hint: 'atomic store gc' removes what is left over"* ]]
    [ "$("$ATOMIC" store gc --json | jq -c '[.objects, .leftovers, .bytes]')" = '[0,5,10]' ]
    [ "$("$ATOMIC" store fsck --json | jq -c '[.leftovers, .problems]')" = '[0,[]]' ]
    [ ! -e store/images/refs/x ]
    [ -z "$(ls store/staging)" ]
}

# composefs-rs has a shared flock of the directory as long as it has a repository open
@test "gc waits for composefs-rs, which has a lock of its own" {
    "$ATOMIC" store import --dir tree
    flock -s -o store sleep 2 &
    holder=$!
    until ! flock -x -n store true; do sleep 0.05; done
    "$ATOMIC" store gc --json >out &
    gc=$!
    sleep 0.5
    kill -0 "$holder" && kill -0 "$gc" # both are there: it waits
    [ ! -s out ]
    wait "$gc"
    [ "$(jq .objects out)" = 3 ]
    wait "$holder"
}

@test "fsck says who needs what, and --json says the same" {
    "$ATOMIC" store import --dir tree --name t
    "$ATOMIC" store import --dir tree/usr --name u
    big=$(object_of t big)
    damage "$big"
    run "$ATOMIC" store fsck
    [ "$status" -eq 1 ]
    [[ $output == *"object '$big' is damaged: its bytes measure '"*"needed by 'images/refs/t: /usr/bin/big', 'images/refs/u: /bin/big'"* ]]
    [[ $output == *"hint: --repair"* ]]
    run "$ATOMIC" store fsck --json
    [ "$status" -eq 1 ]
    [ "$(jq -r .schema <<<"$output")" = atomic.store.fsck/2 ]
    [ "$(jq -c '.problems[0] | [.kind, .object, .path, (.needed_by | length)]' <<<"$output")" = \
        "[\"damaged\",\"$big\",\"objects/${big:0:2}/${big:2}\",2]" ]
}

@test "fsck --repair gets objects and images from another store" {
    image=$("$ATOMIC" store import --dir tree --name t)
    cp -a store other
    big=$(object_of t big)
    damage "$big" "$image"
    rm "$(path_of "$(ATOMIC_STORE=other object_of t small)")"
    run "$ATOMIC" store fsck --repair --from other
    [ "$status" -eq 0 ]
    [[ $output == *"0 problems, 3 objects repaired"* ]]
    "$ATOMIC" store export t --dir out
    diff -r tree out
    [ "$(ls store/damaged | wc -l)" = 2 ]
    "$ATOMIC" store gc --quiet
    [ -z "$(ls store/damaged)" ]
}

@test "fsck --repair: what nobody has is listed, with who needs it and what to do" {
    "$ATOMIC" store import --dir tree --name t
    big=$(object_of t big)
    damage "$big"
    cp -a store other
    run "$ATOMIC" store fsck --repair --from other
    [ "$status" -eq 1 ]
    [[ $output == *"object '$big' is missing, needed by 'images/refs/t: /usr/bin/big'; not repaired: it is damaged in 'other' too"* ]]
    [[ $output == *"hint: import, build or pull again"* ]]
    # never used again: not for a reader, nor for a writer
    run "$ATOMIC" store cat t /usr/bin/big
    [ "$status" -eq 1 ]
    "$ATOMIC" store import --dir tree
    "$ATOMIC" store fsck
    "$ATOMIC" store cat t /usr/bin/big | cmp - tree/usr/bin/big
}

@test "fsck --repair fetches objects from the remote that the commit came from, and writes its image anew" {
    ATOMIC_STORE=$PWD/origin "$ATOMIC" tree commit --ref host --dir tree --timestamp 1
    ATOMIC_STORE=$PWD/origin "$ATOMIC" tree publish --repo repo host
    "$ATOMIC" tree serve --repo repo --listen 127.0.0.1:0 --log requests >url 3>&- &
    server=$!
    for _ in $(seq 100); do
        [ ! -s url ] || break
        sleep 0.05
    done
    "$ATOMIC" store init
    "$ATOMIC" tree remote add origin "$(cat url)" --no-verify
    "$ATOMIC" tree pull origin:host
    image=$(basename "$(ls store/images | grep -v refs)")
    big=$(object_of "$image" big)
    rm "$(path_of "$big")"
    damage "$image"
    : >requests
    run "$ATOMIC" store fsck --repair
    [ "$status" -eq 0 ]
    [[ $output == *"0 problems, 2 objects repaired"* ]]
    [ "$(wc -l <requests)" = 1 ]
    "$ATOMIC" tree cat origin:host /usr/bin/big | cmp - tree/usr/bin/big

    # a server that sends something else is not believed
    damage "$big"
    find repo/objects -name '*.filez' -exec sh -c 'head -c 100 /dev/urandom >"$1"' _ {} \;
    run "$ATOMIC" store fsck --repair
    [ "$status" -eq 1 ]
    [[ $output == *"object '$big' is missing"*"not repaired: "* ]]
}

# Whatever step the repair dies at, no name is lost and the next one goes on.
@test "fsck --repair killed at any file-changing call is taken up by the next one" {
    command -v strace || skip "needs strace"
    "$ATOMIC" store import --dir tree --name t
    cp -a store other
    damage "$(object_of t big)" "$(object_of t small)"
    cp -a store before
    points=0
    for call in renameat renameat2 openat write fsync mkdirat unlinkat pwrite64; do
        for n in 1 2 3 4 6 9 14; do
            rm -rf store
            cp -a before store
            strace -f -qq -o trace -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" \
                "$ATOMIC" store fsck --repair --from other >/dev/null 2>&1 || true
            grep -q 'killed by SIGKILL' trace || break
            points=$((points + 1))
            "$ATOMIC" store fsck --repair --from other >out 2>&1 || { echo "$call $n"; cat out; false; }
        done
    done
    [ "$points" -gt 15 ]
}

@test "gc and fsck refuse what they don't know" {
    "$ATOMIC" store init
    for words in "gc extra" "fsck extra" "fsck --from other" "fsck --threads 0x" "fsck --threads -1"; do
        run "$ATOMIC" store $words
        [ "$status" -eq 2 ]
    done
    run "$ATOMIC" store fsck --repair --from nowhere
    [ "$status" -eq 1 ]
    [[ $output == *"there is no store in 'nowhere'"* ]]
}
