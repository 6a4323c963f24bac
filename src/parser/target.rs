//! What a statement backs up or restores, and where that lies.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident};
use super::text::{Text, Uri};

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Everything.
    Cluster,
    /// Whole databases.
    Databases(Vec<String>),
    /// Tables, views and sequences.
    Tables(Vec<TablePattern>),
    /// `SYSTEM USERS`, in `RESTORE` only.
    SystemUsers,
}

/// `t`, `s.t`, `d.s.t`, `s.*`, `d.s.*` or `*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    /// The name before the star or the whole name.
    pub parts: Vec<String>,
    /// Whether it ends in a star.
    pub star: bool,
}

/// Which backup of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subdirectory {
    /// The newest.
    Latest,
    /// The one in this directory.
    Path(Text),
}

/// A backup: its subdirectory and its collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPlace {
    /// Which backup.
    pub subdirectory: Subdirectory,
    /// The collection; further URIs are for localities.
    pub collection: Vec<Uri>,
}

display_redacted!(TablePattern);

impl Targets {
    /// `DATABASE d, ...`, `TABLE pattern, ...` or patterns, up to one of the words in `ends`.
    pub fn parse(cursor: &mut Cursor<'_>, ends: &[&str]) -> Result<Targets> {
        // A table may be called database.
        let ends_after = ends.iter().any(|end| cursor.at_offset(1, end));
        let is_name = ends_after || matches!(cursor.peek_offset(1), Some(Token::Period | Token::Comma));
        if !is_name && cursor.eat("DATABASE") {
            return cursor.list(Cursor::identifier).map(Targets::Databases);
        }
        if !cursor.eat("TABLE") && !matches!(cursor.peek(), Some(Token::Word(_) | Token::Mul)) {
            return Err(cursor.expected("DATABASE, TABLE or a table name"));
        }
        cursor.list(TablePattern::parse).map(Targets::Tables)
    }
}

impl TablePattern {
    fn parse(cursor: &mut Cursor<'_>) -> Result<TablePattern> {
        let mut parts = Vec::new();
        loop {
            if cursor.eat_token(&Token::Mul) {
                return Ok(TablePattern { parts, star: true });
            }
            parts.push(cursor.identifier().map_err(|_| cursor.expected("a table name"))?);
            if parts.len() == 3 || !cursor.eat_token(&Token::Period) {
                return Ok(TablePattern { parts, star: false });
            }
        }
    }
}

impl BackupPlace {
    /// `{LATEST | 'subdir'} IN collection`; the error about another form says to write `instead`.
    pub fn parse(cursor: &mut Cursor<'_>, instead: &str) -> Result<BackupPlace> {
        let at = cursor.location();
        if let Some(subdirectory) = Subdirectory::parse_with_in(cursor)? {
            return Ok(BackupPlace { subdirectory, collection: cursor.uris()? });
        }
        // One URI alone, or several in parentheses, is the syntax of old; anything else is just wrong.
        cursor.clone().uris()?;
        let message = "syntax error: a backup is named by its subdirectory and its collection";
        Err(Error::syntax(message, at).hint(format!("Write {instead}.")))
    }
}

impl Subdirectory {
    /// `{LATEST | 'subdir'} IN`, if it is next. A collection may be called latest: LATEST is a keyword only before IN.
    pub fn parse_with_in(cursor: &mut Cursor<'_>) -> Result<Option<Subdirectory>> {
        if cursor.eat("LATEST IN") {
            return Ok(Some(Subdirectory::Latest));
        }
        if !cursor.at_offset(1, "IN") {
            return Ok(None);
        }
        let path = cursor.text()?;
        cursor.require("IN")?;
        Ok(Some(Subdirectory::Path(path)))
    }
}

impl Render for Targets {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match self {
            Targets::Cluster => {}
            Targets::SystemUsers => out.push_str(" SYSTEM USERS"),
            Targets::Databases(names) => {
                out.push_str(" DATABASE ");
                push_list(out, names, |out, name| out.push_str(&quote_ident(name)));
            }
            Targets::Tables(patterns) => {
                out.push_str(" TABLE ");
                push_list(out, patterns, |out, pattern| pattern.render(out, secrets));
            }
        }
    }
}

impl Render for TablePattern {
    fn render(&self, out: &mut String, _: Secrets) {
        let mut parts: Vec<String> = self.parts.iter().map(|part| quote_ident(part)).collect();
        if self.star {
            parts.push("*".into());
        }
        out.push_str(&parts.join("."));
    }
}

impl Render for Subdirectory {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match self {
            Subdirectory::Latest => out.push_str("LATEST"),
            Subdirectory::Path(path) => path.render(out, secrets),
        }
    }
}

impl Render for BackupPlace {
    fn render(&self, out: &mut String, secrets: Secrets) {
        self.subdirectory.render(out, secrets);
        out.push_str(" IN ");
        (&self.collection[..]).render(out, secrets);
    }
}
