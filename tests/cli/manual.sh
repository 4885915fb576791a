#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each option of the program is in the manual and in the completion, and the manual names no other.
. "$(dirname "$0")/lib.sh"

manual=$SOURCE/man/cairnfs.1
section() {
    awk -v name="cairnfs $1" '/^\.S[sh] /{on = $0 == ".Ss " name} on' "$manual"
}
for c in "${COMMANDS[@]}"; do
    for o in $(options_of "$c"); do
        [[ $o != help ]] || continue
        section "$c" | grep -qE "^\.It Fl ([a-z] , Fl )?\\\\-$o( |$)" || fail "the manual's $c lacks --$o"
        grep -qE -- "--$o\b" "$SOURCE/completion/cairnfs.bash" || fail "the completion lacks --$o"
        [[ $c != mount || $o == options || $o == foreground ]] ||
            grep -qwE -- "$o|${o//-/_}" "$SOURCE/man/mount.cairnfs.8" || fail "mount.cairnfs(8) lacks $o"
    done
    for o in $(section "$c" | sed -nE 's/^\.It Fl ([a-z] , Fl )?\\-([a-z-]+).*/\2/p'); do
        options_of "$c" | grep -qx -- "$o" || fail "the manual's $c names --$o, which there is not"
    done
done
if command -v mandoc >/dev/null; then
    # Status 2 and more: warnings and errors, not style.
    mandoc -Tlint -Wwarning "$SOURCE"/man/*.[18] || fail "mandoc complains"
fi
