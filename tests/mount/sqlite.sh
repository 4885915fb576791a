#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sqlite3 works in both journal modes, also with two processes on one database.
# shellcheck source=tests/lib/mountlib.sh
. "$(dirname "$0")/../lib/mountlib.sh"
mount_test "$@"

need sqlite3
cairn_mount
for mode in delete wal; do
    db=$MNT/$mode.db
    expect_eq $mode "$(sqlite3 "$db" "pragma journal_mode=$mode;")" "journal mode"
    sqlite3 "$db" "create table t(id integer primary key, who text, v blob);"
    pids=()
    for who in a b; do
        for _ in $(seq 25); do
            echo "pragma busy_timeout=60000; begin immediate; insert into t(who,v)
                  values('$who', randomblob(3000)); commit;"
        done | sqlite3 "$db" >/dev/null &
        pids+=($!)
    done
    for p in "${pids[@]}"; do
        wait "$p" || fail "$mode: a writer failed"
    done
    sqlite3 "$db" "begin; with recursive n(i) as (select 1 union all select i+1 from n where i<2000)
        insert into t(who,v) select 'c', randomblob(200) from n; commit;
        update t set v=randomblob(500) where id%3=0; delete from t where id%5=0;
        create index ti on t(v);" >/dev/null
    sqlite3 "$db" "begin; delete from t; rollback;"
    expect_eq ok "$(sqlite3 "$db" 'pragma integrity_check;')" "$mode: integrity_check"
    expect_eq 1640 "$(sqlite3 "$db" 'select count(*) from t;')" "$mode: rows"
    sqlite3 "$db" "vacuum;"
    expect_eq ok "$(sqlite3 "$db" 'pragma integrity_check;')" "$mode: integrity_check after vacuum"
    # Closed, so the origin has it all.
    expect_eq ok "$(sqlite3 "$ORIGIN/$mode.db" 'pragma integrity_check;')" "$mode: at the origin"
    expect_eq 1640 "$(sqlite3 "$ORIGIN/$mode.db" 'select count(*) from t;')" "$mode: rows there"
done
