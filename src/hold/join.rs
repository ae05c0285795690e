//! Joining partial uploads: where the bytes of a final upload come from, and where they go.

use super::{
    HoldError,
    held::{Held, law},
    tail::{copy_range, open_for_append},
};
use crate::{
    durable::Flush,
    storage::Blob,
    upload::{ChunkIndex, Fact, PartId, UploadId},
};

/// Bytes that are copied between two looks at who else wants the upload.
const STEP: u64 = 8 * 1024 * 1024;
/// Files of one upload that are open at once.
const OPEN_MAX: usize = 64;

/// Consecutive bytes of a complete upload, in one open part. They stay readable when the upload is
/// deleted meanwhile.
#[derive(Debug)]
pub struct Piece {
    blob: Box<dyn Blob>,
    at: u64,
    length: u64,
    /// Was room asked for? Once is enough: asking again walks over all that is there.
    reserved: bool,
}

impl Piece {
    /// Bytes that are left.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Moves bytes to `at` in `target`: all that the file system can share, else a few that are
    /// copied. Says how many; the piece is that much shorter.
    pub fn copy_into(&mut self, target: &dyn Blob, at: u64) -> Result<u64, HoldError> {
        let mut done = target.share(&*self.blob, self.at, at, self.length);
        if done == 0 {
            done = self.length.min(STEP);
            if !self.reserved {
                target.reserve(at..at.saturating_add(self.length));
                self.reserved = true;
            }
            copy_range(&*self.blob, self.at, done, |bytes, distance| {
                target.write_at(bytes, at.saturating_add(distance))
            })?;
            target.write_back(at..at.saturating_add(done));
        }
        self.at = self.at.saturating_add(done);
        self.length = self.length.saturating_sub(done);
        Ok(done)
    }
}

impl Held {
    /// Brings `length` bytes of one part to their place in another: what the file system lets both
    /// share, and copies of the rest.
    pub fn bring(
        &self,
        (from, from_at): (PartId, u64),
        (into, into_at): (PartId, u64),
        length: u64,
    ) -> Result<(), HoldError> {
        let blob = self.storage().open_part(self.id(), from)?;
        let target = self.storage().open_part(self.id(), into)?;
        let mut piece = Piece { blob, at: from_at, length, reserved: false };
        let mut at = into_at;
        while piece.length > 0 {
            at = at.saturating_add(piece.copy_into(&*target, at)?);
        }
        Ok(())
    }

    /// The bytes of a complete upload from `from` on, where a piece ended, in order: those of as
    /// many files as may be open at once; none behind the end.
    pub fn pieces(&self, from: u64) -> Result<Vec<Piece>, HoldError> {
        let record = self.record();
        let mut pieces: Vec<(PartId, u64, u64)> = Vec::new();
        let mut start = 0_u64;
        for (chunk, sealed) in record.chunks().iter() {
            let before = start < from;
            start = start.saturating_add(sealed.length);
            if before || sealed.length == 0 {
                continue;
            }
            let place = record.place(chunk, sealed.part).map_err(law)?;
            let full = pieces.len() == OPEN_MAX;
            match pieces.last_mut() {
                Some((part, at, length))
                    if *part == sealed.part && at.saturating_add(*length) == place =>
                {
                    *length = length.saturating_add(sealed.length);
                }
                _ if full => break,
                _ => pieces.push((sealed.part, place, sealed.length)),
            }
        }
        let open = |(part, at, length)| {
            let blob = self.storage().open_part(self.id(), part)?;
            Ok(Piece { blob, at, length, reserved: false })
        };
        pieces.into_iter().map(open).collect()
    }

    /// Begins the part that a final upload grows in anew: as the file of its first partial upload,
    /// where that can be lent, else empty. Says how many bytes it has.
    ///
    /// A lent file grows behind the end that the lender's ledger knows; that it is lent is written
    /// down first, so that the lender never writes to it or cuts it from then on. It is lent to one
    /// final upload only, since only one can go on behind its end.
    pub fn begin_joined(&mut self, first: &mut Self) -> Result<u64, HoldError> {
        let joined = PartId::new(ChunkIndex::ZERO);
        self.storage().remove_part(self.id(), joined)?;
        let (Some(part), Some(length)) =
            (first.lendable(self.id()), first.record().layout().length())
        else {
            return Ok(0);
        };
        if first.record().lent().is_none() {
            // On the disk whatever is promised: a power loss that took the fact, and not the file,
            // would have the lender cut it.
            let lent = Fact::Lent { part, to: self.id().clone() };
            first.commit_found([lent], Flush::Durable)?;
        }
        let flush = self.durability().of_answer();
        let lent = self.storage().lend_part((first.id(), part), (self.id(), joined), flush);
        if let Err(error) = lent {
            // Some file systems cannot; the bytes are copied then.
            tracing::debug!(id = %self.id(), %error, "could not share the file of the first part");
            return Ok(0);
        }
        Ok(length.get())
    }

    /// Forgets what was joined so far.
    pub fn discard_joined(&self) -> Result<(), HoldError> {
        Ok(self.storage().remove_part(self.id(), PartId::new(ChunkIndex::ZERO))?)
    }

    /// Removes the folder of joined bytes, once they are finished.
    pub fn clear_joined(&self) -> Result<(), HoldError> {
        if self.record().finished().is_none() || self.is_retiring()? {
            return Ok(());
        }
        Ok(self.storage().remove_upload(self.id())?)
    }

    /// The one part of a complete partial upload, where nobody else has got it yet.
    fn lendable(&self, to: &UploadId) -> Option<PartId> {
        let record = self.record();
        let part = record.chunks().get(ChunkIndex::ZERO)?.part;
        let whole = record.chunks().iter().all(|(_, sealed)| sealed.part == part);
        let free = record.lent().is_none_or(|lent| *lent == (part, to.clone()));
        (whole && free && record.is_complete()).then_some(part)
    }

    /// The part that a final upload grows in.
    pub fn open_joined(&self) -> Result<Box<dyn Blob>, HoldError> {
        let part = PartId::new(ChunkIndex::ZERO);
        match open_for_append(self.storage(), self.id(), part)? {
            Some(blob) => Ok(blob),
            None => {
                Ok(self.storage().create_part(self.id(), part, self.durability().of_answer())?)
            }
        }
    }

    /// Writes down that the client is told to wait. The empty part is how a restart finds the
    /// upload without looking at every ledger.
    pub fn promise(&mut self) -> Result<(), HoldError> {
        if self.record().is_promised() {
            return Ok(());
        }
        drop(self.open_joined()?);
        self.commit([Fact::Promised], self.durability().of_answer())
    }
}
