#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In a sticky directory only the owner may remove or rename.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

mkdir "$ORIGIN/t" && chmod 1777 "$ORIGIN/t"
chmod 777 "$ORIGIN"
touch "$ORIGIN/t/roots"
cairn_mount -o allow_other
expect_error 'not permitted' as_nobody rm -f "$MNT/t/roots"
expect_error 'not permitted' as_nobody mv "$MNT/t/roots" "$MNT/t/mine"
as_nobody touch "$MNT/t/nobodys" && as_nobody mv "$MNT/t/nobodys" "$MNT/t/n"
expect_error 'not permitted' as_nobody mv "$MNT/t/n" "$MNT/t/roots"
as_nobody rm "$MNT/t/n"
rm "$MNT/t/roots"
# Permissions in general are checked.
mkdir -m 700 "$MNT/locked" && echo x >"$MNT/locked/x"
expect_error 'Permission denied' as_nobody cat "$MNT/locked/x"
echo x >"$MNT/readonly"
expect_error 'Permission denied' as_nobody bash -c "echo y >'$MNT/readonly'"
expect_error 'not permitted' as_nobody chmod 777 "$MNT/readonly"
expect_error 'not permitted' as_nobody chown 65534 "$MNT/readonly"
