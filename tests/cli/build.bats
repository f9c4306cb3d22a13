# SPDX-License-Identifier: LGPL-2.1-or-later
# atomic build, images, rmi, tag, history, image …, with images whose only program is the static test probe.

setup() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/store ATOMIC_ROOT=$BATS_TEST_TMPDIR/root ATOMIC_RUN=$BATS_TEST_TMPDIR/run
    unset SOURCE_DATE_EPOCH
    cd "$BATS_TEST_TMPDIR"
    mkdir context
    cp "$ATOMIC_TEST_BIN/test-probe" context/probe
}

# the Dockerfile is standard input
build() {
    cat >context/Dockerfile
    run "$ATOMIC" build --network none "$@" context
}

fails_with() { # STATUS TEXT
    [ "$status" -eq "$1" ] || { echo "status $status, not $1: $output"; false; }
    [[ $output == *"$2"* ]] || { echo "no '$2' in: $output"; false; }
}

@test "FROM scratch: files, metadata, RUN, and Docker's words about it" {
    build -t web -t team/web:1 <<'END'
FROM scratch
COPY probe /bin/probe
ENV A=1 B="two words"
ARG C=3
RUN ["/bin/probe", "env", "A", "env", "B", "env", "C", "write", "/out", "from-run"]
WORKDIR /srv/www
EXPOSE 80 53/udp
USER 33
CMD ["/bin/probe", "cat", "/out"]
END
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    [ "${lines[0]}" = "Step 1/9 : FROM scratch" ]
    [[ $output == *$'\n'"Step 5/9 : RUN [\"/bin/probe\", "* ]]
    [[ $output == *$'\n ---> Running in '* ]]
    [[ $output == *$'\n1\ntwo words\n3\nok\n'* ]]
    [[ $output == *$'\nSuccessfully built '* ]]
    [ "${lines[-2]}" = "Successfully tagged web:latest" ]
    [ "${lines[-1]}" = "Successfully tagged team/web:1" ]

    run "$ATOMIC" image inspect web
    [ "$(jq -c '.[0].Config | [.Env[1:], .User, .WorkingDir, .Cmd, (.ExposedPorts | keys)]' <<<"$output")" = \
        '[["A=1","B=two words"],"33","/srv/www",["/bin/probe","cat","/out"],["53/udp","80/tcp"]]' ]
    [ "$(jq '.[0].RootFS.Layers | length' <<<"$output")" -eq 3 ]

    # the layer of RUN has what RUN wrote, and nothing of what the sandbox mounted or made to mount on
    run "$ATOMIC" store ls oci/web:latest /
    [ "$(awk '{ print $NF }' <<<"$output" | tr '\n' ' ')" = "/bin /out /srv " ] || { echo "$output"; false; }

    # collecting garbage takes nothing that the image or the cache needs
    "$ATOMIC" store gc
    "$ATOMIC" store fsck
    run "$ATOMIC" build --network none -f - context <<<$'FROM web\nUSER 0\nRUN ["/bin/probe", "cat", "/out"]'
    [ "$status" -eq 0 ]
    [[ $output == *$'\nfrom-run\n'* ]]
    build <<<$'FROM scratch\nCOPY probe /bin/probe\nENV A=1 B="two words"'
    [ "$(grep -c '^ ---> Using cache$' <<<"$output")" -eq 2 ]
}

@test "a second build takes everything from the cache; a changed file from there on" {
    dockerfile=$'FROM scratch\nENV A=1\nCOPY probe /p\nRUN ["/p", "write", "/x", "y"]\nCOPY data /data\nCMD ["/p"]\n'
    echo one >context/data
    build <<<"$dockerfile"
    first=${lines[-1]}
    [[ $output != *"Using cache"* ]]
    touch context/data
    build <<<"$dockerfile"
    [ "$(grep -c '^ ---> Using cache$' <<<"$output")" -eq 5 ]
    [ "${lines[-1]}" = "$first" ]
    echo two >context/data
    build <<<"$dockerfile"
    [ "$(grep -c '^ ---> Using cache$' <<<"$output")" -eq 3 ]
    [ "${lines[-1]}" != "$first" ]
    build --no-cache <<<"$dockerfile"
    [[ $output != *"Using cache"* ]]
}

@test "with SOURCE_DATE_EPOCH the same inputs give the same image, in another store too" {
    export SOURCE_DATE_EPOCH=1700000000
    dockerfile=$'FROM scratch\nCOPY probe /p\nRUN ["/p", "write", "/x", "y"]\nLABEL a=b\n'
    build -q <<<"$dockerfile"
    [ "$status" -eq 0 ]
    [[ $output == sha256:???????????????????????????????????????????????????????????????? ]]
    first=$output
    export ATOMIC_STORE=$BATS_TEST_TMPDIR/other
    sleep 1
    touch context/probe
    build -q <<<"$dockerfile"
    [ "$output" = "$first" ]
    [ "$("$ATOMIC" image inspect "${first:7:12}" | jq -r '.[0].Created')" = 2023-11-14T22:13:20Z ]
}

@test "a RUN that fails: Docker's message and the command's status; nothing is tagged" {
    build -t web <<'END'
FROM scratch
COPY probe /bin/probe
SHELL ["/bin/probe", "exit"]
RUN 7
END
    fails_with 7 "The command '/bin/probe exit 7' returned a non-zero code: 7"
    run "$ATOMIC" images -q
    [ -z "$output" ]
    build <<'END'
FROM scratch
COPY probe /bin/probe
RUN ["/nothing"]
END
    [ "$status" -ne 0 ]
    [[ $output == *"Dockerfile:3: "* && $output == *"/nothing"* ]]
    # nothing is left of the steps
    [ -z "$(ls "$ATOMIC_ROOT/build")" ]
}

@test "mistakes: what, where, and what was expected" {
    build <<<$'FROM scratch\n\nCOPPY a b'
    fails_with "$status" "atomic: Dockerfile:3: unknown instruction 'COPPY'"
    [ "$status" -ne 0 ]
    build <<<$'FROM scratch\nCOPY nothing /'
    [ "$status" -ne 0 ]
    [[ $output == *"Dockerfile:2: no file 'nothing' in the build context"* ]]
    build <<<$'FROM scratch\nCOPY ../../etc/passwd /'
    [ "$status" -ne 0 ]
    [[ $output == *"Dockerfile:2: '../../etc/passwd' leads out of the build context"* ]]
    build <<<$'FROM no-such-image\n'
    [ "$status" -ne 0 ]
    [[ $output == *"Dockerfile:1: no such image 'no-such-image'"* && $output == *"hint: "* ]]
    build <<<$'FROM tree:no/such/branch\n'
    [ "$status" -ne 0 ]
    [[ $output == *"Dockerfile:1: "*"no/such/branch"* ]]
    build -t 'Not a name' <<<$'FROM scratch\nENV A=1'
    [ "$status" -ne 0 ]
    [[ $output == *"'Not a name' is not an image name"* ]]
    build <<<$'FROM scratch\nADD https://localhost/x /x'
    [ "$status" -ne 0 ]
    [[ $output == *"not supported yet: ADD of a URL"* ]]
    build --target nowhere <<<$'FROM scratch\nENV A=1'
    [ "$status" -ne 0 ]
    [[ $output == *"no stage 'nowhere'"* ]]
    run "$ATOMIC" build nowhere
    [ "$status" -ne 0 ]
    [[ $output == *"cannot open the build context 'nowhere'"* ]]
}

@test "links in the context lead nowhere else" {
    echo secret >secret
    ln -s ../secret context/relative
    ln -s "$PWD/secret" context/absolute
    ln -s / context/top
    for source in relative absolute top/etc/passwd "top${PWD}/secret"; do
        build <<<"FROM scratch"$'\n'"COPY $source /x"
        [ "$status" -ne 0 ]
        [[ $output == *"no file '$source' in the build context"* ]]
    done
    # inside a directory they are copied as links
    mkdir context/dir
    ln -s ../../secret context/dir/link
    build -t x <<<$'FROM scratch\nCOPY probe /p\nCOPY dir /dir\nRUN ["/p", "stat", "/dir/link"]'
    [ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "COPY: patterns, directories, .dockerignore, stages, owners" {
    mkdir -p context/src/sub context/skip
    echo a >context/src/a.c
    echo b >context/src/b.c
    echo h >context/src/sub/h.h
    echo no >context/skip/x
    echo keep >context/skip/keep
    printf 'skip/*\n!skip/keep\n**/*.h\n' >context/.dockerignore
    build -t x <<'END'
FROM scratch AS first
COPY probe /p
COPY --chown=33:44 --chmod=0600 src/*.c /c/
FROM scratch
COPY --from=first / /
COPY src /tree
COPY skip /skip/
RUN ["/p", "ls", "/c", "ls", "/tree", "ls", "/tree/sub", "ls", "/skip", "stat", "/c/a.c"]
END
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    [[ $output == *"a.c"*"b.c"* ]]
    [[ $output != *"h.h"* ]]
    [[ $output == *"keep"* ]]
    [[ $output == *"100600 33:44"* ]]
    build <<<$'FROM scratch\nCOPY src/a.c src/b.c /nodir'
    [ "$status" -ne 0 ]
    [[ $output == *"must be a directory and end with '/'"* ]]
}

@test "ADD unpacks a tar" {
    mkdir d
    echo inside >d/file
    tar -C d -czf context/d.tar.gz .
    build -t x <<'END'
FROM scratch
COPY probe /p
ADD d.tar.gz /unpacked/
COPY d.tar.gz /packed/
RUN ["/p", "cat", "/unpacked/file", "ls", "/packed"]
END
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    [[ $output == *$'\ninside\n'* ]]
    [[ $output == *"d.tar.gz"*"---> "* ]]
}

@test "names: tag, images, rmi, history" {
    build -t web <<<$'FROM scratch\nCOPY probe /p\nCMD ["/p"]'
    [ "$status" -eq 0 ]
    id=$("$ATOMIC" images -q)
    "$ATOMIC" tag web docker.io/library/other:v1
    run "$ATOMIC" images
    [[ ${lines[0]} == "REPOSITORY"*"TAG"*"IMAGE ID"*"CREATED"*"SIZE" ]]
    [[ $output == *"other "*"v1 "*"$id"* ]]
    [[ $output == *"web "*"latest "*"$id"* ]]
    [ "$("$ATOMIC" images -q other)" = "$id" ]
    [ -z "$("$ATOMIC" images -q other:v2)" ]
    run "$ATOMIC" history web
    [[ ${lines[1]} == "$id"*'#(nop)  CMD ["/p"]'* ]]
    [[ ${lines[2]} == "<missing>"*'COPY probe /p'* ]]
    run "$ATOMIC" rmi "$id"
    [ "$status" -ne 0 ]
    [[ $output == *"it has 2 names"* ]]
    run "$ATOMIC" rmi web
    [ "$output" = "Untagged: web:latest" ]
    run "$ATOMIC" rmi other:v1
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "Untagged: other:v1" ]
    [[ ${lines[1]} == "Deleted: sha256:$id"* ]]
    run "$ATOMIC" rmi other:v1
    [ "$status" -ne 0 ]
    [[ $output == *"no such image 'other:v1'"* ]]
    [ -z "$(ls "$ATOMIC_STORE/streams/refs/oci-cache")" ]
}

@test "a name that moves on leaves the old image unnamed" {
    build -q -t web <<<$'FROM scratch\nENV A=1'
    first=$output
    build -q -t web <<<$'FROM scratch\nENV A=2'
    run "$ATOMIC" images
    [ "$(grep -c '^<none> ' <<<"$output")" -eq 1 ]
    run "$ATOMIC" rmi "${first:7:12}"
    [ "$status" -eq 0 ]
    [ "$("$ATOMIC" images -q | wc -l)" -eq 1 ]
}

@test "RUN has the bridge by default" {
    [ "$(id -u)" -eq 0 ]
    printf 'FROM scratch\nCOPY probe /p\nRUN ["/p", "ls", "/sys/class/net"]\n' >context/Dockerfile
    run unshare -n "$ATOMIC" build context
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    [[ $output == *"eth0"* ]]
}

@test "a composed tree as an image; host and image share its objects" {
    mkdir -p tree/usr/etc tree/usr/bin tree/usr/lib/tmpfiles.d tree/var
    cp context/probe tree/usr/bin/probe
    ln -s usr/bin tree/bin
    ln -s var/roothome tree/root
    echo 'root:x:0:0:root:/root:/bin/probe' >tree/usr/etc/passwd
    printf 'd /var/roothome 0700 0 0 -\nL /var/run - - - - /run\n' >tree/usr/lib/tmpfiles.d/atomic-var.conf
    "$ATOMIC" tree commit --ref test/tree --dir tree
    run "$ATOMIC" image from-tree test/tree base
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    id=$output
    run "$ATOMIC" image from-tree test/tree base:again
    [ "$output" = "$id" ]
    build <<'END'
FROM tree:test/tree
RUN ["/bin/probe", "stat", "/root", "stat", "/tmp", "cat", "/etc/passwd", "env", "HOME"]
END
    [ "$status" -eq 0 ] || { echo "$output"; false; }
    [[ $output == *$'\n40700 0:0\n41777 0:0\nroot:x:0:0:'*$'\n/root\n'* ]]
}
