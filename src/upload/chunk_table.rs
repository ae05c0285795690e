//! Which chunks are sealed, and where they lie.

use rpds::RedBlackTreeMapSync as Tree;

use super::{digest::Sha256Digest, part::PartId, units::ChunkIndex};

/// A whole chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedChunk {
    /// Its bytes.
    pub length: u64,
    /// Its SHA-256; absent under `--chunk-digest none`.
    pub digest: Option<Sha256Digest>,
    /// The file that holds it.
    pub part: PartId,
    /// Were its bytes on the disk before it counted? Else a failed flush leaves them unsure.
    pub flushed: bool,
}

/// The sealed chunks of an upload, by index.
///
/// A clone shares its entries, so that every commit can publish a new record to readers without
/// copying a table of a hundred thousand chunks; and whatever is asked at each seal or look is
/// answered without going through them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkTable {
    chunks: Tree<ChunkIndex, SealedChunk>,
    runs: Runs<()>,
    /// Runs of chunks that lie in the same part.
    stretches: Runs<PartId>,
    /// The last chunk of each part.
    parts: Tree<PartId, ChunkIndex>,
    sealed: u64,
    bytes: u64,
    /// The first chunk that is not sealed.
    first_missing: ChunkIndex,
}

impl ChunkTable {
    /// The chunk, if it is sealed.
    pub fn get(&self, chunk: ChunkIndex) -> Option<&SealedChunk> {
        self.chunks.get(&chunk)
    }

    /// Number of sealed chunks.
    pub const fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Bytes of all sealed chunks.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first chunk that is not sealed: the number of chunks of the contiguous prefix.
    pub const fn first_missing(&self) -> ChunkIndex {
        self.first_missing
    }

    /// The sealed chunks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (ChunkIndex, &SealedChunk)> {
        self.chunks.iter().map(|(chunk, sealed)| (*chunk, sealed))
    }

    /// The sealed chunks from `chunk` on, ascending.
    pub fn iter_from(&self, chunk: ChunkIndex) -> impl Iterator<Item = (ChunkIndex, &SealedChunk)> {
        self.chunks.range(chunk..).map(|(chunk, sealed)| (*chunk, sealed))
    }

    /// The sealed chunks as runs without a gap, ascending: the first and the last chunk of each.
    pub fn runs(&self) -> impl Iterator<Item = (ChunkIndex, ChunkIndex)> {
        self.runs.0.iter().map(|(first, (last, ()))| (*first, *last))
    }

    /// The last sealed chunk that lies in this part.
    pub fn last_in(&self, part: PartId) -> Option<ChunkIndex> {
        self.parts.get(&part).copied()
    }

    /// The parts beginning with this chunk in which any sealed chunk lies, ascending.
    pub fn parts_from(&self, chunk: ChunkIndex) -> impl Iterator<Item = PartId> {
        let parts = self.parts.range(PartId::new(chunk)..).map(|(part, _)| *part);
        parts.take_while(move |part| part.first == chunk)
    }

    /// The last of the chunks behind this sealed one that lie in the same part without a gap.
    pub fn end_of_stretch(&self, chunk: ChunkIndex) -> Option<ChunkIndex> {
        self.stretches.around(chunk).map(|run| run.last)
    }

    /// The sealed chunk with the highest index.
    pub(super) fn last(&self) -> Option<(ChunkIndex, &SealedChunk)> {
        self.chunks.last().map(|(chunk, sealed)| (*chunk, sealed))
    }

    /// Adds or moves a chunk.
    pub(super) fn insert(&mut self, chunk: ChunkIndex, sealed: SealedChunk) {
        let part = sealed.part;
        let replaced = self.get(chunk).copied();
        self.chunks.insert_mut(chunk, sealed);
        self.bytes = self.bytes.saturating_sub(replaced.map_or(0, |old| old.length));
        self.bytes = self.bytes.saturating_add(sealed.length);
        self.sealed = self.sealed.saturating_add(u64::from(replaced.is_none()));
        if replaced.is_none() {
            self.runs.put(chunk, ());
            self.count_prefix();
        }
        if replaced.is_some_and(|old| old.part == part) {
            return;
        }
        self.stretches.put(chunk, part);
        if let Some(old) = replaced {
            self.leave(chunk, old.part);
        }
        if self.last_in(part).is_none_or(|last| last < chunk) {
            self.parts.insert_mut(part, chunk);
        }
    }

    /// Forgets a chunk.
    pub(super) fn remove(&mut self, chunk: ChunkIndex) {
        // Else a path would be copied for nothing.
        let Some(removed) = self.get(chunk).copied() else { return };
        self.chunks.remove_mut(&chunk);
        self.bytes = self.bytes.saturating_sub(removed.length);
        self.sealed = self.sealed.saturating_sub(1);
        self.runs.take(chunk);
        self.stretches.take(chunk);
        self.leave(chunk, removed.part);
        self.count_prefix();
    }

    fn count_prefix(&mut self) {
        let first = self.runs.around(ChunkIndex::ZERO);
        self.first_missing = first.and_then(|run| run.last.next().ok()).unwrap_or(ChunkIndex::ZERO);
    }

    /// A chunk lies in this part no more.
    fn leave(&mut self, chunk: ChunkIndex, part: PartId) {
        if self.last_in(part) != Some(chunk) {
            return;
        }
        // None lies in front of the part's first one.
        let before = self.stretches.back_from(chunk).take_while(|run| run.last >= part.first);
        let last = before.filter(|run| run.what == part).map(|run| run.last).next();
        match last {
            Some(last) => self.parts.insert_mut(part, last),
            None => drop(self.parts.remove_mut(&part)),
        }
    }
}

/// Chunks that follow each other and have something in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run<T> {
    first: ChunkIndex,
    last: ChunkIndex,
    what: T,
}

/// Runs that are as long as can be, by their first chunk: the last chunk, and what they have in
/// common.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Runs<T: Copy + Eq>(Tree<ChunkIndex, (ChunkIndex, T)>);

impl<T: Copy + Eq> Default for Runs<T> {
    fn default() -> Self {
        Self(Tree::default())
    }
}

impl<T: Copy + Eq> Runs<T> {
    /// The run that a chunk lies in.
    fn around(&self, chunk: ChunkIndex) -> Option<Run<T>> {
        self.back_from(chunk).next().filter(|run| run.last >= chunk)
    }

    /// The runs that begin with `chunk` or in front of it, descending.
    fn back_from(&self, chunk: ChunkIndex) -> impl Iterator<Item = Run<T>> {
        let runs = self.0.range(..=chunk).rev();
        runs.map(|(first, (last, what))| Run { first: *first, last: *last, what: *what })
    }

    /// Adds a chunk, or says something else of it.
    fn put(&mut self, chunk: ChunkIndex, what: T) {
        self.take(chunk);
        let alike = |run: &Run<T>| run.what == what;
        let before = chunk.previous().and_then(|chunk| self.around(chunk)).filter(alike);
        let behind = chunk.next().ok().and_then(|chunk| self.around(chunk)).filter(alike);
        if let Some(behind) = behind {
            self.0.remove_mut(&behind.first);
        }
        let first = before.map_or(chunk, |run| run.first);
        let last = behind.map_or(chunk, |run| run.last);
        self.0.insert_mut(first, (last, what));
    }

    /// Takes a chunk out.
    fn take(&mut self, chunk: ChunkIndex) {
        let Some(Run { first, last, what }) = self.around(chunk) else { return };
        match chunk.previous().filter(|previous| *previous >= first) {
            Some(previous) => self.0.insert_mut(first, (previous, what)),
            None => drop(self.0.remove_mut(&first)),
        }
        if let Some(next) = chunk.next().ok().filter(|next| *next <= last) {
            self.0.insert_mut(next, (last, what));
        }
    }
}

#[cfg(test)]
mod tests;
