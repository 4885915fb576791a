#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Help goes to stdout, in 80 columns, with status 0.
. "$(dirname "$0")/lib.sh"

check() {
    run "$@"
    ((RC == 0)) || fail "status $RC: $*"
    [[ -s $T/out && ! -s $T/err ]] || fail "help is not on stdout: $*"
    ! grep -E '.{81}' "$T/out" || fail "more than 80 columns: $*"
}

check --help
check -h
check help
for c in "${COMMANDS[@]}"; do
    grep -q "^  $c " "$T/out" || fail "help does not list $c"
done
for c in "${COMMANDS[@]}"; do
    check help "$c"
    check "$c" --help
    check "$c" -h
    [[ $(options_of "$c") == *help* ]] || fail "$c: no options in its help"
done
(($(options_of mount | wc -l) > 15)) || fail "the help of mount lacks options"
check --version
[[ $(cat "$T/out") =~ ^cairnfs\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "version: $(cat "$T/out")"
