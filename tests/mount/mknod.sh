#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fifos and sockets, where the origin can hold them, and plain files made by mknod.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
cd "$MNT"
tool mkreg regular
expect_eq "regular empty file 640" "$(stat -c '%F %a' "$ORIGIN/regular")" "a regular file at the origin"
echo x >>regular && expect_eq x "$(cat "$ORIGIN/regular")" "written to"
if ! origin_can special-files; then
    expect_error 'not permitted|not supported' mkfifo fifo
    expect_error 'not permitted|not supported' tool socket sock
    exit 0
fi
mkfifo -m 640 fifo
expect_eq "fifo 640" "$(stat -c '%F %a' fifo)" "a fifo"
expect_eq fifo "$(stat -c %F "$ORIGIN/fifo")" "a fifo at the origin"
cat fifo >"$T/out" &
echo through >fifo
wait $!
expect_eq through "$(cat "$T/out")" "what went through the fifo"
tool socket sock
expect_eq socket "$(stat -c %F sock)" "a socket"
expect_eq socket "$(stat -c %F "$ORIGIN/sock")" "a socket at the origin"
rm fifo sock
