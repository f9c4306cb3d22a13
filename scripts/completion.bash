# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion for bash: commands and options come from the program's own help, names from its lists.

_atomic_names() {
    case $1 in
    *CONTAINER*) atomic ps -a --format '{{.Names}}' ;;
    *NAME...*) atomic ps -a --format '{{.Names}}'; atomic images --json | sed -n 's/^ *"\([^"]*:[^" ]*\)",\{0,1\}$/\1/p' ;;
    *IMAGE*) [ "$2" = store ] && atomic store ls | cut -d' ' -f2- ||
        atomic images --json | sed -n 's/^ *"\([^"]*:[^" ]*\)",\{0,1\}$/\1/p' ;;
    REF*) atomic tree refs | cut -d' ' -f1 ;;
    esac 2>/dev/null
}

_atomic() {
    local word=${COMP_WORDS[COMP_CWORD]} table group=- verb line
    COMPREPLY=()
    table=$(atomic help --table 2>/dev/null) || return
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "$(awk -F'\t' '$3 != "later" {print $1 == "-" ? $2 : $1}' <<<"$table")" -- "$word"))
        return
    fi
    verb=${COMP_WORDS[1]}
    if awk -F'\t' -v g="$verb" '$1 == g {found = 1} END {exit !found}' <<<"$table"; then
        group=$verb
        verb=${COMP_WORDS[2]}
        if [ "$COMP_CWORD" -eq 2 ]; then
            COMPREPLY=($(compgen -W "$(awk -F'\t' -v g="$group" '$1 == g && $3 != "later" {print $2}' <<<"$table")" -- "$word"))
            return
        fi
    fi
    if [[ $word == -* ]]; then
        [ "$group" = - ] && group=
        COMPREPLY=($(compgen -W "$(atomic $group "$verb" --help 2>/dev/null | grep -oE '^  (-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+')" -- "$word"))
        return
    fi
    line=$(awk -F'\t' -v g="$group" -v v="$verb" '$1 == g && $2 == v {print $4}' <<<"$table")
    COMPREPLY=($(compgen -W "$(_atomic_names "$line" "$group")" -- "$word"))
    [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -F _atomic atomic
