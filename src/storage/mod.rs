//! Where bytes live: part files, staging, finished files. Knows chunks only as names of parts, and
//! no offsets.
//!
//! The calls block, like those of `state`. An error leaves everything as it was, with two
//! exceptions: a failed write may have left bytes behind the end that the caller knows of; and
//! where only the last flush of [`Flush::Durable`] failed, the new name is there and may not
//! outlive a power loss.

#[cfg(test)]
mod contract;
mod fault;
pub mod local;
mod memory;

use std::{fmt::Debug, fs::File, io, ops::Range};

pub use self::{
    fault::{Failure, FaultStorage, Faults, Operation},
    local::LocalStorage,
    memory::MemoryStorage,
};
use crate::{
    durable::Flush,
    upload::{FileMark, FinalName, PartId, Timestamp, UploadId},
};

/// An open part, staged file or finished file.
pub trait Blob: Debug + Send + Sync {
    /// Its bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads into the whole of `buffer` from `at` on; `UnexpectedEof` if there are fewer bytes.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `at`; the blob grows as needed.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Asks for disk space for `range` without changing the size. A wish: where it cannot be had,
    /// nothing happens.
    fn reserve(&self, range: Range<u64>);

    /// Starts writing `range` to the disk without waiting. A wish, and no promise of durability.
    fn write_back(&self, range: Range<u64>);

    /// Cuts the blob, and gives back what was reserved behind its end. `InvalidInput` if it would
    /// grow: bytes that nobody wrote must not look like stored ones.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Waits until bytes and size are on the disk. After an error the bytes must be taken as lost.
    fn sync(&self) -> io::Result<()>;

    /// Takes over `length` bytes of `source` from `from` on, to `at`, where the file system can let
    /// both files share them. Says how many came: 0 where it cannot, and where bytes would have to
    /// be copied.
    fn share(&self, source: &dyn Blob, from: u64, at: u64, length: u64) -> u64 {
        let _ = (source, from, at, length);
        0
    }

    /// The file behind it, where there is one.
    fn file(&self) -> Option<&File> {
        None
    }
}

/// A file in staging that belongs to nobody yet. Dropped without being adopted, it goes.
pub trait Staged: Blob {
    /// The same file as a plain blob.
    fn as_blob(&self) -> &dyn Blob;

    /// The token by which [`Storage::adopt`] finds it.
    fn token(&self) -> &str;
}

/// A part found in an upload's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPart {
    /// Its name.
    pub part: PartId,
    /// Its bytes.
    pub size: u64,
}

/// An upload that has stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUpload {
    /// Whose bytes.
    pub id: UploadId,
    /// When a part last came or went.
    pub changed: Timestamp,
}

/// A part, or a finished file: what has its name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFile {
    /// Its bytes.
    pub size: u64,
    /// What tells it from others; absent where that is not known.
    pub mark: Option<FileMark>,
}

impl StoredFile {
    /// What is known of an open one.
    pub fn of(blob: &dyn Blob) -> io::Result<Self> {
        Ok(Self { size: blob.size()?, mark: mark_of(blob)? })
    }
}

/// What tells the file behind a blob from others; `None` where there is no file.
pub fn mark_of(blob: &dyn Blob) -> io::Result<Option<FileMark>> {
    let Some(file) = blob.file() else { return Ok(None) };
    Ok(local::mark_of(&file.metadata()?))
}

/// Is there no room, on the disk or in the quota of whoever we run as?
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl dyn Storage {
    /// Bytes of a part; `None` if it is not there.
    pub fn part_size(&self, id: &UploadId, part: PartId) -> io::Result<Option<u64>> {
        Ok(self.part_file(id, part)?.map(|found| found.size))
    }

    /// Bytes of a finished file; `None` if there is none.
    pub fn finished_size(&self, name: &FinalName) -> io::Result<Option<u64>> {
        Ok(self.finished_file(name)?.map(|found| found.size))
    }
}

/// What became of a wish for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The file is visible.
    Done,
    /// The name belongs to another file, which stays as it is.
    NameTaken,
}

/// Keeps the bytes of all uploads. All calls block.
pub trait Storage: Debug + Send + Sync + 'static {
    /// An empty file in staging.
    fn stage(&self) -> io::Result<Box<dyn Staged>>;

    /// Makes a staged file a part, replacing a part of that name. With [`Flush::Durable`] its bytes
    /// and its name are on the disk when the call returns.
    fn adopt(
        &self,
        staged: Box<dyn Staged>,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()>;

    /// A new empty part; `AlreadyExists` if there is one. The upload's folder appears with the
    /// first.
    fn create_part(&self, id: &UploadId, part: PartId, flush: Flush) -> io::Result<Box<dyn Blob>>;

    /// Gives a part to another upload, too: both have one file from now on. `AlreadyExists` if the
    /// other has a part of that name; an error also where the file system knows no such thing.
    fn lend_part(
        &self,
        from: (&UploadId, PartId),
        to: (&UploadId, PartId),
        flush: Flush,
    ) -> io::Result<()>;

    /// A part that is there, for reading and writing; `NotFound` if it is not.
    fn open_part(&self, id: &UploadId, part: PartId) -> io::Result<Box<dyn Blob>>;

    /// The parts of an upload, in order of their names' numbers; none for an upload without a
    /// folder.
    fn parts(&self, id: &UploadId) -> io::Result<Vec<StoredPart>>;

    /// What is known of a part; `None` if it is not there.
    fn part_file(&self, id: &UploadId, part: PartId) -> io::Result<Option<StoredFile>>;

    /// Removes a part; no error if it is not there.
    fn remove_part(&self, id: &UploadId, part: PartId) -> io::Result<()>;

    /// Removes all parts and the folder of an upload; no error if there is none.
    fn remove_upload(&self, id: &UploadId) -> io::Result<()>;

    /// Waits, under [`Flush::Durable`], until the names of an upload's parts are on the disk; no
    /// error if it has none.
    fn sync_parts(&self, id: &UploadId, flush: Flush) -> io::Result<()>;

    /// Makes a part the finished file `name`, atomically, never replacing one. With
    /// [`Flush::Durable`] the name is on the disk when the call returns; its bytes are brought
    /// there before, by [`Blob::sync`].
    fn publish(
        &self,
        id: &UploadId,
        part: PartId,
        name: &FinalName,
        flush: Flush,
    ) -> io::Result<Published>;

    /// What is known of a finished file; `None` if there is none.
    fn finished_file(&self, name: &FinalName) -> io::Result<Option<StoredFile>>;

    /// Waits, under [`Flush::Durable`], until all names of finished files are on the disk.
    fn sync_finished(&self, flush: Flush) -> io::Result<()>;

    /// A finished file, for reading; `NotFound` if there is none.
    fn open_finished(&self, name: &FinalName) -> io::Result<Box<dyn Blob>>;

    /// Removes a finished file; no error if it is not there. Whoever reads it goes on reading.
    fn remove_finished(&self, name: &FinalName) -> io::Result<()>;

    /// Takes a finished file out of sight and makes it a part of its upload again, atomically,
    /// never replacing one; no error if there is no such file. Whoever reads it goes on reading.
    /// With [`Flush::Durable`] that is on the disk when the call returns.
    fn withdraw(
        &self,
        name: &FinalName,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()>;

    /// The uploads that have a folder. Foreign files and folders are passed over.
    fn uploads(&self) -> io::Result<Vec<StoredUpload>>;

    /// Removes staged files that nobody works on and nobody wrote to since `before`; says how many.
    /// Foreign files stay.
    fn sweep_staging(&self, before: Timestamp) -> io::Result<usize>;
}
