#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rsync -a works both ways, finds nothing to do the second time and only the change the third.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

need rsync
make_tree "$T/tree"
cairn_mount
rsync -a "$T/tree/" "$MNT/in/"
same_tree "$T/tree" "$MNT/in"
same_tree "$T/tree" "$ORIGIN/in"
expect_eq "" "$(rsync -ani "$T/tree/" "$MNT/in/")" "second run"
expect_eq "" "$(rsync -anci "$T/tree/" "$MNT/in/")" "second run with checksums"
echo more >>"$T/tree/sub/copy"
expect_eq "sub/copy" "$(rsync -a --out-format=%n "$T/tree/" "$MNT/in/")" "what the third run sends"
rsync -a --inplace --no-whole-file "$T/tree/" "$MNT/in/"
rsync -a "$MNT/in/" "$T/out/"
same_tree "$T/tree" "$T/out"
rm "$T/tree/f1"
rsync -a --delete "$T/tree/" "$MNT/in/"
same_tree "$T/tree" "$ORIGIN/in"
