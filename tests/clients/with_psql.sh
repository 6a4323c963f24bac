# psql: the backslash commands, whose queries of the catalog are its own. What they print is psql.golden; after a change that is meant,
# KEEPSAFE_GOLDEN=write tests/clients/run ... with_psql.sh
set -euo pipefail
psql -Xqc 'CREATE DATABASE shop'
psql -Xq -v ON_ERROR_STOP=1 shop <<'SQL'
CREATE SCHEMA app;
CREATE TABLE author (id INT PRIMARY KEY, name TEXT NOT NULL, born DATE, CONSTRAINT born_ok CHECK (born > '1000-01-01'));
CREATE TABLE app.book (
    id BIGSERIAL PRIMARY KEY,
    author_id INT NOT NULL REFERENCES author (id) ON DELETE CASCADE,
    title VARCHAR(80) DEFAULT 'untitled',
    price NUMERIC(8, 2),
    tags TEXT[],
    UNIQUE (author_id, title)
);
CREATE INDEX book_price ON app.book (price DESC);
CREATE VIEW cheap AS SELECT id, title FROM app.book WHERE price < 10;
CREATE SEQUENCE tickets START 5;
CREATE TABLE "Odd name" (id INT8 GENERATED ALWAYS AS IDENTITY, "Flag" BOOL, u UUID, j JSONB, at TIMESTAMPTZ DEFAULT now());
CREATE USER clerk;
SQL
# Of databases only this one: others come with other clients. Sizes and the port are not the same each time.
printed="$(psql -X shop 2>&1 <<'SQL' | sed 's/at port "[0-9]*"/at port "..."/'
\pset footer off
\l shop
\dn
\dt
\dt *.*
\d
\d author
\d app.book
\d+ app.book
\d cheap
\d+ cheap
\sv cheap
\d tickets
\d "Odd name"
\d app.book_price
\di
\di app.*
\dv
\ds
\df
\du
\dT
\dp
\dD
\dx
\conninfo
\d nothing
SQL
)"
golden="$(dirname "${BASH_SOURCE[0]}")/psql.golden"
if [ "${KEEPSAFE_GOLDEN:-}" = write ]; then
    echo "$printed" >"$golden"
fi
diff "$golden" <(echo "$printed")
psql -Xqc "BACKUP DATABASE shop INTO 'nodelocal://1/psql' WITH encryption_passphrase = 'secret'" >/dev/null
psql -Xqc "RESTORE DATABASE shop FROM LATEST IN 'nodelocal://1/psql' WITH new_db_name = 'shop2', encryption_passphrase = 'secret'" >/dev/null
# The same objects again, as psql sees them.
[ "$(psql -Xc '\d app.book' shop)" = "$(psql -Xc '\d app.book' shop2)" ] || { echo 'the restored table is another'; exit 1; }
