#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Flipped bits and truncated segments in the disk tier: every read is right, the damage is counted.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

test_seed
for i in $(seq 5); do
    tool pattern "$ORIGIN/f$i" "$i" 8000000
done
cairn_mount
check() {
    local i
    for i in $(seq 5); do
        tool verify "$MNT/f$i" "$i" 8000000 || fail "$1: f$i (CAIRN_SEED=$SEED)"
    done
}
check "before"
cairn_umount
segments() { find "$CACHE" -path '*/segments/*' -type f -size +4k; }
[[ $(segments) ]] || fail "no segments below $CACHE"

say "--- a bit in each 64 KiB"
for f in $(segments); do tool flip "$f" "$SEED" 65536; done
cairn_mount
check "flipped bits"
damage=$(counter disk.corrupt)
((damage > 0)) || fail "damage was not counted"
(($(counter fetch.bytes) > 0)) || fail "nothing was fetched again"
check "flipped bits, again"
cairn_umount
cairn_mount
check "healed"
# A chunk that came with a neighbour's window may not have been looked at; it is less each time.
(($(counter disk.corrupt) < damage)) || fail "nothing healed"
cairn_umount

say "--- segments cut short, one gone"
for f in $(segments); do truncate -s $(($(stat -c %s "$f") / 3)) "$f"; done
rm -f "$(segments | head -n1)"
cairn_mount
check "cut segments"
cairn_umount

say "--- damage while mounted"
cairn_mount
check "healed from cuts"
cairn_umount
cairn_mount
for f in $(segments); do tool flip "$f" $((SEED + 1)) 65536; done
check "flipped while mounted"
(($(counter disk.corrupt) > 0)) || fail "damage was not counted"
