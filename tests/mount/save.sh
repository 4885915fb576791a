#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Editors save by writing a new file and renaming it over the old one, with and without a backup.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
echo "version 0" >"$MNT/doc"
cat "$MNT/doc" >/dev/null
for i in $(seq 20); do
    # New file, synced, renamed over.
    { echo "version $i" && seq $((i * 500)); } >"$MNT/.doc.swp.tmp"
    sync "$MNT/.doc.swp.tmp"
    mv "$MNT/.doc.swp.tmp" "$MNT/doc"
    sync "$MNT" # fsync of the directory, as careful editors do
    expect_eq "version $i" "$(head -n1 "$MNT/doc")" "after rename"
    cmp "$MNT/doc" "$ORIGIN/doc"
    # Old file renamed to a backup, new file under the old name.
    mv "$MNT/doc" "$MNT/doc~"
    { echo "version $i again" && seq $((i * 300)); } >"$MNT/doc"
    chmod --reference="$MNT/doc~" "$MNT/doc"
    expect_eq "version $i again" "$(head -n1 "$MNT/doc")" "after a save with backup"
    expect_eq "version $i" "$(head -n1 "$MNT/doc~")" "the backup"
    cmp "$MNT/doc" "$ORIGIN/doc"
    rm "$MNT/doc~"
done
expect_eq doc "$(names_in "$MNT")" "what is left"
expect_eq doc "$(names_in "$ORIGIN")" "what is left at the origin"
