#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ctime moves with every change of a file or its attributes, mtime only with its content.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
cd "$MNT"
moved() { # WHICH FILE CMD...
    local which=$1 file=$2 before
    before=$(stat -c "$which" "$file")
    shift 2
    # Coarse clocks tick every few milliseconds; SFTP's every second.
    local deadline=$(($(now_ms) + 5000))
    while :; do
        "$@"
        [[ $(stat -c "$which" "$file") == "$before" ]] || return 0
        (($(now_ms) < deadline)) || fail "$which of $file stays after: $*"
    done
}
append() { echo x >>"$1"; }
echo x >f && mkdir d
moved %z f chmod 600 f
moved %z f chown 1 f
moved %z f append f
moved %y f append f
moved %z f touch -d @1000000000 f
expect_eq 1000000000 "$(stat -c %Y f)" "mtime set"
mtime=$(stat -c %y f)
chmod 644 f && chown 0 f && mv f g
expect_eq "$mtime" "$(stat -c %y g)" "mtime after chmod, chown and rename"
! origin_can hard-links || moved %z g eval 'ln g h && rm h'
! origin_can xattrs || moved %z g eval 'setfattr -n user.x -v $RANDOM g'
moved %y d eval 'touch d/new && rm d/new'
moved %z d eval 'touch d/new && rm d/new'
moved %y d eval 'mkdir d/new && rmdir d/new'
moved %z g truncate -s 1 g
# Nobody can set ctime: it is about now.
now=$(date +%s)
(($(stat -c %Z g) <= now + 2 && $(stat -c %Z g) > now - 60)) || fail "ctime is not about now"
