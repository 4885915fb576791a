#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many processes that wait for a lock do not keep the mount from serving others.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

cairn_mount
within_ms 15000 tool waiters "$MNT/f" 64
