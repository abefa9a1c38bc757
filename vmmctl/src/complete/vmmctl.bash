# Completion of vmmctl in bash: vmmctl itself says what fits.
#
# Bash takes words apart at '=' and ':' too. They are put together again, so that `state=running` and `manager:8440` are one word, and
# of what fits only the part behind the last of those is given back, because that is what bash replaces.

_vmmctl_complete() {
    local rest="${COMP_LINE:0:COMP_POINT}" words=() index word blank
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word="${COMP_WORDS[index]}"
        blank="${rest%%[![:space:]]*}"
        rest="${rest#"$blank"}"
        # Of the last word only what stands before the cursor counts.
        ((index == COMP_CWORD)) && word="$rest"
        rest="${rest#"$word"}"
        if [[ -n "$blank" || ${#words[@]} -eq 0 ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+="$word"
        fi
    done
    local last=$((${#words[@]} - 1))
    local kept="${words[last]%"$2"}"
    local IFS=$'\v'
    COMPREPLY=($(
        _CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX="$last" _CLAP_COMPLETE_COMP_TYPE="$COMP_TYPE" \
            _CLAP_COMPLETE_SPACE=false COMPLETE=bash vmmctl -- "${words[@]}" 2>/dev/null
    )) || COMPREPLY=()
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=/:] ]] && compopt -o nospace
    return 0
}

complete -o bashdefault -o nosort -F _vmmctl_complete vmmctl
