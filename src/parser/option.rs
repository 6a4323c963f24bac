//! Options after `WITH`: reading them, each once, and writing them back in one order.

use sqlparser::tokenizer::{Location, Token};

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, push_list};
use super::text::{Bind, Secret, Text, Uri};

/// Which options a list gave, and where.
#[derive(Default)]
pub struct Given(Vec<(&'static str, Location)>);

impl Given {
    /// Where an option was given.
    pub fn at(&self, name: &str) -> Option<Location> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, at)| *at)
    }

    /// Refuses two options together.
    pub fn exclude(&self, one: &str, other: &str) -> Result<()> {
        match (self.at(one), self.at(other)) {
            (Some(first), Some(second)) => {
                let later = if (first.line, first.column) < (second.line, second.column) { second } else { first };
                Err(Error::syntax(format!("options {one} and {other} exclude each other"), later))
            }
            _ => Ok(()),
        }
    }
}

/// `option, ...`: reads the name of each and lets `read` read its value. The list ends before one of `ends`.
pub fn parse_list(
    cursor: &mut Cursor<'_>,
    statement: &str,
    known: &[&'static str],
    ends: &[&str],
    mut read: impl FnMut(&mut Cursor<'_>, &'static str) -> Result<()>,
) -> Result<Given> {
    let mut given = Given::default();
    loop {
        let at = cursor.location();
        let name = cursor.eat_one_of(known).ok_or_else(|| unknown(cursor, statement, known))?;
        let name = if name == STRICT { STRICT_STORAGE_LOCALITY } else { name };
        if given.at(name).is_some() {
            return Err(Error::syntax(format!("option {name} is given twice"), at));
        }
        read(cursor, name)?;
        given.0.push((name, at));
        let ended = ends.iter().any(|end| cursor.at_offset(1, end));
        if ended || !cursor.eat_token(&Token::Comma) {
            return Ok(given);
        }
    }
}

/// `WITH option, ...` or `WITH OPTIONS (option, ...)`, if it is next.
pub fn parse_with(
    cursor: &mut Cursor<'_>,
    statement: &str,
    known: &[&'static str],
    read: impl FnMut(&mut Cursor<'_>, &'static str) -> Result<()>,
) -> Result<Given> {
    if cursor.eat("WITH OPTIONS") {
        cursor.require_token(&Token::LParen)?;
        let given = parse_list(cursor, statement, known, &[], read)?;
        cursor.require_token(&Token::RParen)?;
        return Ok(given);
    }
    // WITH SCHEDULE OPTIONS is another clause.
    if cursor.at_words("WITH SCHEDULE") || !cursor.eat("WITH") {
        return Ok(Given::default());
    }
    if cursor.at_token(&Token::LParen) {
        return Err(cursor.expected("an option").hint("Write WITH a, b or WITH OPTIONS (a, b)."));
    }
    parse_list(cursor, statement, known, &[], read)
}

fn unknown(cursor: &Cursor<'_>, statement: &str, known: &[&str]) -> Error {
    let error = cursor.expected(&format!("an option of {statement}"));
    let mut known = known.to_vec();
    known.retain(|name| *name != STRICT);
    let list = known.join(", ");
    let found = match cursor.peek() {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        _ => return error.hint(format!("Its options are {list}.")),
    };
    let likeness = |name: &str| strsim::jaro_winkler(name, &found);
    known.retain(|name| likeness(name) > 0.8);
    known.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    match known[..] {
        [] => error.hint(format!("Its options are {list}.")),
        [nearest] => error.hint(format!("Did you mean {nearest}?")),
        [nearest, next, ..] => error.hint(format!("Did you mean {nearest}, or {next}?")),
    }
}

/// The full name of the option that may be written `strict`.
pub const STRICT_STORAGE_LOCALITY: &str = "strict storage locality";
/// Its short spelling.
pub const STRICT: &str = "strict";

/// `= value`
pub fn parse_value(cursor: &mut Cursor<'_>) -> Result<Text> {
    cursor.require_token(&Token::Eq)?;
    cursor.text()
}

/// `[= true | false]`
pub fn parse_plain_flag(cursor: &mut Cursor<'_>) -> Result<bool> {
    if cursor.eat_token(&Token::Eq) { cursor.boolean() } else { Ok(true) }
}

/// What it takes to read a backup: the options that `BACKUP`, `RESTORE` and `SHOW BACKUP` share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// The passphrase that encrypts it.
    pub encryption_passphrase: Option<Secret>,
    /// Keys of a key management service that encrypt it.
    pub kms: Vec<Uri>,
    /// Where incremental layers are, if not in the collection.
    pub incremental_location: Vec<Uri>,
}

impl Access {
    /// Their names.
    pub const OPTIONS: [&'static str; 3] = ["encryption_passphrase", "kms", "incremental_location"];

    /// After the name of one of them.
    pub fn read(&mut self, cursor: &mut Cursor<'_>, name: &'static str) -> Result<()> {
        cursor.require_token(&Token::Eq)?;
        match name {
            "encryption_passphrase" => self.encryption_passphrase = Some(Secret::new(cursor.text()?)),
            "kms" => self.kms = cursor.uris()?,
            _ => self.incremental_location = cursor.uris()?,
        }
        Ok(())
    }

    /// Refuses both kinds of encryption together.
    pub fn check(given: &Given) -> Result<()> {
        given.exclude("encryption_passphrase", "kms")
    }

    /// Takes those that are set from `newer`.
    pub fn merge(&mut self, newer: Access) {
        if newer.encryption_passphrase.is_some() {
            (self.encryption_passphrase, self.kms) = (newer.encryption_passphrase, Vec::new());
        }
        if !newer.kms.is_empty() {
            (self.encryption_passphrase, self.kms) = (None, newer.kms);
        }
        if !newer.incremental_location.is_empty() {
            self.incremental_location = newer.incremental_location;
        }
    }

    /// Writes those that are set.
    pub fn write(&self, written: &mut OptionWriter) {
        written.value("encryption_passphrase", self.encryption_passphrase.as_ref());
        written.uris("kms", &self.kms);
        written.uris("incremental_location", &self.incremental_location);
    }
}

impl Bind for Access {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        self.encryption_passphrase.bind(parameters)?;
        self.kms.bind(parameters)?;
        self.incremental_location.bind(parameters)
    }
}

/// Collects the options that are set, as text.
pub struct OptionWriter {
    options: Vec<String>,
    secrets: Secrets,
}

impl OptionWriter {
    pub fn new(secrets: Secrets) -> OptionWriter {
        OptionWriter { options: Vec::new(), secrets }
    }

    pub fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.options.push(name.into());
        }
    }

    pub fn value(&mut self, name: &str, value: Option<&impl Render>) {
        if let Some(value) = value {
            self.options.push(format!("{name} = {}", value.rendered(self.secrets)));
        }
    }

    fn uris(&mut self, name: &str, uris: &[Uri]) {
        if !uris.is_empty() {
            self.value(name, Some(&uris));
        }
    }

    /// `a, b`
    pub fn list(self) -> String {
        self.options.join(", ")
    }

    /// ` WITH OPTIONS (a, b)`, or nothing.
    pub fn finish(self, out: &mut String) {
        if !self.options.is_empty() {
            out.push_str(&format!(" WITH OPTIONS ({})", self.list()));
        }
    }

    /// ` WITH a, b`, or nothing.
    pub fn finish_plain(self, out: &mut String) {
        if !self.options.is_empty() {
            out.push_str(&format!(" WITH {}", self.list()));
        }
    }
}

impl Render for &[Uri] {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match self {
            [uri] => uri.render(out, secrets),
            uris => {
                out.push('(');
                push_list(out, uris, |out, uri| uri.render(out, secrets));
                out.push(')');
            }
        }
    }
}
