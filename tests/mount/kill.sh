#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon during writes and evictions, again and again: nothing acknowledged is lost.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

test_seed
rounds=${CAIRN_ROUNDS:-50}
for i in $(seq 0 11); do
    tool pattern "$ORIGIN/$i" "$i" 4000000
done
mkdir "$T/witness"
check() { # ROUND
    local i n=0
    for i in $(seq 0 11); do
        if [[ -e $T/witness/w$i ]] && cmp -s "$T/witness/w$i" "$ORIGIN/w$i"; then
            n=$((n + 1))
        elif [[ -e $T/witness/w$i.pending ]] && cmp -s "$T/witness/w$i.pending" "$ORIGIN/w$i"; then
            # Done, but not yet acknowledged when the daemon died.
            cp "$T/witness/w$i.pending" "$T/witness/w$i"
        elif [[ -e $T/witness/w$i ]]; then
            ls -l "$T/witness/w$i"* "$ORIGIN/w$i" >&2
            fail "round $1: acknowledged content of w$i is lost (CAIRN_SEED=$SEED)"
        elif [[ -s $ORIGIN/w$i ]]; then
            # Never acknowledged, not even once: only as a whole or not at all.
            fail "round $1: half of w$i arrived (CAIRN_SEED=$SEED)"
        else
            rm -f "$ORIGIN/w$i"
        fi
        rm -f "$T/witness/w$i.pending"
    done
    acked=$((acked + n))
}
acked=0
for round in $(seq "$rounds"); do
    # A cache too small for what is read: segments are evicted all the time.
    cairn_mount --cache-size 24M --memory 8M
    tool writer "$MNT" "$T/witness" $((SEED + round)) 2>>"$T/tools" &
    writer=$!
    tool reader "$MNT" $((SEED + round)) 2>>"$T/tools" &
    reader=$!
    # Killed at a random moment, which is the point of it.
    sleep "0.$(printf %03d $((RANDOM % 400 + 20)))"
    kill -KILL "$DAEMON_PID"
    for p in $writer $reader; do
        wait_until 10 mountlib_gone "$p" ||
            fail "round $round: a process hangs in the mount of a killed daemon: $(cat "/proc/$p/wchan")"
    done
    wait $writer || fail "round $round: $(tail -n 3 "$T/tools")"
    wait $reader || fail "round $round: $(tail -n 3 "$T/tools")"
    wait "$DAEMON_PID" 2>/dev/null || true
    DAEMON_PID=
    umount -l "$MNT"
    check "$round"
    # The cache, index and manifests must tell the same as the origin, by the next mount.
    if ((round % 5 == 0)); then
        cairn_mount --cache-size 24M --memory 8M
        rm -f "$MNT"/*.tmp
        for f in "$ORIGIN"/*; do
            cmp "$f" "$MNT/${f##*/}" || fail "round $round: ${f##*/} reads differently"
        done
        expect_eq "$(names_in "$ORIGIN")" "$(names_in "$MNT")" "round $round: listing"
        expect_eq 0 "$(counter disk.corrupt)" "round $round: corrupt chunks"
        cairn_umount
    fi
done
say "$acked acknowledged files checked in $rounds rounds"
((acked > rounds)) || fail "hardly anything was acknowledged"
