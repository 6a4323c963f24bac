// Node's pg: values both ways, prepared statements, errors, transactions, backup and restore.
import assert from 'node:assert/strict'
import pg from 'pg'

const first = new pg.Client()
await first.connect()
await first.query('CREATE DATABASE node')
await first.end()

const pool = new pg.Pool({ database: 'node', max: 4 })
await pool.query(`CREATE TABLE v (id SERIAL PRIMARY KEY, b BOOL, i INT, n DECIMAL(10, 2), t TEXT, y BYTEA, tz TIMESTAMPTZ, j JSONB, a INT[])`)
const when = new Date('2024-02-29T12:00:00.123Z')
const given = [true, 7, '1.50', "it's ü", Buffer.from([0, 255]), when, { a: [1, null] }, [1, null, 3]]
const insert = 'INSERT INTO v (b, i, n, t, y, tz, j, a) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *'
const { rows: [row] } = await pool.query(insert, given)
assert.deepEqual(Object.values(row), [1, ...given])
for (let round = 0; round < 3; round++) {
    const found = await pool.query({ name: 'by-id', text: 'SELECT t FROM v WHERE id = $1', values: [1] })
    assert.equal(found.rows[0].t, "it's ü")
}
await assert.rejects(pool.query('SELECT * FROM nowhere'), { code: '42P01' })
await assert.rejects(pool.query('INSERT INTO v (id) VALUES (1)'), { code: '23505', constraint: 'v_pkey' })

const client = await pool.connect()
await client.query('BEGIN')
await client.query('DELETE FROM v')
await client.query('ROLLBACK')
client.release()
const upsert = 'INSERT INTO v (id, i) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET i = v.i + excluded.i'
await Promise.all(Array.from({ length: 40 }, () => pool.query(upsert, [1, 1])))
assert.equal((await pool.query('SELECT i FROM v')).rows[0].i, 47)

const place = ['nodelocal://1/node', 'secret']
const backup = await pool.query('BACKUP TABLE v INTO $1 WITH encryption_passphrase = $2', place)
assert.equal(backup.rows[0].status, 'succeeded')
await pool.query('CREATE DATABASE node2')
const restore = "RESTORE TABLE v FROM LATEST IN $1 WITH encryption_passphrase = $2, into_db = 'node2', skip_missing_sequences"
await pool.query(restore, place)
assert.equal((await pool.query('SELECT count(*) AS n FROM node2.v')).rows[0].n, '1')
await pool.end()
