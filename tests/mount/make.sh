#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A small C project builds with make in the mount, and is up to date afterwards.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

need make cc
cairn_mount
mkdir "$MNT/p" && cd "$MNT/p"
{
    printf 'OBJS ='
    for i in $(seq 12); do printf ' m%d.o' "$i"; done
    # shellcheck disable=SC2016
    printf '\nprog: main.o lib.a\n\tcc -o $@ main.o lib.a\nlib.a: $(OBJS)\n\tar rcs $@ $(OBJS)\n'
    # shellcheck disable=SC2016
    printf '%%.o: %%.c all.h\n\tcc -g -c -o $@ $<\nclean:\n\trm -f *.o *.a prog\n'
} >Makefile
{ for i in $(seq 12); do echo "int m$i(int x);"; done; } >all.h
for i in $(seq 12); do
    printf '#include "all.h"\nint m%d(int x) { return x + %d; }\n' "$i" "$i" >"m$i.c"
done
{
    printf '#include <stdio.h>\n#include "all.h"\nint main(void) { int x = 0;\n'
    for i in $(seq 12); do echo "x = m$i(x);"; done
    printf 'printf("%%d\\n", x); return 0; }\n'
} >main.c
make -s -j3
expect_eq 78 "$(./prog)" "the program's output"
make -q || fail "not up to date after make"
# A changed source is built again, only it. (SFTP keeps whole seconds: an mtime in the future.)
touch -d '+5 seconds' m3.c
expect_eq "m3.o" "$(make -n | grep -o '[a-z0-9]*\.o' | grep ^m3 | head -n1)" "what is built again"
make -s 2>/dev/null
expect_eq 78 "$(./prog)" "the program's output"
cd "$T" && expect_eq 78 "$("$ORIGIN/p/prog")" "the program at the origin"
make -s -C "$MNT/p" clean
