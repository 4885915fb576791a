#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# O_TRUNC and truncation both ways: at once for all that have the file open; growth is zero.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

tool pattern "$ORIGIN/big" 1 5000000
cairn_mount
tool truncopen "$MNT/f"
cmp "$MNT/f" "$ORIGIN/f"
# Of a file never read.
truncate -s 1234567 "$MNT/big"
tool verify "$MNT/big" 1 1234567
tool verify "$ORIGIN/big" 1 1234567
: >"$MNT/big"
expect_eq 0 "$(stat -c %s "$ORIGIN/big")" "size at the origin after O_TRUNC"
