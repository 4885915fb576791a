# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A real sshd for one test: own host key, own user key, a free port of 127.0.0.1, below $T/sshd.
# sshd_start sets SSHD_PID, SSHD_PORT, SSHD_KNOWN_HOSTS and SSHD_IDENTITY.

SSHD_PID=

sshd_start() {
    local d=$T/sshd try
    need /usr/sbin/sshd ssh-keygen
    if [[ ! -d $d ]]; then
        mkdir -m 755 "$d"
        ssh-keygen -q -t ed25519 -N '' -f "$d/host"
        ssh-keygen -q -t ed25519 -N '' -f "$d/user"
        cp "$d/user.pub" "$d/authorized_keys"
    fi
    mkdir -p -m 755 /run/sshd
    SSHD_IDENTITY=$d/user SSHD_KNOWN_HOSTS=$d/known_hosts
    for try in $(seq 20); do
        # Below the ports that the kernel hands out to connecting sockets.
        sshd_start_at "${SSHD_PORT:-$((20000 + (RANDOM * 32768 + RANDOM) % 12000))}" && return
    done
    fail "no sshd after $try tries: $(cat "$d/log")"
}

# Fails if the port is taken.
sshd_start_at() {
    local d=$T/sshd port=$1
    cat >"$d/config" <<-CONFIG
	Port $port
	ListenAddress 127.0.0.1
	HostKey $d/host
	PidFile none
	AuthorizedKeysFile $d/authorized_keys
	StrictModes no
	UsePAM no
	PasswordAuthentication no
	KbdInteractiveAuthentication no
	PermitRootLogin prohibit-password
	MaxStartups 100
	MaxSessions 64
	UseDNS no
	LogLevel ERROR
	Subsystem sftp internal-sftp
	CONFIG
    /usr/sbin/sshd -D -e -f "$d/config" >>"$d/log" 2>&1 </dev/null &
    SSHD_PID=$!
    if wait_until 5 sshd_decided "$port" && mountlib_speaks_ssh "$port"; then
        SSHD_PORT=$port
        echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$d/host.pub")" >"$d/known_hosts"
        return 0
    fi
    kill "$SSHD_PID" 2>/dev/null || true
    SSHD_PID=
    return 1
}

# True when our sshd has either ended or is the one that listens.
sshd_decided() {
    mountlib_gone "$SSHD_PID" || mountlib_speaks_ssh "$1"
}

mountlib_speaks_ssh() {
    local line
    kill -0 "$SSHD_PID" && exec 9<>"/dev/tcp/127.0.0.1/$1" && read -r -t 2 line <&9 &&
        exec 9>&- && [[ $line == SSH-2.0* ]]
}

# sshd_signal SIGNAL: to the listener and to all that serve its connections.
sshd_signal() {
    local p
    for p in $(pids_below "$SSHD_PID"); do
        kill "-$1" "$p" 2>/dev/null || true
    done
}

# A hang: nothing answers, no connection breaks.
sshd_freeze() {
    sshd_signal STOP
}

sshd_thaw() {
    sshd_signal CONT
}

# A crash: every connection breaks, the port is closed. sshd_start takes the same port again.
sshd_kill() {
    sshd_signal STOP
    sshd_signal KILL
    wait "$SSHD_PID" 2>/dev/null || true
    SSHD_PID=
}

sshd_stop() {
    [[ -n $SSHD_PID ]] || return 0
    sshd_signal CONT
    sshd_kill
}
