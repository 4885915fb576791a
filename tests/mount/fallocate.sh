#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fallocate reserves, grows and punches holes.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

tool pattern "$ORIGIN/f" 5 3000000
cairn_mount
tool punch "$MNT/f" 100000 1234567 3000000
tool punch "$MNT/f" 100000 1234567 3000000
cmp "$MNT/f" "$ORIGIN/f"
tool pattern "$MNT/g" 5 500000
tool punch "$MNT/g" 4096 8192 500000
cmp "$MNT/g" "$ORIGIN/g"
