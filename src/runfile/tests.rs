use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use object_store::memory::InMemory;
use std::sync::Arc;

use super::*;
use crate::kv::{Batch, Entry, SpaceId, Span};
use crate::storage::Location;
use crate::storage::seal::ChainKey;
use crate::time::Timestamp;

type Row = (String, Option<String>, i64);

async fn rows(stream: futures::stream::BoxStream<'static, Result<Batch>>) -> Result<Vec<Row>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let batches: Vec<Batch> = stream.try_collect().await?;
    let entries = batches.iter().flat_map(|batch| batch.iter());
    Ok(entries.map(|entry| (text(entry.key), entry.value.map(text), entry.time.0)).collect())
}

/// Two spaces; the second has enough entries for many blocks.
fn sample(key: Option<&ChainKey>) -> FinishedRun {
    let mut writer = RunWriter::with_key(key).unwrap();
    let mut push = |space, key: &str, value: Option<&str>, time| {
        let entry = Entry { key: key.as_bytes(), value: value.map(str::as_bytes), time: Timestamp(time) };
        writer.push(SpaceId(space), entry).unwrap();
    };
    push(1, "", Some(""), 5);
    push(1, "a", None, 9);
    push(1, "a", Some("old"), 3);
    for n in 0..20_000 {
        push(2, &format!("key{n:06}"), Some(&format!("value {}", n * 7919 % 10_007).repeat(3)), 1_000 + n);
    }
    writer.finish().unwrap()
}

async fn stored(bytes: Bytes) -> Location {
    let location = Location::new(Arc::new(InMemory::new()), "memory:");
    location.write("run.kvs", bytes).await.unwrap();
    location
}

#[tokio::test]
async fn what_is_written_is_read() {
    let run = sample(None);
    assert_eq!((run.meta.entries, run.meta.rows), (20_003, 20_002));
    let location = stored(run.bytes).await;
    let reader = RunReader::open(&location, "run.kvs", &run.meta, None).await.unwrap();
    assert_eq!(reader.spaces(), [SpaceId(1), SpaceId(2)]);
    let first = rows(reader.read(Span::all(SpaceId(1)))).await.unwrap();
    assert_eq!(first, [("".into(), Some("".into()), 5), ("a".into(), None, 9), ("a".into(), Some("old".into()), 3)]);
    assert_eq!(rows(reader.read(Span::all(SpaceId(2)))).await.unwrap().len(), 20_000);
    let part = Span { space: SpaceId(2), start: "key004999x".into(), end: Some("key010001".into()) };
    let part = rows(reader.read(part)).await.unwrap();
    assert_eq!((part.len(), &part[0].0[..], part[0].2), (5001, "key005000", 6_000));
    assert!(rows(reader.read(Span::all(SpaceId(3)))).await.unwrap().is_empty());
    assert!(rows(reader.read(Span::all(SpaceId(0)))).await.unwrap().is_empty());
    reader.verify().await.unwrap();
}

/// Opens the file and reads all of it, as a restore would.
async fn read_all(bytes: Bytes, meta: &RunMeta, key: Option<&ChainKey>) -> Result<usize> {
    let location = stored(bytes).await;
    let reader = RunReader::open(&location, "run.kvs", meta, key).await?;
    let mut count = 0;
    for space in reader.spaces() {
        count += rows(reader.read(Span::all(space))).await?.len();
    }
    Ok(count)
}

#[tokio::test]
async fn any_damage_is_an_error_that_names_the_file() {
    let (key, _) = ChainKey::create("p").unwrap();
    for key in [None, Some(&key)] {
        let run = sample(key);
        assert_eq!(read_all(run.bytes.clone(), &run.meta, key).await, Ok(20_003));
        let size = run.bytes.len();
        let places = (0..size).step_by(size / 400).chain(0..40).chain(size - 120..size);
        for place in places {
            let mut bytes = run.bytes.to_vec();
            bytes[place] ^= 1 << (place % 8);
            let error = read_all(bytes.into(), &run.meta, key).await.expect_err(&format!("byte {place} of {size}"));
            assert!(error.to_string().contains("run.kvs"), "{error}");
        }
        for cut in [0, 1, 31, 100, size / 2, size - 1] {
            assert!(read_all(run.bytes.slice(..cut), &run.meta, key).await.is_err(), "cut to {cut}");
        }
        let other = sample(key);
        assert_eq!(other.bytes.len(), run.bytes.len());
        assert!(read_all(other.bytes, &run.meta, key).await.is_err(), "another file in its place");
    }
}

#[tokio::test]
async fn a_sealed_file_is_opened_by_its_key_only_and_shows_nothing() {
    let (key, _) = ChainKey::create("p").unwrap();
    let (other, _) = ChainKey::create("p").unwrap();
    let sealed = sample(Some(&key));
    let refused = read_all(sealed.bytes.clone(), &sealed.meta, None).await;
    assert!(matches!(refused, Err(Error::Sealed { sealed: true, .. })), "{refused:?}");
    assert!(matches!(read_all(sealed.bytes.clone(), &sealed.meta, Some(&other)).await, Err(Error::Corrupt { .. })));
    let plain = sample(None);
    let refused = read_all(plain.bytes.clone(), &plain.meta, Some(&key)).await;
    assert!(matches!(refused, Err(Error::Sealed { sealed: false, .. })), "{refused:?}");
    let counts = sealed.meta.entries.to_be_bytes();
    assert!(!sealed.bytes.windows(8).any(|window| window == counts), "not even the number of rows");
}

#[tokio::test]
async fn layers_merge_into_what_was_true_at_a_time() {
    let run = |entries: &[(&str, Option<&str>, i64)]| {
        let batches: Vec<Result<Batch>> = entries
            .chunks(2)
            .map(|chunk| {
                let mut batch = Batch::default();
                chunk.iter().for_each(|(key, value, time)| {
                    batch.push(key.as_bytes(), value.map(str::as_bytes), Timestamp(*time));
                });
                Ok(batch)
            })
            .collect();
        stream::iter(batches).boxed()
    };
    let layers = || {
        vec![
            run(&[("a", Some("1"), 10), ("b", Some("1"), 10), ("d", Some("1"), 10)]),
            run(&[("a", Some("2"), 20), ("b", None, 20), ("c", Some("2"), 20)]),
            run(&[("a", Some("3"), 30), ("b", Some("3"), 30), ("b", None, 20)]),
        ]
    };
    let at = |time| rows(merge(layers(), Merged::NewestAt(Timestamp(time))));
    let row = |key: &str, value: &str, time| (key.to_string(), Some(value.to_string()), time);
    assert_eq!(at(9).await.unwrap(), []);
    assert_eq!(at(10).await.unwrap(), [row("a", "1", 10), row("b", "1", 10), row("d", "1", 10)]);
    assert_eq!(at(25).await.unwrap(), [row("a", "2", 20), row("c", "2", 20), row("d", "1", 10)]);
    assert_eq!(at(30).await.unwrap(), [row("a", "3", 30), row("b", "3", 30), row("c", "2", 20), row("d", "1", 10)]);
    let versions = merge(layers(), Merged::Versions { after: Timestamp(10), upto: Timestamp(30) });
    assert_eq!(rows(versions).await.unwrap().len(), 5, "a version in two layers comes out once");
    let changes = merge(layers(), Merged::Changes { after: Timestamp(10), upto: Timestamp(20) });
    assert_eq!(rows(changes).await.unwrap(), [row("a", "2", 20), ("b".into(), None, 20), row("c", "2", 20)]);
}
