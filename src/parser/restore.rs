use sqlparser::ast::Expr;

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::option::{self, Access, Given, OptionWriter};
use super::render::{Render, Secrets, display_redacted, sql_text};
use super::target::{BackupPlace, Targets};
use super::text::Text;

/// `RESTORE`
#[derive(Clone, Debug, PartialEq)]
pub struct Restore {
    /// What to restore.
    pub targets: Targets,
    /// Which backup.
    pub backup: BackupPlace,
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
    /// Encryption, and where incremental layers are.
    pub access: Access,
    /// Restore tables into this database.
    pub into_db: Option<Text>,
    /// Restore the database under this name.
    pub new_db_name: Option<Text>,
    /// Options that are words alone, in canonical order.
    pub flags: Vec<&'static str>,
    /// Which nodes do the work.
    pub execution_locality: Option<Text>,
}

display_redacted!(Restore);

impl Restore {
    /// After `RESTORE`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Restore> {
        let targets = if cursor.at("FROM") {
            Targets::Cluster
        } else if cursor.eat("SYSTEM USERS") {
            Targets::SystemUsers
        } else {
            Targets::parse(cursor, &["FROM"])?
        };
        cursor.require("FROM")?;
        let backup = BackupPlace::parse(cursor, "RESTORE ... FROM LATEST IN 'collection'")?;
        let as_of = cursor.as_of()?;
        let mut options = RestoreOptions::default();
        let read = |cursor: &mut Cursor<'_>, name| options.read(cursor, name);
        let given = option::parse_with(cursor, "RESTORE", &RestoreOptions::NAMES, read)?;
        options.flags.sort_by_key(|flag| RestoreOptions::NAMES.iter().position(|known| known == flag));
        check(&given, &targets)?;
        Ok(Restore { targets, backup, as_of, options })
    }
}

/// Refuses options that do not go together, or not with these targets.
fn check(given: &Given, targets: &Targets) -> Result<()> {
    Access::check(given)?;
    let refuse = |name: &str, message: &str| match given.at(name) {
        Some(at) => Err(Error::syntax(message, at)),
        None => Ok(()),
    };
    if given.at("schema_only").is_none() {
        let message = "option verify_backup_table_data needs option schema_only";
        refuse("verify_backup_table_data", message)?;
    }
    match targets {
        Targets::Databases(names) if names.len() > 1 => {
            refuse("new_db_name", "option new_db_name works only when one database is restored")?;
        }
        Targets::Databases(_) => {}
        _ => refuse("new_db_name", "option new_db_name works only with RESTORE DATABASE")?,
    }
    match targets {
        Targets::Tables(_) => Ok(()),
        Targets::Databases(_) => given.at("into_db").map_or(Ok(()), |at| {
            let error = Error::syntax("option into_db works only when tables are restored", at);
            Err(error.hint("To restore a database under another name, use new_db_name."))
        }),
        _ => refuse("into_db", "option into_db works only when tables are restored"),
    }
}

impl RestoreOptions {
    /// Their names, in canonical order.
    const NAMES: [&'static str; 17] = [
        "detached",
        Access::OPTIONS[0],
        Access::OPTIONS[1],
        Access::OPTIONS[2],
        "into_db",
        "new_db_name",
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
        "execution locality",
    ];

    /// After the name of one of them.
    fn read(&mut self, cursor: &mut Cursor<'_>, name: &'static str) -> Result<()> {
        match name {
            "detached" => self.detached = option::parse_plain_flag(cursor)?,
            "into_db" => self.into_db = Some(option::parse_value(cursor)?),
            "new_db_name" => self.new_db_name = Some(option::parse_value(cursor)?),
            "execution locality" => self.execution_locality = Some(option::parse_value(cursor)?),
            access if Access::OPTIONS.contains(&access) => self.access.read(cursor, access)?,
            flag => self.flags.push(flag),
        }
        Ok(())
    }
}

impl Render for Restore {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("RESTORE");
        self.targets.render(out, secrets);
        out.push_str(" FROM ");
        self.backup.render(out, secrets);
        if let Some(time) = &self.as_of {
            out.push_str(&format!(" AS OF SYSTEM TIME {}", sql_text(time)));
        }
        let options = &self.options;
        let mut written = OptionWriter::new(secrets);
        written.flag("detached", options.detached);
        options.access.write(&mut written);
        written.value("into_db", options.into_db.as_ref());
        written.value("new_db_name", options.new_db_name.as_ref());
        options.flags.iter().for_each(|flag| written.flag(flag, true));
        written.value("execution locality", options.execution_locality.as_ref());
        written.finish(out);
    }
}
