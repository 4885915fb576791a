#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cat gives every file as the origin has it, of all sizes, cold and warm and in odd pieces.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

for size in 0 1 15 4095 4096 4097 16384 131072 262145 1048576 20000003; do
    tool pattern "$ORIGIN/f$size" "$size" "$size"
done
cairn_mount
for pass in cold warm; do
    for f in "$ORIGIN"/f*; do
        cat "$MNT/${f##*/}" | cmp - "$f" || fail "$pass: ${f##*/}"
    done
done
# From the middle, backwards, and with several readers at once.
f=f20000003
drop_pages "$MNT/$f"
for skip in 19000 3 12345 7; do
    cmp <(dd if="$MNT/$f" bs=1000 skip=$skip count=50 status=none) \
        <(dd if="$ORIGIN/$f" bs=1000 skip=$skip count=50 status=none)
done
tool pattern "$ORIGIN/late" 7 20000003
pids=()
for _ in 1 2 3 4; do
    cmp "$MNT/late" "$ORIGIN/late" &
    pids+=($!)
done
for p in "${pids[@]}"; do
    wait "$p" || fail "a reader beside others read something else"
done
expect_error 'Is a directory' cat "$MNT"
expect_error 'No such file' cat "$MNT/nothing"
