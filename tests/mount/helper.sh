#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mount -t cairnfs, an fstab line and mount.fuse.cairnfs work, with options as mount hands them on.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

echo text >"$ORIGIN/f"
origin_up
# mount(8) looks for helpers in /sbin: the real one with ours added, in this namespace alone.
mkdir "$T/real" "$T/sbin"
mount --bind /usr/sbin "$T/real"
ln -s "$T"/real/* "$T/sbin/"
ln -sf "$CAIRNFS" "$T/sbin/mount.cairnfs"
ln -sf "$CAIRNFS" "$T/sbin/mount.fuse.cairnfs"
mount --bind "$T/sbin" /usr/sbin
[[ /sbin -ef /usr/sbin ]] || mount --bind "$T/sbin" /sbin
opts=cache=$CACHE,memory=32M
[[ $KIND == file ]] || opts+=,ssh-known-hosts=$SSHD_KNOWN_HOSTS,ssh-identity=$SSHD_IDENTITY
gone() { ! pgrep -x 'cairnfs|mount.*cairnfs'; }
for type in cairnfs fuse.cairnfs; do
    mount -t $type -o "rw,noatime,$opts" "$URL" "$MNT" || fail "mount -t $type"
    expect_eq text "$(cat "$MNT/f")" "$type: content"
    expect_eq fuse.cairnfs "$(findmnt -no FSTYPE "$MNT")" "type"
    umount "$MNT"
    wait_until 10 gone || fail "the daemon lives on"
done
echo "$URL $MNT cairnfs ro,noauto,nofail,_netdev,x-systemd.automount,nodev,nosuid,$opts 0 0" >"$T/fstab"
mount --fstab "$T/fstab" "$MNT" || fail "mount from fstab"
expect_eq text "$(cat "$MNT/f")" "fstab: content"
expect_error 'Read-only' touch "$MNT/new"
findmnt -no OPTIONS "$MNT" | grep -q nosuid || fail "nosuid was dropped"
umount "$MNT"
wait_until 10 gone || fail "the daemon lives on"
