#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The model's random operations from several processes at once, each in a directory of its own.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

[[ -x ${CAIRN_MODEL:-} ]] || fail "CAIRN_MODEL names no program"
ops=${CAIRN_OPS:-700}
test_seed
# Caches too small for what happens, so that eviction goes on beside it all.
cairn_mount --memory 4M --cache-size 32M
model_rules
pids=()
for p in 1 2 3 4; do
    mkdir -p "$T/twin/$p" "$MNT/$p"
    CAIRN_SEED=$((SEED + p)) "$CAIRN_MODEL" "$MNT/$p" "$T/twin/$p" "$ORIGIN/$p" "$ops" \
        "${RULES[@]}" 2>"$T/model.$p" &
    pids+=($!)
done
p=0
for pid in "${pids[@]}"; do
    p=$((p + 1))
    wait "$pid" || fail "process $p (CAIRN_SEED=$SEED): $(cat "$T/model.$p")"
done
