#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Other users get in only with allow_other.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

echo text >"$ORIGIN/f"
cairn_mount
expect_error 'Permission denied' as_nobody cat "$MNT/f"
expect_error 'Permission denied' as_nobody ls "$MNT"
cairn_remount -o allow_other
expect_eq text "$(as_nobody cat "$MNT/f")" "with allow_other"
