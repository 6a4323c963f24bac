use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::*;

mod diagrams;
mod golden;
mod grammar;
mod limits;
mod postgres;
mod sentences;

thread_local! {
    static KEYWORDS: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Remembers a keyword that the parser looked for.
pub fn note_keyword(word: &str) {
    KEYWORDS.with_borrow_mut(|keywords| keywords.insert(word.to_ascii_uppercase()));
}

/// Every keyword that the parser has looked for on this thread.
fn keywords_looked_for() -> BTreeSet<String> {
    KEYWORDS.with_borrow(BTreeSet::clone)
}

/// Compares generated text with what is in a file of the repository; `KEEPSAFE_BLESS=1` writes it there instead.
fn expect_file(path: &Path, text: &str) {
    if std::env::var_os("KEEPSAFE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    if found != text {
        let line = found.lines().zip(text.lines()).position(|(found, text)| found != text).unwrap_or(0);
        let (found, text) = (found.lines().nth(line), text.lines().nth(line));
        panic!("{}:{}: {found:?} should be {text:?}; KEEPSAFE_BLESS=1 rewrites it", path.display(), line + 1);
    }
}

fn canonical(sql: &str) -> String {
    let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    statements.iter().map(|parsed| parsed.statement.to_string()).collect::<Vec<_>>().join("; ")
}

#[test]
fn backup_statements_have_one_canonical_form() {
    let cases = [
        ("backup into 'nodelocal://1/a'", "BACKUP INTO 'nodelocal://1/a'"),
        ("BACKUP foo, s.* INTO 'x' WITH detached", "BACKUP TABLE foo, s.* INTO 'x' WITH OPTIONS (detached)"),
        ("BACKUP DATABASE a, \"B c\" INTO LATEST IN ('x')", "BACKUP DATABASE a, \"B c\" INTO LATEST IN 'x'"),
        (
            "BACKUP TABLE d.s.t INTO '2026/11' IN $1 AS OF SYSTEM TIME '-10s' WITH OPTIONS (detached, revision_history)",
            "BACKUP TABLE d.s.t INTO '2026/11' IN $1 AS OF SYSTEM TIME '-10s' WITH OPTIONS (revision_history = true, detached)",
        ),
        (
            "BACKUP INTO ('s3://b?AWS_SECRET_ACCESS_KEY=hush', 'y') WITH encryption_passphrase = 'hush', detached = false",
            "BACKUP INTO ('s3://b?AWS_SECRET_ACCESS_KEY=redacted', 'y') WITH OPTIONS (encryption_passphrase = '******')",
        ),
        ("BACKUP backup INTO latest", "BACKUP TABLE backup INTO 'latest'"),
        ("BACKUP database INTO 'x'", "BACKUP TABLE database INTO 'x'"),
        ("RESTORE FROM LATEST IN 'x'", "RESTORE FROM LATEST IN 'x'"),
        (
            "RESTORE DATABASE a FROM '2026/1' IN 'x' AS OF SYSTEM TIME 123.0000000000 WITH new_db_name = b",
            "RESTORE DATABASE a FROM '2026/1' IN 'x' AS OF SYSTEM TIME 123.0000000000 WITH OPTIONS (new_db_name = 'b')",
        ),
        ("RESTORE SYSTEM USERS FROM LATEST IN 'x'", "RESTORE SYSTEM USERS FROM LATEST IN 'x'"),
        ("SHOW BACKUPS IN 'x'; SHOW BACKUP LATEST IN 'x'", "SHOW BACKUPS IN 'x'; SHOW BACKUP FROM LATEST IN 'x'"),
        ("SHOW JOB 5", "SHOW JOBS VALUES (5)"),
        ("SELECT * FROM [SHOW JOBS] AS j", "SELECT * FROM [SHOW JOBS] AS j"),
        ("SELECT 1 AS OF SYSTEM TIME '-1s'", "SELECT 1 AS OF SYSTEM TIME '-1s'"),
        ("UPSERT INTO t VALUES (1)", "UPSERT INTO t VALUES (1)"),
        (
            "SELECT backup, schedule, job, latest, label FROM backup",
            "SELECT backup, schedule, job, latest, label FROM backup",
        ),
        ("use system", "USE system"),
        ("VACUUM ANALYZE t", "VACUUM (ANALYZE) t"),
    ];
    for (sql, expected) in cases {
        assert_eq!(canonical(sql), expected, "{sql}");
        assert_eq!(canonical(expected), expected, "the canonical form is its own");
    }
}

#[test]
fn what_stands_beside_a_statement_is_found() {
    let one = |sql: &str| match parse(sql).unwrap().remove(0).statement {
        Statement::Sql(ordinary) => *ordinary,
        other => panic!("{other:?}"),
    };
    let table = one("CREATE TABLE t (index INT PRIMARY KEY, b INT, UNIQUE INDEX u (b DESC, index), INDEX (b))");
    assert_eq!(table.indexes.len(), 2);
    assert_eq!(table.indexes[0].columns, [("b".to_string(), true), ("index".to_string(), false)]);
    assert!(table.ast.to_string().contains("index INT"));
    let shows = one("WITH x AS (SHOW JOBS), y AS (SHOW BACKUPS IN 'a') SELECT * FROM x, [SHOW DATABASES]");
    assert_eq!(shows.shows.len(), 3);
    let as_of = one("SELECT * FROM t AS OF SYSTEM TIME '2026-01-01' WHERE a = 1");
    assert!(as_of.as_of.is_some() && as_of.ast.to_string().ends_with("WHERE a = 1"));
    assert!(one("BEGIN AS OF SYSTEM TIME now()").as_of.is_some());
    one("copy pgbench_accounts from stdin with (freeze on)");
    one("COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER)");
    one("COPY t TO STDOUT");
    one("create table pgbench_history(tid int,filler char(22)) with (fillfactor=100)");
    one("alter table pgbench_accounts add primary key (aid)");
    one("END");
    one("CREATE INDEX ON t (a) STORING (b)");
}

#[test]
fn errors_say_where_and_what_instead_and_quote_no_literal() {
    let fail = |sql: &str| parse(sql).expect_err(sql);
    let error = fail("SELECT 1;\n  BACKUP TO 'hush'");
    assert_eq!(error.position, 20);
    assert!(error.hint.unwrap().contains("INTO"));
    assert!(fail("RESTORE DATABASE a FROM 'hush'").hint.unwrap().contains("LATEST IN"));
    assert!(fail("BACKUP INTO 'a' WITH detatched").hint.unwrap().starts_with("Did you mean detached"));
    assert!(fail("BACKUP INTO 'a' WITH detached, detached").message.contains("given twice"));
    assert!(fail("BACKUP INTO 'a' WITH kms = 'k', encryption_passphrase = 'hush'").message.contains("exclude"));
    for sql in ["BACKUP INTO 'hush' 'hush'", "SELECT * FORM 'hush'", "RESTORE FROM 'hush' IN", "BACKUP 'hush'"] {
        assert!(!format!("{:?}", fail(sql)).contains("hush"), "{sql}: {:?}", fail(sql));
    }
    assert!(matches!(fail("SELECT 'open").position, 1..));
    let deep = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
    assert_eq!(fail(&deep).sqlstate, "54001");
}
