#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Paths as long as PATH_MAX allows can be made, used and removed.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
longest=4095
if [[ $KIND == sftp ]]; then
    # The server names files from its own root.
    longest=$((4095 - ${#ORIGIN} - 20))
fi
for len in 10 300 1000 2500 $longest; do
    tool deep "$MNT" $len || fail "path of $len bytes"
done
expect_eq "" "$(names_in "$MNT")" "what is left"
tool deep "$MNT" 2000 keep
expect_eq 1 "$(find "$MNT" -type f | wc -l)" "files found"
same_tree "$ORIGIN" "$MNT"
rm -r "${MNT:?}"/*
expect_eq "" "$(names_in "$ORIGIN")" "what is left at the origin"
