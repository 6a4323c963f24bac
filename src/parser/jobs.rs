use sqlparser::ast::Query;

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, display_redacted};
use super::text::Text;

/// `SHOW JOBS [query of ids]`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowJobs {
    /// A query whose one column holds job ids; without it, recent jobs.
    pub ids: Option<Box<Query>>,
}

/// `SHOW JOB id`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowJob {
    /// The id, as digits.
    pub id: Text,
}

display_redacted!(ShowJobs, ShowJob);

impl Render for ShowJobs {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str("SHOW JOBS");
        if let Some(query) = &self.ids {
            out.push_str(&format!(" {query}"));
        }
    }
}

impl Render for ShowJob {
    fn render(&self, out: &mut String, _: Secrets) {
        match &self.id {
            Text::Literal(id) => out.push_str(&format!("SHOW JOBS VALUES ({id})")),
            Text::Placeholder(number) => out.push_str(&format!("SHOW JOBS VALUES (${number})")),
        }
    }
}

/// After `SHOW JOBS`.
pub fn parse_show_jobs(cursor: &mut Cursor<'_>) -> Result<ShowJobs> {
    refuse_when_complete(cursor)?;
    if cursor.at("FOR") {
        return Err(Error::unsupported("SHOW JOBS FOR", cursor.location()));
    }
    let ids = if cursor.is_at_end() { None } else { Some(cursor.query()?) };
    refuse_when_complete(cursor)?;
    Ok(ShowJobs { ids })
}

/// After `SHOW JOB`.
pub fn parse_show_job(cursor: &mut Cursor<'_>) -> Result<ShowJob> {
    refuse_when_complete(cursor)?;
    let id = match cursor.peek() {
        Some(sqlparser::tokenizer::Token::Number(digits, _)) => {
            cursor.advance(1);
            Text::Literal(digits.clone())
        }
        _ => cursor.text().map_err(|_| cursor.expected("a job id"))?,
    };
    if let Text::Literal(digits) = &id
        && digits.parse::<i64>().is_err()
    {
        return Err(Error::syntax("a job id is a whole number", cursor.location()));
    }
    refuse_when_complete(cursor)?;
    Ok(ShowJob { id })
}

fn refuse_when_complete(cursor: &Cursor<'_>) -> Result<()> {
    if cursor.at("WHEN") { Err(Error::unsupported("SHOW JOBS WHEN COMPLETE", cursor.location())) } else { Ok(()) }
}
