"""asyncpg: binary values both ways, prepared statements, transactions, backup and restore."""

import asyncio
import datetime as dt
import decimal
import io
import uuid

import asyncpg

VALUES = [
    ("BOOL", True),
    ("INT2", -5),
    ("INT4", 7),
    ("INT8", 2**62),
    ("FLOAT8", 2.25),
    ("DECIMAL(20, 5)", decimal.Decimal("-12345.67890")),
    ("TEXT", "ü 🔒"),
    ("BYTEA", b"\x00\x01"),
    ("DATE", dt.date(1999, 12, 31)),
    ("TIMESTAMP", dt.datetime(2024, 1, 1, 1, 2, 3, 4)),
    ("TIMESTAMPTZ", dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)),
    ("UUID", uuid.UUID(int=5)),
    ("JSONB", '{"a": 1}'),
]


async def main():
    connection = await asyncpg.connect()
    await connection.execute("CREATE DATABASE asyncpg")
    await connection.close()
    connection = await asyncpg.connect(database="asyncpg")
    columns = ", ".join(f"c{at} {kind}" for at, (kind, _) in enumerate(VALUES))
    await connection.execute(f"CREATE TABLE v (id SERIAL PRIMARY KEY, {columns})")
    marks = ", ".join(f"${at + 1}" for at in range(len(VALUES)))
    names = ", ".join(f"c{at}" for at in range(len(VALUES)))
    insert = await connection.prepare(f"INSERT INTO v ({names}) VALUES ({marks}) RETURNING id")
    assert await insert.fetchval(*[value for _, value in VALUES]) == 1
    row = await connection.fetchrow("SELECT * FROM v WHERE id = $1", 1)
    for at, (kind, value) in enumerate(VALUES):
        assert row[f"c{at}"] == value, (kind, row[f"c{at}"], value)
    await connection.executemany("INSERT INTO v (c2) VALUES ($1)", [(n,) for n in range(100)])
    try:
        # All or nothing, as asyncpg promises.
        await connection.executemany("INSERT INTO v (id) VALUES ($1)", [(5000,), (5001,), (5000,)])
    except asyncpg.UniqueViolationError:
        pass
    try:
        async with connection.transaction():
            await connection.execute("DELETE FROM v")
            await connection.execute("INSERT INTO v (id) VALUES (1), (1)")
    except asyncpg.UniqueViolationError:
        pass
    assert await connection.fetchval("SELECT count(*) FROM v") == 101
    async with connection.transaction():
        seen = [row["id"] async for row in connection.cursor("SELECT id FROM v ORDER BY id", prefetch=10)]
    assert seen == list(range(1, 102)), seen
    await connection.execute("CREATE TABLE lists (id INT4 PRIMARY KEY, n INT8, t TEXT[], u UUID, at TIMESTAMPTZ)")
    lists = (1, 2**40, ["a", 'b"c', None], uuid.UUID(int=1), dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc))
    await connection.execute("INSERT INTO lists VALUES ($1, $2, $3, $4, $5)", *lists)
    # COPY in binary, both ways.
    more = [(at, -at, [str(at)], None, lists[4]) for at in range(2, 5000)]
    assert await connection.copy_records_to_table("lists", records=more) == "COPY 4998"
    assert [tuple(row) for row in await connection.fetch("SELECT * FROM lists WHERE id > 1 ORDER BY id")] == more
    out = io.BytesIO()
    assert await connection.copy_from_table("lists", output=out, format="binary") == "COPY 4999"
    await connection.execute("DELETE FROM lists")
    out.seek(0)
    assert await connection.copy_to_table("lists", source=out, format="binary") == "COPY 4999"
    assert tuple(await connection.fetchrow("SELECT * FROM lists WHERE id = 1")) == lists
    # Whole numbers written in a query are of 32 bits.
    statement = await connection.prepare("SELECT 1 AS a, 1 + id AS b, 3000000000 AS c, count(*) AS d FROM lists GROUP BY 1 + id LIMIT 1")
    assert [column.type.name for column in statement.get_attributes()] == ["int4", "int4", "int8", "int8"]
    arrays = ([1, None, 2**40], [uuid.UUID(int=3)], [decimal.Decimal("1.50")], [dt.date(2020, 1, 1)], [True, None])
    row = await connection.fetchrow("SELECT $1::INT8[], $2::UUID[], $3::DECIMAL(5, 2)[], $4::DATE[], $5::BOOL[]", *arrays)
    assert tuple(row) == arrays, row
    # An enumerated type, which the client looks up; also its arrays, and a label that is added when a statement is prepared.
    await connection.execute("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE moods (m mood PRIMARY KEY, all_of mood[])")
    insert = await connection.prepare("INSERT INTO moods VALUES ($1, $2)")
    await insert.fetch("happy", ["sad", None])
    await connection.execute("ALTER TYPE mood ADD VALUE 'ok' BEFORE 'happy'")
    await insert.fetch("ok", [])
    found = await connection.fetch("SELECT m, all_of FROM moods WHERE m >= $1 ORDER BY m", "ok")
    assert [tuple(row) for row in found] == [("ok", []), ("happy", ["sad", None])], found
    assert await connection.fetchval("SELECT count(*) FROM moods WHERE m = ANY($1)", ["ok", "sad"]) == 1
    row = await connection.fetchrow("BACKUP DATABASE asyncpg INTO $1 WITH encryption_passphrase = $2", "nodelocal://1/a", "p")
    assert row["status"] == "succeeded", row
    restore = "RESTORE DATABASE asyncpg FROM LATEST IN $1 WITH encryption_passphrase = $2, new_db_name = 'asyncpg2'"
    await connection.fetchrow(restore, "nodelocal://1/a", "p")
    assert await connection.fetchval("SELECT count(*) FROM asyncpg2.v") == 101
    await connection.close()


asyncio.run(main())
