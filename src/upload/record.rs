//! An upload as its ledger tells it.

use std::{sync::Arc, time::Duration};

use super::{
    chunk_table::{ChunkTable, SealedChunk},
    digest::{CompositeDigest, Sha256Digest},
    fact::{Fact, Stamped},
    finished::{Finished, Merging},
    id::UploadId,
    layout::{Layout, LayoutError},
    manifest::Manifest,
    mark::FileMark,
    name::FinalName,
    part::PartId,
    phase::{IllegalMove, Phase, PhaseEvent},
    time::Timestamp,
    units::{ChunkIndex, Length, Offset, OutOfRange},
};

/// Chunks of a final upload at most, since one fact makes them all: 128 TiB in chunks of 8 MiB.
pub const JOINED_CHUNKS_MAX: u64 = 1 << 24;

/// A moment that lies further ahead was never true: the clock was wrong when it was written down.
pub const CLOCK_ERROR: Duration = Duration::from_hours(24);

/// A fact that cannot follow what the record holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LawError {
    /// The phase forbids it.
    #[error(transparent)]
    Move(#[from] IllegalMove),
    /// The length forbids it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A number that the layout does not have.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A chunk of another length than the layout gives it.
    #[error("chunk {chunk} has {actual} bytes, not {expected}")]
    ChunkLength {
        /// Which chunk.
        chunk: ChunkIndex,
        /// Bytes that the layout gives it.
        expected: u64,
        /// Bytes that were to be sealed.
        actual: u64,
    },
    /// A length below bytes that are there.
    #[error("the length {length} lies below the {stored} bytes that are there")]
    TooShort {
        /// The declared length.
        length: Length,
        /// The end of the last sealed chunk.
        stored: Offset,
    },
    /// A fact that belongs into a bracket stands alone.
    #[error("no request with a checksum is pending")]
    NothingPending,
    /// A fact that takes for granted what may still be taken back.
    #[error("a request with a checksum is pending")]
    Pending,
    /// A chunk that is not there cannot move.
    #[error("chunk {chunk} is not sealed")]
    NotSealed {
        /// Which chunk.
        chunk: ChunkIndex,
    },
    /// A finish without a name.
    #[error("no merge is under way")]
    NothingMerging,
    /// A finished file of another length than its upload.
    #[error("a finished file has {actual} bytes, its upload {expected:?}")]
    FinishedLength {
        /// The upload's length.
        expected: Option<Length>,
        /// The file's.
        actual: Length,
    },
}

/// All that is known of one upload, but for the tail, whose length only the part file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    manifest: Manifest,
    layout: Layout,
    chunks: ChunkTable,
    phase: Phase,
    last_activity: Timestamp,
    cleared: bool,
    epoch: u64,
    tail: Option<(ChunkIndex, u64, Sha256Digest)>,
    pending: Option<Pending>,
    promised: bool,
    lent: Option<(PartId, UploadId)>,
    merging: Option<Merging>,
    finished: Option<Finished>,
}

/// A request with a checksum that was not accepted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Where its bytes begin.
    pub offset: Offset,
    /// The upload as it was then. It is what others see, and what comes back if the checksum is
    /// wrong: until then no byte that it names may change.
    pub before: Arc<Record>,
}

impl Record {
    /// A new upload.
    pub fn new(manifest: Manifest) -> Self {
        Self {
            layout: manifest.layout,
            last_activity: manifest.created_at,
            epoch: manifest.epoch,
            chunks: ChunkTable::default(),
            phase: Phase::Receiving,
            // A random id never comes again.
            cleared: manifest.key.is_none(),
            tail: None,
            pending: None,
            promised: false,
            lent: None,
            merging: None,
            finished: None,
            manifest,
        }
    }

    /// What was said at creation.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How the file is cut, with the length where it came later.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The sealed chunks.
    pub const fn chunks(&self) -> &ChunkTable {
        &self.chunks
    }

    /// Where it stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// When bytes last arrived.
    pub const fn last_activity(&self) -> Timestamp {
        self.last_activity
    }

    /// Are all bytes that are found its own? Not yet where its id is derived from a key, and an
    /// earlier upload of that key may have left some.
    pub const fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// The trust epoch that its bytes have been verified for.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The bytes of a chunk that were promised last, before it was whole: which chunk, how many,
    /// their digest.
    pub const fn promised_tail(&self) -> Option<(ChunkIndex, u64, Sha256Digest)> {
        self.tail
    }

    /// The request with a checksum that was not accepted yet.
    pub const fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// The part whose bytes belong to a final upload, too, and which one that is.
    pub const fn lent(&self) -> Option<&(PartId, UploadId)> {
        self.lent.as_ref()
    }

    /// Must this part be neither written to nor cut, because another upload has its bytes, too?
    pub fn is_shared(&self, part: PartId) -> bool {
        let borrowed = self.manifest.parts().is_some() && part.first == ChunkIndex::ZERO;
        borrowed || self.lent.as_ref().is_some_and(|(lent, _)| *lent == part)
    }

    /// Was a client told that this final upload completes by itself?
    pub const fn is_promised(&self) -> bool {
        self.promised
    }

    /// The name under which it is about to appear, or has appeared.
    pub const fn merging(&self) -> Option<&FinalName> {
        match &self.merging {
            Some(merging) => Some(&merging.name),
            None => None,
        }
    }

    /// Tells the file that is about to appear, or has appeared, from others.
    pub fn merging_mark(&self) -> Option<FileMark> {
        self.merging.as_ref().and_then(|merging| merging.mark)
    }

    /// The finished file.
    pub const fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// The end of the contiguous sealed prefix, where a tail begins.
    pub fn prefix_end(&self) -> Offset {
        match self.chunks.first_missing().previous() {
            None => Offset::ZERO,
            Some(last) => {
                self.layout.end(last).expect("a sealed chunk was checked against the layout")
            }
        }
    }

    /// Are all chunks there?
    pub fn is_complete(&self) -> bool {
        self.layout.total().is_some_and(|total| self.chunks.first_missing().get() == total.get())
    }

    /// The composite digest of a complete upload; `None` where a chunk is missing or has no digest.
    pub fn composite(&self) -> Option<CompositeDigest> {
        if !self.is_complete() {
            return None;
        }
        let digests: Option<Vec<&Sha256Digest>> =
            self.chunks.iter().map(|(_, chunk)| chunk.digest.as_ref()).collect();
        digests.map(CompositeDigest::of)
    }

    /// The SHA-256 of the whole file, where a chunk's digest is that: there is only one.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        let alone = self.is_complete() && self.chunks.first_missing().get() == 1;
        let chunk = self.chunks.get(ChunkIndex::ZERO).filter(|_| alone)?;
        chunk.digest
    }

    /// Does any sealed chunk lie in this part?
    pub fn is_live(&self, part: PartId) -> bool {
        self.chunks.last_in(part).is_some()
    }

    /// The end of the last sealed chunk in a part, in bytes from the part's start; `None` if the
    /// part is nobody's.
    pub fn live_end(&self, part: PartId) -> Option<u64> {
        let last = self.chunks.last_in(part)?;
        let start = self.place(last, part).ok()?;
        Some(start.saturating_add(self.chunks.get(last)?.length))
    }

    /// Where a chunk's bytes begin in a part, in bytes from the part's start.
    pub fn place(&self, chunk: ChunkIndex, part: PartId) -> Result<u64, OutOfRange> {
        let start = self.layout.start(part.first)?;
        self.layout.start(chunk)?.since(start).ok_or(OutOfRange)
    }

    /// Takes in one more fact, or refuses it and stays as it was.
    pub fn apply(&mut self, stamped: &Stamped) -> Result<(), LawError> {
        match &stamped.fact {
            Fact::Sealed { chunk, length, digest, part, flushed } => {
                let (length, digest, part, flushed) = (*length, *digest, *part, *flushed);
                self.seal(*chunk, SealedChunk { length, digest, part, flushed })?;
                self.touch(stamped.at);
            }
            Fact::Tail { chunk, length, digest } => {
                self.phase.after(PhaseEvent::Receive)?;
                self.tail = Some((*chunk, *length, *digest));
                self.touch(stamped.at);
            }
            Fact::Touched => self.touch(stamped.at),
            Fact::Cleared => self.cleared = true,
            Fact::Length(length) => self.declare(*length)?,
            Fact::Pending { offset } => {
                self.ensure_settled()?;
                self.phase.after(PhaseEvent::Receive)?;
                let before = Arc::new(self.clone());
                self.pending = Some(Pending { offset: *offset, before });
            }
            Fact::Accepted => {
                self.pending.take().ok_or(LawError::NothingPending)?;
            }
            Fact::Rejected => {
                let pending = self.pending.as_ref().ok_or(LawError::NothingPending)?;
                self.phase.after(PhaseEvent::Receive)?;
                *self = Self::clone(&pending.before);
            }
            Fact::Dropped { chunk } => {
                self.phase = self.phase.after(PhaseEvent::Drop)?;
                self.chunks.remove(*chunk);
            }
            Fact::Absorbed { chunk, into, flushed } => {
                self.ensure_settled()?;
                self.relocate(*chunk, (*into, *flushed))?;
            }
            Fact::Lent { part, to } => self.lent = Some((*part, to.clone())),
            Fact::Promised => self.promised = true,
            Fact::Joined => {
                self.join()?;
                self.touch(stamped.at);
            }
            Fact::Digested { chunk, digest } => self.add_digest(*chunk, *digest)?,
            Fact::Verified { epoch } => self.epoch = *epoch,
            Fact::Merging { name, form, mark } => {
                self.ensure_settled()?;
                self.phase = self.phase.after(PhaseEvent::Merge)?;
                self.merging = Some(Merging { name: name.clone(), form: *form, mark: *mark });
            }
            Fact::MergeAbandoned => {
                self.phase = self.phase.after(PhaseEvent::Abandon)?;
                self.merging = None;
            }
            Fact::Finished { length, composite } => {
                self.finish(*length, *composite, stamped.at)?;
            }
            Fact::Expired => {
                self.phase = self.phase.after(PhaseEvent::Expire)?;
                // The name is free from now on, and may become another upload's.
                self.merging = None;
                self.finished = None;
            }
            Fact::Corrupt => self.phase = self.phase.after(PhaseEvent::Spoil)?,
        }
        Ok(())
    }

    /// Nothing may be built on bytes that may still be taken back.
    fn ensure_settled(&self) -> Result<(), LawError> {
        if self.pending.is_some() { Err(LawError::Pending) } else { Ok(()) }
    }

    fn seal(&mut self, chunk: ChunkIndex, sealed: SealedChunk) -> Result<(), LawError> {
        self.phase.after(PhaseEvent::Receive)?;
        let expected = self.layout.chunk_len(chunk)?;
        if sealed.length != expected {
            return Err(LawError::ChunkLength { chunk, expected, actual: sealed.length });
        }
        self.place(chunk, sealed.part)?;
        // A promised tail stays known: it outlives the chunk if a power loss takes only the rest.
        self.chunks.insert(chunk, sealed);
        self.settle()
    }

    fn join(&mut self) -> Result<(), LawError> {
        self.phase.after(PhaseEvent::Receive)?;
        let total = self.layout.total().ok_or(OutOfRange)?;
        if total.get() > JOINED_CHUNKS_MAX {
            return Err(OutOfRange.into());
        }
        let part = PartId::new(ChunkIndex::ZERO);
        for chunk in total.indexes() {
            let length = self.layout.chunk_len(chunk)?;
            self.chunks.insert(chunk, SealedChunk { length, digest: None, part, flushed: false });
        }
        self.settle()
    }

    fn add_digest(&mut self, chunk: ChunkIndex, digest: Sha256Digest) -> Result<(), LawError> {
        let sealed = self.chunks.get(chunk).copied().ok_or(LawError::NotSealed { chunk })?;
        self.chunks.insert(chunk, SealedChunk { digest: Some(digest), ..sealed });
        let is_last = self.chunks.last().is_some_and(|(last, _)| last == chunk);
        if let Some(mut finished) = self.finished.take_if(|_| is_last) {
            finished.composite = self.composite().map(|composite| composite.raw);
            self.finished = Some(finished);
        }
        Ok(())
    }

    fn finish(
        &mut self,
        length: Length,
        composite: Option<Sha256Digest>,
        at: Timestamp,
    ) -> Result<(), LawError> {
        let merging = self.merging.clone().ok_or(LawError::NothingMerging)?;
        let Merging { name, form, mark } = merging;
        let expected = self.layout.length();
        if expected != Some(length) {
            return Err(LawError::FinishedLength { expected, actual: length });
        }
        self.phase = self.phase.after(PhaseEvent::Publish)?;
        self.finished = Some(Finished { name, mark, length, composite, form, at });
        Ok(())
    }

    fn relocate(
        &mut self,
        chunk: ChunkIndex,
        (part, flushed): (PartId, bool),
    ) -> Result<(), LawError> {
        self.phase.after(PhaseEvent::Receive)?;
        self.place(chunk, part)?;
        let sealed = self.chunks.get(chunk).copied().ok_or(LawError::NotSealed { chunk })?;
        self.chunks.insert(chunk, SealedChunk { part, flushed, ..sealed });
        Ok(())
    }

    fn declare(&mut self, length: Length) -> Result<(), LawError> {
        self.phase.after(PhaseEvent::Receive)?;
        let layout = self.layout.with_length(length)?;
        // Chunks come in any order: not the prefix counts, but the last chunk that is there.
        if let Some((last, sealed)) = self.chunks.last()
            && layout.chunk_len(last) != Ok(sealed.length)
        {
            let stored = self.layout.end(last)?;
            return Err(LawError::TooShort { length, stored });
        }
        self.layout = layout;
        self.settle()
    }

    /// Receiving or Received: follows from the set of chunks alone.
    fn settle(&mut self) -> Result<(), LawError> {
        let event = if self.is_complete() { PhaseEvent::Complete } else { PhaseEvent::Receive };
        self.phase = self.phase.after(event)?;
        Ok(())
    }

    /// Activity goes on, unless what was written down lies so far ahead that the clock was wrong.
    fn touch(&mut self, at: Timestamp) {
        let wrong = self.last_activity.since(at) > CLOCK_ERROR;
        self.last_activity = if wrong { at } else { self.last_activity.max(at) };
        // No bytes are taken on ground that is not clear.
        self.cleared = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        state::contract::{id, manifest, sealed, stamped},
        upload::Phase,
    };

    fn with(facts: &[Fact]) -> Record {
        let mut record = Record::new(manifest(&id("c0"), None));
        for fact in facts {
            record.apply(&stamped(1, fact.clone())).unwrap();
        }
        record
    }

    fn length(bytes: u64) -> Fact {
        Fact::Length(Length::new(bytes).unwrap())
    }

    #[test]
    fn a_length_cannot_cut_off_a_chunk_behind_a_gap() {
        // Chunks of four bytes; the one behind the gap ends at byte 12.
        let open = with(&[sealed(2, 4)]);
        for bytes in [0, 1, 8, 9, 11] {
            let mut record = open.clone();
            let refused = record.apply(&stamped(2, length(bytes)));
            assert!(matches!(refused, Err(LawError::TooShort { .. })), "{bytes}: {refused:?}");
            assert_eq!(record, open);
        }
        let mut record = open;
        for fact in [length(12), sealed(0, 4), sealed(1, 4)] {
            record.apply(&stamped(2, fact)).unwrap();
        }
        assert_eq!((record.phase(), record.prefix_end().get()), (Phase::Received, 12));
    }

    #[test]
    fn a_finished_file_has_the_length_of_its_upload() {
        let name = FinalName::parse("a.bin").unwrap();
        let merging =
            with(&[length(4), sealed(0, 4), Fact::Merging { name, form: None, mark: None }]);
        for bytes in [0, 3, 5, 1 << 40, 4] {
            let mut record = merging.clone();
            let length = Length::new(bytes).unwrap();
            let told = record.apply(&stamped(2, Fact::Finished { length, composite: None }));
            assert_eq!(told.is_ok(), bytes == 4, "{bytes}: {told:?}");
            assert!(told.is_ok() || record == merging);
        }
    }

    #[test]
    fn an_expired_upload_gets_no_length() {
        let expired = with(&[sealed(0, 4), Fact::Expired]);
        let mut record = expired.clone();
        assert!(matches!(record.apply(&stamped(2, length(4))), Err(LawError::Move(_))));
        assert_eq!(record, expired);
    }

    #[test]
    fn a_chunk_cannot_be_absorbed_into_one_that_begins_behind_it() {
        let record = with(&[sealed(0, 4), sealed(1, 4)]);
        let [first, second] = [0, 1].map(|k| PartId::new(ChunkIndex::new(k).unwrap()));
        let backwards = Fact::Absorbed { chunk: ChunkIndex::ZERO, into: second, flushed: false };
        assert!(record.clone().apply(&stamped(2, backwards)).is_err());
        let mut record = record;
        let chunk = ChunkIndex::new(1).unwrap();
        record.apply(&stamped(2, Fact::Absorbed { chunk, into: first, flushed: false })).unwrap();
        assert_eq!(record.chunks().last_in(first), Some(chunk));
    }

    fn pending() -> Fact {
        Fact::Pending { offset: Offset::ZERO }
    }

    /// What may become a fact while bytes arrive; not all of it is legal at any time.
    fn happening() -> impl Strategy<Value = Fact> {
        let chunk = 0..4_u64;
        let digest = Sha256Digest::of(b"x");
        prop_oneof![
            4 => chunk.clone().prop_map(|chunk| sealed(chunk, 4)),
            1 => (chunk.clone(), 1..3_u32).prop_map(|(chunk, generation)| {
                let chunk = ChunkIndex::new(chunk).unwrap();
                let part = PartId { first: chunk, generation };
                Fact::Sealed { chunk, length: 4, digest: None, part, flushed: true }
            }),
            1 => chunk.prop_map(|chunk| Fact::Dropped { chunk: ChunkIndex::new(chunk).unwrap() }),
            1 => (0..5_u64).prop_map(|chunks| length(chunks * 4)),
            1 => (0..4_u64).prop_map(move |length| {
                Fact::Tail { chunk: ChunkIndex::ZERO, length, digest }
            }),
            1 => Just(Fact::Touched),
        ]
    }

    fn take_what_is_legal(record: &mut Record, facts: Vec<Fact>) {
        for (seconds, fact) in (2..).zip(facts) {
            let before = record.clone();
            if record.apply(&stamped(seconds, fact)).is_err() {
                assert_eq!(*record, before);
            }
        }
    }

    proptest! {
        // spec: TUS-56
        #[test]
        fn rejected_is_as_if_nothing_had_been(
            first in vec(happening(), 0..8),
            then in vec(happening(), 0..12),
        ) {
            let mut record = with(&[]);
            take_what_is_legal(&mut record, first);
            let before = record.clone();
            record.apply(&stamped(1, pending())).unwrap();
            take_what_is_legal(&mut record, then.clone());
            prop_assert_eq!(&*record.pending().unwrap().before, &before);
            let mut accepted = record.clone();
            record.apply(&stamped(99, Fact::Rejected)).unwrap();
            prop_assert_eq!(&record, &before);

            // Accepted, it is as if there had been no bracket.
            accepted.apply(&stamped(99, Fact::Accepted)).unwrap();
            let mut plain = before;
            take_what_is_legal(&mut plain, then);
            prop_assert_eq!(accepted, plain);
        }
    }

    #[test]
    fn a_bracket_opens_once_and_closes_once() {
        for end in [Fact::Accepted, Fact::Rejected] {
            let mut record = with(&[sealed(0, 4)]);
            let alone = record.apply(&stamped(2, end.clone()));
            assert_eq!(alone, Err(LawError::NothingPending));
            record.apply(&stamped(2, pending())).unwrap();
            assert_eq!(record.apply(&stamped(2, pending())), Err(LawError::Pending));
            record.apply(&stamped(2, end)).unwrap();
            assert_eq!(record.pending(), None);
        }
    }

    #[test]
    fn nothing_is_built_on_what_may_be_taken_back() {
        let mut record = with(&[length(8), sealed(0, 4), pending(), sealed(1, 4)]);
        let part = PartId::new(ChunkIndex::ZERO);
        let absorbed =
            Fact::Absorbed { chunk: ChunkIndex::new(1).unwrap(), into: part, flushed: false };
        let name = FinalName::parse("a.bin").unwrap();
        for fact in [absorbed, Fact::Merging { name, form: None, mark: None }] {
            assert_eq!(record.apply(&stamped(2, fact)), Err(LawError::Pending));
        }
        record.apply(&stamped(2, Fact::Expired)).unwrap();
        assert!(matches!(record.apply(&stamped(2, Fact::Rejected)), Err(LawError::Move(_))));
        assert_eq!(record.phase(), Phase::Expired);
    }
}
