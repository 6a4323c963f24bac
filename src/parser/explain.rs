use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted};
use super::statement::{Statement, parse_own};

/// `EXPLAIN [ANALYZE] [VERBOSE]` of a statement that is not ordinary SQL.
#[derive(Clone, Debug, PartialEq)]
pub struct Explain {
    /// Run it too.
    pub analyze: bool,
    /// Say more.
    pub verbose: bool,
    /// What to explain.
    pub statement: Box<Statement>,
}

display_redacted!(Explain);

impl Explain {
    /// After `EXPLAIN`, if a statement follows that is not ordinary SQL.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Explain>> {
        let mut ahead = cursor.clone();
        let (analyze, verbose) = (ahead.eat("ANALYZE"), ahead.eat("VERBOSE"));
        let statement = match parse_own(&mut ahead)? {
            // EXPLAIN ANALYZE is not about ANALYZE.
            None | Some(Statement::Maintenance(_)) => return Ok(None),
            Some(statement) => statement,
        };
        *cursor = ahead;
        Ok(Some(Explain { analyze, verbose, statement: Box::new(statement) }))
    }
}

impl Render for Explain {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("EXPLAIN ");
        out.push_str(if self.analyze { "ANALYZE " } else { "" });
        out.push_str(if self.verbose { "VERBOSE " } else { "" });
        self.statement.render(out, secrets);
    }
}
