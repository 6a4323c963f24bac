//! External connections: names for storage URIs.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::option::{self, OptionWriter};
use super::render::{Render, Secrets, display_redacted};
use super::text::{Integer, Text, Uri};

/// A statement about external connections.
#[derive(Clone, Debug, PartialEq)]
pub enum ExternalConnection {
    /// `CREATE EXTERNAL CONNECTION [IF NOT EXISTS] name AS 'uri'`
    Create {
        /// Its name.
        name: Text,
        /// What it stands for.
        uri: Uri,
        /// Whether one that is there already is no error.
        if_not_exists: bool,
    },
    /// `ALTER EXTERNAL CONNECTION [IF EXISTS] name AS 'uri'`
    Alter {
        /// Its name.
        name: Text,
        /// What it stands for from now on.
        uri: Uri,
        /// Whether one that is not there is no error.
        if_exists: bool,
    },
    /// `DROP EXTERNAL CONNECTION name`
    Drop(Text),
    /// `SHOW EXTERNAL CONNECTIONS`, `SHOW EXTERNAL CONNECTION name`
    Show(Option<Text>),
    /// `SHOW CREATE ALL EXTERNAL CONNECTIONS`, `SHOW CREATE EXTERNAL CONNECTION name`
    ShowCreate(Option<Text>),
    /// `CHECK EXTERNAL CONNECTION 'uri' [WITH ...]`
    Check {
        /// The storage to try.
        uri: Uri,
        /// Options.
        options: CheckOptions,
    },
}

/// Options of `CHECK EXTERNAL CONNECTION` and `SHOW BACKUP CONNECTION`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckOptions {
    /// How many bytes to send: `'50MiB'`.
    pub transfer: Option<Text>,
    /// How long to try: `'10s'`.
    pub time: Option<Text>,
    /// How many connections at once.
    pub concurrently: Option<Integer>,
}

display_redacted!(ExternalConnection);

impl ExternalConnection {
    /// After `CREATE EXTERNAL CONNECTION`.
    pub fn parse_create(cursor: &mut Cursor<'_>) -> Result<ExternalConnection> {
        let if_not_exists = cursor.eat("IF NOT EXISTS");
        let name = cursor.text()?;
        cursor.require("AS")?;
        Ok(ExternalConnection::Create { name, uri: Uri::new(cursor.text()?), if_not_exists })
    }

    /// After `ALTER EXTERNAL CONNECTION`.
    pub fn parse_alter(cursor: &mut Cursor<'_>) -> Result<ExternalConnection> {
        let if_exists = cursor.eat("IF EXISTS");
        let name = cursor.text()?;
        cursor.require("AS")?;
        Ok(ExternalConnection::Alter { name, uri: Uri::new(cursor.text()?), if_exists })
    }

    /// After `CHECK EXTERNAL CONNECTION`.
    pub fn parse_check(cursor: &mut Cursor<'_>) -> Result<ExternalConnection> {
        let uri = Uri::new(cursor.text()?);
        let options = CheckOptions::parse(cursor, "CHECK EXTERNAL CONNECTION", &["TRANSFER", "TIME", "CONCURRENTLY"])?;
        Ok(ExternalConnection::Check { uri, options })
    }

    /// Which statement it is.
    pub fn name(&self) -> &'static str {
        match self {
            ExternalConnection::Create { .. } => "CREATE EXTERNAL CONNECTION",
            ExternalConnection::Alter { .. } => "ALTER EXTERNAL CONNECTION",
            ExternalConnection::Drop(_) => "DROP EXTERNAL CONNECTION",
            ExternalConnection::Show(None) => "SHOW EXTERNAL CONNECTIONS",
            ExternalConnection::Show(Some(_)) => "SHOW EXTERNAL CONNECTION",
            ExternalConnection::ShowCreate(None) => "SHOW CREATE ALL EXTERNAL CONNECTIONS",
            ExternalConnection::ShowCreate(Some(_)) => "SHOW CREATE EXTERNAL CONNECTION",
            ExternalConnection::Check { .. } => "CHECK EXTERNAL CONNECTION",
        }
    }
}

impl CheckOptions {
    /// `WITH option = value, ...`, if it is next.
    pub fn parse(cursor: &mut Cursor<'_>, statement: &str, known: &[&'static str]) -> Result<CheckOptions> {
        let mut options = CheckOptions::default();
        if cursor.eat("WITH") {
            option::parse_list(cursor, statement, known, &[], |cursor, name| {
                cursor.require_token(&Token::Eq)?;
                match name {
                    "TRANSFER" => options.transfer = Some(cursor.text()?),
                    "TIME" => options.time = Some(cursor.text()?),
                    _ => options.concurrently = Some(cursor.integer("a number of connections")?),
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

impl Render for CheckOptions {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let mut written = OptionWriter::new(secrets);
        written.value("TRANSFER", self.transfer.as_ref());
        written.value("TIME", self.time.as_ref());
        written.value("CONCURRENTLY", self.concurrently.as_ref());
        written.finish_plain(out);
    }
}

impl Render for ExternalConnection {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str(self.name());
        let mut words = Vec::new();
        match self {
            ExternalConnection::Create { name, uri, if_not_exists } => {
                words.extend(if_not_exists.then(|| "IF NOT EXISTS".to_string()));
                words.extend([name.rendered(secrets), "AS".into(), uri.rendered(secrets)]);
            }
            ExternalConnection::Alter { name, uri, if_exists } => {
                words.extend(if_exists.then(|| "IF EXISTS".to_string()));
                words.extend([name.rendered(secrets), "AS".into(), uri.rendered(secrets)]);
            }
            ExternalConnection::Drop(name) => words.push(name.rendered(secrets)),
            ExternalConnection::Show(name) | ExternalConnection::ShowCreate(name) => {
                words.extend(name.as_ref().map(|name| name.rendered(secrets)));
            }
            ExternalConnection::Check { uri, .. } => words.push(uri.rendered(secrets)),
        }
        words.iter().for_each(|word| out.push_str(&format!(" {word}")));
        if let ExternalConnection::Check { options, .. } = self {
            options.render(out, secrets);
        }
    }
}
