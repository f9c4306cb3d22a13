#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# `atomic compose tree`, from a small signed repository served on loopback to a published commit.

bats_require_minimum_version 1.5.0

setup_file() {
    export FILES=$BATS_FILE_TMPDIR
    # `tree serve` serves any files, once they look like an OSTree repository
    mkdir -p "$FILES/repository/objects"
    touch "$FILES/repository/config"
    "$ATOMIC" tree serve --repo "$FILES/repository" --listen 127.0.0.1:0 >"$FILES/url" 2>/dev/null 3>&- &
    echo $! >"$FILES/server.pid"
    for _ in $(seq 100); do [ -s "$FILES/url" ] && break; sleep 0.05; done
    [ -s "$FILES/url" ]
    "$BATS_TEST_DIRNAME/../data/package/make-repo" "$FILES/made" "$(cat "$FILES/url")"
    cp -r "$FILES/made/repo/." "$FILES/repository/"
}

teardown_file() {
    kill "$(cat "$FILES/server.pid")"
}

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store ATOMIC_ROOT=$BATS_TEST_TMPDIR/root ATOMIC_RUN=$BATS_TEST_TMPDIR/run
    cd "$BATS_TEST_TMPDIR"
    cat >tree.yaml <<END
ref: test/tree
repos: [host]
suites: [test]
automatic-version-prefix: "1"
packages: [app]
END
}

compose() { "$ATOMIC" compose tree --apt-dir "$FILES/made/apt" "$@"; }

refuses() { # WORDS ARGUMENT…: fails with these words and commits nothing
    local words=$1
    shift
    run compose "$@"
    [ "$status" -eq 1 ]
    [[ $output == *"$words"* ]] || { echo "$output"; return 1; }
    [ ! -e "$ATOMIC_STORE/streams/refs/ostree/test/tree" ]
}

@test "dry run prints the packages and makes no store" {
    run --separate-stderr compose --dry-run tree.yaml
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "app 1.1 $(dpkg --print-architecture)" ]
    [ "${#lines[@]}" -eq 4 ]
    [ ! -e "$ATOMIC_STORE" ]
}

@test "a tree is composed, published, and the same when it is composed elsewhere" {
    run --separate-stderr compose --repo repo tree.yaml
    echo "$stderr"
    [ "$status" -eq 0 ]
    first=$output
    [[ $first =~ ^[0-9a-f]{64}$ ]]
    [ "$(cat repo/refs/heads/test/tree)" = "$first" ]
    ATOMIC_STORE=$BATS_TEST_TMPDIR/other ATOMIC_ROOT=$BATS_TEST_TMPDIR/other-root run --separate-stderr compose tree.yaml
    [ "$status" -eq 0 ]
    [ "$output" = "$first" ]
}

@test "the commit says what it is; composed again by force it is the same" {
    first=$(compose --repo repo tree.yaml)
    [ "$("$ATOMIC" tree log --json test/tree | jq -r '.commits[0].subject')" = "test/tree 1" ]
    echo 'packages: [extra]' >more.yaml
    sed -i '1i include: more.yaml' tree.yaml
    second=$(compose tree.yaml)
    [ "$second" != "$first" ]
    [ "$(compose --force tree.yaml)" = "$second" ]
    [ "$("$ATOMIC" tree log --json test/tree | jq -r '.commits[] | .subject + " of " + (.parent // "none")')" = "test/tree 1.1 of none" ]
}

@test "scripts ran, the database is kept, /var is instructions" {
    compose --repo repo tree.yaml
    if command -v ostree >/dev/null; then
        ostree --repo=repo fsck
        ostree --repo=repo cat test/tree /usr/etc/tiny-base.postinst | grep -x configure
        ostree --repo=repo cat test/tree /usr/share/factory/var/lib/tiny/preinst | grep -x 'preinst install'
        ostree --repo=repo cat test/tree /usr/lib/sysimage/dpkg/status >status
        [ "$(grep -c '^Status: install ok installed$' status)" -eq 4 ]
        ostree --repo=repo cat test/tree /usr/lib/tmpfiles.d/atomic-var.conf | grep -x 'd /var/lib/tiny 0755 0 0 -'
        ostree --repo=repo ls test/tree /bin | grep -- '-> usr/bin'
        [ -z "$(ostree --repo=repo ls test/tree /var | tail -n +2)" ]
        # an ostree that is older than 2023.6 deploys no tree with both /etc and /usr/etc
        run ! ostree --repo=repo ls test/tree /etc
        run ! ostree --repo=repo ls test/tree /usr/sbin/policy-rc.d
        [ "$(ostree --repo=repo show test/tree --print-metadata-key=version)" = "'1'" ]
        ostree --repo=repo show test/tree --print-metadata-key=atomic.pkglist | grep "('tool', '1:0.9', "
    fi
}

@test "unchanged inputs make no new commit; changed ones get the next version" {
    first=$(compose tree.yaml)
    run compose tree.yaml
    [ "$status" -eq 77 ]
    [[ $output == *"No changes since 1 (${first:0:12})"* ]]
    echo 'packages: [extra]' >more.yaml
    sed -i '1i include: more.yaml' tree.yaml
    run --separate-stderr compose --json tree.yaml
    [ "$status" -eq 0 ]
    [ "$(jq -r .version <<<"$output")" = 1.1 ]
    [ "$(jq -r '.packages[].name' <<<"$output" | tr '\n' ' ')" = "app extra lib tiny-base tool " ]
}

@test "treefile scripts and removals" {
    cat >>tree.yaml <<'END'
documentation: false
remove-files: [/usr/share/lib/version]
postprocess:
  - |
    #!/bin/sh
    while read -r line; do case $line in *:*) echo "$line"; esac; done </proc/net/dev >/etc/interfaces
    echo "made by the treefile" >/etc/made
END
    compose --repo repo tree.yaml
    if command -v ostree >/dev/null; then
        ostree --repo=repo cat test/tree /usr/etc/made | grep 'made by the treefile'
        # no network in the sandbox but its own loopback
        [ "$(ostree --repo=repo cat test/tree /usr/etc/interfaces | cut -d: -f1)" = lo ]
        run ! ostree --repo=repo ls test/tree /usr/share/lib/version
        run ! ostree --repo=repo ls test/tree /usr/share/doc/app/changelog
        ostree --repo=repo ls test/tree /usr/share/doc/app/copyright
    fi
}

@test "an unknown package" {
    sed -i 's/\[app\]/[app, no-such]/' tree.yaml
    refuses "unknown package 'no-such'" tree.yaml
}

@test "a dependency that can't be satisfied, with the solver's reason" {
    sed -i 's/\[app\]/[needs-newer]/' tree.yaml
    refuses "nothing provides lib >= 9 needed by needs-newer-1.0" tree.yaml
}

@test "two packages with one file" {
    sed -i 's/\[app\]/[app, clash]/' tree.yaml
    refuses "the packages 'app' and 'clash' both have '/usr/share/app/version'" tree.yaml
}

@test "what a killed compose left is removed by the next one" {
    mkdir -p "$ATOMIC_ROOT/cache/deb/compose-killed/upper"
    compose tree.yaml
    [ -z "$(ls "$ATOMIC_ROOT/cache/deb" | grep compose)" ]
    [ -z "$(ls "$ATOMIC_STORE/images/refs/compose" 2>/dev/null)" ]
}

@test "a failing maintainer script shows what it said" {
    sed -i 's/\[app\]/[broken]/' tree.yaml
    refuses "this is why" tree.yaml
}

@test "an unknown key, with its line" {
    echo 'pakages: [x]' >>tree.yaml
    refuses "tree.yaml:6: unknown key 'pakages'" tree.yaml
}

@test "a bad signature" {
    cp "$FILES/repository/dists/test/InRelease" kept
    sed -i 's/^Origin: Test/Origin: Evil/' "$FILES/repository/dists/test/InRelease"
    refuses "the signature is bad" tree.yaml
    cp kept "$FILES/repository/dists/test/InRelease"
}

@test "a truncated package, and one with other bytes" {
    deb=$(ls "$FILES"/repository/pool/lib_*.deb)
    cp "$deb" kept
    truncate -s -1 "$deb"
    refuses "bytes instead of" tree.yaml
    cp kept "$deb"
    printf x | dd of="$deb" bs=1 seek=300 conv=notrunc status=none
    refuses "is not what the index says" tree.yaml
    cp kept "$deb"
}
