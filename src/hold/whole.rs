//! All chunks of an upload at once, out of one file.

use std::collections::BTreeSet;

use super::{Held, HoldError};
use crate::{
    durable::Flush,
    storage::Staged,
    upload::{ChunkIndex, Fact, PartId, Sha256Digest},
};

/// A chunk as it lies in a file that has all of them: which, its bytes, its SHA-256.
pub type WholeChunk = (ChunkIndex, u64, Sha256Digest);

impl Held {
    /// Makes a staged file that has all chunks of the upload in order its part, and seals them, all
    /// or none. Chunks that were sealed before give way, as does a tail.
    pub fn adopt_whole(
        &mut self,
        staged: Box<dyn Staged>,
        chunks: &[WholeChunk],
    ) -> Result<(), HoldError> {
        self.all_or_doubt(|this| {
            this.drop_empty_tail();
            let part = this.part_for(ChunkIndex::ZERO);
            let sealed = this.record().chunks().iter().map(|(_, sealed)| sealed.part);
            let superseded: BTreeSet<PartId> = sealed.chain(this.tail_part()).collect();
            let flush = this.durability().of_answer();
            let id = this.id().clone();
            this.storage().adopt(staged, &id, part, flush)?;
            let seal = |(chunk, length, digest): &WholeChunk| {
                let (chunk, length, digest) = (*chunk, *length, Some(*digest));
                let flushed = flush == Flush::Durable;
                Fact::Sealed { chunk, length, digest, part, flushed }
            };
            this.commit(chunks.iter().map(seal), flush)?;
            this.tail = None;
            superseded.into_iter().try_for_each(|old| this.clear_dead_bytes(old))
        })
    }
}
