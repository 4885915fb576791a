#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fio writes at random, then verifies: buffered, through a mapping, and with O_DIRECT.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

need fio
cairn_mount
cd "$T" # where fio leaves what it leaves
job() {
    fio --directory="$MNT" --verify_state_save=0 --size=12m --bs=4k --rw=randwrite --verify=crc32c --verify_fatal=1 \
        --minimal --randseed=42 --fallocate=none "$@" >"$T/fio.log" 2>&1 || {
        cat "$T/fio.log" >&2
        fail "fio $*"
    }
}
job --name=buffered --ioengine=psync --end_fsync=1
job --name=mapped --ioengine=mmap --end_fsync=1
job --name=direct --ioengine=psync --direct=1
job --name=odd --ioengine=psync --bsrange=1k-70k --bs_unaligned --fsync=64 --norandommap \
    --verify_async=2
job --name=async --ioengine=libaio --direct=1 --iodepth=16 --numjobs=2 --size=6m
for f in "$MNT"/*.0; do
    cmp "$f" "$ORIGIN/${f##*/}" || fail "${f##*/} differs at the origin"
done
