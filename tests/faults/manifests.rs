//! Manifests, file lists, index entries and encryption headers made up by somebody who gets every digest right.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Panics in this process are counted from now on.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest by which a file is named.
fn digest(file: &[u8]) -> String {
    hex(Sha256::digest(file))
}

/// What a file says: its first line has format and digest.
fn decode(file: &[u8]) -> Value {
    let line = file.iter().position(|byte| *byte == b'\n').unwrap();
    serde_json::from_slice(&file[line + 1..]).unwrap()
}

fn encode(json: &Value) -> Vec<u8> {
    let json = json.to_string();
    let sum = hex(Sha256::new().chain_update(1u32.to_be_bytes()).chain_update(&json).finalize());
    format!("keepsafe-backup 1 {sum}\n{json}").into_bytes()
}

/// Changes one place of a tree.
fn change(value: &mut Value, random: &mut StdRng) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.random_range(0..8) > 0 => {
            let name = fields.keys().nth(random.random_range(0..fields.len())).unwrap().clone();
            match random.random_range(0..12) {
                0 => drop(fields.remove(&name)),
                _ => change(&mut fields[&name], random),
            }
        }
        Value::Array(items) if !items.is_empty() && random.random_range(0..8) > 0 => {
            let at = random.random_range(0..items.len());
            match random.random_range(0..8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => items.reverse(),
                _ => change(&mut items[at], random),
            }
        }
        other => {
            let numbers = [0, 1, -1, 7, i64::MAX, i64::MIN, 100, 4_000_000_000];
            *other = match random.random_range(0..6) {
                0 => Value::Null,
                1 => Value::from(u64::MAX),
                2 => Value::from(""),
                3 => Value::from("zz/../\u{1f512}"),
                4 => Value::from("ff".repeat(random.random_range(0..40))),
                _ => Value::from(numbers[random.random_range(0..numbers.len())]),
            };
        }
    }
}

/// Makes every size in a tree the largest there is, so that no sum of two of them fits.
fn exaggerate(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "rows" | "bytes" | "entries" | "size_bytes" | "data_bytes" => *value = Value::from(u64::MAX),
                    _ => exaggerate(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(exaggerate),
        _ => {}
    }
}

/// Changes a file of JSON; the new one, with a right digest.
async fn forge(storage: &Faulty, name: &str, random: &mut StdRng) -> Vec<u8> {
    let mut json = decode(&storage.read(name).await);
    match random.random_range(0..6) {
        0 => exaggerate(&mut json),
        _ => (0..random.random_range(1..3)).for_each(|_| change(&mut json, random)),
    }
    encode(&json)
}

/// Puts a file in the place of another, and its digest in the place of the other's in whatever names it, up to the index.
async fn replace(storage: &Faulty, directory: &str, name: &str, forged: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let mut undo = Vec::new();
    let (mut name, mut forged) = (name.to_string(), forged);
    loop {
        let good = storage.read(&name).await;
        let (old, new) = (digest(&good), digest(&forged));
        storage.write(&name, &forged).await;
        undo.push((name.clone(), good.to_vec()));
        let mut naming = None;
        for candidate in storage.names(directory).await {
            let file = storage.read(&candidate).await;
            if candidate != name && String::from_utf8_lossy(&file).contains(&old) {
                let text = decode(&file).to_string().replace(&old, &new);
                naming = Some((candidate, encode(&serde_json::from_str(&text).unwrap())));
                break;
            }
        }
        match naming {
            Some((next, file)) => (name, forged) = (next, file),
            None => return undo,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_manifests_with_right_digests_hurt_nobody() {
    let seed = crate::harness::seed();
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    count_panics();
    let local = Local::start().await;
    local.chain("faulty://c", "WITH revision_history").await;
    run(&local.client, "BACKUP DATABASE d INTO 'faulty://e' WITH encryption_passphrase = 'p'").await;
    // None of it may take for ever.
    run(&local.client, "SET statement_timeout = '20s'").await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut done, mut refused) = (0, 0);
    while Instant::now() < end {
        let encrypted = random.random_range(0..5) == 0;
        let (directory, with) = if encrypted { ("e", ", encryption_passphrase = 'p'") } else { ("c", "") };
        let fit = |name: &String| match encrypted {
            true => name.ends_with("ENCRYPTION-INFO") || name.contains("/index/"),
            false => name.ends_with("MANIFEST") || name.contains("/FILES-") || name.contains("metadata/"),
        };
        let names: Vec<String> = local.storage.names(directory).await.into_iter().filter(fit).collect();
        let name = &names[random.random_range(0..names.len())];
        let forged = forge(&local.storage, name, &mut random).await;
        let told = String::from_utf8_lossy(&forged).into_owned();
        let undo = replace(&local.storage, directory, name, forged).await;
        let from = format!("FROM LATEST IN 'faulty://{directory}'");
        for statement in [
            format!("RESTORE DATABASE d {from} WITH new_db_name = 'r'{with}"),
            format!("SHOW BACKUP {from} WITH check_files{with}"),
            format!("SHOW BACKUP SCHEMAS {from} WITH privileges{with}"),
            format!("SHOW BACKUP VALIDATE {from}{}", with.replace(',', " WITH")),
            format!("SHOW BACKUPS IN 'faulty://{directory}'"),
        ] {
            match local.client.batch_execute(&statement).await {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(error.as_db_error().is_some(), "seed {seed}: {statement}: {error:?}\n{name}: {told}");
                    refused += 1;
                }
            }
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "seed {seed}: {statement}\n{name}: {told}");
        }
        // Whatever was restored can be looked at and dropped.
        if local.client.batch_execute("SELECT * FROM r.t LIMIT 3").await.is_err() {
            refused += 1;
        }
        let _ = local.client.batch_execute("DROP DATABASE r CASCADE").await;
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "seed {seed}\n{name}: {told}");
        for (name, good) in undo.into_iter().rev() {
            local.storage.write(&name, &good).await;
        }
    }
    println!("{done} done, {refused} refused");
    assert!(done > 0 && refused > 0);
    local.stop().await;
}
