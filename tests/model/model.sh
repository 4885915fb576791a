#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Thousands of random operations have the same results on the mount as on a plain directory.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

[[ -x ${CAIRN_MODEL:-} ]] || fail "CAIRN_MODEL names no program"
ops=${CAIRN_OPS:-2000}
test_seed
mkdir "$T/twin"
# The second and third part find what the first left, after a remount and after a crash: this where
# the origin tells which names are one file; else only the store knows, up to its last commit.
for part in 0 1 2; do
    cairn_mount --memory 16M
    model_rules
    CAIRN_SEED=$((SEED + part)) "$CAIRN_MODEL" "$MNT" "$T/twin" "$ORIGIN" "$ops" "${RULES[@]}" ||
        fail "part $part (CAIRN_SEED=$SEED)"
    case $part in
    0) cairn_umount ;;
    1)
        if [[ -z $PLAIN ]] && origin_can file-ids; then
            cairn_kill9
        else
            cairn_umount
        fi
        ;;
    esac
done
