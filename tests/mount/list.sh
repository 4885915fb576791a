#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ls -lR and find tell the same about the mount as about the origin.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

make_tree "$ORIGIN"
cairn_mount
# Not the totals: blocks are the origin's own business. Not directory sizes.
listing() {
    (cd "$1" && ls -lRn --time-style=+%s | grep -v ^total | sed -E 's/^(d\S+ +\S+ +\S+ +\S+) +\S+/\1/')
}
[[ $KIND == file || -n $PLAIN ]] && expect_eq "$(listing "$ORIGIN")" "$(listing "$MNT")" "ls -lR"
same_tree "$ORIGIN" "$MNT"
# Also when asked again, from the kernel's and the mount's memory.
same_tree "$ORIGIN" "$MNT"
