//! Whether databases are as the model says.

use std::rc::Rc;

use super::cluster::{Answer, Cluster};
use super::world::{Table, World, fresh};

/// After a crash or a restore, a sequence goes on at most so many numbers later.
const NUMBERS_AT_ONCE: i64 = 32;

/// The first difference between a world and what the server has under its names, if there is one. Learns how far sequences are.
pub async fn equal(cluster: &mut Cluster, world: &mut World) -> Result<(), String> {
    for (name, database) in world.iter_mut() {
        let Answer::Done = cluster.try_run(&format!("SHOW TABLES FROM {name}")).await else {
            return Err(format!("there is no database {name}"));
        };
        let mut found: Vec<Vec<String>> = cluster
            .rows(&format!("SELECT table_name, type FROM [SHOW TABLES FROM {name}] WHERE {}", cluster.lasting(name)))
            .await;
        found.sort();
        let names = |of: &mut dyn Iterator<Item = &String>, kind: &str| -> Vec<Vec<String>> {
            of.map(|name| vec![name.clone(), kind.to_string()]).collect()
        };
        let mut expected = names(&mut database.tables.keys(), "table");
        expected.extend(names(&mut database.views.keys(), "view"));
        expected.extend(names(&mut database.sequences.keys(), "sequence"));
        expected.sort();
        if found != expected {
            return Err(format!("{name} has {found:?}, not {expected:?}"));
        }
        let found = cluster.rows(&format!("SELECT name, values FROM [SHOW ENUMS FROM {name}]")).await;
        let made = |(name, labels): (&String, &Vec<String>)| vec![name.clone(), format!("{{{}}}", labels.join(","))];
        let expected: Vec<Vec<String>> = database.enums.iter().map(made).collect();
        if found != expected {
            return Err(format!("{name} has the types {found:?}, not {expected:?}"));
        }
        for (table_name, table) in &database.tables {
            equal_table(cluster, &format!("{name}.{table_name}"), table).await?;
        }
        for (view, table) in &database.views {
            let found = cluster.rows(&format!("SELECT count(*) FROM {name}.{view}")).await;
            let expected = database.tables[table].rows.keys().filter(|key| **key >= 0).count();
            if found[0][0] != expected.to_string() {
                return Err(format!("{name}.{view} has {found:?} rows, not {expected}"));
            }
        }
        let mut values = Vec::new();
        for (sequence, value) in &database.sequences {
            let found = cluster.rows(&format!("SELECT last_value, is_called FROM {name}.{sequence}")).await;
            let (last, called): (i64, _) = (found[0][0].parse().unwrap(), found[0][1] == "t");
            let expected = if *value == 0 { 1..=1 } else { *value..=value + NUMBERS_AT_ONCE };
            if called != (*value > 0) || !expected.contains(&last) {
                return Err(format!("{name}.{sequence} is at {found:?}, not {value}"));
            }
            values.push((sequence.clone(), if called { last } else { 0 }));
        }
        Rc::make_mut(database).sequences.extend(values);
    }
    Ok(())
}

async fn equal_table(cluster: &mut Cluster, place: &str, table: &Table) -> Result<(), String> {
    let columns: Vec<&str> = table.columns.iter().map(|column| &column.name[..]).collect();
    let Answer::Done = cluster.try_run(&format!("SELECT {} FROM {place} LIMIT 0", columns.join(", "))).await else {
        return Err(format!("{place} does not have the columns {columns:?}"));
    };
    let found = cluster.rows(&format!("SELECT * FROM {place} ORDER BY k")).await;
    let expected = table.shown();
    if found != expected {
        let different = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        return Err(format!("{place} has {} rows, not {}; {different:?}", found.len(), expected.len()));
    }
    let statement = statement_of(cluster, place).await;
    match &table.statement {
        Some(expected) if *expected != statement => Err(format!("{place} is {statement}, not {expected}")),
        _ => Ok(()),
    }
}

/// Without the names of the table itself.
async fn statement_of(cluster: &mut Cluster, place: &str) -> String {
    let shown = cluster.rows(&format!("SHOW CREATE TABLE {place}")).await;
    shown[0][1].clone()
}

pub async fn assert_same(cluster: &mut Cluster, world: &mut World, after: &str) {
    if let Err(difference) = equal(cluster, world).await {
        panic!("{after}: {difference}");
    }
}

/// Asks the statements of tables that were changed.
pub async fn learn_statements(cluster: &mut Cluster, world: &mut World) {
    for (name, database) in world.iter_mut() {
        let unknown: Vec<String> = database
            .tables
            .iter()
            .filter(|(_, table)| table.statement.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for table in unknown {
            let statement = statement_of(cluster, &format!("{name}.{table}")).await;
            let table = Rc::make_mut(database).tables.get_mut(&table);
            table.into_iter().for_each(|table| Rc::make_mut(table).statement = Some(statement.clone()));
        }
    }
}

/// A restored table is another table than the one it came from.
pub fn give_new_ids(world: &mut World, counter: &mut u64) {
    for database in world.values_mut() {
        for table in Rc::make_mut(database).tables.values_mut() {
            Rc::make_mut(table).id = fresh(counter);
        }
    }
}
