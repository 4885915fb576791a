#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# With the origin hanging or dead: cached files at full speed, everything else interruptible, with a deadline.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

for f in cached uncached1 uncached2 uncached3 uncached4 uncached5; do
    tool pattern "$ORIGIN/$f" 1 30000000
done
mkdir "$ORIGIN/dir" "$ORIGIN/unseen"
touch "$ORIGIN/dir/a" "$ORIGIN/dir/b" "$ORIGIN/unseen/a"
cairn_mount --timeout 5s --fresh 3s
cat "$MNT/cached" >/dev/null
ls -l "$MNT" "$MNT/dir" >/dev/null
read_cached() { drop_pages "$MNT/cached" && cat "$MNT/cached"; }
normal=$(took_ms read_cached)
(($(took_ms read_cached) >= normal)) || normal=$(took_ms read_cached)
full_speed() {
    local took
    took=$(took_ms read_cached) || fail "$1: a cached file is not readable"
    say "cached file: $normal ms, $1: $took ms"
    ((took <= 4 * normal + 300 * SLOW)) || fail "$1: a cached file took $took ms, not $normal"
}
# interrupted SIGNAL FILE: a reader that hangs in a read ends within a second of the signal.
interrupted() {
    local pid start
    env --default-signal=INT cat "$MNT/$2" >/dev/null 2>&1 &
    pid=$!
    wait_until 4 hangs $pid || fail "cat $2 doesn't hang where it should"
    start=$(now_ms)
    kill "-$1" $pid
    wait_until 5 mountlib_gone $pid || fail "cat survives SIG$1"
    start=$(($(now_ms) - start))
    wait $pid 2>/dev/null || true
    ((start < 1000 * SLOW)) || fail "cat ended $start ms after SIG$1"
}
# Blocked in a system call on a FUSE file (openat, read, pread, statx, newfstatat), not running.
hangs() {
    [[ $(awk '{print $3}' "/proc/$1/stat") == [SD] ]] &&
        [[ $(cut -d' ' -f1 "/proc/$1/syscall") =~ ^(0|17|257|262|332)$ ]]
}
# deadline TEXT CMD...: fails with TEXT, not later than the timeout and a bit.
deadline() {
    local start
    start=$(now_ms)
    expect_error "$@"
    start=$(($(now_ms) - start))
    ((start <= 6500 + 1500 * (SLOW - 1))) || fail "took $start ms with --timeout 5s: ${*:2}"
}
back() { # FILE
    tool verify "$MNT/$1" 1 30000000
}

say "--- the server hangs"
sshd_freeze
full_speed "while the origin hangs"
interrupted INT uncached1
interrupted KILL uncached1
deadline 'timed out' cat "$MNT/uncached2"
# By now nothing is fresh any more.
full_speed "while the origin hangs, long after"
expect_eq "a b" "$(ls "$MNT/dir" | xargs)" "a listing that was seen before"
within_ms 1000 ls -l "$MNT/dir" >/dev/null
deadline 'timed out|No route|unreachable' ls "$MNT/unseen"
deadline 'timed out|No route|unreachable' dd if=/dev/zero of="$MNT/new" bs=1M count=2 conv=fsync
# Many readers that hang don't keep a reader of the cache waiting.
pids=()
for i in $(seq 40); do
    cat "$MNT/uncached3" >/dev/null 2>&1 &
    pids+=($!)
done
full_speed "beside 40 hanging readers"
for p in "${pids[@]}"; do
    ! wait "$p" || fail "a reader of a dead origin succeeded"
done
within_ms 1000 "$CAIRNFS" status "$MNT" >/dev/null
sshd_thaw
wait_until 15 back uncached4 || fail "the origin is back, the mount isn't"
back uncached1 && back uncached2 && back uncached3
expect_eq a "$(ls "$MNT/unseen")" "a listing afterwards"
echo more >"$MNT/after" && expect_eq more "$(cat "$ORIGIN/after")" "a file written afterwards"

say "--- the server dies"
sshd_kill
full_speed "with a dead origin"
deadline 'timed out|No route|unreachable' cat "$MNT/uncached5"
full_speed "with a dead origin, later"
sshd_start
wait_until 15 back uncached5 || fail "the server is back, the mount isn't"
echo again >"$MNT/after" && expect_eq again "$(cat "$ORIGIN/after")" "a file written afterwards"

say "--- unmounting with a server that hangs"
sshd_freeze
within_ms 9000 cairn_umount
sshd_thaw
