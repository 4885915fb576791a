#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# flock and fcntl locks between processes: ranges, waiting, interrupting, freed at the end.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
tool flock "$MNT/f"
tool posixlock "$MNT/p"
