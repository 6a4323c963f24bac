#!/usr/bin/env bash
# A schedule that backs up every minute, against a pgbench database that moves, for KEEPSAFE_SOAK_MINUTES (30). Then every
# layer is restored, and compared with what the live database says it was at that time.
#
#   tests/soak/schedule.sh path/to/keepsafe
set -euo pipefail
keepsafe=$1
minutes=${KEEPSAFE_SOAK_MINUTES:-30}
store=$(mktemp -d)
"$keepsafe" start --store "$store" --listen 127.0.0.1:0 --http 127.0.0.1:0 >"$store/ready" 2>"$store/log" &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$store"' EXIT
until grep -q ready "$store/ready"; do sleep 0.1; done
port=$(sed 's/.*:\([0-9]*\)\/.*/\1/' "$store/ready")
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=root PGDATABASE=bank
ask() { psql -XqAt -v ON_ERROR_STOP=1 -d system -c "$1"; }

ask "CREATE DATABASE bank"
pgbench -q -i -s 1 >"$store/pgbench" 2>&1
ask "CREATE SCHEDULE soak FOR BACKUP DATABASE bank INTO 'nodelocal://1/soak' RECURRING '* * * * *'" >/dev/null
pgbench -n -c 2 -R 20 -T $((minutes * 60 + 30)) --max-tries=10 >"$store/pgbench" 2>&1
ask "PAUSE SCHEDULES SELECT id FROM [SHOW SCHEDULES]"
until [ "$(ask "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'running'")" = 0 ]; do sleep 1; done

ask "SELECT status || ' ' || count(*) FROM [SHOW JOBS] GROUP BY status"
sums() {
    echo "SELECT (SELECT count(*) FROM $1.pgbench_history) || ' ' || (SELECT sum(abalance) FROM $1.pgbench_accounts) || ' ' ||
          (SELECT sum(bbalance) FROM $1.pgbench_branches) || ' ' || (SELECT sum(tbalance) FROM $1.pgbench_tellers)"
}
layers=0
while read -r end; do
    ask "RESTORE DATABASE bank FROM LATEST IN 'nodelocal://1/soak' AS OF SYSTEM TIME '$end' WITH new_db_name = 'r'" >/dev/null
    restored=$(ask "$(sums r)")
    was=$(ask "BEGIN AS OF SYSTEM TIME '$end'; $(sums bank); COMMIT")
    [ "$restored" = "$was" ] || { echo "layer $end: $restored, not $was" >&2; exit 1; }
    set -- $restored
    [ "$2" = "$3" ] && [ "$3" = "$4" ] || { echo "layer $end is not one instant: $restored" >&2; exit 1; }
    ask "DROP DATABASE r CASCADE"
    layers=$((layers + 1))
done < <(ask "SELECT DISTINCT end_time FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/soak'] ORDER BY 1")
echo "$layers layers in $minutes minutes, each restored as it was; $(grep -c '^' "$store/log" || true) lines in the log"
grep 'number of transactions\|failed' "$store/pgbench"
