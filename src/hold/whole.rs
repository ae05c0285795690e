//! All chunks of an upload at once: out of one file, or as the one body that it has.

use std::{collections::BTreeSet, io};

use super::{
    Hashing, Held, HoldError,
    tail::{Excess, Tail},
    unwritten::Ground,
};
use crate::{
    durable::Flush,
    storage::Staged,
    upload::{ChunkIndex, Fact, PartId, RunningSha256, Sha256Digest},
};

/// A chunk as it lies in a file that has all of them: which, its bytes, its SHA-256.
pub type WholeChunk = (ChunkIndex, u64, Sha256Digest);

impl Held {
    /// Opens a place for the bytes of an upload that has none so far and gets all of them at once,
    /// as its one chunk. No fact and no length tells of them before that chunk is sealed.
    pub fn begin_whole(&mut self, hashing: Hashing) -> Result<(), HoldError> {
        let (storage, id, part) = (self.storage(), self.id(), PartId::WHOLE);
        let flush = self.durability().of_answer();
        let blob = match storage.create_part(id, part, flush) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                storage.remove_part(id, part)?;
                storage.create_part(id, part, flush)?
            }
            created => created?,
        };
        let hasher = match hashing {
            Hashing::Sha256 => Some(RunningSha256::new()),
            Hashing::Off => None,
        };
        let mut tail = Tail::new(ChunkIndex::ZERO, part, 0, 0);
        tail.attach(blob, hasher, Excess::None);
        self.tail = Some(tail);
        Ok(())
    }

    /// Is there nothing of the upload yet, are `bytes` all that it will have, and one chunk?
    pub fn is_whole_with(&self, bytes: u64) -> bool {
        let record = self.record();
        let manifest = record.manifest();
        let plain = manifest.parts().is_none() && !manifest.is_partial();
        let untouched = record.chunks().first_missing() == ChunkIndex::ZERO
            && record.chunks().sealed() == 0
            && record.pending().is_none()
            && self.tail.is_none();
        let all = record.layout().length().is_some_and(|length| length.get() == bytes);
        let one = record.layout().chunk_len(ChunkIndex::ZERO) == Ok(bytes);
        plain && untouched && all && one && bytes > 0
    }

    /// Removes whatever is left in the place of its parts once its file has appeared.
    pub fn remove_parts(&self, published: PartId) -> io::Result<()> {
        match (self.ground, published) {
            (Ground::Bare, PartId::WHOLE) => Ok(()),
            _ => self.storage().remove_upload(self.id()),
        }
    }

    /// Gives up bytes that came all at once and cannot be sealed: nobody would find them again. Was
    /// there such a tail?
    pub(super) fn drop_whole(&mut self) -> bool {
        if self.tail.take_if(|tail| tail.part == PartId::WHOLE).is_none() {
            return false;
        }
        self.remove_whole();
        true
    }

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
            this.ground = Ground::Built;
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
