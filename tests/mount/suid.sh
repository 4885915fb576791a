#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# suid and sgid are cleared by a write, a truncation and a chown.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

chmod 777 "$ORIGIN"
prepare() {
    rm -f "$ORIGIN/f"
    cp "$(type -P true)" "$ORIGIN/f"
    chown 65534:65534 "$ORIGIN/f" && chmod "$1" "$ORIGIN/f"
    wait_until 10 prepared "$1"
}
prepared() { [[ $(stat -c %a "$MNT/f") == "$1" ]]; }
cairn_mount --fresh 1s -o allow_other
check() { # WHAT
    expect_eq 755 "$(stat -c %a "$MNT/f")" "$1"
    expect_eq 755 "$(stat -c %a "$ORIGIN/f")" "$1, at the origin"
}
prepare 6755
as_nobody bash -c "printf x >>'$MNT/f'"
check "after a write"
prepare 6755
as_nobody dd if=/dev/zero of="$MNT/f" bs=4096 count=1 oflag=direct conv=notrunc status=none
check "after a write with O_DIRECT"
prepare 6755
as_nobody truncate -s 10 "$MNT/f"
check "after a truncation"
prepare 6755
chown 0:0 "$MNT/f"
check "after a chown by root"
# Not by root's write.
prepare 4755
printf x >>"$MNT/f"
expect_eq 4755 "$(stat -c %a "$MNT/f")" "after a write by root"
