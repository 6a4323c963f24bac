//! `BACKUP`, `RESTORE`, `SHOW BACKUPS` and `SHOW BACKUP`.

use sqlparser::ast::Expr;
use sqlparser::tokenizer::{Location, Token};

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident};
use super::text::{Secret, Text, Uri};

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

/// `BACKUP`
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// What to back up.
    pub targets: Targets,
    /// The chain to add to; `None` starts a new one.
    pub subdirectory: Option<Subdirectory>,
    /// The collection; further URIs are for localities.
    pub collection: Vec<Uri>,
    /// The time to back up; now, if left out.
    pub as_of: Option<Expr>,
    /// Options.
    pub options: BackupOptions,
}

/// Options of `BACKUP`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackupOptions {
    /// Keep every version, not only the last.
    pub revision_history: Option<Text>,
    /// Return the job's id at once.
    pub detached: bool,
    /// Encrypt with a passphrase.
    pub encryption_passphrase: Option<Secret>,
    /// Encrypt with keys of a key management service.
    pub kms: Vec<Uri>,
    /// Where incremental layers are, if not in the collection.
    pub incremental_location: Vec<Uri>,
    /// Which nodes do the work.
    pub execution_locality: Option<Text>,
    /// Refuse to store data outside its locality.
    pub strict_storage_locality: bool,
    /// Count this backup in the metrics.
    pub updates_cluster_monitoring_metrics: Option<Text>,
    /// Accepted by the grammar.
    pub include_all_virtual_clusters: Option<Text>,
}

/// `RESTORE`
#[derive(Clone, Debug, PartialEq)]
pub struct Restore {
    /// What to restore.
    pub targets: Targets,
    /// Which backup.
    pub subdirectory: Subdirectory,
    /// The collection.
    pub collection: Vec<Uri>,
    /// The time to restore; the end of the backup, if left out.
    pub as_of: Option<Expr>,
    /// Options.
    pub options: RestoreOptions,
}

/// Options of `RESTORE`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestoreOptions {
    /// Return the job's id at once.
    pub detached: bool,
    /// The passphrase of an encrypted backup.
    pub encryption_passphrase: Option<Secret>,
    /// Keys of a key management service.
    pub kms: Vec<Uri>,
    /// Where incremental layers are, if not in the collection.
    pub incremental_location: Vec<Uri>,
    /// Restore tables into this database.
    pub into_db: Option<Text>,
    /// Restore the database under this name.
    pub new_db_name: Option<Text>,
    /// Which nodes do the work.
    pub execution_locality: Option<Text>,
    /// Options that are words alone, in the order of [`RESTORE_FLAGS`].
    pub flags: Vec<&'static str>,
}

/// Options of `RESTORE` that take no value, `detached` apart, in canonical order.
const RESTORE_FLAGS: [&str; 10] = [
    "schema_only",
    "verify_backup_table_data",
    "skip_missing_foreign_keys",
    "skip_missing_sequences",
    "skip_missing_sequence_owners",
    "skip_missing_views",
    "skip_missing_udfs",
    "skip_localities_check",
    "remove_regions",
    "unsafe_restore_incompatible_version",
];

/// `SHOW BACKUPS IN`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowBackups {
    /// The collection.
    pub collection: Vec<Uri>,
}

/// `SHOW BACKUP FROM`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowBackup {
    /// `SCHEMAS`, `FILES`, `RANGES` or `VALIDATE`.
    pub details: Option<&'static str>,
    /// Which backup.
    pub subdirectory: Subdirectory,
    /// The collection.
    pub collection: Vec<Uri>,
    /// Options, by name, with the secret of those that have one.
    pub options: Vec<(&'static str, Option<Secret>)>,
}

const SHOW_DETAILS: [&str; 4] = ["SCHEMAS", "FILES", "RANGES", "VALIDATE"];
/// Options of `SHOW BACKUP`; those with `true` take a value.
const SHOW_OPTIONS: [(&str, bool); 8] = [
    ("as_json", false),
    ("check_files", false),
    ("debug_ids", false),
    ("encryption_passphrase", true),
    ("kms", true),
    ("incremental_location", true),
    ("privileges", false),
    ("skip size", false),
];

display_redacted!(Backup, Restore, ShowBackups, ShowBackup, TablePattern);

/// After `BACKUP`.
pub fn parse_backup(cursor: &mut Cursor<'_>) -> Result<Backup> {
    let none = cursor.at("INTO") || (cursor.at("TO") && !cursor.at_offset(1, "INTO"));
    let targets = if none { Targets::Cluster } else { parse_targets(cursor, &["INTO", "TO"])? };
    if cursor.at("TO") {
        let error = Error::syntax("syntax error: BACKUP ... TO was removed", cursor.location());
        return Err(
            error.hint("Write BACKUP ... INTO 'collection', or INTO LATEST IN 'collection' for an incremental backup.")
        );
    }
    cursor.expect("INTO")?;
    // A collection may be called by a bare word, so LATEST is the keyword only before IN.
    let subdirectory = if cursor.eat("LATEST IN") {
        Some(Subdirectory::Latest)
    } else if cursor.peek() != Some(&Token::LParen) && cursor.at_offset(1, "IN") {
        let path = cursor.text()?;
        cursor.expect("IN")?;
        Some(Subdirectory::Path(path))
    } else {
        None
    };
    let collection = parse_uris(cursor)?;
    let as_of = cursor.as_of()?;
    let mut options = BackupOptions::default();
    parse_options(cursor, |cursor| parse_backup_option(cursor, &mut options))?;
    exclude(
        cursor,
        options.encryption_passphrase.is_some() && !options.kms.is_empty(),
        "encryption_passphrase",
        "kms",
    )?;
    Ok(Backup { targets, subdirectory, collection, as_of, options })
}

fn parse_backup_option(cursor: &mut Cursor<'_>, options: &mut BackupOptions) -> Result<()> {
    let at = cursor.location();
    if cursor.eat("revision_history") {
        let value = parse_flag_value(cursor)?;
        set_once(&mut options.revision_history, value, "revision_history", at)
    } else if cursor.eat("detached") {
        let detached = match parse_flag_value(cursor)? {
            Text::Literal(value) => value == "true",
            Text::Placeholder(_) => return Err(Error::syntax("detached takes true or false", at)),
        };
        refuse_twice(options.detached, "detached", at)?;
        options.detached = detached;
        Ok(())
    } else if cursor.eat("encryption_passphrase") {
        let secret = Secret::new(parse_value(cursor)?);
        set_once(&mut options.encryption_passphrase, secret, "encryption_passphrase", at)
    } else if cursor.eat("kms") {
        set_list_once(&mut options.kms, parse_value_uris(cursor)?, "kms", at)
    } else if cursor.eat("incremental_location") {
        set_list_once(&mut options.incremental_location, parse_value_uris(cursor)?, "incremental_location", at)
    } else if cursor.eat("execution locality") {
        let value = parse_value(cursor)?;
        set_once(&mut options.execution_locality, value, "execution locality", at)
    } else if cursor.eat("strict") {
        cursor.eat("storage locality");
        refuse_twice(options.strict_storage_locality, "strict storage locality", at)?;
        options.strict_storage_locality = true;
        Ok(())
    } else if cursor.eat("updates_cluster_monitoring_metrics") {
        let value = parse_flag_value(cursor)?;
        set_once(&mut options.updates_cluster_monitoring_metrics, value, "updates_cluster_monitoring_metrics", at)
    } else if cursor.eat("include_all_virtual_clusters") {
        let value = parse_flag_value(cursor)?;
        set_once(&mut options.include_all_virtual_clusters, value, "include_all_virtual_clusters", at)
    } else {
        Err(unknown_option(cursor, "BACKUP", &BACKUP_OPTIONS))
    }
}

const BACKUP_OPTIONS: [&str; 9] = [
    "revision_history",
    "detached",
    "encryption_passphrase",
    "kms",
    "incremental_location",
    "execution locality",
    "strict storage locality",
    "updates_cluster_monitoring_metrics",
    "include_all_virtual_clusters",
];

/// After `RESTORE`.
pub fn parse_restore(cursor: &mut Cursor<'_>) -> Result<Restore> {
    let targets = if cursor.at("FROM") {
        Targets::Cluster
    } else if cursor.eat("SYSTEM USERS") {
        Targets::SystemUsers
    } else {
        parse_targets(cursor, &["FROM"])?
    };
    let at = cursor.location();
    cursor.expect("FROM")?;
    let subdirectory = parse_subdirectory(cursor, "RESTORE ... FROM LATEST IN 'collection'")?;
    let collection = parse_uris(cursor)?;
    let as_of = cursor.as_of()?;
    let mut options = RestoreOptions::default();
    parse_options(cursor, |cursor| parse_restore_option(cursor, &mut options))?;
    options.flags.sort_by_key(|flag| RESTORE_FLAGS.iter().position(|known| known == flag));
    exclude(
        cursor,
        options.encryption_passphrase.is_some() && !options.kms.is_empty(),
        "encryption_passphrase",
        "kms",
    )?;
    let refuse = |message: &str| Err(Error::syntax(message, at));
    if options.flags.contains(&"verify_backup_table_data") && !options.flags.contains(&"schema_only") {
        return refuse("option verify_backup_table_data needs option schema_only");
    }
    match &targets {
        Targets::Databases(names) if options.new_db_name.is_some() && names.len() > 1 => {
            return refuse("option new_db_name works only when one database is restored");
        }
        Targets::Tables(_) | Targets::Cluster | Targets::SystemUsers if options.new_db_name.is_some() => {
            return refuse("option new_db_name works only with RESTORE DATABASE");
        }
        Targets::Databases(_) | Targets::Cluster | Targets::SystemUsers if options.into_db.is_some() => {
            return refuse("option into_db works only when tables are restored");
        }
        _ => {}
    }
    Ok(Restore { targets, subdirectory, collection, as_of, options })
}

fn parse_restore_option(cursor: &mut Cursor<'_>, options: &mut RestoreOptions) -> Result<()> {
    let at = cursor.location();
    if let Some(flag) = RESTORE_FLAGS.into_iter().find(|flag| cursor.eat(flag)) {
        refuse_twice(options.flags.contains(&flag), flag, at)?;
        options.flags.push(flag);
        Ok(())
    } else if cursor.eat("detached") {
        refuse_twice(options.detached, "detached", at)?;
        options.detached = parse_flag_value(cursor)? == Text::Literal("true".into());
        Ok(())
    } else if cursor.eat("encryption_passphrase") {
        let secret = Secret::new(parse_value(cursor)?);
        set_once(&mut options.encryption_passphrase, secret, "encryption_passphrase", at)
    } else if cursor.eat("kms") {
        set_list_once(&mut options.kms, parse_value_uris(cursor)?, "kms", at)
    } else if cursor.eat("incremental_location") {
        set_list_once(&mut options.incremental_location, parse_value_uris(cursor)?, "incremental_location", at)
    } else if cursor.eat("into_db") {
        set_once(&mut options.into_db, parse_value(cursor)?, "into_db", at)
    } else if cursor.eat("new_db_name") {
        set_once(&mut options.new_db_name, parse_value(cursor)?, "new_db_name", at)
    } else if cursor.eat("execution locality") {
        let value = parse_value(cursor)?;
        set_once(&mut options.execution_locality, value, "execution locality", at)
    } else {
        let others = ["detached", "encryption_passphrase", "kms", "incremental_location", "into_db", "new_db_name"];
        Err(unknown_option(cursor, "RESTORE", &[&RESTORE_FLAGS[..], &others, &["execution locality"]].concat()))
    }
}

/// After `SHOW BACKUPS`.
pub fn parse_show_backups(cursor: &mut Cursor<'_>) -> Result<ShowBackups> {
    cursor.expect("IN")?;
    Ok(ShowBackups { collection: parse_uris(cursor)? })
}

/// After `SHOW BACKUP`.
pub fn parse_show_backup(cursor: &mut Cursor<'_>) -> Result<ShowBackup> {
    if cursor.at("CONNECTION") {
        return Err(Error::unsupported("SHOW BACKUP CONNECTION", cursor.location()));
    }
    let details = SHOW_DETAILS.into_iter().find(|details| cursor.eat(details));
    cursor.eat("FROM");
    let subdirectory = parse_subdirectory(cursor, "SHOW BACKUP FROM LATEST IN 'collection'")?;
    let collection = parse_uris(cursor)?;
    let mut options: Vec<(&'static str, Option<Secret>)> = Vec::new();
    parse_options(cursor, |cursor| {
        let at = cursor.location();
        let Some((name, takes_value)) = SHOW_OPTIONS.into_iter().find(|(name, _)| cursor.eat(name)) else {
            return Err(unknown_option(cursor, "SHOW BACKUP", &SHOW_OPTIONS.map(|(name, _)| name)));
        };
        refuse_twice(options.iter().any(|(set, _)| *set == name), name, at)?;
        let value = if takes_value { Some(Secret::new(parse_value(cursor)?)) } else { None };
        options.push((name, value));
        Ok(())
    })?;
    options.sort_by_key(|(name, _)| SHOW_OPTIONS.iter().position(|(known, _)| known == name));
    Ok(ShowBackup { details, subdirectory, collection, options })
}

fn parse_targets(cursor: &mut Cursor<'_>, end: &[&str]) -> Result<Targets> {
    let word_is_name =
        |cursor: &Cursor<'_>| end.iter().any(|end| cursor.at_offset(1, end)) || is_punctuation(cursor, 1);
    if !word_is_name(cursor) && cursor.eat("DATABASE") {
        return cursor.list(Cursor::identifier).map(Targets::Databases);
    }
    if !word_is_name(cursor) {
        cursor.eat("TABLE");
    }
    cursor.list(parse_pattern).map(Targets::Tables)
}

fn is_punctuation(cursor: &Cursor<'_>, offset: usize) -> bool {
    cursor.rest().get(offset).is_some_and(|token| matches!(token.token, Token::Period | Token::Comma))
}

fn parse_pattern(cursor: &mut Cursor<'_>) -> Result<TablePattern> {
    let mut parts = Vec::new();
    loop {
        if cursor.eat_token(&Token::Mul) {
            return Ok(TablePattern { parts, star: true });
        }
        parts.push(cursor.identifier()?);
        if parts.len() == 3 || !cursor.eat_token(&Token::Period) {
            return Ok(TablePattern { parts, star: false });
        }
    }
}

fn parse_subdirectory(cursor: &mut Cursor<'_>, instead: &str) -> Result<Subdirectory> {
    if cursor.eat("LATEST IN") {
        return Ok(Subdirectory::Latest);
    }
    let at = cursor.location();
    if cursor.peek() != Some(&Token::LParen) {
        let path = cursor.text()?;
        if cursor.eat("IN") {
            return Ok(Subdirectory::Path(path));
        }
    }
    Err(Error::syntax("syntax error: a backup is named by its subdirectory and its collection", at)
        .hint(format!("Write {instead}.")))
}

fn parse_uris(cursor: &mut Cursor<'_>) -> Result<Vec<Uri>> {
    Ok(cursor.texts()?.into_iter().map(Uri::new).collect())
}

/// `WITH option, ...` or `WITH OPTIONS (option, ...)`, if it is next.
fn parse_options(cursor: &mut Cursor<'_>, mut option: impl FnMut(&mut Cursor<'_>) -> Result<()>) -> Result<()> {
    if !cursor.eat("WITH") {
        return Ok(());
    }
    let in_parentheses = cursor.eat("OPTIONS") || cursor.peek() == Some(&Token::LParen);
    if in_parentheses {
        cursor.expect_token(&Token::LParen)?;
    }
    cursor.list(&mut option)?;
    if in_parentheses {
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(())
}

fn parse_value(cursor: &mut Cursor<'_>) -> Result<Text> {
    cursor.expect_token(&Token::Eq)?;
    cursor.text()
}

fn parse_value_uris(cursor: &mut Cursor<'_>) -> Result<Vec<Uri>> {
    cursor.expect_token(&Token::Eq)?;
    parse_uris(cursor)
}

/// `[= true | false | 'true' | 'false' | $n]`
fn parse_flag_value(cursor: &mut Cursor<'_>) -> Result<Text> {
    if !cursor.eat_token(&Token::Eq) {
        return Ok(Text::Literal("true".into()));
    }
    match cursor.clone().text()? {
        Text::Literal(value) if !["true", "false"].contains(&value.to_ascii_lowercase().as_str()) => {
            Err(cursor.expected("true or false"))
        }
        Text::Literal(_) => cursor.text().map(|text| match text {
            Text::Literal(value) => Text::Literal(value.to_ascii_lowercase()),
            placeholder => placeholder,
        }),
        Text::Placeholder(_) => cursor.text(),
    }
}

fn refuse_twice(set: bool, name: &str, at: Location) -> Result<()> {
    if set { Err(Error::syntax(format!("option {name} is given twice"), at)) } else { Ok(()) }
}

fn set_once<T>(slot: &mut Option<T>, value: T, name: &str, at: Location) -> Result<()> {
    refuse_twice(slot.is_some(), name, at)?;
    *slot = Some(value);
    Ok(())
}

fn set_list_once<T>(slot: &mut Vec<T>, value: Vec<T>, name: &str, at: Location) -> Result<()> {
    refuse_twice(!slot.is_empty(), name, at)?;
    *slot = value;
    Ok(())
}

fn exclude(cursor: &Cursor<'_>, both: bool, one: &str, other: &str) -> Result<()> {
    if both {
        Err(Error::syntax(format!("options {one} and {other} exclude each other"), cursor.location()))
    } else {
        Ok(())
    }
}

fn unknown_option(cursor: &Cursor<'_>, statement: &str, known: &[&str]) -> Error {
    let error = cursor.expected(&format!("an option of {statement}"));
    let found = match cursor.peek() {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        _ => return error,
    };
    let mut nearest = known.to_vec();
    nearest.sort_by_key(|known| strsim::damerau_levenshtein(known, &found));
    error.hint(format!("Did you mean {}?", nearest[..3.min(nearest.len())].join(", ")))
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

impl Render for Targets {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match self {
            Targets::Cluster => {}
            Targets::Databases(names) => {
                out.push_str(" DATABASE ");
                push_list(out, names, |out, name| out.push_str(&quote_ident(name)));
            }
            Targets::Tables(patterns) => {
                out.push_str(" TABLE ");
                push_list(out, patterns, |out, pattern| pattern.render(out, secrets));
            }
            Targets::SystemUsers => out.push_str(" SYSTEM USERS"),
        }
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

impl Render for [Uri] {
    fn render(&self, out: &mut String, secrets: Secrets) {
        if let [uri] = self {
            uri.render(out, secrets);
        } else {
            out.push('(');
            push_list(out, self, |out, uri| uri.render(out, secrets));
            out.push(')');
        }
    }
}

impl Render for Backup {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("BACKUP");
        self.targets.render(out, secrets);
        out.push_str(" INTO ");
        if let Some(subdirectory) = &self.subdirectory {
            subdirectory.render(out, secrets);
            out.push_str(" IN ");
        }
        self.collection.render(out, secrets);
        if let Some(time) = &self.as_of {
            out.push_str(&format!(" AS OF SYSTEM TIME {time}"));
        }
        let options = &self.options;
        let mut written = OptionWriter::new(secrets);
        written.value("revision_history", options.revision_history.as_ref());
        written.flag("detached", options.detached);
        written.value("encryption_passphrase", options.encryption_passphrase.as_ref());
        written.list("kms", &options.kms);
        written.list("incremental_location", &options.incremental_location);
        written.value("execution locality", options.execution_locality.as_ref());
        written.flag("strict storage locality", options.strict_storage_locality);
        written.value("updates_cluster_monitoring_metrics", options.updates_cluster_monitoring_metrics.as_ref());
        written.value("include_all_virtual_clusters", options.include_all_virtual_clusters.as_ref());
        written.finish(out);
    }
}

impl Render for Restore {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("RESTORE");
        self.targets.render(out, secrets);
        out.push_str(" FROM ");
        self.subdirectory.render(out, secrets);
        out.push_str(" IN ");
        self.collection.render(out, secrets);
        if let Some(time) = &self.as_of {
            out.push_str(&format!(" AS OF SYSTEM TIME {time}"));
        }
        let options = &self.options;
        let mut written = OptionWriter::new(secrets);
        written.flag("detached", options.detached);
        written.value("encryption_passphrase", options.encryption_passphrase.as_ref());
        written.list("kms", &options.kms);
        written.list("incremental_location", &options.incremental_location);
        written.value("into_db", options.into_db.as_ref());
        written.value("new_db_name", options.new_db_name.as_ref());
        options.flags.iter().for_each(|flag| written.flag(flag, true));
        written.value("execution locality", options.execution_locality.as_ref());
        written.finish(out);
    }
}

impl Render for ShowBackups {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("SHOW BACKUPS IN ");
        self.collection.render(out, secrets);
    }
}

impl Render for ShowBackup {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("SHOW BACKUP ");
        if let Some(details) = self.details {
            out.push_str(&format!("{details} "));
        }
        out.push_str("FROM ");
        self.subdirectory.render(out, secrets);
        out.push_str(" IN ");
        self.collection.render(out, secrets);
        let mut written = OptionWriter::new(secrets);
        for (name, value) in &self.options {
            match value {
                Some(value) => written.value(name, Some(value)),
                None => written.flag(name, true),
            }
        }
        written.finish(out);
    }
}

/// Collects the options that are set.
struct OptionWriter {
    options: Vec<String>,
    secrets: Secrets,
}

impl OptionWriter {
    fn new(secrets: Secrets) -> OptionWriter {
        OptionWriter { options: Vec::new(), secrets }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.options.push(name.into());
        }
    }

    fn value(&mut self, name: &str, value: Option<&impl Render>) {
        if let Some(value) = value {
            let mut option = format!("{name} = ");
            value.render(&mut option, self.secrets);
            let unquoted = ["'true'", "'false'"].iter().find(|quoted| option.ends_with(**quoted));
            let is_flag =
                BACKUP_OPTIONS.contains(&name) && name != "encryption_passphrase" && name != "execution locality";
            if let Some(quoted) = unquoted
                && is_flag
            {
                option.truncate(option.len() - quoted.len());
                option.push_str(quoted.trim_matches('\''));
            }
            self.options.push(option);
        }
    }

    fn list(&mut self, name: &str, uris: &[Uri]) {
        if !uris.is_empty() {
            let mut option = format!("{name} = ");
            uris.render(&mut option, self.secrets);
            self.options.push(option);
        }
    }

    fn finish(self, out: &mut String) {
        if !self.options.is_empty() {
            out.push_str(&format!(" WITH OPTIONS ({})", self.options.join(", ")));
        }
    }
}
