//! Ordinary PostgreSQL SQL means what it would without keepsafe.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::*;

#[test]
fn ordinary_statements_parse_as_sqlparser_alone_would() {
    let statements: Vec<&str> = include_str!("postgres.sql").lines().filter(|line| !line.is_empty()).collect();
    assert!(statements.len() >= 200, "only {} statements", statements.len());
    for sql in statements {
        let alone = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!((parsed.len(), alone.len()), (1, 1), "{sql}");
        let Statement::Sql(ordinary) = &parsed[0].statement else { panic!("{sql} is taken for {:?}", parsed[0]) };
        assert_eq!(ordinary.ast, alone[0], "{sql}");
        assert_eq!(parsed[0].statement.to_string(), alone[0].to_string(), "{sql}");
        assert!(ordinary.as_of.is_none() && ordinary.shows.is_empty() && ordinary.indexes.is_empty(), "{sql}");
    }
}
