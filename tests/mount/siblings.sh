#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who reads the small files of a directory in order finds the next ones fetched; who does not, not.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs
need jq

mkdir "$ORIGIN/d" "$ORIGIN/e"
for i in $(seq 1000 1299); do
    tool pattern "$ORIGIN/d/f$i" "$i" $((i * 37 % 9000 + 1))
done
: >"$ORIGIN/d/f1100x" # in between: an empty one, a large one, a directory, a link
tool pattern "$ORIGIN/d/f1120x" 1 3000000
mkdir "$ORIGIN/d/f1140x"
ln -s f1000 "$ORIGIN/d/f1160x"
cp "$ORIGIN"/d/f1[0-9][0-9][0-9] "$ORIGIN/e"
ahead() { "$CAIRNFS" status --json "$MNT" | jq '.counters["fetch.readahead"]'; }

cairn_mount
ls -l "$MNT/d" "$MNT/e" >/dev/null

say "--- in the order of the names"
for f in "$MNT"/d/f[0-9]*; do
    [[ ! -f $f ]] || cmp "$f" "$ORIGIN/d/${f##*/}"
done
(($(ahead) > 250)) || fail "only $(ahead) of 300 files were fetched before they were opened"

say "--- a file that changes behind its fetching"
cairn_umount
rm -rf "$CACHE"
cairn_mount
ls -l "$MNT/d" >/dev/null
tool pattern "$ORIGIN/d/f1010" 77 5000
for i in $(seq 1000 1020); do
    cat "$MNT/d/f$i" >"$T/got" || fail "f$i can't be read"
    cmp "$T/got" "$ORIGIN/d/f$i" || [[ $i == 1010 ]] || fail "f$i is wrong"
done
seen() { cmp -s "$MNT/d/f1010" "$ORIGIN/d/f1010"; }
wait_until 10 seen || fail "the new f1010 is never seen"

say "--- in no order"
before=$(ahead)
mapfile -t some < <(for i in $(seq 1000 1299); do echo "$i"; done |
    shuf --random-source="$ORIGIN/d/f1120x" | head -n 40)
for i in "${some[@]}"; do
    cmp "$MNT/e/f$i" "$ORIGIN/e/f$i"
done
(($(ahead) - before < 120)) || fail "$(($(ahead) - before)) files fetched ahead of a random reader"
