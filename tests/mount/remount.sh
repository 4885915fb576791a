#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# After a remount inode numbers are the same, and cached files are not fetched again.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

make_tree "$ORIGIN"
cairn_mount
same_tree "$ORIGIN" "$MNT"
echo made >"$MNT/made" && mkdir "$MNT/newdir" && mv "$MNT/made" "$MNT/newdir/made"
inodes() { (cd "$MNT" && find . -printf '%i %p\n' | sort -k2); }
inodes >"$T/before"
expect_eq "$(wc -l <"$T/before")" "$(cut -d' ' -f1 "$T/before" | sort -u | wc -l)" "distinct inodes"
cairn_remount
inodes >"$T/after"
diff "$T/before" "$T/after" || fail "inode numbers changed"
same_tree "$ORIGIN" "$MNT"
expect_eq 0 "$(counter fetch.bytes)" "bytes fetched after a remount"
# And after a crash.
cairn_kill9
cairn_mount
inodes >"$T/after"
diff "$T/before" "$T/after" || fail "inode numbers changed with a crash"
