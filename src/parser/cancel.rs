use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::ordinary::{Ordinary, text_query};
use super::render::{Render, Secrets, display_redacted};

/// `CANCEL {QUERY | SESSION}`
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// What is canceled.
    pub what: Canceled,
    /// Whether ids of what has ended are passed over.
    pub if_exists: bool,
    /// Whether the query must not give more than one id.
    pub one: bool,
    /// Gives their ids, in its one column.
    pub ids: Box<Ordinary>,
}

/// What `CANCEL` cancels, other than jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canceled {
    /// Statements that run.
    Queries,
    /// Sessions, with what they run.
    Sessions,
}

display_redacted!(Cancel);

impl Canceled {
    const ALL: [(Canceled, &'static str, &'static str); 2] =
        [(Canceled::Queries, "QUERY", "QUERIES"), (Canceled::Sessions, "SESSION", "SESSIONS")];

    /// The word for several.
    pub fn plural(self) -> &'static str {
        Self::ALL[self as usize].2
    }
}

impl Cancel {
    /// After `CANCEL`, if it is none of jobs.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Cancel>> {
        for (what, one, several) in Canceled::ALL {
            if cursor.eat(several) {
                let if_exists = cursor.eat("IF EXISTS");
                return Ok(Some(Cancel { what, if_exists, one: false, ids: cursor.query()? }));
            } else if cursor.eat(one) {
                let if_exists = cursor.eat("IF EXISTS");
                let by_query = cursor.at_token(&Token::LParen);
                let ids = if by_query { cursor.query()? } else { text_query(cursor.text()?) };
                return Ok(Some(Cancel { what, if_exists, one: by_query, ids }));
            }
        }
        Ok(None)
    }
}

impl Render for Cancel {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let (_, one, several) = Canceled::ALL[self.what as usize];
        out.push_str(&format!("CANCEL {} ", if self.one { one } else { several }));
        out.push_str(if self.if_exists { "IF EXISTS " } else { "" });
        self.ids.render(out, secrets);
    }
}
