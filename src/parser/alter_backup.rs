use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted};
use super::target::BackupPlace;
use super::text::Uri;

/// `ALTER BACKUP {LATEST | 'subdir'} IN collection ADD NEW_KMS = uris WITH OLD_KMS = uris`
#[derive(Clone, Debug, PartialEq)]
pub struct AlterBackup {
    /// Which backup.
    pub backup: BackupPlace,
    /// Keys that shall open it too.
    pub new_kms: Vec<Uri>,
    /// A key that opens it now.
    pub old_kms: Vec<Uri>,
}

display_redacted!(AlterBackup);

impl AlterBackup {
    /// After `ALTER BACKUP`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<AlterBackup> {
        let instead = "ALTER BACKUP LATEST IN 'collection' ADD NEW_KMS = 'uri' WITH OLD_KMS = 'uri'";
        let backup = BackupPlace::parse(cursor, instead)?;
        let mut uris = |words: &str| {
            cursor.require(words)?;
            cursor.require_token(&Token::Eq)?;
            cursor.uris()
        };
        Ok(AlterBackup { backup, new_kms: uris("ADD NEW_KMS")?, old_kms: uris("WITH OLD_KMS")? })
    }
}

impl Render for AlterBackup {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("ALTER BACKUP ");
        self.backup.render(out, secrets);
        out.push_str(" ADD NEW_KMS = ");
        (&self.new_kms[..]).render(out, secrets);
        out.push_str(" WITH OLD_KMS = ");
        (&self.old_kms[..]).render(out, secrets);
    }
}
