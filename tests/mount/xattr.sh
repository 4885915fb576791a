#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Extended attributes of the user namespace, where the origin has them, else EOPNOTSUPP.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

need setfattr getfattr
echo x >"$ORIGIN/f"
cairn_mount
if ! origin_can xattrs; then
    expect_error 'not supported' setfattr -n user.a -v 1 "$MNT/f"
    expect_eq "" "$(getfattr -d "$MNT/f" 2>&1)" "attributes where there are none"
    exit 0
fi
setfattr -n user.from-origin -v there "$ORIGIN/f"
setfattr -n user.a -v 1 "$MNT/f"
setfattr -n user.b -v 0x00ff0a "$MNT/f"
value() { getfattr --only-values --absolute-names -n "$1" "$2"; }
expect_eq 1 "$(value user.a "$MNT/f")" user.a
expect_eq 1 "$(value user.a "$ORIGIN/f")" "user.a at the origin"
expect_eq there "$(value user.from-origin "$MNT/f")" user.from-origin
expect_eq 00ff0a "$(value user.b "$MNT/f" | od -An -tx1 | tr -d ' ')" user.b
expect_eq "user.a user.b user.from-origin " \
    "$(getfattr --absolute-names "$MNT/f" | grep ^user | sort | tr '\n' ' ')" list
setfattr -x user.a "$MNT/f"
expect_error 'No such attribute' getfattr -n user.a "$MNT/f"
expect_error 'No such attribute' setfattr -x user.a "$MNT/f"
setfattr -n user.dir -v d "$MNT"
expect_eq d "$(value user.dir "$ORIGIN")" "of a directory"
big=$(head -c 3000 /dev/zero | tr '\0' x)
setfattr -n user.big -v "$big" "$MNT/f"
expect_eq "$big" "$(value user.big "$MNT/f")" "a long value"
# Kept when the content is replaced in place.
echo changed >"$MNT/f"
expect_eq there "$(value user.from-origin "$MNT/f")" "after a write"
expect_eq there "$(value user.from-origin "$ORIGIN/f")" "after a write, at the origin"
