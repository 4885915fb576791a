#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Called as mount.cairnfs the program takes mount(8)'s arguments and gives its exit statuses.
. "$(dirname "$0")/lib.sh"

mkdir "$T/origin" "$T/mnt"
list=rw,noauto,nofail,_netdev,x-systemd.automount,nodev,relatime,cache=$T/cache
for name in mount.cairnfs mount.fuse.cairnfs; do
    ln -s "$CAIRNFS" "$T/$name"
    CAIRNFS=$T/$name
    # -f is mount(8)'s "fake": all checks, no mount.
    run "$T/origin" "$T/mnt" -f -n -v -o "$list"
    ((RC == 0)) || fail "$name: status $RC: $(cat "$T/err")"
    run "$T/origin" "$T/mnt" -f -t fuse.cairnfs -N 4026531840 -o "$list"
    ((RC == 0)) || fail "$name: status $RC: $(cat "$T/err")"
    run -f -o "$list" sftp://host.example/x "$T/mnt"
    ((RC == 0)) || fail "$name: status $RC: $(cat "$T/err")"
    refused 1 "unknown option 'cahce' (did you mean 'cache'?)" "$T/origin" "$T/mnt" -f -o cahce=x
    run "$T/origin" "$T/mnt" -s -f -o "cahce=x,$list"
    ((RC == 0)) || fail "$name -s: status $RC: $(cat "$T/err")"
    refused 32 "the mountpoint '$T/nothing' does not exist" "$T/origin" "$T/nothing" -o "$list"
    run "$T/origin"
    ((RC == 1)) || fail "$name without mountpoint: status $RC"
done
