#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What keeps a mount from working is told in one clear line, soon, with a status that is not 0.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

echo x >"$ORIGIN/f"
origin_up
refused() { # TEXT ARGS...: mount ARGS fails, says TEXT, in one line, in time.
    local text=$1 start rc=0
    shift
    start=$(now_ms)
    timeout 60 "$CAIRNFS" mount "$@" >"$T/out" 2>&1 </dev/null || rc=$?
    ((rc != 0 && rc < 124)) || fail "status $rc: mount $*: $(cat "$T/out")"
    expect_eq 1 "$(wc -l <"$T/out")" "lines of: $(cat "$T/out"); mount $*"
    grep -qiE -- "$text" "$T/out" || fail "should say '$text': $(cat "$T/out")"
    (($(now_ms) - start <= 12000 * SLOW)) || fail "took $(($(now_ms) - start)) ms: mount $*"
    ! mountpoint -q "$MNT" || [[ ${mounted_on_purpose:-} ]] || fail "mounted in spite of: $text"
}
args=("${MOUNT_ARGS[@]}")
refused 'mnt/nothing.*(no such|not exist|missing)|(no such|not exist).*mnt/nothing' \
    "${args[@]}" "$URL" "$MNT/nothing"
refused 'not a directory' "${args[@]}" "$URL" "$ORIGIN/f"
refused 'fresh' "${args[@]}" -o frehs=3s "$URL" "$MNT"
refused 'cache-size' "${args[@]}" --cache-sise 1G "$URL" "$MNT"
refused 'fresh|duration' "${args[@]}" --fresh soon "$URL" "$MNT"
refused 'size' "${args[@]}" --cache-size many "$URL" "$MNT"
refused 'gopher|scheme' "${args[@]}" gopher://host/x "$MNT"
refused 'origin|usage|argument|mountpoint' "${args[@]}" "$MNT"
# An origin that isn't there, or is no directory.
refused 'nothing|no such' "${args[@]}" "$URL/nothing" "$MNT"
refused 'not a directory' "${args[@]}" "$URL/f" "$MNT"
# A cache that can't be written.
mkdir "$T/ro" && mount -t tmpfs -o ro tmpfs "$T/ro"
refused 'ro.*read-only|read-only.*ro' --cache "$T/ro" "${args[@]:2}" "$URL" "$MNT"
refused 'not a directory|exists' --cache "$ORIGIN/f" "${args[@]:2}" "$URL" "$MNT"
# A cache in use, a mountpoint in use.
cairn_mount
mounted_on_purpose=1
mkdir "$T/mnt2"
refused 'in use|busy|already' "${args[@]}" "$URL" "$T/mnt2"
refused 'busy|already|in use' --cache "$T/cache2" "${args[@]:2}" "$URL" "$MNT"
expect_eq x "$(cat "$MNT/f")" "the first mount goes on"
cairn_umount
mounted_on_purpose=
if [[ $KIND == sftp ]]; then
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    : >"$T/empty"
    sed "s| ssh-ed25519 .*| $(cut -d' ' -f1,2 "$T/other.pub")|" "$SSHD_KNOWN_HOSTS" >"$T/changed"
    cache=(--cache "$CACHE")
    refused 'denied|refused|accept|key' "${cache[@]}" \
        -o "ssh-known-hosts=$SSHD_KNOWN_HOSTS,ssh-identity=$T/other" "$URL" "$MNT"
    refused 'unknown|not known' "${cache[@]}" \
        -o "ssh-known-hosts=$T/empty,ssh-identity=$SSHD_IDENTITY" "$URL" "$MNT"
    refused 'changed|mismatch|differ' "${cache[@]}" \
        -o "ssh-known-hosts=$T/changed,ssh-identity=$SSHD_IDENTITY" "$URL" "$MNT"
    refused 'password' "${args[@]}" "sftp://root:secret@127.0.0.1:$SSHD_PORT$ORIGIN" "$MNT"
    # A server that hangs, one that is gone.
    # (With an empty cache: one that knows the tree shows it.)
    args=(--cache "$T/cache3" "${args[@]:2}")
    sshd_freeze
    refused 'time|answer|reach' "${args[@]}" --timeout 2s "$URL" "$MNT"
    sshd_thaw
    sshd_kill
    refused 'refused|reach' "${args[@]}" "$URL" "$MNT"
fi
