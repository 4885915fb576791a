#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cairnfs chunks covers a file without a gap, within the sizes asked for, the same in both formats.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

tool pattern "$T/f" 1 3000000
"$CAIRNFS" chunks "$T/f" >"$T/chunks"
awk '{ if ($1 != end) exit 1; end = $1 + $2; if (length($3) != 32) exit 1 }
     $2 > 262144 { exit 1 } END { exit end != 3000000 }' "$T/chunks" || fail "$(cat "$T/chunks")"
"$CAIRNFS" chunks --json "$T/f" | jq -r '(.chunks? // .)[] | "\(.offset) \(.length) \(.id)"' |
    diff - "$T/chunks" || fail "--json tells something else"
"$CAIRNFS" chunks --min 2K --avg 8K --max 32K "$T/f" >"$T/small"
(($(wc -l <"$T/small") > 4 * $(wc -l <"$T/chunks"))) || fail "smaller sizes, not more chunks"
# Bytes put in front move the chunks, they don't change them.
{ head -c 1000 /dev/zero && cat "$T/f"; } >"$T/g"
"$CAIRNFS" chunks "$T/g" >"$T/moved"
same=$(cut -d' ' -f3 "$T/chunks" "$T/moved" | sort | uniq -d | wc -l)
((same >= $(wc -l <"$T/chunks") - 2)) || fail "only $same chunks stayed"
: >"$T/empty"
expect_eq "" "$("$CAIRNFS" chunks "$T/empty")" "chunks of an empty file"
expect_error 'No such file' "$CAIRNFS" chunks "$T/nothing"
