# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The fixture of the mount tests; a test sources it and calls `mount_test KIND` first.
#
# Each test runs in mount and PID namespaces of its own (the script re-executes itself once), so
# that no mount and no process outlives it, whatever ends it. Everything lies below $T:
#   $T/mnt  $T/origin  $T/cache  $T/home  $T/daemon.log  $T/sshd/
# Environment: CAIRNFS (the program), CAIRN_TOOL (tests/mount/tool), CAIRN_SLOW (factor for time
# bounds, for builds with sanitizers), CAIRN_TEST_PLAIN=1 (a bind mount instead of cairnfs, to
# try the tests themselves), CAIRN_KEEP=1 (keep $T), CAIRN_SEED (replays a test with random parts).

set -Eeuo pipefail
export LC_ALL=C TZ=UTC

MOUNTLIB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib/sshd.sh
. "$MOUNTLIB_DIR/sshd.sh"

PLAIN=${CAIRN_TEST_PLAIN:-}
SLOW=${CAIRN_SLOW:-1}
DAEMON_PID=

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "FAIL: $*"
    exit 1
}

# Milliseconds since the epoch.
now_ms() {
    local t=$EPOCHREALTIME
    echo $((${t/./} / 1000))
}

# wait_until SECONDS CMD...: polls until CMD succeeds; fails the caller after SECONDS x CAIRN_SLOW.
wait_until() {
    local deadline=$(($(now_ms) + $1 * SLOW * 1000))
    shift
    until "$@" 2>/dev/null; do
        if (($(now_ms) >= deadline)); then
            say "waited in vain for: $*"
            return 1
        fi
        sleep 0.02
    done
}

# took_ms CMD...: runs it (output dropped), prints the milliseconds it took, keeps its status.
took_ms() {
    local start rc=0
    start=$(now_ms)
    "$@" >/dev/null 2>&1 || rc=$?
    echo $(($(now_ms) - start))
    return $rc
}

# within_ms BOUND CMD...: CMD succeeds and takes at most BOUND x CAIRN_SLOW milliseconds.
within_ms() {
    local bound=$(($1 * SLOW)) start took
    shift
    start=$(now_ms)
    "$@" # not in an || list: errexit must hold inside
    took=$(($(now_ms) - start))
    ((took <= bound)) || fail "took $took ms, more than $bound: $*"
}

expect_eq() { # WANT GOT WHAT
    [[ "$1" == "$2" ]] || fail "$3: expected '$1', got '$2'"
}

# expect_error TEXT CMD...: CMD fails and says TEXT (an extended regular expression).
expect_error() {
    local text=$1 out
    shift
    if out=$("$@" 2>&1 </dev/null); then
        fail "succeeded, should say '$text': $*"
    fi
    grep -qE -- "$text" <<<"$out" || fail "should say '$text', said '$out': $*"
}

need() {
    local c
    for c in "$@"; do
        command -v "$c" >/dev/null || fail "the tests need the program $c"
    done
}

# Skips: for what can't be shown here by design, never for a missing tool.
skip() {
    say "SKIP: $*"
    exit 77
}

need_cairnfs() {
    [[ -z $PLAIN ]] || skip "only with a real mount"
}

# The processes below PID, itself last.
pids_below() {
    local p
    for p in $(pgrep -P "$1" || true); do
        pids_below "$p"
    done
    echo "$1"
}

tool() {
    "$CAIRN_TOOL" "$@"
}

as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$T/home" "$@"
}

# --- the test's world -----------------------------------------------------------------------------

# mount_test KIND: enters the namespaces, makes the directories. KIND is file or sftp.
mount_test() {
    KIND=${1:?origin kind missing: file or sftp}
    if [[ ${MOUNTLIB_INSIDE:-} != "$0" ]]; then
        ((EUID == 0)) || fail "the mount tests need root (mount namespaces, sshd, other users)"
        [[ -c /dev/fuse ]] || fail "/dev/fuse is missing: load the kernel's module fuse"
        need unshare
        MOUNTLIB_INSIDE=$0 exec unshare --mount --pid --fork --kill-child --mount-proc \
            --propagation private -- bash "$0" "$@"
    fi
    unset MOUNTLIB_INSIDE
    need pgrep mountpoint diff cmp stat jq
    [[ -n $PLAIN || -x ${CAIRNFS:-} ]] || fail "CAIRNFS names no program"
    [[ -x ${CAIRN_TOOL:-} ]] || fail "CAIRN_TOOL names no program"
    T=$(mktemp -d "${TMPDIR:-/tmp}/cairnfs-test.XXXXXX")
    trap 'mountlib_end $?' EXIT
    trap 'say "line $LINENO: $BASH_COMMAND"' ERR
    trap 'exit 143' TERM INT
    chmod 755 "$T"
    MNT=$T/mnt ORIGIN=$T/origin CACHE=$T/cache LOG=$T/daemon.log
    mkdir "$MNT" "$ORIGIN" "$CACHE" "$T/home"
    export HOME=$T/home XDG_CACHE_HOME=$T/home/.cache
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
    : >"$LOG"
    umask 022
}

mountlib_end() {
    local rc=$1 bad
    trap - EXIT ERR
    set +e
    cd /
    if ((rc == 0)) && [[ -n $DAEMON_PID || -n $PLAIN ]]; then
        (cairn_umount) || rc=1
        DAEMON_PID=
    fi
    # Unmounting first: nothing below may wait for a daemon that is stuck.
    local m
    while read -r m; do
        # Forced, or processes that wait for a daemon which can't even die stay for ever.
        umount -f "$m" 2>/dev/null || umount -l "$m"
    done < <(awk -v t="$T/" 'index($2, t) == 1 {print $2}' /proc/mounts | tac)
    if [[ -n $DAEMON_PID ]]; then
        kill -TERM "$DAEMON_PID" 2>/dev/null
        wait_until 5 mountlib_gone "$DAEMON_PID" || kill -KILL "$DAEMON_PID" 2>/dev/null
    fi
    sshd_stop
    if bad=$(grep -nE 'runtime error|Sanitizer|[Aa]ssert' "$LOG"); then
        say "the daemon's log tells of a bug: $bad"
        rc=1
    fi
    if ((rc != 0 && rc != 77)); then
        say "--- the daemon's log"
        tail -n 60 "$LOG" >&2
        # Without what our own looking for its port left.
        [[ ! -s $T/sshd/log ]] || grep -v kex_exchange "$T/sshd/log" | tail -n 20 >&2
    fi
    if [[ -n ${CAIRN_KEEP:-} ]]; then
        say "kept: $T"
    else
        rm -rf --one-file-system "$T"
    fi
    exit "$rc"
}

mountlib_gone() {
    ! kill -0 "$1" 2>/dev/null || [[ $(ps -o stat= -p "$1") == Z* ]]
}

# Sets URL and MOUNT_ARGS (what each mount of the test's origin needs), with the server running.
origin_up() {
    MOUNT_ARGS=(--cache "$CACHE")
    if [[ $KIND == sftp ]]; then
        [[ -n ${SSHD_PID:-} ]] || sshd_start
        URL=sftp://root@127.0.0.1:$SSHD_PORT$ORIGIN
        MOUNT_ARGS+=(-o "ssh-known-hosts=$SSHD_KNOWN_HOSTS,ssh-identity=$SSHD_IDENTITY")
    else
        URL=$ORIGIN
    fi
}

# cairn_mount [OPTIONS...]: mounts the origin at $MNT, the daemon in the foreground.
cairn_mount() {
    if [[ -n $PLAIN ]]; then
        mount --bind "$ORIGIN" "$MNT"
        return
    fi
    [[ -n ${URL:-} ]] || origin_up
    "$CAIRNFS" mount -f "${MOUNT_ARGS[@]}" "$@" "$URL" "$MNT" >>"$LOG" 2>&1 </dev/null &
    DAEMON_PID=$!
    wait_until 20 mountlib_mounted || fail "no mount after 20 s"
    mountpoint -q "$MNT" || fail "the daemon ended instead of mounting"
}

mountlib_mounted() {
    mountpoint -q "$MNT" || mountlib_gone "$DAEMON_PID"
}

# Unmounts and waits for the daemon to end well.
cairn_umount() {
    local rc=0
    if [[ -n $PLAIN ]]; then
        umount -l "$MNT"
        return
    fi
    "$CAIRNFS" umount "$MNT" || fail "umount failed"
    wait_until 30 mountlib_gone "$DAEMON_PID" || fail "the daemon lives on after umount"
    wait "$DAEMON_PID" 2>/dev/null || rc=$?
    DAEMON_PID=
    # A subshell (the end of a test) can't wait for its parent's child: 127.
    ((rc == 0 || rc == 127)) || fail "the daemon ended with status $rc"
}

cairn_remount() {
    cairn_umount
    cairn_mount "$@"
}

# kill -9 of the daemon, and the dead mount taken away.
cairn_kill9() {
    kill -KILL "$DAEMON_PID"
    wait "$DAEMON_PID" 2>/dev/null || true
    DAEMON_PID=
    umount -l "$MNT"
}

# status JQ: one value of `cairnfs status --json`, by a jq path.
status() {
    "$CAIRNFS" status --json "$MNT" | jq -er "$1"
}

# counter NAME: one of the mount's counters, as "disk.corrupt".
counter() {
    status ".counters[\"$1\"]"
}

# Drops the kernel's pages of files in the mount.
drop_pages() {
    tool dropcache "$@"
}

# What the mounted origin can hold: hard-links owners rename-exchange seek-holes special-files xattrs
# (as its capabilities are named in the status), ns-times. A local directory can do all of it.
origin_can() {
    [[ -n $PLAIN || $KIND == file ]] && return
    status ".origin.caps | index(\"$1\") != null" >/dev/null
}

# Sets RULES to what the model can't expect of the mounted origin.
model_rules() {
    RULES=()
    origin_can ns-times || RULES+=(coarse)
    origin_can file-ids || RULES+=(nodirlinks)
    origin_can hard-links || RULES+=(nolinks)
    origin_can rename-exchange || RULES+=(noexchange)
}

# same_tree A B: names, types, modes, owners, sizes, times (whole seconds), targets and contents.
same_tree() {
    diff -r --no-dereference --exclude=.cairnfs "$1" "$2" >&2 || fail "contents differ: $1 $2"
    diff <(tree_list "$1") <(tree_list "$2") >&2 || fail "attributes differ: $1 $2"
}

tree_list() {
    # Directory times are left out: a copy changes them as it goes.
    (cd "$1" && find . -name .cairnfs -prune -o \( -type d -printf '%p %y %m %U %G\n' \
        -o -type l -printf '%p %y %l %U %G\n' \
        -o -printf '%p %y %m %U %G %s %Ts\n' \)) | sort
}

# The names in a directory, sorted; without what cairnfs keeps for itself at an origin.
names_in() {
    find "$1" -mindepth 1 -maxdepth 1 ! -name .cairnfs -printf '%f\n' | sort
}

# A tree with a bit of everything, below $1; the same bytes each time.
make_tree() {
    local d=$1 n
    mkdir -p "$d/sub/deeper/deepest" "$d/empty" "$d/many"
    for n in 0 1 4095 4096 65536 300000 3000017; do
        tool pattern "$d/f$n" "$n" "$n"
    done
    for n in $(seq 100); do
        tool pattern "$d/many/file $n" "$n" $((n * 37))
    done
    cp "$d/f300000" "$d/sub/copy"
    echo text >"$d/sub/deeper/deepest/text"
    ln -s ../f4096 "$d/sub/link"
    ln -s /nowhere/at/all "$d/dangling"
    chmod 600 "$d/f1" && chmod 755 "$d/f4095" && chmod 444 "$d/f4096" && chmod 700 "$d/empty"
    chown 1234:4321 "$d/f65536"
    touch -h -d @1000000000 "$d/f1" "$d/sub/link" && touch -d @1700000000 "$d/sub/copy"
}

# The seed of a test with random parts: CAIRN_SEED, or a new one; printed, so that it can be replayed.
test_seed() {
    SEED=${CAIRN_SEED:-$RANDOM$RANDOM}
    RANDOM=$((SEED % 32768))
    say "CAIRN_SEED=$SEED"
}
