# SPDX-License-Identifier: LGPL-2.1-or-later
# The command table: every verb answers --help, unknown words are usage errors, later ones say so.

bats_require_minimum_version 1.5.0

# each_command FUNCTION: called with group ("" none), verb and program for every line of the table
each_command() {
    local group verb program rest
    while IFS=$'\t' read -r group verb program rest; do
        [ "$group" != - ] || group=
        "$1" "$group" "$verb" "$program"
        count=$((count + 1))
    done < <("$ATOMIC" help --table)
}

@test "atomic --help lists verbs and groups" {
    run "$ATOMIC" --help
    [ "$status" -eq 0 ]
    [[ $output == *"  upgrade "* ]]
    [[ $output == *" store"* ]]
}

@test "every verb answers --help with its usage and an example, or says that it is not supported yet" {
    check() {
        run "$ATOMIC" $1 $2 --help
        if [ "$3" = later ]; then
            [ "$status" -eq 1 ]
            [ "$output" = "atomic: not supported yet: atomic ${1:+$1 }$2" ]
        elif [[ $3 != =* || $output != "atomic: not supported yet: "* ]]; then
            [ "$status" -eq 0 ] || { echo "$1 $2: $output"; false; }
            [[ $output == "Usage:"*$'\nOptions:\n'*--help* ]] || { echo "$1 $2: no usage"; false; }
            grep -q '^  atomic ' <<<"${output##*Examples:}" || { echo "$1 $2: no example"; false; }
            [ "$output" = "$("$ATOMIC" help $1 $2)" ] || { echo "help $1 $2 differs"; false; }
        fi
    }
    count=0
    each_command check
    [ "$count" -gt 100 ]
}

@test "every group lists its verbs" {
    check() {
        [ -z "$1" ] || grep -q "^  $2 " <("$ATOMIC" "$1" --help) || { echo "$1 $2 is not listed"; false; }
        [ -n "$1" ] || grep -q "^  $2 " <("$ATOMIC" --help) || { echo "$2 is not listed"; false; }
    }
    each_command check
    [ "$("$ATOMIC" store)" = "$("$ATOMIC" store --help)" ]
    [ "$("$ATOMIC" help store)" = "$("$ATOMIC" store --help)" ]
}

@test "examples are commands that exist, with options that exist" {
    check() {
        [[ $3 != later && $3 != =* ]] || return 0
        local line word words text
        text=$("$ATOMIC" $1 $2 --help)
        while read -r line; do
            [[ $line == "atomic ${1:+$1 }$2"* ]] || { echo "$1 $2: example of another verb: $line"; false; }
            read -ra words <<<"${line#"atomic ${1:+$1 }$2"}"
            for word in "${words[@]}"; do
                [[ $word != -* || $word = - ]] || grep -qE -- "^  (-., )?${word%%=*}[ ,=]" <<<"$text" ||
                    { echo "$1 $2: no such option: $word"; false; }
            done
        done < <(sed -n '/^Examples:/,$p' <<<"$text" | sed -n 's/^  //p')
    }
    each_command check
}

@test "the table and the programs agree on who implements what" {
    for program in atomic atomic-store atomic-compose atomic-build atomic-serve; do
        in_table=$("$ATOMIC" help --table | awk -F'\t' -v p=$program '$3 == p {print $1 "\t" $2}' | sort)
        in_program=$("${ATOMIC%/*}/$program" help --verbs | sort)
        [ -n "$in_table" ]
        [ "$in_table" = "$in_program" ] || { diff <(echo "$in_table") <(echo "$in_program"); false; }
    done
}

@test "an unknown command is a usage error with a hint" {
    run "$ATOMIC" frobnicate
    [ "$status" -eq 2 ]
    [[ $output == *"'frobnicate' is not a command"* ]]
    [[ $output == *"hint:"* ]]
    run "$ATOMIC" store frobnicate
    [ "$status" -eq 2 ]
    [[ $output == *"'store frobnicate' is not a command"* ]]
    [[ $output == *"hint: see 'atomic store --help'"* ]]
    run "$ATOMIC" stauts
    [ "$status" -eq 2 ]
    [[ $output == *"hint: did you mean 'atomic status'?"* ]]
    run "$ATOMIC" gc
    [[ $output == *"hint: did you mean 'atomic store gc'?"* ]]
    run "$ATOMIC" container status
    [ "$status" -eq 2 ]
    run "$ATOMIC" --bogus ps
    [ "$status" -eq 2 ]
    [[ $output == "atomic: unknown option '--bogus'"*"hint: options follow the command"* ]]
    run --separate-stderr "$ATOMIC" help frobnicate
    [ "$status" -eq 2 ]
    [ -z "$output" ]
}

@test "wrong options and operands are named, with a hint, on stderr" {
    run --separate-stderr "$ATOMIC" store ls --bogus
    [ "$status" -eq 2 ]
    [ -z "$output" ]
    [ "$stderr" = "atomic: store ls: unknown option --bogus
hint: see 'atomic store ls --help'" ]
    run --separate-stderr "$ATOMIC" store cat one
    [ "$status" -eq 2 ]
    [ "$stderr" = "atomic: store cat: takes 2 arguments, not 1
hint: usage: atomic store cat [OPTIONS] IMAGE PATH" ]
    run --separate-stderr "$ATOMIC" ps --bogus
    [ "$status" -eq 125 ]
    [[ $stderr == "atomic: ps: unknown option --bogus"*"hint: see 'atomic ps --help'" ]]
}

@test "called docker: Docker's commands and its own name in the texts" {
    ln -s "$ATOMIC" "$BATS_TEST_TMPDIR/docker"
    docker() { "$BATS_TEST_TMPDIR/docker" "$@"; }
    [ "$(docker --version)" = "$("$ATOMIC" --version)" ]
    [ "$(docker -v)" = "$("$ATOMIC" --version)" ]
    run docker --help
    [ "$status" -eq 0 ]
    [[ $output == "Usage: docker COMMAND"* ]]
    [[ $output != *" atomic "* && $output != *"  compose "* && $output != *"  upgrade "* ]]
    run docker help run
    [ "$status" -eq 0 ]
    [[ $output == *"docker run [OPTIONS] IMAGE"*"  docker run --rm "* ]]
    [ "$output" = "$(docker container run --help)" ]
    run docker compose up
    [ "$status" -eq 125 ]
    [[ $output == "docker: 'compose' is not a command"* ]]
    run docker pull x
    [ "$status" -eq 1 ]
    [[ $output == "docker: not supported yet: "* ]]
    run docker image rm
    [ "$status" -eq 125 ]
    [[ $output == *"hint: usage: docker rmi [OPTIONS] IMAGE..."* ]]
}

@test "what is planned answers 'not supported yet' with status 1" {
    run "$ATOMIC" pull debian
    [ "$status" -eq 1 ]
    [ "$output" = "atomic: not supported yet: atomic pull" ]
}

@test "a reader that went away is no error message" {
    run bash -c '"$1" --help | true; "$1" store --help | head -1' - "$ATOMIC"
    [ "$output" = "Usage: atomic store COMMAND [OPTIONS]" ]
    run --separate-stderr bash -c 'trap "" PIPE; "$1" --help | sleep 0.1; "$1" help ps | sleep 0.1' - "$ATOMIC"
    [ -z "$stderr" ]
}

@test "a full disk is an error" {
    run --separate-stderr bash -c '"$1" --help >/dev/full' - "$ATOMIC"
    [ "$status" -eq 1 ]
    [[ $stderr == "atomic: cannot write to standard output: "* ]]
    run --separate-stderr bash -c '"$1" help ps >/dev/full' - "$ATOMIC"
    [ "$status" -eq 1 ]
    [[ $stderr == "atomic: cannot write to standard output: "* ]]
}

@test "a helper program that is missing is named" {
    run env ATOMIC_LIBEXEC=/nonexistent "$ATOMIC" store ls
    [ "$status" -eq 1 ]
    [[ $output == *"cannot run '/nonexistent/atomic-store'"* ]]
    [[ $output == *"hint: "* ]]
}
