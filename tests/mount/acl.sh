#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# POSIX ACLs work wholly or are refused with EOPNOTSUPP.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

need setfacl getfacl
echo x >"$ORIGIN/f"
cairn_mount
if out=$(setfacl -m u:65534:rw "$MNT/f" 2>&1); then
    getfacl -cn "$MNT/f" | grep -qx 'user:65534:rw-' || fail "an ACL was accepted and is not there"
    getfacl -cn "$ORIGIN/f" | grep -qx 'user:65534:rw-' || fail "the origin lacks the ACL"
    mkdir "$MNT/d" && setfacl -d -m u:65534:rx "$MNT/d" && mkdir "$MNT/d/sub"
    getfacl -cn "$MNT/d/sub" | grep -qx 'default:user:65534:r-x' || fail "a default is not inherited"
else
    grep -q 'not supported' <<<"$out" || fail "refused, but with: $out"
fi
