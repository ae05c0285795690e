//! Where facts live: one append-only ledger per upload.
//!
//! The calls block: they run on the blocking threads of whoever serves a request, one hop for a
//! whole request rather than one per call. Readers never wait for a holder; who may *change* an
//! upload is the lock's business, and [`State::commit`] refuses whoever does not know the newest
//! version (invariant I5).

pub mod local;

#[cfg(test)]
pub(crate) mod contract;
mod memory;

use std::{
    fmt::{self, Debug},
    io,
    sync::Arc,
};

use crate::{
    durable::Flush,
    upload::{ContentKey, IdSecret, LawError, Manifest, Record, Stamped, Timestamp, UploadId},
};

pub use local::{LedgerReader, LocalState};
pub use memory::MemoryState;

/// Which ledger, and how far it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Tells a ledger from an earlier one with the same id.
    pub incarnation: u64,
    /// Bytes of the ledger.
    pub length: u64,
}

/// A record and the version that it was read at.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The facts so far.
    pub record: Arc<Record>,
    /// Where the ledger stood.
    pub version: Version,
}

/// A ledger found while listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whose ledger.
    pub id: UploadId,
    /// When a fact was last added.
    pub changed: Timestamp,
    /// Whether its holder said that it would go on, or began to, and did not: one that publishes,
    /// or whose process died. Some are told as such although they came to an end.
    pub interrupted: bool,
}

/// One of the 256 groups in which ledgers are listed: the first two hex digits of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard(pub u8);

impl Shard {
    /// All shards, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// Why facts could not be read or added.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is no such upload.
    #[error("no such upload")]
    Unknown,
    /// Creation: there is one already.
    #[error("the upload exists")]
    Exists,
    /// Creation: somebody holds the place of the ledger, to begin one there or to remove what is
    /// left of one.
    #[error("the place of the ledger is held")]
    Held,
    /// The ledger cannot be read as a list of facts.
    #[error("ledger damaged at byte {at}: {what}")]
    Damaged {
        /// Where.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// The ledger is whole and tells what this version does not know: a newer one wrote it.
    #[error("ledger written by a newer piton, from byte {at} on: {what}")]
    Newer {
        /// Where.
        at: u64,
        /// What it is that is not known.
        what: String,
    },
    /// Somebody else added facts since: the caller is no holder (any more).
    #[error("the ledger went on without this holder")]
    Stale,
    /// The facts contradict the record.
    #[error(transparent)]
    Law(#[from] LawError),
    /// The file system refused. Nothing was added.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Keeps the facts of all uploads. All calls block.
pub trait State: Debug + Send + Sync + 'static {
    /// The secret under which ids are derived; the same for the life of the data.
    fn secret(&self) -> &IdSecret;

    /// Begins a ledger: `Exists` if there is one, `Held` where none is begun and somebody has the
    /// lock of its place. A ledger whose first record is torn counts as none and is replaced.
    fn create(&self, manifest: Manifest, flush: Flush) -> Result<Versioned, StateError>;

    /// Begins a ledger that has these facts from its first moment on, with the errors of
    /// [`State::create`].
    fn begin(
        &self,
        manifest: Manifest,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, StateError> {
        let created = self.create(manifest, flush)?;
        if facts.is_empty() { Ok(created) } else { self.commit(&created, facts, flush) }
    }

    /// The record of an upload as it is now: `Unknown`, or `Damaged` where the ledger contradicts
    /// itself, `Newer` where it may not. A torn last record, as a crash leaves it, is not seen.
    fn load(&self, id: &UploadId) -> Result<Versioned, StateError>;

    /// Adds facts behind `held`: all of them or, after any error, none. `Stale` if the ledger is
    /// not at that version, `Unknown` if it is gone. With [`Flush::Durable`] everything in this
    /// ledger is on the disk when the call returns, what was added lazily before included; with no
    /// facts that is all that happens.
    fn commit(
        &self,
        held: &Versioned,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, StateError>;

    /// Makes a place for a ledger where there is none, so that its lock can be had without
    /// beginning one.
    fn claim(&self, id: &UploadId) -> Result<(), StateError>;

    /// From now on there is no such upload, but its place is kept: nobody begins another one there
    /// before whoever has its lock gives it up. No error if it is unknown. For whoever has that
    /// lock.
    fn void(&self, id: &UploadId) -> Result<(), StateError>;

    /// Forgets an upload, its place included; no error if it is unknown. For whoever has the lock.
    fn forget(&self, id: &UploadId) -> Result<(), StateError>;

    /// The uploads whose ids begin with `prefix` (at least two hex digits), in order.
    fn family(&self, prefix: &str) -> Result<Vec<UploadId>, StateError>;

    /// All ledgers of a shard, in no order; none is opened.
    fn list(&self, shard: Shard) -> Result<Vec<Listed>, StateError>;

    /// Notes that an upload holds a content, before others that hold it too. Of a few at most it is
    /// remembered; what is noted may be lost with the power. See [`State::holders`].
    fn note_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError>;

    /// Uploads that were noted to hold a content, the last one first. A hint, to be compared with
    /// their ledgers: none where the note was lost or damaged, and some may be gone.
    fn holders(&self, content: &ContentKey) -> Result<Vec<UploadId>, StateError>;

    /// Forgets that an upload holds a content; no error if it was not noted.
    fn drop_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError>;

    /// Lets go of descriptors and records that nobody asked for since the last call.
    fn cool_down(&self);
}

/// Uploads that are noted for one content at most: enough for it to stay known when some go.
const HOLDERS_MAX: usize = 4;

/// The list of holders with `id` in front.
fn with_holder(mut holders: Vec<UploadId>, id: &UploadId) -> Vec<UploadId> {
    holders.retain(|other| other != id);
    holders.insert(0, id.clone());
    holders.truncate(HOLDERS_MAX);
    holders
}

/// The record with all `facts` added, or the law's first objection.
fn after(record: &Record, facts: &[Stamped]) -> Result<Record, LawError> {
    let mut record = record.clone();
    facts.iter().try_for_each(|fact| record.apply(fact))?;
    Ok(record)
}
