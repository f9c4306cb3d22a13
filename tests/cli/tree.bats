# SPDX-License-Identifier: LGPL-2.1-or-later
# Commits to and from the world: the real ostree is the judge, both ways; pulls that are interrupted.

setup() {
    cd "$BATS_TEST_TMPDIR"
    export ATOMIC_STORE=$PWD/store
    unset ATOMIC_SYSROOT SOURCE_DATE_EPOCH http_proxy
}

teardown() {
    [ -z "$server" ] || kill "$server"
}

# A tree with everything that OSTree can hold: modes, owners, xattrs, links, sizes around the inline limit.
make_tree() {
    mkdir -p tree/usr/bin tree/usr/lib/ünï tree/usr/etc tree/var tree/tmp
    echo 'echo hello' >tree/usr/bin/hello
    : >tree/usr/lib/empty
    : >tree/usr/lib/empty-too
    echo ä >tree/usr/lib/ünï/näme
    ln -s ../bin/hello tree/usr/lib/link
    head -c 64 /dev/urandom >tree/usr/lib/inline
    head -c 65 /dev/urandom >tree/usr/lib/object
    head -c 200000 /dev/urandom >tree/usr/lib/big
    cp tree/usr/lib/big tree/usr/lib/big-private
    head -c 3000000 /dev/zero >tree/usr/lib/zeros
    ln tree/usr/lib/object tree/usr/lib/hardlink
    chmod 4755 tree/usr/bin/hello
    chmod 600 tree/usr/lib/big-private
    chmod 1777 tree/tmp
    chmod 2750 tree/usr/etc
    [ "$(id -u)" -ne 0 ] || chown 12:34 tree/usr/lib/inline tree/usr/etc
    [ "$(id -u)" -ne 0 ] || setfattr -n user.b -v bee tree/usr/lib/object
    [ "$(id -u)" -ne 0 ] || setfattr -n user.a -v 1 tree/usr/lib/object
    [ "$(id -u)" -ne 0 ] || setfattr -n user.dir -v d tree/usr/etc
}

# Many small files, so that a pull can be interrupted in its middle.
make_many() {
    mkdir -p tree/usr/share
    head -c $((2000 * 200)) /dev/urandom | split -b 200 -a 4 - tree/usr/share/f
}

# serve REPO: sets $url; requests are logged in ./requests
serve() {
    : >url
    "$ATOMIC" tree serve --repo "$1" --listen 127.0.0.1:0 --log requests >url 3>&- &
    server=$!
    for _ in $(seq 100); do
        [ -s url ] && break
        sleep 0.05
    done
    url=$(cat url)
}

add_remote() { "$ATOMIC" tree remote add origin "$url" --no-verify; }

# wait until the server has answered N requests
answered() {
    for _ in $(seq 2000); do
        [ "$(wc -l <requests)" -lt "$1" ] || return 0
        sleep 0.005
    done
    false
}

# every attribute of every file of a directory but times
describe() {
    (cd "$1" && find . -printf '%p %M %U %G %l %y ' \( -type f -printf '%s ' -exec sha256sum {} \; -o -printf '\n' \) | sort &&
        getfattr -R -d -m - . 2>/dev/null)
}

@test "tree commit gives the checksum that ostree commit gives" {
    make_tree
    ostree init --repo=repo --mode=archive
    theirs=$(ostree commit --repo=repo -b main --timestamp=@1000 -s subject tree)
    ours=$("$ATOMIC" tree commit --ref main --dir tree --timestamp 1000 -s subject)
    [ "$ours" = "$theirs" ]
    # again from the parent's table instead of the bytes, and with a parent
    theirs=$(ostree commit --repo=repo -b main --timestamp=@2000 --parent="$theirs" tree)
    ours=$("$ATOMIC" tree commit --ref main --dir tree --timestamp 2000)
    [ "$ours" = "$theirs" ]
}

@test "tree publish: the real ostree pulls it, fsck is clean, the checkout is equal" {
    make_tree
    "$ATOMIC" tree commit --ref a/main --dir tree --version 1
    "$ATOMIC" tree publish --repo repo a/main
    ostree fsck --repo=repo
    serve repo
    ostree init --repo=bare --mode=bare
    ostree remote add --repo=bare --no-gpg-verify o "$url"
    ostree pull --repo=bare o a/main
    ostree fsck --repo=bare
    ostree checkout --repo=bare o:a/main out
    chmod --reference=tree out
    diff <(describe tree) <(describe out)
    ostree remote refs --repo=bare o | grep -x o:a/main
    ostree show --repo=bare o:a/main | grep -x 'Version: 1'
}

@test "tree publish is incremental and keeps other branches" {
    make_tree
    "$ATOMIC" tree commit --ref one --dir tree
    "$ATOMIC" tree commit --ref two --dir tree
    "$ATOMIC" tree publish --repo repo one
    echo more >>tree/usr/bin/hello
    "$ATOMIC" tree commit --ref one --dir tree
    run "$ATOMIC" tree publish --repo repo one two
    [ "$status" -eq 0 ]
    # the file, two directories above it and the root; two commits
    [[ $output == "Published 2 new commits: 6 objects, "* ]]
    run "$ATOMIC" tree publish --repo repo one
    [[ $output == "Published 0 new commits: 0 objects, "* ]]
    ostree fsck --repo=repo
    [ "$(ostree summary --repo=repo -v | grep -c 'Latest Commit')" -eq 2 ]
}

@test "tree publish refuses what is no archive repository, and unknown branches" {
    make_tree
    "$ATOMIC" tree commit --ref main --dir tree
    ostree init --repo=bare --mode=bare
    run "$ATOMIC" tree publish --repo bare main
    [ "$status" -eq 1 ]
    [[ $output == *"its mode is 'bare', not archive"* ]]
    run "$ATOMIC" tree publish --repo repo nope
    [ "$status" -eq 1 ]
    [[ $output == *"no branch or commit 'nope'"* ]]
    [ ! -e repo ]
    run "$ATOMIC" tree publish --repo tree main
    [ "$status" -eq 1 ]
    [[ $output == *"cannot make a repository in 'tree': it isn't empty"* ]]
    [ ! -e tree/config ]
}

@test "tree pull brings what the real ostree committed: every attribute and byte" {
    make_tree
    ostree init --repo=repo --mode=archive
    checksum=$(ostree commit --repo=repo -b main -s subject --add-metadata-string=version=42 tree)
    ours=$("$ATOMIC" tree commit --ref same --dir tree)
    serve repo
    export ATOMIC_STORE=$PWD/store2
    add_remote
    [ "$("$ATOMIC" tree pull origin:main)" = "$checksum" ]
    "$ATOMIC" tree show origin:main | grep -x 'Version: 42'
    "$ATOMIC" tree ls origin:main / -R >theirs
    image=$("$ATOMIC" tree show --json origin:main | jq -r .image)
    export ATOMIC_STORE=$PWD/store
    "$ATOMIC" tree ls same / -R | diff - theirs
    # the image names every attribute, so equal images are equal trees
    [ "$("$ATOMIC" tree show --json same | jq -r .image)" = "$image" ]
    ATOMIC_STORE=$PWD/store2 "$ATOMIC" tree cat origin:main usr/lib/big | cmp - tree/usr/lib/big
    ATOMIC_STORE=$PWD/store2 "$ATOMIC" tree cat origin:main usr/lib/link | cmp - tree/usr/bin/hello
}

@test "large files pass through in pieces, both ways" {
    mkdir tree
    { head -c 100000 /dev/urandom && head -c 70000000 /dev/zero && echo end; } >tree/large
    checksum=$("$ATOMIC" tree commit --ref main --dir tree)
    "$ATOMIC" tree publish --repo repo main
    ostree fsck --repo=repo
    serve repo
    export ATOMIC_STORE=$PWD/store2
    add_remote
    [ "$("$ATOMIC" tree pull origin:main)" = "$checksum" ]
    "$ATOMIC" tree cat origin:main large | cmp - tree/large
}

@test "tree pull again has nothing to do; an update fetches only what changed" {
    make_tree
    "$ATOMIC" tree commit --ref main --dir tree
    "$ATOMIC" tree publish --repo repo main
    serve repo
    export ATOMIC_STORE=$PWD/store2
    add_remote
    "$ATOMIC" tree pull origin:main
    run "$ATOMIC" tree pull origin:main
    [ "$status" -eq 77 ]
    export ATOMIC_STORE=$PWD/store
    echo changed >tree/usr/lib/ünï/näme
    "$ATOMIC" tree commit --ref main --dir tree
    "$ATOMIC" tree publish --repo repo main
    export ATOMIC_STORE=$PWD/store2
    : >requests
    run "$ATOMIC" tree pull origin:main
    [ "$status" -eq 0 ]
    # commit, root, usr, lib, ünï, näme
    [ "$(grep -c objects/ requests)" -eq 6 ]
    [[ $output == *"Receiving objects: 100% (6/6) 0.0 MB"* ]]
    [ "$("$ATOMIC" tree cat origin:main usr/lib/ünï/näme)" = changed ]
}

@test "tree pull --metadata-only asks and stores nothing" {
    make_tree
    checksum=$("$ATOMIC" tree commit --ref main --dir tree)
    "$ATOMIC" tree publish --repo repo main
    serve repo
    export ATOMIC_STORE=$PWD/store2
    add_remote
    run "$ATOMIC" tree pull --metadata-only origin:main
    [ "$status" -eq 0 ]
    [ "$output" = "$checksum" ]
    [ "$(wc -l <requests)" -eq 3 ]
    [ -z "$("$ATOMIC" tree refs)" ]
}

# interrupt SIGNAL STATUS MOST: pulls, sends the signal in the middle, pulls again
interrupt() {
    make_many
    checksum=$("$ATOMIC" tree commit --ref main --dir tree)
    "$ATOMIC" tree publish --repo repo main
    serve repo
    export ATOMIC_STORE=$PWD/store2
    add_remote
    "$ATOMIC" tree pull origin:main 2>messages 3>&- &
    pid=$!
    answered 700
    kill -"$1" $pid
    status=0
    wait $pid || status=$?
    [ "$status" -eq "$2" ]
    [ -z "$("$ATOMIC" tree refs)" ]
    before=$(grep -c objects/ requests)
    [ "$before" -lt 1900 ]
    [ "$("$ATOMIC" tree pull origin:main 2>>messages)" = "$checksum" ]
    # what was in flight, or not yet on disk, is all that may be asked twice
    twice=$(grep objects/ requests | sort | uniq -d | wc -l)
    echo "$before requests before, $twice twice"
    [ "$twice" -le "$3" ]
    [ "$(grep -c . requests)" -gt 2000 ]
    "$ATOMIC" tree ls origin:main usr/share | wc -l | grep -x 2000
    [ -z "$(ls store2/staging)" ]
}

@test "tree pull goes on after SIGINT: only what was in flight is fetched again" {
    interrupt INT 130 64
    grep -q '^atomic: .*interrupted' messages
    grep -q '^hint: what arrived is kept' messages
}

@test "tree pull goes on after SIGKILL" {
    interrupt KILL 137 600
}

@test "tree pull: a damaged, truncated or missing object is an error that names it, and changes nothing" {
    make_tree
    "$ATOMIC" tree commit --ref main --dir tree
    "$ATOMIC" tree publish --repo repo main
    serve repo
    export ATOMIC_STORE=$PWD/store2
    add_remote
    object=$(find repo/objects -name '*.filez' -size +100k | head -1)
    name=$(basename "$(dirname "$object")")$(basename "$object")
    cp "$object" good

    head -c 100000 good >"$object" # truncated
    run "$ATOMIC" tree pull origin:main
    [ "$status" -eq 1 ]
    [[ $output == *"${object#repo/}': the compressed data is damaged or cut short"* ]]

    small=$(find repo/objects -name '*.filez' -size 1 | head -1)
    cp "$small" "$object" # another object's content
    run "$ATOMIC" tree pull origin:main
    [ "$status" -eq 1 ]
    [[ $output == *"object '$name': what '$url/${object#repo/}' sent is not what its checksum says"* ]]

    rm "$object"
    run "$ATOMIC" tree pull origin:main
    [ "$status" -eq 1 ]
    [[ $output == *"cannot fetch '$url/${object#repo/}': the server answered 404"* ]]

    [ -z "$("$ATOMIC" tree refs)" ]
    cp good "$object"
    "$ATOMIC" tree pull origin:main
}

@test "tree pull: wrong remotes" {
    make_tree
    ostree init --repo=bare --mode=bare-user-only
    serve bare
    add_remote
    run "$ATOMIC" tree pull origin:main
    [ "$status" -eq 1 ]
    [[ $output == *"the repository's mode is 'bare-user-only', not archive"* ]]
    run "$ATOMIC" tree pull other:main
    [ "$status" -eq 1 ]
    [[ $output == *"there is no remote 'other'"*"hint: "* ]]
    run "$ATOMIC" tree pull main
    [ "$status" -eq 1 ]
    [[ $output == *"'main' is not REMOTE:REF"* ]]
    "$ATOMIC" tree remote add nobody http://127.0.0.1:1 --no-verify
    run "$ATOMIC" tree pull nobody:main
    [ "$status" -eq 1 ]
    [[ $output == *"cannot fetch 'http://127.0.0.1:1/config': "* ]]
}

@test "tree pull: an unknown branch's error lists what there is" {
    make_tree
    "$ATOMIC" tree commit --ref main --dir tree
    "$ATOMIC" tree publish --repo repo main
    serve repo
    add_remote
    run "$ATOMIC" tree pull origin:nope
    [ "$status" -eq 1 ]
    [[ $output == *"has no branch 'nope'"*"hint: it has 'main'"* ]]
}

@test "tree pull: a signed commit is accepted by the right key only, an unsigned one never" {
    type -p gpg gpgv >/dev/null || skip "needs gpg"
    export GNUPGHOME=$PWD/gnupg
    mkdir -m 700 gnupg
    for who in right wrong; do
        gpg --batch --quiet --passphrase '' --quick-generate-key "$who@example.org" ed25519 sign never 2>/dev/null
        gpg --export "$who@example.org" >$who.gpg
        gpg --export --armor "$who@example.org" >$who.asc
    done
    make_tree
    ostree init --repo=repo --mode=archive
    ostree commit --repo=repo -b signed --gpg-sign=right@example.org --gpg-homedir=gnupg tree
    ostree commit --repo=repo -b unsigned tree
    gpgconf --kill all
    serve repo
    "$ATOMIC" tree remote add right "$url" --gpg-import right.gpg
    "$ATOMIC" tree remote add wrong "$url" --gpg-import wrong.gpg
    "$ATOMIC" tree pull right:signed
    run "$ATOMIC" tree pull wrong:signed
    [ "$status" -eq 1 ]
    [[ $output == *"none of the commit's 1 signatures is by a trusted key"* ]]
    run "$ATOMIC" tree pull right:unsigned
    [ "$status" -eq 1 ]
    [[ $output == *"the commit is not signed"* ]]
    [ "$("$ATOMIC" tree refs | wc -l)" -eq 1 ]
    "$ATOMIC" tree remote add armoured "$url" --gpg-import right.asc
    "$ATOMIC" tree pull armoured:signed
    run "$ATOMIC" tree remote add none "$url" --gpg-import tree/usr/bin/hello
    [ "$status" -eq 1 ]
    [[ $output == *"there are no keys in it"* ]]
}

@test "tree remote: no keys without --no-verify, no second of a name" {
    mkdir store && "$ATOMIC" tree remote add origin http://localhost/ --no-verify
    run "$ATOMIC" tree remote add origin http://localhost --no-verify
    [ "$status" -eq 1 ]
    [[ $output == *"there is a remote 'origin' already"* ]]
    run "$ATOMIC" tree remote add other http://localhost
    [ "$status" -eq 1 ]
    [[ $output == *"hint: give them with --gpg-import"* ]]
    run "$ATOMIC" tree remote add other ftp://localhost --no-verify
    [ "$status" -eq 1 ]
    [ "$("$ATOMIC" tree remote list --json | jq -r '.remotes[].url')" = http://localhost ]
}

@test "tree commit refuses what OSTree can't hold, by name" {
    make_tree
    touch "tree/usr/lib/$(printf 'bad\377name')"
    run "$ATOMIC" tree commit --ref main --dir tree
    [ "$status" -eq 1 ]
    [[ $output == *"cannot commit '/usr/lib/bad"*"not UTF-8"* ]]
    rm tree/usr/lib/bad*
    mkfifo tree/usr/lib/fifo
    run "$ATOMIC" tree commit --ref main --dir tree
    [ "$status" -eq 1 ]
    [[ $output == *"cannot commit '/usr/lib/fifo': OSTree can't hold a FIFO"* ]]
    [ -z "$("$ATOMIC" tree refs)" ]
}

@test "tree refs, log, show, ls, cat, pkglist: text and JSON" {
    make_tree
    first=$("$ATOMIC" tree commit --ref os/main --dir tree --timestamp 1000 --version 1 -s first)
    echo more >>tree/usr/bin/hello
    second=$("$ATOMIC" tree commit --ref os/main --dir tree --timestamp 2000 --version 2 --metadata k=v)
    [ "$("$ATOMIC" tree refs --json | jq -r '.refs[0].commit')" = "$second" ]
    [ "$("$ATOMIC" tree refs)" = "os/main ${second:0:12}" ]
    [ "$("$ATOMIC" tree log --json os/main | jq -r '[.commits[].version] | join(" ")')" = "2 1" ]
    "$ATOMIC" tree log os/main | grep -x 'Date:    1970-01-01 00:16:40 UTC'
    [ "$("$ATOMIC" tree show --json os/main^ | jq -r .commit)" = "$first" ]
    "$ATOMIC" tree show "${second:0:10}" | grep -x "k: 'v'"
    [ "$("$ATOMIC" tree ls --json os/main usr/bin | jq -r '.files[0].mode')" = 104755 ]
    [ "$("$ATOMIC" tree cat os/main /usr/bin/hello | tail -1)" = more ]
    [ "$("$ATOMIC" tree pkglist --json os/main | jq -c .packages)" = '[]' ]
    run "$ATOMIC" tree cat os/main /usr/bin/none
    [ "$status" -eq 1 ]
    [[ $output == *"there is no '/usr/bin/none' in 'os/main'"* ]]
    run "$ATOMIC" tree show os/main^^
    [[ $output == *"has no parent"* ]]
}

@test "tree serve: a port that is none, an address that is not ours" {
    mkdir tree && "$ATOMIC" tree commit --ref main --dir tree && "$ATOMIC" tree publish --repo repo main
    for port in 99999 http -1 ''; do
        run timeout 5 "$ATOMIC" tree serve --repo repo --listen "127.0.0.1:$port"
        [ "$status" -eq 2 ]
        [[ $output == *"a port is a number from 0 to 65535"* ]]
    done
    run timeout 5 "$ATOMIC" tree serve --repo repo --listen 192.0.2.1:0
    [ "$status" -eq 1 ]
}

@test "tree serve: ranges, conditional requests, nothing outside the repository" {
    ostree init --repo=repo --mode=archive
    echo secret >secret
    ln -s ../secret repo/out
    mkdir repo/sub && echo inside >repo/sub/file && ln -s sub/file repo/in
    serve repo
    [ "$(curl -sf "$url/in")" = inside ]
    [ "$(curl -sf -r 1-3 "$url/sub/file")" = nsi ]
    [ "$(curl -sf -r -3 "$url/sub/file")" = de ]
    [ "$(curl -s -o /dev/null -w '%{http_code}' -r 100- "$url/sub/file")" = 416 ]
    etag=$(curl -sfI "$url/config" | tr -d '\r' | sed -n 's/^ETag: //p')
    [ "$(curl -s -o /dev/null -w '%{http_code}' -H "If-None-Match: $etag" "$url/config")" = 304 ]
    for bad in out .lock ../secret %2e%2e/secret sub/../../secret sub "" //etc/passwd tmp/x; do
        [ "$(curl -s --path-as-is -o /dev/null -w '%{http_code}' "$url/$bad")" = 404 ]
    done
    [ "$(curl -s -o /dev/null -w '%{http_code}' -X POST -d x "$url/config")" = 405 ]
    run "$ATOMIC" tree serve --repo sub --listen 127.0.0.1:0
    [ "$status" -eq 1 ]
    run "$ATOMIC" tree serve --repo repo --listen "${url#http://}"
    [ "$status" -eq 1 ]
    [[ $output == *"cannot listen on '${url#http://}': Address already in use"* ]]
}
