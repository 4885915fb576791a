#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# New nodes belong to the caller, or to the group of a setgid directory.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

chmod 777 "$ORIGIN"
mkdir "$ORIGIN/g" "$ORIGIN/plain"
chgrp 4321 "$ORIGIN/g" && chmod 2777 "$ORIGIN/g" && chmod 777 "$ORIGIN/plain"
cairn_mount -o allow_other
as_nobody mkdir "$MNT/plain/d"
as_nobody touch "$MNT/plain/f"
as_nobody ln -s x "$MNT/plain/l"
as_nobody mkdir "$MNT/g/d"
as_nobody touch "$MNT/g/f"
as_nobody ln -s x "$MNT/g/l"
for side in "$MNT" "$ORIGIN"; do
    expect_eq "65534 65534 755" "$(stat -c '%u %g %a' "$side/plain/d")" "$side: a directory"
    expect_eq "65534 65534 644" "$(stat -c '%u %g %a' "$side/plain/f")" "$side: a file"
    expect_eq "65534 65534" "$(stat -c '%u %g' "$side/plain/l")" "$side: a symlink"
    expect_eq "65534 4321 2755" "$(stat -c '%u %g %a' "$side/g/d")" "$side: a directory in setgid"
    expect_eq "65534 4321 644" "$(stat -c '%u %g %a' "$side/g/f")" "$side: a file in setgid"
    expect_eq "65534 4321" "$(stat -c '%u %g' "$side/g/l")" "$side: a symlink in setgid"
done
# The caller's umask counts, once.
(umask 077 && touch "$MNT/private" && mkdir "$MNT/privdir")
expect_eq "600 700" "$(stat -c %a "$ORIGIN/private" "$ORIGIN/privdir" | xargs)" "with umask 077"
