//! Bytes in: create, append, put a chunk, look, cancel. Every call that changes an upload is meant
//! to run in a task of its own, which a client that hangs up cannot cancel.

mod abreast;
mod append;
mod begin;
mod buffers;
mod check;
mod chunk;
mod concatenate;
mod create;
mod download;
mod find;
mod instant;
mod look;
mod offers;
mod pairs;
mod pump;
mod ready;
mod source;

#[cfg(test)]
mod tests;

use std::{fmt, num::NonZeroUsize, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::{
    abreast::Keeping, buffers::BufferPool, offers::Offers, pairs::Pairs, pump::Transfers,
    ready::Readiness,
};
pub use self::{
    append::{Append, Appended, Fate},
    begin::{NewChunked, Origin},
    chunk::{
        CHUNK_LEN_MAX, ChunkCommitted, ChunkFate, ChunkPut, Condition, ExpectedDigests, StagedChunk,
    },
    concatenate::{CreatedFinal, NewFinal},
    create::{Created, NewUpload},
    download::Download,
    instant::{Claim, Proof},
    look::View,
    offers::Offer,
    pump::End,
    source::{Broken, NoBytes, Source},
};
use crate::{
    blocking,
    hold::Holds,
    lock::LeaveSignal,
    merger::Merger,
    sync,
    telemetry::Meter,
    upload::{
        ChecksumAlgorithm, ChunkSize, Length, NotAChecksum, Offset, OutOfRange, Sha256Digest,
        gains_by_two,
    },
};
pub use crate::{
    hold::{Attendance, Hashing, HoldError},
    merger::{MergeDemand, MergeError, MergeOutcome},
};

/// From this many announced bytes on disk space is asked for ahead.
const RESERVE_FROM: u64 = 256 * 1024;

/// Rules for what comes in.
#[derive(Debug, Clone, Copy)]
pub struct IngestOptions {
    /// Bytes of a chunk where the client does not say.
    pub chunk_size: ChunkSize,
    /// Bytes of the largest upload. Binds those whose length is not known yet.
    pub max_size: Option<Length>,
    /// Whether chunks get a digest.
    pub hashing: Hashing,
    /// Bytes of all buffers of the process.
    pub memory_budget: u64,
    /// Threads that write at the same time.
    pub writers_max: usize,
}

/// Why bytes were not taken, or an upload not found. Facts; what a client is told of them is the
/// protocol's business.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The upload could not be had, or changed.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// It could not be finished.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The bytes would begin elsewhere than the stored ones end.
    #[error("the upload stands at {current}")]
    OffsetMismatch {
        /// Where it stands.
        current: Offset,
    },
    /// More bytes were announced than are missing.
    #[error("the body reaches past the end of the file")]
    LengthExceeded {
        /// Bytes of the file.
        length: Length,
    },
    /// A final upload takes no bytes of its own.
    #[error("the upload is made of other uploads")]
    FinalUpload,
    /// A final upload was to be made of something else than partial uploads that are alive, or of
    /// more bytes than any file has.
    #[error("not all of them are partial uploads")]
    NotPartial,
    /// The upload would get larger than uploads may be.
    #[error("the upload would have more than {max} bytes")]
    MaxSizeExceeded {
        /// The largest upload.
        max: Length,
    },
    /// Another length was declared than the upload has.
    #[error("the length is {length} and cannot change")]
    LengthFixed {
        /// Bytes of the file.
        length: Length,
    },
    /// A length was declared that lies below bytes that are there.
    #[error("the upload has bytes behind the declared length")]
    LengthTooShort,
    /// The bytes are not those of the checksum that came with them. They were taken back.
    #[error("the {algorithm} checksum differs")]
    ChecksumMismatch {
        /// How it was taken.
        algorithm: ChecksumAlgorithm,
    },
    /// What should be a checksum cannot be compared. No byte was kept.
    #[error("not a checksum: {0}")]
    Unusable(NotAChecksum),
    /// Several uploads share the hash, and no filename was given.
    #[error("several uploads have this hash")]
    Ambiguous,
    /// Length, chunk size or total are others than those the upload has.
    #[error("the upload has another layout")]
    LayoutMismatch(LayoutMismatch),
    /// There is no such chunk.
    #[error("the upload has no such chunk")]
    NoSuchChunk,
    /// A chunk's body is shorter or longer than the layout says.
    #[error("the chunk has {actual} bytes, not {expected}")]
    ChunkLength {
        /// Bytes by the layout.
        expected: u64,
        /// Bytes that came, or were announced.
        actual: u64,
    },
    /// The stored chunk is not as the request demands.
    #[error("the stored chunk is not as demanded")]
    ConditionFailed {
        /// The stored chunk's digest.
        stored: Option<Sha256Digest>,
    },
    /// A chunk's bytes are not those of the digest that was sent.
    #[error("the chunk's {algorithm} digest differs")]
    DigestMismatch {
        /// `sha-256` or `md5`.
        algorithm: &'static str,
        /// What the client sent, in hex.
        expected: String,
        /// What the bytes give, in hex.
        actual: String,
    },
    /// The upload is finished, and its chunk has other bytes.
    #[error("the finished file has other bytes there")]
    Finished,
    /// The upload is being merged.
    #[error("the upload is being merged")]
    Merging,
    /// There is no such offer (any more).
    #[error("no such offer is open")]
    NoOffer,
    /// The proof of an offer is wrong.
    #[error("the proof is wrong")]
    NotProven,
    /// The body ended in the middle.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The process stops.
    #[error("the server is stopping")]
    Stopping,
}

/// Which immutable fact differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutMismatch {
    /// `size`, `chunk_size` or `total`.
    pub field: &'static str,
    /// What the upload has; `None` where it is not known yet.
    pub stored: Option<u64>,
    /// What the request says.
    pub given: u64,
}

impl From<OutOfRange> for IngestError {
    fn from(error: OutOfRange) -> Self {
        Self::Hold(HoldError::Law(error.into()))
    }
}

/// Takes bytes in.
pub struct Ingest {
    holds: Arc<Holds>,
    merger: Arc<Merger>,
    options: IngestOptions,
    transfers: Transfers,
    pairs: Arc<Pairs>,
    keeping: Option<Arc<Keeping>>,
    offers: Offers,
    readiness: Readiness,
}

impl Ingest {
    /// `stop` ends running transfers: they seal what they received.
    pub fn new(
        holds: Arc<Holds>,
        merger: Arc<Merger>,
        options: IngestOptions,
        stop: CancellationToken,
    ) -> Self {
        let pool = BufferPool::new(options.memory_budget);
        let writers = Arc::new(Semaphore::new(options.writers_max));
        let keeping = gains_by_two().then(|| Arc::new(Keeping::new(pool.usage().1)));
        let transfers = Transfers { pool, writers, stop };
        let pairs = Arc::new(Pairs::new(processors()));
        let (offers, readiness) = (Offers::new(offers::LIFETIME), Readiness::default());
        Self { holds, merger, options, transfers, pairs, keeping, offers, readiness }
    }

    /// Bytes of a chunk where the client does not say.
    pub const fn chunk_size(&self) -> ChunkSize {
        self.options.chunk_size
    }

    /// Write buffers in use, and write buffers that there may be.
    pub fn buffers(&self) -> (usize, usize) {
        self.transfers.pool.usage()
    }

    /// Where things are counted.
    pub fn meter(&self) -> &Meter {
        self.holds.meter()
    }

    /// Bytes that may still come.
    fn room(&self, length: Option<Length>, offset: Offset) -> u64 {
        let end = length.or(self.options.max_size);
        end.map_or(u64::MAX, |end| end.remaining(offset).unwrap_or(0))
    }

    /// What more bytes than there is room for are told.
    fn overflow(&self, length: Option<Length>) -> IngestError {
        match (length, self.options.max_size) {
            (Some(length), _) => IngestError::LengthExceeded { length },
            (None, Some(max)) => IngestError::MaxSizeExceeded { max },
            (None, None) => OutOfRange.into(),
        }
    }
}

/// How many threads run at the same time, where two of them gain by sharing one.
fn processors() -> usize {
    if !gains_by_two() {
        return usize::MAX;
    }
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("options", &self.options).finish_non_exhaustive()
    }
}
