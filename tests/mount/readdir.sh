#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Entries that come and go while a directory is read disturb neither the others nor positions.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

mkdir "$ORIGIN/d"
tool manyfiles "$ORIGIN/d" 2000
cairn_mount
tool readdir "$MNT/d"
mkdir "$MNT/e"
tool manyfiles "$MNT/e" 2000
tool readdir "$MNT/e"
