#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# statfs tells the origin's room and the longest name.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
expect_eq 255 "$(stat -f -c %l "$MNT")" "longest name"
expect_eq "$(stat -f -c '%b %S' "$ORIGIN" | awk '{print $1 * $2}')" \
    "$(stat -f -c '%b %S' "$MNT" | awk '{print $1 * $2}')" "total bytes"
free=$(stat -f -c '%a %S' "$MNT" | awk '{print int($1 * $2 / 1048576)}')
there=$(stat -f -c '%a %S' "$ORIGIN" | awk '{print int($1 * $2 / 1048576)}')
((free > there - 2000 && free < there + 2000)) || fail "free: $free MiB, at the origin $there"
df -P "$MNT" >/dev/null && df -Pi "$MNT" >/dev/null
