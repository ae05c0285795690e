//! Index, count, size, length and offset are five types (invariant I7); every conversion is
//! checked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest length or offset of an upload: 2^63 − 1, what a file system can address.
const LARGEST: u64 = i64::MAX.unsigned_abs();

/// A number that no file can have as its length, offset, chunk size or chunk number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("number out of range")]
pub struct OutOfRange;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[derive(Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name(u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Checks the number against 2^63 − 1.
            pub const fn new(value: u64) -> Result<Self, OutOfRange> {
                if value > LARGEST { Err(OutOfRange) } else { Ok(Self(value)) }
            }
        }

        impl TryFrom<u64> for $name {
            type Error = OutOfRange;

            fn try_from(value: u64) -> Result<Self, OutOfRange> {
                Self::new(value)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

unit!(
    /// Bytes of a whole upload: 0 ..= 2^63 − 1 (tus `Upload-Length`).
    Length
);
unit!(
    /// A position in an upload, in bytes from its start (tus `Upload-Offset`).
    Offset
);
unit!(
    /// Number of a chunk, from 0.
    ChunkIndex
);
unit!(
    /// How many chunks.
    ChunkCount
);

impl Offset {
    /// The position `bytes` further on.
    pub fn advance(self, bytes: u64) -> Result<Self, OutOfRange> {
        self.0.checked_add(bytes).ok_or(OutOfRange).and_then(Self::new)
    }

    /// Bytes from `earlier` to here; `None` if `earlier` lies behind.
    pub fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

impl Length {
    /// The position behind the last byte.
    pub const fn end(self) -> Offset {
        Offset(self.0)
    }

    /// Bytes that are missing behind `offset`; `None` if `offset` lies past the end.
    pub fn remaining(self, offset: Offset) -> Option<u64> {
        self.0.checked_sub(offset.0)
    }
}

impl ChunkIndex {
    /// The chunk behind this one.
    pub fn next(self) -> Result<Self, OutOfRange> {
        self.0.checked_add(1).ok_or(OutOfRange).and_then(Self::new)
    }

    /// The chunk before this one; `None` for the first.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl ChunkCount {
    /// All indexes below this count, ascending.
    pub fn indexes(self) -> impl Iterator<Item = ChunkIndex> {
        (0..self.0).map(ChunkIndex)
    }
}

/// Bytes of every chunk but the last: 1 ..= 2^31, as conformance row CHUNK-LIM-02 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct ChunkSize(u64);

impl ChunkSize {
    /// The largest chunk size, 2 GiB.
    pub const LARGEST: u64 = 1 << 31;

    /// Checks 1 ..= 2^31.
    pub const fn new(bytes: u64) -> Result<Self, OutOfRange> {
        if bytes == 0 || bytes > Self::LARGEST { Err(OutOfRange) } else { Ok(Self(bytes)) }
    }

    /// The plain number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for ChunkSize {
    type Error = OutOfRange;

    fn try_from(bytes: u64) -> Result<Self, OutOfRange> {
        Self::new(bytes)
    }
}

impl From<ChunkSize> for u64 {
    fn from(size: ChunkSize) -> Self {
        size.0
    }
}
