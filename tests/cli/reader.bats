# SPDX-License-Identifier: LGPL-2.1-or-later
# docs/store.md is enough to write a reader from: reader.c is one, and what it reads is what went in. The examples of the
# document are run, too.

bats_require_minimum_version 1.5.0
load examples.bash

setup() {
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store ATOMIC_LIBEXEC=${ATOMIC%/*} LC_ALL=C
    repo=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    cd "$BATS_TEST_TMPDIR"
    umask 022
}

reader() { "$ATOMIC_TEST_BIN/reader" "$@"; }

# What an image can say, but for whiteouts and escapes, which are in tests/data/composefs.
make_tree() {
    mkdir -p tree/usr/share/many tree/odd
    for size in 0 1 64 65 4096 4097 524289; do
        head -c $size /dev/urandom >tree/usr/share/size-$size
    done
    (cd tree/usr/share/many && touch $(seq -f 'a-file-with-a-long-name-%g' 300))
    ln tree/usr/share/size-65 tree/odd/hard
    ln -s usr/share tree/link
    ln -s "$(printf '%04000d' 0)" tree/odd/long-link
    printf n >tree/odd/$'na\xffme \n\\='
    printf n >tree/ab
    chmod 4750 tree/usr/share/size-4097
    setfattr -n user.label -v same tree/usr/share/size-1 tree/ab tree/usr/share/size-4096
    setfattr -n user.alone -v 'a=b' tree/odd
    touch -d '2021-02-03 04:05:06.789 UTC' tree/ab
    touch -d '1960-01-01 00:00:00.5 UTC' tree/usr/share/size-0
}

# NAME: the reader lists the image as the program does, and finds nothing wrong
same_listing() {
    atomic store export "$1" --dump program.dump
    reader store "$1" >reader.dump
    cmp program.dump reader.dump
}

@test "an image: every name, its metadata, the digests of all files" {
    atomic store init
    make_tree
    digest=$(atomic store import --dir tree --name 'a/.b%c')
    same_listing 'a/.b%c'
    same_listing "$digest"
    [ "$(wc -l <reader.dump)" -gt 300 ]
    grep -q '^/usr/share/size-524289 524289 .* [0-9a-f]\{64\}$' reader.dump
    run -1 reader store nosuch
    [ "$output" = "reader: there is no stream or image 'nosuch'" ]
}

@test "a real tree: thousands of names and small files" {
    mkdir -p tree/many
    cp -a /usr/share/perl5 /usr/share/zoneinfo /etc/alternatives tree/ 2>/dev/null || true
    (cd tree/many && seq -f 'a-rather-long-name-%g' 3000 | xargs touch)
    ln tree/many/a-rather-long-name-1 tree/hard
    mknod tree/device b 7 1 2>/dev/null || mkfifo tree/device
    atomic store init
    atomic store import --dir tree --name t
    same_listing t
    [ "$(wc -l <reader.dump)" -gt 3000 ]
    [ "$(cut -d' ' -f1 reader.dump)" = "$(atomic store ls -R --json t | jq -r '"/", .files[].path' | sed 's/ /\\x20/g')" ]
}

@test "images of dumps: escaped attributes, whiteouts, devices, large directories, hard links" {
    atomic store init
    for dump in "$repo"/tests/data/composefs/v*.dump; do
        digest=$(atomic store import --dump "$dump")
        atomic store export "$digest" --dump program.dump
        # their objects are not in the store, so it complains, but reads on
        reader store "$digest" >reader.dump 2>missing || grep -q 'No such file' missing
        cmp program.dump reader.dump
        count=$((${count:-0} + 1))
    done
    [ "$count" -ge 8 ]
}

@test "a damaged object is found, and whose it is; a damaged image is not walked" {
    atomic store init
    make_tree
    digest=$(atomic store import --dir tree --name x)
    object=$(atomic store export x --dump - | awk '$1 == "/usr/share/size-4097" {print $9}')
    printf '\1' | dd of="store/objects/$object" bs=1 seek=4096 conv=notrunc status=none
    cmp -s "store/objects/$object" tree/usr/share/size-4097 && printf '\2' | dd of="store/objects/$object" bs=1 seek=4096 conv=notrunc status=none
    run -1 --separate-stderr reader store x
    [ "$stderr" = "reader: objects/$object is damaged
reader: it has the bytes of /usr/share/size-4097" ]
    rm "store/objects/$object"
    run -1 --separate-stderr reader store x
    [[ $stderr == "reader: objects/$object: No such file or directory"* ]]
    printf '\1' | dd of="store/images/$digest" bs=1 seek=100 conv=notrunc status=none
    run -1 --separate-stderr reader store x
    [[ -z $output && $stderr == *"is damaged"*"the image can't be read" ]]
}

@test "the tar of a layer comes back bit for bit" {
    make_tree
    truncate -s 3M tree/hole
    printf x >>tree/hole
    tar -C tree --format=pax --sparse --xattrs -b 37 -cf original.tar .
    echo behind the end >>original.tar
    "$ATOMIC_TEST_BIN/tar-stream" store original.tar >/dev/null
    # that program gives the stream no name
    object=$(cd store/objects && grep -rl '^SplitStream' .)
    id=oci-layer-sha256:$(sha256sum <original.tar | cut -d' ' -f1)
    ln -s "../objects/${object#./}" "store/streams/$id"
    reader store "$id" | cmp - original.tar
    [ "$(stat -c %s "store/streams/$id" -L)" -lt 50000 ]
}

@test "a container image: its layer has the name of its bytes, its names lead to it" {
    make_tree
    id=$("$ATOMIC_TEST_BIN/make-image" store web tree cmd=/x)
    [ "$(reader store "oci-config-$id" | sha256sum | cut -d' ' -f1)" = "${id#sha256:}" ]
    layer=$(reader store "oci-config-$id" | jq -r '.rootfs.diff_ids[0]')
    [ "sha256:$(reader store "oci-layer-$layer" | sha256sum | cut -d' ' -f1)" = "$layer" ]
    manifest=$(basename "$(readlink store/streams/refs/oci/web:latest)")
    reader store "$manifest" refs | grep -q " config:$id$"
    image=$(reader store "oci-config-$id" refs | awk '$2 == "composefs.image.v1" {print $1}')
    same_listing "$image"
    # an object that the layer needs
    object=$(awk '$1 == "/usr/share/size-524289" {print $9}' reader.dump)
    truncate -s -1 "store/objects/$object"
    run -1 --separate-stderr reader store "oci-layer-$layer"
    [[ $stderr == "reader: objects/$object is damaged"* ]]
}

@test "a commit: its objects by their checksums, and its image" {
    make_tree
    rm tree/odd/na* # OSTree has names in UTF-8 only
    atomic store init
    atomic tree commit --ref os --dir tree
    id=$(basename "$(readlink store/streams/refs/ostree/os)")
    [[ $id = ostree-commit-* ]]
    reader store "$id" >body
    python3 - body "${id#ostree-commit-}" <<'END'
import hashlib, struct, sys
body = open(sys.argv[1], "rb").read()
index, flags, *ends = struct.unpack_from("<258I", body)
n = ends[-1]
ids = [body[1032 + i * 32:][:32] for i in range(n)]
data = 1032 + n * 44
assert ids == sorted(ids) and ids[index].hex() == sys.argv[2]
for first in range(256):
    assert ends[first] == sum(i[0] <= first for i in ids)
offset, length, external = struct.unpack_from("<3I", body, 1032 + n * 32 + index * 12)
commit = body[data + offset * 8:][:length]
assert external == 0xffffffff and hashlib.sha256(commit).digest() == ids[index]
END
    image=$(reader store "$id" refs | awk '$2 == "composefs.image" {print $1}')
    same_listing "$image"
}

@test "the examples of the document print what it says" {
    [ "$(id -u)" = 0 ] || skip "the files of the example are root's"
    [[ $(atomic store init --store probe 2>&1) == *'fs-verity: none'* ]] || skip 'objects have fs-verity: none can be damaged'
    examples "$repo/docs/store.md" >now.md
    [ "$(grep -c '^\$ ' now.md)" -ge 8 ]
    diff "$repo/docs/store.md" now.md
}
