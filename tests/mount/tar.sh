#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tar unpacks into the mount and packs from it.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

make_tree "$T/tree"
tar -C "$T" -cf "$T/a.tar" tree
cairn_mount
tar -C "$MNT" -xpf "$T/a.tar"
same_tree "$T/tree" "$MNT/tree"
same_tree "$T/tree" "$ORIGIN/tree"
tar -C "$MNT" -cf "$T/b.tar" tree
mkdir "$T/out"
tar -C "$T/out" -xpf "$T/b.tar"
same_tree "$T/tree" "$T/out/tree"
tar -C "$MNT" -df "$T/a.tar" || fail "tar finds differences"
cp "$T/a.tar" "$MNT/a.tar"
tar -C "$MNT" -xzf <(gzip -1 <"$MNT/a.tar") --one-top-level=again
same_tree "$T/tree" "$MNT/again/tree"
