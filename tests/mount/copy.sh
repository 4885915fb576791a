#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cp -a into and out of the mount keeps contents, modes, owners, times, symlinks and hard links.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

make_tree "$T/tree"
cairn_mount
! origin_can hard-links || ln "$T/tree/f65536" "$T/tree/sub/hard"
cp -a "$T/tree" "$MNT/in"
same_tree "$T/tree" "$MNT/in"
same_tree "$T/tree" "$ORIGIN/in"
if origin_can hard-links; then
    expect_eq "$(stat -c %i "$MNT/in/f65536")" "$(stat -c %i "$MNT/in/sub/hard")" "inode of a hard link"
    [[ "$ORIGIN/in/f65536" -ef "$ORIGIN/in/sub/hard" ]] || fail "not one file at the origin"
fi
cp -a "$MNT/in" "$T/out"
same_tree "$T/tree" "$T/out"
rm -r "$MNT/in"
expect_eq "" "$(names_in "$ORIGIN")" "what is left after rm -r"
