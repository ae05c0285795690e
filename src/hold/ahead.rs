//! What an append may do beside the tail: hash its bytes elsewhere, and write ahead of it.

use std::{io, ops::Range};

use super::{Held, HoldError};
use crate::{storage::Blob, upload::RunningSha256};

impl Held {
    /// Writes bytes into the open tail's part, further behind it.
    pub fn write_ahead(&mut self, bytes: &[u8], at: u64) -> Result<(), HoldError> {
        Ok(self.tail.as_mut().ok_or_else(no_tail)?.write_ahead(bytes, at)?)
    }

    /// Asks for disk space there.
    pub fn reserve_ahead(&mut self, range: Range<u64>) -> Result<(), HoldError> {
        Ok(self.tail.as_mut().ok_or_else(no_tail)?.reserve(range)?)
    }

    /// Starts writing to the disk what was written to that part, up to `end`, once that is enough.
    pub fn write_back(&mut self, end: u64) -> Result<(), HoldError> {
        Ok(self.tail.as_mut().ok_or_else(no_tail)?.write_back(end)?)
    }

    /// The running hash of an open tail, and its part; `None` where no digests are taken.
    pub fn running_hash(&mut self) -> Option<(&mut RunningSha256, &dyn Blob)> {
        self.tail.as_mut()?.hasher()
    }

    /// Counts bytes that were written and hashed behind a chunk that was not sealed yet: now it is,
    /// and they are the tail.
    pub fn catch_up(&mut self, length: u64, running: RunningSha256) -> Result<(), HoldError> {
        let tail = self.tail.as_mut().filter(|tail| tail.is_open() && tail.length == 0);
        tail.ok_or_else(no_tail)?.catch_up(length, running);
        Ok(())
    }

    /// Where, in the tail's part, the chunk behind the tail's will begin once that one is whole;
    /// `None` where it goes elsewhere, or anything of it may be there already.
    pub fn place_behind_tail(&self) -> Option<u64> {
        let (tail, record) = (self.tail.as_ref()?, self.record());
        let next = tail.chunk.next().ok()?;
        let room = next.get().checked_sub(tail.part.first.get())? < self.chunks_per_part();
        let free = room && !record.is_shared(tail.part) && record.layout().contains(next);
        // Nothing but the prefix is sealed.
        let last = record.chunks().sealed() == tail.chunk.get()
            && record.chunks().first_missing() == tail.chunk;
        let whole = record.layout().chunk_len(tail.chunk).ok()?;
        tail.base.checked_add(whole).filter(|_| free && last)
    }
}

fn no_tail() -> io::Error {
    io::Error::other("there is no open tail")
}
