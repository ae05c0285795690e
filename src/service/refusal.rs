//! What went wrong, as the protocol's problems. Whatever is the server's own fault is logged here,
//! where it is handled.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

use super::intake::overloaded;
use crate::{
    ingest::{Broken, HoldError, IngestError, LayoutMismatch, MergeError},
    protocol::{
        DigestAlgorithm, Parameter, Problem,
        chunks::IndexRuns,
        headers::{UPLOAD_CHECKSUM, UPLOAD_CONCAT, UPLOAD_LENGTH},
    },
    telemetry::Sparingly,
    upload::{ChunkIndex, Record},
};

/// Every request meets the shortage, and one line is enough.
// Whoever asks makes them be written, as often as they like.
static OUT_OF_DESCRIPTORS: Sparingly = Sparingly::new();
static DISK_FULL: Sparingly = Sparingly::new();
static STORAGE_FAILED: Sparingly = Sparingly::new();

/// The connection is to be closed without an answer: the client is gone or stalled, and any status
/// could be taken for a verdict on the upload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("closed without an answer: {0}")]
pub struct Aborted(pub(super) Broken);

/// A problem to tell, or a connection to close.
#[derive(Debug)]
pub(super) enum Refusal {
    Problem(Problem),
    Abort(Aborted),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Malformed => Self::Problem(Problem::MalformedBody),
            Broken::GaveWay => Self::Problem(overloaded()),
            Broken::Cut | Broken::Stalled => Self::Abort(Aborted(broken)),
        }
    }
}

impl From<HoldError> for Refusal {
    fn from(error: HoldError) -> Self {
        hold_problem(&error).into()
    }
}

fn hold_problem(error: &HoldError) -> Problem {
    match error {
        HoldError::Unknown => Problem::UnknownUpload,
        HoldError::Expired => Problem::Gone,
        HoldError::Damaged(what) => {
            tracing::error!(what, "a damaged upload was asked for");
            Problem::Gone
        }
        HoldError::Newer(what) => {
            tracing::error!(what, "an upload of a newer piton was asked for: run that version");
            Problem::Busy
        }
        HoldError::Busy => Problem::Busy,
        HoldError::Law(law) => {
            tracing::error!(%law, "a change that the law forbids was attempted");
            Problem::Storage
        }
        HoldError::Io(error) => io_problem(error),
    }
}

fn io_problem(error: &io::Error) -> Problem {
    let full = matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    );
    if full {
        if let Some(left_out) = DISK_FULL.due() {
            tracing::error!(%error, left_out, "the disk is full");
        }
        return Problem::DiskFull;
    }
    if is_short_of_descriptors(error) {
        OUT_OF_DESCRIPTORS.warn("no descriptor is left to open a file with");
        return overloaded();
    }
    if let Some(left_out) = STORAGE_FAILED.due() {
        tracing::error!(%error, left_out, "the storage failed");
    }
    Problem::Storage
}

/// A passing shortage, of the process or of the system, and no fault of the disk.
pub fn is_short_of_descriptors(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| short.contains(&code))
}

/// About which chunk a request speaks, for problems that name it.
pub(super) fn refuse(error: IngestError, index: ChunkIndex) -> Refusal {
    match error {
        IngestError::Broken(broken) => broken.into(),
        other => problem(other, index).into(),
    }
}

fn problem(error: IngestError, index: ChunkIndex) -> Problem {
    match error {
        IngestError::Hold(error) => hold_problem(&error),
        IngestError::Merge(error) => merge_problem(error, None),
        IngestError::OffsetMismatch { current } => Problem::OffsetMismatch { current },
        IngestError::LengthExceeded { length } => Problem::LengthExceeded { length },
        IngestError::MaxSizeExceeded { max } => Problem::MaxSizeExceeded { max },
        IngestError::FinalUpload => Problem::FinalUpload,
        IngestError::NotPartial => Problem::MalformedHeader {
            name: UPLOAD_CONCAT,
            why: "it must name partial uploads of this server that are still there",
        },
        IngestError::LengthFixed { .. } => Problem::MalformedHeader {
            name: UPLOAD_LENGTH,
            why: "the upload has another length, which cannot change",
        },
        IngestError::LengthTooShort => Problem::MalformedHeader {
            name: UPLOAD_LENGTH,
            why: "the upload has bytes behind it already",
        },
        IngestError::ChecksumMismatch { algorithm } => Problem::ChecksumMismatch { algorithm },
        IngestError::Unusable(why) => {
            Problem::MalformedHeader { name: UPLOAD_CHECKSUM, why: why.0 }
        }
        IngestError::Ambiguous => Problem::AmbiguousUpload,
        IngestError::LayoutMismatch(LayoutMismatch { field, stored, given }) => {
            Problem::UploadMetadataMismatch { field: parameter(field), stored, given }
        }
        IngestError::NoSuchChunk => Problem::InvalidParameter {
            name: Parameter::Index,
            why: "chunks are numbered from 0, so it must be below total",
        },
        IngestError::ChunkLength { expected, actual } if actual > expected => {
            Problem::ChunkTooLong { expected }
        }
        IngestError::ChunkLength { expected, actual } => Problem::BodyTooShort { expected, actual },
        IngestError::ConditionFailed { stored } => Problem::PreconditionFailed { stored },
        IngestError::DigestMismatch { algorithm, expected, actual } => {
            let algorithm = match algorithm {
                "md5" => DigestAlgorithm::Md5,
                _ => DigestAlgorithm::Sha256,
            };
            Problem::DigestMismatch { algorithm, expected, actual, index }
        }
        IngestError::Finished => Problem::ChunkConflict,
        IngestError::Merging => Problem::Merging,
        IngestError::NoOffer => Problem::OfferGone,
        IngestError::NotProven => Problem::PossessionNotProven,
        IngestError::Broken(_) => Problem::MalformedBody,
        IngestError::Stopping => Problem::ShuttingDown,
    }
}

fn parameter(field: &str) -> Parameter {
    match field {
        "size" => Parameter::Size,
        "chunk_size" => Parameter::ChunkSize,
        _ => Parameter::Total,
    }
}

/// A merge that did not happen; `record` tells which chunks are missing now. Where they all came
/// meanwhile it is told which ones were.
pub(super) fn merge_problem(error: MergeError, record: Option<&Record>) -> Problem {
    match error {
        MergeError::Missing { missing: found } | MergeError::Damaged { chunks: found } => {
            let total = record.and_then(|record| record.layout().total());
            let now = record.zip(total);
            let now = now.map(|(record, total)| IndexRuns::missing(record.chunks(), total));
            let now = now.filter(|missing| missing.count() > 0);
            let missing = now.unwrap_or_else(|| found.into_iter().collect());
            Problem::ChunksMissing { missing, total }
        }
        MergeError::Mismatch { mismatch, bad_chunks } => Problem::CompositeMismatch {
            expected: Some(mismatch.expected),
            actual: Some(mismatch.actual),
            bad_chunks,
        },
        MergeError::NoDigests => {
            Problem::CompositeMismatch { expected: None, actual: None, bad_chunks: Vec::new() }
        }
        MergeError::ListLength => Problem::InvalidParameter {
            name: Parameter::Chunks,
            why: "it must list one digest for each chunk",
        },
        MergeError::ContentGone => Problem::OfferGone,
        MergeError::Partial => Problem::PartialUpload,
        MergeError::Hold(error) => hold_problem(&error),
    }
}
