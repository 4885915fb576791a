#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# chunks reads files and stdin alike, in constant memory, and tells when it cannot write.
. "$(dirname "$0")/lib.sh"

seq 1 400000 >"$T/f"
"$CAIRNFS" chunks "$T/f" >"$T/file"
"$CAIRNFS" chunks - <"$T/f" >"$T/stdin"
cat "$T/f" | "$CAIRNFS" chunks -- - >"$T/pipe"
cmp "$T/file" "$T/stdin"
cmp "$T/file" "$T/pipe"
awk -v size="$(stat -c %s "$T/f")" '{ if ($1 != end || $3 !~ /^[0-9a-f]+$/ || length($3) != 32) exit 1
     end = $1 + $2 } END { exit end != size }' "$T/file" || fail "chunks do not cover the file"
"$CAIRNFS" chunks --json "$T/f" | jq -r '.[] | "\(.offset) \(.length) \(.id)"' | cmp - "$T/file"
[[ $("$CAIRNFS" chunks --json /dev/null | jq -c .) == '[]' ]] || fail "JSON of nothing"
refused 1 "'$T/nothing': No such file or directory" chunks "$T/nothing"
refused 1 "'$T': Is a directory" chunks "$T"
refused 2 "chunk sizes must ascend (min <= avg <= max) and avg be a power of two" \
    chunks --min 128K "$T/f"
RC=0
"$CAIRNFS" chunks "$T/f" >/dev/full 2>"$T/err" || RC=$?
((RC == 1)) || fail "a full disk: status $RC"
grep -q 'No space left' "$T/err" || fail "a full disk: $(cat "$T/err")"
if [[ -z ${SANITIZED:-} ]]; then
    head -c 300M /dev/zero | (ulimit -v 60000 && "$CAIRNFS" chunks -) | wc -l >"$T/count"
    (($(cat "$T/count") == 1200)) || fail "300 MiB of zeros: $(cat "$T/count") chunks"
fi
