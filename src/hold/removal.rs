//! How an upload goes, and what a crash left of it.

use std::{io, sync::Arc};

use super::{HoldError, Holds, held::Held};
use crate::{
    blocking::Span,
    durable::Flush,
    lock::{Manner, UploadGuard},
    state::StateError,
    storage::{Blob, Published},
    upload::{ChunkIndex, Fact, FileMark, FinalName, PartId, Phase, Record, UploadId},
};

impl Holds {
    /// Removes an upload, a damaged one too. One that expired is left to the reaper, so that it
    /// stays 410.
    pub async fn forget(self: &Arc<Self>, id: &UploadId) -> Result<(), HoldError> {
        let taken = self.locks.take(id, Manner::Asking).await;
        let guard = taken.map_err(|_| HoldError::Busy)?;
        self.open(guard, Span::Open, |this, guard, _| this.forget_held(guard)).await
    }

    /// Needs no agreement between ledger and parts: what cannot be read can still be removed.
    fn forget_held(
        self: &Arc<Self>,
        guard: UploadGuard,
    ) -> Result<(), (HoldError, Option<UploadGuard>)> {
        let _lock = match self.lock_file(guard.id()) {
            Ok(lock) => lock,
            Err(error) => return Err((error, Some(guard))),
        };
        self.forget_locked(guard.id()).map_err(|error| (error, None))
    }

    fn forget_locked(&self, id: &UploadId) -> Result<(), HoldError> {
        // An open part would keep its blocks.
        let warm = self.warm().remove(id);
        drop(warm);
        self.verdicts.forget(id);
        match self.state.load(id) {
            Ok(current) if self.has_expired(&current.record) => return Err(HoldError::Expired),
            Ok(current) => self.withdraw_file(&current.record)?,
            // A ledger that nobody can read names no file; one that was never begun neither.
            Err(StateError::Damaged { .. } | StateError::Unknown) => {}
            Err(error) => return Err(error.into()),
        }
        self.remove(id)
    }

    /// Facts first: without its bytes an upload would tell an offset that it never had, or one
    /// lower than it has told. But their place goes last, since its lock is what keeps others from
    /// beginning an upload of this id whose bytes would go, too. For whoever has that lock.
    ///
    /// Bytes that a kill leaves behind are swept, and never taken for those of a later upload of
    /// this id ([`Fact::Cleared`](crate::upload::Fact::Cleared)).
    pub(super) fn remove(&self, id: &UploadId) -> Result<(), HoldError> {
        self.state.void(id)?;
        self.storage.remove_upload(id)?;
        Ok(self.state.forget(id)?)
    }

    /// Takes the file of an upload that is about to go out of `files/`, also one that appeared and
    /// was not written down. It stays in the upload's folder until the facts are gone: as long as
    /// they name it, a name that is free may be another's.
    pub(super) fn withdraw_file(&self, record: &Record) -> Result<(), HoldError> {
        let id = &record.manifest().id;
        self.forget_content(record);
        // A power loss may have taken the file, and its name may be another's.
        let trusted = record.epoch() >= self.options.epoch && record.phase() != Phase::Corrupt;
        if !trusted || self.is_withdrawn(id)? {
            return Ok(());
        }
        let (name, mark) = match (record.finished(), record.merging()) {
            (Some(finished), _) => (&finished.name, finished.mark),
            (None, Some(name)) => {
                let first = record.chunks().get(ChunkIndex::ZERO).map(|sealed| sealed.part);
                let there = first.map(|part| self.storage.part_size(id, part)).transpose()?;
                // Only the publishing rename takes the part away, or a power loss.
                if there.flatten().is_some() {
                    return Ok(());
                }
                (name, record.merging_mark())
            }
            (None, None) => return Ok(()),
        };
        self.withdraw_own(record, (name, mark), Flush::Lazy)
    }

    /// Takes a file out of sight if it is that upload's. One that got the name while the file was
    /// looked at gets it back.
    fn withdraw_own(
        &self,
        record: &Record,
        (name, mark): (&FinalName, Option<FileMark>),
        flush: Flush,
    ) -> Result<(), HoldError> {
        let Some(own) = self.own_file(record, (name, mark))? else { return Ok(()) };
        let (id, part) = (&record.manifest().id, PartId::WITHDRAWN);
        self.storage.withdraw(name, id, part, flush)?;
        let taken = self.storage.part_file(id, part)?;
        if taken.is_none_or(|taken| taken == own) {
            return Ok(());
        }
        match self.storage.publish(id, part, name, flush)? {
            Published::Done => Ok(()),
            Published::NameTaken => {
                let name = name.as_str();
                tracing::error!(%id, name, "a file lost its name to another and is kept aside");
                Err(HoldError::Busy)
            }
        }
    }

    /// A file was opened under the name that `record` gives: is it this upload's? Its name is free
    /// for others as soon as it is withdrawn, and whoever withdraws it removes what it became only
    /// behind the facts; therefore in this order. Nor do we know who else works in `files/`.
    pub fn is_still_named(&self, record: &Record, file: &dyn Blob) -> Result<bool, HoldError> {
        let id = &record.manifest().id;
        if self.is_withdrawn(id)? || !self.is_file_of(record, file)? {
            return Ok(false);
        }
        // Its digest may have come meanwhile: that of joined bytes is taken behind the answer.
        let which = |record: &Record| record.finished().map(|file| (file.name.clone(), file.at));
        Ok(which(&self.look(id)?.current.record) == which(record))
    }

    /// Is the finished file out of sight already, because the upload is about to end? Then its name
    /// may be another's.
    pub(super) fn is_withdrawn(&self, id: &UploadId) -> io::Result<bool> {
        Ok(self.storage.part_size(id, PartId::WITHDRAWN)?.is_some())
    }

    /// Removes parts that have no ledger, if nobody is about to begin that upload.
    pub fn remove_orphan(&self, id: &UploadId) -> Result<(), HoldError> {
        let Some(_guard) = self.locks.try_take(id) else { return Err(HoldError::Busy) };
        self.ensure_unbegun(id)?;
        // Whoever begins it needs the lock, and then finds that these bytes are gone.
        self.state.claim(id)?;
        let _lock = self.lock_file(id)?;
        self.ensure_unbegun(id)?;
        self.remove(id)
    }

    fn ensure_unbegun(&self, id: &UploadId) -> Result<(), HoldError> {
        match self.state.load(id) {
            Err(StateError::Unknown) => Ok(()),
            Ok(_) => Err(HoldError::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the bytes that a crash left of an upload whose expiry is written down, or whose file
    /// is withdrawn; leaves any other alone.
    pub fn remove_remains(self: &Arc<Self>, id: &UploadId) -> Result<(), HoldError> {
        let Some(guard) = self.locks.try_take(id) else { return Err(HoldError::Busy) };
        let lock = self.lock_file(id)?;
        let current = self.state.load(id)?;
        match current.record.phase() {
            Phase::Expired => Ok(self.storage.remove_upload(id)?),
            Phase::Finished | Phase::Merging if self.is_withdrawn(id)? => {
                Held::open(self, (guard, lock), current, None).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Held {
    /// Removes a finished file whose time is over, in steps that each leave a trace: out of sight
    /// into the upload's own folder, then the fact, then the bytes. Were it removed under its name,
    /// nobody could tell after a crash whether that name is still this upload's.
    pub(super) fn retire(&mut self) -> Result<(), HoldError> {
        let flush = self.durability().of_finish();
        let id = self.id().clone();
        if flush == Flush::Durable {
            // Whoever wrote it down may have died within that: of two facts a power loss may keep
            // the later one alone, and a file that is not under its name any more proves nothing.
            self.commit_found([], flush)?;
        }
        if let Some(finished) = self.record().finished()
            && !self.holds().is_withdrawn(&id)?
            && self.is_its_own(finished)?
        {
            let named = (&finished.name, finished.mark);
            self.holds().withdraw_own(self.record(), named, flush)?;
        }
        let unwritten = self.record().phase() == Phase::Merging;
        let abandoned = unwritten.then_some(Fact::MergeAbandoned);
        self.commit(abandoned.into_iter().chain([Fact::Expired]), flush)?;
        Ok(self.storage().remove_upload(&id)?)
    }

    /// Did a crash interrupt [`Held::retire`], or a DELETE? A power loss may have taken the word
    /// that the file was finished: that it was withdrawn says it, too.
    pub(super) fn is_retiring(&self) -> io::Result<bool> {
        let appeared = matches!(self.record().phase(), Phase::Finished | Phase::Merging);
        Ok(appeared && self.holds().is_withdrawn(self.id())?)
    }
}

#[cfg(test)]
mod tests;
