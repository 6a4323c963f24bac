//! Settings of the session: which there are, what they may be, and what they mean. Those of the cluster are the catalog's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{Error, Result, code};
use super::time_zone::TimeZone;
use crate::catalog::settings::{ClusterSetting, SettingKind};
use crate::kv::Txn;
use crate::parser::quote_ident_in_sql;
use crate::time::parse_duration;

/// What a setting may be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Any text.
    Text,
    /// One of these, compared without case; the first is what it is.
    OneOf(&'static [&'static str]),
    /// `on` or `off`.
    Bool,
    /// A length of time; a bare number is milliseconds.
    Duration,
    /// The name of UTF-8, or of what is left as it is.
    Encoding,
    /// A time zone.
    TimeZone,
    /// It cannot be set.
    ReadOnly,
}

/// A session setting.
struct SessionSetting {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Whether clients are told its value when they connect and when it changes.
    reported: bool,
}

const fn setting(name: &'static str, default: &'static str, kind: Kind) -> SessionSetting {
    SessionSetting { name, default, kind, reported: false }
}

const fn reported_setting(name: &'static str, default: &'static str, kind: Kind) -> SessionSetting {
    SessionSetting { name, default, kind, reported: true }
}

const BOOLEAN: Kind = Kind::OneOf(&["on", "off", "true", "false", "1", "0"]);
const ISOLATION: Kind =
    Kind::OneOf(&["serializable", "repeatable read", "read committed", "read uncommitted", "default"]);

/// The setting with the schemas that are looked through.
pub const SEARCH_PATH: &str = "search_path";

/// Several values of a setting as one text: names of schemas with quotes around those that need them.
pub fn written_values(setting: &str, values: &[String]) -> String {
    // As the one value of `SET search_path = DEFAULT` or `''` it stands for all.
    match values {
        [one] if one.is_empty() || one.eq_ignore_ascii_case("default") => one.clone(),
        _ if setting == SEARCH_PATH => {
            values.iter().map(|name| quote_ident_in_sql(name)).collect::<Vec<_>>().join(", ")
        }
        _ => values.join(", "),
    }
}

/// The names in a list that is written so.
pub fn names_in(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let (mut text, mut end) = (String::new(), quoted.len());
            let mut characters = quoted.char_indices().peekable();
            while let Some((at, c)) = characters.next() {
                if c != '"' {
                    text.push(c);
                } else if characters.peek().is_some_and(|(_, next)| *next == '"') {
                    characters.next();
                    text.push('"');
                } else {
                    end = at + 1;
                    break;
                }
            }
            (name, rest) = (text, &quoted[end..]);
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (name, rest) = (rest[..end].trim().to_lowercase(), &rest[end..]);
        }
        if !name.is_empty() {
            names.push(name);
        }
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    names
}

/// The setting with the role that a session has taken on.
pub const ROLE: &str = "role";
/// What it is if it has taken on none.
pub const NO_ROLE: &str = "none";

/// Settings with another value than the one they have would promise something that is not so, hence the short lists.
const SESSION_SETTINGS: [SessionSetting; 35] = [
    reported_setting("application_name", "", Kind::Text),
    setting("bytea_output", "hex", Kind::OneOf(&["hex"])),
    reported_setting("client_encoding", "UTF8", Kind::Encoding),
    setting(
        "client_min_messages",
        "notice",
        Kind::OneOf(&["notice", "warning", "error", "log", "debug1", "debug2", "debug3", "debug4", "debug5"]),
    ),
    reported_setting("datestyle", "ISO, MDY", Kind::OneOf(&["ISO, MDY", "ISO"])),
    setting("check_function_bodies", "on", BOOLEAN),
    setting("default_table_access_method", "heap", Kind::OneOf(&["heap"])),
    setting("default_tablespace", "", Kind::OneOf(&[""])),
    setting("default_transaction_isolation", "serializable", ISOLATION),
    setting("default_transaction_read_only", "off", Kind::OneOf(&["off", "false", "0"])),
    setting("extra_float_digits", "1", Kind::OneOf(&["0", "1", "2", "3"])),
    setting("idle_in_transaction_session_timeout", "0", Kind::Duration),
    reported_setting("integer_datetimes", "on", Kind::ReadOnly),
    reported_setting("intervalstyle", "postgres", Kind::OneOf(&["postgres", "iso_8601"])),
    // That of the user is put there when the session begins.
    reported_setting("is_superuser", "off", Kind::ReadOnly),
    setting("job_progress_notices", "off", Kind::Bool),
    setting("lock_timeout", "0", Kind::OneOf(&["0"])),
    setting("max_identifier_length", "63", Kind::ReadOnly),
    setting("max_index_keys", "32", Kind::ReadOnly),
    setting(ROLE, NO_ROLE, Kind::Text),
    setting("row_security", "off", BOOLEAN),
    setting(SEARCH_PATH, "public", Kind::Text),
    reported_setting("server_encoding", "UTF8", Kind::ReadOnly),
    reported_setting("server_version", "15.0", Kind::ReadOnly),
    setting("server_version_num", "150000", Kind::ReadOnly),
    setting("session_authorization", "", Kind::ReadOnly),
    reported_setting("standard_conforming_strings", "on", Kind::OneOf(&["on", "true"])),
    setting("statement_timeout", "0", Kind::Duration),
    setting("synchronize_seqscans", "on", BOOLEAN),
    setting("synchronous_commit", "on", Kind::OneOf(&["on"])),
    reported_setting("timezone", "UTC", Kind::TimeZone),
    setting("transaction_isolation", "serializable", ISOLATION),
    setting("transaction_read_only", "off", Kind::OneOf(&["off", "false", "0"])),
    setting("transaction_timeout", "0", Kind::Duration),
    setting("xmloption", "content", Kind::OneOf(&["content"])),
];

/// How PostgreSQL spells it.
fn wire_name(name: &'static str) -> &'static str {
    match name {
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        "timezone" => "TimeZone",
        other => other,
    }
}

/// The settings that clients are told of, with the names and defaults they have on the wire.
pub fn reported() -> Vec<(&'static str, &'static str)> {
    SESSION_SETTINGS
        .iter()
        .filter(|setting| setting.reported)
        .map(|setting| (wire_name(setting.name), setting.default))
        .collect()
}

/// The settings of one session.
#[derive(Clone, Default)]
pub struct SessionSettings {
    changed: BTreeMap<&'static str, String>,
    /// What they are when they are reset, if that is another value than everybody's.
    defaults: BTreeMap<&'static str, String>,
    zone: TimeZone,
}

fn find(name: &str) -> Result<&'static SessionSetting> {
    let known = SESSION_SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name));
    known.ok_or_else(|| Error::new(code::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\"")))
}

/// PostgreSQL's planner settings. There is nothing here for them to change, and users expect them to be accepted.
pub fn is_planner_setting(name: &str) -> bool {
    name.starts_with("enable_")
        || name.ends_with("_cost")
        || ["jit", "work_mem", "maintenance_work_mem", "effective_cache_size"].contains(&name)
}

impl SessionSettings {
    /// Sets one; `None` is its default.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        if is_planner_setting(&name.to_lowercase()) {
            return Ok(());
        }
        let setting = find(name)?;
        let default = self.defaults.get(setting.name).cloned();
        let Some(value) = value.or(default.as_deref()) else {
            self.changed.remove(setting.name);
            if setting.kind == Kind::TimeZone {
                self.zone = TimeZone::UTC;
            }
            return Ok(());
        };
        let bad = || {
            let message = format!("invalid value for parameter \"{}\": \"{value}\"", wire_name(setting.name));
            Error::new(code::INVALID_PARAMETER, message)
        };
        let value = match setting.kind {
            Kind::ReadOnly => {
                return Err(Error::new("55P02", format!("parameter \"{}\" cannot be changed", setting.name)));
            }
            Kind::Text => value.to_string(),
            Kind::Bool => match &value.to_ascii_lowercase()[..] {
                "on" | "true" | "1" | "yes" => "on".into(),
                "off" | "false" | "0" | "no" => "off".into(),
                _ => return Err(bad()),
            },
            Kind::Duration => parse_duration(value).map(|_| value.to_string()).ok_or_else(bad)?,
            Kind::TimeZone => {
                let (zone, name) = TimeZone::from_setting(value).ok_or_else(bad)?;
                self.zone = zone;
                name
            }
            // As in PostgreSQL, only letters and digits count.
            Kind::Encoding => {
                let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                let known = ["utf8", "unicode", "sqlascii"].contains(&plain.to_ascii_lowercase().as_str());
                known.then(|| setting.default.into()).ok_or_else(|| bad().hint("In this version it is UTF8."))?
            }
            Kind::OneOf(values) if values.iter().any(|known| known.eq_ignore_ascii_case(value)) => match setting.name {
                // Every transaction is serializable, which is at least what was asked for.
                "transaction_isolation" | "default_transaction_isolation" | "datestyle" => setting.default.into(),
                _ => value.to_string(),
            },
            Kind::OneOf(_) => return Err(bad().hint(format!("In this version it is {}.", setting.default))),
        };
        self.changed.insert(setting.name, value);
        Ok(())
    }

    /// Sets one to the value that it will have again when it is reset.
    pub fn set_default(&mut self, name: &str, value: &str) -> Result<()> {
        self.set(name, Some(value))?;
        if let Some(setting) = find(name).ok().filter(|setting| self.changed.contains_key(setting.name)) {
            self.defaults.insert(setting.name, value.into());
        }
        Ok(())
    }

    /// Notes what cannot be set.
    pub fn note(&mut self, name: &'static str, value: &str) {
        self.changed.insert(name, value.into());
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Result<String> {
        if is_planner_setting(&name.to_lowercase()) {
            return Ok("on".into());
        }
        let setting = find(name)?;
        Ok(self.changed.get(setting.name).cloned().unwrap_or_else(|| setting.default.into()))
    }

    /// What the client calls itself.
    pub fn application_name(&self) -> &str {
        self.changed.get("application_name").map_or("", String::as_str)
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<(String, String)> {
        SESSION_SETTINGS
            .iter()
            .map(|setting| (setting.name.to_string(), self.get(setting.name).unwrap_or_default()))
            .collect()
    }

    /// The time zone.
    pub fn zone(&self) -> TimeZone {
        self.zone
    }

    /// Sets all to their defaults.
    pub fn reset_all(&mut self) {
        self.zone = TimeZone::UTC;
        let is_fixed = |name: &str| {
            name == ROLE || SESSION_SETTINGS.iter().any(|known| known.name == name && known.kind == Kind::ReadOnly)
        };
        self.changed.retain(|name, _| is_fixed(name));
        for (name, value) in self.defaults.clone() {
            // It has had the value before.
            let _ = self.set(name, Some(&value));
        }
    }

    /// The value of a timeout, if there is a limit.
    pub fn timeout(&self, name: &str) -> Option<Duration> {
        parse_duration(self.changed.get(name)?).filter(|timeout| !timeout.is_zero())
    }

    /// Whether a setting that is on or off is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.changed.get(name).is_some_and(|value| value == "on")
    }

    /// Whether a setting is one that clients are told of, and the name they know it by.
    pub fn reported_name(name: &str) -> Option<&'static str> {
        reported().into_iter().map(|(wire, _)| wire).find(|wire| wire.eq_ignore_ascii_case(name))
    }
}

/// The cluster setting with a name.
pub fn cluster_setting(name: &str) -> Result<&'static ClusterSetting> {
    let unknown = || Error::new(code::UNDEFINED_OBJECT, format!("unknown cluster setting '{name}'"));
    ClusterSetting::find(name).ok_or_else(unknown)
}

/// Sets a cluster setting; `None` is its default.
pub fn write_cluster_setting(txn: &dyn Txn, name: &str, value: Option<String>) -> Result<()> {
    let setting = cluster_setting(name)?;
    if setting.kind == SettingKind::Version {
        return Err(Error::new(code::INVALID_PARAMETER, format!("cluster setting '{name}' cannot be set")));
    }
    if let Some(value) = value.as_ref().filter(|value| !setting.kind.allows(value)) {
        let message = format!("invalid value for cluster setting '{name}': \"{value}\"");
        return Err(Error::new(code::INVALID_PARAMETER, message).hint(format!("It is {}.", setting.kind.expected())));
    }
    Ok(setting.write(txn, value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_schemas_are_written_and_read_back() {
        for names in [&["public"][..], &["a,b", "C d", "public"], &["it's", "\"q\"", "select"], &["$user", "ünï"]] {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            assert_eq!(names_in(&written_values(SEARCH_PATH, &names)), names);
        }
        assert_eq!(names_in(" Public ,, \"$user\",x "), ["public", "$user", "x"]);
        assert_eq!(names_in("\"open"), ["open"]);
        assert_eq!(names_in(""), [] as [&str; 0]);
    }
}
