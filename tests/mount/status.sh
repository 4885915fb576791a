#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# status --json tells right numbers: a file read twice, or twins, occupy the cache once.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"
need_cairnfs

size=5000000
tool pattern "$ORIGIN/a" 1 $size
cp "$ORIGIN/a" "$ORIGIN/twin"
cairn_mount
"$CAIRNFS" status --json "$MNT" | jq -e type >/dev/null || fail "not valid JSON"
expect_eq 0 "$(counter fetch.bytes)" "bytes fetched before any read"
cat "$MNT/a" >/dev/null
expect_eq $size "$(counter fetch.bytes)" "bytes fetched"
drop_pages "$MNT/a"
cat "$MNT/a" >/dev/null
expect_eq $size "$(counter fetch.bytes)" "bytes fetched after the second read"
(($(counter memory.hits) > 0)) || fail "the second read was no hit"
cat "$MNT/twin" >/dev/null
expect_eq $((2 * size)) "$(counter fetch.bytes)" "bytes fetched with the twin"
(($(counter chunks.deduplicated) > 0)) || fail "the twin's chunks were stored again"
expect_eq $((2 * size)) "$(status .cache.logical_bytes)" "logical bytes"
# What was cut before the whole file was known may still be there beside the final chunks.
unique=$(status .cache.unique_bytes)
((unique >= size && unique < size + size / 10)) || fail "unique bytes: $unique"
stored=$(status .cache.stored_bytes)
((stored > 0 && stored < size + size / 5 + (4 << 20))) || fail "stored bytes: $stored"
"$CAIRNFS" status "$MNT" | grep -q . || fail "no table"
expect_error 'not|no ' "$CAIRNFS" status "$T"
