#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# chmod, chown and utimens arrive at the origin and are there again after a remount.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
coarse=()
origin_can ns-times || coarse=(coarse)
tool stamps "$MNT/f" "${coarse[@]}"
mkdir "$MNT/d"
for n in f d; do
    chown 1111:2222 "$MNT/$n" && chmod 751 "$MNT/$n"
    touch -a -d @1111111111 "$MNT/$n" && touch -m -d @1222222222 "$MNT/$n"
    want="1111 2222 751 1111111111 1222222222"
    expect_eq "$want" "$(stat -c '%u %g %a %X %Y' "$MNT/$n")" "$n in the mount"
    expect_eq "$want" "$(stat -c '%u %g %a %X %Y' "$ORIGIN/$n")" "$n at the origin"
done
chmod 1777 "$MNT/d" && expect_eq 1777 "$(stat -c %a "$ORIGIN/d")" "sticky"
# A file that is open for writing keeps what is set on it, whatever the order.
exec 5>"$MNT/open"
echo data >&5
chmod 604 "$MNT/open" && chown 5:6 "$MNT/open" && touch -d @1333333333 "$MNT/open"
exec 5>&-
expect_eq "5 6 604 1333333333" "$(stat -c '%u %g %a %Y' "$MNT/open")" "an open file in the mount"
expect_eq "5 6 604 1333333333" "$(stat -c '%u %g %a %Y' "$ORIGIN/open")" "an open file at the origin"
if [[ -z $PLAIN ]]; then
    cairn_remount
    expect_eq "5 6 604 1333333333" "$(stat -c '%u %g %a %Y' "$MNT/open")" "after a remount"
fi
