use sqlparser::ast::{Expr, Value};
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::option::{self, Access, Given, OptionWriter, STRICT, STRICT_STORAGE_LOCALITY};
use super::render::{Render, Secrets, display_redacted, sql_text};
use super::target::{Subdirectory, Targets};
use super::text::{Bind, Flag, Text, Uri};

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
    pub revision_history: Option<Flag>,
    /// Return the job's id at once.
    pub detached: bool,
    /// Encryption, and where incremental layers are.
    pub access: Access,
    /// Which nodes do the work.
    pub execution_locality: Option<Text>,
    /// Refuse to store data outside its locality.
    pub strict_storage_locality: bool,
    /// Count this backup in the metrics.
    pub updates_cluster_monitoring_metrics: Option<Flag>,
    /// Back up every virtual cluster too.
    pub include_all_virtual_clusters: Option<Flag>,
}

display_redacted!(Backup);

impl Backup {
    /// The same backup, of another time.
    pub fn at(mut self, time: String) -> Backup {
        self.as_of = Some(Expr::Value(Value::SingleQuotedString(time).into()));
        self
    }

    /// After `BACKUP`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Backup> {
        let targets = parse_targets(cursor)?;
        cursor.require("INTO")?;
        let subdirectory = Subdirectory::parse_with_in(cursor)?;
        let collection = cursor.uris()?;
        let as_of = cursor.as_of()?;
        let mut options = BackupOptions::default();
        let read = |cursor: &mut Cursor<'_>, name| options.read(cursor, name);
        Access::check(&option::parse_with(cursor, "BACKUP", &BackupOptions::NAMES, read)?)?;
        Ok(Backup { targets, subdirectory, collection, as_of, options })
    }
}

/// The targets of a backup, which may be left out.
pub fn parse_targets(cursor: &mut Cursor<'_>) -> Result<Targets> {
    let targets =
        if cursor.at("INTO") || cursor.at("TO") { Targets::Cluster } else { Targets::parse(cursor, &["INTO", "TO"])? };
    if cursor.at("TO") {
        let error = Error::syntax("syntax error: BACKUP ... TO was removed", cursor.location());
        let hint = "Write BACKUP ... INTO 'collection', or INTO LATEST IN 'collection' for an incremental backup.";
        return Err(error.hint(hint));
    }
    Ok(targets)
}

impl BackupOptions {
    /// Their names, in canonical order.
    pub const NAMES: [&'static str; 10] = [
        "revision_history",
        "detached",
        Access::OPTIONS[0],
        Access::OPTIONS[1],
        Access::OPTIONS[2],
        "execution locality",
        STRICT_STORAGE_LOCALITY,
        STRICT,
        "updates_cluster_monitoring_metrics",
        "include_all_virtual_clusters",
    ];

    /// `option, ...` up to one of `ends`.
    pub fn parse_list(cursor: &mut Cursor<'_>, ends: &[&str]) -> Result<(BackupOptions, Given)> {
        let mut options = BackupOptions::default();
        let read = |cursor: &mut Cursor<'_>, name| options.read(cursor, name);
        let given = option::parse_list(cursor, "BACKUP", &BackupOptions::NAMES, ends, read)?;
        Access::check(&given)?;
        Ok((options, given))
    }

    /// After the name of one of them.
    fn read(&mut self, cursor: &mut Cursor<'_>, name: &'static str) -> Result<()> {
        let flag = |cursor: &mut Cursor<'_>| {
            if cursor.eat_token(&Token::Eq) { cursor.flag() } else { Ok(Flag::Value(true)) }
        };
        match name {
            "revision_history" => self.revision_history = Some(flag(cursor)?),
            "detached" => self.detached = option::parse_plain_flag(cursor)?,
            "execution locality" => self.execution_locality = Some(option::parse_value(cursor)?),
            STRICT_STORAGE_LOCALITY => self.strict_storage_locality = true,
            "updates_cluster_monitoring_metrics" => self.updates_cluster_monitoring_metrics = Some(flag(cursor)?),
            "include_all_virtual_clusters" => self.include_all_virtual_clusters = Some(flag(cursor)?),
            access => self.access.read(cursor, access)?,
        }
        Ok(())
    }

    /// Takes those that are set from `newer`.
    pub fn merge(&mut self, newer: BackupOptions) {
        self.revision_history = newer.revision_history.or(self.revision_history.take());
        self.detached |= newer.detached;
        self.access.merge(newer.access);
        self.execution_locality = newer.execution_locality.or(self.execution_locality.take());
        self.strict_storage_locality |= newer.strict_storage_locality;
        let metrics = newer.updates_cluster_monitoring_metrics;
        self.updates_cluster_monitoring_metrics = metrics.or(self.updates_cluster_monitoring_metrics.take());
        self.include_all_virtual_clusters =
            newer.include_all_virtual_clusters.or(self.include_all_virtual_clusters.take());
    }

    /// Those that are set, as text.
    pub fn write(&self, secrets: Secrets) -> OptionWriter {
        let mut written = OptionWriter::new(secrets);
        written.value("revision_history", self.revision_history.as_ref());
        written.flag("detached", self.detached);
        self.access.write(&mut written);
        written.value("execution locality", self.execution_locality.as_ref());
        written.flag(STRICT_STORAGE_LOCALITY, self.strict_storage_locality);
        written.value("updates_cluster_monitoring_metrics", self.updates_cluster_monitoring_metrics.as_ref());
        written.value("include_all_virtual_clusters", self.include_all_virtual_clusters.as_ref());
        written
    }
}

impl Bind for BackupOptions {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        self.revision_history.bind(parameters)?;
        self.access.bind(parameters)?;
        self.execution_locality.bind(parameters)?;
        self.updates_cluster_monitoring_metrics.bind(parameters)?;
        self.include_all_virtual_clusters.bind(parameters)
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
        (&self.collection[..]).render(out, secrets);
        if let Some(time) = &self.as_of {
            out.push_str(&format!(" AS OF SYSTEM TIME {}", sql_text(time)));
        }
        self.options.write(secrets).finish(out);
    }
}
