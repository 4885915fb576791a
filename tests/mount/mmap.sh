#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shared writable mappings: coherent with write(2) and between processes, and they arrive.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
tool mmap "$MNT/f"
tool verify "$MNT/f" 9 1000000
arrived() { tool verify "$ORIGIN/f" 9 1000000; }
# The last reference was the mapping: no close(2) tells when it is done.
wait_until 10 arrived
# A program runs from the mount (a mapping of its text).
cp "$(type -P true)" "$MNT/true"
"$MNT/true"
