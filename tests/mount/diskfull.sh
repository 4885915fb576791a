#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On a full cache disk the cache shrinks; reads and writes go on.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

for i in $(seq 4); do
    tool pattern "$ORIGIN/f$i" "$i" 20000000
done
mount -t tmpfs -o size=48m tmpfs "$CACHE"
cairn_mount --cache-size 1G --memory 8M
for pass in 1 2; do
    for i in $(seq 4); do
        tool verify "$MNT/f$i" "$i" 20000000 || fail "pass $pass: f$i"
    done
done
# Somebody else fills what is left.
dd if=/dev/zero of="$CACHE/stuffing" bs=1M 2>/dev/null || true
for i in $(seq 4); do
    tool verify "$MNT/f$i" "$i" 20000000 || fail "on a full disk: f$i"
done
rm "$CACHE/stuffing"
tool pattern "$MNT/new" 8 3000000
tool verify "$ORIGIN/new" 8 3000000
