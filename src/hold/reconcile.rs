//! Brings ledger and parts into agreement after a crash: bytes came first, so the parts may be
//! ahead of the ledger; after a power loss they may lag behind it.

use std::{collections::BTreeMap, io};

use super::{
    HoldError,
    held::{Held, law},
    tail::{Tail, free_part, hash_range, open_for_append},
    unwritten::Ground,
};
use crate::{
    durable::{Durability, Flush},
    storage::{Blob, StoredPart},
    upload::{
        ChunkIndex, Fact, FinalName, Finished, Length, PROVEN, PartId, Phase, Record, SealedChunk,
        Sha256Digest,
    },
};

impl Held {
    /// Compares, repairs, and finds the tail.
    pub(super) fn reconcile(&mut self) -> Result<(), HoldError> {
        self.clear_ground()?;
        if self.is_retiring()? {
            return self.retire();
        }
        match self.record().phase() {
            Phase::Finished if self.is_unproven() => return self.prove(),
            // Its folder stays until its digests are taken.
            Phase::Finished if self.lacks_digests() => return Ok(()),
            Phase::Finished | Phase::Expired | Phase::Terminated | Phase::Corrupt => {
                return Ok(self.storage().remove_upload(self.id())?);
            }
            Phase::Merging => self.reconcile_merge()?,
            Phase::Receiving | Phase::Received => {}
        }
        if !self.record().phase().takes_bytes() {
            return Ok(());
        }
        self.roll_back()?;
        // Dead bytes go first: once a chunk is dropped, older bytes of it would look like a tail.
        self.tail = self.tail_candidate()?;
        self.cut_leftovers()?;
        self.drop_unreadable()?;
        let suspicious = self.record().epoch() < self.trust_epoch();
        if suspicious {
            self.drop_unverified()?;
            self.check_tail()?;
        }
        self.tail = self.find_tail()?;
        self.cut_leftovers()?;
        if suspicious {
            let epoch = self.trust_epoch();
            self.commit([Fact::Verified { epoch }], Flush::Lazy)?;
        }
        self.promise_again()
    }

    /// An id that is derived from a key comes again, and what was there before may have left bytes:
    /// a kill within a DELETE, or a power loss that took the ledger. They go before anything is
    /// believed to be this upload's, and the fact behind that is lost with the power only together
    /// with all that follows; whatever comes back then is verified.
    pub(super) fn clear_ground(&mut self) -> Result<(), HoldError> {
        if self.record().is_cleared() {
            return Ok(());
        }
        self.storage().remove_upload(self.id())?;
        self.commit_found([Fact::Cleared], Flush::Lazy)
    }

    /// Under [`Durability::Ack`] whatever is about to be told waits for the disk, also what a
    /// process had stored that died before it could say so.
    fn promise_again(&mut self) -> Result<(), HoldError> {
        if self.durability() != Durability::Ack {
            return Ok(());
        }
        let parts = self.part_sizes()?;
        if !parts.is_empty() {
            self.storage().sync_parts(self.id(), Flush::Durable)?;
        }
        for part in parts.into_keys() {
            self.flush_found(part)?;
        }
        let mut facts = self.now_flushed();
        let Some(tail) = &self.tail else { return self.commit_found(facts, Flush::Durable) };
        let (chunk, length) = (tail.chunk, tail.length);
        let blob = self.storage().open_part(self.id(), tail.part)?;
        let digest = hash_range(&*blob, tail.base, length)?.into();
        if self.record().promised_tail() != Some((chunk, length, digest)) {
            facts.push(Fact::Tail { chunk, length, digest });
        }
        self.commit_found(facts, Flush::Durable)
    }

    /// Chunks that were found, or stored under a policy that did not wait for the disk, and are on
    /// it now.
    fn now_flushed(&self) -> Vec<Fact> {
        let unsure = self.record().chunks().iter().filter(|(_, sealed)| !sealed.flushed);
        let flushed = |(chunk, sealed): (ChunkIndex, &SealedChunk)| {
            let SealedChunk { length, digest, part, .. } = *sealed;
            Fact::Sealed { chunk, length, digest, part, flushed: true }
        };
        unsure.map(flushed).collect()
    }

    /// A failed fsync is final: what it left unsure of a tail is asked for again, and so are chunks
    /// that no flush is known to have brought to the disk.
    fn flush_found(&mut self, part: PartId) -> Result<(), HoldError> {
        let blob = self.storage().open_part(self.id(), part)?;
        let Err(error) = blob.sync() else { return Ok(()) };
        let id = self.id();
        tracing::error!(%id, %error, "could not flush a part, asking for its new bytes again");
        if let Some(tail) = self.tail.as_ref().filter(|tail| tail.part == part) {
            self.cut_unsure(tail, &*blob)?;
        }
        let chunks = self.record().chunks().iter();
        let unsure: Vec<ChunkIndex> = chunks
            .filter(|(_, sealed)| sealed.part == part && !sealed.flushed)
            .map(|(chunk, _)| chunk)
            .collect();
        self.drop_all(&unsure)?;
        Err(error.into())
    }

    /// After a failed fsync: what an earlier one brought to the disk is there all the same, and was
    /// promised; the rest of a tail is not.
    pub(super) fn cut_unsure(&self, tail: &Tail, blob: &dyn Blob) -> Result<(), HoldError> {
        let kept = self.promised_bytes(tail.chunk, tail.part)?;
        Ok(blob.truncate(tail.base.saturating_add(kept))?)
    }

    /// Writes down that the file is visible, and where a finish waits for the disk, that no power
    /// loss can take it. Flushed as well: of two facts that were not, a power loss may keep the
    /// later one alone, and that ledger would read as damaged.
    pub fn commit_finished(
        &mut self,
        length: Length,
        composite: Option<Sha256Digest>,
    ) -> Result<(), HoldError> {
        let finished = Fact::Finished { length, composite };
        match self.durability().of_finish() {
            Flush::Lazy => self.commit([finished], Flush::Lazy),
            Flush::Durable => {
                self.commit([finished, Fact::Verified { epoch: PROVEN }], Flush::Durable)
            }
        }
    }

    /// A finished file that a power loss may have taken bytes of.
    fn is_unproven(&self) -> bool {
        self.record().epoch() < self.trust_epoch()
    }

    /// Compares a finished file with its digests. What cannot be proven is never served again. One
    /// that is not there needs no proof.
    fn prove(&mut self) -> Result<(), HoldError> {
        let Some(finished) = self.record().finished().cloned() else { return Ok(()) };
        if self.storage().finished_size(&finished.name)?.is_none() {
            return Ok(());
        }
        if self.is_as_finished(&finished)? {
            let epoch = self.trust_epoch();
            self.commit([Fact::Verified { epoch }], Flush::Lazy)?;
            return Ok(self.storage().remove_upload(self.id())?);
        }
        // Not removed: after a power loss nothing proves that the name is not another's.
        let (id, name) = (self.id(), &finished.name);
        tracing::error!(%id, %name, "a power loss took bytes of a finished file");
        self.commit([Fact::Corrupt], Flush::Lazy)
    }

    /// Is the file under the name of a finished one still that file, as far as can be told?
    pub(super) fn is_its_own(&self, finished: &Finished) -> Result<bool, HoldError> {
        Ok(!self.is_unproven() || self.is_as_finished(finished)?)
    }

    fn is_as_finished(&self, finished: &Finished) -> Result<bool, HoldError> {
        let size = self.storage().finished_size(&finished.name)?;
        Ok(size == Some(finished.length.get()) && self.is_as_sealed(&finished.name)?)
    }

    /// A finished upload whose bytes were joined, and not hashed yet.
    fn lacks_digests(&self) -> bool {
        let record = self.record();
        record.manifest().parts().is_some()
            && record.finished().is_some_and(|finished| finished.composite.is_none())
    }

    /// The process died while it published. If the file lies under its name, the merge happened;
    /// else it did not.
    fn reconcile_merge(&mut self) -> Result<(), HoldError> {
        let record = self.record();
        let first = record.chunks().get(ChunkIndex::ZERO).map(|sealed| sealed.part);
        let (Some(part), Some(name)) = (first, record.merging().cloned()) else {
            return self.commit([Fact::MergeAbandoned], Flush::Lazy);
        };
        let unpublished = self.storage().part_size(self.id(), part)?.is_some();
        let own = !unpublished
            && (record.epoch() >= self.trust_epoch() || self.is_as_sealed(&name)?)
            && self.holds().own_file(record, (&name, record.merging_mark()))?.is_some();
        let length = record.layout().length();
        let composite = record.composite().map(|composite| composite.raw);
        match (self.storage().finished_size(&name)?, length) {
            // Only the publishing rename takes the part away, so the file of that name is this
            // upload's, unless somebody took it and the name is another's.
            (Some(size), Some(length)) if own && size == length.get() => {
                let flush = self.durability().of_finish();
                if flush == Flush::Durable
                    // Whoever published it may have promised less.
                    && let Err(error) = self.storage().open_finished(&name)?.sync()
                {
                    // A failed fsync is final: no later one makes it a finished file.
                    self.commit([Fact::MergeAbandoned], Flush::Lazy)?;
                    return Err(error.into());
                }
                self.storage().sync_finished(flush)?;
                self.commit_finished(length, composite)?;
                Ok(self.storage().remove_upload(self.id())?)
            }
            (size, _) => {
                if unpublished || size.is_none() {
                    return self.commit([Fact::MergeAbandoned], Flush::Lazy);
                }
                // Not removed: after a power loss nothing proves that the name is not another's.
                let name = name.as_str();
                tracing::error!(id = %self.id(), name, "an unproven file was left in files");
                self.commit([Fact::MergeAbandoned], Flush::Lazy)
            }
        }
    }

    /// Has the file of this name the bytes of all sealed chunks?
    fn is_as_sealed(&self, name: &FinalName) -> Result<bool, HoldError> {
        let file = match self.storage().open_finished(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let record = self.record();
        for (chunk, sealed) in record.chunks().iter() {
            let Some(digest) = sealed.digest else {
                // Without digests only the order of a durable finish tells: bytes, intent, rename.
                if self.durability() == Durability::None {
                    return Ok(false);
                }
                continue;
            };
            let at = record.layout().start(chunk).map_err(law)?.get();
            let actual = hash_range(&*file, at, sealed.length).map(Sha256Digest::from);
            if actual.ok() != Some(digest) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops chunks whose part is not there or too short.
    fn drop_unreadable(&mut self) -> Result<(), HoldError> {
        let parts = self.part_sizes()?;
        let record = self.record();
        let lost: Vec<ChunkIndex> = record
            .chunks()
            .iter()
            .filter(|(chunk, sealed)| {
                let end = record.place(*chunk, sealed.part).ok();
                let end = end.and_then(|place| place.checked_add(sealed.length));
                end.is_none_or(|end| parts.get(&sealed.part).is_none_or(|size| *size < end))
            })
            .map(|(chunk, _)| chunk)
            .collect();
        self.drop_all(&lost)
    }

    /// Drops chunks whose bytes are not those of their digest. A chunk without digest is trusted
    /// only where every answer waited for the disk.
    fn drop_unverified(&mut self) -> Result<(), HoldError> {
        let wrong = self.wrong_chunks()?;
        self.drop_all(&wrong)
    }

    /// Reads all sealed chunks; gives those whose bytes are not the ones of their digest.
    pub fn wrong_chunks(&self) -> Result<Vec<ChunkIndex>, HoldError> {
        let record = self.record();
        // Joined bytes were on the disk before they were written down as such.
        let keep_unhashed = match self.durability() {
            Durability::None => false,
            Durability::Complete => record.manifest().parts().is_some(),
            Durability::Ack => true,
        };
        let mut wrong = Vec::new();
        for (chunk, sealed) in record.chunks().iter() {
            let Some(digest) = sealed.digest else {
                if !keep_unhashed {
                    wrong.push(chunk);
                }
                continue;
            };
            let place = record.place(chunk, sealed.part).map_err(law)?;
            let blob = self.storage().open_part(self.id(), sealed.part)?;
            match hash_range(&*blob, place, sealed.length).map(Sha256Digest::from) {
                Ok(actual) if actual == digest => {}
                Ok(_) => wrong.push(chunk),
                Err(error) => {
                    tracing::error!(id = %self.id(), %chunk, %error, "a chunk cannot be read");
                    wrong.push(chunk);
                }
            }
        }
        Ok(wrong)
    }

    /// Takes chunks out whose bytes are lost or wrong; they are asked for again.
    pub fn drop_chunks(&mut self, chunks: &[ChunkIndex]) -> Result<(), HoldError> {
        self.all_or_doubt(|this| {
            this.tail = None;
            this.drop_all(chunks)?;
            this.reconcile()
        })
    }

    fn drop_all(&mut self, chunks: &[ChunkIndex]) -> Result<(), HoldError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let count = chunks.len();
        tracing::warn!(id = %self.id(), count, "chunks are lost or damaged, asking for them again");
        for chunk in chunks.iter().rev() {
            self.drop_one(*chunk)?;
        }
        Ok(())
    }

    /// Takes one chunk out. A part that ends with it is cut first, so that dead bytes are never
    /// taken for a tail; bytes of it that were promised stay, wherever the rest of it is lost.
    fn drop_one(&mut self, chunk: ChunkIndex) -> Result<(), HoldError> {
        let Some(part) = self.record().chunks().get(chunk).map(|sealed| sealed.part) else {
            return Ok(());
        };
        let record = self.record();
        if record.is_shared(part) {
            // Its bytes are another's, too. As a part of nobody they would look like a tail.
            if record.chunks().iter().filter(|(_, sealed)| sealed.part == part).nth(1).is_none() {
                self.storage().remove_part(self.id(), part)?;
            }
        } else {
            let kept = self.promised_bytes(chunk, part)?;
            let place = self.record().place(chunk, part).map_err(law)?;
            if self.record().chunks().last_in(part) == Some(chunk) {
                let end = place.saturating_add(kept);
                let blob = open_for_append(self.storage(), self.id(), part)?;
                if let Some(blob) = blob.filter(|blob| blob.size().is_ok_and(|size| size > end)) {
                    blob.truncate(end)?;
                }
            } else if kept > 0 {
                self.set_aside(chunk, (part, place), kept)?;
            }
        }
        self.commit([Fact::Dropped { chunk }], Flush::Lazy)
    }

    /// How many bytes of a chunk were promised before it was whole, and are there.
    fn promised_bytes(&self, chunk: ChunkIndex, part: PartId) -> Result<u64, HoldError> {
        let promised = self.record().promised_tail().filter(|(of, ..)| *of == chunk);
        let Some((_, length, digest)) = promised else { return Ok(0) };
        let place = self.record().place(chunk, part).map_err(law)?;
        let Some(blob) = open_for_append(self.storage(), self.id(), part)? else { return Ok(0) };
        let there = hash_range(&*blob, place, length).map(Sha256Digest::from);
        Ok(if there.ok() == Some(digest) { length } else { 0 })
    }

    /// Copies promised bytes out of a part that goes on with other chunks, into one of their own:
    /// there they are a tail. That is to be on the disk before they are given up where they were.
    fn set_aside(
        &mut self,
        chunk: ChunkIndex,
        (part, place): (PartId, u64),
        length: u64,
    ) -> Result<(), HoldError> {
        let own = free_part(self.record(), chunk);
        self.ground = Ground::Built;
        self.storage().remove_part(self.id(), own)?;
        self.storage().create_part(self.id(), own, self.durability().of_answer())?;
        self.bring((part, place), (own, 0), length)?;
        match self.durability().of_answer() {
            Flush::Lazy => Ok(()),
            Flush::Durable => Ok(self.storage().open_part(self.id(), own)?.sync()?),
        }
    }

    /// The bytes behind the prefix: in the part that the prefix ends in, or in a part of their own
    /// that no fact names yet. Whole chunks among them are sealed.
    fn find_tail(&mut self) -> Result<Option<Tail>, HoldError> {
        loop {
            let Some(mut tail) = self.tail_candidate()? else { return Ok(None) };
            let whole = self.record().layout().chunk_len(tail.chunk).map_err(law)?;
            if tail.length < whole || whole == 0 {
                return Ok(Some(tail));
            }
            tail.length = whole;
            self.seal_found(&tail)?;
        }
    }

    fn tail_candidate(&self) -> Result<Option<Tail>, HoldError> {
        if self.record().is_complete() || self.record().manifest().parts().is_some() {
            return Ok(None);
        }
        Ok(tail_among(self.record(), &self.part_sizes()?))
    }

    fn seal_found(&mut self, tail: &Tail) -> Result<(), HoldError> {
        let blob = self.storage().open_part(self.id(), tail.part)?;
        let digest = hash_range(&*blob, tail.base, tail.length)?.into();
        let (chunk, length, part) = (tail.chunk, tail.length, tail.part);
        let (digest, flushed) = (Some(digest), false);
        self.commit_found([Fact::Sealed { chunk, length, digest, part, flushed }], Flush::Lazy)
    }

    /// Removes parts that no fact names and cuts dead ends. What a final upload has so far is named
    /// by none: whoever puts it together goes on behind it, or writes it anew.
    fn cut_leftovers(&mut self) -> Result<(), HoldError> {
        if self.record().manifest().parts().is_some() && self.record().phase() == Phase::Receiving {
            return Ok(());
        }
        let mut ends: BTreeMap<PartId, u64> = BTreeMap::new();
        for (chunk, sealed) in self.record().chunks().iter() {
            let place = self.record().place(chunk, sealed.part).map_err(law)?;
            ends.insert(sealed.part, place.saturating_add(sealed.length));
        }
        for (part, size) in self.part_sizes()? {
            if ends.get(&part).is_none_or(|end| *end < size) {
                self.clear_dead_bytes(part)?;
            }
        }
        Ok(())
    }

    pub(super) fn part_sizes(&self) -> Result<BTreeMap<PartId, u64>, HoldError> {
        let parts = self.storage().parts(self.id())?;
        Ok(parts.into_iter().map(|StoredPart { part, size }| (part, size)).collect())
    }

    /// After a power loss only a promised tail is trusted, and only if its bytes are those that
    /// were promised. Whatever else lies there is cut off, also whole chunks that were never
    /// sealed.
    fn check_tail(&self) -> Result<(), HoldError> {
        let Some(tail) = self.tail_candidate()? else { return Ok(()) };
        let blob = self.storage().open_part(self.id(), tail.part)?;
        let kept = match self.record().promised_tail() {
            Some((chunk, length, digest)) if chunk == tail.chunk && length <= tail.length => {
                let actual: Sha256Digest = hash_range(&*blob, tail.base, length)?.into();
                if actual == digest { length } else { 0 }
            }
            _ => 0,
        };
        Ok(blob.truncate(tail.base.saturating_add(kept))?)
    }
}

/// The longest run of bytes behind the prefix, of an upload with parts of these sizes.
pub fn tail_among(record: &Record, parts: &BTreeMap<PartId, u64>) -> Option<Tail> {
    if !record.is_cleared() {
        return None;
    }
    let chunk = record.chunks().first_missing();
    let behind = Tail::behind_prefix(record, u64::MAX).and_then(|mut tail| {
        tail.length = parts.get(&tail.part)?.checked_sub(tail.base)?;
        (tail.length > 0).then_some(tail)
    });
    let own = parts
        .iter()
        .filter(|(part, _)| part.first == chunk && **part != PartId::WHOLE)
        .filter(|(part, _)| !record.is_live(**part))
        .map(|(part, size)| Tail::new(chunk, *part, 0, *size));
    own.chain(behind).filter(|tail| tail.length > 0).max_by_key(|tail| tail.length)
}
