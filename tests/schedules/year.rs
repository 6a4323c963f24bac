//! A year of a schedule, beside a model of what should have run.
//!
//! The clock belongs to the test. Time passes in steps of minutes to days; meanwhile storage fails, backups take long, somebody
//! pauses a schedule, the server is down. After every step the jobs that were made must be those of the model: each time that
//! came made up for by one run, of the latest of the times that were missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike, Days, NaiveTime, Utc, Weekday};
use keepsafe::time::{Clock, ManualClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::faults::Local;
use crate::faults::storage::{Fault, Faulty};
use crate::harness::{fail, rows, run, value};

/// Days that pass; with `KEEPSAFE_TEST_SECONDS`, a year.
const DAYS: i64 = 90;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Every day.
    Incremental,
    /// Every Sunday.
    Full,
}

/// One of the two schedules, as the model sees it.
#[derive(Clone, Debug)]
struct Expected {
    kind: Kind,
    next: Option<DateTime<Utc>>,
    waits_for_full: bool,
    is_running: bool,
}

impl Expected {
    fn is_time(&self, midnight: DateTime<Utc>) -> bool {
        self.kind == Kind::Incremental || midnight.weekday() == Weekday::Sun
    }

    fn next_after(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let mut midnight = time.with_time(NaiveTime::MIN).unwrap();
        loop {
            midnight = midnight.checked_add_days(Days::new(1)).unwrap();
            if self.is_time(midnight) {
                return midnight;
            }
        }
    }

    fn last_until(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let mut midnight = time.with_time(NaiveTime::MIN).unwrap();
        while !self.is_time(midnight) {
            midnight = midnight.checked_sub_days(Days::new(1)).unwrap();
        }
        midnight
    }

    /// The run that is due, if one is.
    fn due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.next.filter(|next| *next <= now)?;
        Some(next.max(self.last_until(now)))
    }
}

struct Year {
    local: Option<Local>,
    clock: Arc<ManualClock>,
    random: StdRng,
    /// Ids by kind.
    ids: BTreeMap<Kind, i64>,
    expected: BTreeMap<Kind, Expected>,
    /// What has run, by schedule and time.
    found: BTreeMap<(Kind, DateTime<Utc>), String>,
    wanted: BTreeMap<(Kind, DateTime<Utc>), ()>,
    /// Runs that may have been made or not: another had covered their time already.
    optional: Vec<(Kind, DateTime<Utc>)>,
    seed: u64,
    log: Vec<String>,
}

impl Year {
    fn local(&self) -> &Local {
        self.local.as_ref().unwrap()
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.clock.wall_nanos())
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{}  {what}", self.now().format("%m-%d %H:%M")));
    }

    fn trace(&self) -> String {
        format!("seed {}\n{}", self.seed, self.log[self.log.len().saturating_sub(30)..].join("\n"))
    }

    /// Passes time until `done`, a condition on what SQL says.
    async fn until(&mut self, sql: &str, expected: &str) {
        for _ in 0..2000 {
            self.clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(3)).await;
            if value(&self.local().client, sql).await == expected {
                return;
            }
        }
        let shown = rows(&self.local().client, "SELECT id, next_run, state FROM [SHOW SCHEDULES]").await;
        panic!("{sql} does not become {expected}: {shown:?}\n{}", self.trace());
    }

    /// Waits until everything that is due has been attended to, and every job has ended unless it is stuck.
    async fn settle(&mut self, stuck: bool) {
        let now = "(SELECT now())";
        let due = format!(
            "SELECT count(*) FROM [SHOW SCHEDULES] WHERE next_run <= {now} AND (state IS NULL OR state NOT LIKE 'waits for job%')"
        );
        self.until(&due, "0").await;
        if !stuck {
            let unsettled = "SELECT count(*) FROM system.scheduled_jobs WHERE runs NOT LIKE '%\"jobs\":[]%'";
            self.until(unsettled, "0").await;
        }
        let made = "SELECT schedule_id, description, status FROM system.jobs WHERE schedule_id IS NOT NULL";
        for row in rows(&self.local().client, made).await {
            let kind = *self.ids.iter().find(|(_, id)| id.to_string() == row[0]).unwrap().0;
            let time = row[1].split("AS OF SYSTEM TIME '").nth(1).unwrap().split('\'').next().unwrap();
            self.found.insert((kind, read_time(time)), row[2].clone());
        }
    }

    fn compare(&mut self) {
        let mut wanted: Vec<_> = self.wanted.keys().copied().collect();
        wanted.extend(self.optional.iter().filter(|run| self.found.contains_key(run)));
        wanted.sort();
        wanted.dedup();
        let found: Vec<_> = self.found.keys().copied().collect();
        let surplus: Vec<_> = found.iter().filter(|run| !wanted.contains(run)).collect();
        let missing: Vec<_> = wanted.iter().filter(|run| !found.contains(run)).collect();
        assert!(surplus.is_empty() && missing.is_empty(), "surplus {surplus:?}, missing {missing:?}\n{}", self.trace());
    }

    /// What the model does when `now` has come.
    fn run_model(&mut self, storage_fails: bool, stuck: bool) {
        let now = self.now();
        let full_time = self.expected[&Kind::Full].due(now);
        for kind in [Kind::Full, Kind::Incremental] {
            let schedule = self.expected.get_mut(&kind).unwrap();
            let Some(time) = schedule.due(now) else { continue };
            if schedule.is_running {
                continue;
            }
            schedule.next = Some(schedule.next_after(now));
            if storage_fails {
                continue;
            }
            // A full backup of the same time or a later one may be done first.
            let last_full = self.wanted.keys().filter(|(kind, _)| *kind == Kind::Full).map(|(_, time)| *time).max();
            if kind == Kind::Incremental && last_full.is_some_and(|full| full >= time) {
                self.optional.push((kind, time));
            } else {
                self.wanted.insert((kind, time), ());
            }
            self.expected.get_mut(&kind).unwrap().is_running = stuck;
        }
        let waits = self.expected[&Kind::Incremental].waits_for_full;
        if full_time.is_some() && waits && !storage_fails && !stuck {
            self.full_has_ended();
        }
    }

    fn full_has_ended(&mut self) {
        let now = self.now();
        let incremental = self.expected.get_mut(&Kind::Incremental).unwrap();
        if incremental.waits_for_full {
            incremental.waits_for_full = false;
            incremental.next = Some(incremental.next_after(now));
        }
    }

    /// Lets time pass, to a minute that is not near midnight.
    fn pass(&mut self, minutes: i64) {
        let mut minutes = minutes;
        let then = |minutes: i64| self.now() + chrono::Duration::minutes(minutes);
        while !(30..24 * 60 - 60).contains(&(then(minutes).num_minutes_of_day())) {
            minutes += 30;
        }
        self.clock.advance(MINUTE * minutes as u32);
    }

    async fn restart(&mut self, minutes: i64) {
        let (directory, storage) = self.local.take().unwrap().stop().await;
        self.pass(minutes);
        self.local = Some(Local::start_on(directory, storage, self.clock.clone()).await);
    }
}

fn read_time(text: &str) -> DateTime<Utc> {
    let read = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z");
    read.unwrap_or_else(|_| panic!("no time: {text}")).with_timezone(&Utc)
}

trait MinutesOfDay {
    fn num_minutes_of_day(&self) -> i64;
}

impl MinutesOfDay for DateTime<Utc> {
    fn num_minutes_of_day(&self) -> i64 {
        self.signed_duration_since(self.with_time(NaiveTime::MIN).unwrap()).num_minutes()
    }
}

async fn set_up(seed: u64) -> Year {
    let start = DateTime::parse_from_rfc3339("2026-01-01T10:00:30Z").unwrap();
    let clock = Arc::new(ManualClock::new(start.timestamp_nanos_opt().unwrap()));
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start_on(directory, Arc::new(Faulty::default()), clock.clone()).await;
    run(&local.client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, at TIMESTAMPTZ)").await;
    let create = "CREATE SCHEDULE year FOR BACKUP DATABASE d INTO 'faulty://year' RECURRING '@daily' FULL BACKUP '@weekly' WITH SCHEDULE OPTIONS first_run = 'now'";
    let created = rows(&local.client, create).await;
    let ids = [(Kind::Incremental, created[0][0].parse().unwrap()), (Kind::Full, created[1][0].parse().unwrap())];
    let expected = [Kind::Incremental, Kind::Full].map(|kind| {
        (kind, Expected { kind, next: None, waits_for_full: kind == Kind::Incremental, is_running: false })
    });
    let mut year = Year {
        local: Some(local),
        clock,
        random: StdRng::seed_from_u64(seed),
        ids: ids.into(),
        expected: expected.into(),
        found: BTreeMap::new(),
        wanted: BTreeMap::new(),
        optional: Vec::new(),
        seed,
        log: Vec::new(),
    };
    year.wanted.insert((Kind::Full, read_time(&created[1][3])), ());
    year.settle(false).await;
    let now = year.now();
    let full = year.expected.get_mut(&Kind::Full).unwrap();
    full.next = Some(full.next_after(now));
    year.full_has_ended();
    year
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_a_schedule_is_what_a_model_says() {
    let seed = crate::harness::seed();
    let mut year = set_up(seed).await;
    year.compare();
    let days = if std::env::var_os("KEEPSAFE_TEST_SECONDS").is_some() { 365 } else { DAYS };
    let end = year.now() + chrono::Duration::days(days);
    let (mut row, mut restored, mut stuck, mut paused) = (0, 0, false, None);
    let mut added: Vec<DateTime<Utc>> = Vec::new();
    while year.now() < end {
        row += 1;
        run(&year.local().client, &format!("INSERT INTO d.t VALUES ({row}, now())")).await;
        added.push(year.now());
        let minutes = match year.random.random_range(0..4) {
            0 => year.random.random_range(20..300),
            3 => year.random.random_range(24 * 60..72 * 60),
            _ => year.random.random_range(6 * 60..30 * 60),
        };
        let mut storage_fails = false;
        match year.random.random_range(0..20) {
            0 | 1 if !stuck => {
                storage_fails = true;
                year.local().storage.set(vec![(0, Fault::Gone)]);
                year.pass(minutes);
                year.note("storage is gone".into());
            }
            2 | 3 if !stuck => {
                stuck = true;
                year.local().storage.set_stuck(true);
                year.pass(minutes);
                year.note("backups are stuck".into());
            }
            4 if !stuck => {
                year.restart(minutes).await;
                year.note("the server was down".into());
            }
            5 if paused.is_none() => {
                let kind = if year.random.random() { Kind::Full } else { Kind::Incremental };
                run(&year.local().client, &format!("PAUSE SCHEDULE {}", year.ids[&kind])).await;
                year.expected.get_mut(&kind).unwrap().next = None;
                paused = Some(kind);
                year.pass(minutes);
                year.note(format!("{kind:?} was paused"));
            }
            _ => {
                year.pass(minutes);
                year.note("time passed".into());
            }
        }
        year.run_model(storage_fails, stuck);
        year.settle(stuck).await;
        year.compare();
        if storage_fails {
            year.local().storage.set(Vec::new());
        }
        if stuck && year.random.random_range(0..3) == 0 {
            stuck = false;
            year.local().storage.set_stuck(false);
            year.note("backups go on".into());
            year.expected.values_mut().for_each(|schedule| schedule.is_running = false);
            year.settle(false).await;
            // What has waited runs now.
            year.run_model(false, false);
            year.settle(false).await;
            year.compare();
        }
        if let Some(kind) = paused.filter(|_| year.random.random_range(0..3) == 0) {
            run(&year.local().client, &format!("RESUME SCHEDULE {}", year.ids[&kind])).await;
            let now = year.now();
            let schedule = year.expected.get_mut(&kind).unwrap();
            schedule.next = Some(schedule.next_after(now));
            paused = None;
            year.note(format!("{kind:?} was resumed"));
        }
        let held = "SELECT count(*) FROM system.protected_ts_records WHERE owner_type = 'schedule'";
        assert_eq!(value(&year.local().client, held).await, "1", "{}", year.trace());
        if !stuck && year.random.random_range(0..15) == 0 {
            restored += 1;
            let client = &year.local().client;
            let top =
                value(client, "SELECT max(end_time)::TEXT FROM [SHOW BACKUP FROM LATEST IN 'faulty://year']").await;
            let top = read_time(&top);
            run(client, "RESTORE DATABASE d FROM LATEST IN 'faulty://year' WITH new_db_name = 'r'").await;
            let expected = added.iter().filter(|at| **at <= top).count();
            assert_eq!(value(client, "SELECT count(*) FROM r.t").await, expected.to_string(), "{}", year.trace());
            run(client, "DROP DATABASE r CASCADE").await;
        }
    }
    println!("{} runs, {row} steps, {restored} restored", year.found.len());
    assert!(year.found.len() as i64 > days / 3);
    // Every job that was made came to a good end, in its time.
    year.local().storage.set_stuck(false);
    year.settle(false).await;
    assert!(year.found.values().all(|status| status == "succeeded" || status == "running"));
    run(&year.local().client, "DROP SCHEDULES SELECT id FROM [SHOW SCHEDULES]").await;
    assert_eq!(value(&year.local().client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    fail(&year.local().client, &format!("SHOW SCHEDULE {}", year.ids[&Kind::Full])).await;
    year.local.take().unwrap().stop().await;
}
