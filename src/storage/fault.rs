//! A storage that fails, stalls or writes half on demand: for tests of programs that embed piton,
//! and for our own.

mod blob;
mod plan;

use std::io;

use self::blob::{FaultBlob, FaultStaged};
pub use self::plan::{Failure, Faults, Operation};
use super::{Blob, Published, Staged, Storage, StoredFile, StoredPart, StoredUpload};
use crate::{
    durable::Flush,
    upload::{FinalName, PartId, Timestamp, UploadId},
};

/// Forwards every call to `S`, except where [`Faults`] says otherwise; for blobs that were handed
/// out earlier, too.
///
/// For tests of programs that embed piton. A call that fails does not reach `S` at all, but for a
/// short write.
#[derive(Debug)]
pub struct FaultStorage<S> {
    inner: S,
    faults: Faults,
}

impl<S: Storage> FaultStorage<S> {
    /// Puts `faults` in front of `inner`.
    pub const fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// The storage behind it.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    fn wrap(&self, inner: Box<dyn Blob>) -> Box<dyn Blob> {
        Box::new(FaultBlob::new(inner, self.faults.clone()))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for FaultStorage<S> {
    fn stage(&self) -> io::Result<Box<dyn Staged>> {
        self.faults.enter(Operation::Stage)?;
        Ok(Box::new(FaultStaged::new(self.inner.stage()?, self.faults.clone())))
    }

    fn adopt(
        &self,
        staged: Box<dyn Staged>,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        self.faults.enter(Operation::Adopt)?;
        self.inner.adopt(staged, id, part, flush)
    }

    fn create_part(&self, id: &UploadId, part: PartId, flush: Flush) -> io::Result<Box<dyn Blob>> {
        self.faults.enter(Operation::CreatePart)?;
        Ok(self.wrap(self.inner.create_part(id, part, flush)?))
    }

    fn lend_part(
        &self,
        from: (&UploadId, PartId),
        to: (&UploadId, PartId),
        flush: Flush,
    ) -> io::Result<()> {
        self.faults.enter(Operation::LendPart)?;
        self.inner.lend_part(from, to, flush)
    }

    fn open_part(&self, id: &UploadId, part: PartId) -> io::Result<Box<dyn Blob>> {
        self.faults.enter(Operation::OpenPart)?;
        Ok(self.wrap(self.inner.open_part(id, part)?))
    }

    fn parts(&self, id: &UploadId) -> io::Result<Vec<StoredPart>> {
        self.faults.enter(Operation::Parts)?;
        self.inner.parts(id)
    }

    fn part_file(&self, id: &UploadId, part: PartId) -> io::Result<Option<StoredFile>> {
        self.faults.enter(Operation::Parts)?;
        self.inner.part_file(id, part)
    }

    fn remove_part(&self, id: &UploadId, part: PartId) -> io::Result<()> {
        self.faults.enter(Operation::RemovePart)?;
        self.inner.remove_part(id, part)
    }

    fn remove_upload(&self, id: &UploadId) -> io::Result<()> {
        self.faults.enter(Operation::RemoveUpload)?;
        self.inner.remove_upload(id)
    }

    fn sync_parts(&self, id: &UploadId, flush: Flush) -> io::Result<()> {
        self.faults.enter(Operation::SyncParts)?;
        self.inner.sync_parts(id, flush)
    }

    fn publish(
        &self,
        id: &UploadId,
        part: PartId,
        name: &FinalName,
        flush: Flush,
    ) -> io::Result<Published> {
        self.faults.enter(Operation::Publish)?;
        self.inner.publish(id, part, name, flush)
    }

    fn finished_file(&self, name: &FinalName) -> io::Result<Option<StoredFile>> {
        self.faults.enter(Operation::FinishedFile)?;
        self.inner.finished_file(name)
    }

    fn sync_finished(&self, flush: Flush) -> io::Result<()> {
        self.faults.enter(Operation::Publish)?;
        self.inner.sync_finished(flush)
    }

    fn open_finished(&self, name: &FinalName) -> io::Result<Box<dyn Blob>> {
        self.faults.enter(Operation::OpenFinished)?;
        Ok(self.wrap(self.inner.open_finished(name)?))
    }

    fn remove_finished(&self, name: &FinalName) -> io::Result<()> {
        self.faults.enter(Operation::RemoveFinished)?;
        self.inner.remove_finished(name)
    }

    fn withdraw(
        &self,
        name: &FinalName,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        self.faults.enter(Operation::Withdraw)?;
        self.inner.withdraw(name, id, part, flush)
    }

    fn uploads(&self) -> io::Result<Vec<StoredUpload>> {
        self.faults.enter(Operation::Uploads)?;
        self.inner.uploads()
    }

    fn sweep_staging(&self, before: Timestamp) -> io::Result<usize> {
        self.faults.enter(Operation::SweepStaging)?;
        self.inner.sweep_staging(before)
    }
}

#[cfg(test)]
mod tests;
