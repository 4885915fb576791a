# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion of cairnfs for bash.

_cairnfs() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "mount umount status chunks help --version" -- "$cur")
        return
    fi
    case $prev in
    --cache | --ssh-config | --ssh-known-hosts | --ssh-identity)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --compress) words="none zstd" ;;
    --idmap) words="none user" ;;
    --log-level) words="error warn info debug" ;;
    --fresh) words="0 inf 5s 1m" ;;
    --cache-size | --memory | --timeout | --connections | --chunk-* | --min | --avg | --max | -o | --options)
        return
        ;;
    esac
    if [[ -n $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        return
    fi
    case ${COMP_WORDS[1]} in
    mount)
        words="--options --foreground --ro --allow-other --cache --cache-size --memory --fresh
            --timeout --connections --compress --chunk-min --chunk-avg --chunk-max --ssh-config
            --ssh-known-hosts --ssh-identity --idmap --log-level --debug --help"
        ;;
    umount) words="--lazy --help" ;;
    status) words="--json --help" ;;
    chunks) words="--min --avg --max --json --help" ;;
    help) words="mount umount status chunks" ;;
    esac
    if [[ ${COMP_WORDS[1]} == help || $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    elif [[ ${COMP_WORDS[1]} == umount || ${COMP_WORDS[1]} == status ]]; then
        mapfile -t COMPREPLY < <(compgen -W \
            "$(awk '/ - fuse\.cairnfs / { print $5 }' /proc/self/mountinfo)" -- "$cur")
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -F _cairnfs cairnfs
