#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A remount with the origin down shows the tree as last seen; what is cached is readable.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

make_tree "$ORIGIN"
tool pattern "$ORIGIN/uncached" 5 400000
cp -a "$ORIGIN" "$T/copy"
cairn_mount
(cd "$MNT" && find . -type f ! -name uncached -exec cat {} + >/dev/null && find . -ls >/dev/null &&
    find . -type l -exec readlink {} + >/dev/null)
cairn_umount
sshd_kill
cairn_mount --timeout 2s
expect_eq "$(cd "$T/copy" && find . | sort)" "$(cd "$MNT" && find . | sort)" "the tree"
rm "$T/copy/uncached"
(cd "$T/copy" && find . -type f) | while read -r f; do
    cmp "$T/copy/$f" "$MNT/$f" || fail "$f"
done
expect_eq ../f4096 "$(readlink "$MNT/sub/link")" "a symlink"
expect_error 'timed out|No route|unreachable|Host is down' timeout $((20 * SLOW)) cat "$MNT/uncached"
expect_error 'timed out|No route|unreachable|Host is down' timeout $((20 * SLOW)) touch "$MNT/new"
# It comes back without a remount.
sshd_start
uncached() { tool verify "$MNT/uncached" 5 400000; }
wait_until 30 uncached || fail "the origin is back, the mount isn't"
touch "$MNT/new" && [[ -e $ORIGIN/new ]]
