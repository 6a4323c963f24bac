//! An object store in memory that does what it is told to, at the calls it is told to.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;

/// What happens at one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It fails, and nothing is done.
    Fail,
    /// It, and all that follow, fail.
    Gone,
    /// It takes its time.
    Slow,
    /// It waits until other faults are set.
    Hang,
    /// It fails, though it was done.
    DoneAndFail,
    /// It fails, and half of the file is there.
    HalfWritten,
    /// Half of the file is written or read, and it succeeds.
    CutShort,
    /// One bit is another, by a number.
    Flip(usize),
    /// A listing misses its last names.
    Stale(usize),
    /// Nothing is found.
    NotFound,
}

impl Fault {
    /// Any fault of a read.
    pub fn lie(random: &mut StdRng) -> Fault {
        match random.random_range(0..7) {
            0 => Fault::Fail,
            1 => Fault::Slow,
            2 => Fault::CutShort,
            3 => Fault::Flip(random.random_range(0..1 << 20)),
            4 | 5 => Fault::Stale(random.random_range(1..4)),
            _ => Fault::NotFound,
        }
    }
}

#[derive(Debug, Default)]
pub struct Faulty {
    inner: InMemory,
    plan: Mutex<Plan>,
    /// Counts the times faults were set.
    set: watch::Sender<usize>,
    hanging: AtomicBool,
    /// Whether data files are not written until it is false.
    stuck: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Plan {
    calls: usize,
    faults: Vec<(usize, Fault)>,
}

impl Faulty {
    /// The faults of the calls from now on, counted from 0.
    pub fn set(&self, faults: Vec<(usize, Fault)>) {
        *self.plan.lock().unwrap() = Plan { calls: 0, faults };
        self.hanging.store(false, Ordering::SeqCst);
        self.set.send_modify(|count| *count += 1);
    }

    /// Lets the writing of data files, and of nothing else, wait.
    pub fn set_stuck(&self, stuck: bool) {
        self.stuck.send_replace(stuck);
    }

    /// Whether a call hangs.
    pub fn is_hanging(&self) -> bool {
        self.hanging.load(Ordering::SeqCst)
    }

    /// Calls since then.
    pub fn calls(&self) -> usize {
        self.plan.lock().unwrap().calls
    }

    fn next(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        let call = plan.calls;
        plan.calls += 1;
        let applies = |(at, fault): &&(usize, Fault)| *at == call || (*fault == Fault::Gone && *at < call);
        plan.faults.iter().find(applies).map(|(_, fault)| *fault)
    }

    /// Slow calls wait here; those that fail without doing anything end here.
    async fn begin(&self, path: &Path) -> Result<Option<Fault>> {
        match self.next() {
            Some(Fault::Fail | Fault::Gone) => Err(failed()),
            Some(Fault::NotFound) => Err(Error::NotFound { path: path.to_string(), source: "the test says so".into() }),
            Some(Fault::Hang) => {
                let mut set = self.set.subscribe();
                set.borrow_and_update();
                self.hanging.store(true, Ordering::SeqCst);
                set.changed().await.unwrap();
                Ok(None)
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// Damages one file under a directory.
    pub async fn damage(&self, directory: &str, random: &mut StdRng) -> Damage {
        let files = self.inner.list(Some(&Path::from(directory))).map(Result::unwrap).collect::<Vec<_>>().await;
        // Locks and claims hold nothing.
        let files: Vec<ObjectMeta> = files.into_iter().filter(|meta| meta.size > 0).collect();
        let path = files[random.random_range(0..files.len())].location.clone();
        let good = self.inner.get(&path).await.unwrap().bytes().await.unwrap();
        let bad =
            if random.random() { flip(&good, random.random_range(0..1 << 20)) } else { good.slice(..good.len() / 2) };
        self.inner.put(&path, bad.into()).await.unwrap();
        Damage { path, good }
    }

    /// The files under a directory.
    pub async fn names(&self, directory: &str) -> Vec<String> {
        let files = self.inner.list(Some(&Path::from(directory))).map(|meta| meta.unwrap().location.to_string());
        files.collect().await
    }

    /// A file, without faults.
    pub async fn read(&self, name: &str) -> Bytes {
        self.inner.get(&Path::from(name)).await.unwrap().bytes().await.unwrap()
    }

    pub async fn write(&self, name: &str, bytes: &[u8]) {
        self.inner.put(&Path::from(name), Bytes::copy_from_slice(bytes).into()).await.unwrap();
    }

    pub async fn repair(&self, damage: Damage) {
        self.inner.put(&damage.path, damage.good.into()).await.unwrap();
    }
}

/// What a file was before it was damaged.
#[derive(Debug)]
pub struct Damage {
    path: Path,
    good: Bytes,
}

fn failed() -> Error {
    Error::Generic { store: "faulty", source: "the test says so".into() }
}

/// The same with one bit changed.
fn flip(bytes: &Bytes, bit: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    if !bytes.is_empty() {
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    bytes.into()
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if location.as_ref().contains("/data/") {
            self.stuck.subscribe().wait_for(|stuck| !stuck).await.unwrap();
        }
        let whole: Bytes = payload.into();
        let half = whole.slice(..whole.len() / 2);
        let (written, fails) = match self.begin(location).await? {
            Some(Fault::DoneAndFail) => (whole, true),
            Some(Fault::HalfWritten) => (half, true),
            Some(Fault::CutShort) => (half, false),
            Some(Fault::Flip(bit)) => (flip(&whole, bit), false),
            _ => (whole, false),
        };
        let put = self.inner.put_opts(location, written.into(), options).await?;
        if fails { Err(failed()) } else { Ok(put) }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "put_multipart_opts".into(), implementer: "faulty".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.begin(location).await?;
        let is_head = options.head;
        let found = self.inner.get_opts(location, options).await?;
        let change = match fault {
            _ if is_head => return Ok(found),
            Some(Fault::CutShort) => |bytes: &Bytes, _| bytes.slice(..bytes.len() / 2),
            Some(Fault::Flip(_)) => flip,
            _ => return Ok(found),
        };
        let bit = if let Some(Fault::Flip(bit)) = fault { bit } else { 0 };
        let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let bytes = change(&found.bytes().await?, bit);
        let range: Range<u64> = range.start..range.start + bytes.len() as u64;
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.next() {
            Some(Fault::Fail | Fault::Gone) => stream::iter([Err(failed())]).boxed(),
            _ => self.inner.delete_stream(locations),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.next() {
            Some(Fault::Fail | Fault::Gone) => stream::iter([Err(failed())]).boxed(),
            Some(Fault::Hang) => {
                let mut set = self.set.subscribe();
                set.borrow_and_update();
                self.hanging.store(true, Ordering::SeqCst);
                let listed = self.inner.list(prefix);
                let wait = stream::once(async move { set.changed().await.unwrap() }).filter_map(|()| async { None });
                wait.chain(listed).boxed()
            }
            Some(Fault::Stale(missing)) => {
                let all: Vec<_> = futures::executor::block_on(self.inner.list(prefix).collect());
                let known = all.len().saturating_sub(missing);
                stream::iter(all.into_iter().take(known)).boxed()
            }
            _ => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
