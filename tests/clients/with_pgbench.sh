# pgbench: its tables, its three scripts, in each way to send statements; no transaction may fail.
set -euo pipefail
psql -Xqc 'CREATE DATABASE pgbench'
pgbench -i -q -s 1 pgbench 2>/dev/null
for mode in simple extended prepared; do
    for script in tpcb-like simple-update select-only; do
        output="$(pgbench -n -M "$mode" -b "$script" -c 4 -j 2 -t 25 --max-tries=1 pgbench 2>&1)"
        grep -q '^number of failed transactions: 0 ' <<<"$output" || { echo "$mode $script: $output"; exit 1; }
        grep -q '^number of transactions actually processed: 100/100' <<<"$output" || { echo "$mode $script: $output"; exit 1; }
    done
done
# What was added up is the same everywhere.
sums="$(psql -XAtc 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)' pgbench)"
[ "$sums" = t ] || { echo "sums differ: $sums"; exit 1; }
psql -Xqc "BACKUP DATABASE pgbench INTO 'nodelocal://1/pgbench'" pgbench >/dev/null
psql -Xqc "RESTORE DATABASE pgbench FROM LATEST IN 'nodelocal://1/pgbench' WITH new_db_name = 'pgbench2'" >/dev/null
[ "$(psql -XAtc 'SELECT count(*) FROM pgbench_history' pgbench2)" = 600 ] || { echo 'history is not restored'; exit 1; }
