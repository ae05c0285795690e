//! Which file holds a chunk.

use std::fmt;

use super::units::ChunkIndex;

/// A part: one file with consecutive chunks, the first of them `first`.
///
/// A chunk that replaces another one lands in a part of the next generation, so that the bytes that
/// the ledger names are never overwritten (invariants I1, I2); the ledger moves over, then the old
/// part goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId {
    /// The chunk at the part's first byte.
    pub first: ChunkIndex,
    /// 0 for the first part that begins there.
    pub generation: u32,
}

impl PartId {
    /// The first generation of the part that begins with `first`.
    pub const fn new(first: ChunkIndex) -> Self {
        Self { first, generation: 0 }
    }

    /// Where the bytes of a finished upload lie between `files/` and their end. No chunk ever gets
    /// that many generations.
    pub const WITHDRAWN: Self = Self { first: ChunkIndex::ZERO, generation: u32::MAX };

    /// Where the bytes of an upload lie that came all at once, until they are a file: no folder is
    /// made for them. It counts once its chunk is sealed, and never holds a tail.
    pub const WHOLE: Self = Self { first: ChunkIndex::ZERO, generation: u32::MAX - 1 };

    /// Reads `{k}.part` or `{k}.{generation}.part`.
    pub fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".part")?;
        let (first, generation) = match stem.split_once('.') {
            Some((first, generation)) => (first, generation.parse().ok()?),
            None => (stem, 0),
        };
        let part = Self { first: ChunkIndex::new(first.parse().ok()?).ok()?, generation };
        (part.to_string() == file_name).then_some(part)
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "{}.part", self.first),
            generation => write!(f, "{}.{generation}.part", self.first),
        }
    }
}
