//! What the model knows of databases: every row and every column, without any of the server's code.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

/// Databases by name.
pub type World = BTreeMap<String, Rc<Database>>;

#[derive(Clone, Default)]
pub struct Database {
    pub tables: BTreeMap<String, Rc<Table>>,
    /// Views by name: the table they read.
    pub views: BTreeMap<String, String>,
    /// Sequences by name: the last value, 0 at first.
    pub sequences: BTreeMap<String, i64>,
    /// Enumerated types by name: their labels, in order.
    pub enums: Enums,
}

pub type Enums = BTreeMap<String, Vec<String>>;

#[derive(Clone)]
pub struct Table {
    /// Stays when it is renamed.
    pub id: u64,
    pub columns: Vec<Column>,
    /// Whether the first column is the primary key; otherwise a hidden one is.
    pub keyed: bool,
    /// Rows by the first column, the other columns as text.
    pub rows: BTreeMap<i64, Vec<Option<String>>>,
    /// Indexes by name: the column, and the one that it stores.
    pub indexes: BTreeMap<String, Vec<String>>,
    /// Those of them that are on an expression, or have some rows only.
    pub computed: BTreeSet<String>,
    pub excluded: bool,
    /// What `SHOW CREATE TABLE` said; nothing if it must be asked.
    pub statement: Option<String>,
}

#[derive(Clone)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, PartialEq)]
pub enum Kind {
    Int,
    Text,
    Decimal,
    Bytes,
    Bool,
    Timestamp,
    /// An enumerated type of the database.
    Enum(String),
    /// Text that is computed from the first column.
    Computed,
    /// The first column of a row of the same table, by a constraint with this name: it follows that, or becomes NULL.
    Reference(String),
}

impl Kind {
    const PLAIN: [Kind; 6] = [Kind::Int, Kind::Text, Kind::Decimal, Kind::Bytes, Kind::Bool, Kind::Timestamp];

    /// One that a new column can have.
    fn any(enums: &Enums, random: &mut StdRng) -> Kind {
        let made = enums.keys().map(|name| Kind::Enum(name.clone()));
        Kind::PLAIN.into_iter().chain(made).choose(random).unwrap()
    }

    /// As a statement names it that is about a table of this database.
    fn sql(&self, database: &str) -> String {
        match self {
            Kind::Enum(name) => return format!("{database}.public.{name}"),
            Kind::Int => "INT8",
            Kind::Text => "TEXT",
            Kind::Decimal => "DECIMAL(12, 2)",
            Kind::Bytes => "BYTES",
            Kind::Bool => "BOOL",
            Kind::Timestamp => "TIMESTAMP",
            Kind::Reference(_) => "INT8",
            Kind::Computed => "TEXT GENERATED ALWAYS AS (k::TEXT || 'g') STORED",
        }
        .into()
    }

    /// As a client sees it; `None` is NULL.
    fn random(&self, enums: &Enums, random: &mut StdRng) -> Option<String> {
        if random.random_range(0..6) == 0 {
            return None;
        }
        Some(match self {
            Kind::Computed | Kind::Reference(_) => return None,
            Kind::Enum(name) => enums[name].iter().choose(random).unwrap().clone(),
            Kind::Int => random.random_range(-5_000_000_000_i64..5_000_000_000).to_string(),
            Kind::Text => {
                let length = *[0, 1, 5, 20, 400].iter().choose(random).unwrap();
                (0..length)
                    .map(|_| *['a', 'b', ' ', '\'', 'ü', '\\', '%', '\u{1f512}'].iter().choose(random).unwrap())
                    .collect()
            }
            Kind::Decimal => {
                let cents: i64 = random.random_range(-1_000_000_000..1_000_000_000);
                let sign = if cents < 0 { "-" } else { "" };
                format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
            }
            Kind::Bytes => {
                let bytes = (0..random.random_range(0..12)).map(|_| format!("{:02x}", random.random::<u8>()));
                format!("\\x{}", bytes.collect::<String>())
            }
            Kind::Bool => if random.random() { "t" } else { "f" }.into(),
            Kind::Timestamp => format!(
                "20{:02}-0{}-1{} 0{}:05:06",
                random.random_range(10..99),
                random.random_range(1..9),
                random.random_range(0..9),
                random.random_range(0..9)
            ),
        })
    }
}

fn literal(value: &Option<String>) -> String {
    value.as_ref().map_or("NULL".into(), |value| format!("'{}'", value.replace('\'', "''")))
}

/// A change: what to say, and how the world is after it.
pub struct Change {
    pub statements: Vec<String>,
    pub after: World,
}

/// A value that no earlier call gave.
pub fn fresh(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter
}

fn pick<'a, V>(of: &'a BTreeMap<String, V>, random: &mut StdRng) -> Option<(&'a String, &'a V)> {
    of.iter().choose(random)
}

/// A random change of a world that has at least one database.
pub fn random_change(world: &World, random: &mut StdRng, counter: &mut u64) -> Change {
    let mut change = Change { statements: Vec::new(), after: world.clone() };
    let steps = if random.random_range(0..5) == 0 { random.random_range(2..5) } else { 1 };
    for _ in 0..steps {
        step(&mut change, random, counter);
    }
    change
}

fn step(change: &mut Change, random: &mut StdRng, counter: &mut u64) {
    let world = &mut change.after;
    let kind = random.random_range(0..100);
    if world.is_empty() || (kind < 2 && world.len() < 4) {
        let name = format!("d{}", fresh(counter));
        change.statements.push(format!("CREATE DATABASE {name}"));
        world.insert(name, Rc::default());
        return;
    }
    let name = pick(world, random).unwrap().0.clone();
    if kind < 3 && world.len() > 1 {
        change.statements.push(format!("DROP DATABASE {name} CASCADE"));
        world.remove(&name);
        return;
    }
    let database = Rc::make_mut(world.get_mut(&name).unwrap());
    if (6..12).contains(&kind) {
        return change_enums(&name, database, &mut change.statements, random, counter);
    }
    if kind < 6 {
        return sequences_and_views(&name, database, &mut change.statements, random, counter);
    }
    if database.tables.is_empty() || (kind < 18 && database.tables.len() < 6) {
        return create_table(&name, database, &mut change.statements, random, counter);
    }
    let table_name = pick(&database.tables, random).unwrap().0.clone();
    if kind < 44 {
        if !database.views.values().any(|read| *read == table_name) {
            change_table(&name, &table_name, database, &mut change.statements, random, counter);
        }
        return;
    }
    let table = Rc::make_mut(database.tables.get_mut(&table_name).unwrap());
    change.statements.extend(change_rows(&format!("{name}.{table_name}"), table, &database.enums, random));
}

fn sequences_and_views(
    name: &str,
    database: &mut Database,
    statements: &mut Vec<String>,
    random: &mut StdRng,
    counter: &mut u64,
) {
    match random.random_range(0..6) {
        0 if database.sequences.len() < 3 => {
            let sequence = format!("s{}", fresh(counter));
            statements.push(format!("CREATE SEQUENCE {name}.{sequence}"));
            database.sequences.insert(sequence, 0);
        }
        1 | 2 => {
            if let Some((sequence, value)) = database.sequences.iter_mut().choose(random) {
                statements.push(format!("SELECT nextval('{name}.{sequence}')"));
                *value += 1;
            }
        }
        3 => {
            if let Some((sequence, value)) = database.sequences.iter_mut().choose(random) {
                statements.push(format!("ALTER SEQUENCE {name}.{sequence} RESTART"));
                *value = 0;
            }
        }
        4 => {
            if let Some((table, _)) = pick(&database.tables, random) {
                let view = format!("v{}", fresh(counter));
                statements
                    .push(format!("CREATE VIEW {name}.{view} AS SELECT k FROM {name}.public.{table} WHERE k >= 0"));
                database.views.insert(view, table.clone());
            }
        }
        _ => {
            if let Some(view) = database.views.keys().choose(random).cloned() {
                statements.push(format!("DROP VIEW {name}.{view}"));
                database.views.remove(&view);
            }
        }
    }
}

fn change_enums(
    name: &str,
    database: &mut Database,
    statements: &mut Vec<String>,
    random: &mut StdRng,
    counter: &mut u64,
) {
    let Some((made, labels)) =
        database.enums.iter().choose(random).map(|(made, labels)| (made.clone(), labels.clone()))
    else {
        let (made, labels) = (format!("e{}", fresh(counter)), ["sad", "o'k", "happy"].map(String::from));
        let shown = labels.clone().map(|label| literal(&Some(label))).join(", ");
        statements.push(format!("CREATE TYPE {name}.public.{made} AS ENUM ({shown})"));
        database.enums.insert(made, labels.to_vec());
        return;
    };
    let kind = Kind::Enum(made.clone());
    let uses = |table: &Table| table.columns.iter().any(|column| column.kind == kind);
    let place = format!("{name}.public.{made}");
    match random.random_range(0..6) {
        0 if database.enums.len() < 3 => {
            let made = format!("e{}", fresh(counter));
            statements.push(format!("CREATE TYPE {name}.public.{made} AS ENUM ('one')"));
            database.enums.insert(made, vec!["one".into()]);
        }
        1 | 2 => {
            let at = random.random_range(0..labels.len());
            let added = format!("l{}", fresh(counter));
            let (word, place_in_order) = if random.random() { ("BEFORE", at) } else { ("AFTER", at + 1) };
            let beside = literal(&Some(labels[at].clone()));
            statements.push(format!("ALTER TYPE {place} ADD VALUE '{added}' {word} {beside}"));
            database.enums.get_mut(&made).unwrap().insert(place_in_order, added);
        }
        3 => {
            let at = random.random_range(0..labels.len());
            let (from, to) = (labels[at].clone(), format!("l{}", fresh(counter)));
            statements.push(format!("ALTER TYPE {place} RENAME VALUE {} TO '{to}'", literal(&Some(from.clone()))));
            database.enums.get_mut(&made).unwrap()[at] = to.clone();
            for table in database.tables.values_mut().filter(|table| uses(table)) {
                let table = Rc::make_mut(table);
                table.statement = None;
                let of_type = (1..table.columns.len()).filter(|at| table.columns[*at].kind == kind);
                for at in of_type.collect::<Vec<_>>() {
                    for row in table.rows.values_mut().filter(|row| row[at - 1].as_ref() == Some(&from)) {
                        row[at - 1] = Some(to.clone());
                    }
                }
            }
        }
        4 => {
            let to = format!("e{}", fresh(counter));
            statements.push(format!("ALTER TYPE {place} RENAME TO {to}"));
            database.enums.remove(&made);
            database.enums.insert(to.clone(), labels);
            for table in database.tables.values_mut().filter(|table| uses(table)) {
                let table = Rc::make_mut(table);
                table.statement = None;
                for column in table.columns.iter_mut().filter(|column| column.kind == kind) {
                    column.kind = Kind::Enum(to.clone());
                }
            }
        }
        _ if !database.tables.values().any(|table| uses(table)) => {
            statements.push(format!("DROP TYPE {place}"));
            database.enums.remove(&made);
        }
        _ => {}
    }
}

fn create_table(
    name: &str,
    database: &mut Database,
    statements: &mut Vec<String>,
    random: &mut StdRng,
    counter: &mut u64,
) {
    let keyed = random.random_range(0..4) > 0;
    let mut columns = vec![Column { name: "k".into(), kind: Kind::Int }];
    for _ in 0..random.random_range(1..4) {
        let kind = Kind::any(&database.enums, random);
        columns.push(Column { name: format!("c{}", fresh(counter)), kind });
    }
    let mut items: Vec<String> =
        columns.iter().map(|column| format!("{} {}", column.name, column.kind.sql(name))).collect();
    if keyed {
        items[0] += " PRIMARY KEY";
    }
    let table_name = format!("t{}", fresh(counter));
    statements.push(format!("CREATE TABLE {name}.{table_name} ({})", items.join(", ")));
    let mut table = Table {
        id: fresh(counter),
        columns,
        keyed,
        rows: BTreeMap::new(),
        indexes: BTreeMap::new(),
        computed: BTreeSet::new(),
        excluded: false,
        statement: None,
    };
    // Many rows at once are loaded another way.
    if random.random_range(0..3) == 0 {
        let count = *[50, 1000, 6000].iter().choose(random).unwrap();
        let nulls = vec!["NULL"; table.columns.len() - 1].join(", ");
        statements.push(format!(
            "INSERT INTO {name}.{table_name} SELECT g.i, {nulls} FROM generate_series(1, {count}) AS g (i)"
        ));
        table.rows = (1..=count).map(|key| (key, vec![None; table.columns.len() - 1])).collect();
    }
    database.tables.insert(table_name, Rc::new(table));
}

fn change_table(
    name: &str,
    table_name: &str,
    database: &mut Database,
    statements: &mut Vec<String>,
    random: &mut StdRng,
    counter: &mut u64,
) {
    let place = format!("{name}.{table_name}");
    if random.random_range(0..6) == 0 {
        statements.push(format!("DROP TABLE {place}"));
        database.tables.remove(table_name);
        return;
    }
    let mut table = (*database.tables[table_name]).clone();
    table.statement = None;
    let others = 1..table.columns.len();
    match random.random_range(0..10) {
        0 => {
            let kind = Kind::any(&database.enums, random);
            let column = format!("c{}", fresh(counter));
            let default = kind.random(&database.enums, random);
            let clause = if default.is_some() { format!(" DEFAULT {}", literal(&default)) } else { String::new() };
            statements.push(format!("ALTER TABLE {place} ADD COLUMN {column} {}{clause}", kind.sql(name)));
            table.columns.push(Column { name: column, kind });
            table.rows.values_mut().for_each(|row| row.push(default.clone()));
        }
        1 if table.columns.len() > 2 => {
            let at = others.choose(random).unwrap();
            let column = table.columns.remove(at);
            if let Kind::Reference(constraint) = &column.kind {
                statements.push(format!("ALTER TABLE {place} DROP CONSTRAINT {constraint}"));
            }
            statements.push(format!("ALTER TABLE {place} DROP COLUMN {}", column.name));
            table.rows.values_mut().for_each(|row| drop(row.remove(at - 1)));
            table.indexes.retain(|_, indexed| !indexed.contains(&column.name));
        }
        2 => {
            let at = others.choose(random).unwrap();
            let to = format!("c{}", fresh(counter));
            let from = std::mem::replace(&mut table.columns[at].name, to.clone());
            statements.push(format!("ALTER TABLE {place} RENAME COLUMN {from} TO {to}"));
            let indexed = table.indexes.values_mut().flatten();
            indexed.filter(|indexed| **indexed == from).for_each(|indexed| indexed.clone_from(&to));
        }
        3 => {
            let to = format!("t{}", fresh(counter));
            statements.push(format!("ALTER TABLE {place} RENAME TO {to}"));
            database.tables.remove(table_name);
            database.tables.insert(to, Rc::new(table));
            return;
        }
        4 | 5 if table.indexes.len() < 3 => {
            let index = format!("i{}", fresh(counter));
            let column = table.columns[others.clone().choose(random).unwrap()].name.clone();
            let stored: Vec<String> = match random.random_range(0..3) {
                0 => vec![table.columns[others.choose(random).unwrap()].name.clone()],
                _ => Vec::new(),
            };
            let storing = stored.iter().map(|column| format!(" STORING ({column})")).collect::<String>();
            let (unique, more) = if random.random() { ("UNIQUE ", ", k") } else { ("", "") };
            let (part, condition) = match random.random_range(0..4) {
                0 => (format!("({column} IS NULL)"), String::new()),
                1 => (column.clone(), format!(" WHERE {column} IS NOT NULL AND k > 20")),
                _ => (column.clone(), String::new()),
            };
            if part != column || !condition.is_empty() {
                table.computed.insert(index.clone());
            }
            statements.push(format!("CREATE {unique}INDEX {index} ON {place} ({part}{more}){storing}{condition}"));
            table.indexes.insert(index, std::iter::once(column).chain(stored).collect());
        }
        6 => {
            if let Some(index) = table.indexes.keys().choose(random).cloned() {
                statements.push(format!("DROP INDEX {name}.public.{index}"));
                table.indexes.remove(&index);
            }
        }
        7 => {
            table.excluded = !table.excluded;
            statements.push(format!("ALTER TABLE {place} SET (exclude_data_from_backup = {})", table.excluded));
        }
        8 => {
            // As text they are what they were, and are written anew.
            let at = others.choose(random).unwrap();
            let column = &mut table.columns[at];
            // A column that an expression names keeps its type.
            let is_named = table.indexes.iter().any(|(name, of)| of[0] == column.name && table.computed.contains(name));
            if let false = is_named
                && let Kind::Int | Kind::Decimal | Kind::Text | Kind::Enum(_) = column.kind
            {
                column.kind = Kind::Text;
                statements.push(format!("ALTER TABLE {place} ALTER COLUMN {0} TYPE TEXT USING {0}::TEXT", column.name));
            }
        }
        9 if table.keyed && random.random() => {
            let (column, constraint) = (format!("c{}", fresh(counter)), format!("f{}", fresh(counter)));
            let actions = "ON DELETE SET NULL ON UPDATE CASCADE";
            statements.push(format!("ALTER TABLE {place} ADD COLUMN {column} INT8"));
            statements.push(format!(
                "ALTER TABLE {place} ADD CONSTRAINT {constraint} FOREIGN KEY ({column}) REFERENCES {place} {actions}"
            ));
            table.columns.push(Column { name: column, kind: Kind::Reference(constraint) });
            table.rows.values_mut().for_each(|row| row.push(None));
        }
        9 if random.random() => {
            let column = format!("c{}", fresh(counter));
            statements.push(format!("ALTER TABLE {place} ADD COLUMN {column} {}", Kind::Computed.sql(name)));
            table.columns.push(Column { name: column, kind: Kind::Computed });
            table.rows.values_mut().for_each(|row| row.push(None));
        }
        9 => {
            // A default that is computed for each row, which are written anew.
            let column = format!("c{}", fresh(counter));
            statements
                .push(format!("ALTER TABLE {place} ADD COLUMN {column} TEXT DEFAULT left(gen_random_uuid()::TEXT, 0)"));
            table.columns.push(Column { name: column, kind: Kind::Text });
            table.rows.values_mut().for_each(|row| row.push(Some(String::new())));
        }
        _ => {}
    }
    database.tables.insert(table_name.into(), Rc::new(table));
}

/// The key of a row that is there, or none.
fn some_key(table: &Table, random: &mut StdRng) -> Option<String> {
    if random.random() { table.rows.keys().choose(random).map(i64::to_string) } else { None }
}

/// What rows refer to goes elsewhere, or away.
fn follow(table: &mut Table, goes: impl Fn(i64) -> Option<i64>) {
    let references =
        table.columns[1..].iter().enumerate().filter(|(_, column)| matches!(column.kind, Kind::Reference(_)));
    for at in references.map(|(at, _)| at).collect::<Vec<_>>() {
        for row in table.rows.values_mut() {
            row[at] = row[at].take().and_then(|key| goes(key.parse().unwrap())).map(|key| key.to_string());
        }
    }
}

fn change_rows(place: &str, table: &mut Table, enums: &Enums, random: &mut StdRng) -> Option<String> {
    const KEYS: i64 = 300;
    let from = random.random_range(0..KEYS);
    let to = from + *[1, 3, 40].iter().choose(random).unwrap();
    let row = |random: &mut StdRng, table: &Table| -> Vec<Option<String>> {
        let value = |column: &Column| match column.kind {
            Kind::Reference(_) => some_key(table, random),
            _ => column.kind.random(enums, random),
        };
        table.columns[1..].iter().map(value).collect()
    };
    let new_rows = |keys: Vec<i64>, table: &Table, random: &mut StdRng| -> Vec<(i64, Vec<Option<String>>)> {
        keys.into_iter().map(|key| (key, row(random, table))).collect()
    };
    let columns = table.columns.clone();
    let values = |rows: &[(i64, Vec<Option<String>>)]| -> String {
        let row = |(key, row): &(i64, Vec<Option<String>>)| {
            let cell = |(cell, column): (&Option<String>, &Column)| match column.kind {
                Kind::Computed => "DEFAULT".into(),
                _ => literal(cell),
            };
            let values: Vec<String> = row.iter().zip(&columns[1..]).map(cell).collect();
            format!("({key}, {})", values.join(", "))
        };
        rows.iter().map(row).collect::<Vec<_>>().join(", ")
    };
    match random.random_range(0..10) {
        0..4 => {
            let keys: Vec<i64> = (from..to).filter(|key| !table.rows.contains_key(key)).collect();
            if keys.is_empty() {
                return None;
            }
            let rows = new_rows(keys, table, random);
            let statement = format!("INSERT INTO {place} VALUES {}", values(&rows));
            table.rows.extend(rows);
            Some(statement)
        }
        4..6 if table.keyed => {
            let rows = new_rows((from..to).collect(), table, random);
            let statement = format!("UPSERT INTO {place} VALUES {}", values(&rows));
            table.rows.extend(rows);
            Some(statement)
        }
        4..7 => {
            let at = random.random_range(1..table.columns.len());
            let column = &table.columns[at];
            if column.kind == Kind::Computed {
                return None;
            }
            let value = match column.kind {
                Kind::Reference(_) => some_key(table, random),
                _ => column.kind.random(enums, random),
            };
            table.rows.range_mut(from..to).for_each(|(_, row)| row[at - 1] = value.clone());
            Some(format!("UPDATE {place} SET {} = {} WHERE k >= {from} AND k < {to}", column.name, literal(&value)))
        }
        7..9 => {
            table.rows.retain(|key, _| !(from..to).contains(key));
            follow(table, |key| (!(from..to).contains(&key)).then_some(key));
            Some(format!("DELETE FROM {place} WHERE k >= {from} AND k < {to}"))
        }
        _ if random.random_range(0..3) == 0 => {
            table.rows.clear();
            Some(format!("TRUNCATE {place}"))
        }
        _ => {
            let free = table.rows.keys().last().map_or(0, |last| last + 1).max(KEYS);
            if let Some(row) = table.rows.remove(&from) {
                table.rows.insert(free, row);
                follow(table, |key| Some(if key == from { free } else { key }));
            }
            Some(format!("UPDATE {place} SET k = {free} WHERE k = {from}"))
        }
    }
}

impl Table {
    /// As `SELECT *` shows it, in order of the first column.
    pub fn shown(&self) -> Vec<Vec<String>> {
        let row = |(key, row): (&i64, &Vec<Option<String>>)| {
            let cell = |(cell, column): (&Option<String>, &Column)| match column.kind {
                Kind::Computed => format!("{key}g"),
                _ => cell.clone().unwrap_or("NULL".into()),
            };
            std::iter::once(key.to_string()).chain(row.iter().zip(&self.columns[1..]).map(cell)).collect()
        };
        self.rows.iter().map(row).collect()
    }
}
