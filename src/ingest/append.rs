//! Appending: the road of offset clients.

use std::{io, sync::Arc};

use bytes::{Buf, Bytes};

use super::{
    End, Ingest, IngestError, RESERVE_FROM, Source,
    abreast::{Abreast, Keeping},
    check::{Bracket, Check, Verdict},
    pairs::Pairs,
    pump::{self, SMALL, Sink},
};
use crate::{
    blocking::{self, Span},
    durable::{Durability, Flush},
    hold::{Hashing, Held, HoldError},
    lock::Manner,
    merger::Merger,
    upload::{
        Checksum, ChecksumDemand, ChunkIndex, Fact, Finished, LawError, Layout, Length,
        NotAChecksum, Offset, OutOfRange, PartId, Record, Stamped, Timestamp, UploadId,
    },
};

/// A request to append.
#[derive(Debug, Clone)]
pub struct Append {
    /// The upload.
    pub id: UploadId,
    /// Where the client believes that it stands.
    pub offset: Offset,
    /// Bytes of the file, where the request says so.
    pub length: Option<Length>,
    /// What must be true of the bytes.
    pub demand: ChecksumDemand,
}

/// Did the bytes of a request stay?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All that came and fitted.
    Kept,
    /// None: they were to be compared with a checksum and were not found right. The upload is as
    /// if the request had not been.
    TakenBack,
}

/// What an append came to. Everything that is told is stored.
#[derive(Debug)]
pub struct Appended {
    /// The offset before plus the bytes of this request that were stored.
    pub offset: Offset,
    /// How the body ended.
    pub end: End,
    /// What became of its bytes.
    pub fate: Fate,
    /// Bytes of the file, where that is known.
    pub length: Option<Length>,
    /// When the upload expires, if it is unfinished.
    pub deadline: Option<Timestamp>,
    /// The file, if it is finished.
    pub finished: Option<Finished>,
    /// What went wrong while storing, comparing or finishing; the offset is right all the same.
    pub failure: Option<IngestError>,
}

impl Appended {
    /// Is there anything new to who waits for the upload: is it whole, or its length known now?
    fn is_news_since(&self, known: Option<Length>) -> bool {
        self.length.is_some_and(|length| known != Some(length) || length.end() == self.offset)
    }
}

impl Ingest {
    /// Appends to an upload: takes it over from whoever holds it, checks the offset, stores what
    /// comes. Whatever ends the body, the bytes that came are kept, unless a checksum is to be
    /// compared.
    pub async fn append(
        &self,
        append: Append,
        source: &mut dyn Source,
    ) -> Result<Appended, IngestError> {
        let held = self.holds.take_alive(&append.id, Manner::Asking).await?;
        if held.record().manifest().parts().is_some() {
            return Err(IngestError::FinalUpload);
        }
        let current = held.offset()?;
        if current != append.offset {
            return Err(IngestError::OffsetMismatch { current });
        }
        let news = news(held.record(), current, append.length)?;
        self.ensure_room(&held, news, source.announced())?;
        if let ChecksumDemand::Unusable(why) = append.demand {
            return Err(IngestError::Unusable(why));
        }
        let check = Check::new(append.demand);
        let before = held.current().record.clone();
        let held = match news {
            Some(length) => self.declare(held, length, check.bracket()).await?,
            None => held,
        };
        self.receive(held, (before, check), source).await
    }

    /// Refuses what will not fit, before anything changes.
    fn ensure_room(
        &self,
        held: &Held,
        news: Option<Length>,
        announced: Option<u64>,
    ) -> Result<(), IngestError> {
        if let (Some(length), Some(max)) = (news, self.options.max_size)
            && length > max
        {
            return Err(IngestError::MaxSizeExceeded { max });
        }
        let length = news.or(held.record().layout().length());
        let room = self.room(length, held.offset()?);
        if announced.is_some_and(|announced| announced > room) {
            return Err(self.overflow(length));
        }
        Ok(())
    }

    /// Writes the length down before the body: it stays although the body breaks off, unless that
    /// is to be compared with a checksum.
    async fn declare(
        &self,
        mut held: Held,
        length: Length,
        bracket: Bracket,
    ) -> Result<Held, IngestError> {
        let hashing = self.options.hashing;
        let declared = blocking::run(move || {
            if bracket == Bracket::Needed {
                held.begin_pending()?;
            }
            held.declare(length, hashing).map(|()| held)
        });
        Ok(declared.await?)
    }

    /// Stores a body behind what is there, and finishes the upload when nothing is missing any
    /// more. `before` is the upload as it was before anything of the request was written down.
    pub(super) async fn receive(
        &self,
        held: Held,
        (before, check): (Arc<Record>, Check),
        source: &mut dyn Source,
    ) -> Result<Appended, IngestError> {
        let begin = held.offset()?;
        let room = self.room(held.record().layout().length(), begin);
        let leave = held.leave_signal();
        // Who only looks must not find it expired meanwhile.
        let _attendance = self.holds.attend(held.id());
        let announced = source.announced();
        let hashing = self.options.hashing;
        let known = before.layout().length();
        let (pairs, keeping) = (self.pairs.clone(), self.keeping.clone());
        let (at, abreast) = (begin, None);
        // Behind a pointer: it goes from hand to hand.
        let sink = Box::new(Appender {
            held,
            before,
            begin,
            at,
            announced,
            hashing,
            check,
            pairs,
            keeping,
            abreast,
        });
        let (sink, pumped) = pump::pump(&self.transfers, source, (sink, room), leave).await;
        let (merger, trailing) = (self.merger.clone(), source.checksum());
        let (id, partial) = {
            let manifest = sink.held.record().manifest();
            (manifest.id.clone(), manifest.is_partial())
        };
        let span = sink.span_of_close();
        let closed = blocking::run_for(span, move || sink.close(pumped, trailing, &merger)).await;
        if partial && closed.as_ref().is_ok_and(|appended| appended.is_news_since(known)) {
            self.merger.part_changed(&id);
        }
        closed
    }
}

/// The length that a request tells, if it is news and can be true.
fn news(
    record: &Record,
    current: Offset,
    declared: Option<Length>,
) -> Result<Option<Length>, IngestError> {
    let Some(declared) = declared else { return Ok(None) };
    match record.layout().length() {
        Some(length) if length == declared => return Ok(None),
        Some(length) => return Err(IngestError::LengthFixed { length }),
        None => {}
    }
    if declared.end() < current {
        return Err(IngestError::LengthTooShort);
    }
    let stamped = Stamped { at: record.last_activity(), fact: Fact::Length(declared) };
    match record.clone().apply(&stamped) {
        Ok(()) => Ok(Some(declared)),
        Err(LawError::TooShort { .. }) => Err(IngestError::LengthTooShort),
        Err(law) => Err(HoldError::Law(law).into()),
    }
}

/// Writes behind the tail, sealing each chunk as it fills.
struct Appender {
    held: Held,
    before: Arc<Record>,
    begin: Offset,
    at: Offset,
    announced: Option<u64>,
    hashing: Hashing,
    check: Check,
    pairs: Arc<Pairs>,
    /// Where two messages are taken in sooner than one after the other.
    keeping: Option<Arc<Keeping>>,
    /// The tail's hash is behind its bytes while this is there.
    abreast: Option<Abreast>,
}

impl Sink for Box<Appender> {
    fn expect(&mut self, bytes: u64) -> Result<(), HoldError> {
        if self.check.bracket() == Bracket::Needless && self.held.is_whole_with(bytes) {
            self.held.begin_whole(self.hashing)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: Bytes) -> Result<(), HoldError> {
        self.held.begin_ledger()?;
        if self.check.bracket() == Bracket::Needed {
            self.held.begin_pending()?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.abreast.as_ref().and_then(Abreast::second) {
                Some(second) => self.write_ahead(&rest, second.written)?,
                None => self.write_into_chunk(&rest)?,
            };
            rest.advance(taken);
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), HoldError> {
        self.end_abreast()
    }

    /// Chunks are flushed under [`Durability::Ack`] as they are sealed, and bytes may have to be
    /// read and hashed again before others are added.
    fn span(&self) -> Span {
        let lazy = self.held.durability() != Durability::Ack;
        let is_brief = lazy && self.held.is_at_its_end() && self.seals_few();
        if is_brief { Span::Moment } else { Span::Open }
    }
}

impl Appender {
    /// How long [`Appender::close`] takes. Whatever may flush, or finishes more than a few bytes,
    /// may take longer.
    fn span_of_close(&self) -> Span {
        let record = self.held.record();
        let is_small = |bytes: Option<u64>| bytes.is_some_and(|bytes| bytes <= SMALL);
        let finishes_little = is_small(record.layout().length().map(Length::get));
        let is_brief = match self.held.durability() {
            Durability::None => finishes_little || !record.is_complete(),
            Durability::Complete => !record.is_complete(),
            Durability::Ack => false,
        };
        let is_brief = is_brief && is_small(self.at.since(self.begin)) && self.seals_few();
        if is_brief { Span::Moment } else { Span::Open }
    }

    /// Does a small body end one chunk or two at most? Where clients choose their size, each byte
    /// may be one.
    fn seals_few(&self) -> bool {
        self.held.record().layout().chunk_size().get() >= SMALL
    }

    /// Writes up to the end of the chunk; says how many bytes it took.
    fn write_into_chunk(&mut self, bytes: &Bytes) -> Result<usize, HoldError> {
        let layout = *self.held.record().layout();
        let chunk = layout.chunk_at(self.at).map_err(law)?;
        let end = layout.end(chunk).map_err(law)?;
        let room = end.since(self.at).unwrap_or(0);
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let now = bytes.slice(..taken);
        let ahead = self.announced.unwrap_or(0).min(room);
        let tail = self.held.open_tail(chunk, self.hashing)?;
        let whole = tail.part == PartId::WHOLE;
        let (from, begins) = (tail.end(), tail.length == 0);
        if begins && ahead >= RESERVE_FROM {
            tail.reserve(from..from.saturating_add(ahead))?;
        }
        if let Err(error) = tail.write(&now) {
            self.held.cut_tail();
            if whole {
                // What an earlier write brought went, too.
                self.at = self.begin;
            }
            return Err(error.into());
        }
        self.written(&now, from)?;
        if begins {
            self.abreast = self.begin_abreast((&layout, chunk), from);
        }
        self.hash(now);
        match &mut self.abreast {
            Some(abreast) if self.at == end => abreast.begin_second(),
            None if self.at == end => self.held.seal_tail()?,
            _ => {}
        }
        Ok(taken)
    }

    /// Counts bytes that were written at `from` in the tail's part.
    fn written(&mut self, bytes: &[u8], from: u64) -> Result<(), HoldError> {
        self.check.update(bytes);
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.held.durability().of_finish() == Flush::Durable {
            self.held.write_back(from.saturating_add(count))?;
        }
        self.at = self.at.advance(count).map_err(law)?;
        self.announced = self.announced.map(|left| left.saturating_sub(count));
        Ok(())
    }

    /// Adds bytes to the tail's hash, now or later.
    fn hash(&mut self, bytes: Bytes) {
        if let Some(abreast) = &mut self.abreast {
            return abreast.keep(bytes);
        }
        if let Some((running, _)) = self.held.running_hash() {
            self.pairs.hash(running, bytes);
        }
    }

    /// Two whole chunks are to come, of an upload that nobody else sees: the first one can wait for
    /// the second. `first` has begun `from` there; its first bytes are counted.
    fn begin_abreast(&self, (layout, first): (&Layout, ChunkIndex), from: u64) -> Option<Abreast> {
        let lengths = [Ok(first), first.next()].map(|chunk| layout.chunk_len(chunk.ok()?).ok());
        let [length, second] = [lengths[0]?, lengths[1]?];
        let stored = self.held.tail_length();
        let both = length.checked_add(second)?.checked_sub(stored)?;
        let lazy = self.held.durability().of_answer() == Flush::Lazy;
        let plain = lazy && self.check.bracket() == Bracket::Needless;
        let wanted = self.hashing == Hashing::Sha256 && plain && self.announced? >= both;
        self.held.place_behind_tail().filter(|_| wanted && second == length)?;
        self.keeping.as_ref()?.begin(from, length)
    }

    /// Writes up to the end of the chunk behind the tail's, which has `written` bytes; says how
    /// many bytes it took.
    fn write_ahead(&mut self, bytes: &Bytes, written: u64) -> Result<usize, HoldError> {
        let layout = *self.held.record().layout();
        let end = layout.end(layout.chunk_at(self.at).map_err(law)?).map_err(law)?;
        let room = end.since(self.at).unwrap_or(0);
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let now = bytes.slice(..taken);
        let from = self.held.place_behind_tail().and_then(|place| place.checked_add(written));
        let from = from.ok_or(LawError::from(OutOfRange)).map_err(HoldError::Law)?;
        if written == 0 && room >= RESERVE_FROM {
            self.held.reserve_ahead(from..from.saturating_add(room))?;
        }
        if let Err(error) = self.held.write_ahead(&now, from) {
            self.end_abreast()?;
            self.held.cut_tail();
            return Err(error);
        }
        self.written(&now, from)?;
        if let (Some(abreast), Some(running)) = (&mut self.abreast, self.held.running_hash())
            && let Err(error) = abreast.advance(running, &now)
        {
            return self.lose_hash(error);
        }
        if self.at == end {
            self.end_abreast()?;
        }
        Ok(taken)
    }

    /// Bytes could not be read back. They are stored; the next holder hashes and seals them.
    fn lose_hash<T>(&mut self, error: io::Error) -> Result<T, HoldError> {
        self.abreast = None;
        self.held.doubt();
        Err(error.into())
    }

    /// Hashes what was kept, seals what is whole, and lets the tail catch up with what was written
    /// behind it.
    fn end_abreast(&mut self) -> Result<(), HoldError> {
        let Some(abreast) = self.abreast.take() else { return Ok(()) };
        let Some(running) = self.held.running_hash() else { return Ok(()) };
        let second = match abreast.end(running) {
            Ok(Some(second)) => second,
            Ok(None) => return Ok(()),
            Err(error) => return self.lose_hash(error),
        };
        self.held.seal_tail()?;
        if second.written == 0 {
            return Ok(());
        }
        self.held.catch_up(second.written, second.running)?;
        let layout = self.held.record().layout();
        let whole = layout.chunk_len(self.held.record().chunks().first_missing()).map_err(law)?;
        if second.written == whole { self.held.seal_tail() } else { Ok(()) }
    }

    /// Commits what came, or takes it back; finishes the upload if it is complete.
    fn close(
        mut self: Box<Self>,
        pumped: Result<End, HoldError>,
        trailing: Result<Option<Checksum>, NotAChecksum>,
        merger: &Merger,
    ) -> Result<Appended, IngestError> {
        let pumped = self.end_abreast().and(pumped);
        let range = (self.begin, self.at);
        let verdict = self.check.judge(&self.held, range, pumped.as_ref().ok(), trailing);
        let (end, mut failure) = match pumped {
            Ok(end) => (end, None),
            Err(error) => (End::Complete, Some(IngestError::from(error))),
        };
        match verdict {
            Ok(Verdict::Keep) => {}
            Ok(Verdict::TakeBack(why)) => return Ok(self.take_back(end, failure.or(why))),
            Err(unread) => return Ok(self.take_back(end, Some(unread))),
        }
        if self.at == self.begin {
            self.held.accept()?;
        } else {
            self.held.close_tail()?;
        }
        let mut finished = self.held.record().finished().cloned();
        if finished.is_none() && self.held.record().is_complete() {
            match merger.complete(&mut self.held) {
                Ok(file) => finished = file,
                Err(error) => failure = failure.or(Some(error.into())),
            }
        }
        if let Err(error) = self.held.write_down() {
            return Err(failure.unwrap_or(error.into()));
        }
        let (length, deadline) = (self.held.record().layout().length(), self.held.deadline());
        let offset = match failure {
            None => self.at,
            // What was written may have been lost again.
            Some(_) => self.at.min(self.held.offset()?),
        };
        Ok(Appended { offset, end, fate: Fate::Kept, length, deadline, finished, failure })
    }

    /// The upload as if the request had not been. Where that fails too, the next holder does it,
    /// and nobody is shown what is to go.
    fn take_back(mut self: Box<Self>, end: End, failure: Option<IngestError>) -> Appended {
        let changed = self.at != self.begin || self.held.record().pending().is_some();
        let undone = if changed { self.held.take_back(&self.before, self.begin) } else { Ok(()) };
        let told = if undone.is_ok() { self.held.record() } else { &self.before };
        Appended {
            offset: self.begin,
            end,
            fate: Fate::TakenBack,
            length: self.before.layout().length(),
            deadline: self.held.deadline_of(told),
            finished: self.before.finished().cloned(),
            failure: undone.err().map(IngestError::from).or(failure),
        }
    }
}

fn law(error: OutOfRange) -> HoldError {
    HoldError::Law(error.into())
}
