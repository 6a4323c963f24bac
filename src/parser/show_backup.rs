//! `SHOW BACKUPS`, `SHOW BACKUP` and `SHOW BACKUP CONNECTION`.

use super::connection::CheckOptions;
use super::cursor::Cursor;
use super::error::Result;
use super::option::{self, Access, OptionWriter};
use super::render::{Render, Secrets, display_redacted};
use super::target::BackupPlace;
use super::text::Uri;

/// `SHOW BACKUPS IN`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowBackups {
    /// The collection.
    pub collection: Vec<Uri>,
}

/// `SHOW BACKUP FROM`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowBackup {
    /// What of it.
    pub details: Option<BackupDetails>,
    /// Which backup.
    pub backup: BackupPlace,
    /// Options.
    pub options: ShowBackupOptions,
}

/// What `SHOW BACKUP` shows instead of the objects in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupDetails {
    /// `SCHEMAS`: the statements that create them.
    Schemas,
    /// `FILES`: its data files.
    Files,
    /// `RANGES`: the spans of its data files.
    Ranges,
    /// `VALIDATE`: whether every file is there and sound.
    Validate,
}

/// Options of `SHOW BACKUP`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShowBackupOptions {
    /// Encryption, and where incremental layers are.
    pub access: Access,
    /// Options that are words alone, in canonical order.
    pub flags: Vec<&'static str>,
}

/// `SHOW BACKUP CONNECTION`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowBackupConnection {
    /// The storage to try.
    pub uri: Uri,
    /// Options.
    pub options: CheckOptions,
}

display_redacted!(ShowBackups, ShowBackup, ShowBackupConnection);

impl ShowBackups {
    /// After `SHOW BACKUPS`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<ShowBackups> {
        cursor.require("IN")?;
        Ok(ShowBackups { collection: cursor.uris()? })
    }
}

impl BackupDetails {
    const ALL: [(BackupDetails, &'static str); 4] = [
        (BackupDetails::Schemas, "SCHEMAS"),
        (BackupDetails::Files, "FILES"),
        (BackupDetails::Ranges, "RANGES"),
        (BackupDetails::Validate, "VALIDATE"),
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        BackupDetails::ALL[self as usize].1
    }
}

impl ShowBackup {
    /// After `SHOW BACKUP`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<ShowBackup> {
        // A subdirectory may be called schemas.
        let is_name = cursor.at_offset(1, "IN");
        let details = BackupDetails::ALL.into_iter().find(|(_, word)| !is_name && cursor.eat(word));
        cursor.eat("FROM");
        let backup = BackupPlace::parse(cursor, "SHOW BACKUP FROM LATEST IN 'collection'")?;
        let mut options = ShowBackupOptions::default();
        let given = option::parse_with(cursor, "SHOW BACKUP", &ShowBackupOptions::NAMES, |cursor, name| {
            if Access::OPTIONS.contains(&name) {
                return options.access.read(cursor, name);
            }
            options.flags.push(name);
            Ok(())
        })?;
        Access::check(&given)?;
        options.flags.sort_by_key(|flag| ShowBackupOptions::NAMES.iter().position(|known| known == flag));
        Ok(ShowBackup { details: details.map(|(details, _)| details), backup, options })
    }
}

impl ShowBackupOptions {
    /// Their names, in canonical order.
    const NAMES: [&'static str; 8] = [
        Access::OPTIONS[0],
        Access::OPTIONS[1],
        Access::OPTIONS[2],
        "as_json",
        "check_files",
        "debug_ids",
        "privileges",
        "skip size",
    ];

    /// The names of those that are set, in canonical order.
    pub fn names(&self) -> Vec<&'static str> {
        let access = &self.access;
        let set =
            [access.encryption_passphrase.is_some(), !access.kms.is_empty(), !access.incremental_location.is_empty()];
        let named = Access::OPTIONS.into_iter().zip(set).filter_map(|(name, set)| set.then_some(name));
        named.chain(self.flags.iter().copied()).collect()
    }
}

impl ShowBackupConnection {
    /// After `SHOW BACKUP CONNECTION`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<ShowBackupConnection> {
        let uri = Uri::new(cursor.text()?);
        let options = CheckOptions::parse(cursor, "SHOW BACKUP CONNECTION", &["TRANSFER", "TIME"])?;
        Ok(ShowBackupConnection { uri, options })
    }
}

impl Render for ShowBackups {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("SHOW BACKUPS IN ");
        (&self.collection[..]).render(out, secrets);
    }
}

impl Render for ShowBackup {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("SHOW BACKUP ");
        if let Some(details) = self.details {
            out.push_str(&format!("{} ", details.name()));
        }
        out.push_str("FROM ");
        self.backup.render(out, secrets);
        let mut written = OptionWriter::new(secrets);
        self.options.access.write(&mut written);
        self.options.flags.iter().for_each(|flag| written.flag(flag, true));
        written.finish(out);
    }
}

impl Render for ShowBackupConnection {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("SHOW BACKUP CONNECTION ");
        self.uri.render(out, secrets);
        self.options.render(out, secrets);
    }
}
