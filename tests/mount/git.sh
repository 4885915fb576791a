#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# git clone, status, commit, gc and fsck work inside the mount.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

need git
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a
export GIT_COMMITTER_EMAIL=a@b
git init -q -b main "$T/src"
for i in $(seq 60); do
    mkdir -p "$T/src/d$((i % 7))"
    tool pattern "$T/src/d$((i % 7))/f$i" "$i" $((i * 997))
done
git -C "$T/src" add . && git -C "$T/src" commit -qm first
cairn_mount
git clone -q --no-local "$T/src" "$MNT/clone"
cd "$MNT/clone"
expect_eq "" "$(git status --porcelain)" "status of a fresh clone"
echo change >>d1/f1
rm d2/f2
mkdir new && echo new >new/file
expect_eq " M d1/f1| D d2/f2|?? new/|" "$(git status --porcelain | tr '\n' '|')" "status"
git add -A && git commit -qm second
git branch side && git checkout -q side && echo side >side && git add side && git commit -qm side
git checkout -q main && git merge -q --no-edit side
git gc -q
git fsck --full --strict
expect_eq "" "$(git status --porcelain)" "status after gc"
cd "$T"
# The origin itself holds a sound repository.
git -c safe.directory='*' -C "$ORIGIN/clone" fsck --full --strict
expect_eq "$(git -C "$MNT/clone" rev-parse HEAD)" \
    "$(git -c safe.directory='*' -C "$ORIGIN/clone" rev-parse HEAD)" HEAD
