//! What a finished file is, apart from its name: by this a client that has the same file is
//! recognised.

use std::fmt;

use super::{
    digest::Sha256Digest,
    record::Record,
    units::{ChunkCount, ChunkSize, Length},
};

/// One file's bytes as one owner cut them. Equal contents have equal chunk digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Whose it is; empty where nobody is told apart.
    pub owner: String,
    /// Bytes of it.
    pub length: Length,
    /// Bytes of every chunk but the last.
    pub chunk_size: ChunkSize,
    /// How many chunks it has.
    pub total: ChunkCount,
    /// The raw composite digest of its chunks.
    pub composite: Sha256Digest,
}

/// A content's name in the index: 64 lower-case hex digits, derived under the server's secret, so
/// that whoever sees an index cannot tell by digests what is held.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey(String);

impl ContentKey {
    pub(super) const fn new(digits: String) -> Self {
        Self(digits)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first two digits, evenly spread: the folder that its entry lies in.
    pub fn shard(&self) -> &str {
        self.0.get(..2).unwrap_or_default()
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentKey({})", self.0)
    }
}

impl Record {
    /// What the file is; `None` while it is not finished, and where digests are lacking.
    pub fn content(&self) -> Option<Content> {
        let finished = self.finished()?;
        let composite = finished.composite?;
        Some(Content {
            owner: self.manifest().owner().to_owned(),
            length: finished.length,
            chunk_size: self.layout().chunk_size(),
            total: self.layout().total()?,
            composite,
        })
    }
}
