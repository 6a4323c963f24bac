"""psycopg 3: types both ways in text and binary, prepared statements, errors, COPY, cursors, backup and restore."""

import datetime as dt
import decimal
import threading
import uuid

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

VALUES = {
    "b": ("BOOL", True),
    "i2": ("INT2", -32768),
    "i4": ("INT4", 2147483647),
    "i8": ("INT8", -9223372036854775808),
    "f8": ("FLOAT8", 1.5),
    "n": ("DECIMAL(38, 10)", decimal.Decimal("1234567890123456789012345678.0123456789")),
    "t": ("TEXT", "it's ü 🔒 \\ %"),
    "y": ("BYTEA", b"\x00\xff bytes"),
    "d": ("DATE", dt.date(2024, 2, 29)),
    "ti": ("TIME", dt.time(23, 59, 59, 999999)),
    "ts": ("TIMESTAMP", dt.datetime(2024, 2, 29, 12, 30, 0, 123456)),
    "tz": ("TIMESTAMPTZ", dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc)),
    "iv": ("INTERVAL", dt.timedelta(days=3, seconds=5)),
    "u": ("UUID", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    "j": ("JSONB", {"a": [1, None, "x"]}),
    "a": ("INT4[]", [1, None, 3]),
    "ta": ("TEXT[]", ["a", 'b"c', None, "{}"]),
}


def types(connection):
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in VALUES.items())
    connection.execute(f"CREATE TABLE v (id INT PRIMARY KEY, {columns})")
    given = [Jsonb(value) if name == "j" else value for name, (_, value) in VALUES.items()]
    marks = ", ".join(["%s"] * len(given))
    connection.execute(f"INSERT INTO v VALUES (1, {marks})", given)
    connection.execute(f"INSERT INTO v VALUES (2, {marks})", [None] * len(given))
    for binary in (False, True):
        cursor = connection.cursor(binary=binary, row_factory=dict_row)
        row = cursor.execute("SELECT * FROM v WHERE id = %s", [1]).fetchone()
        for name, (kind, value) in VALUES.items():
            assert row[name] == value, (binary, name, kind, row[name], value)
        row = cursor.execute("SELECT * FROM v WHERE id = %s", [2]).fetchone()
        assert all(row[name] is None for name in VALUES), row


def statements(connection):
    # Prepared after a few runs, then deallocated to make room.
    connection.prepare_threshold, connection.prepared_max = 1, 2
    for round in range(4):
        for number in range(4):
            found = connection.execute(f"SELECT id + {number} FROM v WHERE id = %s", [1]).fetchone()
            assert found == (1 + number,), found
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [number]) for number in range(20)]
    assert [cursor.fetchone()[0] for cursor in cursors] == list(range(20))
    # What a pipeline sends before its Sync is one transaction, and so is executemany.
    for attempt in [piped_twice, many_twice]:
        try:
            attempt(connection)
        except psycopg.errors.UniqueViolation:
            pass
        else:
            raise AssertionError(attempt)
        assert connection.execute("SELECT count(*) FROM v WHERE id >= 700").fetchone() == (0,), attempt
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO v (id) VALUES (%s) RETURNING id", [(n,) for n in range(10, 15)], returning=True)
    cursor.execute("INSERT INTO v (id, t) VALUES (10, 'new') ON CONFLICT (id) DO UPDATE SET t = excluded.t RETURNING t")
    assert cursor.fetchone() == ("new",)


def piped_twice(connection):
    with connection.pipeline():
        connection.execute("INSERT INTO v (id) VALUES (700)")
        connection.execute("INSERT INTO v (id) VALUES (700)")


def many_twice(connection):
    connection.cursor().executemany("INSERT INTO v (id) VALUES (%s)", [(701,), (702,), (701,)])


def errors(connection):
    for sql, error in [
        ("SELECT 1 / 0", psycopg.errors.DivisionByZero),
        ("SELECT * FROM nowhere", psycopg.errors.UndefinedTable),
        ("INSERT INTO v (id) VALUES (1)", psycopg.errors.UniqueViolation),
        ("SELEC", psycopg.errors.SyntaxError),
        ("SELECT 'x'::int", psycopg.errors.InvalidTextRepresentation),
    ]:
        try:
            connection.execute(sql)
        except error:
            pass
        else:
            raise AssertionError(sql)
    try:
        with connection.transaction():
            connection.execute("DELETE FROM v WHERE id = 14")
            with connection.transaction():
                connection.execute("INSERT INTO v (id) VALUES (99)")
                raise psycopg.Rollback
    except psycopg.errors.Error as error:
        raise AssertionError("savepoints") from error
    assert connection.execute("SELECT count(*) FROM v WHERE id IN (14, 99)").fetchone() == (0,)


def diagnosis(connection):
    """What an error is about comes in fields of its own."""
    connection.execute("CREATE SCHEMA app")
    connection.execute("CREATE TABLE app.p (id INT PRIMARY KEY, n INT NOT NULL CONSTRAINT small CHECK (n < 10))")
    connection.execute("CREATE TABLE app.c (id INT CONSTRAINT one UNIQUE, p INT CONSTRAINT to_p REFERENCES app.p)")
    connection.execute("INSERT INTO app.p VALUES (1, 1); INSERT INTO app.c VALUES (1, 1)")
    for sql, column, constraint in [
        ("INSERT INTO app.p VALUES (2, NULL)", "n", None),
        ("INSERT INTO app.p VALUES (2, 20)", None, "small"),
        ("INSERT INTO app.p VALUES (1, 2)", None, "p_pkey"),
        ("UPDATE app.p SET n = 12", None, "small"),
        ("INSERT INTO app.c VALUES (1, 1)", None, "one"),
        ("INSERT INTO app.c VALUES (2, 2)", None, "to_p"),
        ("DELETE FROM app.p", None, "to_p"),
    ]:
        try:
            connection.execute(sql)
            raise AssertionError(sql)
        except psycopg.errors.IntegrityError as error:
            found = error.diag
            table = "c" if constraint in ("one", "to_p") else "p"
            shown = (found.schema_name, found.table_name, found.column_name, found.constraint_name)
            assert shown == ("app", table, column, constraint), (sql, shown)
            if constraint == "small":
                assert found.message_detail == f"Failing row contains ({'1, 12' if 'UPDATE' in sql else '2, 20'}).", found.message_detail


def cursors(connection):
    """Cursors of the server, which are those of SQL."""
    with connection.transaction():
        with connection.cursor(name="named") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT i FROM generate_series(1, %s) AS g (i)", [1000])
            assert [column.name for column in cursor.description] == ["i"]
            assert [row[0] for row in cursor] == list(range(1, 1001))
        with connection.cursor(name="back and forth", scrollable=True) as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 100) AS g (i) ORDER BY i")
            cursor.scroll(50)
            assert cursor.fetchone() == (51,)
            cursor.scroll(-20)
            assert cursor.fetchmany(2) == [(32,), (33,)]
            cursor.scroll(10, mode="absolute")
            assert cursor.fetchone() == (11,)
    with connection.cursor(name="kept", withhold=True) as cursor:
        cursor.execute("SELECT i FROM generate_series(1, 100) AS g (i) ORDER BY i")
        assert cursor.fetchall()[-1] == (100,)


def copy(connection):
    cursor = connection.cursor()
    connection.execute("CREATE TABLE c (id INT PRIMARY KEY, t TEXT)")
    with cursor.copy("COPY c FROM STDIN") as copy:
        for number in range(1000):
            copy.write_row((number, None if number % 7 == 0 else f"row\t{number}\n"))
    with cursor.copy("COPY (SELECT id, t FROM c ORDER BY id) TO STDOUT") as copy:
        rows = list(copy.rows())
    with cursor.copy("COPY (SELECT id, t FROM c ORDER BY id) TO STDOUT (FORMAT BINARY)") as copy:
        binary = b"".join(copy)
    connection.execute("CREATE TABLE c2 (id INT PRIMARY KEY, t TEXT)")
    with cursor.copy("COPY c2 FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(binary)
    assert connection.execute("SELECT count(*) FROM c JOIN c2 USING (id) WHERE c.t IS NOT DISTINCT FROM c2.t").fetchone() == (1000,)
    try:
        with cursor.copy("COPY c2 FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(binary[:-10])
        raise AssertionError("half of a row")
    except psycopg.errors.BadCopyFileFormat:
        pass
    # What is computed is neither copied in nor out.
    connection.execute("CREATE TABLE c3 (twice INT GENERATED ALWAYS AS (id * 2) STORED, id INT PRIMARY KEY)")
    with cursor.copy("COPY c3 FROM STDIN") as copy:
        copy.write_row((4,))
    with cursor.copy("COPY c3 TO STDOUT") as copy:
        assert list(copy.rows()) == [("4",)]
    assert connection.execute("SELECT twice FROM c3").fetchone() == (8,)
    assert rows[8] == ("8", "row\t8\n") and rows[7] == ("7", None) and len(rows) == 1000


def zones(connection):
    connection.execute("CREATE TABLE zoned (id INT PRIMARY KEY, at TIMESTAMPTZ)")
    noon = dt.datetime(2024, 7, 15, 12, tzinfo=dt.timezone.utc)
    connection.execute("INSERT INTO zoned VALUES (1, %s)", (noon,))
    for zone, hour, offset in [("Asia/Tokyo", 21, 9), ("America/New_York", 8, -4), ("UTC", 12, 0)]:
        connection.execute(f"SET timezone = '{zone}'")
        # The driver hears of it.
        assert str(connection.info.timezone) == zone, connection.info.timezone
        for binary in [False, True]:
            (at,) = connection.execute("SELECT at FROM zoned", binary=binary).fetchone()
            assert at == noon and at.hour == hour and at.utcoffset() == dt.timedelta(hours=offset), (zone, at)
        (hours, text) = connection.execute("SELECT extract(hour FROM at)::int, at::text FROM zoned").fetchone()
        assert hours == hour and text == f"2024-07-15 {hour:02}:00:00{offset:+03}", (hours, text)
        # A time without an offset is one there.
        local = dt.datetime(2024, 7, 15, hour)
        (found,) = connection.execute("SELECT count(*) FROM zoned WHERE at = %s::timestamp", (local,)).fetchone()
        assert found == 1, zone
        cursor = connection.cursor()
        with cursor.copy("COPY zoned TO STDOUT") as copy:
            assert list(copy.rows()) == [("1", text)], text


def cancel(connection):
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    try:
        connection.execute("SELECT pg_sleep(20)")
    except psycopg.errors.QueryCanceled:
        return
    raise AssertionError("not canceled")


def backup(connection):
    place, passphrase = "nodelocal://1/psycopg", "it's a secret"
    with_passphrase = "WITH encryption_passphrase = %s"
    row = connection.execute(f"BACKUP TABLE v, c INTO %s {with_passphrase}", [place, passphrase]).fetchone()
    assert row[1] == "succeeded", row
    connection.execute("CREATE DATABASE restored")
    restore = f"RESTORE TABLE v, c FROM LATEST IN %s {with_passphrase}, into_db = 'restored'"
    try:
        connection.execute(restore, [place, "wrong"])
    except psycopg.errors.InvalidPassword:
        pass
    else:
        raise AssertionError("a wrong passphrase")
    connection.execute(restore, [place, passphrase])
    found = connection.execute("SELECT count(*) FROM restored.c").fetchone()
    assert found == (1000,), found


with psycopg.connect("", autocommit=True) as connection:
    connection.execute("CREATE DATABASE psycopg")
with psycopg.connect("dbname=psycopg", autocommit=True) as connection:
    for step in (types, statements, errors, diagnosis, copy, cursors, zones, cancel, backup):
        step(connection)
