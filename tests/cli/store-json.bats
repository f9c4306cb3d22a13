# SPDX-License-Identifier: LGPL-2.1-or-later
# What --json prints is a promise: members may be added, none goes away and none gets another name. A new version of a
# schema is a new document; the old one's members are not edited here.

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store ATOMIC_ROOT=$BATS_TEST_TMPDIR/root ATOMIC_RUN=$BATS_TEST_TMPDIR/run
    cd "$BATS_TEST_TMPDIR"
    mkdir tree
    seq 100 >tree/a
    ln tree/a tree/b
    ln -s a tree/l
    setfattr -n user.x -v 1 tree/a
    printf x >"tree/$(printf 'n\377')"
    "$ATOMIC" store import --dir tree --name t
    "$ATOMIC" store import --dir tree --name "same/as t"
    rm tree/n*
    echo more >>tree/b
    "$ATOMIC" store import --dir tree --name u
    "$ATOMIC" tree commit --ref m --dir tree --version 1
    "$ATOMIC" tree remote add o http://localhost --no-verify
}

# promise SCHEMA 'MEMBER...' COMMAND...: every document is one JSON object with its schema and at least these members
promise() {
    local schema=$1 members=$2 missing
    shift 2
    "$ATOMIC" "$@" --json >document || [ -n "$may_fail" ]
    [ "$(jq -r .schema document)" = "$schema" ]
    missing=$(comm -23 <(tr -s ' \n' '\n' <<<"$members" | grep . | sort) \
        <(jq -r 'paths | map(select(type == "string")) | join(".")' document | sort -u))
    [ -z "$missing" ] || { echo "$*: without $missing"; false; }
}

file='gid mode mtime mtime_nsec nlink path size type uid'

# with PREFIX WORD...
with() {
    printf ' %s' "${@:2}" | sed "s/ / $1/g"
}

@test "images and files" {
    promise atomic.store.images/1 'images images.digest images.name' store ls
    promise atomic.store.images/1 'images images.digest images.name images.files images.bytes' store ls -l
    jq -e '.images[1] | .name == "t" and .files == 5 and .bytes == 293' document
    promise atomic.store.files/1 "image files$(with files. $file object target path_b64)" store ls t
    promise atomic.store.stat/1 "$file image bytes object links links.path xattrs xattrs.name xattrs.value_b64" store stat t /a
    jq -e '.bytes == "object" and .xattrs == [{"value_b64": "MQ==", "name": "user.x"}]' document
}

@test "differences" {
    promise atomic.store.diff/1 "added removed modified bytes_added bytes_removed changes changes.change changes.differs \
        changes.path changes.path_b64$(with changes.old. $file object xattrs)$(with changes.new. $file object xattrs)" store diff t u
    promise atomic.store.diff/1 'added removed modified bytes_added bytes_removed changes' store diff t t
}

@test "space" {
    promise atomic.store.du/1 'items items.names items.names.name items.image items.objects items.own_bytes items.shared_bytes
        items.shared_with items.shared_with.item items.shared_with.bytes objects bytes disk_bytes saved_bytes staging_bytes
        unreferenced.objects unreferenced.bytes reserve_bytes reserve_held_bytes' store du
    jq -e '.items[0].names == [{"name": "same/as t"}, {"name": "t"}]' document
    promise atomic.info/1 'version store containers running created exited images objects data_bytes metadata_bytes total_bytes
        available_bytes image_bytes shared_bytes verity verity_required reserve_bytes reserve_held_bytes cgroup_version kernel os
        architecture cpus memory_bytes name root' info
}

@test "collection and checks" {
    "$ATOMIC" store import --dir tree --no-xattrs
    promise atomic.store.gc/2 'bytes dry_run kept_objects leftovers links objects removed reserve_bytes reserve_held_bytes' store gc --dry-run
    promise atomic.store.gc/2 'bytes dry_run kept_objects leftovers links objects reserve_bytes reserve_held_bytes' store gc
    promise atomic.store.check/1 'advice available_bytes filesystem reflink reserve_bytes reserve_held_bytes store total_bytes
        verity verity_required' store check
    promise atomic.store.fsck/2 'bytes images leftovers objects problems refs repaired streams' store fsck
    object=$("$ATOMIC" store stat --json t /a | jq -r .object)
    chmod +w "store/objects/${object:0:2}/${object:2}"
    echo x >>"store/objects/${object:0:2}/${object:2}"
    may_fail=1 promise atomic.store.fsck/2 'problems problems.kind problems.message problems.needed_by problems.object
        problems.path' store fsck
}

@test "trees" {
    promise atomic.tree.refs/1 'refs refs.ref refs.commit' tree refs
    promise atomic.tree.log/1 'commits commits.commit commits.parent commits.subject commits.timestamp commits.version' tree log m
    promise atomic.tree.show/1 'commit image packages parent subject timestamp version' tree show m
    promise atomic.tree.ls/1 "files$(with files. gid mode path size uid target)" tree ls m
    promise atomic.tree.pkglist/1 'commit packages' tree pkglist m
    promise atomic.tree.remotes/1 'remotes remotes.name remotes.url remotes.verify' tree remote list
}
