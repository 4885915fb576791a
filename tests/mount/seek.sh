#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SEEK_DATA and SEEK_HOLE tell the truth, and tell holes where the origin can.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

for f in "$ORIGIN/s" "$ORIGIN/t"; do
    tool pattern "$f" 1 100000
    truncate -s 20000000 "$f"
    printf data | dd of="$f" bs=1 seek=10000000 conv=notrunc status=none
done
cairn_mount
holes=()
origin_can seek-holes && holes=(holes)
tool seek "$MNT/s" "${holes[@]}" >"$T/map"
cat "$MNT/s" >/dev/null
tool seek "$MNT/s" "${holes[@]}"
# Without a hole in it.
tool pattern "$MNT/full" 2 100000
expect_eq "data 0 100000" "$(tool seek "$MNT/full")" "map of a full file"
# Made through the mount.
cp --sparse=always "$MNT/t" "$MNT/u"
cmp "$MNT/u" "$ORIGIN/t"
tool seek "$MNT/u"
