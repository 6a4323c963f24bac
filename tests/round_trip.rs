//! What a table is beside its rows comes back with it.

use crate::harness::{Server, Store, fail, rows, run, value};

#[tokio::test]
async fn serial_and_identity_columns_go_on_where_they_were() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d").await;
    run(&client, "CREATE TABLE t (id SERIAL PRIMARY KEY, n BIGINT GENERATED ALWAYS AS IDENTITY, v TEXT)").await;
    run(&client, "INSERT INTO t (v) VALUES ('a'), ('b'), ('c')").await;
    let made = rows(&client, "SHOW CREATE TABLE t").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b'").await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'").await;
    run(&client, "USE r").await;
    assert_eq!(rows(&client, "SHOW CREATE TABLE t").await, made);
    run(&client, "INSERT INTO t (v) VALUES ('d')").await;
    assert_eq!(value(&client, "SELECT count(DISTINCT id) FROM t WHERE n > 0").await, "4");
    assert_eq!(value(&client, "SELECT min(id) FROM t WHERE v = 'd' AND id > 3").await.parse::<i32>().unwrap(), {
        value(&client, "SELECT max(id) FROM t").await.parse::<i32>().unwrap()
    });
    assert_eq!(fail(&client, "INSERT INTO t (n) VALUES (7)").await.0, "428C9");
    // A restored sequence belongs to the restored column, and goes with it; the other one stays.
    assert_eq!(value(&client, "SELECT pg_get_serial_sequence('t', 'id')").await, "public.t_id_seq");
    assert_eq!(fail(&client, "DROP SEQUENCE t_id_seq").await.0, "2BP01");
    run(&client, "DROP TABLE t").await;
    assert!(rows(&client, "SHOW SEQUENCES").await.is_empty());
    run(&client, "USE d; INSERT INTO t (v) VALUES ('e')").await;
    assert_eq!(rows(&client, "SHOW SEQUENCES").await.len(), 2);
    // A table alone does not come with a sequence unless that is left out.
    run(&client, "CREATE DATABASE e").await;
    let alone = "RESTORE TABLE d.t FROM LATEST IN 'nodelocal://1/b' WITH into_db = 'e'";
    assert_eq!(fail(&client, alone).await.0, "2BP01");
    run(&client, &format!("{alone}, skip_missing_sequences")).await;
    assert_eq!(fail(&client, "INSERT INTO e.t (v) VALUES ('f')").await.0, "23502");
    run(&client, "INSERT INTO e.t (id, n) VALUES (9, 9)").await;
    assert_eq!(value(&client, "SELECT count(*) FROM e.t").await, "4");
    server.terminate();
}

#[tokio::test]
async fn foreign_keys_do_in_a_restored_database_what_they_did() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d").await;
    run(&client, "CREATE TABLE parent (id INT PRIMARY KEY); INSERT INTO parent VALUES (1), (2)").await;
    run(
        &client,
        "CREATE TABLE child (id INT PRIMARY KEY, p INT REFERENCES parent ON DELETE CASCADE ON UPDATE SET NULL)",
    )
    .await;
    run(&client, "INSERT INTO child VALUES (1, 1), (2, 2)").await;
    let made = rows(&client, "SHOW CREATE TABLE child").await;
    assert!(made[0][1].contains("ON DELETE CASCADE ON UPDATE SET NULL"), "{made:?}");
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b' WITH revision_history").await;
    run(&client, "ALTER TABLE child DROP CONSTRAINT child_p_fkey").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b' WITH revision_history").await;
    let first =
        rows(&client, "SELECT DISTINCT end_time FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/b'] ORDER BY 1").await;
    let then = format!("AS OF SYSTEM TIME '{}'", first[0][0]);
    run(&client, &format!("RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' {then} WITH new_db_name = 'r'")).await;
    assert_eq!(rows(&client, "SHOW CREATE TABLE r.child").await, made);
    run(&client, "DELETE FROM r.parent WHERE id = 1; UPDATE r.parent SET id = 3 WHERE id = 2").await;
    assert_eq!(rows(&client, "SELECT id, p FROM r.child").await, [["2", "NULL"]]);
    assert_eq!(value(&client, "SELECT count(*) FROM d.child WHERE p IS NOT NULL").await, "2");
    server.terminate();
}

#[tokio::test]
async fn a_foreign_key_that_waits_does_so_after_a_restore() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d; CREATE TABLE p (id INT PRIMARY KEY)").await;
    let key = "REFERENCES p ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED";
    run(&client, &format!("CREATE TABLE c (id INT PRIMARY KEY, p INT {key}, q INT REFERENCES p DEFERRABLE)")).await;
    let made = rows(&client, "SHOW CREATE TABLE c").await;
    assert!(made[0][1].contains("ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED"), "{made:?}");
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b'").await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'").await;
    run(&client, "USE r").await;
    assert_eq!(rows(&client, "SHOW CREATE TABLE c").await, made);
    run(&client, "BEGIN; INSERT INTO c VALUES (1, 1, NULL); INSERT INTO p VALUES (1); COMMIT").await;
    assert_eq!(fail(&client, "INSERT INTO c VALUES (2, 2, NULL)").await.0, "23503");
    run(&client, "BEGIN; SET CONSTRAINTS c_q_fkey DEFERRED; INSERT INTO c VALUES (2, NULL, 2)").await;
    assert_eq!(fail(&client, "COMMIT").await.0, "23503");
    assert_eq!(rows(&client, "SELECT * FROM c").await, [["1", "1", "NULL"]]);
    server.terminate();
}

#[tokio::test]
async fn changed_types_and_sequences_are_in_the_layers_they_changed_before() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d").await;
    run(&client, "CREATE TABLE t (id SERIAL PRIMARY KEY, a INT, b VARCHAR(10)); CREATE SEQUENCE s START 100").await;
    run(&client, "CREATE INDEX by_a ON t (a); INSERT INTO t (a, b) VALUES (1, 'x'), (2, '20')").await;
    run(&client, "SELECT nextval('s')").await;
    let layer = "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b' WITH revision_history";
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b' WITH revision_history").await;
    let mut seen = Vec::new();
    for change in [
        "ALTER TABLE t ALTER COLUMN a TYPE BIGINT; ALTER SEQUENCE s INCREMENT 10",
        "ALTER TABLE t ALTER COLUMN a TYPE TEXT USING 'a' || a; ALTER SEQUENCE s RESTART 7",
        "ALTER TABLE t ADD COLUMN n SERIAL; TRUNCATE t RESTART IDENTITY; INSERT INTO t (a) VALUES ('new')",
    ] {
        run(&client, &format!("BEGIN; {change}; COMMIT")).await;
        run(&client, layer).await;
        let ends = "SELECT max(end_time) FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/b']";
        let made = rows(&client, "SHOW CREATE TABLE t").await;
        let found = rows(&client, "SELECT * FROM t ORDER BY id").await;
        let next = value(&client, "SELECT nextval('s')").await;
        seen.push((value(&client, ends).await, made, found, next));
    }
    for (at, (end, made, found, next)) in seen.into_iter().enumerate() {
        let place = format!("FROM LATEST IN 'nodelocal://1/b' AS OF SYSTEM TIME '{end}'");
        run(&client, &format!("RESTORE DATABASE d {place} WITH new_db_name = 'r{at}'; USE r{at}")).await;
        assert_eq!(rows(&client, "SHOW CREATE TABLE t").await, made, "layer {at}");
        assert_eq!(rows(&client, "SELECT * FROM t ORDER BY id").await, found, "layer {at}");
        assert_eq!(value(&client, "SELECT count(*) FROM t WHERE a IS NOT NULL").await, found.len().to_string());
        // Numbers kept ahead at the time of the backup are skipped.
        let (restored, next) = (value(&client, "SELECT nextval('s')").await, next.parse::<i64>().unwrap());
        assert!(restored.parse::<i64>().unwrap() >= next, "layer {at}: {restored} after {next}");
        run(&client, "INSERT INTO t (a) VALUES (NULL)").await;
        assert_eq!(value(&client, "SELECT count(*) FROM t").await, (found.len() + 1).to_string());
    }
    assert!(value(&client, "SELECT max(id) FROM r2.t").await.parse::<i64>().unwrap() > 1);
    server.terminate();
}

#[tokio::test]
async fn a_view_shows_in_a_restored_database_what_it_showed() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, a INT); INSERT INTO t VALUES (1, 2)")
        .await;
    run(&client, "CREATE VIEW v AS SELECT *, 'last' FROM t; CREATE VIEW w AS SELECT * FROM v").await;
    run(&client, "ALTER TABLE t ADD COLUMN b INT DEFAULT 3").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b'").await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'").await;
    for name in ["d.v", "d.w", "r.v", "r.w"] {
        assert_eq!(rows(&client, &format!("SELECT * FROM {name}")).await, [["1", "2", "last"]], "{name}");
    }
    run(&client, "ALTER TABLE r.t ADD COLUMN c INT").await;
    assert_eq!(rows(&client, "SELECT * FROM r.w").await, [["1", "2", "last"]]);
    assert_eq!(rows(&client, "SELECT * FROM r.t").await, [["1", "2", "3", "NULL"]]);
    server.terminate();
}

#[tokio::test]
async fn types_come_back_with_the_tables_that_use_them() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d; CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'happy')").await;
    run(&client, "CREATE TYPE unused AS ENUM ('x')").await;
    run(
        &client,
        "CREATE TABLE t (m s.mood PRIMARY KEY, all_of s.mood[], d s.mood DEFAULT 'sad'::s.mood CHECK (d <> 'happy'))",
    )
    .await;
    run(&client, "CREATE INDEX by_d ON t (d DESC); CREATE VIEW v AS SELECT m, 'sad'::s.mood AS w FROM t").await;
    run(&client, "INSERT INTO t (m, all_of) VALUES ('happy', '{sad,happy}'), ('sad', NULL)").await;
    run(&client, "ALTER TYPE s.mood ADD VALUE 'ok' BEFORE 'happy'; INSERT INTO t (m, d) VALUES ('ok', 'ok')").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b' WITH revision_history").await;
    let before = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "ALTER TYPE s.mood RENAME VALUE 'ok' TO 'fine'; ALTER TYPE s.mood RENAME TO feeling").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b' WITH revision_history").await;
    run(&client, "BACKUP TABLE t INTO 'nodelocal://1/t'").await;
    let shown = "SELECT m, all_of, d FROM t ORDER BY m";
    let (now, made) = (rows(&client, shown).await, rows(&client, "SHOW CREATE TABLE t").await);
    assert_eq!(now, [["sad", "NULL", "sad"], ["fine", "NULL", "fine"], ["happy", "{sad,happy}", "sad"]]);

    // With its database, now and then.
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'; USE r").await;
    assert_eq!(rows(&client, shown).await, now);
    assert_eq!(rows(&client, "SHOW CREATE TABLE t").await, made);
    assert_eq!(rows(&client, "SELECT m, w FROM v ORDER BY m DESC").await[0], ["happy", "sad"]);
    // The new type is the table's own: it changes with it, and the other one does not.
    run(&client, "ALTER TYPE s.feeling ADD VALUE 'better'; INSERT INTO t (m) VALUES ('better')").await;
    assert_eq!(fail(&client, "DROP TYPE s.feeling").await.0, "2BP01");
    assert_eq!(fail(&client, "INSERT INTO d.t (m) VALUES ('better')").await.0, "22P02");
    let then = format!("AS OF SYSTEM TIME {before} WITH new_db_name = 'earlier'");
    run(&client, &format!("RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' {then}; USE earlier")).await;
    assert_eq!(rows(&client, "SELECT m, d FROM t WHERE m > 'sad' ORDER BY m").await, [["ok", "ok"], ["happy", "sad"]]);
    assert_eq!(rows(&client, "SELECT name, values FROM [SHOW ENUMS] ORDER BY 1").await[0], ["mood", "{sad,ok,happy}"]);

    // With a table alone, though nobody named it; one that nothing uses stays where it is.
    run(&client, "CREATE DATABASE e; RESTORE TABLE d.t FROM LATEST IN 'nodelocal://1/t' WITH into_db = 'e'; USE e")
        .await;
    assert_eq!(rows(&client, shown).await, now);
    assert_eq!(rows(&client, "SELECT schema, name FROM [SHOW TYPES]").await, [["s", "feeling"]]);

    // One that is there already is taken, if it has the labels, also more of them.
    run(&client, "DROP VIEW IF EXISTS v; ALTER TYPE s.feeling ADD VALUE 'new'; DROP TABLE t").await;
    run(&client, "RESTORE TABLE d.t FROM LATEST IN 'nodelocal://1/t' WITH into_db = 'e'").await;
    assert_eq!(rows(&client, shown).await, now);
    run(&client, "INSERT INTO t (m) VALUES ('new')").await;
    assert_eq!(value(&client, "SELECT count(*) FROM [SHOW TYPES]").await, "1");
    assert_eq!(fail(&client, "DROP TYPE s.feeling").await.0, "2BP01");
    run(&client, "DROP TABLE t; DROP TYPE s.feeling; CREATE TYPE s.feeling AS ENUM ('happy', 'fine', 'sad')").await;
    let other = fail(&client, "RESTORE TABLE d.t FROM LATEST IN 'nodelocal://1/t' WITH into_db = 'e'").await;
    assert_eq!(other.0, "42710");
    assert!(rows(&client, "SHOW TABLES").await.is_empty());
    server.terminate();
}

#[tokio::test]
async fn what_is_computed_is_computed_after_a_restore() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d").await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, a TEXT, b INT, c INT GENERATED ALWAYS AS (b * 2) STORED)").await;
    run(&client, "INSERT INTO t (id, a, b) SELECT i, 'A' || i, i % 10 FROM generate_series(1, 2000) g (i)").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b'").await;
    // On a filled table, and in the layer after that.
    run(&client, "CREATE UNIQUE INDEX lowered ON t (lower(a)); CREATE UNIQUE INDEX one ON t (b) WHERE id < 10").await;
    run(&client, "CREATE INDEX twice ON t (c)").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b'").await;
    let made = rows(&client, "SHOW CREATE TABLE t").await;
    assert!(made[0][1].contains("c INT4 NULL GENERATED ALWAYS AS (b * 2) STORED"), "{made:?}");
    assert!(made[0][1].contains("UNIQUE INDEX one (b ASC) WHERE id < 10"), "{made:?}");
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'; USE r").await;
    assert_eq!(rows(&client, "SHOW CREATE TABLE t").await, made);
    assert_eq!(rows(&client, "SELECT * FROM t WHERE lower(a) = 'a17'").await, [["17", "A17", "7", "14"]]);
    let plan = rows(&client, "EXPLAIN SELECT * FROM t WHERE lower(a) = 'a17'").await;
    assert!(plan.iter().any(|line| line[0].contains("index lowered, 1 spans")), "{plan:?}");
    let plan = rows(&client, "EXPLAIN SELECT * FROM t WHERE b = 3 AND id < 10").await;
    assert!(plan.iter().any(|line| line[0].contains("primary key") || line[0].contains("index one")), "{plan:?}");
    assert_eq!(value(&client, "SELECT count(*) FROM t WHERE b = 3").await, "200");
    assert_eq!(fail(&client, "INSERT INTO t (id, a) VALUES (3000, 'a17')").await.0, "23505");
    assert_eq!(fail(&client, "UPDATE t SET b = 3 WHERE id = 4").await.0, "23505");
    run(&client, "UPDATE t SET b = 3 WHERE id = 40; INSERT INTO t (id, a, b) VALUES (3000, 'z', 3)").await;
    assert_eq!(fail(&client, "UPDATE t SET id = 0 WHERE id = 3000").await.0, "23505");
    assert_eq!(rows(&client, "SELECT b, c FROM t WHERE id = 40").await, [["3", "6"]]);
    assert_eq!(fail(&client, "INSERT INTO t (id, c) VALUES (5, 5)").await.0, "428C9");
    server.terminate();
    store.assert_sound();
}

#[tokio::test]
async fn indexes_that_store_columns_have_them_after_a_restore() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d").await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT, c INT, UNIQUE (c) STORING (b))").await;
    run(&client, "INSERT INTO t SELECT i, i % 10, 'b' || i, i FROM generate_series(1, 2000) g (i)").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b'").await;
    // On a filled table, changed in the layer after that, and again.
    run(&client, "CREATE INDEX by_a ON t (a DESC) STORING (b)").await;
    run(&client, "UPDATE t SET b = 'x' || id WHERE a = 3").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b'").await;
    run(&client, "UPDATE t SET b = NULL, c = NULL WHERE id < 500; DELETE FROM t WHERE id > 1500").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b'").await;
    let questions = [
        ("SELECT count(b), min(b), max(b) FROM t WHERE a = 3", "index by_a only, 1 spans"),
        ("SELECT b, id FROM t WHERE c = 700", "index t_c_b_key only, 1 spans"),
        ("SELECT count(*), count(b) FROM t WHERE a > 7", "index by_a only, 1 spans"),
        ("SELECT c FROM t WHERE a = 3 AND id < 600 ORDER BY id", "primary key"),
        ("SELECT sum(c) FROM t WHERE a = 3", "index by_a, 1 spans"),
    ];
    let ask = async || {
        let mut answers = rows(&client, "SHOW CREATE TABLE t").await;
        for (question, how) in questions {
            let plan = rows(&client, &format!("EXPLAIN {question}")).await;
            assert!(plan.iter().any(|line| line[0].contains(how)), "{question}: {plan:?}");
            answers.extend(rows(&client, question).await);
        }
        answers
    };
    let before = ask().await;
    assert!(before[0][1].contains("UNIQUE INDEX t_c_b_key (c ASC) STORING (b)"), "{before:?}");
    assert!(before[0][1].contains("INDEX by_a (a DESC) STORING (b)"), "{before:?}");
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'; USE r").await;
    assert_eq!(ask().await, before);
    run(&client, "UPDATE t SET b = 'again' WHERE a = 3; USE d; UPDATE t SET b = 'again' WHERE a = 3; USE r").await;
    let after = ask().await;
    assert_ne!(after, before);
    run(&client, "USE d").await;
    assert_eq!(ask().await, after);
    server.terminate();
    store.assert_sound();
}

#[tokio::test]
async fn privileges_come_back_with_a_cluster_and_not_with_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let external = ["--external-io-dir", directory.path().to_str().unwrap()];
    let (store, other) = (Store::new(), Store::new());
    let server = Server::start(&store.path(), &external);
    let client = server.connect().await;
    run(&client, "CREATE USER ann; CREATE DATABASE d; USE d").await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY); GRANT SELECT, UPDATE ON t TO ann WITH GRANT OPTION").await;
    run(&client, "GRANT USAGE ON SCHEMA public TO ann; GRANT CONNECT ON DATABASE d TO PUBLIC").await;
    run(
        &client,
        "GRANT UPDATE (id) ON t TO ann; CREATE SCHEMA s; ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO ann",
    )
    .await;
    run(&client, "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC").await;
    let of_column = "SELECT attacl FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'id'";
    let defaults = "SELECT defaclobjtype, defaclnamespace <> 0, defaclacl FROM pg_default_acl ORDER BY 1";
    let kept = rows(&client, defaults).await;
    assert_eq!(kept, [["T", "f", "{root=U/root,ann=U/root}"], ["r", "t", "{=r/root}"]]);
    let granted = "SELECT relacl FROM pg_class WHERE relname = 't'";
    let all = "{root=arwdDxt/root,ann=r*w*/root}";
    assert_eq!(value(&client, granted).await, all);
    run(&client, "BACKUP INTO 'nodelocal://1/b'").await;
    run(&client, "REVOKE UPDATE ON t FROM ann; BACKUP INTO LATEST IN 'nodelocal://1/b'").await;
    let shown =
        "SELECT privileges FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/b' WITH privileges] WHERE object_name = 't'";
    assert!(rows(&client, shown).await.last().unwrap()[0].contains("GRANT SELECT ON TABLE t TO ann"));
    // Whoever restores a database owns it, and nobody else may use it yet.
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'; USE r").await;
    assert_eq!(value(&client, granted).await, "NULL");
    assert_eq!(value(&client, of_column).await, "NULL");
    assert_eq!(rows(&client, defaults).await.len(), 0);
    server.terminate();
    let server = Server::start(&other.path(), &external);
    let client = server.connect().await;
    run(&client, "RESTORE FROM LATEST IN 'nodelocal://1/b'").await;
    run(&client, "USE d").await;
    assert_eq!(value(&client, granted).await, "{root=arwdDxt/root,ann=r*/root}");
    // REVOKE had taken it from the column, too.
    assert_eq!(value(&client, of_column).await, "NULL");
    assert_eq!(rows(&client, defaults).await, kept);
    run(&client, "GRANT UPDATE (id) ON t TO ann; CREATE TABLE s.new (a INT)").await;
    assert_eq!(
        value(&client, "SELECT relacl FROM pg_class WHERE relname = 'new'").await,
        "{root=arwdDxt/root,=r/root}"
    );
    run(&client, "ALTER ROLE ann RENAME TO bob").await;
    assert_eq!(value(&client, of_column).await, "{bob=w/root}");
    assert_eq!(rows(&client, defaults).await[0][2], "{root=U/root,bob=U/root}");
    run(&client, "ALTER ROLE bob RENAME TO ann").await;
    assert_eq!(fail(&client, "DROP USER ann").await.0, "2BP01");
    server.terminate();
}

#[tokio::test]
async fn instants_are_the_same_whatever_the_time_zone_of_who_restores() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; USE d; SET TIME ZONE 'Asia/Tokyo'").await;
    run(
        &client,
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMPTZ DEFAULT '2024-07-15 00:00', \
         day DATE GENERATED ALWAYS AS ((at AT TIME ZONE 'UTC')::date) STORED)",
    )
    .await;
    run(&client, "INSERT INTO t (id) VALUES (1); INSERT INTO t VALUES (2, '2024-07-15 12:00')").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b'; SET TIME ZONE 'America/New_York'").await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'; USE r").await;
    run(&client, "INSERT INTO t (id) VALUES (3)").await;
    let shown = rows(&client, "SELECT id, at, day FROM t ORDER BY id").await;
    assert_eq!(shown[0], ["1", "2024-07-14 11:00:00-04", "2024-07-14"]);
    assert_eq!(shown[1], ["2", "2024-07-14 23:00:00-04", "2024-07-15"]);
    assert_eq!(shown[2][1..], shown[0][1..]);
    server.terminate();
}

#[tokio::test]
async fn temporary_objects_are_in_no_backup_and_go_with_their_session() {
    let store = Store::new();
    let server = store.start();
    let (client, other) = (server.connect().await, server.connect().await);
    for setup in [
        "CREATE DATABASE d; USE d",
        "CREATE TYPE colour AS ENUM ('red', 'blue')",
        "CREATE TABLE p (id INT PRIMARY KEY, c colour); INSERT INTO p VALUES (1, 'red')",
        "CREATE TEMP TABLE t (id SERIAL PRIMARY KEY, c colour); INSERT INTO t (c) VALUES ('blue'), ('red')",
        "CREATE TEMP VIEW v AS SELECT p.id, t.c FROM p JOIN t USING (id)",
        "CREATE TEMP TABLE p AS SELECT 'hides' AS what",
    ] {
        run(&client, setup).await;
    }
    // What lasts does not need what does not.
    for dependent in [
        "CREATE TABLE wrong (id INT DEFAULT nextval('t_id_seq'))",
        "ALTER TABLE public.p ALTER COLUMN id SET DEFAULT nextval('t_id_seq')",
        "CREATE TYPE pg_temp.shade AS ENUM ('dark')",
        "ALTER TYPE colour SET SCHEMA pg_temp",
    ] {
        assert_eq!(fail(&client, dependent).await.0, "0A000", "{dependent}");
    }
    assert_eq!(fail(&client, "CREATE TABLE wrong (t INT REFERENCES t)").await.0, "42P16");
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/d' WITH revision_history").await;
    run(
        &client,
        "INSERT INTO t (c) VALUES ('red'); CREATE TEMP TABLE later (a INT); INSERT INTO public.p VALUES (2, 'blue')",
    )
    .await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/d' WITH revision_history").await;
    run(&client, "BACKUP INTO 'nodelocal://1/all'").await;
    assert_eq!(fail(&client, "BACKUP TABLE d.t INTO 'nodelocal://1/t'").await.0, "42P01");
    let hidden = "BACKUP TABLE d.pg_temp_1.t INTO 'nodelocal://1/t'";
    assert_eq!(fail(&client, hidden).await.0, "42P01");
    for collection in ["d", "all"] {
        let shown = format!("SELECT object_name FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/{collection}']");
        let names: Vec<String> = rows(&client, &shown).await.into_iter().map(|mut row| row.remove(0)).collect();
        for absent in ["t", "v", "later", "t_id_seq"] {
            assert!(!names.iter().any(|name| name == absent || name.starts_with("pg_temp")), "{collection}: {names:?}");
        }
        let name = format!("from_{collection}");
        let restore =
            format!("RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/{collection}' WITH new_db_name = '{name}'");
        run(&client, &restore).await;
        let kept = rows(&client, &format!("SELECT id, c FROM {name}.public.p ORDER BY id")).await;
        assert_eq!(kept, [["1", "red"], ["2", "blue"]]);
        run(&client, &format!("USE {name}")).await;
        let left = "SELECT count(*) FROM pg_class WHERE relpersistence = 't' OR relkind IN ('v', 'S')";
        assert_eq!(value(&client, left).await, "0");
        // Nothing there knows of what was left out.
        run(&client, &format!("DROP TYPE {name}.public.colour CASCADE; DROP TABLE {name}.public.p")).await;
    }
    run(&client, "USE d").await;
    run(&other, "USE d").await;
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "3");
    assert_eq!(fail(&other, "SELECT * FROM t").await.0, "42P01");
    assert_eq!(value(&other, "SELECT count(*) FROM p").await, "2");
    let temporary = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'";
    assert_ne!(value(&other, temporary).await, "0");
    drop(client);
    crate::harness::eventually(&other, temporary, "0").await;
    assert_eq!(value(&other, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg_temp%'").await, "0");
    // One that has no time to end.
    run(&other, "CREATE TEMP TABLE t (id INT) ON COMMIT DELETE ROWS; CREATE TABLE stays (id INT)").await;
    server.kill();
    let server = store.start();
    let client = server.connect_to("d").await;
    assert_eq!(value(&client, temporary).await, "0");
    assert_eq!(value(&client, "SELECT count(*) FROM p").await, "2");
    run(&client, "CREATE TEMP TABLE t (id INT); DROP TABLE stays").await;
    server.terminate();
    store.assert_sound();
}

#[tokio::test]
async fn what_show_create_all_says_makes_the_same_again() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    for setup in [
        "CREATE DATABASE d; CREATE DATABASE again; USE d",
        "CREATE SCHEMA s",
        "CREATE TYPE s.colour AS ENUM ('red', 'it''s')",
        "CREATE SEQUENCE free START 5 INCREMENT 2",
        "CREATE TABLE late (id SERIAL PRIMARY KEY, \"Odd name\" TEXT UNIQUE DEFAULT 'a;b', c s.colour)",
        "CREATE TABLE early (id INT GENERATED ALWAYS AS IDENTITY, l INT REFERENCES late ON DELETE CASCADE, n INT DEFAULT nextval('free') CHECK (n > 0), \
         twice INT GENERATED ALWAYS AS (n * 2) STORED)",
        "ALTER TABLE late ADD COLUMN e INT; ALTER TABLE early ADD PRIMARY KEY (id)",
        "ALTER TABLE late ADD CONSTRAINT round FOREIGN KEY (e) REFERENCES early DEFERRABLE INITIALLY DEFERRED",
        "CREATE INDEX lower_idx ON late (lower(\"Odd name\")) WHERE e > 3; CREATE INDEX plain_idx ON early (n DESC)",
        "CREATE VIEW first AS SELECT id FROM early; CREATE VIEW second AS SELECT id FROM first",
        "CREATE OR REPLACE VIEW first AS SELECT id FROM early WHERE n > 1",
        "COMMENT ON TABLE late IS 'it''s late'; COMMENT ON COLUMN early.n IS 'a number'; COMMENT ON VIEW second IS 'v'",
        "CREATE TEMP TABLE passing (id INT)",
    ] {
        run(&client, setup).await;
    }
    let all = ["SCHEMAS", "TYPES", "TABLES"];
    let mut said = Vec::new();
    for what in all {
        said.extend(rows(&client, &format!("SHOW CREATE ALL {what}")).await.into_iter().map(|mut row| row.remove(0)));
    }
    assert!(!said.iter().any(|statement| statement.contains("passing")), "{said:?}");
    run(&client, "USE again").await;
    for statement in &said {
        if statement != "CREATE SCHEMA public;" {
            run(&client, statement).await;
        }
    }
    let mut again = Vec::new();
    for what in all {
        again.extend(rows(&client, &format!("SHOW CREATE ALL {what}")).await.into_iter().map(|mut row| row.remove(0)));
    }
    said.sort();
    again.sort();
    assert_eq!(again, said);
    run(&client, "INSERT INTO late (\"Odd name\") VALUES ('x'); INSERT INTO early (l) VALUES (1)").await;
    assert_eq!(rows(&client, "SELECT id, n, twice FROM early").await, [["1", "5", "10"]]);
    server.terminate();
}
