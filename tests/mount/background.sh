#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Without -f, mount returns as soon as the mount answers, and umount ends the daemon.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

for i in $(seq 50); do echo "$i" >"$ORIGIN/f$i"; done
origin_up
best=1000000
for _ in $(seq 7); do
    took=$(took_ms "$CAIRNFS" mount "${MOUNT_ARGS[@]}" "$URL" "$MNT" 2>>"$LOG") ||
        fail "mount failed: $("$CAIRNFS" mount "${MOUNT_ARGS[@]}" "$URL" "$MNT" 2>&1)"
    # It answers now, not later; and it holds on to no descriptor of ours (took_ms would hang).
    expect_eq 7 "$(cat "$MNT/f7")" "content right after mount"
    expect_eq 50 "$(ls "$MNT" | wc -l)" "entries right after mount"
    daemon=$(pgrep -x cairnfs) || fail "no daemon"
    expect_eq / "$(readlink "/proc/${daemon%%$'\n'*}/cwd")" "the daemon's directory"
    "$CAIRNFS" umount "$MNT"
    ! mountpoint -q "$MNT" || fail "still mounted"
    for p in $daemon; do
        wait_until 10 mountlib_gone "$p" || fail "the daemon lives on"
    done
    ((took >= best)) || best=$took
done
say "mount returns after $best ms at best"
bound=$([[ $KIND == file ]] && echo 100 || echo 1000)
((best <= bound * SLOW)) || fail "mount returns after $best ms at best, more than $bound"
expect_error 'not|no ' "$CAIRNFS" umount "$MNT"

say "--- mounted again at once"
for _ in 1 2 3; do
    "$CAIRNFS" mount "${MOUNT_ARGS[@]}" "$URL" "$MNT" 2>>"$LOG" || fail "not mounted again"
    cat "$MNT"/f* >/dev/null
    umount "$MNT"
done
no_daemon() { ! pgrep -x cairnfs >/dev/null; }
wait_until 10 no_daemon || fail "a daemon lives on"
