//! The bracket around a request that carries a checksum: what it stores counts once the checksum
//! was right. Until then the upload as it was before is what others see, and what comes back, also
//! after the process died.

use std::collections::BTreeMap;

use super::{
    HoldError,
    held::{Held, law},
    reconcile::tail_among,
    tail::{Tail, copy_range},
};
use crate::{
    durable::Flush,
    storage::Blob,
    upload::{ChunkIndex, Fact, Offset, PartId, Pending, Record, SealedChunk},
};

impl Held {
    /// Opens the bracket, unless it is open: to be called before the request's first change.
    pub fn begin_pending(&mut self) -> Result<(), HoldError> {
        if self.record().pending().is_some() {
            return Ok(());
        }
        let offset = self.offset().map_err(law)?;
        self.commit([Fact::Pending { offset }], Flush::Lazy)
    }

    /// Closes the bracket, if it is open: what the request changed counts. For a request that
    /// stored no bytes; of others [`Held::close_tail`] does it.
    pub fn accept(&mut self) -> Result<(), HoldError> {
        if self.record().pending().is_none() {
            return Ok(());
        }
        let flush = self.durability().of_answer();
        self.all_or_doubt(|this| {
            this.commit([Fact::Accepted], flush)?;
            this.clear_superseded()
        })
    }

    /// Makes the upload what it was before this request, which began at `offset`. Without an open
    /// bracket, a length that the request declared stays. Its client was there all the same, and
    /// finds the upload alive.
    pub fn take_back(&mut self, before: &Record, offset: Offset) -> Result<(), HoldError> {
        self.all_or_doubt(|this| {
            if this.record().pending().is_none() {
                let facts = undoing(this.record(), before, offset);
                let flush = this.durability().of_answer();
                this.commit_found(facts, flush)?;
            }
            this.roll_back()?;
            this.write_down_activity()
        })
    }

    /// Takes back what a request stored that was never accepted. Bytes first: until the fact is
    /// there, whoever comes does it again.
    pub(super) fn roll_back(&mut self) -> Result<(), HoldError> {
        let Some(Pending { offset, before }) = self.record().pending().cloned() else {
            return Ok(());
        };
        self.forget_tail();
        let tail = self.cut_back(&before, offset)?;
        self.commit_found([Fact::Rejected], Flush::Lazy)?;
        self.tail = tail;
        Ok(())
    }

    /// Leaves of the parts what `before` names, and of the tail what lies in front of `offset`.
    fn cut_back(&self, before: &Record, offset: Offset) -> Result<Option<Tail>, HoldError> {
        let parts = self.part_sizes()?;
        let kept = offset.since(before.prefix_end()).unwrap_or(0);
        let tail = tail_among(before, &parts).map(|mut tail| {
            tail.length = tail.length.min(kept);
            tail
        });
        let tail = tail.filter(|tail| tail.length > 0);
        for (part, size) in &parts {
            let own = tail.as_ref().filter(|tail| tail.part == *part);
            let tail_end = own.map(|tail| tail.base.saturating_add(tail.length));
            match before.live_end(*part).max(tail_end) {
                None => self.storage().remove_part(self.id(), *part)?,
                Some(end) if end < *size && !before.is_shared(*part) => {
                    self.storage().open_part(self.id(), *part)?.truncate(end)?;
                }
                Some(_) => {}
            }
        }
        Ok(tail)
    }

    /// Reads what this request stored, from `from` to `to`, and hands it on to `take`.
    pub fn read_back(
        &self,
        (from, to): (Offset, Offset),
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), HoldError> {
        let layout = self.record().layout();
        let mut open: BTreeMap<PartId, Box<dyn Blob>> = BTreeMap::new();
        let mut at = from;
        while at < to {
            let chunk = layout.chunk_at(at).map_err(law)?;
            let end = layout.end(chunk).map_err(law)?.min(to);
            let (part, base) = self.newest(chunk)?;
            if !open.contains_key(&part) {
                open.clear();
                open.insert(part, self.storage().open_part(self.id(), part)?);
            }
            let within = layout.start(chunk).ok().and_then(|start| at.since(start)).unwrap_or(0);
            let length = end.since(at).unwrap_or(0);
            if let Some(blob) = open.get(&part) {
                copy_range(&**blob, base.saturating_add(within), length, |bytes, _| {
                    take(bytes);
                    Ok(())
                })?;
            }
            at = end;
        }
        Ok(())
    }

    /// Where the bytes of a chunk lie that came last: in the tail, also where that goes over a
    /// sealed chunk.
    fn newest(&self, chunk: ChunkIndex) -> Result<(PartId, u64), HoldError> {
        if let Some(tail) = self.tail.as_ref().filter(|t| t.chunk == chunk && t.length > 0) {
            return Ok((tail.part, tail.base));
        }
        let record = self.record();
        let Some(sealed) = record.chunks().get(chunk) else {
            return Err(HoldError::Damaged(format!("chunk {chunk} went while it was read")));
        };
        Ok((sealed.part, record.place(chunk, sealed.part).map_err(law)?))
    }
}

/// Facts that lead from `now` back to `before`, but for the bytes, which the open bracket at their
/// end is for.
fn undoing(now: &Record, before: &Record, offset: Offset) -> Vec<Fact> {
    let changed = now.chunks().iter_from(before.chunks().first_missing());
    let mut facts: Vec<Fact> = changed
        .filter(|(chunk, sealed)| before.chunks().get(*chunk) != Some(*sealed))
        .map(|(chunk, _)| match before.chunks().get(chunk) {
            None => Fact::Dropped { chunk },
            Some(old) => {
                let SealedChunk { length, digest, part, flushed } = *old;
                Fact::Sealed { chunk, length, digest, part, flushed }
            }
        })
        .collect();
    let promise = before.promised_tail().filter(|tail| now.promised_tail() != Some(*tail));
    facts.extend(promise.map(|(chunk, length, digest)| Fact::Tail { chunk, length, digest }));
    facts.push(Fact::Pending { offset });
    facts
}
