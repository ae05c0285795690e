//! Which chunks are sealed, and where they lie.

use std::{collections::BTreeMap, sync::Arc};

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

const BLOCK: u64 = 256;

/// Chunks of one block of 256 indexes.
type Block = BTreeMap<ChunkIndex, SealedChunk>;

/// The sealed chunks of an upload, by index.
///
/// A clone shares its blocks, so that every commit can publish a new record to readers without
/// copying a table of a hundred thousand chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkTable {
    blocks: BTreeMap<u64, Arc<Block>>,
    sealed: u64,
    bytes: u64,
    /// The first chunk that is not sealed.
    first_missing: ChunkIndex,
}

impl ChunkTable {
    /// The chunk, if it is sealed.
    pub fn get(&self, chunk: ChunkIndex) -> Option<&SealedChunk> {
        self.blocks.get(&(chunk.get() / BLOCK))?.get(&chunk)
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
        self.blocks.values().flat_map(|block| block.iter().map(|(index, chunk)| (*index, chunk)))
    }

    /// The sealed chunks from `chunk` on, ascending.
    pub fn iter_from(&self, chunk: ChunkIndex) -> impl Iterator<Item = (ChunkIndex, &SealedChunk)> {
        self.blocks
            .range(chunk.get() / BLOCK..)
            .flat_map(move |(_, block)| block.range(chunk..).map(|(index, chunk)| (*index, chunk)))
    }

    /// The sealed chunk with the highest index.
    pub(super) fn last(&self) -> Option<(ChunkIndex, &SealedChunk)> {
        let last = self.blocks.values().rev().find_map(|block| block.last_key_value());
        last.map(|(index, chunk)| (*index, chunk))
    }

    /// Adds or moves a chunk.
    pub(super) fn insert(&mut self, chunk: ChunkIndex, sealed: SealedChunk) {
        let block = Arc::make_mut(self.blocks.entry(chunk.get() / BLOCK).or_default());
        let replaced = block.insert(chunk, sealed);
        self.bytes = self.bytes.saturating_sub(replaced.map_or(0, |old| old.length));
        self.bytes = self.bytes.saturating_add(sealed.length);
        self.sealed = self.sealed.saturating_add(u64::from(replaced.is_none()));
        while self.get(self.first_missing).is_some() {
            let Ok(next) = self.first_missing.next() else {
                break;
            };
            self.first_missing = next;
        }
    }

    /// Forgets a chunk.
    pub(super) fn remove(&mut self, chunk: ChunkIndex) {
        let Some(block) = self.blocks.get_mut(&(chunk.get() / BLOCK)) else {
            return;
        };
        let Some(removed) = Arc::make_mut(block).remove(&chunk) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(removed.length);
        self.sealed = self.sealed.saturating_sub(1);
        self.first_missing = self.first_missing.min(chunk);
    }
}
