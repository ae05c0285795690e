//! Where each chunk lies: offset ↔ chunk.
#![deny(clippy::arithmetic_side_effects)]

use serde::{Deserialize, Serialize};

use super::units::{ChunkCount, ChunkIndex, ChunkSize, Length, Offset, OutOfRange};

/// How a file is cut into chunks. All chunks but the last are `chunk_size` long; the last one is
/// shorter, or in the chunk flow up to `2·chunk_size − 1` long. An empty file is one chunk of zero
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredLayout")]
pub struct Layout {
    chunk_size: ChunkSize,
    length: Option<Length>,
    /// Known exactly when the length is.
    total: Option<ChunkCount>,
}

/// The fields as they are read back, not compared with each other yet.
#[derive(Deserialize)]
struct StoredLayout {
    chunk_size: ChunkSize,
    length: Option<Length>,
    total: Option<ChunkCount>,
}

impl TryFrom<StoredLayout> for Layout {
    type Error = LayoutError;

    fn try_from(stored: StoredLayout) -> Result<Self, LayoutError> {
        match (stored.length, stored.total) {
            (None, None) => Ok(Self::by_size(stored.chunk_size, None)),
            (Some(length), Some(total)) => Self::by_total(stored.chunk_size, length, total),
            _ => Err(OutOfRange.into()),
        }
    }
}

/// A length, chunk size and number of chunks that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Neither `max(1, ceil(length / chunk_size))` nor `max(1, floor(length / chunk_size))`.
    #[error("{length} bytes in chunks of {chunk_size} are {ceil} or {floor} chunks, not {total}")]
    Total {
        /// Bytes of the file.
        length: u64,
        /// Bytes of a chunk.
        chunk_size: u64,
        /// The number of chunks that was given.
        total: u64,
        /// The number with a short last chunk.
        ceil: u64,
        /// The number with a long last chunk.
        floor: u64,
    },
    /// The length is known and cannot change.
    #[error("the length is {0} and cannot change")]
    Fixed(Length),
    /// No file is that long.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
}

impl Layout {
    /// The layout of an offset client: `max(1, ceil(length / chunk_size))` chunks, open while the
    /// length is unknown.
    pub fn by_size(chunk_size: ChunkSize, length: Option<Length>) -> Self {
        let total = length.map(|length| ceil(length, chunk_size));
        Self { chunk_size, length, total }
    }

    /// The layout of an index client, which says how many chunks it cuts.
    pub fn by_total(
        chunk_size: ChunkSize,
        length: Length,
        total: ChunkCount,
    ) -> Result<Self, LayoutError> {
        let (ceil, floor) = (ceil(length, chunk_size), floor(length, chunk_size));
        if total != ceil && total != floor {
            return Err(LayoutError::Total {
                length: length.get(),
                chunk_size: chunk_size.get(),
                total: total.get(),
                ceil: ceil.get(),
                floor: floor.get(),
            });
        }
        Ok(Self { chunk_size, length: Some(length), total: Some(total) })
    }

    /// The same layout with its length declared.
    pub fn with_length(self, length: Length) -> Result<Self, LayoutError> {
        match self.length {
            Some(known) if known != length => Err(LayoutError::Fixed(known)),
            Some(_) => Ok(self),
            None => Ok(Self::by_size(self.chunk_size, Some(length))),
        }
    }

    /// Bytes of every chunk but the last.
    pub const fn chunk_size(&self) -> ChunkSize {
        self.chunk_size
    }

    /// Bytes of the file, once known.
    pub const fn length(&self) -> Option<Length> {
        self.length
    }

    /// Number of chunks, once the length is known; at least 1.
    pub const fn total(&self) -> Option<ChunkCount> {
        self.total
    }

    /// Is there a chunk of this number? While the length is unknown, any may come.
    pub fn contains(&self, chunk: ChunkIndex) -> bool {
        self.total.is_none_or(|total| chunk.get() < total.get())
    }

    /// Where the chunk begins.
    pub fn start(&self, chunk: ChunkIndex) -> Result<Offset, OutOfRange> {
        let start = chunk.get().checked_mul(self.chunk_size.get()).ok_or(OutOfRange)?;
        Offset::new(start)
    }

    /// Bytes of the chunk when it is whole; `chunk_size` for each while the length is unknown. An
    /// error for a chunk that the layout does not have.
    pub fn chunk_len(&self, chunk: ChunkIndex) -> Result<u64, OutOfRange> {
        let (Some(length), Some(total)) = (self.length, self.total) else {
            return self.start(chunk).map(|_| self.chunk_size.get());
        };
        if chunk.get() >= total.get() {
            return Err(OutOfRange);
        }
        if chunk.get().checked_add(1) < Some(total.get()) {
            return Ok(self.chunk_size.get());
        }
        length.end().since(self.start(chunk)?).ok_or(OutOfRange)
    }

    /// Where the chunk ends.
    pub fn end(&self, chunk: ChunkIndex) -> Result<Offset, OutOfRange> {
        self.start(chunk)?.advance(self.chunk_len(chunk)?)
    }

    /// The chunk that the byte at `offset` belongs to. At the end of a file of known length: its
    /// last chunk.
    pub fn chunk_at(&self, offset: Offset) -> Result<ChunkIndex, OutOfRange> {
        let index = offset.get().checked_div(self.chunk_size.get()).ok_or(OutOfRange)?;
        let last = match (self.total, self.length) {
            (Some(total), Some(length)) if offset <= length.end() => total.get().saturating_sub(1),
            (Some(_), _) => return Err(OutOfRange),
            (None, _) => u64::MAX,
        };
        ChunkIndex::new(index.min(last))
    }
}

fn ceil(length: Length, chunk_size: ChunkSize) -> ChunkCount {
    count(length.get().div_ceil(chunk_size.get()))
}

fn floor(length: Length, chunk_size: ChunkSize) -> ChunkCount {
    count(length.get().checked_div(chunk_size.get()).unwrap_or(0))
}

fn count(chunks: u64) -> ChunkCount {
    ChunkCount::new(chunks.max(1))
        .expect("a length of at most 2^63 − 1 has no more chunks than bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_built_is_read_back() {
        let read = |json: &str| serde_json::from_str::<Layout>(json);
        for length in [None, Some(0), Some(9), Some(i64::MAX.unsigned_abs())] {
            let length = length.map(|length| Length::new(length).unwrap());
            let layout = Layout::by_size(ChunkSize::new(4).unwrap(), length);
            assert_eq!(read(&serde_json::to_string(&layout).unwrap()).unwrap(), layout);
        }
        assert!(read(r#"{"chunk_size":4,"length":9,"total":2}"#).is_ok());
        for wrong in [
            r#"{"chunk_size":4,"length":9,"total":4}"#,
            r#"{"chunk_size":4,"length":9,"total":null}"#,
            r#"{"chunk_size":4,"length":null,"total":1}"#,
            r#"{"chunk_size":0,"length":null,"total":null}"#,
            r#"{"chunk_size":4,"length":9223372036854775808,"total":2305843009213693952}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
