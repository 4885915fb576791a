# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The command line tests source this. CAIRNFS names the program, SOURCE the project's directory.
set -euo pipefail
export LC_ALL=C

T=$(mktemp -d "${TMPDIR:-/tmp}/cairnfs-cli.XXXXXX")
trap 'rm -rf "$T"' EXIT
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
: "${CAIRNFS:?}" "${SOURCE:?}"

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# run ARGS...: sets RC; stdout is in $T/out, stderr in $T/err.
run() {
    RC=0
    "$CAIRNFS" "$@" >"$T/out" 2>"$T/err" </dev/null || RC=$?
}

# refused STATUS LINE ARGS...: exactly this one line on stderr, nothing on stdout.
refused() {
    local status=$1 line=$2
    shift 2
    run "$@"
    ((RC == status)) || fail "status $RC, not $status: $*"
    [[ $(cat "$T/err") == "cairnfs: $line" ]] || fail "should say '$line', said: $(cat "$T/err")"
    [[ ! -s $T/out ]] || fail "wrote to stdout: $*"
}

# options_of COMMAND: the long options that its help shows, without dashes.
options_of() {
    "$CAIRNFS" "$1" --help | grep -oE '^ {2}(-[a-z], | {4})--[a-z-]+' | sed 's/.*--//'
}

# shellcheck disable=SC2034 # used by those who source this
COMMANDS=(mount umount status chunks)
