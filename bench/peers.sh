#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cairnfs beside its peers, interleaved: every round measures each of
#   native (the origin itself), hp (passthrough_hp of libfuse), sshfs, rclone (sftp, vfs full),
#   file (cairnfs on the directory), sftp (cairnfs on the same sshd as the peers)
# and the medians of all rounds are printed with the ratios that matter. The origin lies on a tmpfs,
# so that its own cost is nil and no filesystem's aging shows; caches are below TMPDIR.
#
# Environment: ROUNDS (3), SIZE_MIB of the large file (512), FILES (10000), SMALL (5000) read cold,
# CREATE (2000), SYSTEMS (all), CAIRNFS, CAIRN_TOOL, PASSTHROUGH_HP (a binary;
# else built from the distribution's source package if it can be had, else left out), OUT (keeps the
# raw values). A quick run: ROUNDS=1 SIZE_MIB=64 FILES=1000 SMALL=500 CREATE=200.

ROOT=$(cd "$(dirname "$0")/.." && pwd)
export CAIRNFS=${CAIRNFS:-$ROOT/build/src/cairnfs} CAIRN_TOOL=${CAIRN_TOOL:-$ROOT/build/tests/mount/tool}
export TMPDIR=${TMPDIR:-/var/tmp}
# shellcheck source=tests/lib/mountlib.sh
. "$ROOT/tests/lib/mountlib.sh"
mount_test sftp "$@"

ROUNDS=${ROUNDS:-3} SIZE_MIB=${SIZE_MIB:-512} FILES=${FILES:-10000} SMALL=${SMALL:-5000}
CREATE=${CREATE:-2000}
SYSTEMS=${SYSTEMS:-native hp sshfs rclone file sftp}
OUT=${OUT:-$T/values}
need fio cc awk

# --- the systems ----------------------------------------------------------------------------------

CPU_MS=0

# The daemon's processes; sshfs lets go of the ssh that it runs.
daemons() {
    pids_below "$DAEMON_PID"
    pgrep -x ssh || true
}

# Milliseconds of CPU that they have used.
cpu_of_daemons() {
    local p ticks=0
    for p in $(daemons); do
        ticks=$((ticks + $(awk '{print $14 + $15}' "/proc/$p/stat" 2>/dev/null || echo 0)))
    done
    echo $((ticks * 1000 / $(getconf CLK_TCK)))
}

rss_kib_of_daemons() {
    local p sum=0
    for p in $(daemons); do
        sum=$((sum + $(awk '/^VmRSS/ {print $2}' "/proc/$p/status" 2>/dev/null || echo 0)))
    done
    echo $sum
}

# up SYSTEM: mounts $ORIGIN at $MNT with what its cache holds.
up() {
    case $1 in
    native)
        mount --bind "$ORIGIN" "$MNT"
        return
        ;;
    hp)
        "$HP" "$ORIGIN" "$MNT" >>"$LOG" 2>&1
        ;;
    sshfs)
        sshfs -f -F /dev/null -p "$SSHD_PORT" -o "IdentityFile=$SSHD_IDENTITY" \
            -o "UserKnownHostsFile=$SSHD_KNOWN_HOSTS" "root@127.0.0.1:$ORIGIN" "$MNT" >>"$LOG" 2>&1 &
        ;;
    rclone)
        rclone mount ":sftp:$ORIGIN" "$MNT" --config /dev/null --sftp-host 127.0.0.1 \
            --sftp-port "$SSHD_PORT" --sftp-user root --sftp-key-file "$SSHD_IDENTITY" \
            --sftp-known-hosts-file "$SSHD_KNOWN_HOSTS" --sftp-disable-hashcheck --vfs-cache-mode full \
            --cache-dir "$CACHE" >>"$LOG" 2>&1 &
        ;;
    file) "$CAIRNFS" mount -f --cache "$CACHE" "$ORIGIN" "$MNT" >>"$LOG" 2>&1 & ;;
    sftp)
        "$CAIRNFS" mount -f --cache "$CACHE" \
            -o "ssh-known-hosts=$SSHD_KNOWN_HOSTS,ssh-identity=$SSHD_IDENTITY" \
            "sftp://root@127.0.0.1:$SSHD_PORT$ORIGIN" "$MNT" >>"$LOG" 2>&1 &
        ;;
    esac
    DAEMON_PID=$!
    wait_until 20 mountlib_mounted
    mountpoint -q "$MNT" || fail "$1 does not mount"
    # It goes to the background by itself.
    [[ $1 != hp ]] || DAEMON_PID=$(pgrep -nx "$(basename "$HP")")
}

down() {
    if [[ -n $DAEMON_PID ]]; then
        CPU_MS=$((CPU_MS + $(cpu_of_daemons)))
    fi
    umount "$MNT" 2>/dev/null || { sleep 1 && umount "$MNT"; } || umount -l "$MNT"
    if [[ -n $DAEMON_PID ]]; then
        wait_until 60 mountlib_gone "$DAEMON_PID" || kill -KILL "$DAEMON_PID"
        wait "$DAEMON_PID" 2>/dev/null || true
        DAEMON_PID=
    fi
}

# The kernel's caches and the daemon's memory are cold afterwards, its disk cache is not.
again() {
    down
    sync
    echo 3 >/proc/sys/vm/drop_caches
    up "$1"
}

# passthrough_hp is not in the package of examples: from the source package, with apt's lists of our
# own, so that the machine's are left as they are.
find_hp() {
    local d=$T/hp uri code
    HP=${PASSTHROUGH_HP:-}
    [[ -z $HP ]] || return 0
    mkdir -p "$d/lists/partial"
    read -r uri code < <(apt-get indextargets \
        --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
        grep -E ' main (Debian|Ubuntu)$' | grep -vE -- '-(security|updates|backports)' |
        awk '{print $1, $2}' | head -n1) || return 1
    echo "deb-src $uri $code main" >"$d/sources.list"
    (
        cd "$d"
        apt=(apt-get -qq -o "Dir::Etc::sourcelist=$d/sources.list" -o Dir::Etc::sourceparts=/dev/null
            -o "Dir::State::Lists=$d/lists")
        "${apt[@]}" update && "${apt[@]}" source --download-only fuse3 && tar -xf fuse3_*.orig.tar.*z
        # shellcheck disable=SC2046
        g++ -O2 -std=gnu++17 -o hp fuse-*/example/passthrough_hp.cc \
            $(pkg-config --cflags --libs fuse3) -lpthread
    ) >"$d/log" 2>&1 || return 1
    HP=$d/hp
}

# --- one round ------------------------------------------------------------------------------------

value() { # METRIC SYSTEM VALUE
    echo "$1 $2 $3" >>"$OUT"
}

fio_iops() {
    # A quarter of the blocks, none twice: the first time the page cache can't help.
    fio --name=r --filename="$1" --readonly --rw=randread --bs=4k --ioengine=psync \
        --size="${SIZE_MIB}m" --io_size="$((SIZE_MIB / 4))m" --minimal --invalidate=0 | cut -d';' -f8
}

# measure METRIC SYSTEM CMD...: keeps what CMD prints; a failure is a "-" in the table.
measure() {
    local metric=$1 system=$2 v
    shift 2
    if v=$("$@" 2>>"$LOG"); then
        value "$metric" "$system" "$v"
    else
        say "$system: $metric failed: $*"
    fi
}

round() {
    local s=$1 start
    say "  $s"
    rm -rf "${CACHE:?}"/* "$ORIGIN/new" "$ORIGIN/written"
    CPU_MS=0
    start=$(now_ms)
    up "$s"
    ls "$MNT" >/dev/null
    value mount_ms "$s" $(($(now_ms) - start))
    measure list "$s" "$T/files" list "$MNT/many" 0
    measure small "$s" "$T/files" read "$MNT/many" "$SMALL"
    measure cold "$s" "$T/files" seq "$MNT/large" 0
    measure reopen "$s" "$T/files" seq "$MNT/large" 0
    again "$s"
    measure rand "$s" fio_iops "$MNT/large"
    measure rand_again "$s" fio_iops "$MNT/large"
    again "$s"
    measure disk "$s" "$T/files" seq "$MNT/large" 0
    again "$s"
    measure stat "$s" "$T/files" stat "$MNT/many" "$FILES"
    measure stat_again "$s" "$T/files" stat "$MNT/many" "$FILES"
    mkdir "$MNT/new"
    measure create "$s" "$T/files" make "$MNT/new" "$CREATE"
    measure write "$s" "$T/files" write "$MNT/written" "$SIZE_MIB"
    [[ -z $DAEMON_PID ]] || value rss_mib "$s" $(($(rss_kib_of_daemons) / 1024))
    down
    [[ $s == native ]] || value cpu_s "$s" "$(awk "BEGIN {print $CPU_MS / 1000}")"
}

# --- the report -----------------------------------------------------------------------------------

report() {
    awk -v systems="$SYSTEMS" '
    { v[$1, $2, ++n[$1, $2]] = $3 }
    function median(m, s,   k, i, j, t, a) {
        k = n[m, s]
        if (!k) return -1
        for (i = 1; i <= k; i++) a[i] = v[m, s, i] + 0
        for (i = 2; i <= k; i++)
            for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
        return k % 2 ? a[(k + 1) / 2] : (a[k / 2] + a[k / 2 + 1]) / 2
    }
    function row(m, title,   i, x) {
        printf "%-34s", title
        for (i = 1; i <= ns; i++) {
            x = median(m, sys[i])
            if (x < 0) printf "%10s", "-"
            else printf (x < 100 ? "%10.1f" : "%10.0f"), x
        }
        printf "\n"
    }
    function floor(title, m, a, b, least,   x, y) {
        x = median(m, a); y = median(m, b)
        if (x < 0 || y <= 0) { printf "%-52s %8s  (floor %.1f)\n", title, "-", least; return }
        printf "%-52s %7.2fx  (floor %.1fx)%s\n", title, x / y, least, x / y < least ? "  BELOW" : ""
    }
    END {
        ns = split(systems, sys, " ")
        printf "%-34s", "median"
        for (i = 1; i <= ns; i++) printf "%10s", sys[i]
        printf "\n"
        row("mount_ms", "mount to first ls, ms")
        row("cold", "sequential, cold, MB/s")
        row("disk", "sequential, disk tier, MB/s")
        row("reopen", "sequential, page cache, MB/s")
        row("rand", "random 4 KiB, disk tier, IOPS")
        row("rand_again", "random 4 KiB, again, IOPS")
        row("small", "small files, cold, files/s")
        row("list", "readdir, cold, entries/s")
        row("stat", "stat after a remount, /s")
        row("stat_again", "stat again, /s")
        row("create", "create + write 4 KiB, files/s")
        row("write", "write to fsync, MB/s")
        row("cpu_s", "CPU of the daemon, whole round, s")
        row("rss_mib", "RSS of the daemon, MiB")
        printf "\n"
        floor("re-open: sftp / sshfs", "reopen", "sftp", "sshfs", 15)
        floor("disk tier, sequential: sftp / rclone", "disk", "sftp", "rclone", 2)
        floor("disk tier, random: sftp / rclone", "rand", "sftp", "rclone", 2)
        floor("cold, sequential: sftp / sshfs", "cold", "sftp", "sshfs", 1.3)
        floor("small files, cold: sftp / sshfs", "small", "sftp", "sshfs", 1.5)
        floor("stat: file / hp", "stat", "file", "hp", 0.6)
        floor("create + write: file / hp", "create", "file", "hp", 0.6)
    }' "$OUT"
    cat <<-'TEXT'

	What limits each: cold, the SSH stream (cipher and copies on both sides share the cores); disk
	tier, one round trip to the daemon per request plus reading and verifying a chunk; page cache, the
	kernel's copy; random, the wakeup of the daemon's thread; stat and create, the number of round
	trips to the daemon and what the origin takes; write, staging plus the way to the origin.
	TEXT
}

# --- run ------------------------------------------------------------------------------------------

cc -O2 -D_GNU_SOURCE -o "$T/files" "$ROOT/bench/files.c"
mount -t tmpfs -o "size=$((SIZE_MIB * 3 + 1024))m" tmpfs "$ORIGIN"
sshd_start
for s in $SYSTEMS; do
    case $s in
    hp) find_hp || { say "no passthrough_hp: left out (needs apt sources and g++)"; SYSTEMS=${SYSTEMS/hp/}; } ;;
    sshfs | rclone) command -v "$s" >/dev/null || { say "no $s: left out"; SYSTEMS=${SYSTEMS/$s/}; } ;;
    file | sftp) [[ -x $CAIRNFS ]] || fail "CAIRNFS names no program" ;;
    esac
done
mkdir "$ORIGIN/many"
"$T/files" make "$ORIGIN/many" "$FILES" >/dev/null
tool pattern "$ORIGIN/large" 1 $((SIZE_MIB << 20))
: >"$OUT"
for r in $(seq "$ROUNDS"); do
    say "round $r of $ROUNDS"
    for s in $SYSTEMS; do
        round "$s"
    done
done
echo "$(nproc) cores, $(uname -sr), large file $SIZE_MIB MiB, $FILES files, medians of $ROUNDS rounds"
report
