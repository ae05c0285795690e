//! Lists of chunk numbers, written so that a million consecutive ones take no more room than two.

use std::fmt;

use crate::upload::{ChunkCount, ChunkIndex, ChunkTable};

/// Ascending chunk numbers as runs. Displayed as `0-1,3`; nothing for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexRuns(Vec<(u64, u64)>);

impl IndexRuns {
    /// The sealed chunks.
    pub fn sealed(chunks: &ChunkTable) -> Self {
        Self(chunks.runs().map(|(first, last)| (first.get(), last.get())).collect())
    }

    /// The chunks below `total` that are not sealed.
    pub fn missing(chunks: &ChunkTable, total: ChunkCount) -> Self {
        Self::sealed(chunks).complement(total)
    }

    /// The numbers below `total` that are not among these.
    #[must_use]
    pub fn complement(&self, total: ChunkCount) -> Self {
        let mut runs = Vec::new();
        let mut next = 0;
        for &(first, last) in &self.0 {
            if let Some(before) = first.checked_sub(1).filter(|before| *before >= next) {
                runs.push((next, before));
            }
            next = last.saturating_add(1);
        }
        if let Some(last) = total.get().checked_sub(1).filter(|last| *last >= next) {
            runs.push((next, last));
        }
        Self(runs)
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (first, last)| {
            sum.saturating_add(last.saturating_sub(*first).saturating_add(1))
        })
    }

    /// The numbers, ascending.
    pub fn indexes(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl FromIterator<ChunkIndex> for IndexRuns {
    /// Expects ascending numbers; one that is not begins a run of its own.
    fn from_iter<I: IntoIterator<Item = ChunkIndex>>(indexes: I) -> Self {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for index in indexes.into_iter().map(ChunkIndex::get) {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(index) => *last = index,
                _ => runs.push((index, index)),
            }
        }
        Self(runs)
    }
}

impl fmt::Display for IndexRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}
