#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# O_APPEND writes from several processes all arrive whole.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
tool append "$MNT/log" 6 400
cmp "$MNT/log" "$ORIGIN/log"
# To a file that only the origin has, without reading it first.
tool pattern "$ORIGIN/old" 3 1000001
seen() { [[ $(stat -c %s "$MNT/old") == 1000001 ]]; }
wait_until 10 seen
echo more >>"$MNT/old"
tail -c 5 "$ORIGIN/old" | cmp - <(echo more)
head -c 1000001 "$ORIGIN/old" >"$T/head"
tool verify "$T/head" 3 1000001
