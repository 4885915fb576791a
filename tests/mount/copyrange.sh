#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# copy_file_range copies any range, and on cairnfs without moving the bytes through it.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

tool pattern "$ORIGIN/a" 1 8000000
cairn_mount
cat "$MNT/a" >/dev/null
before=0
[[ -n $PLAIN ]] || before=$(counter fetch.bytes)
tool copyrange "$MNT/a" 0 "$MNT/b" 0 8000000
tool verify "$MNT/b" 1 8000000
tool verify "$ORIGIN/b" 1 8000000
if [[ -z $PLAIN ]]; then
    expect_eq "$before" "$(counter fetch.bytes)" "bytes fetched after copying and reading the copy"
    ! origin_can copy-range || expect_eq 0 "$(counter upload.bytes)" "bytes sent"
fi
# A piece into the middle of another, unaligned, and past its end.
tool pattern "$MNT/c" 3 100000
cp "$MNT/c" "$T/c"
tool copyrange "$MNT/a" 1234567 "$MNT/c" 54321 1000000
tool copyrange "$ORIGIN/a" 1234567 "$T/c" 54321 1000000
cmp "$MNT/c" "$T/c"
cmp "$ORIGIN/c" "$T/c"
# Within one file.
tool copyrange "$MNT/c" 0 "$MNT/c" 2000000 50000
tool copyrange "$T/c" 0 "$T/c" 2000000 50000
cmp "$MNT/c" "$T/c"
cmp "$ORIGIN/c" "$T/c"
