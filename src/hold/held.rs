//! One upload in hand: what may be done with it.

use std::{io, sync::Arc};

use super::{
    HoldError, Holds, Warm,
    tail::{Excess, Tail, copy_range, free_part, hash_range, open_for_append},
    unwritten::{Ground, Ledger, Unwritten},
};
use crate::{
    durable::{Durability, Flush},
    lock::{FileLock, LeaveSignal, UploadGuard},
    state::Versioned,
    storage::{Blob, Staged, Storage},
    telemetry::Event,
    upload::{
        CLOCK_ERROR, ChunkIndex, Fact, LawError, Length, Offset, OutOfRange, PartId, Record,
        Sha256Digest, Stamped, Timestamp, UploadId,
    },
};

/// Whether chunks get a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// Every chunk does.
    Sha256,
    /// None does (`--chunk-digest none`).
    Off,
}

/// An upload that nobody else can change. All methods block.
///
/// Dropped, it goes back; its open tail is kept for the next request.
#[derive(Debug)]
pub struct Held {
    holds: Arc<Holds>,
    pub(super) current: Versioned,
    pub(super) unwritten: Option<Unwritten>,
    pub(super) tail: Option<Tail>,
    pub(super) certainty: Certainty,
    /// Parts that lost a chunk to newer bytes. They go when those are there to stay.
    superseded: Vec<PartId>,
    pub(super) ground: Ground,
    pub(super) ledger: Ledger,
    pub(super) locks: Option<(FileLock, UploadGuard)>,
}

/// Is what memory says of the bytes true?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    Sure,
    /// An operation failed half-way: the next holder compares ledger and parts again.
    InDoubt,
}

impl Held {
    pub(super) fn fresh(
        holds: &Arc<Holds>,
        (guard, lock): (UploadGuard, FileLock),
        current: Versioned,
    ) -> Self {
        Self {
            holds: holds.clone(),
            current,
            unwritten: None,
            tail: None,
            certainty: Certainty::Sure,
            superseded: Vec::new(),
            ground: Ground::Built,
            ledger: Ledger::Unflushed,
            locks: Some((lock, guard)),
        }
    }

    /// `warm` is what memory knows of it, where that is still true.
    pub(super) fn open(
        holds: &Arc<Holds>,
        locks: (UploadGuard, FileLock),
        current: Versioned,
        warm: Option<Warm>,
    ) -> Result<Self, HoldError> {
        let mut held = Self::fresh(holds, locks, current);
        if held.is_expired() {
            // Nobody goes on with it, so nothing is found, mended or written down any more.
            held.certainty = Certainty::InDoubt;
            return Ok(held);
        }
        match warm {
            Some(warm) => (held.tail, held.ground) = (warm.tail, warm.ground),
            None => held.all_or_doubt(Self::reconcile)?,
        }
        Ok(held)
    }

    pub(super) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Its name.
    pub fn id(&self) -> &UploadId {
        &self.current.record.manifest().id
    }

    /// The facts so far, for whoever goes on to read them.
    pub fn current(&self) -> &Versioned {
        &self.current
    }

    /// The facts so far.
    pub fn record(&self) -> &Record {
        &self.current.record
    }

    /// Where bytes live.
    pub fn storage(&self) -> &dyn Storage {
        &**self.holds.storage()
    }

    /// Counts what became of it, beside what its facts tell.
    pub fn count(&self, event: Event) {
        self.holds.meter().upload(event);
    }

    /// What answers promise.
    pub fn durability(&self) -> Durability {
        self.holds.options().durability
    }

    /// How often the page cache has been lost under this data.
    pub(super) fn trust_epoch(&self) -> u64 {
        self.holds.options().epoch
    }

    /// Most chunks of one part.
    pub(super) fn chunks_per_part(&self) -> u64 {
        self.holds.options().chunks_per_part
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.holds.now()
    }

    /// When it expires, if it is unfinished.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline_of(self.record())
    }

    /// When it would expire if these were its facts.
    pub fn deadline_of(&self, record: &Record) -> Option<Timestamp> {
        record.phase().takes_bytes().then(|| self.holds.deadline_of(record))
    }

    /// Has its deadline passed, swept or not?
    pub fn is_expired(&self) -> bool {
        self.holds.has_expired(self.record())
    }

    /// Does its last activity lie further ahead than any clock that is right can have told?
    pub fn is_dated_ahead(&self) -> bool {
        self.record().last_activity().since(self.now()) > CLOCK_ERROR
    }

    /// Counts its time from now on.
    pub fn date_anew(&mut self) -> Result<(), HoldError> {
        self.commit([Fact::Touched], Flush::Lazy)
    }

    /// The end of the contiguous bytes: sealed prefix and tail.
    pub fn offset(&self) -> Result<Offset, OutOfRange> {
        self.record().prefix_end().advance(self.tail_length())
    }

    /// Bytes of the tail.
    pub fn tail_length(&self) -> u64 {
        self.tail.as_ref().map_or(0, |tail| tail.length)
    }

    /// The part that holds a tail with bytes in it.
    pub fn tail_part(&self) -> Option<PartId> {
        self.tail.as_ref().filter(|tail| tail.length > 0).map(|tail| tail.part)
    }

    /// Does a newcomer ask for the upload?
    pub fn is_wanted(&self) -> bool {
        self.locks.as_ref().is_some_and(|(_, guard)| guard.is_wanted())
    }

    /// Tells when a newcomer asks for the upload.
    pub fn leave_signal(&self) -> Option<LeaveSignal> {
        self.locks.as_ref().map(|(_, guard)| guard.leave_signal())
    }

    /// Adds facts that were found, not made: they are no sign of life and move no deadline.
    pub fn commit_found(
        &mut self,
        facts: impl IntoIterator<Item = Fact>,
        flush: Flush,
    ) -> Result<(), HoldError> {
        self.commit_at(self.record().last_activity(), facts, flush)
    }

    /// Adds facts; all or none.
    pub fn commit(
        &mut self,
        facts: impl IntoIterator<Item = Fact>,
        flush: Flush,
    ) -> Result<(), HoldError> {
        self.commit_at(self.now(), facts, flush)
    }

    fn commit_at(
        &mut self,
        at: Timestamp,
        facts: impl IntoIterator<Item = Fact>,
        flush: Flush,
    ) -> Result<(), HoldError> {
        let facts: Vec<Stamped> = facts.into_iter().map(|fact| Stamped { at, fact }).collect();
        let (before, facts) = self.add_to_ledger(facts, flush)?;
        self.ledger = match flush {
            Flush::Durable => Ledger::Flushed,
            Flush::Lazy => Ledger::Unflushed,
        };
        self.holds.content_changed(&before.record, self.record());
        for stamped in facts {
            match stamped.fact {
                Fact::Finished { .. } => self.holds.meter().upload(Event::Finished),
                Fact::Expired => self.holds.meter().upload(Event::Expired),
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the place where bytes of `chunk` are appended: where the tail is, else behind the
    /// prefix in the part that it ends in, else in a new part.
    pub fn open_tail(
        &mut self,
        chunk: ChunkIndex,
        hashing: Hashing,
    ) -> Result<&mut Tail, HoldError> {
        let mut tail = match self.tail.take_if(|tail| tail.chunk == chunk) {
            Some(tail) => tail,
            None => self.spot_for(chunk)?,
        };
        let opened = self.attach(&mut tail, hashing);
        // Also where it cannot be opened: its bytes are there all the same.
        let tail = self.tail.insert(tail);
        opened.map(|()| tail)
    }

    /// Can bytes be added behind what is there without a look at it?
    pub fn is_at_its_end(&self) -> bool {
        self.tail.as_ref().is_none_or(|tail| tail.is_open() || tail.length == 0)
    }

    fn spot_for(&self, chunk: ChunkIndex) -> Result<Tail, HoldError> {
        let record = self.record();
        record.layout().chunk_len(chunk).map_err(law)?;
        let behind = Tail::behind_prefix(record, self.chunks_per_part());
        let behind = behind.filter(|tail| tail.chunk == chunk);
        Ok(behind.unwrap_or_else(|| Tail::new(chunk, free_part(record, chunk), 0, 0)))
    }

    fn attach(&mut self, tail: &mut Tail, hashing: Hashing) -> Result<(), HoldError> {
        if tail.is_open() {
            return Ok(());
        }
        self.ground = Ground::Built;
        let (storage, id) = (self.storage(), self.id());
        let (blob, excess) = if let Some(blob) = open_for_append(storage, id, tail.part)? {
            (blob, Excess::Possible)
        } else {
            let flush = self.durability().of_answer();
            (storage.create_part(id, tail.part, flush)?, Excess::None)
        };
        let hasher = match hashing {
            Hashing::Sha256 => Some(hash_range(&*blob, tail.base, tail.length)?),
            Hashing::Off => None,
        };
        tail.attach(blob, hasher, excess);
        Ok(())
    }

    /// Seals the tail's chunk, which is whole, and moves on behind it. Whoever looks sees the chunk
    /// at once, unless a checksum is to come: under [`Durability::Ack`] it is on the disk before.
    pub fn seal_tail(&mut self) -> Result<(), HoldError> {
        self.all_or_doubt(|this| this.seal_open_tail(None))
    }

    /// `first` becomes a fact together with the seal.
    fn seal_open_tail(&mut self, first: Option<Fact>) -> Result<(), HoldError> {
        let Some(mut tail) = self.tail.take() else { return Ok(()) };
        let (chunk, part) = (tail.chunk, tail.part);
        let digest = tail.digest();
        let superseded = self.record().chunks().get(chunk).map(|sealed| sealed.part);
        let promises = self.durability() == Durability::Ack;
        let shown = self.record().pending().is_none();
        // Without a digest nobody can tell after a power loss whether the bytes are the right ones;
        // and bytes that were promised are given up only for bytes that are safe, too.
        let unprovable = digest.is_none() || superseded.is_some();
        if promises && (shown || unprovable) {
            self.sync_or_lose(&tail)?;
        }
        // Within a bracket they are before that is closed.
        let (length, flushed) = (tail.length, promises);
        let sealed = Fact::Sealed { chunk, length, digest, part, flushed };
        let flush = if shown { self.durability().of_answer() } else { Flush::Lazy };
        let facts = first.into_iter().chain([sealed]);
        let committed = match (part, flush) {
            // They are all of its bytes: the file is about to appear.
            (PartId::WHOLE, Flush::Lazy) => self.hold_back(facts),
            _ => self.commit(facts, flush),
        };
        if let Err(error) = committed {
            self.tail = Some(tail);
            self.drop_whole();
            return Err(error);
        }
        match Tail::behind(self.record(), (chunk, part), self.chunks_per_part()) {
            Some(next) => {
                tail.move_on(next.chunk, next.base);
                self.tail = Some(tail);
            }
            None if promises && !shown => self.sync_or_lose(&tail)?,
            None => {}
        }
        let superseded =
            superseded.filter(|old| *old != part && self.superseded.last() != Some(old));
        self.superseded.extend(superseded);
        Ok(())
    }

    /// Removes the bytes that newer ones took the place of.
    pub(super) fn clear_superseded(&mut self) -> Result<(), HoldError> {
        let parts = std::mem::take(&mut self.superseded);
        parts.into_iter().try_for_each(|part| self.clear_dead_bytes(part))
    }

    /// Forgets what memory knows of the tail and of the parts around it.
    pub(super) fn forget_tail(&mut self) {
        self.tail = None;
        self.superseded.clear();
    }

    /// Waits until the tail's part is on the disk. A failed fsync is final: what lies behind the
    /// promised bytes may be gone although it can still be read, so it is asked for again.
    fn sync_or_lose(&self, tail: &Tail) -> Result<(), HoldError> {
        let Err(error) = tail.blob()?.sync() else { return Ok(()) };
        let id = self.id();
        tracing::error!(%id, %error, "could not flush a part, asking for its new bytes again");
        if self.record().pending().is_some() {
            // They are taken back as a whole.
            return Err(error.into());
        }
        self.cut_unsure(tail, tail.blob()?)?;
        Err(error.into())
    }

    /// Ends an append: gives back what was reserved, forgets bytes that lie in front of sealed
    /// ones, closes an open bracket, and keeps the promise of the durability policy for what is
    /// about to be told.
    pub fn close_tail(&mut self) -> Result<(), HoldError> {
        self.all_or_doubt(|this| {
            if let Some(tail) = this.tail.take() {
                this.close_open_tail(tail)?;
            }
            this.write_down_activity()?;
            this.clear_superseded()
        })
    }

    fn close_open_tail(&mut self, mut tail: Tail) -> Result<(), HoldError> {
        let useful = tail.chunk == self.record().chunks().first_missing();
        let end = tail.base.saturating_add(if useful { tail.length } else { 0 });
        if tail.is_open() {
            tail.cut(end)?;
            let keeps = useful && tail.length > 0;
            // Chunks that nobody was shown yet lie in front of it, in the same part.
            if self.durability() == Durability::Ack && (keeps || self.record().pending().is_some())
            {
                self.sync_or_lose(&tail)?;
            }
        }
        self.tail = useful.then_some(tail);
        Ok(())
    }

    pub(super) fn write_down_activity(&mut self) -> Result<(), HoldError> {
        let flush = self.durability().of_answer();
        let promise = match &self.tail {
            Some(tail) if flush == Flush::Durable => {
                let (chunk, length) = (tail.chunk, tail.length);
                tail.digest().map(|digest| Fact::Tail { chunk, length, digest })
            }
            _ => None,
        };
        let quiet = self.now().since(self.record().last_activity()) >= self.holds.touch_grain();
        let unflushed = flush == Flush::Durable && self.ledger == Ledger::Unflushed;
        let activity = match promise {
            Some(promise) => Some(promise),
            None => (quiet || unflushed).then_some(Fact::Touched),
        };
        let accepted = self.record().pending().is_some().then_some(Fact::Accepted);
        let facts: Vec<Fact> = accepted.into_iter().chain(activity).collect();
        if facts.is_empty() { Ok(()) } else { self.commit(facts, flush) }
    }

    /// Writes down the length of an upload that had none. Bytes that end with it are a whole chunk
    /// now.
    pub fn declare(&mut self, length: Length, hashing: Hashing) -> Result<(), HoldError> {
        let stored = self.offset().map_err(law)?;
        if stored > length.end() {
            return Err(HoldError::Law(LawError::TooShort { length, stored }));
        }
        let declared = Fact::Length(length);
        let record = self.record();
        let layout = record.layout().with_length(length).map_err(|e| HoldError::Law(e.into()))?;
        let chunk = record.chunks().first_missing();
        let flush = self.durability().of_answer();
        if layout.chunk_len(chunk) != Ok(self.tail_length()) {
            return self.commit([declared], flush);
        }
        // At once: nobody would ever seal a last chunk without bytes.
        self.all_or_doubt(|this| {
            this.open_tail(chunk, hashing)?;
            this.seal_open_tail(Some(declared))?;
            this.commit([], flush)
        })
    }

    /// After a failed write: cuts the tail back to what is known of it, so that its length stays
    /// the truth.
    pub fn cut_tail(&mut self) {
        if self.drop_whole() {
            return;
        }
        let cut = self.tail.as_ref().map(|tail| -> io::Result<()> {
            tail.blob()?.truncate(tail.base.saturating_add(tail.length))
        });
        if let Some(Err(error)) = cut {
            // Whatever lies behind the known end was sent by the client too; the next holder looks
            // at it anew.
            tracing::warn!(id = %self.id(), %error, "could not cut a tail after a failed write");
            self.certainty = Certainty::InDoubt;
        }
    }

    /// Forgets an empty tail; true if there is none (any more).
    pub fn drop_empty_tail(&mut self) -> bool {
        if self.tail_length() == 0 {
            self.tail = None;
        }
        self.tail.is_none()
    }

    /// What has to wait for the disk where stored bytes move. A complete partial upload may have
    /// been told as ended, and stays as safe as a finish is; it takes no other bytes.
    pub fn flush_of_move(&self) -> Flush {
        let record = self.record();
        if record.manifest().is_partial() && record.is_complete() {
            return self.durability().of_finish();
        }
        self.durability().of_answer()
    }

    /// Makes a staged file the chunk's part and seals the chunk. A chunk that was sealed before
    /// gives way; its bytes go.
    pub fn adopt(
        &mut self,
        staged: Box<dyn Staged>,
        (chunk, length): (ChunkIndex, u64),
        digest: Option<Sha256Digest>,
    ) -> Result<(), HoldError> {
        self.all_or_doubt(|this| this.adopt_as_part(staged, (chunk, length), digest))
    }

    fn adopt_as_part(
        &mut self,
        staged: Box<dyn Staged>,
        (chunk, length): (ChunkIndex, u64),
        digest: Option<Sha256Digest>,
    ) -> Result<(), HoldError> {
        self.drop_empty_tail();
        let superseded = self.record().chunks().get(chunk).map(|sealed| sealed.part);
        let part = self.part_for(chunk);
        let carried = self.carry_tail(staged.as_blob(), chunk, length)?;
        let flush = self.durability().of_answer();
        let id = self.id().clone();
        self.ground = Ground::Built;
        self.storage().adopt(staged, &id, part, flush)?;
        let flushed = flush == Flush::Durable;
        self.commit([Fact::Sealed { chunk, length, digest, part, flushed }], flush)?;
        let outlived = self.tail.take_if(|tail| tail.chunk == chunk).map(|tail| tail.part);
        if let (Some(base), Some(tail)) = (carried, &mut self.tail) {
            *tail = Tail::new(tail.chunk, part, base, tail.length);
        }
        let dead = [superseded, outlived].into_iter().flatten().filter(|old| *old != part);
        dead.into_iter().try_for_each(|old| self.clear_dead_bytes(old))
    }

    /// A name for the new part of `chunk` that neither a sealed chunk nor the tail uses.
    pub(super) fn part_for(&self, chunk: ChunkIndex) -> PartId {
        let mut part = free_part(self.record(), chunk);
        if self.tail.as_ref().is_some_and(|tail| tail.part == part) {
            part.generation = part.generation.saturating_add(1);
        }
        part
    }

    /// A tail is found behind the chunk in front of it. Where that chunk moves to another part, the
    /// tail's bytes go along. Says where in the new part they begin.
    fn carry_tail(
        &self,
        into: &dyn Blob,
        chunk: ChunkIndex,
        length: u64,
    ) -> Result<Option<u64>, HoldError> {
        let behind = |tail: &&Tail| tail.chunk.previous() == Some(chunk) && tail.base > 0;
        let Some(tail) = self.tail.as_ref().filter(behind) else { return Ok(None) };
        let from = self.storage().open_part(self.id(), tail.part)?;
        copy_range(&*from, tail.base, tail.length, |bytes, done| {
            into.write_at(bytes, length.saturating_add(done))
        })?;
        Ok(Some(length))
    }

    /// Removes a part that no chunk lies in any more, or cuts what is dead at its end.
    pub fn clear_dead_bytes(&self, part: PartId) -> Result<(), HoldError> {
        if self.tail.as_ref().is_some_and(|tail| tail.part == part) {
            return Ok(());
        }
        let record = self.record();
        let before = record.pending().and_then(|pending| pending.before.live_end(part));
        match record.live_end(part).max(before) {
            None => self.storage().remove_part(self.id(), part)?,
            Some(_) if record.is_shared(part) => {}
            Some(end) => {
                let blob = self.storage().open_part(self.id(), part)?;
                // A file that was about to be taken by a final upload may not have come.
                if blob.size()? >= end {
                    blob.truncate(end)?;
                }
            }
        }
        Ok(())
    }

    /// What memory says of the bytes may be wrong: the next holder compares ledger and parts again.
    pub fn doubt(&mut self) {
        self.certainty = Certainty::InDoubt;
    }

    /// Work that leaves ledger, bytes and memory in agreement only if it succeeds. An earlier doubt
    /// stays.
    pub fn all_or_doubt<T, E>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = std::mem::replace(&mut self.certainty, Certainty::InDoubt);
        let done = work(self)?;
        self.certainty = before;
        Ok(done)
    }

    /// Removes facts and bytes. Gives back the place in the queue.
    pub fn forget(mut self) -> Result<UploadGuard, HoldError> {
        self.certainty = Certainty::InDoubt;
        (self.tail, self.unwritten) = (None, None);
        if self.is_expired() && self.record().finished().is_some() {
            self.retire()?;
        }
        let id = self.id().clone();
        self.holds.withdraw_file(self.record())?;
        self.holds.remove(&id)?;
        let (_, guard) = self.locks.take().ok_or(HoldError::Busy)?;
        Ok(guard)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leave_nothing_unwritten();
        let settled = self.superseded.is_empty() && self.record().pending().is_none();
        if self.certainty == Certainty::Sure && settled && self.locks.is_some() {
            self.holds.keep_warm(&self.current, (self.tail.take(), self.ground));
        }
        // The file lock goes before the place in the queue: the next in line must find it free.
        if let Some((file, guard)) = self.locks.take() {
            drop(file);
            drop(guard);
        }
    }
}

pub(super) fn law(error: OutOfRange) -> HoldError {
    HoldError::Law(error.into())
}
