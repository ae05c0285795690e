//! Chance that can be had again: a small generator.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// The generator `SplitMix64`; good enough to choose bytes and moments.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence that no other case gets: of the time and a counter.
    pub(crate) fn fresh() -> Self {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        let seed = now.as_secs().wrapping_mul(1_000_000_007) ^ u64::from(now.subsec_nanos());
        Self(seed.wrapping_add(drawn.wrapping_mul(0x9e37_79b9)))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low ..= high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// An index below `len`.
    pub(crate) fn below(&mut self, len: usize) -> usize {
        usize::try_from(self.next() % length_of(len)).unwrap_or(0)
    }

    /// `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// The same elements in another order.
    pub(crate) fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
        items
    }

    /// 16 hex digits, as index clients name a file.
    pub(crate) fn hash(&mut self) -> String {
        format!("{:016x}", self.next())
    }
}

/// A length in memory as a length on the wire.
fn length_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
