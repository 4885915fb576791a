#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Mountpoints and origins that cannot work are refused before anything is started.
. "$(dirname "$0")/lib.sh"

mkdir "$T/origin" "$T/mnt" "$T/origin/below"
touch "$T/file"
m=(mount --cache "$T/cache")
refused 1 "the mountpoint '$T/nothing' does not exist" "${m[@]}" "$T/origin" "$T/nothing"
refused 1 "the mountpoint '$T/file' is not a directory" "${m[@]}" "$T/origin" "$T/file"
refused 1 "the mountpoint '$T/origin/below' lies in the origin '$T/origin': a mount cannot contain itself" \
    "${m[@]}" "$T/origin" "$T/origin/below"
refused 1 "the origin '$T/origin/below' lies in the mountpoint '$T/origin', which would hide it" \
    "${m[@]}" "file://$T/origin/below" "$T/origin"
refused 1 "the cache '$T/mnt/cache' lies in the mountpoint '$T/mnt'" \
    mount --cache "$T/mnt/cache" "$T/origin" "$T/mnt"
refused 1 "'$T/mnt' is not a cairnfs mount" umount "$T/mnt"
refused 1 "'$T/mnt' is not a cairnfs mount" status "$T/mnt"
refused 1 "'$T/nothing': No such file or directory" umount "$T/nothing"
[[ ! -e $T/cache ]] || fail "a cache was made"
