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

/// The pieces of a plain file: of every block its stored place, raw bytes, entries and space; the raw index apart.
struct Pieces {
    blocks: Vec<(Vec<u8>, u64, u64, Vec<u8>)>,
}

impl Pieces {
    fn of(run: &FinishedRun) -> Pieces {
        let file = &run.bytes;
        let footer = &file[file.len() - MAGIC.len() - CHECKSUM_BYTES - FOOTER_BYTES..];
        let offset = u64::from_be_bytes(footer[..8].try_into().unwrap()) as usize;
        let length = u32::from_be_bytes(footer[8..12].try_into().unwrap()) as usize;
        let index = zstd::bulk::decompress(&file[offset..offset + length], 1 << 20).unwrap();
        let (mut rest, mut blocks) = (&index[..], Vec::new());
        while !rest.is_empty() {
            let numbers: Vec<u64> = (0..6).map(|_| crate::kv::varint::take_number(&mut rest).unwrap()).collect();
            let key = crate::kv::varint::take(&mut rest, numbers[5] as usize).unwrap().to_vec();
            let stored = &file[numbers[0] as usize..(numbers[0] + numbers[1]) as usize];
            let raw = zstd::bulk::decompress(stored, numbers[2] as usize).unwrap();
            blocks.push((raw, numbers[3], numbers[4], key));
        }
        Pieces { blocks }
    }

    /// A file of these pieces with every checksum right; `lie` may change any number on its way into index and footer.
    fn file(&self, id: FileId, meta: &RunMeta, mut lie: impl FnMut(u64) -> u64) -> (Bytes, RunMeta) {
        let mut file = Vec::new();
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&FORMAT.to_be_bytes());
        file.extend_from_slice(&[0, 0]);
        file.extend_from_slice(&id.0.to_be_bytes());
        file.extend_from_slice(&checksum(id, HEADER_NUMBER, &file).to_be_bytes());
        let mut index = Vec::new();
        let guard = |file: &mut Vec<u8>, number: u64, piece: &[u8]| {
            file.extend_from_slice(piece);
            file.extend_from_slice(&checksum(id, number, piece).to_be_bytes());
        };
        for (number, (raw, entries, space, key)) in self.blocks.iter().enumerate() {
            let stored = zstd::bulk::compress(raw, ZSTD_LEVEL).unwrap();
            let numbers =
                [file.len() as u64, stored.len() as u64, raw.len() as u64, *entries, *space, key.len() as u64];
            numbers.into_iter().for_each(|number| crate::kv::varint::push(&mut index, lie(number)));
            index.extend_from_slice(key);
            guard(&mut file, number as u64, &stored);
        }
        let stored = zstd::bulk::compress(&index, ZSTD_LEVEL).unwrap();
        let mut footer = Vec::new();
        footer.extend_from_slice(&lie(file.len() as u64).to_be_bytes());
        footer.extend_from_slice(&(lie(stored.len() as u64) as u32).to_be_bytes());
        footer.extend_from_slice(&(lie(index.len() as u64) as u32).to_be_bytes());
        for count in [meta.entries, meta.rows, meta.data_bytes] {
            footer.extend_from_slice(&lie(count).to_be_bytes());
        }
        footer.extend_from_slice(&id.0.to_be_bytes());
        guard(&mut file, INDEX_NUMBER, &stored);
        guard(&mut file, FOOTER_NUMBER, &footer);
        file.extend_from_slice(&MAGIC);
        let meta = RunMeta { size_bytes: file.len() as u64, checksum: crc32c::crc32c(&file), ..meta.clone() };
        (file.into(), meta)
    }
}

/// Files whose checksums are all right and whose contents are not: what a checksum cannot find must be found by the decoder.
#[tokio::test]
async fn a_made_up_file_with_right_checksums_hurts_nobody() {
    use rand::{Rng, SeedableRng};
    let seed: u64 = std::env::var("KEEPSAFE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let mut writer = RunWriter::new();
    for n in 0..300 {
        let key = format!("key{n}");
        let entry = Entry { key: key.as_bytes(), value: Some(b"v"), time: Timestamp(n) };
        writer.push(SpaceId(n as u64 / 100), entry).unwrap();
    }
    let run = writer.finish().unwrap();
    let (same, meta) = Pieces::of(&run).file(run.meta.id, &run.meta, |number| number);
    assert_eq!(same, run.bytes, "this test knows the format");
    assert_eq!(meta, run.meta);
    let (mut read, mut refused) = (0, 0);
    while std::time::Instant::now() < end {
        let mut pieces = Pieces::of(&run);
        let at = random.random_range(0..pieces.blocks.len());
        let (raw, entries, space, key) = &mut pieces.blocks[at];
        match random.random_range(0..7) {
            0 => *entries = random.random_range(0..1000),
            1 => *space = random.random_range(0..4),
            2 => *key = vec![random.random(); random.random_range(0..50)],
            3 => raw.truncate(random.random_range(0..raw.len())),
            4 => pieces.blocks.swap(0, 1),
            _ => {
                for _ in 0..random.random_range(1..6) {
                    let place = random.random_range(0..raw.len());
                    raw[place] = if random.random() { 0xff } else { random.random() };
                }
            }
        }
        let liar = random.random_range(0..60);
        let lies = [0, 1, u64::from(u32::MAX), 1 << 40, u64::MAX, i64::MAX as u64, random.random()];
        let instead = lies[random.random_range(0..lies.len())];
        let mut count = 0;
        let (file, meta) = pieces.file(run.meta.id, &run.meta, |number| {
            count += 1;
            if count == liar { instead } else { number }
        });
        match read_all(file, &meta, None).await {
            Ok(_) => read += 1,
            Err(error) => {
                assert!(error.to_string().contains("run.kvs") || matches!(error, Error::Storage(_)), "{error}");
                refused += 1;
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 0 && refused > 0);
}

#[tokio::test]
async fn long_keys_that_share_nearly_everything_make_no_large_blocks() {
    let mut writer = RunWriter::new();
    let start = "k".repeat(20_000);
    for n in 0..2_000 {
        let key = format!("{start}{n:08}");
        let entry = Entry { key: key.as_bytes(), value: None, time: Timestamp(1) };
        writer.push(SpaceId(1), entry).unwrap();
    }
    let run = writer.finish().unwrap();
    let location = stored(run.bytes).await;
    let reader = RunReader::open(&location, "run.kvs", &run.meta, None).await.unwrap();
    let batches: Vec<Batch> = reader.read(Span::all(SpaceId(1))).try_collect().await.unwrap();
    assert_eq!(batches.iter().map(Batch::len).sum::<usize>(), 2_000);
    assert!(batches.iter().all(|batch| batch.size_bytes() < 2 * DECODED_BLOCK_BYTES));
}
