#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# O_DIRECT reads and writes, coherent with buffered ones.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
tool direct "$MNT/f"
cmp "$MNT/f" "$ORIGIN/f"
