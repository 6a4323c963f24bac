//! What PostgreSQL has as views over its catalog.

use super::super::super::time_zone;
use super::super::catalog_oid;
use super::super::objects::{Objects, oid, role_oid, shown_indexes};
use super::super::relation::Rows;
use super::super::written;
use super::name;
use super::relations::each_sequence;
use crate::catalog::{Datum, Descriptor, Interval};
use crate::sql::types::pg_type;
use crate::time::Timestamp;

pub fn pg_tables(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::Table(table) = &**relation else { continue };
        rows.push(&[
            ("schemaname", name(objects.schema_of(relation))),
            ("tablename", name(relation.name())),
            ("tableowner", name(&table.identity.owner)),
            ("hasindexes", Datum::Bool(shown_indexes(table).next().is_some())),
            ("hastriggers", Datum::Bool(!table.foreign_keys.is_empty() || !table.referenced_by.is_empty())),
        ]);
    }
}

pub fn pg_views(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::View(view) = &**relation else { continue };
        rows.push(&[
            ("schemaname", name(objects.schema_of(relation))),
            ("viewname", name(relation.name())),
            ("viewowner", name(&view.identity.owner)),
            ("definition", name(&view.query)),
        ]);
    }
}

pub fn pg_indexes(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::Table(table) = &**relation else { continue };
        for index in shown_indexes(table) {
            rows.push(&[
                ("schemaname", name(objects.schema_of(relation))),
                ("tablename", name(relation.name())),
                ("indexname", name(&index.name)),
                ("indexdef", written::index(objects, table, index).into()),
            ]);
        }
    }
}

pub fn pg_sequences(objects: &Objects, rows: &mut Rows) {
    for (relation, sequence) in each_sequence(objects) {
        rows.push(&[
            ("schemaname", name(objects.schema_of(relation))),
            ("sequencename", name(relation.name())),
            ("sequenceowner", name(&sequence.identity.owner)),
            ("data_type", "bigint".into()),
            ("start_value", sequence.start.into()),
            ("min_value", sequence.minimum.into()),
            ("max_value", sequence.maximum.into()),
            ("increment_by", sequence.increment.into()),
            ("cache_size", 1_i64.into()),
        ]);
    }
}

pub fn pg_cursors(objects: &Objects, rows: &mut Rows) {
    for cursor in &objects.cursors {
        rows.push(&[
            ("name", name(&cursor.name)),
            ("statement", name(&cursor.statement)),
            ("is_holdable", Datum::Bool(cursor.holds)),
            ("is_scrollable", Datum::Bool(cursor.scrolls)),
        ]);
    }
}

pub fn pg_prepared_statements(objects: &Objects, rows: &mut Rows) {
    for (known_as, prepared) in objects.statements.iter().filter(|(name, _)| !name.is_empty()) {
        let types = prepared.description.parameters.iter();
        let types =
            types.map(|column_type| written::type_name(objects, i64::from(pg_type(column_type).oid()), None).into());
        let (generic, custom) = prepared.plans.runs();
        let statement = prepared.parsed.as_ref().map(|parsed| parsed.statement.to_string());
        rows.push(&[
            ("name", name(known_as)),
            ("statement", statement.into()),
            ("prepare_time", prepared.since.micros().into()),
            ("parameter_types", Datum::Array(types.collect())),
            ("from_sql", Datum::Bool(prepared.from_sql)),
            ("generic_plans", (generic as i64).into()),
            ("custom_plans", (custom as i64).into()),
        ]);
    }
}

pub fn pg_stat_activity(objects: &Objects, rows: &mut Rows) {
    for session in objects.activity().sessions() {
        let doing = session.now_doing();
        let database = objects.databases.iter().find(|database| database.name() == doing.database);
        let time = |time: Timestamp| time.micros();
        rows.push(&[
            ("datid", database.map(|database| oid(database.id())).into()),
            ("datname", name(&doing.database)),
            ("pid", i64::from(session.id).into()),
            ("usesysid", role_oid(&session.user).into()),
            ("usename", name(&session.user)),
            ("application_name", name(&doing.application_name)),
            ("client_addr", session.client.map(|client| client.ip().to_string()).into()),
            ("client_port", session.client.map(|client| i64::from(client.port())).into()),
            ("backend_start", session.since.micros().into()),
            ("xact_start", doing.transaction.map(|transaction| time(transaction.began)).into()),
            ("query_start", doing.statement_began.map(time).into()),
            ("state_change", doing.since.micros().into()),
            ("state", doing.phase.name().into()),
            ("query", name(&doing.statement)),
            ("leader_pid", Datum::Null),
            ("backend_xid", Datum::Null),
            ("backend_xmin", Datum::Null),
            ("query_id", Datum::Null),
            ("backend_type", "client backend".into()),
        ]);
    }
}

pub fn pg_settings(objects: &Objects, rows: &mut Rows) {
    for (setting, value) in &objects.settings {
        rows.push(&[
            ("name", name(setting)),
            ("setting", name(value)),
            ("context", "user".into()),
            ("vartype", "string".into()),
            ("source", "session".into()),
        ]);
    }
}

pub fn pg_timezone_names(objects: &Objects, rows: &mut Rows) {
    for region in time_zone::regions(objects.now.to_utc()) {
        let micros = i64::from(region.offset_seconds) * 1_000_000;
        rows.push(&[
            ("name", name(region.name)),
            ("abbrev", region.abbreviation.into()),
            ("utc_offset", Datum::Interval(Interval { months: 0, days: 0, micros })),
            ("is_dst", Datum::Bool(region.is_summer_time)),
        ]);
    }
}

const DATABASES: &str = "pg_database";

pub fn pg_description(objects: &Objects, rows: &mut Rows) {
    for comment in objects.comments().into_iter().filter(|comment| comment.class != DATABASES) {
        rows.push(&[
            ("objoid", comment.oid.into()),
            ("classoid", catalog_oid(comment.class).into()),
            ("objsubid", comment.column.into()),
            ("description", name(comment.text)),
        ]);
    }
}

pub fn pg_shdescription(objects: &Objects, rows: &mut Rows) {
    for comment in objects.comments().into_iter().filter(|comment| comment.class == DATABASES) {
        rows.push(&[
            ("objoid", comment.oid.into()),
            ("classoid", catalog_oid(comment.class).into()),
            ("description", name(comment.text)),
        ]);
    }
}
