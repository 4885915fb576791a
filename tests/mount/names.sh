#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# File names with every byte but / and NUL, up to 255 bytes, work from both sides.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

mkdir "$ORIGIN/there"
tool names make "$ORIGIN/there"
cairn_mount
tool names check "$MNT/there"
expect_eq "$(tool listing "$ORIGIN/there" | sort)" "$(tool listing "$MNT/there" | sort)" listing
mkdir "$MNT/here"
tool names make "$MNT/here"
tool names check "$ORIGIN/here"
expect_eq "$(tool listing "$ORIGIN/here" | sort)" "$(tool listing "$MNT/here" | sort)" listing
mv "$MNT/here" "$MNT/$(printf 'n\nl\xff')"
tool names check "$ORIGIN/$(printf 'n\nl\xff')"
tool names remove "$MNT/$(printf 'n\nl\xff')"
rmdir "$ORIGIN/$(printf 'n\nl\xff')"
