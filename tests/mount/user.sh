#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary user mounts through fusermount3, for himself alone, and unmounts.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

need fusermount3 setpriv
# The program where that user can reach it, and a /dev/fuse as distributions have it.
install -D -m 755 "$CAIRNFS" "$T/bin/cairnfs"
mkdir "$T/dev" && mount -t tmpfs -o mode=755,dev tmpfs "$T/dev"
mknod -m 666 "$T/dev/fuse" c 10 229
mount --bind "$T/dev/fuse" /dev/fuse
chown 65534:65534 "$MNT" "$ORIGIN" "$CACHE" "$T/home"
echo text >"$ORIGIN/f"
user=nobody
origin_up
if [[ $KIND == sftp ]]; then
    install -m 600 -o 65534 "$SSHD_IDENTITY" "$T/home/key"
    MOUNT_ARGS=(--cache "$CACHE" -o "ssh-known-hosts=$SSHD_KNOWN_HOSTS,ssh-identity=$T/home/key")
fi
as_nobody "$T/bin/cairnfs" mount "${MOUNT_ARGS[@]}" "$URL" "$MNT" >>"$LOG" 2>&1 </dev/null ||
    fail "mount failed"
daemon=$(pgrep -u 65534 -x cairnfs || true)
as_nobody grep -q text "$MNT/f" || fail "$user can't read"
as_nobody bash -c "echo mine >'$MNT/new'" || fail "$user can't write"
expect_eq mine "$(cat "$ORIGIN/new")" "at the origin"
[[ $KIND == sftp ]] || expect_eq 65534 "$(stat -c %u "$ORIGIN/new")" "owner at the origin"
expect_error 'Permission denied' cat "$MNT/f"
expect_error 'Permission denied' ls "$MNT"
as_nobody "$T/bin/cairnfs" status --json "$MNT" | jq -e . >/dev/null || fail "status"
as_nobody "$T/bin/cairnfs" umount "$MNT" || fail "umount"
! mountpoint -q "$MNT" || fail "still mounted"
for p in $daemon; do
    wait_until 10 mountlib_gone "$p" || fail "the daemon lives on"
done
