# SPDX-License-Identifier: LGPL-2.1-or-later
# Documents with commands in them, and what those print.

# examples FILE: the file as it reads when each line "$ COMMAND" is followed by what that prints now. "```" ends output.
examples() {
    local line output=
    while IFS= read -r line; do
        [[ $line != '```' && $line != '$ '* ]] || output=
        [ -n "$output" ] || printf '%s\n' "$line"
        [[ $line == '$ '* ]] || continue
        output=yes
        eval "${line#'$ '}" 2>&1 || true
    done <"$1"
}

# by lines, so that both streams come in the order that one sees
atomic() { stdbuf -oL "$ATOMIC" "$@"; }
