#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A sparse file of 6 GiB: read at its ends, edited in place, sparse and equal at the origin.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

size=$((6 << 30))
truncate -s $size "$ORIGIN/s"
ends() { # FILE SEED
    for off in 0 $((size / 2)) $((size - 65536)); do
        dd if="$T/block$2" of="$1" bs=65536 seek=$((off / 65536)) conv=notrunc status=none
    done
}
tool pattern "$T/block1" 1 65536
tool pattern "$T/block2" 2 65536
ends "$ORIGIN/s" 1
cairn_mount
expect_eq $size "$(stat -c %s "$MNT/s")" size
check() { # FILE SEED
    for off in 0 $((size / 2)) $((size - 65536)); do
        dd if="$1" bs=65536 skip=$((off / 65536)) count=1 status=none | cmp - "$T/block$2"
    done
    dd if="$1" bs=1M skip=4000 count=2 status=none | cmp - <(head -c 2M /dev/zero)
    expect_eq 0 "$(tail -c 1 "$1" | cmp - <(tail -c 1 "$T/block$2") >/dev/null && echo 0)" "last byte"
}
within_ms 10000 check "$MNT/s" 1
within_ms 60000 ends "$MNT/s" 2
check "$MNT/s" 2
check "$ORIGIN/s" 2
expect_eq $size "$(stat -c %s "$ORIGIN/s")" "size at the origin"
blocks=$(stat -c %b "$ORIGIN/s")
((blocks * 512 < 64 << 20)) || fail "the origin's file is not sparse any more: $((blocks * 512)) bytes"
# One made through the mount.
truncate -s $size "$MNT/t"
expect_eq $size "$(stat -c %s "$MNT/t")" "size of a new one"
printf end >>"$MNT/t"
expect_eq $((size + 3)) "$(stat -c %s "$ORIGIN/t")" "size of a new one at the origin"
expect_eq end "$(tail -c 3 "$ORIGIN/t")" "its end"
