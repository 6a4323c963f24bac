# pg_dump, pg_restore and pg_dumpall of PostgreSQL: what is dumped and restored is dumped the same again, with all its rows.
set -euo pipefail
directory="$(mktemp -d)"
trap 'rm -rf "$directory"' EXIT
psql -Xqc 'CREATE DATABASE store'
psql -Xq -v ON_ERROR_STOP=1 store <<'SQL'
CREATE SCHEMA app;
CREATE SEQUENCE app.tickets START 5 INCREMENT 2 MAXVALUE 1000000;
CREATE TABLE app.maker (id SERIAL PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE, CONSTRAINT named CHECK (name <> ''));
CREATE TABLE part (
    id INT8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    maker INT REFERENCES app.maker ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE,
    gone INT,
    ticket INT8 DEFAULT nextval('app.tickets'),
    price DECIMAL(10, 2) DEFAULT 1.5,
    made TIMESTAMPTZ,
    tags TEXT[],
    doc JSONB,
    raw BYTEA,
    "Odd ""name" UUID
);
ALTER TABLE part DROP COLUMN gone;
ALTER TABLE part ADD COLUMN later BOOL DEFAULT true;
CREATE TYPE app.state AS ENUM ('new', 'it''s old');
ALTER TYPE app.state ADD VALUE 'between' BEFORE 'it''s old';
CREATE TABLE app.machine (
    id INT PRIMARY KEY,
    state app.state NOT NULL DEFAULT 'new'::app.state,
    states app.state[],
    name TEXT,
    size INT,
    twice INT GENERATED ALWAYS AS (size * 2) STORED,
    boss INT DEFAULT 1 REFERENCES app.machine ON DELETE SET DEFAULT,
    CONSTRAINT not_old CHECK (state <> 'it''s old'::app.state OR size > 0)
);
CREATE UNIQUE INDEX machine_name ON app.machine (lower(name)) WHERE size > 10;
CREATE INDEX machine_sum ON app.machine ((size + twice), state DESC);
COMMENT ON TYPE app.state IS 'how it is';
CREATE TABLE no_key (v TEXT);
ALTER TABLE no_key ADD COLUMN w INT;
CREATE INDEX part_price ON part (price DESC, maker);
CREATE VIEW app.costs AS SELECT m.name, sum(p.price) AS total FROM app.maker m JOIN part p ON p.maker = m.id GROUP BY m.name;
CREATE VIEW all_costs AS SELECT * FROM app.costs;
COMMENT ON SCHEMA app IS 'what is sold';
COMMENT ON TABLE app.maker IS 'who made it';
COMMENT ON COLUMN app.maker.name IS 'it''s a name';
COMMENT ON INDEX part_price IS 'the dear ones first';
COMMENT ON VIEW app.costs IS 'what each earns';
INSERT INTO app.maker (name) SELECT 'maker ' || i FROM generate_series(1, 40) AS g (i);
INSERT INTO part (maker, price, made, tags, doc, raw, "Odd ""name")
    SELECT 1 + i % 40, i / 7.0, TIMESTAMPTZ '2026-01-02 03:04:05.678+00', ARRAY['a', NULL, 'tab	"quote"'], '{"k": [1, "\n"]}', '\x00ff5c',
        '11111111-2222-3333-4444-555555555555'
    FROM generate_series(1, 5000) AS g (i);
INSERT INTO app.machine (id, state, states, name, size, boss)
    SELECT i, CASE WHEN i % 2 = 0 THEN 'between' ELSE 'new' END, ARRAY['new', NULL]::app.state[], 'M' || i, i, NULL FROM generate_series(1, 50) AS g (i);
INSERT INTO no_key VALUES ('line
end', 1), (NULL, NULL), ('\N', 2);
SQL
# A line of chance is in each.
dump() { pg_dump "$@" | grep -v '^.\(un\)\?restrict '; }
rows() { psql -XAtc 'SELECT * FROM part ORDER BY id' -c 'SELECT * FROM no_key ORDER BY w' -c 'SELECT * FROM all_costs ORDER BY name' -c 'SELECT * FROM app.machine ORDER BY id' "$1" | sha256sum; }

dump --schema-only store >"$directory/schema.sql"
dump store >"$directory/whole.sql"
psql -Xqc 'CREATE DATABASE by_psql' -c 'CREATE DATABASE by_pg_restore'
psql -Xq -v ON_ERROR_STOP=1 by_psql <"$directory/whole.sql" >"$directory/restored"
pg_dump -Fd -j2 -f "$directory/parallel" store
pg_restore --exit-on-error -j2 -d by_pg_restore "$directory/parallel"
for database in by_psql by_pg_restore; do
    diff "$directory/schema.sql" <(dump --schema-only "$database")
    [ "$(rows "$database")" = "$(rows store)" ]
    # Numbers go on after those there are.
    psql -XAtq -v ON_ERROR_STOP=1 -c "INSERT INTO part (maker) VALUES (1) RETURNING id > 5000 AND ticket > 10000" "$database" | grep -qx t
done
# As statements, of which some override what a column makes itself.
dump --inserts -t part store | grep -c 'OVERRIDING SYSTEM VALUE' >/dev/null
psql -Xqc 'CREATE DATABASE by_inserts'
dump --inserts store | psql -Xq -v ON_ERROR_STOP=1 by_inserts >"$directory/restored"
[ "$(rows by_inserts)" = "$(rows store)" ]
[ "$(dump --schema-only -t part store | grep -c '^CREATE TABLE')" = 1 ]
[ "$(dump --schema-only -n app store | grep -c '^CREATE TABLE')" = 2 ]
pg_dumpall --globals-only | grep -q '^CREATE ROLE root'

psql -Xqc "BACKUP DATABASE by_psql INTO 'nodelocal://1/pg_dump' WITH encryption_passphrase = 'secret'" >/dev/null
psql -Xqc "RESTORE DATABASE by_psql FROM LATEST IN 'nodelocal://1/pg_dump' WITH new_db_name = 'from_backup', encryption_passphrase = 'secret'" >/dev/null
# What is restored belongs to who restored it.
diff <(dump --schema-only --no-owner by_psql) <(dump --schema-only --no-owner from_backup)
[ "$(rows from_backup)" = "$(rows by_psql)" ]
