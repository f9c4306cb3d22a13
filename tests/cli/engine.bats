# SPDX-License-Identifier: LGPL-2.1-or-later
# Containers as a Docker user knows them: words, output, exit codes.

bats_require_minimum_version 1.5.0
load engine.bash

setup_file() { engine_setup "$BATS_FILE_TMPDIR"; }
teardown_file() { engine_teardown "$BATS_FILE_TMPDIR"; }
teardown() { for id in $(a ps -aq); do a rm -f "$id" >/dev/null; done; }

# wait_for COMMAND...: until it succeeds, at most 5 s
wait_for() {
    for _ in $(seq 100); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.05
    done
    return 1
}

# what containers leave on disk when they are gone: nothing
leftovers() {
    find "$ATOMIC_ROOT"/{containers,volatile,names} "$ATOMIC_RUN/containers" "$ATOMIC_STORE/images/refs/container" -mindepth 1
}

@test "run gives the command's output, streams and exit code" {
    run --separate-stderr a run --rm base sh -c 'echo out; echo err >&2; exit 3'
    [ "$status" -eq 3 ]
    [ "$output" = out ]
    [ "$stderr" = err ]
    run a run --rm base sh -c 'sleep 9 & kill -TERM $!; wait $!'
    [ "$status" -eq 143 ]
    run a run --rm base true
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "125, 126 and 127 are Docker's" {
    run a run nosuch true
    [ "$status" -eq 125 ]
    [[ ${lines[0]} == *"Unable to find image 'nosuch:latest' locally" ]]
    [[ $output == *"not supported yet"* ]]
    run a run --rm base /etc/passwd
    [ "$status" -eq 126 ]
    [[ $output == *"/etc/passwd"*"permission denied"* ]]
    run -127 a run --rm base nosuch
    [[ $output == *'"nosuch": executable file not found in $PATH'* ]]
    run a run --bogus base
    [ "$status" -eq 125 ]
    run a run
    [ "$status" -eq 125 ]
    run a run --rm empty
    [ "$status" -eq 125 ]
    [[ $output == *"no command specified"* ]]
    run a run --restart always base true
    [ "$status" -eq 125 ]
    [[ $output == *"not supported yet: --restart"* ]]
    [ -z "$(a ps -aq)" ]
}

@test "a container that could not be started stays, created, with its reason" {
    run -127 a run --name broken base nosuch
    [[ $(a ps -a) == *Created*broken* ]]
    [[ $(a inspect -f '{{.State.Error}}' broken) == *nosuch* ]]
    a rm broken
}

@test "run -d prints the id; ps, port, logs, stop, start, wait, rm" {
    id=$(a run -d -P --name web web)
    [[ $id =~ ^[0-9a-f]{64}$ ]]
    [ -n "$(find /sys/fs/cgroup -maxdepth 3 -name "$id")" ]
    run a ps
    [ "${#lines[@]}" -eq 2 ]
    [[ ${lines[0]} =~ ^"CONTAINER ID   IMAGE     COMMAND "\ +"CREATED "\ +"STATUS "\ +"PORTS "\ +NAMES$ ]]
    [[ ${lines[1]} =~ ^${id:0:12}\ +web\ +'"inside serve 80 hel…"'\ +.*ago\ +Up\ .*0\.0\.0\.0:[0-9]+-\>80/tcp,\ 0\.0\.0\.0:[0-9]+-\>443/tcp\ +web$ ]]
    port=$(a port web 80)
    [[ $port =~ ^0\.0\.0\.0:[0-9]+$ ]]
    [ "$(inside curl -sS -m 5 "http://127.0.0.1:${port##*:}")" = hello ]
    [[ $(a port web) == *"80/tcp -> $port"* ]]
    run a port web 81
    [ "$status" -eq 1 ]
    [[ $output == *"no public port '81/tcp' published for web"* ]]
    run --separate-stderr a logs web
    [ "$output" = "listening on 80" ]
    [ "$stderr" = served ]
    [[ $(a logs -t web 2>/dev/null) =~ ^20[0-9-]+T[0-9:.]+Z\ listening\ on\ 80$ ]]
    [ "$(a stop web)" = web ]
    [ -z "$(a ps -q)" ]
    [[ $(a ps -a) == *"Exited (0) "*" ago"*web* ]]
    [ "$(a wait web)" = 0 ]
    [[ $(a logs web 2>&1) == *stopping* ]]
    [ "$(a start web)" = web ]
    port=$(a port web 80)
    [ "$(inside curl -sS -m 5 "http://127.0.0.1:${port##*:}")" = hello ]
    run a rm web
    [ "$status" -eq 1 ]
    [[ $output == *"it is running"*"hint: stop it first"* ]]
    [ "$(a rm -f "${id:0:5}")" = "${id:0:5}" ]
    run a ps -a
    [ "${#lines[@]}" -eq 1 ]
    [ -z "$(leftovers)" ]
    [ -z "$(find /sys/fs/cgroup -maxdepth 3 -name "$id")" ]
}

@test "a killed container says 128 + the signal" {
    a run -d --name victim base sleep 100
    [ "$(a kill -s KILL victim)" = victim ]
    [ "$(a wait victim)" = 137 ]
    [[ $(a ps -a) == *"Exited (137)"* ]]
    run a kill victim
    [ "$status" -eq 1 ]
    [[ $output == *"it is not running"* ]]
    run a kill -s NONSENSE victim
    [ "$status" -eq 1 ]
    [[ $output == *"invalid signal: 'NONSENSE'"* ]]
}

@test "kill -s sends the signal that it names, a stop signal of its own is used" {
    a run -d --name one web
    wait_for grep -q listening <(a logs one)
    a kill -s USR1 one
    [ "$(a wait one)" = 42 ]
    a run -d --stop-signal USR1 --name two web
    wait_for eval 'a logs two | grep -q listening'
    a stop two
    [ "$(a wait two)" = 42 ]
}

@test "stop kills what does not stop" {
    a run -d --name deaf base sh -c 'trap "" TERM; sleep 100 & wait; sleep 100'
    started=$SECONDS
    a stop -t 1 deaf
    [ $((SECONDS - started)) -lt 8 ]
    [ "$(a wait deaf)" = 137 ]
}

@test "--rm leaves nothing, in the foreground and in the background" {
    a run --rm --name gone base true
    [ -z "$(a ps -aq)" ]
    # the name is free at once
    a run --rm --name gone base true
    a run -d --rm --name gone base sleep 0.2
    a wait gone >/dev/null || true
    wait_for eval '[ -z "$(leftovers)" ]'
    run -127 a run --rm --name gone base nosuch
    [ -z "$(leftovers)" ]
}

@test "what a container wrote is there when it is started again" {
    a run --name keeper base sh -c 'cat /data; echo again >>/data' || true
    run a start -a keeper
    [ "$output" = again ]
    run a start -a keeper
    [ "$output" = $'again\nagain' ]
    [ "$status" -eq 0 ]
}

@test "create makes a container that does not run yet" {
    id=$(a create --name later base sh -c 'echo ran')
    [[ $(a ps -a) == *Created*later* ]]
    run a start -a "$id"
    [ "$output" = ran ]
}

@test "standard input goes in with -i, and only then" {
    run a run -i --rm base cat <<<'some input'
    [ "$output" = 'some input' ]
    run a run --rm base cat <<<'some input'
    [ -z "$output" ]
    # more than any buffer
    sum=$(seq 300000 | tee >(md5sum >"$BATS_TEST_TMPDIR/sum") | a run -i --rm base cat | md5sum)
    [ "$sum" = "$(cat "$BATS_TEST_TMPDIR/sum")" ]
}

@test "a terminal with -t, with the size of ours" {
    run a run --rm base inside tty
    [ "$output" = 'no tty' ]
    run script -qec "stty rows 33 cols 77; timeout --foreground 20 nsenter --net=/proc/$(cat "$BATS_FILE_TMPDIR/netns")/ns/net \
        $ATOMIC run -it --rm base inside tty" /dev/null </dev/null
    [[ $output == *"tty 33 77"* ]]
    run a run -it --rm base true </dev/null
    [ "$status" -eq 125 ]
    [[ $output == *"the input device is not a TTY"* ]]
}

@test "exec runs in the container, with its own exit code, input and user" {
    a run -d --name box -e A=container base sleep 100
    run a exec box sh -c 'echo $A $HOSTNAME; ls /proc/1/exe -l; exit 7'
    [ "$status" -eq 7 ]
    [[ ${lines[0]} == "container $(a ps -q)" ]]
    [[ ${lines[1]} == *sleep* ]]
    run a exec -i box cat <<<'input of exec'
    [ "$output" = 'input of exec' ]
    run a exec -e A=mine -u u -w /tmp box sh -c 'id -un; pwd; echo $A'
    [ "$output" = $'u\n/tmp\nmine' ]
    run -127 a exec box nosuch
    run a exec box /etc/passwd
    [ "$status" -eq 126 ]
    a exec -d box touch /made
    wait_for a exec box stat /made
    sum=$(seq 300000 | tee >(md5sum >"$BATS_TEST_TMPDIR/sum") | a exec -i box cat | md5sum)
    [ "$sum" = "$(cat "$BATS_TEST_TMPDIR/sum")" ]
    run script -qec "stty rows 30 cols 70; timeout --foreground 20 $ATOMIC exec -it box inside tty" /dev/null </dev/null
    [[ $output == *"tty 30 70"* ]]
    a kill box
    a wait box
    run a exec box true
    [ "$status" -eq 1 ]
    [[ $output == *"is not running"* ]]
}

@test "root inside is not root outside" {
    a run -d --name box base sleep 100
    pid=$(a inspect -f '{{.State.Pid}}' box)
    [ "$(a exec box id -u)" = 0 ]
    uid=$(stat -c %u "/proc/$pid")
    [ "$uid" -ge 65536 ]
    [ "$(a exec box cat /proc/self/uid_map | awk '{ print $1, $2, $3 }')" = "0 $uid 65536" ]
    [ "$(a exec box cat /proc/1/comm)" = sleep ]
    # another container has other ids
    a run -d --name other base sleep 100
    [ "$(stat -c %u "/proc/$(a inspect -f '{{.State.Pid}}' other)")" != "$uid" ]
    # the files of the image belong to root inside
    [ "$(a exec box stat -c %u:%g /bin/sh)" = 0:0 ]
}

@test "options of the process: environment, user, directory, host name, entry point" {
    run a run --rm -e A=1 -eB=2 -u u -w /tmp -h box base sh -c 'echo $A $B $HOME; id -u; pwd; cat /proc/sys/kernel/hostname'
    [ "$output" = $'1 2 /home/u\n1000\n/tmp\nbox' ]
    run a run --rm --entrypoint cat web /etc/group
    [[ $output == root* ]]
    run a run --rm -u nobody-here base true
    [ "$status" -eq 125 ]
    [[ $output == *nobody-here* ]]
    printf '# comment\nC=from file\n' >"$BATS_TEST_TMPDIR/env"
    run a run --rm --env-file "$BATS_TEST_TMPDIR/env" base sh -c 'echo "$C"'
    [ "$output" = 'from file' ]
    run a run --rm --read-only base touch /x
    [ "$status" -eq 1 ]
    run a run --rm --cidfile "$BATS_TEST_TMPDIR/cid" base true
    [[ $(cat "$BATS_TEST_TMPDIR/cid") =~ ^[0-9a-f]{64}$ ]]
    run a run --rm --cidfile "$BATS_TEST_TMPDIR/cid" base true
    [ "$status" -eq 125 ]
}

@test "capabilities: eleven, and what is added and dropped" {
    caps() { a run --rm "$@" base sh -c 'while read -r k v; do [ "$k" = CapEff: ] && echo "$v"; done </proc/self/status'; }
    [ "$(caps)" = 00000000800405fb ]
    [ "$(caps --cap-drop ALL)" = 0000000000000000 ]
    [ "$(caps --cap-drop ALL --cap-add NET_ADMIN)" = 0000000000001000 ]
    [ "$(caps --cap-drop chown)" = 00000000800405fa ]
    run a run --rm --cap-add NONSENSE base true
    [ "$status" -eq 125 ]
    [[ $output == *"unknown capability 'NONSENSE'"* ]]
}

@test "a volume belongs to container root inside and to its owner outside" {
    vol=$BATS_TEST_TMPDIR/vol
    mkdir "$vol"
    echo mine >"$vol/file"
    echo secret >"$vol/other"
    chown 1234:1234 "$vol" "$vol/file"
    chmod 600 "$vol/other"
    run a run --rm -v "$vol:/v" base sh -c 'stat -c %u:%g /v/file; echo new >/v/new; cat /v/other'
    [ "${lines[0]}" = 0:0 ]
    [[ $output != *secret* ]]
    [ "$(stat -c %u:%g "$vol/new")" = 1234:1234 ]
    run a run --rm -v "$vol:/v:ro" base touch /v/x
    [ "$status" -eq 1 ]
    [[ $output == *"Read-only file system"* ]]
    for refused in "$ATOMIC_ROOT" "$ATOMIC_STORE" "$ATOMIC_RUN/containers" / "${ATOMIC_ROOT%/*}"; do
        run a run --rm -v "$refused:/v" base true
        [ "$status" -eq 125 ]
        [[ $output == *"cannot bind '$refused'"* ]]
    done
    run a run --rm -v data:/v base true
    [ "$status" -eq 125 ]
    [[ $output == *"not supported yet: named volume 'data'"* ]]
    # by wish: unshifted
    chown -R 0:0 "$vol"
    a run --rm -v "$vol:/v:idmap" base sh -c 'touch /v/by-u' -u u
    [ "$(stat -c %u "$vol/by-u")" = 0 ]
}

@test "a memory limit kills, and is said to have" {
    run a run --name fat -m 32m base inside eat 200
    [ "$status" -eq 137 ]
    [ "$(a inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' fat)" = 'true 137' ]
    run a run --rm -m 1m base true
    [ "$status" -eq 125 ]
    [[ $output == *"minimum allowed is 6MB"* ]]
}

@test "a limit of processes holds" {
    run a run --rm --pids-limit 5 base sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done'
    [[ $output == *"fork"* ]]
}

@test "networks: bridge, none, host; containers reach each other" {
    a run -d --name web web
    address=$(a inspect -f '{{.NetworkSettings.IPAddress}}' web)
    [[ $address == 10.97.0.* ]]
    run a run --rm base bash -c "exec 3<>/dev/tcp/$address/80; echo >&3; cat <&3"
    [[ $output == *hello ]]
    run a run --rm --network none base ls /sys/class/net
    [ "$output" = lo ]
    [ "$(a run --rm --network host base bash -c 'for n in /sys/class/net/*; do echo ${n##*/}; done' | grep -c atomic)" -le 1 ]
    run a run --rm --network mine base true
    [ "$status" -eq 125 ]
    [[ $output == *"not supported yet: network 'mine'"* ]]
}

@test "published ports: chosen, given, taken, of one address" {
    a run -d --name one -p 127.0.0.1:8088:80 web
    [ "$(a port one 80)" = 127.0.0.1:8088 ]
    [ "$(inside curl -sS -m 5 http://127.0.0.1:8088)" = hello ]
    run a run -d --name two -p 127.0.0.1:8088:80 web
    [ "$status" -eq 125 ]
    [[ $output == *8088* ]]
    # free again after the end
    a stop one
    a run -d --name three -p 8088:80 web
    [ "$(inside curl -sS -m 5 http://127.0.0.1:8088)" = hello ]
    run a run -d -p 99999:80 web
    [ "$status" -eq 125 ]
    [[ $output == *"invalid port '99999:80'"* ]]
}

@test "names: one holder, rules, prefixes" {
    id=$(a create --name taken base)
    run a create --name taken base
    [ "$status" -eq 1 ]
    [[ $output == *"'taken' is already in use by container ${id:0:12}"* ]]
    run a create --name x base
    [ "$status" -eq 1 ]
    [[ $output == *"invalid container name 'x'"* ]]
    run a rm nosuch taken
    [ "$status" -eq 1 ]
    [[ $output == *"no such container: nosuch"* ]]
    [[ $output == *taken* ]]
    [[ $(a inspect -f '{{.Name}}' "$(a create base)") =~ ^/[a-z]+_[a-z]+$ ]]
}

@test "ps: -a, -q, filters, formats, json" {
    a create --name first base >/dev/null
    a run -d --name second -l kind=test base sleep 100 >/dev/null
    [ "$(a ps --format '{{.Names}}')" = second ]
    [ "$(a ps -a --format '{{.Names}} {{.State}}')" = $'second running\nfirst created' ]
    [ "$(a ps -a -f name=fir --format '{{.Names}}')" = first ]
    [ "$(a ps -f status=created --format '{{.Names}}')" = first ]
    [ "$(a ps -f label=kind=test --format '{{.Names}}')" = second ]
    [ "$(a ps -aqf name=nothing)" = "" ]
    [ "$(a ps -aq --no-trunc | head -1 | wc -c)" -eq 65 ]
    [ "$(a ps -a --json | jq -r '.schema, .containers[1].Names')" = $'atomic.containers/1\nfirst' ]
    [ "$(a ps --format json | jq -r .Names)" = second ]
    [ "$(a ps --format 'table {{.Names}}\t{{.Image}}')" = $'NAMES     IMAGE\nsecond    base' ]
    [ "$(a container ls -q)" = "$(a ps -q)" ]
    run a ps -f nonsense=1
    [ "$status" -eq 1 ]
}

@test "inspect is Docker's document" {
    a run -d --name box -p 8099:80 -v "$BATS_TEST_TMPDIR:/v:ro" -m 64m web
    a inspect box >"$BATS_TEST_TMPDIR/json"
    jq -e '.[0] | .State.Running and .State.Status == "running" and .State.Pid > 0
        and .Name == "/box" and .Path == "inside" and .Args[0] == "serve"
        and .Config.Image == "web" and (.Image | startswith("sha256:"))
        and .HostConfig.Memory == 67108864 and .HostConfig.Binds[0] != null
        and .NetworkSettings.Ports["80/tcp"][0].HostPort == "8099"' "$BATS_TEST_TMPDIR/json"
    run --separate-stderr a inspect nosuch-thing box base
    [ "$status" -eq 1 ]
    [[ $stderr == "atomic: no such container or image: nosuch-thing"*"hint: "* ]]
    [ "$(jq -r '.[0].Name, .[1].RepoTags[0]' <<<"$output")" = $'/box\nbase:latest' ]
    run --separate-stderr a inspect nosuch-thing
    [ "$output" = '[]' ]
    a inspect --json box | jq -e '.schema == "atomic.inspect/1" and .objects[0].Name == "/box"'
    run a inspect --type volume box
    [ "$status" -eq 125 ]
    run a rm -f nosuch-thing box
    [ "$status" -eq 0 ]
    [[ $output == *"no such container: nosuch-thing"*box ]]
}

@test "logs: tail and follow" {
    a run --name talker base sh -c 'for i in 1 2 3 4 5; do echo line $i; done' >/dev/null
    [ "$(a logs --tail 2 talker)" = $'line 4\nline 5' ]
    [ "$(a logs -n 0 talker)" = "" ]
    [ "$(a logs --tail all talker | wc -l)" -eq 5 ]
    a run -d --name slow base sh -c 'echo early; sleep 0.5; echo late' >/dev/null
    [ "$(a logs -f slow)" = $'early\nlate' ]
    run a logs nosuch
    [ "$status" -eq 1 ]
}

@test "a container whose monitor was killed: ps does not hang, the container can be stopped and removed" {
    a run -d --name orphan web
    state=$ATOMIC_RUN/containers/$(a ps -q --no-trunc)/state.json
    kill -KILL "$(jq .monitor_pid "$state")"
    wait_for eval '! grep -q atomic-monitor /proc/$(jq .monitor_pid "$state")/cmdline'
    [[ $(timeout 5 "$ATOMIC" ps) == *Up*orphan* ]]
    a exec orphan true
    [ "$(a stop -t 2 orphan)" = orphan ]
    [[ $(timeout 5 "$ATOMIC" ps -a) == *"Exited (unknown)"*orphan* ]]
    a start orphan
    [[ $(a ps) == *Up*orphan* ]]
    a rm -f orphan
    [ -z "$(a ps -aq)" ]
}

@test "the end of a container is kept over a reboot" {
    a run --name kept base sh -c 'exit 9' || true
    wait_for test -e "$ATOMIC_ROOT/containers/$(a ps -aq --no-trunc)/state.json"
    rm -rf "$ATOMIC_RUN/containers"
    [[ $(a ps -a) == *"Exited (9)"*kept* ]]
    [ "$(a wait kept)" = 9 ]
    a rm kept
}

@test "Ctrl-C and signals reach the container" {
    nsenter --net="/proc/$(cat "$BATS_FILE_TMPDIR/netns")/ns/net" "$ATOMIC" run --rm --name fg web \
        >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    client=$!
    wait_for grep -q listening "$BATS_TEST_TMPDIR/out"
    kill -TERM $client
    wait $client
    grep -q stopping "$BATS_TEST_TMPDIR/out"
}

@test "info has the talk's lines, and --json" {
    run a info
    [ "$status" -eq 0 ]
    [[ $output =~ "Data Space Used: "[0-9.]+" "[kMG]?B ]]
    [[ $output == *"Data Space Total: "* ]]
    [[ $output == *"Data Space Available: "* ]]
    [[ $output == *"Metadata Space Used: "* ]]
    [[ $output == *"Cgroup Version: "* ]]
    a info --json | jq -e '.schema == "atomic.info/1" and .images == 3 and .data_bytes > 1000000 and .shared_bytes == 0'
    [[ $(a version) == *Version:* ]]
}

@test "called docker, it takes Docker's verbs and no others" {
    ln -s "$ATOMIC" "$BATS_TEST_TMPDIR/docker"
    run inside "$BATS_TEST_TMPDIR/docker" run --rm base echo hello
    [ "$output" = hello ]
    run inside "$BATS_TEST_TMPDIR/docker" run nosuch
    [ "$status" -eq 125 ]
    [[ $output == "docker: "* ]]
    run "$BATS_TEST_TMPDIR/docker" status
    [ "$status" -eq 125 ]
    [[ $output == *"docker: 'status' is not a command"* ]]
    run "$BATS_TEST_TMPDIR/docker" container ls -a
    [[ $output == "CONTAINER ID"* ]]
}
