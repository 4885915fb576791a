#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The disk tier never exceeds --cache-size, and goes on serving as it evicts.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

for i in $(seq 6); do
    tool pattern "$ORIGIN/f$i" "$i" 16000000
done
cairn_mount --cache-size 32M --memory 4M
for pass in 1 2; do
    for i in $(seq 6); do
        tool verify "$MNT/f$i" "$i" 16000000
        used=$(find "$CACHE" -path '*/segments/*' -printf '%b\n' | awk '{n += $1} END {print n * 512}')
        ((used <= 32 << 20)) || fail "pass $pass: $used bytes in segments with --cache-size 32M"
    done
done
(($(counter disk.evicted_segments) > 0)) || fail "nothing was evicted"
tool pattern "$MNT/written" 9 40000000
tool verify "$MNT/written" 9 40000000
tool verify "$ORIGIN/written" 9 40000000
