# Completes kubectl-jit by itself. Bash splits words at COMP_WORDBREAKS, too, such as = and :, and replaces only what follows
# the last of these: here the words are put together again, and what stands before that is cut off what is offered.
_kubectl_jit() {
    local line=${COMP_LINE:0:COMP_POINT} words=() word space i last=-1
    for ((i = 0; i <= COMP_CWORD; i++)); do
        space=${line%%[![:space:]]*}
        line=${line#"$space"}
        # The cursor may stand within the last one.
        word=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then word=$line; fi
        line=${line#"$word"}
        word=${word//[\"\'\\]/}
        if [[ -n $space || i -eq 0 ]]; then
            words[++last]=$word
        else
            words[last]+=$word
        fi
    done
    local before=${words[last]%"$2"} candidate
    if [[ -n $2 && $before == "${words[last]}" ]]; then before=; fi
    COMPREPLY=()
    while IFS= read -r candidate || [[ -n $candidate ]]; do
        COMPREPLY+=("${candidate#"$before"}")
    done < <(KUBECTL_JIT_COMPLETE=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$last kubectl-jit -- "${words[@]}" 2>/dev/null)
    # More follows a folder, and a part of a name.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
# Older ones sort.
complete -o bashdefault -o nosort -F _kubectl_jit kubectl-jit 2>/dev/null \
    || complete -o bashdefault -F _kubectl_jit kubectl-jit
