# SPDX-License-Identifier: LGPL-2.1-or-later
# Pulling a Debian tree from an archive repository over loopback (one server for both sides), and deploying it.

# A repository that both sides pull from, made once.
archive_make() {
    [ -e "$work/archive/summary" ] && return
    ostree init --repo "$work/archive" --mode archive &&
        ostree commit --repo "$work/archive" -b tree "--tree=dir=$1" >/dev/null &&
        ostree summary --repo "$work/archive" -u
}
serve_ours() { # DIR
    : >"$work/url"
    "$ATOMIC" tree serve --repo "$1" >"$work/url" 2>"$work/server" &
    server=$!
    for _ in $(seq 100); do [ -s "$work/url" ] && break; sleep 0.05; done
    url=$(cat "$work/url")
    [ -n "$url" ]
}
serve_nginx() { # DIR
    cat >"$work/nginx.conf" <<END
worker_processes 1;
daemon off;
user root;
pid $work/nginx.pid;
error_log /dev/null;
events {}
http { access_log off; sendfile on; server { listen 127.0.0.1:8123; root $1; } }
END
    nginx -c "$work/nginx.conf" &
    server=$!
    url=http://127.0.0.1:8123
    for _ in $(seq 100); do curl -sf -o "$work/out" "$url/config" && return; sleep 0.05; done
    return 1
}

pull_prepare() {
    store_prepare && "$ATOMIC" tree remote add --store "$fs/store" --no-verify origin "$url" &&
        ostree remote add --repo "$fs/bare" --no-gpg-verify origin "$url" && sync -f "$fs"
}
pull_ours() { command=("$ATOMIC" tree pull --store "$fs/store" origin:tree); options=(--sync "$fs"); }
pull_theirs() { command=(ostree pull --repo "$fs/bare" origin:tree); options=(--sync "$fs"); }

bench_pull() {
    command -v ostree >/dev/null || { echo "pull: skipped, ostree is not installed (it makes the repository)"; return; }
    local server url
    archive_make "$BENCH_TREE" && serve_ours "$work/archive" || return
    compare "pull a Debian tree, our server" ostree pull_ours pull_theirs pull_prepare count
    kill "$server"
    command -v nginx >/dev/null || { echo "pull from nginx: skipped, nginx is not installed"; return; }
    serve_nginx "$work/archive" || return
    compare "pull a Debian tree, nginx" ostree pull_ours pull_theirs pull_prepare count
    kill "$server"
}

# --- deploy: the commit is there already; the tree with what a host's needs -----------------------------------

host_tree_make() {
    local t=$work/host-tree modules=usr/lib/modules/6.1.0
    [ -d "$t" ] && return
    cp -a "$BENCH_TREE" "$t" && mv "$t/etc" "$t/usr/etc" && rm -rf "$t"/{var,dev,tmp,run} &&
        mkdir -p "$t"/{var,dev,tmp,run,sysroot,boot,proc,sys,$modules} &&
        head -c 8M /dev/urandom >"$t/$modules/vmlinuz" && head -c 32M /dev/urandom >"$t/$modules/initramfs.img" &&
        ostree init --repo "$work/host-archive" --mode archive &&
        ostree commit --repo "$work/host-archive" -b tree "--tree=dir=$t" >/dev/null &&
        ostree summary --repo "$work/host-archive" -u
}
deploy_prepare() {
    fresh || return
    if [ "$1" = ours ]; then
        "$ATOMIC" host init --sysroot "$fs" --os bench &&
            "$ATOMIC" tree remote add --sysroot "$fs" --no-verify origin "$url" &&
            "$ATOMIC" tree pull --sysroot "$fs" origin:tree
    else
        ostree admin init-fs "$fs" && ostree admin os-init --sysroot "$fs" bench &&
            ostree config --repo "$fs/ostree/repo" set sysroot.bootloader none &&
            ostree remote add --repo "$fs/ostree/repo" --no-gpg-verify origin "$url" &&
            ostree pull --repo "$fs/ostree/repo" origin:tree
    fi >"$work/out" 2>&1 && sync -f "$fs"
}
deploy_ours() {
    command=("$ATOMIC" deploy --sysroot "$fs" --os bench --karg root=LABEL=x origin:tree)
    options=(--sync "$fs")
}
deploy_theirs() {
    command=(ostree admin deploy --sysroot "$fs" --os bench --karg root=LABEL=x origin:tree)
    options=(--sync "$fs")
}

bench_deploy() {
    command -v ostree >/dev/null || { echo "deploy: skipped, ostree is not installed (it makes the repository)"; return; }
    local server url
    host_tree_make && serve_ours "$work/host-archive" || return
    compare "deploy a commit already pulled" ostree deploy_ours deploy_theirs deploy_prepare count
    kill "$server"
}
