#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Link counts: of directories by their subdirectories, of files by their names.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

mkdir -p "$ORIGIN/d/a" "$ORIGIN/d/b"
cairn_mount
links() { stat -c %h "$MNT/$1"; }
# Some origins tell no count; then directories say 1, which programs take for "unknown".
base=$(links d)
if [[ $KIND == file || -n $PLAIN ]]; then
    expect_eq 4 "$base" "d with two subdirectories"
else
    [[ $base == 1 || $base == 4 ]] || fail "d: $base"
fi
if ((base > 1)); then
    mkdir "$MNT/d/c" && expect_eq 5 "$(links d)" "after mkdir"
    rmdir "$MNT/d/c" && expect_eq 4 "$(links d)" "after rmdir"
    mkdir "$MNT/e" && mv "$MNT/d/a" "$MNT/e/a"
    expect_eq "3 3" "$(links d) $(links e)" "after rename"
    touch "$MNT/d/file" && expect_eq 3 "$(links d)" "a file doesn't count"
fi
find "$MNT" -mindepth 1 >/dev/null
expect_eq "$(cd "$ORIGIN" && find . -type d | sort)" "$(cd "$MNT" && find . -type d | sort)" "find"
if origin_can hard-links; then
    echo x >"$MNT/one" && ln "$MNT/one" "$MNT/two" && ln "$MNT/two" "$MNT/d/three"
    expect_eq "3 3 3" "$(links one) $(links two) $(links d/three)" "three names"
    echo changed >"$MNT/two"
    expect_eq changed "$(cat "$MNT/one")" "content by the other name"
    expect_eq changed "$(cat "$ORIGIN/d/three")" "content at the origin"
    [[ "$ORIGIN/one" -ef "$ORIGIN/two" ]] || fail "writing broke the hard link at the origin"
    rm "$MNT/one" && expect_eq "2 2" "$(links two) $(links d/three)" "after rm"
    expect_eq changed "$(cat "$MNT/two")" "content after rm"
    expect_error 'not permitted|not allowed' ln "$MNT/d" "$MNT/dirlink"
fi
