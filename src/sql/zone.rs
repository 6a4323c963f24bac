//! `ALTER ... CONFIGURE ZONE`, `SHOW ZONE CONFIGURATION`.

use sqlparser::ast::{Expr, UnaryOperator, Value, ValueWithSpan};

use super::context::Context;
use super::error::{Error, Result, code};
use super::show::Shown;
use crate::catalog::system::FIRST_USER_ID;
use crate::catalog::zone::{self, DEFAULT_GC_TTL_SECONDS, DEFAULT_ZONE, ZoneConfig, Zones};
use crate::catalog::{ColumnType, Descriptor, DescriptorId};
use crate::parser::{ConfigureZone, ShowZone, ZoneTarget, ZoneValue, quote_name};

/// The variable that can be set.
const GC_TTL: &str = "gc.ttlseconds";
/// Variables of CockroachDB's zones that are about replicas and ranges, of which there are none here.
const OTHERS: [&str; 9] = [
    "range_min_bytes",
    "range_max_bytes",
    "num_replicas",
    "num_voters",
    "constraints",
    "voter_constraints",
    "lease_preferences",
    "global_reads",
    "rangefeed_enabled",
];

/// A zone: the object it is of, and from the inside out where its configuration comes from.
struct Zone {
    id: DescriptorId,
    path: Vec<DescriptorId>,
}

async fn find(context: &Context, target: &ZoneTarget) -> Result<Zone> {
    match target {
        ZoneTarget::Range(name) if name == "default" => Ok(Zone { id: DEFAULT_ZONE, path: Vec::new() }),
        ZoneTarget::Range(name) => Err(Error::unsupported(format!("the zone of RANGE {name}"))),
        ZoneTarget::Database(name) => {
            let id = context.database(name).await?.id();
            Ok(Zone { id, path: vec![id] })
        }
        ZoneTarget::Table(parts) => match &*context.object(parts).await? {
            Descriptor::Table(table) => {
                Ok(Zone { id: table.identity.id, path: vec![table.identity.id, table.database] })
            }
            other => {
                let message = format!("\"{}\" is a {}, not a table", other.name(), other.kind());
                Err(Error::new(code::WRONG_OBJECT_TYPE, message))
            }
        },
    }
}

/// Changes a zone's configuration.
pub async fn configure(context: &Context, statement: &ConfigureZone) -> Result<()> {
    let zone = find(context, &statement.target).await?;
    if zone.id != DEFAULT_ZONE && zone.id.0 < FIRST_USER_ID {
        let error = Error::unsupported("a zone configuration of the system database");
        return Err(error.hint("Its history is kept for as long as any table's."));
    }
    let txn = &**context.txn();
    let Some(changes) = &statement.changes else {
        if zone.id == DEFAULT_ZONE {
            return Err(Error::new(code::INVALID_PARAMETER, "cannot remove the default zone"));
        }
        return Ok(zone::write(txn, zone.id, None)?);
    };
    let zones = Zones::read(txn).await?;
    let mut config = zones.own(zone.id).cloned().unwrap_or_default();
    for (name, value) in changes {
        if name != GC_TTL {
            return Err(match OTHERS.contains(&name.as_str()) {
                true => Error::unsupported(format!("zone configuration parameter \"{name}\"")),
                false => Error::new(code::INVALID_PARAMETER, format!("unsupported zone config parameter: \"{name}\"")),
            });
        }
        config.gc_ttl_seconds = Some(match value {
            ZoneValue::FromParent if zone.id == DEFAULT_ZONE => DEFAULT_GC_TTL_SECONDS,
            ZoneValue::FromParent => zones.gc_ttl_seconds(&zone.path[1..]).0,
            ZoneValue::Value(value) => seconds(value)?,
        });
    }
    Ok(zone::write(txn, zone.id, Some(&config))?)
}

fn seconds(value: &Expr) -> Result<i32> {
    let bad = |why: String| Error::new(code::INVALID_PARAMETER, format!("invalid value for {GC_TTL}: {why}"));
    let number = match value {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.to_string(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("-{expr}"),
        other => return Err(bad(format!("{other} is not a number of seconds"))),
    };
    match number.parse::<i64>() {
        Ok(seconds) if seconds < 1 => Err(bad(format!("{number} is less than 1"))),
        Ok(seconds) => i32::try_from(seconds).map_err(|_| bad(format!("{number} is more than {}", i32::MAX))),
        Err(_) => Err(bad(format!("{number} is not a whole number of seconds"))),
    }
}

/// Shows a zone's configuration, or all of them. What a zone does not say itself is shown as its parent's.
pub async fn show(context: &Context, statement: &ShowZone) -> Result<Shown> {
    let zones = Zones::read(&**context.txn()).await?;
    let mut shown = Shown::new(&[("target", ColumnType::Text), ("raw_config_sql", ColumnType::Text)]);
    let mut ids = Vec::new();
    match &statement.target {
        Some(target) => {
            let (_, source) = zones.gc_ttl_seconds(&find(context, target).await?.path);
            ids.push(source);
        }
        None => {
            ids.extend(zones.configured().filter(|id| *id != DEFAULT_ZONE));
            ids.sort();
            ids.insert(0, DEFAULT_ZONE);
        }
    }
    for id in ids {
        // What was dropped has its zone until its history is gone, but no name.
        let Some(target) = name(context, id).await? else { continue };
        let ttl = match zones.own(id) {
            Some(ZoneConfig { gc_ttl_seconds: Some(seconds) }) => *seconds,
            Some(_) => continue,
            None => DEFAULT_GC_TTL_SECONDS,
        };
        let sql = format!("ALTER {target} CONFIGURE ZONE USING\n\t{GC_TTL} = {ttl}");
        shown.rows.push(vec![target.into(), sql.into()]);
    }
    Ok(shown)
}

async fn name(context: &Context, id: DescriptorId) -> Result<Option<String>> {
    if id == DEFAULT_ZONE {
        return Ok(Some("RANGE default".into()));
    }
    let catalog = context.catalog();
    let Some(descriptor) = catalog.find(id).await? else { return Ok(None) };
    let (database, schema) = descriptor.parents();
    let mut parts = Vec::new();
    for parent in [database, schema].into_iter().flatten() {
        parts.push(catalog.get(parent).await?.name().to_string());
    }
    parts.push(descriptor.name().to_string());
    Ok(Some(format!("{} {}", descriptor.kind().to_uppercase(), quote_name(&parts))))
}
