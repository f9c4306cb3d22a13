# SPDX-License-Identifier: LGPL-2.1-or-later
# Trees, edits and hosts for host.bats.

# make_tree DIR VERSION: a tree with a kernel that is none, and a default /etc that differs between 1 and 2
make_tree() {
    local t=$1 v=$2 e=$1/usr/etc kernel=${3:-kernel}
    mkdir -p "$t"/usr/lib/modules/6.1.0 "$t"/usr/bin "$t"/{var,sysroot,boot,proc,sys,dev,run,tmp} "$e"
    echo "$kernel" >"$t/usr/lib/modules/6.1.0/vmlinuz"
    echo "initramfs of $kernel" >"$t/usr/lib/modules/6.1.0/initramfs.img"
    printf 'ID=test\nNAME=test\nPRETTY_NAME="Test OS"\nVERSION_ID=%s\n' "$v" >"$t/usr/lib/os-release"
    echo "$v" >"$t/usr/bin/version"
    head -c 300000 /dev/zero | tr '\0' "$v" >"$t/usr/bin/big$v"
    for name in same mine-changed mine-removed mode-only file-to-dir file-to-link default-gone-mine default-gone \
        now-dir-unmodified; do
        echo x >"$e/$name"
    done
    for name in new-default both-changed mine-removed-both; do echo "default $v" >"$e/$name"; done
    for name in dirmode dirmode-child dirmode-gone dirmode-new dir-to-nothing dir-removed/sub sub/deep parent-gone; do
        mkdir -p "$e/$name"
        echo x >"$e/$name/a"
        echo x >"$e/$name/b"
    done
    ln -s same "$e/link-changed"
    ln -s same "$e/link-same"
    printf '%0200d\n' "$v" >"$e/big-new"
    printf '%0200d\n' 7 >"$e/big-mine"
    [ "$v" = 2 ] || return 0
    rm -r "$e/dirmode-gone" "$e/default-gone-mine" "$e/default-gone" "$e/parent-gone" "$e/now-dir-unmodified"
    mkdir -p "$e/now-dir-unmodified" "$e/added-dir"
    chmod 750 "$e/dirmode-new"
    for name in now-dir-unmodified/f added-both added-new added-dir/new mine-dir-over-file; do
        echo new >"$e/$name"
    done
}

# edit_etc ETC: what an administrator may do
edit_etc() {
    local e=$1
    for name in both-changed mine-changed dirmode-child/a sub/deep/a default-gone-mine parent-gone/a added-both; do
        echo mine >"$e/$name"
    done
    rm -r "$e/mine-removed" "$e/mine-removed-both" "$e/dir-to-nothing" "$e/dir-removed" "$e/file-to-dir"
    chmod 600 "$e/mode-only"
    chmod 700 "$e/dirmode" "$e/dirmode-child" "$e/dirmode-gone"
    chmod 711 "$e/dirmode-new"
    mkdir -p "$e/file-to-dir" "$e/added-dir/d" "$e/mine-dir-over-file/in"
    mkdir -m 1777 "$e/added-empty"
    chmod 711 "$e/added-dir"
    for name in file-to-dir/f added-dir/d/f mine-dir-over-file/in/f; do echo mine >"$e/$name"; done
    ln -sfn other "$e/link-changed"
    ln -sfn same "$e/file-to-link"
    chown 5:6 "$e/same"
    chown -h 7:7 "$e/link-same"
    printf '%0200d\n' 8 >"$e/big-mine"
}

# Every name with type, mode, owner, link target and, for files, a sum of the bytes.
list_etc() {
    (cd "$1" && find . -mindepth 1 \( -type f -printf '%P %y %m %U:%G ' -exec sh -c 'md5sum <"$1"' _ {} \; \) -o \
        -printf '%P %y %m %U:%G %l\n' | sort)
}

# server: sets url; trees t1, t2 of branch test/tree as commits one and two; only one is published
server() {
    export SERVER=$PWD/server
    make_tree t1 1
    make_tree t2 2
    "$ATOMIC" store init --store "$SERVER"
    one=$("$ATOMIC" tree commit --store "$SERVER" --ref test/tree --dir t1)
    "$ATOMIC" tree publish --store "$SERVER" --repo repo test/tree
    # not to hold bats' own descriptor, or bats would wait for it
    "$ATOMIC" tree serve --repo repo --listen 127.0.0.1:0 >url 3>&- &
    echo $! >server.pid
    for _ in $(seq 200); do
        [ -s url ] && break
        sleep 0.02
    done
    url=$(cat url)
}

# publish TREE: as the branch's next commit; prints the checksum
publish() {
    "$ATOMIC" tree commit --store "$SERVER" --ref test/tree --dir "$1" &&
        "$ATOMIC" tree publish --store "$SERVER" --repo repo test/tree >&2
}

stop_server() {
    [ ! -e server.pid ] || kill "$(cat server.pid)" 2>/dev/null || true
}

# host DIR: a host that follows the server
host() {
    export ATOMIC_SYSROOT=$PWD/$1
    "$ATOMIC" host init --sysroot "$1" --os test-os --reserve none
    "$ATOMIC" tree remote add --no-verify origin "$url"
}

deployments() { "$ATOMIC" status --json | jq -r '.deployments[].id'; }
commits() { "$ATOMIC" status --json | jq -r '.deployments[].commit' | xargs; }
