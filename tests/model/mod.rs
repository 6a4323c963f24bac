//! The random model test: changes of schemas and rows against the server and against a model that keeps all history; backups
//! of every kind; restores to random instants, compared in every row and statement; kills, and clocks that jump.

mod cluster;
mod compare;
mod world;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use cluster::{Answer, Cluster};
use compare::{assert_same, equal};
use world::{Change, World, fresh, random_change};

/// Seconds, unless `KEEPSAFE_TEST_SECONDS` says otherwise.
const SECONDS: u64 = 60;
const PASSPHRASE: &str = "encryption_passphrase = 'the model knows it'";
/// History is kept for as long.
const TTL_NANOS: i128 = 4 * 3600 * 1_000_000_000;

/// What a chain of backups is of.
#[derive(Clone, Debug)]
enum Target {
    Cluster,
    Database(String),
    Tables(Vec<(String, String)>),
}

impl Target {
    fn sql(&self) -> String {
        match self {
            Target::Cluster => String::new(),
            Target::Database(name) => format!("DATABASE {name}"),
            Target::Tables(tables) => {
                let names: Vec<String> = tables.iter().map(|(database, table)| format!("{database}.{table}")).collect();
                format!("TABLE {}", names.join(", "))
            }
        }
    }

    /// Whether everything it names is there.
    fn is_in(&self, world: &World) -> bool {
        match self {
            Target::Cluster => true,
            Target::Database(name) => world.contains_key(name),
            Target::Tables(tables) => tables.iter().all(|(database, table)| {
                world.get(database).is_some_and(|database| database.tables.contains_key(table))
            }),
        }
    }
}

struct Chain {
    uri: String,
    /// Of the full backup.
    path: String,
    target: Target,
    encrypted: bool,
    layers: Vec<Layer>,
    /// What it needs may have been collected.
    given_up: bool,
}

struct Layer {
    end: i128,
    history: bool,
    world: World,
}

impl Chain {
    fn options(&self, history: bool) -> Vec<String> {
        let history = history.then(|| "revision_history".to_string());
        history.into_iter().chain(self.encrypted.then(|| PASSPHRASE.to_string())).collect()
    }
}

fn with(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) }
}

struct Model {
    random: StdRng,
    counter: u64,
    cluster: Cluster,
    world: World,
    /// Every instant at which the world is known, in order.
    instants: Vec<(i128, World)>,
    chains: Vec<Chain>,
    done: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    changes: usize,
    layers: usize,
    restores: usize,
    kills: usize,
    refusals: usize,
}

impl Model {
    async fn new(seed: u64) -> Model {
        let cluster = Cluster::start().await;
        let mut model = Model {
            random: StdRng::seed_from_u64(seed),
            counter: 0,
            cluster,
            world: World::new(),
            instants: Vec::new(),
            chains: Vec::new(),
            done: Tally::default(),
        };
        model.cluster.run("DROP DATABASE postgres; DROP DATABASE defaultdb").await;
        model.note().await;
        model
    }

    /// Remembers how the world is now.
    async fn note(&mut self) {
        compare::learn_statements(&mut self.cluster, &mut self.world).await;
        let now = self.cluster.now().await;
        assert!(self.instants.last().is_none_or(|(last, _)| *last < now), "time went back");
        self.instants.push((now, self.world.clone()));
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..70 => self.change().await,
            70..84 => self.back_up().await,
            84..97 => self.restore().await,
            97 => self.restore_cluster().await,
            _ => {
                let seconds = *[0, 0, 1, 3600, -7200, 30_000].iter().choose(&mut self.random).unwrap();
                self.done.kills += 1;
                self.cluster.kill().await;
                self.cluster.restart(seconds).await;
                assert_same(&mut self.cluster, &mut self.world, "after a restart").await;
                self.note().await;
            }
        }
    }

    async fn change(&mut self) {
        let Change { statements, after } = random_change(&self.world, &mut self.random, &mut self.counter);
        if statements.is_empty() {
            return;
        }
        self.done.changes += 1;
        if self.random.random_range(0..12) == 0
            && let Some(database) = self.world.keys().choose(&mut self.random).cloned()
        {
            self.cluster.make_temporary(&database).await;
        }
        let text = statements.join("; ");
        let fickle = text.contains("nextval");
        match self.random.random_range(0..40) {
            0 if !fickle => {
                self.cluster.run(&format!("BEGIN; {text}; ROLLBACK")).await;
            }
            1 if !fickle => {
                self.done.kills += 1;
                let pause = Duration::from_millis(self.random.random_range(0..60));
                self.cluster.run_and_kill(&format!("BEGIN; {text}; COMMIT"), pause).await;
                // All of it, or nothing.
                if equal(&mut self.cluster, &mut self.world).await.is_err() {
                    self.world = after;
                    assert_same(&mut self.cluster, &mut self.world, &format!("after a kill during {text}")).await;
                }
            }
            _ => {
                let whole = if statements.len() > 1 { format!("BEGIN; {text}; COMMIT") } else { text };
                self.cluster.run(&whole).await;
                self.world = after;
            }
        }
        self.note().await;
    }

    /// A chain to add to, or a new one.
    fn chain_for_backup(&mut self) -> Option<usize> {
        let fit = |(_, chain): &(usize, &Chain)| !chain.given_up && chain.target.is_in(&self.world);
        let found = self.chains.iter().enumerate().filter(fit).map(|(at, _)| at).choose(&mut self.random);
        if let Some(at) = found
            && self.random.random_range(0..4) > 0
        {
            return Some(at);
        }
        let target = match self.random.random_range(0..4) {
            0 => Target::Cluster,
            1 => {
                let all = self.world.iter().flat_map(|(name, database)| {
                    database.tables.keys().map(move |table| (name.clone(), table.clone()))
                });
                let some = all.choose_multiple(&mut self.random, 2);
                if some.is_empty() {
                    return None;
                }
                Target::Tables(some)
            }
            _ => Target::Database(self.world.keys().choose(&mut self.random)?.clone()),
        };
        let uri = format!("nodelocal://1/c{}", self.random.random_range(0..4));
        let encrypted = self.random.random_range(0..4) == 0;
        let (path, layers) = (String::new(), Vec::new());
        self.chains.push(Chain { uri, path, target, encrypted, layers, given_up: false });
        Some(self.chains.len() - 1)
    }

    async fn back_up(&mut self) {
        let Some(at) = self.chain_for_backup() else { return };
        let history = self.random.random();
        let kill = self.random.random_range(0..12) == 0;
        let last = self.chains[at].layers.last().map(|layer| layer.end);
        // Now and then of an instant in the past.
        let now = self.instants.last().map_or(0, |(time, _)| *time);
        let target = self.chains[at].target.clone();
        let past = (self.random.random_range(0..5) == 0)
            .then(|| {
                let fit = |(time, world): &&(i128, World)| {
                    last.is_none_or(|last| time / 1000 * 1000 > last)
                        && now - time < TTL_NANOS / 2
                        && target.is_in(world)
                };
                self.instants.iter().filter(fit).choose(&mut self.random).cloned()
            })
            .flatten();
        let chain = &self.chains[at];
        let into = if chain.layers.is_empty() { "INTO".into() } else { format!("INTO '{}' IN", chain.path) };
        let as_of = past.as_ref().map_or(String::new(), |(time, _)| format!(" AS OF SYSTEM TIME {time}"));
        let statement =
            format!("BACKUP {} {into} '{}'{as_of}{}", chain.target.sql(), chain.uri, with(&chain.options(history)));
        let before = self.cluster.paths(&chain.uri).await;
        let known = chain.layers.len();
        let answer = if kill {
            self.done.kills += 1;
            let pause = Duration::from_millis(self.random.random_range(0..400));
            self.cluster.run_and_kill(&statement, pause).await;
            self.cluster.wait_for_jobs().await;
            Answer::Done
        } else {
            self.cluster.try_run(&statement).await
        };
        let now = self.cluster.now().await;
        let chain = &mut self.chains[at];
        if let Answer::Refused(sqlstate, message) = answer {
            // Only what is older than the time to keep may be gone.
            let needed = past.as_ref().map_or(now, |(time, _)| *time).min(last.unwrap_or(now));
            assert!(sqlstate == "72000" && now - needed > TTL_NANOS * 9 / 10, "{statement}: {sqlstate} {message}");
            chain.given_up = true;
            self.done.refusals += 1;
            return;
        }
        if chain.layers.is_empty() {
            let paths = self.cluster.paths(&chain.uri).await;
            match paths.into_iter().find(|path| !before.contains(path)) {
                Some(path) => chain.path = path,
                None => {
                    assert!(kill, "{statement} left nothing");
                    self.chains.remove(at);
                    return;
                }
            }
        }
        let with = with(&chain.options(false));
        let ends = self.cluster.ends(&chain.uri, &chain.path, &with).await;
        if ends.len() == known && kill {
            return;
        }
        assert_eq!(ends.len(), known + 1, "{statement}");
        let world = past.map_or_else(|| self.world.clone(), |(_, world)| world);
        chain.layers.push(Layer { end: ends[known], history, world });
        self.done.layers += 1;
    }

    /// A chain, an instant it can be restored to, and how the world was then; whether it may be refused.
    fn instant_to_restore(&mut self) -> Option<(usize, Option<i128>, World, bool)> {
        let found = self.chains.iter().enumerate().filter(|(_, chain)| !chain.layers.is_empty());
        let (at, chain) = found.choose(&mut self.random)?;
        let which = self.random.random_range(0..chain.layers.len());
        let layer = &chain.layers[which];
        if layer.history && self.random.random_range(0..4) > 0 {
            let start = if which == 0 { i128::MIN } else { chain.layers[which - 1].end };
            let covered = |(time, _): &&(i128, World)| (start + 1..=layer.end).contains(time);
            if let Some((time, world)) = self.instants.iter().filter(covered).choose(&mut self.random) {
                // A full backup has as much history as there was.
                let may_be_refused = which == 0 && layer.end - time > TTL_NANOS * 9 / 10;
                return Some((at, Some(*time), without_excluded(world, Some(&layer.world)), may_be_refused));
            }
        }
        let time = (which + 1 < chain.layers.len() || self.random.random()).then_some(layer.end);
        Some((at, time, without_excluded(&layer.world, None), false))
    }

    async fn restore(&mut self) {
        let Some((at, time, world, may_be_refused)) = self.instant_to_restore() else { return };
        let chain = &self.chains[at];
        let into = format!("r{}", fresh(&mut self.counter));
        let from = format!("FROM '{}' IN '{}'", chain.path, chain.uri);
        let as_of = time.map_or(String::new(), |time| format!(" AS OF SYSTEM TIME {time}"));
        let mut options = chain.options(false);
        let (whole, name) = match &chain.target {
            Target::Cluster => (true, world.keys().choose(&mut self.random).cloned()),
            Target::Database(name) => (true, Some(name.clone())),
            Target::Tables(tables) => (false, tables.iter().choose(&mut self.random).map(|(name, _)| name.clone())),
        };
        let Some(name) = name else { return };
        let whole = whole && self.random.random_range(0..3) > 0;
        let Some(database) = world.get(&name) else {
            let statement = format!("RESTORE DATABASE {name} {from}{as_of}{}", with(&options));
            let refused = self.cluster.try_run(&statement).await;
            assert!(matches!(refused, Answer::Refused(..)), "{statement}: there is no such database then");
            return;
        };
        let mut expected = (**database).clone();
        let statement = if whole {
            options.push(format!("new_db_name = '{into}'"));
            format!("RESTORE DATABASE {name} {from}{as_of}{}", with(&options))
        } else {
            let mut tables: Vec<String> = match &chain.target {
                Target::Tables(tables) => {
                    let here = tables.iter().filter(|(database, _)| *database == name);
                    here.map(|(_, table)| table.clone()).filter(|table| expected.tables.contains_key(table)).collect()
                }
                _ => expected.tables.keys().cloned().collect(),
            };
            tables = tables.into_iter().choose_multiple(&mut self.random, 2);
            if tables.is_empty() {
                return;
            }
            expected.tables.retain(|table, _| tables.contains(table));
            expected.views.clear();
            expected.sequences.clear();
            let used = |name: &String| {
                let kind = world::Kind::Enum(name.clone());
                expected.tables.values().any(|table| table.columns.iter().any(|column| column.kind == kind))
            };
            let enums = expected.enums.iter().filter(|(name, _)| used(name));
            expected.enums = enums.map(|(name, labels)| (name.clone(), labels.clone())).collect();
            options.push(format!("into_db = '{into}'"));
            self.cluster.run(&format!("CREATE DATABASE {into}")).await;
            let names: Vec<String> = tables.iter().map(|table| format!("{name}.{table}")).collect();
            format!("RESTORE TABLE {} {from}{as_of}{}", names.join(", "), with(&options))
        };
        let answer = if self.random.random_range(0..15) == 0 {
            self.done.kills += 1;
            let pause = Duration::from_millis(self.random.random_range(0..400));
            self.cluster.run_and_kill(&statement, pause).await;
            self.cluster.wait_for_jobs().await;
            let restored = self.cluster.has_restored(&into).await;
            if restored { Answer::Done } else { Answer::Refused("killed".into(), String::new()) }
        } else {
            self.cluster.try_run(&statement).await
        };
        match answer {
            Answer::Refused(sqlstate, message) => {
                assert!(sqlstate == "killed" || may_be_refused, "{statement}: {sqlstate} {message}");
                self.done.refusals += usize::from(may_be_refused);
                self.cluster.run(&format!("DROP DATABASE IF EXISTS {into} CASCADE")).await;
            }
            Answer::Done => {
                self.done.restores += 1;
                let mut restored = World::from([(into.clone(), expected.into())]);
                assert_same(&mut self.cluster, &mut restored, &statement).await;
                // What came back lives on, at times.
                if self.world.len() < 5 && self.random.random_range(0..3) == 0 {
                    compare::give_new_ids(&mut restored, &mut self.counter);
                    self.world.extend(restored);
                } else {
                    self.cluster.run(&format!("DROP DATABASE {into} CASCADE")).await;
                }
                self.note().await;
            }
        }
    }

    /// A whole cluster, into an empty one.
    async fn restore_cluster(&mut self) {
        let fit = |chain: &&Chain| matches!(chain.target, Target::Cluster) && !chain.layers.is_empty();
        let Some(chain) = self.chains.iter().filter(fit).choose(&mut self.random) else { return };
        let layer = chain.layers.iter().choose(&mut self.random).unwrap();
        let mut other = self.cluster.another().await;
        let statement = format!(
            "RESTORE FROM '{}' IN '{}' AS OF SYSTEM TIME {}{}",
            chain.path,
            chain.uri,
            layer.end,
            with(&chain.options(false))
        );
        other.run(&statement).await;
        assert_same(&mut other, &mut without_excluded(&layer.world, None), &statement).await;
        self.done.restores += 1;
        other.stop();
    }
}

/// Tables kept out of backups have no rows: those of the world itself, and those that are kept out at the end of a layer.
fn without_excluded(world: &World, end: Option<&World>) -> World {
    let at_end = end.unwrap_or(world).values().flat_map(|database| database.tables.values());
    let out: Vec<u64> = at_end.filter(|table| table.excluded).map(|table| table.id).collect();
    let mut world = world.clone();
    for database in world.values_mut() {
        let tables = &mut std::rc::Rc::make_mut(database).tables;
        for table in tables.values_mut().filter(|table| table.excluded || out.contains(&table.id)) {
            let table = std::rc::Rc::make_mut(table);
            table.rows.clear();
            // A table that is kept out at the end of a layer is restored as one that is kept out, at any time.
            if !table.excluded {
                table.excluded = true;
                table
                    .statement
                    .iter_mut()
                    .for_each(|statement| *statement += " WITH (exclude_data_from_backup = true)");
            }
        }
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_restores_are_what_the_model_says() {
    let seed = crate::harness::seed();
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let mut model = Model::new(seed).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        model.step().await;
    }
    println!("{:?}", model.done);
    assert!(model.done.changes > 0);
    model.cluster.stop();
}
