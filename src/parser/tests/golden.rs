//! Statements and what becomes of them, in `golden/*.txt`. `KEEPSAFE_BLESS=1 cargo test --lib golden` writes the outcome
//! under every statement; read the difference before you commit it.
//!
//! ```text
//! > backup foo into 's3://b?AWS_SECRET_ACCESS_KEY=k'
//! BACKUP TABLE foo INTO 's3://b?AWS_SECRET_ACCESS_KEY=redacted'
//! exposed: BACKUP TABLE foo INTO 's3://b?AWS_SECRET_ACCESS_KEY=k'
//! ```
//!
//! A statement of several lines has `>` before each.

use std::fmt::Write;
use std::path::PathBuf;

use super::super::*;
use super::expect_file;

fn outcome(sql: &str) -> String {
    match parse(sql) {
        Ok(statements) => statements.iter().fold(String::new(), |mut out, parsed| {
            let (redacted, exposed) = (parsed.statement.to_string(), parsed.statement.exposed());
            writeln!(out, "{redacted}").unwrap();
            if exposed != redacted {
                writeln!(out, "exposed: {exposed}").unwrap();
            }
            assert_eq!(parse(&exposed).unwrap().remove(0).statement, parsed.statement, "{sql}");
            assert_eq!(parse(&redacted).unwrap().remove(0).statement.to_string(), redacted, "{sql}");
            out
        }),
        Err(error) => {
            let mut out = format!("error {} at {}: {}\n", error.sqlstate, error.position, error.message);
            if let Some(hint) = error.hint {
                writeln!(out, "hint: {hint}").unwrap();
            }
            out
        }
    }
}

#[test]
fn every_statement_has_the_outcome_written_under_it() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/parser/tests/golden");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let mut text = String::new();
        let mut statement: Vec<&str> = Vec::new();
        let before = std::fs::read_to_string(&path).unwrap();
        for line in before.lines().chain([""]) {
            match line.strip_prefix("> ").or((line == ">").then_some("")) {
                Some(part) => statement.push(part),
                None if !statement.is_empty() => {
                    let sql = statement.join("\n");
                    statement.drain(..).for_each(|part| writeln!(text, "> {part}").unwrap());
                    writeln!(text, "{}", outcome(&sql)).unwrap();
                    count += 1;
                }
                None if line.starts_with('#') => writeln!(text, "{line}\n").unwrap(),
                None => {}
            }
        }
        expect_file(&path, &format!("{}\n", text.trim_end()));
    }
    assert!(count >= 300, "only {count} statements");
}
