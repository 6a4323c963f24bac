// Knex: migrations forth and back, its schema and query builders, backup and restore.
import assert from "node:assert";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import knexOf from "knex";

const port = Number(process.env.PGPORT);
const open = (database) =>
    knexOf({ client: "pg", connection: { host: "127.0.0.1", port, user: "root", database }, pool: { min: 0, max: 4 } });

const migrations = {
    "01_people": [
        `await knex.schema.createTable("people", (t) => {
            t.increments("id");
            t.string("name", 80).notNullable().unique();
            t.integer("age").index();
            t.decimal("worth", 10, 2).defaultTo(0);
            t.boolean("active").notNullable().defaultTo(true);
            t.jsonb("notes");
            t.specificType("tags", "text[]");
            t.uuid("token");
            t.timestamps(true, true);
            t.check("?? > 0", ["age"], "age_positive");
        })`,
        `await knex.schema.dropTable("people")`,
    ],
    "02_pets": [
        `await knex.schema.createTable("pets", (t) => {
            t.bigIncrements("id");
            t.integer("owner").unsigned().references("id").inTable("people").onDelete("CASCADE").onUpdate("CASCADE");
            t.text("name").defaultTo("nameless");
            t.enu("kind", ["cat", "dog"]);
            t.enu("size", ["small", "large"], { useNative: true, enumName: "pet_size" }).defaultTo("small");
            t.date("born");
            t.unique(["owner", "name"], { indexName: "one_name" });
        })`,
        `await knex.schema.dropTable("pets"); await knex.schema.raw("DROP TYPE pet_size")`,
    ],
    "03_fill": [
        `await knex("people").insert([{ name: "ann", age: 30 }, { name: "bob", age: 40 }]);
         await knex("pets").insert([{ owner: 1, name: "tom", kind: "cat" }, { owner: 2, name: "rex", kind: "dog" }])`,
        `await knex("people").del()`,
    ],
    "04_change": [
        `await knex.schema.alterTable("people", (t) => {
            t.string("nick", 20);
            t.renameColumn("worth", "wealth");
            t.bigInteger("age").alter();
            t.dropUnique(["name"]);
            t.index(["name", "age"], "by_name");
        });
        await knex("people").update({ nick: knex.raw("upper(name)") });
        await knex.schema.alterTable("people", (t) => t.dropNullable("nick"))`,
        `await knex.schema.alterTable("people", (t) => {
            t.dropIndex(["name", "age"], "by_name");
            t.unique(["name"]);
            t.renameColumn("wealth", "worth");
            t.dropColumn("nick");
            t.integer("age").alter();
        })`,
    ],
    "05_view": [
        `await knex.schema.createView("cats", (v) => {
            v.columns(["name", "owner"]);
            v.as(knex("pets").select("name", "owner").where("kind", "cat"));
        })`,
        `await knex.schema.dropView("cats")`,
    ],
    "06_rename": [
        `await knex.schema.renameTable("people", "persons");
         await knex.schema.alterTable("pets", (t) => { t.dropForeign("owner"); t.foreign("owner").references("persons.id") })`,
        `await knex.schema.alterTable("pets", (t) => { t.dropForeign("owner"); t.foreign("owner").references("persons.id").onDelete("CASCADE") });
         await knex.schema.renameTable("persons", "people")`,
    ],
};

const directory = mkdtempSync(join(tmpdir(), "with-knex-"));
for (const [name, [up, down]] of Object.entries(migrations)) {
    const text = `exports.up = async (knex) => { ${up} };\nexports.down = async (knex) => { ${down} };\n`;
    writeFileSync(join(directory, `${name}.js`), text);
}

const admin = open("defaultdb");
await admin.raw("CREATE DATABASE with_knex");
let knex = open("with_knex");

await knex.migrate.latest({ directory });
assert.equal((await knex.migrate.currentVersion({ directory })).startsWith("06"), true);
assert.deepEqual(await knex.migrate.latest({ directory }).then(([, done]) => done), []);
assert(await knex.schema.hasTable("persons"));
assert(await knex.schema.hasColumn("persons", "wealth"));
assert.equal((await knex("persons").columnInfo("nick")).nullable, false);
await knex.migrate.rollback({ directory }, true);
assert.equal(await knex.schema.hasTable("persons"), false);
for (let step = 0; step < Object.keys(migrations).length; step += 1) await knex.migrate.up({ directory });

// Queries.
const [{ id }] = await knex("persons").insert({ name: "cem", nick: "C", notes: { a: [1, { b: null }] }, tags: ["x", "y z"] }, ["id"]);
assert.equal(id, 3);
const cem = await knex("persons").where({ id }).first();
assert.deepEqual(cem.notes, { a: [1, { b: null }] });
assert.deepEqual(cem.tags, ["x", "y z"]);
assert(cem.created_at instanceof Date);
const joined = await knex("persons as p").leftJoin("pets as t", "t.owner", "p.id").select("p.name as who", "t.name as pet").orderBy("p.id");
assert.deepEqual(joined, [{ who: "ann", pet: "tom" }, { who: "bob", pet: "rex" }, { who: "cem", pet: null }]);
assert.deepEqual(await knex("cats"), [{ name: "tom", owner: 1 }]);
const [counted] = await knex("pets").count("* as n").max("id as last");
assert.deepEqual(counted, { n: "2", last: "2" });
await knex("pets").insert({ owner: 1, name: "tom", kind: "dog" }).onConflict(["owner", "name"]).merge(["kind"]);
assert.equal((await knex("pets").where({ name: "tom" }).first()).kind, "dog");
await knex("pets").insert({ owner: 1, name: "tom" }).onConflict(["owner", "name"]).ignore();
const some = await knex.with("grown", knex("persons").where("age", ">", 35)).select("name").from("grown").whereIn("id", [1, 2]);
assert.deepEqual(some, [{ name: "bob" }]);
await assert.rejects(knex("pets").insert({ owner: 99, name: "lost" }), { code: "23503" });
await assert.rejects(knex("pets").insert({ owner: 1, name: "odd", kind: "cow" }), { code: "23514" });
await assert.rejects(
    knex.transaction(async (trx) => {
        await trx("persons").where({ id: 1 }).forUpdate().update({ age: 31 });
        throw new Error("no");
    }),
    /no/,
);
assert.equal((await knex("persons").where({ id: 1 }).first()).age, "30");
await knex.transaction((trx) => trx("persons").increment("age", 1).where({ id: 1 }));
assert.equal((await knex("persons").where({ id: 1 }).first()).age, "31");

// Backup and restore.
const before = [await knex("persons").orderBy("id"), await knex("pets").orderBy("id")];
const options = ["nodelocal://self/knex", "a passphrase that is long"];
await knex.raw("BACKUP DATABASE with_knex INTO ? WITH encryption_passphrase = ?", options);
await knex.destroy();
await admin.raw("DROP DATABASE with_knex CASCADE");
await admin.raw("RESTORE DATABASE with_knex FROM LATEST IN ? WITH encryption_passphrase = ?", options);
knex = open("with_knex");
assert.deepEqual([await knex("persons").orderBy("id"), await knex("pets").orderBy("id")], before);
await knex.migrate.rollback({ directory }, true);
assert.equal(await knex.schema.hasTable("pets"), false);
await knex.destroy();
await admin.destroy();
console.log("Knex: migrations, builders, backup and restore");
