//! Parts → final file: verify → absorb → publish → commit.
//!
//! An offset client leaves nothing to absorb: finishing is a rename. For an index client a
//! background task absorbs the contiguous prefix while later chunks still arrive. A crash at any
//! point is finished by the next one who takes the upload; merging twice gives the same file;
//! concurrent requests join the merge that runs.

mod absorb;
mod background;
mod concatenate;
mod digest;
mod duplicate;
mod publish;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    task::{JoinError, JoinHandle},
    time,
};
use tokio_util::task::TaskTracker;

use self::background::Absorbing;
pub use self::{
    concatenate::{Concatenated, Readiness},
    duplicate::Duplicate,
};
use crate::{
    blocking,
    clock::Stopwatch,
    hold::{Hashing, Held, HoldError, Holds},
    lock::Manner,
    telemetry::MergeEnd,
    upload::{
        ChunkIndex, CompositeMismatch, DigestForm, Finished, Length, NameTemplate, Record,
        Sha256Digest, UploadId,
    },
};

/// How often an upload that nobody asks for is tried again while somebody is at work on it.
const UNASKED_EVERY: Duration = Duration::from_millis(250);

/// Finished files that are read at the same time to become others, each as fast as the disk.
const DUPLICATING_MAX: usize = 4;

/// How finishing is done.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// How final names are made.
    pub template: NameTemplate,
    /// What is read once more before a file appears.
    pub verify: Verify,
    /// How long a request waits for the merge of another one before it is told to come back.
    pub join_wait: Duration,
    /// What becomes of partial uploads.
    pub partials: Partials,
    /// Whether joined bytes get digests.
    pub hashing: Hashing,
    /// The largest file that partial uploads may be joined to; none for no limit.
    pub max_size: Option<Length>,
}

/// What becomes of partial uploads whose bytes a final upload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partials {
    /// They stay until they expire or are deleted: a lost answer costs nothing.
    Keep,
    /// They go (`--consume-partials`).
    Consume,
}

/// What is read once more before a file appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: digests were taken while the bytes arrived, and the page cache lived since.
    Trusted,
    /// Every chunk (`--verify-on-merge`).
    Everything,
}

/// What a client demands of the file that it wants finished.
#[derive(Debug, Clone, Default)]
pub struct MergeDemand {
    /// Its composite digest, and in which form, if it said so.
    pub digest: Option<(Sha256Digest, Option<DigestForm>)>,
    /// Its digest of every chunk, in order.
    pub chunks: Option<Vec<Sha256Digest>>,
}

/// What became of a merge.
#[derive(Debug, Clone)]
pub enum MergeOutcome {
    /// The file is visible since this call.
    Merged(Finished),
    /// It was visible before.
    AlreadyMerged(Finished),
    /// Another merge of this upload runs and takes its time.
    Running,
}

/// Why a file cannot be finished. Every chunk is kept.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Chunks are missing, or the length is not known yet.
    #[error("{} chunks are missing", missing.len())]
    Missing {
        /// Their numbers, ascending.
        missing: Vec<ChunkIndex>,
    },
    /// The client's digest is not the one of the stored chunks.
    #[error("the composite digest differs")]
    Mismatch {
        /// What was expected and what is there.
        mismatch: CompositeMismatch,
        /// The chunks that differ from the client's list, where it sent one.
        bad_chunks: Vec<ChunkIndex>,
    },
    /// A digest was sent, and this server takes none (`--chunk-digest none`).
    #[error("the stored chunks have no digests to compare with")]
    NoDigests,
    /// The client's list has another length than the upload has chunks.
    #[error("the list of chunk digests has another length than the upload has chunks")]
    ListLength,
    /// Stored bytes are not the ones of their digest; they are asked for again.
    #[error("{} stored chunks turned out to be damaged", chunks.len())]
    Damaged {
        /// Their numbers, ascending.
        chunks: Vec<ChunkIndex>,
    },
    /// It is a part of a file, and never becomes one by itself.
    #[error("a partial upload is not finished by itself")]
    Partial,
    /// The finished file that was to be the source is gone, or not what it was.
    #[error("the content is not held any more")]
    ContentGone,
    /// The upload could not be had, or changed.
    #[error(transparent)]
    Hold(#[from] HoldError),
}

/// Finishes uploads.
pub struct Merger {
    holds: Arc<Holds>,
    options: MergeOptions,
    tasks: TaskTracker,
    running: Mutex<HashMap<UploadId, watch::Receiver<()>>>,
    absorbing: Mutex<HashMap<UploadId, Absorbing>>,
    /// Final uploads, by the part that each waits for.
    waiting: Mutex<HashMap<UploadId, HashSet<UploadId>>>,
    digesting: Semaphore,
    duplicating: Semaphore,
}

impl Merger {
    /// Background work is counted by `tasks`, which a stop waits for.
    pub fn new(holds: Arc<Holds>, options: MergeOptions, tasks: TaskTracker) -> Self {
        let (running, absorbing, waiting) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (digesting, duplicating) = (Semaphore::new(1), Semaphore::new(DUPLICATING_MAX));
        Self { holds, options, tasks, running, absorbing, waiting, digesting, duplicating }
    }

    /// Finishes a complete upload that is in hand, for the last byte of an offset client; one that
    /// is part of another has no file, and is only made as safe as a finish promises. Blocks.
    pub fn complete(&self, held: &mut Held) -> Result<Option<Finished>, MergeError> {
        if let Some(finished) = held.record().finished() {
            return Ok(Some(finished.clone()));
        }
        if held.record().manifest().is_partial() {
            return publish::settle(held).map(|()| None);
        }
        publish::publish(held, &MergeDemand::default(), &self.options).map(Some)
    }

    /// Finishes an upload on request. One merge runs per upload; others wait for it a while, then
    /// look again.
    pub async fn merge(
        self: &Arc<Self>,
        id: &UploadId,
        demand: MergeDemand,
    ) -> Result<MergeOutcome, MergeError> {
        let join_wait = self.options.join_wait;
        let Some(turn) = self.turn(id, join_wait).await else { return Ok(MergeOutcome::Running) };
        joined(self.merge_behind(id, demand, turn).await)
    }

    /// The same for a request that waits no longer than `wait`: what is wrong with its demand, it
    /// is told at once, and the merge goes on without it.
    pub async fn merge_within(
        self: &Arc<Self>,
        record: &Record,
        demand: MergeDemand,
        wait: Duration,
    ) -> Result<MergeOutcome, MergeError> {
        if record.manifest().is_partial() {
            return Err(MergeError::Partial);
        }
        publish::check(record, &demand)?;
        if let Some(finished) = record.finished() {
            return Ok(MergeOutcome::AlreadyMerged(finished.clone()));
        }
        let (id, waiting) = (&record.manifest().id, Stopwatch::start());
        let join_wait = wait.min(self.options.join_wait);
        let Some(turn) = self.turn(id, join_wait).await else { return Ok(MergeOutcome::Running) };
        let left = wait.saturating_sub(waiting.elapsed());
        match time::timeout(left, self.merge_behind(id, demand, turn)).await {
            Ok(merged) => joined(merged),
            Err(_) => Ok(MergeOutcome::Running),
        }
    }

    /// Detached: a client that hangs up does not stop a merge.
    fn merge_behind(
        self: &Arc<Self>,
        id: &UploadId,
        demand: MergeDemand,
        turn: Running,
    ) -> JoinHandle<Result<MergeOutcome, MergeError>> {
        let (this, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            let time = Stopwatch::start();
            let outcome = this.merge_in_turns(&id, demand).await;
            this.count(&outcome, time.elapsed());
            drop(turn);
            outcome
        })
    }

    /// The right to finish an upload, once nobody else does; `None` if that takes too long.
    async fn turn(self: &Arc<Self>, id: &UploadId, wait: Duration) -> Option<Running> {
        let waiting = Stopwatch::start();
        loop {
            let mut other = match self.join(id) {
                Ok(turn) => return Some(turn),
                Err(other) => other,
            };
            let left = wait.saturating_sub(waiting.elapsed());
            // The sender is dropped when the other one ends; nothing is ever sent.
            time::timeout(left, other.changed()).await.ok()?.ok();
        }
    }

    /// Is a merge of this upload under way in this process?
    pub fn is_running(&self, id: &UploadId) -> bool {
        self.running().contains_key(id)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<UploadId, HashSet<UploadId>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<UploadId, watch::Receiver<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The merge that runs, or the right to run one.
    fn join(self: &Arc<Self>, id: &UploadId) -> Result<Running, watch::Receiver<()>> {
        let mut running = self.running();
        if let Some(other) = running.get(id) {
            return Err(other.clone());
        }
        let (done, watch) = watch::channel(());
        running.insert(id.clone(), watch);
        Ok(Running { merger: self.clone(), id: id.clone(), _done: done })
    }

    /// Finishes an upload that nobody asks for, once nobody holds it and no other merge of it runs:
    /// whoever is at work is not asked to leave, and clients need not wait for this.
    pub(super) async fn merge_unasked(self: &Arc<Self>, id: &UploadId) -> Result<(), MergeError> {
        loop {
            match self.holds.try_take(id).await {
                Ok(held) => {
                    if let Some(end) = self.merge_in_hand(id, held).await {
                        return end.map(|_| ());
                    }
                }
                Err(HoldError::Busy) => {}
                Err(error) => return Err(error.into()),
            }
            if self.tasks.is_closed() {
                return Ok(());
            }
            time::sleep(UNASKED_EVERY).await;
        }
    }

    /// Goes on with the merge of an upload that is held; `None` where it is not over, since
    /// somebody asks for the upload or another merge of it runs.
    async fn merge_in_hand(
        self: &Arc<Self>,
        id: &UploadId,
        mut held: Held,
    ) -> Option<Result<MergeOutcome, MergeError>> {
        let turn = self.join(id).ok()?;
        let (this, time) = (self.clone(), Stopwatch::start());
        let merged = blocking::run(move || {
            let merged = this.merge_while_unwanted(&mut held, &MergeDemand::default());
            drop((held, turn));
            merged
        });
        let outcome = merged.await.transpose()?;
        self.count(&outcome, time.elapsed());
        Some(outcome)
    }

    fn count(&self, outcome: &Result<MergeOutcome, MergeError>, took: Duration) {
        let end = if outcome.is_ok() { MergeEnd::Merged } else { MergeEnd::Refused };
        self.holds.meter().merge(end, took);
    }

    /// Copies part by part and leaves in between when asked, so that a look at the upload never
    /// waits for a merge.
    async fn merge_in_turns(
        self: &Arc<Self>,
        id: &UploadId,
        demand: MergeDemand,
    ) -> Result<MergeOutcome, MergeError> {
        let demand = Arc::new(demand);
        loop {
            let mut held = self.holds.take(id, Manner::Asking).await?;
            let (this, demand) = (self.clone(), demand.clone());
            let turn = move || this.merge_while_unwanted(&mut held, &demand);
            if let Some(outcome) = blocking::run(turn).await? {
                return Ok(outcome);
            }
        }
    }

    fn merge_while_unwanted(
        &self,
        held: &mut Held,
        demand: &MergeDemand,
    ) -> Result<Option<MergeOutcome>, MergeError> {
        held.ensure_alive()?;
        if held.record().manifest().is_partial() {
            return Err(MergeError::Partial);
        }
        publish::check(held.record(), demand)?;
        if let Some(finished) = held.record().finished() {
            return Ok(Some(MergeOutcome::AlreadyMerged(finished.clone())));
        }
        loop {
            match absorb::absorb_next(held) {
                Ok(absorb::Step::NothingToAbsorb) => break,
                Ok(absorb::Step::Absorbed(_)) if held.is_wanted() => return Ok(None),
                Ok(absorb::Step::Absorbed(_)) => {}
                Err(HoldError::Io(error)) => return Err(publish::look_again(held, error)),
                Err(error) => return Err(error.into()),
            }
        }
        publish::publish(held, demand, &self.options).map(MergeOutcome::Merged).map(Some)
    }
}

fn joined<T>(task: Result<T, JoinError>) -> T {
    task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

impl fmt::Debug for Merger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merger").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The right to merge one upload; dropping it wakes those who joined.
struct Running {
    merger: Arc<Merger>,
    id: UploadId,
    _done: watch::Sender<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.merger.running().remove(&self.id);
    }
}
