#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mount with -o ro reads everything and answers EROFS to every change.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

make_tree "$ORIGIN"
cp -a "$ORIGIN" "$T/before"
cairn_mount -o ro
same_tree "$ORIGIN" "$MNT"
ro='Read-only file system'
expect_error "$ro" touch "$MNT/new"
expect_error "$ro" mkdir "$MNT/new"
expect_error "$ro" ln -s x "$MNT/new"
expect_error "$ro" ln "$MNT/f1" "$MNT/new"
expect_error "$ro" mkfifo "$MNT/new"
expect_error "$ro" rm -f "$MNT/f1"
expect_error "$ro" rmdir "$MNT/empty"
expect_error "$ro" mv "$MNT/f1" "$MNT/new"
expect_error "$ro" chmod 777 "$MNT/f1"
expect_error "$ro" chown 1 "$MNT/f1"
expect_error "$ro" touch "$MNT/f1"
expect_error "$ro" truncate -s 0 "$MNT/f1"
expect_error "$ro" bash -c "echo x >>'$MNT/f1'"
expect_error "$ro" setfattr -n user.x -v 1 "$MNT/f1"
same_tree "$T/before" "$ORIGIN"
