//! Plans of prepared statements: whatever happens between two runs, a kept plan gives what one made for the run alone gives.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Store, fail, rows, run, seed, value};

const SECONDS: u64 = 8;

/// Queries, and the types of their parameters.
const QUERIES: [(&str, &[&str]); 14] = [
    ("SELECT id, a, b FROM t WHERE a = $1 ORDER BY id", &["int"]),
    ("SELECT id, c FROM t WHERE a = $1 ORDER BY id", &["bigint"]),
    ("SELECT id FROM t WHERE b > $1 AND c <> $2 ORDER BY id", &["bigint", "text"]),
    ("SELECT t.id, v FROM t JOIN u ON u.t = t.a WHERE t.a = $1 AND v < $2 ORDER BY 1, 2", &["int", "text"]),
    ("SELECT t.id, u.id FROM t LEFT JOIN u ON u.t = t.a AND u.id <> $1 ORDER BY 1, 2", &["int"]),
    ("SELECT count(*) FROM t WHERE a IN ($1, $2) OR d = $3", &["int", "int", "date"]),
    ("SELECT a, sum(b) FROM t GROUP BY a HAVING sum(b) > $1 ORDER BY a LIMIT $2", &["bigint", "bigint"]),
    ("SELECT id, a FROM w WHERE a >= $1 ORDER BY id", &["int"]),
    ("SELECT id FROM t WHERE a = (SELECT max(t) FROM u WHERE id < $1) ORDER BY id", &["int"]),
    ("SELECT id FROM t WHERE NOT (a = $1) AND h = $2 ORDER BY id", &["int", "bool"]),
    (
        "WITH x AS (SELECT * FROM t WHERE a > $1) SELECT count(*) FROM x JOIN u ON u.t = x.a AND u.id <> $2",
        &["int", "int"],
    ),
    (
        "SELECT id, a + $1 FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.t = t.a AND v > $2) ORDER BY id",
        &["int", "text"],
    ),
    ("SELECT id FROM t WHERE a = $1 UNION ALL SELECT id FROM u WHERE t = $1 ORDER BY 1", &["int"]),
    (
        "SELECT a, id FROM t WHERE (a, id) > ($1, $2) AND d BETWEEN $3 AND $4 ORDER BY 1, 2",
        &["int", "int", "date", "date"],
    ),
];

fn literal(column_type: &str, random: &mut StdRng) -> String {
    if random.random_range(0..12) == 0 {
        return format!("NULL::{column_type}");
    }
    let number = random.random_range(0..8);
    match column_type {
        "bigint" if random.random_range(0..6) == 0 => "5000000000::bigint".into(),
        "text" => format!("'x{number}'::text"),
        "date" => format!("'2020-01-0{}'::date", number + 1),
        "bool" => format!("{}::bool", number % 2 == 0),
        _ => format!("{number}::{column_type}"),
    }
}

/// Something that changes what queries give, or how they may be planned.
fn change(random: &mut StdRng) -> String {
    let (id, a) = (random.random_range(0..60), random.random_range(0..8));
    match random.random_range(0..20) {
        0 => "CREATE INDEX IF NOT EXISTS t_a ON t (a)".into(),
        1 => "CREATE INDEX IF NOT EXISTS t_ab ON t (a DESC, b) STORING (c)".into(),
        2 => "CREATE INDEX IF NOT EXISTS t_part ON t (b) WHERE a = 3".into(),
        3 => "DROP INDEX IF EXISTS t_a".into(),
        4 => "DROP INDEX IF EXISTS t_ab; DROP INDEX IF EXISTS t_part".into(),
        5 => "ALTER TABLE t DROP COLUMN IF EXISTS z; ALTER TABLE t ADD COLUMN z INT DEFAULT 1".into(),
        6 => format!("CREATE OR REPLACE VIEW w AS SELECT id + {a} AS id, a FROM t"),
        7 => "TRUNCATE u; INSERT INTO u SELECT n, n % 7, 'x' || n % 5 FROM generate_series(1, 30) AS g (n)".into(),
        8 => format!("BEGIN; DELETE FROM t WHERE a = {a}; ROLLBACK"),
        9 | 10 => format!("DELETE FROM t WHERE id = {id}"),
        11 | 12 => format!("UPDATE t SET a = {a}, c = 'x{a}' WHERE id < {id}"),
        13 => format!("UPDATE u SET t = {a} WHERE id = {id}"),
        _ => format!(
            "UPSERT INTO t (id, a, b, c, d, h) VALUES ({id}, {a}, {id} * 1000, 'x{a}', '2020-01-05', {id} > 30)"
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_plan_gives_what_a_new_one_gives() {
    let seed = seed();
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, a INT, b BIGINT, c TEXT, d DATE, h BOOL)").await;
    run(&client, "CREATE TABLE u (id INT PRIMARY KEY, t INT, v TEXT); CREATE VIEW w AS SELECT id, a FROM t").await;
    let filling = "SELECT n, n % 6, n * 1000, 'x' || n % 7, date '2020-01-01' + n % 9, n % 3 = 0";
    run(&client, &format!("INSERT INTO t {filling} FROM generate_series(1, 50) AS g (n)")).await;
    run(&client, "INSERT INTO u SELECT n, n % 7, 'x' || n % 5 FROM generate_series(1, 30) AS g (n)").await;
    for (number, (query, types)) in QUERIES.iter().enumerate() {
        run(&client, &format!("PREPARE p{number} ({}) AS {query}", types.join(", "))).await;
    }
    // So that each has a kept plan, whatever values come later.
    for (number, (_, types)) in QUERIES.iter().enumerate() {
        let values = types.iter().map(|column_type| match *column_type {
            "text" => "'x1'".to_string(),
            "date" => "'2020-01-02'".to_string(),
            "bool" => "true".to_string(),
            _ => "1".to_string(),
        });
        let execute = format!("EXECUTE p{number} ({})", values.collect::<Vec<_>>().join(", "));
        for _ in 0..3 {
            rows(&client, &execute).await;
        }
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if random.random_range(0..4) == 0 {
            run(&client, &change(&mut random)).await;
        }
        let in_transaction = random.random_range(0..5) == 0;
        if in_transaction {
            run(&client, &format!("BEGIN; UPDATE t SET a = {} WHERE id % 3 = 0", random.random_range(0..8))).await;
        }
        for _ in 0..random.random_range(1..4) {
            let number = random.random_range(0..QUERIES.len());
            let (query, types) = QUERIES[number];
            let values: Vec<String> = types.iter().map(|column_type| literal(column_type, &mut random)).collect();
            let mut plain = query.to_string();
            for (at, value) in values.iter().enumerate() {
                plain = plain.replace(&format!("${}", at + 1), &format!("({value})"));
            }
            let prepared = rows(&client, &format!("EXECUTE p{number} ({})", values.join(", "))).await;
            assert_eq!(prepared, rows(&client, &plain).await, "seed {seed}: {plain}");
        }
        if in_transaction {
            run(&client, if random.random() { "COMMIT" } else { "ROLLBACK" }).await;
        }
    }
    let counted = "SELECT name, generic_plans > 0 FROM pg_prepared_statements ORDER BY length(name), name";
    for (row, (query, _)) in rows(&client, counted).await.iter().zip(QUERIES) {
        assert_eq!(row[1], "t", "seed {seed}: no plan was kept of {query}");
    }
    server.terminate();
    store.assert_sound();
}

/// How often a statement ran on a kept plan, and how often on one made for it alone.
async fn runs(client: &tokio_postgres::Client, name: &str) -> [i64; 2] {
    let counts = format!("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE name = '{name}'");
    let counts = rows(client, &counts).await.remove(0);
    [counts[0].parse().unwrap(), counts[1].parse().unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_kept_until_a_definition_changes_and_only_where_they_can_be() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    let other = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, a INT, c TEXT); INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y')")
        .await;
    run(&client, "CREATE TABLE u (id INT PRIMARY KEY); CREATE INDEX t_a ON t (a)").await;
    run(&client, "PREPARE p (int) AS SELECT id, c FROM t WHERE a = $1").await;
    let execute = async |times: i64| {
        for _ in 0..times {
            assert_eq!(rows(&client, "EXECUTE p (2)").await, [["2", "y"]]);
        }
    };
    execute(5).await;
    assert_eq!(runs(&client, "p").await, [3, 2], "once without, once to make it, and then with it");
    // Of another session, and of another table.
    run(&other, "CREATE INDEX u_id ON u (id DESC)").await;
    execute(1).await;
    assert_eq!(runs(&client, "p").await, [4, 2]);
    run(&other, "DROP INDEX t_a").await;
    execute(2).await;
    assert_eq!(runs(&client, "p").await, [5, 3]);
    // Other values have the same plan; no value, and one that is too long, are planned for themselves.
    for (given, rows_found) in [("1", 1), ("7", 0), ("NULL", 0)] {
        assert_eq!(rows(&client, &format!("EXECUTE p ({given})")).await.len(), rows_found);
    }
    assert_eq!(runs(&client, "p").await, [7, 4]);
    // An index is used with a value that came later.
    run(&client, "CREATE INDEX t_ac ON t (a) STORING (c)").await;
    execute(3).await;
    let asked = "SELECT count(*) FROM t WHERE a = $1 AND c >= $2";
    let statement = client.prepare(asked).await.unwrap();
    for number in 0..4i32 {
        let found: i64 = client.query_one(&statement, &[&number, &"a"]).await.unwrap().get(0);
        assert_eq!(found, i64::from(number == 1 || number == 2));
    }
    let of_protocol =
        "SELECT generic_plans, from_sql, parameter_types FROM pg_prepared_statements WHERE statement LIKE '%count%'";
    assert_eq!(rows(&client, of_protocol).await, [["2", "f", "{integer,text}"]]);
    // What is not kept.
    for (number, query) in [
        "SELECT now()",
        "SELECT current_user, id FROM t WHERE a = 1",
        "SELECT id FROM t WHERE c < 'z' AND random() < 2",
        "SELECT relname FROM pg_class WHERE relname = 't'",
        "SELECT count(*) FROM generate_series(1, 3)",
        "SELECT 't'::regclass",
        "SELECT nextval('s')",
        "SELECT id FROM t FOR UPDATE",
    ]
    .iter()
    .enumerate()
    {
        if number == 0 {
            run(&client, "CREATE SEQUENCE s").await;
        }
        run(&client, &format!("PREPARE q{number} AS {query}")).await;
        for _ in 0..4 {
            rows(&client, &format!("EXECUTE q{number}")).await;
        }
        assert_eq!(runs(&client, &format!("q{number}")).await[0], 0, "{query}");
    }
    // A kept plan keeps no transaction, and so no lock of one that fails to commit.
    run(&client, "CREATE TABLE p (id INT PRIMARY KEY, v INT); INSERT INTO p VALUES (3, 3)").await;
    run(&client, "CREATE TABLE c (id INT, p INT REFERENCES p DEFERRABLE INITIALLY DEFERRED)").await;
    run(&client, "PREPARE held (int) AS SELECT id FROM p WHERE v = $1").await;
    run(&client, "BEGIN; SELECT * FROM p WHERE id = 3 FOR UPDATE").await;
    for _ in 0..3 {
        rows(&client, "EXECUTE held (3)").await;
    }
    run(&client, "INSERT INTO c VALUES (1, 99)").await;
    assert_eq!(fail(&client, "COMMIT").await.0, "23503");
    assert_eq!(runs(&client, "held").await, [1, 2]);
    run(&other, "SET statement_timeout = '20s'; UPDATE p SET v = 4 WHERE id = 3; RESET statement_timeout").await;
    // Values that are part of a plan do not make more and more of them.
    run(&client, "PREPARE many (int) AS SELECT id + $1 FROM t ORDER BY 1 LIMIT 1").await;
    for number in 0..40 {
        assert_eq!(value(&client, &format!("EXECUTE many ({number})")).await, (number + 1).to_string());
    }
    assert_eq!(runs(&client, "many").await, [0, 40]);
    run(&other, "DROP TABLE t").await;
    assert_eq!(fail(&client, "EXECUTE p (2)").await.0, "42P01");
    run(&other, "CREATE TABLE t (id INT, c TEXT, a TEXT); INSERT INTO t VALUES (5, 'five', '2')").await;
    assert_eq!(rows(&client, "EXECUTE p (2)").await, [["5", "five"]]);
    assert_eq!(rows(&client, "EXECUTE p (2)").await, [["5", "five"]]);
    server.terminate();
}
