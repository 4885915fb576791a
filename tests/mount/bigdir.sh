#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A directory of 100,000 entries: listed whole, looked up, changed; no descriptor kept per file.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

mkdir "$ORIGIN/big"
tool manyfiles "$ORIGIN/big" 100000
cairn_mount
within_ms 20000 eval 'expect_eq 100000 "$(tool listing "$MNT/big" | sort -u | wc -l)" entries'
within_ms 10000 eval 'expect_eq 100000 "$(tool listing "$MNT/big" | wc -l)" "entries, again"'
for i in 000000 000001 049999 099999; do
    expect_eq "regular empty file" "$(stat -c %F "$MNT/big/f$i")" "f$i"
done
expect_error 'No such file' stat "$MNT/big/f100000"
echo x >"$MNT/big/added"
rm "$MNT/big/f000007"
expect_eq 100000 "$(tool listing "$MNT/big" | wc -l)" "entries after a change"
expect_eq 100000 "$(tool listing "$ORIGIN/big" | wc -l)" "entries at the origin"
expect_eq 100000 "$(find "$MNT/big" -type f -newermt 2000-01-01 | wc -l)" "find with stat"
if [[ -z $PLAIN ]]; then
    fds=$(ls "/proc/$DAEMON_PID/fd" | wc -l)
    ((fds < 300)) || fail "$fds descriptors are open after a walk over 100,000 files"
fi
