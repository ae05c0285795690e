//! The law: what an upload is and which changes are legal. Pure values: no async, no IO, no clock,
//! no HTTP.

mod checksum;
mod chunk_table;
mod concatenation;
mod content;
mod digest;
mod fact;
mod finished;
mod id;
mod key;
mod layout;
mod manifest;
mod mark;
mod name;
mod part;
mod phase;
mod record;
mod sha256;
#[cfg(test)]
mod tests;
mod time;
mod units;

pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumDemand, NotAChecksum, RunningChecksum};
pub use chunk_table::{ChunkTable, SealedChunk};
pub use concatenation::{Concatenation, Parts};
pub use content::{Content, ContentKey};
pub use digest::{
    CompositeDigest, CompositeMatch, CompositeMismatch, DigestForm, ParseDigestError, Sha256Digest,
};
pub use fact::{Fact, PROVEN, Stamped};
pub use finished::Finished;
pub use id::{IdSecret, ParseIdError, UploadId};
pub use key::{ChunkKey, ParseHashError, UploadHash};
pub use layout::{Layout, LayoutError};
pub use manifest::{Dialect, Manifest};
pub use mark::{FileMark, Likeness};
pub use name::{
    FinalName, NameParts, NameTemplate, ParseNameError, ParseTemplateError, is_invisible,
};
pub use part::PartId;
pub use phase::{IllegalMove, Phase, PhaseEvent};
pub use record::{CLOCK_ERROR, JOINED_CHUNKS_MAX, LawError, Pending, Record};
pub use sha256::{RunningSha256, gains_by_two};
pub use time::Timestamp;
pub use units::{ChunkCount, ChunkIndex, ChunkSize, Length, Offset, OutOfRange};
