#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An open file lives on after its name is gone or given to another.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

tool pattern "$ORIGIN/old" 77 3000000
mkdir "$ORIGIN/dir"
cairn_mount
tool unlinked "$MNT/dir" "$MNT/old" 77
expect_eq "" "$(names_in "$MNT/dir")" "what is left"
expect_eq "" "$(names_in "$ORIGIN/dir")" "what is left at the origin"
[[ ! -e $ORIGIN/old ]] || fail "the origin still has the removed file"
