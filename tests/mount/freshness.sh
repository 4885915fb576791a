#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Changes at the origin are seen in time, with all the kernel had kept; nobody reads a mix of versions.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

if [[ $KIND == file ]]; then
    fresh=60s bound=2 # inotify tells at once
else
    fresh=1s bound=3
fi
mkdir "$ORIGIN/d"
for n in f g h; do echo old >"$ORIGIN/$n"; done
tool fill "$ORIGIN/big" A 3000000
cairn_mount --fresh $fresh
ls -lR "$MNT" >/dev/null && cat "$MNT"/[fgh] "$MNT/big" >/dev/null
content() { [[ $(cat "$MNT/$1") == "$2" ]]; }
size() { [[ $(stat -c %s "$MNT/$1") == "$2" ]]; }
absent() { [[ ! -e $MNT/$1 ]]; }
present() { [[ -e $MNT/$1 ]] && ls "$MNT/${1%/*}" | grep -qx "${1##*/}"; }
mode() { [[ $(stat -c %a "$MNT/$1") == "$2" ]]; }
seen() { wait_until $bound "$@" || fail "not seen in time: $*"; }

# In place, also with a size that stays.
echo changed >"$ORIGIN/f" && seen content f changed
second=$(($(date +%s) + 1))
after_second() { (($(date +%s) > second)); }
wait_until 3 after_second # a version of SFTP is a size and a whole second
echo another >"$ORIGIN/f" && seen content f another
# By rename.
echo renamed >"$ORIGIN/tmp" && mv "$ORIGIN/tmp" "$ORIGIN/g" && seen content g renamed
# Created, also where its absence is known; removed; changed in its attributes.
absent d/new && echo x >"$ORIGIN/d/new" && seen present d/new && seen content d/new x
rm "$ORIGIN/h" && seen absent h
chmod 640 "$ORIGIN/g" && seen mode g 640
mv "$ORIGIN/d" "$ORIGIN/e" && seen absent d && seen content e/new x
# A new directory, and what is made in it right away.
mkdir -p "$ORIGIN/n/m" && echo deep >"$ORIGIN/n/m/f" && seen content n/m/f deep
echo deeper >"$ORIGIN/n/m/f" && seen content n/m/f deeper
# A reader that has it open and mapped pages: a truncated file reads short.
exec 5<"$MNT/big"
head -c 100000 <&5 >/dev/null
tool fill "$ORIGIN/big" B 2000000 && seen size big 2000000
expect_eq B "$(head -c 1 "$MNT/big")" "first byte after a change in place"
exec 5<&-
cmp "$MNT/big" "$ORIGIN/big"

say "--- whole-file readers while the origin flips between two versions"
tool fill "$ORIGIN/flip" A 3000000
seen size flip 3000000
readers=()
for _ in 1 2; do
    tool mixreader "$MNT/flip" 60 "$T/stop" A=3000000 B=2500000 >>"$T/passes" &
    readers+=($!)
done
end=$(($(now_ms) + 6000))
while (($(now_ms) < end)); do
    tool fill "$ORIGIN/.flip" B 2500000 && mv "$ORIGIN/.flip" "$ORIGIN/flip"
    [[ $KIND == file ]] || wait_until $bound size flip 2500000
    tool fill "$ORIGIN/.flip" A 3000000 && mv "$ORIGIN/.flip" "$ORIGIN/flip"
    [[ $KIND == file ]] || wait_until $bound size flip 3000000
done
touch "$T/stop"
for p in "${readers[@]}"; do
    wait "$p" || fail "a reader saw a mix, or an error"
done
say "passes: $(xargs <"$T/passes")"
for v in A B; do
    (($(awk -v v=$v '$1 == v {n += $2} END {print n + 0}' "$T/passes") > 0)) || fail "never read $v whole"
done
