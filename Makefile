# SPDX-License-Identifier: Apache-2.0
# Everything from a bare Debian: each target installs by name what it lacks, and says so.
#
#   make            build
#   make run        build, mount, show it at work    [ORIGIN=sftp://host/path] [MOUNTPOINT=dir]
#   make test       build and run every test, plain and with address sanitizers
#   make tsan       the same with the thread sanitizer
#   make bench      measure
#   make lint       formatting, shell scripts, manual
#   make install    [PREFIX=/usr/local] [DESTDIR=]
#   make clean

PREFIX ?= /usr/local
ORIGIN ?=
MOUNTPOINT ?= run/mnt
PROGRAM = build/src/cairnfs

.PHONY: all build run test tsan bench lint install clean

all: build

build:
	@scripts/packages build
	@test -e build/build.ninja || meson setup build
	@ninja -C build

run: build
	@scripts/demo $(PROGRAM) "$(ORIGIN)" "$(MOUNTPOINT)"

test:
	@scripts/packages build test
	@tests/run gcc asan

tsan:
	@scripts/packages build test
	@tests/run tsan

bench:
	@scripts/packages build bench
	@test -e build-release/build.ninja || meson setup build-release --buildtype=release
	@ninja -C build-release
	@CAIRNFS=$(CURDIR)/build-release/src/cairnfs CAIRN_TOOL=$(CURDIR)/build-release/tests/mount/tool \
		bench/peers.sh

lint:
	@scripts/packages build test lint
	@git ls-files '*.c' | xargs clang-format --dry-run -Werror
	@shellcheck -x -S warning scripts/* tests/run .ci/run $$(git ls-files "*.sh" "*.bash")
	@mandoc -Tlint -Wwarning man/*.[18]

install: build
	@meson configure build --prefix "$(PREFIX)"
	@DESTDIR="$(DESTDIR)" meson install -C build

clean:
	@! grep -q " $$(realpath run/mnt) " /proc/self/mountinfo || $(PROGRAM) umount run/mnt
	rm -rf --one-file-system build build-* run
