//! A bench for the rooms that move bytes: everything but the socket, over stores that fail on
//! demand.

mod crash_points;
mod interleaved;
mod script;
mod second_lives;
mod state;
mod trace;
mod unwritten_finish;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::state::FaultState;
pub(crate) use self::{
    script::{Frame, Script},
    state::StateFaults,
};
use crate::{
    clock::{Clock, ManualClock, Stopwatch, SystemClock},
    durable::Durability,
    hold::{Contents, Hashing, HoldOptions, Holds},
    ingest::{
        Append, Appended, ChunkFate, ChunkPut, Created, ExpectedDigests, Ingest, IngestError,
        IngestOptions, NewUpload, NoBytes, View,
    },
    lock::{LedgerLocks, LedgerPath, Locks, NoFileLocks, ProcessLocks},
    merger::{MergeDemand, MergeError, MergeOptions, MergeOutcome, Merger, Partials, Verify},
    state::{LocalState, MemoryState, State, local::ledger_path},
    storage::{FaultStorage, Faults, LocalStorage, MemoryStorage, Storage},
    upload::{
        ChecksumDemand, ChunkCount, ChunkIndex, ChunkKey, ChunkSize, Fact, IdSecret, Layout,
        Length, NameTemplate, Offset, PartId, Sha256Digest, UploadHash, UploadId,
    },
};

/// How the server is set up. Chunks of four bytes, unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) chunk_size: u64,
    pub(crate) chunks_per_part: u64,
    pub(crate) durability: Durability,
    pub(crate) hashing: Hashing,
    pub(crate) max_size: Option<u64>,
    pub(crate) verify: Verify,
    pub(crate) epoch: u64,
    pub(crate) expire_after: Duration,
    pub(crate) keep_finished: Option<Duration>,
    pub(crate) contents: Contents,
    pub(crate) patience: Duration,
    pub(crate) partials: Partials,
    /// Bytes of all buffers.
    pub(crate) memory_budget: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            chunk_size: 4,
            chunks_per_part: u64::MAX,
            durability: Durability::None,
            hashing: Hashing::Sha256,
            max_size: None,
            verify: Verify::Trusted,
            epoch: 0,
            expire_after: Duration::from_hours(1),
            keep_finished: None,
            contents: Contents::Unnoted,
            patience: Duration::from_secs(3),
            partials: Partials::Keep,
            memory_budget: 8 << 20,
        }
    }
}

/// What outlives the process.
#[derive(Debug, Clone)]
enum Disk {
    Memory(Arc<MemoryState>, Arc<FaultStorage<MemoryStorage>>),
    Local(Arc<TempDir>),
}

/// A server without its socket.
#[derive(Debug, Clone)]
pub(crate) struct House {
    pub(crate) holds: Arc<Holds>,
    pub(crate) merger: Arc<Merger>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) stop: CancellationToken,
    tasks: TaskTracker,
}

/// A house, its disk, its clock, and what goes wrong.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) setup: Setup,
    pub(crate) clock: ManualClock,
    /// Faults of the storage.
    pub(crate) faults: Faults,
    /// Faults of the ledgers.
    pub(crate) ledgers: StateFaults,
    pub(crate) house: House,
    disk: Disk,
}

#[derive(Debug)]
struct Ledgers(PathBuf);

impl LedgerPath for Ledgers {
    fn path(&self, id: &UploadId) -> PathBuf {
        ledger_path(&self.0, id)
    }
}

impl Bench {
    /// In memory, which survives [`Bench::reopen`].
    pub(crate) fn memory() -> Self {
        Self::memory_with(|_| {})
    }

    pub(crate) fn memory_with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::build(Medium::Memory, change)
    }

    /// In a folder of its own.
    pub(crate) fn local() -> Self {
        Self::local_with(|_| {})
    }

    pub(crate) fn local_with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::build(Medium::Local, change)
    }

    pub(crate) fn build(medium: Medium, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let clock = ManualClock::at(Clock::now(&SystemClock));
        let faults = Faults::new();
        let ledgers = StateFaults::new(faults.clone());
        let disk = match medium {
            Medium::Memory => {
                let time = clock.clone();
                let storage = MemoryStorage::new(move || time.now());
                let storage = Arc::new(FaultStorage::new(storage, faults.clone()));
                Disk::Memory(Arc::new(MemoryState::new(IdSecret::new([7; 32]))), storage)
            }
            Medium::Local => Disk::Local(Arc::new(tempfile::tempdir().unwrap())),
        };
        let house = House::open(&disk, &setup, &clock, (&faults, &ledgers));
        Self { setup, clock, faults, ledgers, house, disk }
    }

    /// A restart: what runs in the background ends, all that was in memory goes.
    pub(crate) async fn reopen(&mut self) {
        self.reopen_with(|_| {}).await;
    }

    pub(crate) async fn reopen_with(&mut self, change: impl FnOnce(&mut Setup)) {
        self.house.stop.cancel();
        self.house.tasks.close();
        self.house.tasks.wait().await;
        change(&mut self.setup);
        self.house = self.another_house();
    }

    /// A second process on the same data.
    pub(crate) fn another_house(&self) -> House {
        House::open(&self.disk, &self.setup, &self.clock, (&self.faults, &self.ledgers))
    }

    /// The same, out of reach of all faults.
    pub(crate) fn sound_house(&self) -> House {
        let faults = Faults::new();
        let ledgers = StateFaults::new(faults.clone());
        House::open(&self.disk, &self.setup, &self.clock, (&faults, &ledgers))
    }

    /// The data directory.
    pub(crate) fn folder(&self) -> &Path {
        match &self.disk {
            Disk::Local(folder) => folder.path(),
            Disk::Memory(..) => panic!("memory has no folder"),
        }
    }
}

/// Where a bench keeps its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Medium {
    Memory,
    Local,
}

impl Medium {
    pub(crate) const BOTH: [Self; 2] = [Self::Memory, Self::Local];
}

impl std::ops::Deref for Bench {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl House {
    fn open(
        disk: &Disk,
        setup: &Setup,
        clock: &ManualClock,
        (faults, ledgers): (&Faults, &StateFaults),
    ) -> Self {
        let (state, storage, files): (Arc<dyn State>, Arc<dyn Storage>, Arc<dyn ProcessLocks>) =
            match disk {
                Disk::Memory(state, storage) => {
                    (state.clone(), storage.clone(), Arc::new(NoFileLocks))
                }
                Disk::Local(folder) => {
                    let root = folder.path().join("state");
                    let storage = LocalStorage::open(folder.path()).unwrap();
                    (
                        Arc::new(LocalState::open(&root).unwrap()),
                        Arc::new(FaultStorage::new(storage, faults.clone())),
                        Arc::new(LedgerLocks::new(Ledgers(root))),
                    )
                }
            };
        let state = Arc::new(FaultState::new(state, ledgers.clone()));
        Self::over(state, storage, files, (setup, clock))
    }

    /// On any disk.
    fn over(
        state: Arc<dyn State>,
        storage: Arc<dyn Storage>,
        files: Arc<dyn ProcessLocks>,
        (setup, clock): (&Setup, &ManualClock),
    ) -> Self {
        let options = HoldOptions {
            durability: setup.durability,
            epoch: setup.epoch,
            chunks_per_part: setup.chunks_per_part,
            expire_after: setup.expire_after,
            keep_finished: setup.keep_finished,
            contents: setup.contents,
        };
        let locks = (Locks::new(setup.patience), files);
        let holds = Holds::new(state, storage, locks, Arc::new(clock.clone()), options);
        Self::furnish(Arc::new(holds), setup)
    }

    fn furnish(holds: Arc<Holds>, setup: &Setup) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let merge = MergeOptions {
            template: NameTemplate::default(),
            verify: setup.verify,
            join_wait: Duration::from_secs(5),
            partials: setup.partials,
            hashing: setup.hashing,
            max_size: setup.max_size.map(|max| Length::new(max).unwrap()),
        };
        let merger = Arc::new(Merger::new(holds.clone(), merge, tasks.clone()));
        let options = IngestOptions {
            chunk_size: ChunkSize::new(setup.chunk_size).unwrap(),
            max_size: setup.max_size.map(|max| Length::new(max).unwrap()),
            hashing: setup.hashing,
            memory_budget: setup.memory_budget,
            writers_max: 8,
        };
        let ingest = Ingest::new(holds.clone(), merger.clone(), options, stop.clone());
        Self { holds, merger, ingest: Arc::new(ingest), stop, tasks }
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &**self.holds.storage()
    }

    /// Waits for what runs in the background.
    pub(crate) async fn settle(&self) {
        while !self.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn create(&self, length: Option<u64>) -> UploadId {
        self.try_create(length).await.unwrap()
    }

    pub(crate) async fn try_create(&self, length: Option<u64>) -> Result<UploadId, IngestError> {
        let length = length.map(|length| Length::new(length).unwrap());
        let (metadata, filename) = (String::new(), Some("world.txt".to_owned()));
        let (media_type, concatenation, owner) = (None, None, String::new());
        let new = NewUpload { length, metadata, filename, media_type, concatenation, owner };
        let created = self.ingest.create(new, ChecksumDemand::Nothing, &mut NoBytes).await?;
        match created.appended.failure {
            Some(error) => Err(error),
            None => Ok(created.id),
        }
    }

    pub(crate) async fn create_with(
        &self,
        new: NewUpload,
        mut script: Script,
    ) -> Result<Created, IngestError> {
        self.ingest.create(new, ChecksumDemand::Nothing, &mut script).await
    }

    pub(crate) async fn append(
        &self,
        id: &UploadId,
        offset: u64,
        script: Script,
    ) -> Result<Appended, IngestError> {
        self.append_checked(id, offset, script, ChecksumDemand::Nothing).await
    }

    pub(crate) async fn append_checked(
        &self,
        id: &UploadId,
        offset: u64,
        mut script: Script,
        demand: ChecksumDemand,
    ) -> Result<Appended, IngestError> {
        let offset = Offset::new(offset).unwrap();
        let append = Append { id: id.clone(), offset, length: script.length(), demand };
        self.ingest.append(append, &mut script).await
    }

    /// Appends all of `bytes`; the offset afterwards. A failure of any kind is an error.
    pub(crate) async fn push(
        &self,
        id: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, IngestError> {
        let appended = self.append(id, offset, Script::of(bytes)).await?;
        match appended.failure {
            Some(error) => Err(error),
            None => Ok(appended.offset.get()),
        }
    }

    /// Puts a chunk of the upload that `hash` stands for.
    pub(crate) async fn put(
        &self,
        hash: &str,
        (index, bytes): (u64, &[u8]),
        layout: Option<Layout>,
    ) -> Result<ChunkFate, IngestError> {
        let put = chunk_put(hash, index, layout);
        self.ingest.check_chunk(&put, Some(len(bytes))).await?;
        let limit = len(bytes).max(1);
        let mut script = Script::of(bytes);
        let staged = self.ingest.stage_chunk(&mut script, limit, Hashing::Off).await?;
        Ok(self.ingest.commit_chunk(put, staged).await?.fate)
    }

    pub(crate) async fn status(&self, id: &UploadId) -> View {
        self.ingest.status(id).await.unwrap()
    }

    pub(crate) async fn head(&self, id: &UploadId) -> u64 {
        self.ingest.head(id).await.unwrap().offset.get()
    }

    pub(crate) async fn merge(&self, id: &UploadId) -> Result<MergeOutcome, MergeError> {
        self.ingest.merge(id, MergeDemand::default()).await
    }

    /// The finished file.
    pub(crate) async fn download(&self, id: &UploadId) -> Vec<u8> {
        let mut download = self.ingest.download(id).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(block) = download.next().await {
            bytes.extend_from_slice(&block.unwrap());
        }
        bytes
    }

    /// What [`chunk_put`] calls the upload of this hash.
    pub(crate) fn id_of(&self, hash: &str) -> UploadId {
        self.holds.state().secret().id(&key(hash))
    }

    /// Adds facts as a process would that then died.
    pub(crate) async fn force(&self, id: &UploadId, facts: impl IntoIterator<Item = Fact>) {
        let mut held = self.holds.take(id, crate::lock::Manner::Asking).await.unwrap();
        held.commit(facts, crate::durable::Flush::Lazy).unwrap();
        held.doubt();
    }

    /// Names and sizes of the upload's parts.
    pub(crate) fn parts(&self, id: &UploadId) -> Vec<(String, u64)> {
        let parts = self.storage().parts(id).unwrap();
        parts.into_iter().map(|stored| (stored.part.to_string(), stored.size)).collect()
    }

    /// Writes over a part, as a broken disk does.
    pub(crate) fn scribble(&self, id: &UploadId, part: PartId, at: u64, bytes: &[u8]) {
        self.storage().open_part(id, part).unwrap().write_at(bytes, at).unwrap();
    }

    /// A part that no fact names.
    pub(crate) fn plant(&self, id: &UploadId, part: PartId, bytes: &[u8]) {
        let blob = self.storage().create_part(id, part, crate::durable::Flush::Lazy).unwrap();
        blob.write_at(bytes, 0).unwrap();
    }

    pub(crate) fn shorten(&self, id: &UploadId, part: PartId, size: u64) {
        self.storage().open_part(id, part).unwrap().truncate(size).unwrap();
    }
}

/// Waits until something has happened that nobody waits for otherwise.
pub(crate) async fn until(has_happened: impl Fn() -> bool) {
    let waiting = Stopwatch::start();
    while !has_happened() {
        assert!(waiting.elapsed() < Duration::from_secs(30), "it does not happen");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// `count` bytes in which no four-byte chunk comes twice; other salts give other bytes everywhere.
pub(crate) fn content(count: usize, salt: u8) -> Vec<u8> {
    let byte = |at: usize| {
        let [low, high, ..] = at.to_le_bytes();
        let mixed = low.wrapping_mul(7).wrapping_add(high.wrapping_mul(31));
        mixed.wrapping_add(salt.wrapping_mul(101))
    };
    (0..count).map(byte).collect()
}

pub(crate) fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

pub(crate) fn chunk(index: u64) -> ChunkIndex {
    ChunkIndex::new(index).unwrap()
}

/// `{first}.part`.
pub(crate) fn part(first: u64) -> PartId {
    PartId::new(chunk(first))
}

#[allow(clippy::unnecessary_wraps, reason = "a request may do without one")]
pub(crate) fn layout(chunk_size: u64, length: u64, total: u64) -> Option<Layout> {
    let (size, length) = (ChunkSize::new(chunk_size).unwrap(), Length::new(length).unwrap());
    Some(Layout::by_total(size, length, ChunkCount::new(total).unwrap()).unwrap())
}

pub(crate) fn key(hash: &str) -> ChunkKey {
    let filename = Some("world.txt".to_owned());
    ChunkKey { owner: String::new(), hash: UploadHash::parse(hash).unwrap(), filename }
}

pub(crate) fn chunk_put(hash: &str, index: u64, layout: Option<Layout>) -> ChunkPut {
    let (metadata, expected) = (String::new(), ExpectedDigests::default());
    ChunkPut {
        condition: crate::ingest::Condition::default(),
        upload: None,
        key: key(hash),
        metadata,
        index: chunk(index),
        layout,
        expected,
    }
}

/// The composite digest of `bytes` in chunks of `size`, by hand.
pub(crate) fn composite(bytes: &[u8], size: usize) -> Sha256Digest {
    let raw: Vec<u8> =
        bytes.chunks(size).flat_map(|chunk| *Sha256Digest::of(chunk).bytes()).collect();
    Sha256Digest::of(&raw)
}

/// Is it the error of a disk, or of a ledger that could not be written?
pub(crate) fn is_io(error: &IngestError) -> bool {
    matches!(
        error,
        IngestError::Hold(crate::hold::HoldError::Io(_))
            | IngestError::Merge(MergeError::Hold(crate::hold::HoldError::Io(_)))
    )
}
