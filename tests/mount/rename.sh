#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rename: over files, of directories, NOREPLACE and EXCHANGE, and what must fail.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
cd "$MNT"
echo a >a && echo b >b && mkdir -p d/e full && echo x >full/x
mv a b && expect_eq a "$(cat b)" "over a file"
[[ ! -e a ]] || fail "the old name is still there"
mv d moved && [[ -d moved/e ]] || fail "a directory"
echo in >moved/e/in && mv moved/e . && expect_eq in "$(cat e/in)" "to another directory"
expect_eq in "$(cat "$ORIGIN/e/in")" "at the origin"
expect_error 'not empty|File exists' mv -T e full
mkdir empty && mv -T e empty && expect_eq in "$(cat empty/in)" "over an empty directory"
expect_error 'subdirectory of itself|Invalid argument' mv empty empty/below
expect_error 'annot overwrite|Is a directory|Not a directory' mv -T b empty
expect_error 'File exists' tool rename2 noreplace b full/x
tool rename2 noreplace b c && expect_eq a "$(cat c)" NOREPLACE
if origin_can rename-exchange; then
    tool rename2 exchange c full/x
    expect_eq "x a" "$(cat c) $(cat full/x)" EXCHANGE
    tool rename2 exchange c empty
    expect_eq "x in" "$(cat empty) $(cat c/in)" "EXCHANGE of a file and a directory"
    expect_error 'No such file' tool rename2 exchange c nothing
else
    expect_error 'Invalid argument' tool rename2 exchange c full/x
fi
# A directory with open and cached files below goes on working under its new name.
mkdir -p t/u && tool pattern t/u/f 5 500000 && exec 5<t/u/f
mv t v && tool verify v/u/f 5 500000 && head -c 500000 <&5 | cmp - v/u/f
exec 5<&-
echo more >>v/u/f && expect_eq 500005 "$(stat -c %s "$ORIGIN/v/u/f")" "written under the new name"
cd "$T"
same_tree "$ORIGIN" "$MNT"
