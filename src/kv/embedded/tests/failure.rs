//! Disks that fill up, and engines that fail and are opened again.

use std::sync::atomic::AtomicU64;

use super::changes::{at_noon, entries};
use super::disk::Room;
use super::*;

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room_and_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let free = Arc::new(AtomicU64::new(1000 * MIB));
    let looked = free.clone();
    let store = Embedded::open_with(Options {
        directory: directory.path().to_path_buf(),
        clock: clock.clone(),
        first_space: 100,
        look: Arc::new(move || Ok(Room { free: looked.load(Ordering::SeqCst), total: 10_000 * MIB })),
        cache_bytes: DEFAULT_CACHE_BYTES,
    })
    .unwrap();
    let written = put(&store, &[("a", "1")]).await;
    let write = async |space: u64| {
        clock.advance(Duration::from_secs(1));
        let txn = store.begin().await.unwrap();
        txn.put(SpaceId(space), b"b", "2".into()).unwrap();
        txn.commit().await.map(drop)
    };
    free.store(255 * MIB, Ordering::SeqCst);
    assert_eq!(write(100).await, Err(Error::DiskFull { free: 255 * MIB }));
    let at = store.now().unwrap();
    let mut batch = Batch::with_room();
    batch.push(b"k", Some(b"v"), at);
    let refused = store.ingest(stream::iter([Ok((SpaceId(1_000_300), batch))]).boxed(), at).await;
    assert_eq!(refused, Err(Error::DiskFull { free: 255 * MIB }));
    let found = entries(store.scan(Span::all(SPACE), store.now().unwrap(), Direction::Forward, None)).await;
    assert_eq!(found, [(b"a".to_vec(), Some(b"1".to_vec()), written)], "what is there is all there");
    assert_eq!(write(99).await, Ok(()), "the system notes what it must");
    let txn = store.begin().await.unwrap();
    txn.drop_space(SpaceId(1_000_200)).unwrap();
    txn.put(SPACE, b"c", "3".into()).unwrap();
    txn.commit().await.expect("what frees space is let through");
    free.store(60 * MIB, Ordering::SeqCst);
    assert_eq!(write(99).await, Err(Error::DiskFull { free: 60 * MIB }), "but not to the last byte");
    free.store(300 * MIB, Ordering::SeqCst);
    assert_eq!(write(100).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_engine_that_failed_is_opened_again_and_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, &[("held", "1")]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..4_u32).map(|writer| {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let (mut acknowledged, mut newest) = (Vec::new(), Timestamp::MIN);
            for number in 0_u32.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let key = [writer.to_be_bytes(), number.to_be_bytes()].concat();
                let commit = async {
                    let txn = store.begin().await?;
                    txn.put(SPACE, &key, "v".into())?;
                    txn.put(SpaceId(1_000_101), &key, "v".into())?;
                    txn.commit().await
                };
                match commit.await {
                    Ok(time) => {
                        assert!(time > newest, "time went back");
                        newest = time;
                        acknowledged.push(key);
                    }
                    Err(Error::Engine(_) | Error::Retry(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                    Err(error) => panic!("{error}"),
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let engine = loop {
            match store.engine() {
                Ok(engine) => break engine,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        // One transaction is open, one waits for its lock, one scan is in the middle.
        let Ok(holder) = store.begin().await else { continue };
        holder.lock(SPACE, b"held", LockMode::Exclusive).await.unwrap();
        let waiter = tokio::spawn({
            let store = store.clone();
            async move { store.begin().await?.lock(SPACE, b"held", LockMode::Exclusive).await }
        });
        let mut scan = store.scan(Span::all(SPACE), store.now().unwrap(), Direction::Forward, None);
        let first = scan.try_next().await.unwrap();
        engine.committer.fail(&Error::Engine("injected".into()));
        drop(engine);
        assert!(waiter.await.unwrap().is_err());
        let mut reopened = false;
        for _ in 0..500 {
            reopened = store.begin().await.is_ok();
            if reopened {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(reopened, "round {round}");
        assert!(matches!(holder.get(SPACE, b"held").await, Err(Error::Retry(_))));
        assert!(matches!(holder.commit().await, Err(Error::Retry(_))));
        assert!(first.is_none() || matches!(scan.try_next().await, Err(Error::Retry(_)) | Ok(None)));
    }
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 50);
    let keys = async |space| {
        let found = entries(store.scan(Span::all(space), store.now().unwrap(), Direction::Forward, None)).await;
        found.into_iter().map(|(key, _, _)| key).filter(|key| key != b"held").collect::<Vec<_>>()
    };
    let found = keys(SPACE).await;
    assert_eq!(found, keys(SpaceId(1_000_101)).await, "half a transaction");
    assert!(acknowledged.iter().all(|key| found.binary_search(key).is_ok()));
    store.verify(|finding| panic!("{finding}")).unwrap();
}
