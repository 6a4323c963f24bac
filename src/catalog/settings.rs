//! Settings of the cluster: which there are, what they may be, and what they are now. A row of `system.settings` is one that is
//! not at its default.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::system::SETTINGS;
use super::{Datum, Result};
use crate::kv::{Store, Txn};
use crate::time::{Clock, parse_duration};

/// Who waits for as long as a setting says looks at it again at least so often, so that a shorter time takes effect.
const LONGEST_NAP: Duration = Duration::from_secs(5);

/// A cluster setting.
pub struct ClusterSetting {
    /// Its dotted name.
    pub name: &'static str,
    /// Its default.
    pub default: &'static str,
    /// What it may be.
    pub kind: SettingKind,
    /// What it does.
    pub description: &'static str,
}

/// What a cluster setting may be set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// Any text.
    Text,
    /// `true` or `false`, or `on` and `off`.
    Bool,
    /// A whole number in a range.
    Whole(RangeInclusive<u64>),
    /// A length of time, not shorter than this.
    Duration(Duration),
    /// It cannot be set: the version of the cluster.
    Version,
}

impl SettingKind {
    /// As `SHOW CLUSTER SETTINGS` has it.
    pub fn letter(&self) -> &'static str {
        match self {
            SettingKind::Text => "s",
            SettingKind::Bool => "b",
            SettingKind::Whole(_) => "i",
            SettingKind::Duration(_) => "d",
            SettingKind::Version => "m",
        }
    }

    /// Whether a value is one of this kind.
    pub fn allows(&self, value: &str) -> bool {
        match self {
            SettingKind::Text => true,
            SettingKind::Bool => parse_bool(value).is_some(),
            SettingKind::Whole(range) => value.trim().parse().is_ok_and(|number| range.contains(&number)),
            SettingKind::Duration(least) => parse_duration(value).is_some_and(|duration| duration >= *least),
            SettingKind::Version => false,
        }
    }

    /// What it may be, for people.
    pub fn expected(&self) -> String {
        match self {
            SettingKind::Text => "any text".into(),
            SettingKind::Bool => "true or false".into(),
            SettingKind::Whole(range) => format!("a whole number from {} to {}", range.start(), range.end()),
            SettingKind::Duration(Duration::ZERO) => "a length of time, such as '30s' or '1h'".into(),
            SettingKind::Duration(least) => format!("a length of time of at least {least:?}, such as '30s' or '1h'"),
            SettingKind::Version => "not to be set".into(),
        }
    }
}

fn parse_bool(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "on" | "1" => Some(true),
        "false" | "f" | "off" | "0" => Some(false),
        _ => None,
    }
}

macro_rules! cluster_settings {
    ($($constant:ident = $name:literal, $default:expr, $kind:expr, $description:literal;)*) => {
        $(#[doc = $description] pub static $constant: ClusterSetting = ClusterSetting {
            name: $name, default: $default, kind: $kind, description: $description,
        };)*

        /// Every cluster setting, by name.
        pub static CLUSTER_SETTINGS: &[&ClusterSetting] = &[$(&$constant),*];
    };
}

const ANY_DURATION: SettingKind = SettingKind::Duration(Duration::ZERO);

cluster_settings! {
    ORGANIZATION = "cluster.organization", "", SettingKind::Text, "organization name, for people to read";
    RETRY_INITIAL_DELAY = "jobs.registry.retry.initial_delay", "500ms", SettingKind::Duration(Duration::from_millis(1)),
        "wait before a job that failed is tried again; it doubles with every attempt";
    RETRY_MAX_DELAY = "jobs.registry.retry.max_delay", "1m", SettingKind::Duration(Duration::from_millis(1)),
        "longest wait before a job that failed is tried again";
    JOB_RETENTION = "jobs.retention_time", "14 days", SettingKind::Duration(Duration::from_secs(1)),
        "jobs that ended longer ago are forgotten";
    SCHEDULER_ENABLED = "jobs.scheduler.enabled", "true", SettingKind::Bool, "whether schedules run";
    SCHEDULER_MAX_JOBS = "jobs.scheduler.max_jobs_per_iteration", "5", SettingKind::Whole(0..=1_000_000),
        "how many schedules are run each time the scheduler looks for due ones; 0 is no limit";
    SCHEDULER_PACE = "jobs.scheduler.pace", "1s", SettingKind::Duration(Duration::from_millis(100)),
        "how often the scheduler looks for due schedules";
    GC_INTERVAL = "kv.gc.interval", "1m", SettingKind::Duration(Duration::from_secs(1)),
        "time between two collections of history that need not be kept any more";
    DEFAULT_STATEMENT_TIMEOUT = "sql.defaults.statement_timeout", "0s", ANY_DURATION,
        "statement_timeout of sessions that begin after it is set; 0 is none";
    VERSION = "version", env!("CARGO_PKG_VERSION"), SettingKind::Version, "version of the cluster; cannot be set";
}

impl ClusterSetting {
    /// The one with a name.
    pub fn find(name: &str) -> Option<&'static ClusterSetting> {
        CLUSTER_SETTINGS.iter().copied().find(|setting| setting.name == name)
    }

    /// Its value.
    pub async fn read(&self, txn: &dyn Txn) -> Result<String> {
        let row = SETTINGS.get(txn, &[self.name.into()]).await?;
        Ok(row.and_then(|row| row[1].as_text().map(str::to_string)).unwrap_or_else(|| self.default.into()))
    }

    /// The value of one that is a length of time. What cannot be read, such as a value that a restore brought from another
    /// version, counts as the default.
    pub async fn duration(&self, txn: &dyn Txn) -> Result<Duration> {
        let value = self.read(txn).await?;
        Ok(parse_duration(&value).or_else(|| parse_duration(self.default)).unwrap_or_default())
    }

    /// Waits for as long as one that is a length of time says; while it cannot be read, for `fallback`.
    pub async fn wait(&self, store: &dyn Store, clock: &dyn Clock, fallback: Duration) {
        let mut waited = Duration::ZERO;
        loop {
            let length = async { self.duration(&*store.begin().await?).await };
            let length = length.await.unwrap_or(fallback);
            if waited >= length {
                return;
            }
            let nap = (length - waited).min(LONGEST_NAP);
            clock.sleep(nap).await;
            waited += nap;
        }
    }

    /// The same of one that is a number.
    pub async fn whole(&self, txn: &dyn Txn) -> Result<u64> {
        let value = self.read(txn).await?;
        Ok(value.trim().parse().or_else(|_| self.default.parse()).unwrap_or_default())
    }

    /// The same of one that is true or false.
    pub async fn is_on(&self, txn: &dyn Txn) -> Result<bool> {
        let value = self.read(txn).await?;
        Ok(parse_bool(&value).or_else(|| parse_bool(self.default)).unwrap_or_default())
    }

    /// Sets it to a value its kind allows; `None` is its default.
    pub fn write(&self, txn: &dyn Txn, value: Option<String>) -> Result<()> {
        match value {
            None => SETTINGS.delete(txn, &[self.name.into()]),
            Some(value) => SETTINGS.put(txn, &[self.name.into(), value.into(), Datum::Int(txn.snapshot().micros())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_in_order_and_their_defaults_are_allowed() {
        assert!(CLUSTER_SETTINGS.is_sorted_by_key(|setting| setting.name));
        for setting in CLUSTER_SETTINGS {
            let is_version = setting.kind == SettingKind::Version;
            assert_eq!(setting.kind.allows(setting.default), !is_version, "{}", setting.name);
        }
    }
}
