//! Joining partial uploads: where the bytes of a final upload come from, and where they go.

use super::{
    HoldError,
    held::{Held, law},
    tail::{copy_range, open_for_append},
};
use crate::{
    storage::Blob,
    upload::{ChunkIndex, Fact, PartId},
};

/// Bytes that are copied between two looks at who else wants the upload.
const STEP: u64 = 8 * 1024 * 1024;

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
    /// The bytes of a complete upload, in order.
    pub fn pieces(&self) -> Result<Vec<Piece>, HoldError> {
        let record = self.record();
        let mut pieces: Vec<(PartId, u64, u64)> = Vec::new();
        for (chunk, sealed) in record.chunks().iter() {
            let place = record.place(chunk, sealed.part).map_err(law)?;
            match pieces.last_mut() {
                Some((part, at, length))
                    if *part == sealed.part && at.saturating_add(*length) == place =>
                {
                    *length = length.saturating_add(sealed.length);
                }
                _ => pieces.push((sealed.part, place, sealed.length)),
            }
        }
        let open = |(part, at, length)| {
            let blob = self.storage().open_part(self.id(), part)?;
            Ok(Piece { blob, at, length, reserved: false })
        };
        pieces.into_iter().filter(|(.., length)| *length > 0).map(open).collect()
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

    /// The whole file of a complete upload; `None` where it lies in several parts.
    pub fn only_part(&self) -> Option<PartId> {
        let record = self.record();
        let part = record.chunks().get(ChunkIndex::ZERO)?.part;
        let total = record.layout().total()?;
        let whole = record.chunks().iter().all(|(_, sealed)| sealed.part == part);
        (whole && record.is_complete() && part.first == ChunkIndex::ZERO && total.get() > 0)
            .then_some(part)
    }

    /// Makes the file of a complete partial upload the beginning of this final one. The intent is
    /// written down first: whoever finds it and the bytes in part 0 knows that they came.
    pub fn take_file_of(&mut self, partial: &mut Self, length: u64) -> Result<(), HoldError> {
        let Some(part) = partial.only_part() else { return Ok(()) };
        self.promise()?;
        let flush = self.durability().of_finish();
        partial.storage().open_part(partial.id(), part)?.truncate(length)?;
        self.commit([Fact::Taken { length }], flush)?;
        let into = PartId::new(ChunkIndex::ZERO);
        partial.doubt();
        partial.tail = None;
        self.storage().give_part((partial.id(), part), (self.id(), into), flush)?;
        Ok(())
    }
}
