//! `SHOW BACKUP` in all its forms.

use super::create_statement::create_statement;
use super::error::{Error, Result};
use super::show::Shown;
use crate::backup::plan::Planner;
use crate::backup::show::{self as backup, BackupRow};
use crate::catalog::{ColumnType, Datum, Descriptor, DescriptorId};
use crate::kv::SpaceId;
use crate::parser::{BackupDetails, ShowBackup, quote_ident_in_sql};

/// Which columns come besides the usual ones.
#[derive(Clone, Copy, Default)]
struct More {
    create_statement: bool,
    file_bytes: bool,
    ids: bool,
    privileges: bool,
    without_sizes: bool,
}

impl More {
    fn of(show: &ShowBackup) -> More {
        let has = |flag: &str| show.options.flags.contains(&flag);
        More {
            create_statement: show.details == Some(BackupDetails::Schemas),
            file_bytes: has("check_files"),
            ids: has("debug_ids"),
            privileges: has("privileges"),
            without_sizes: has("skip size"),
        }
    }
}

/// The columns that a statement will show.
pub fn columns(show: &ShowBackup) -> Shown {
    let text = ColumnType::Text;
    match show.details {
        Some(BackupDetails::Files) => Shown::new(&[
            ("layer", text.clone()),
            ("path", text.clone()),
            ("database_name", text.clone()),
            ("schema_name", text.clone()),
            ("table_name", text.clone()),
            ("start_key", text.clone()),
            ("end_key", text),
            ("rows", ColumnType::Int8),
            ("size_bytes", ColumnType::Int8),
            ("file_bytes", ColumnType::Int8),
        ]),
        Some(BackupDetails::Ranges) => Shown::new(&[("start_key", text.clone()), ("end_key", text)]),
        Some(BackupDetails::Validate) => Shown::new(&[
            ("layer", text.clone()),
            ("backup_type", text.clone()),
            ("start_time", ColumnType::TimestampTz),
            ("end_time", ColumnType::TimestampTz),
            ("files", ColumnType::Int8),
            ("file_bytes", ColumnType::Int8),
            ("status", text),
        ]),
        None | Some(BackupDetails::Schemas) if show.options.flags.contains(&"as_json") => {
            Shown::new(&[("manifest", ColumnType::Json)])
        }
        None | Some(BackupDetails::Schemas) => object_columns(More::of(show)),
    }
}

fn object_columns(more: More) -> Shown {
    let (text, number) = (|| ColumnType::Text, || ColumnType::Int8);
    let mut columns = vec![("database_name", text())];
    let mut with = |wanted: bool, column: (&'static str, ColumnType)| {
        if wanted {
            columns.push(column);
        }
    };
    with(more.ids, ("database_id", number()));
    with(true, ("parent_schema_name", text()));
    with(more.ids, ("parent_schema_id", number()));
    with(true, ("object_name", text()));
    with(more.ids, ("object_id", number()));
    with(true, ("object_type", text()));
    with(true, ("backup_type", text()));
    with(true, ("start_time", ColumnType::TimestampTz));
    with(true, ("end_time", ColumnType::TimestampTz));
    with(true, ("size_bytes", number()));
    with(true, ("rows", number()));
    with(true, ("is_full_cluster", ColumnType::Bool));
    with(true, ("regions", text()));
    with(more.create_statement, ("create_statement", text()));
    with(more.file_bytes, ("file_bytes", number()));
    with(more.privileges, ("privileges", text()));
    with(more.privileges, ("owner", text()));
    Shown::new(&columns)
}

/// Runs the statement.
pub async fn show(planner: &Planner<'_>, show: &ShowBackup) -> Result<Shown> {
    let access = &show.options.access;
    if !access.kms.is_empty() {
        return Err(Error::unsupported("option kms of SHOW BACKUP"));
    }
    let is_plain = matches!(show.details, None | Some(BackupDetails::Schemas));
    if let Some(flag) = show.options.flags.first().filter(|_| !is_plain) {
        return Err(Error::unsupported(format!("option {flag} of this form of SHOW BACKUP")));
    }
    let collection = planner.collection(&show.backup.collection, access)?.collection;
    let full = planner.resolve(&collection, &show.backup.subdirectory).await?;
    let collection = planner.unlocked(collection, &full, access).await?;
    let mut shown = columns(show);
    let as_json = show.options.flags.contains(&"as_json");
    match show.details {
        Some(BackupDetails::Files) => {
            for file in backup::files(&collection, &full).await? {
                let (database, schema, table) = match file.object {
                    Some((database, schema, table)) => (Some(database), Some(schema), Some(table)),
                    None => (None, None, None),
                };
                shown.rows.push(vec![
                    format!("/{}", file.layer).into(),
                    file.path.into(),
                    database.into(),
                    schema.into(),
                    table.into(),
                    key(&file.start).into(),
                    key(&file.end).into(),
                    file.rows.into(),
                    file.size_bytes.into(),
                    file.file_bytes.into(),
                ]);
            }
        }
        Some(BackupDetails::Ranges) => {
            let mut ranges: Vec<_> =
                backup::files(&collection, &full).await?.into_iter().map(|file| (file.start, file.end)).collect();
            ranges.sort();
            ranges.dedup();
            shown.rows = ranges.iter().map(|(start, end)| vec![key(start).into(), key(end).into()]).collect();
        }
        Some(BackupDetails::Validate) => {
            for valid in backup::validate(&collection, &full).await? {
                let manifest = &valid.layer.manifest;
                shown.rows.push(vec![
                    format!("/{}", valid.layer.directory).into(),
                    backup_type(manifest.start_time.is_some()).into(),
                    manifest.start_time.map(|time| time.micros()).into(),
                    manifest.end_time.micros().into(),
                    valid.files.into(),
                    valid.file_bytes.into(),
                    "valid".into(),
                ]);
            }
        }
        None | Some(BackupDetails::Schemas) if as_json => {
            let manifests = backup::manifests(&collection, &full).await?;
            shown.rows = manifests.into_iter().map(|manifest| vec![manifest.to_string().into()]).collect();
        }
        None | Some(BackupDetails::Schemas) => {
            let more = More::of(show);
            let rows = backup::contents(&collection, &full, more.file_bytes).await?;
            shown.rows = rows.into_iter().map(|row| object_row(row, more)).collect();
        }
    }
    Ok(shown)
}

fn backup_type(incremental: bool) -> &'static str {
    if incremental { "incremental" } else { "full" }
}

/// A place in a backup: the space it was backed up from, and the key in hexadecimal.
fn key((space, key): &(SpaceId, String)) -> String {
    format!("/{space}/{key}")
}

fn object_row(row: BackupRow, more: More) -> Vec<Datum<'static>> {
    let (database, schema) = row.descriptor.parents();
    let id = |id: Option<DescriptorId>| Datum::from(id.map(|id| id.0));
    let size = |size: Option<u64>| Datum::from(size.filter(|_| !more.without_sizes));
    let mut cells: Vec<Datum<'static>> = vec![row.database.into()];
    let mut with = |wanted: bool, cell: Datum<'static>| {
        if wanted {
            cells.push(cell);
        }
    };
    with(more.ids, id(database));
    with(true, row.schema.into());
    with(more.ids, id(schema));
    with(true, row.descriptor.name().to_string().into());
    with(more.ids, id(Some(row.descriptor.id())));
    with(true, row.descriptor.kind().into());
    with(true, backup_type(row.incremental).into());
    with(true, row.start_time.map(|time| time.micros()).into());
    with(true, row.end_time.micros().into());
    with(true, size(row.size_bytes));
    with(true, size(row.rows));
    with(true, Datum::Bool(row.is_full_cluster));
    with(true, Datum::Null);
    let lookup = |id: DescriptorId| row.around.get(&id).cloned();
    with(more.create_statement, create_statement(&row.descriptor, &lookup).into());
    with(more.file_bytes, row.file_bytes.into());
    with(more.privileges, privileges(&row.descriptor).into());
    with(more.privileges, row.descriptor.identity().owner.clone().into());
    cells
}

/// `GRANT ALL ON TABLE t TO admin; GRANT ALL ON TABLE t TO root;`
fn privileges(descriptor: &Descriptor) -> String {
    let kind = match descriptor {
        // As in PostgreSQL, a view is granted like a table.
        Descriptor::View(_) => "TABLE".into(),
        other => other.kind().to_uppercase(),
    };
    let name = quote_ident_in_sql(descriptor.name());
    let grants = descriptor.identity().grants.iter().map(|grant| {
        format!("GRANT {} ON {kind} {name} TO {};", grant.privileges.join(", "), quote_ident_in_sql(&grant.role))
    });
    grants.collect::<Vec<_>>().join(" ")
}
