#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A wrong command line is answered by one line of advice on stderr and status 2.
. "$(dirname "$0")/lib.sh"

refused 2 "unknown command 'moutn' (did you mean 'mount'?)" moutn
refused 2 "unknown command 'frobnicate'; see: cairnfs help" frobnicate
refused 2 "unknown command 'frobnicate'; see: cairnfs help" help frobnicate
refused 2 "unknown option 'cahce' (did you mean 'cache'?)" mount --cahce /c a b
refused 2 "unknown option 'cahce' (did you mean 'cache'?)" mount -o ro,cahce=/c a b
refused 2 "unknown option 'jsno' (did you mean 'json'?)" status --jsno
refused 2 "unknown option '-z'" mount -z a b
refused 2 "option 'cache' needs a value (DIR)" mount --cache
refused 2 "option 'memory': 'lots' is not a size (such as 512MiB or 10GiB)" mount --memory lots a b
refused 2 "option 'fresh': 'soon' is not a duration (such as 500ms, 5s or 2m)" \
    mount -o fresh=soon a b
refused 2 "option 'connections': '65' is out of range (1 to 64)" mount --connections=65 a b
refused 2 "too few arguments: usage: cairnfs mount [OPTIONS] ORIGIN MOUNTPOINT" mount a
refused 2 "too many arguments: usage: cairnfs umount [OPTIONS] MOUNTPOINT" umount a b
refused 2 "option 'chunk-avg': 33000 is not a power of two" \
    mount --chunk-avg 33000 --cache "$T/c" a b
run
((RC == 2)) && [[ -s $T/err && ! -s $T/out ]] || fail "no command: status $RC"
