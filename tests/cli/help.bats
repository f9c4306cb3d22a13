# SPDX-License-Identifier: LGPL-2.1-or-later
# The command table: every verb answers --help, unknown words are usage errors, later ones say so.

@test "atomic --help lists verbs and groups" {
    run "$ATOMIC" --help
    [ "$status" -eq 0 ]
    [[ $output == *"  upgrade "* ]]
    [[ $output == *" store"* ]]
}

@test "every verb answers --help with its usage, or says that it is not supported yet" {
    verbs() { "$ATOMIC" $1 --help | sed -nE 's/^  ([a-z][a-z-]*) .*/\1/p'; }
    groups=$("$ATOMIC" --help | sed -n '/^Groups/,/^$/p' | tail -n +2)
    [ -n "$groups" ]
    count=0
    for group in "" $groups; do
        for verb in $(verbs "$group"); do
            run "$ATOMIC" $group $verb --help
            count=$((count + 1))
            if [ "$status" -eq 0 ]; then
                [[ $output == *"Usage:"* ]] || { echo "$group $verb: no usage"; false; }
            else
                [[ $output == "atomic: not supported yet: "* ]] || { echo "$group $verb: $output"; false; }
            fi
        done
    done
    [ "$count" -gt 60 ]
}

@test "an unknown command is a usage error with a hint" {
    run "$ATOMIC" frobnicate
    [ "$status" -eq 2 ]
    [[ $output == *"'frobnicate' is not a command"* ]]
    [[ $output == *"hint:"* ]]
    run "$ATOMIC" store frobnicate
    [ "$status" -eq 2 ]
    [[ $output == *"'store frobnicate' is not a command"* ]]
}

@test "what is planned answers 'not supported yet' with status 1" {
    run "$ATOMIC" pull debian
    [ "$status" -eq 1 ]
    [ "$output" = "atomic: not supported yet: atomic pull" ]
}
