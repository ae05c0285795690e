//! Appending: the road of offset clients.

use super::{
    End, Ingest, IngestError, Source,
    pump::{self, Sink},
};
use crate::{
    blocking,
    hold::{Hashing, Held, HoldError},
    lock::Manner,
    merger::{MergeError, Merger},
    upload::{Finished, Length, Offset, Timestamp, UploadId},
};

/// From this many announced bytes on disk space is asked for ahead.
const RESERVE_FROM: u64 = 256 * 1024;

/// A request to append.
#[derive(Debug, Clone)]
pub struct Append {
    /// The upload.
    pub id: UploadId,
    /// Where the client believes that it stands.
    pub offset: Offset,
}

/// What an append came to. Everything that is told is stored.
#[derive(Debug)]
pub struct Appended {
    /// The offset before plus the bytes of this request that were stored.
    pub offset: Offset,
    /// How the body ended.
    pub end: End,
    /// Bytes of the file, where that is known.
    pub length: Option<Length>,
    /// When the upload expires, if it is unfinished.
    pub deadline: Option<Timestamp>,
    /// The file, if it is finished.
    pub finished: Option<Finished>,
    /// What went wrong while storing or finishing; the offset is right all the same.
    pub failure: Option<IngestError>,
}

impl Ingest {
    /// Appends to an upload: takes it over from whoever holds it, checks the offset, stores what
    /// comes. Whatever ends the body, the bytes that came are kept.
    pub async fn append(
        &self,
        append: Append,
        source: &mut dyn Source,
    ) -> Result<Appended, IngestError> {
        let held = self.holds.take(&append.id, Manner::Asking).await?;
        held.ensure_alive()?;
        if held.record().manifest().parts().is_some() {
            return Err(IngestError::FinalUpload);
        }
        let current = held.offset()?;
        if current != append.offset {
            return Err(IngestError::OffsetMismatch { current });
        }
        let length = held.record().layout().length();
        let room = Self::room(length, current);
        if let (Some(length), Some(announced)) = (length, source.announced())
            && announced > room
        {
            return Err(IngestError::LengthExceeded { length });
        }
        self.receive(held, source).await
    }

    /// Stores a body behind what is there, and finishes the upload when nothing is missing any
    /// more.
    pub(super) async fn receive(
        &self,
        held: Held,
        source: &mut dyn Source,
    ) -> Result<Appended, IngestError> {
        let begin = held.offset()?;
        let room = Self::room(held.record().layout().length(), begin);
        let leave = held.leave_signal();
        // Who only looks must not find it expired meanwhile.
        let _attendance = self.holds.attend(held.id());
        let announced = source.announced();
        let sink = Appender { held, at: begin, announced, hashing: self.options.hashing };
        let (sink, pumped) = pump::pump(&self.transfers, source, (sink, room), leave).await;
        let (merger, id) = (self.merger.clone(), sink.held.id().clone());
        let partial = sink.held.record().manifest().is_partial();
        let closed = blocking::run(move || sink.close(begin, pumped, &merger)).await;
        if partial {
            self.merger.part_changed(&id);
        }
        closed
    }
}

/// Writes behind the tail, sealing each chunk as it fills.
struct Appender {
    held: Held,
    at: Offset,
    announced: Option<u64>,
    hashing: Hashing,
}

impl Sink for Appender {
    fn write(&mut self, bytes: &[u8]) -> Result<(), HoldError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.write_into_chunk(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Appender {
    /// Writes up to the end of the chunk; says how many bytes it took.
    fn write_into_chunk(&mut self, bytes: &[u8]) -> Result<usize, HoldError> {
        let layout = *self.held.record().layout();
        let chunk = layout.chunk_at(self.at).map_err(law)?;
        let end = layout.end(chunk).map_err(law)?;
        let room = end.since(self.at).unwrap_or(0);
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let now = bytes.get(..taken).unwrap_or_default();
        let count = u64::try_from(now.len()).unwrap_or(u64::MAX);
        let ahead = self.announced.unwrap_or(0).min(room);
        let tail = self.held.open_tail(chunk, self.hashing)?;
        let from = tail.base.saturating_add(tail.length);
        if tail.length == 0 && ahead >= RESERVE_FROM {
            tail.blob()?.reserve(from..from.saturating_add(ahead));
        }
        if let Err(error) = tail.write(now) {
            self.held.cut_tail();
            return Err(error.into());
        }
        tail.blob()?.write_back(from..from.saturating_add(count));
        self.at = self.at.advance(count).map_err(law)?;
        self.announced = self.announced.map(|left| left.saturating_sub(count));
        if self.at == end {
            self.held.seal_tail()?;
        }
        Ok(taken)
    }

    /// Commits what came; finishes the upload if it is complete.
    fn close(
        mut self,
        begin: Offset,
        pumped: Result<End, HoldError>,
        merger: &Merger,
    ) -> Result<Appended, IngestError> {
        let (end, mut failure) = match pumped {
            Ok(end) => (end, None),
            Err(error) => (End::Complete, Some(IngestError::from(error))),
        };
        if self.at != begin {
            self.held.close_tail()?;
        }
        let mut finished = self.held.record().finished().cloned();
        if finished.is_none() && self.held.record().is_complete() {
            match complete(&mut self.held, merger) {
                Ok(file) => finished = file,
                Err(error) => failure = failure.or(Some(error.into())),
            }
        }
        let (length, deadline) = (self.held.record().layout().length(), self.held.deadline());
        let offset = match failure {
            None => self.at,
            // What was written may have been lost again.
            Some(_) => self.at.min(self.held.offset()?),
        };
        Ok(Appended { offset, end, length, deadline, finished, failure })
    }
}

/// Finishes a complete upload; one that is part of another is only made safe.
fn complete(held: &mut Held, merger: &Merger) -> Result<Option<Finished>, MergeError> {
    if held.record().manifest().is_partial() {
        return merger.settle(held).map(|()| None);
    }
    merger.finish(held).map(Some)
}

fn law(error: crate::upload::OutOfRange) -> HoldError {
    HoldError::Law(error.into())
}
