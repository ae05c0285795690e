//! A storage that keeps other bytes than it was given.

use std::{fs::File, io, ops::Range, sync::Arc};

use crate::{
    durable::Flush,
    storage::{Blob, Published, Staged, Storage, StoredFile, StoredPart, StoredUpload},
    upload::{FinalName, PartId, Timestamp, UploadId},
};

/// What is done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// The last byte of each write is another.
    WrongByte,
    /// The last byte of a file is gone when it is finished.
    LostByte,
    /// Half of each part is gone when the process starts.
    LostByRestart,
    /// First and last byte of what an index client sent change places.
    Swapped,
    /// A finished file gives way to another of its name.
    Replaced,
}

/// A storage under a harm.
#[derive(Debug)]
pub(super) struct Harmed {
    inner: Arc<dyn Storage>,
    harm: Harm,
}

impl Harmed {
    pub(super) fn new(inner: Arc<dyn Storage>, harm: Harm) -> Self {
        let storage = Self { inner, harm };
        if harm == Harm::LostByRestart
            && let Err(error) = storage.halve_all()
        {
            tracing::warn!(%error, "could not lose what was to be lost");
        }
        storage
    }

    fn halve_all(&self) -> io::Result<()> {
        for upload in self.inner.uploads()? {
            for stored in self.inner.parts(&upload.id)? {
                self.inner.open_part(&upload.id, stored.part)?.truncate(stored.size / 2)?;
            }
        }
        Ok(())
    }

    fn wrap(&self, inner: Box<dyn Blob>) -> Box<dyn Blob> {
        if self.harm == Harm::WrongByte { Box::new(Spoilt(inner)) } else { inner }
    }

    /// Ids of index clients are longer than the others.
    fn swap_ends(&self, id: &UploadId, part: PartId) -> io::Result<()> {
        const OF_OFFSET_CLIENTS: usize = 32;
        let blob = self.inner.open_part(id, part)?;
        let size = blob.size()?;
        if id.as_str().len() == OF_OFFSET_CLIENTS || size < 2 {
            return Ok(());
        }
        let (mut first, mut last) = ([0], [0]);
        blob.read_at(&mut first, 0)?;
        blob.read_at(&mut last, size - 1)?;
        blob.write_at(&last, 0)?;
        blob.write_at(&first, size - 1)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Storage for Harmed {
    fn stage(&self) -> io::Result<Box<dyn Staged>> {
        let staged = self.inner.stage()?;
        Ok(if self.harm == Harm::WrongByte { Box::new(SpoiltStaged(staged)) } else { staged })
    }

    fn adopt(
        &self,
        staged: Box<dyn Staged>,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        self.inner.adopt(staged, id, part, flush)
    }

    fn create_part(&self, id: &UploadId, part: PartId, flush: Flush) -> io::Result<Box<dyn Blob>> {
        Ok(self.wrap(self.inner.create_part(id, part, flush)?))
    }

    fn lend_part(
        &self,
        from: (&UploadId, PartId),
        to: (&UploadId, PartId),
        flush: Flush,
    ) -> io::Result<()> {
        self.inner.lend_part(from, to, flush)
    }

    fn open_part(&self, id: &UploadId, part: PartId) -> io::Result<Box<dyn Blob>> {
        Ok(self.wrap(self.inner.open_part(id, part)?))
    }

    fn parts(&self, id: &UploadId) -> io::Result<Vec<StoredPart>> {
        self.inner.parts(id)
    }

    fn part_file(&self, id: &UploadId, part: PartId) -> io::Result<Option<StoredFile>> {
        self.inner.part_file(id, part)
    }

    fn remove_part(&self, id: &UploadId, part: PartId) -> io::Result<()> {
        self.inner.remove_part(id, part)
    }

    fn remove_upload(&self, id: &UploadId) -> io::Result<()> {
        self.inner.remove_upload(id)
    }

    fn publish(
        &self,
        id: &UploadId,
        part: PartId,
        name: &FinalName,
        flush: Flush,
    ) -> io::Result<Published> {
        if self.harm == Harm::Swapped {
            self.swap_ends(id, part)?;
        }
        if self.harm == Harm::LostByte {
            let blob = self.inner.open_part(id, part)?;
            blob.truncate(blob.size()?.saturating_sub(1))?;
        }
        let published = self.inner.publish(id, part, name, flush)?;
        if self.harm == Harm::Replaced && published == Published::NameTaken {
            self.inner.remove_finished(name)?;
            return self.inner.publish(id, part, name, flush);
        }
        Ok(published)
    }

    fn finished_file(&self, name: &FinalName) -> io::Result<Option<StoredFile>> {
        self.inner.finished_file(name)
    }

    fn sync_parts(&self, id: &UploadId, flush: Flush) -> io::Result<()> {
        self.inner.sync_parts(id, flush)
    }

    fn sync_finished(&self, flush: Flush) -> io::Result<()> {
        self.inner.sync_finished(flush)
    }

    fn open_finished(&self, name: &FinalName) -> io::Result<Box<dyn Blob>> {
        self.inner.open_finished(name)
    }

    fn remove_finished(&self, name: &FinalName) -> io::Result<()> {
        self.inner.remove_finished(name)
    }

    fn withdraw(
        &self,
        name: &FinalName,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        self.inner.withdraw(name, id, part, flush)
    }

    fn uploads(&self) -> io::Result<Vec<StoredUpload>> {
        self.inner.uploads()
    }

    fn sweep_staging(&self, before: Timestamp) -> io::Result<usize> {
        self.inner.sweep_staging(before)
    }
}

/// A blob that spoils the last byte of each write.
#[derive(Debug)]
struct Spoilt(Box<dyn Blob>);

/// The same of a staged file.
#[derive(Debug)]
struct SpoiltStaged(Box<dyn Staged>);

fn write_wrong(inner: &dyn Blob, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = last.wrapping_add(1);
    }
    inner.write_at(&bytes, at)
}

macro_rules! spoilt {
    ($blob:ty) => {
        #[deny(clippy::missing_trait_methods)]
        impl Blob for $blob {
            fn size(&self) -> io::Result<u64> {
                self.0.size()
            }

            fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
                self.0.read_at(buffer, at)
            }

            fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
                write_wrong(self.inner(), bytes, at)
            }

            fn reserve(&self, range: Range<u64>) {
                self.0.reserve(range);
            }

            fn write_back(&self, range: Range<u64>) {
                self.0.write_back(range);
            }

            fn truncate(&self, size: u64) -> io::Result<()> {
                self.0.truncate(size)
            }

            fn sync(&self) -> io::Result<()> {
                self.0.sync()
            }

            fn share(&self, source: &dyn Blob, from: u64, at: u64, length: u64) -> u64 {
                self.0.share(source, from, at, length)
            }

            fn file(&self) -> Option<&File> {
                self.0.file()
            }
        }
    };
}

impl Spoilt {
    fn inner(&self) -> &dyn Blob {
        self.0.as_ref()
    }
}

impl SpoiltStaged {
    fn inner(&self) -> &dyn Blob {
        self.0.as_blob()
    }
}

spoilt!(Spoilt);
spoilt!(SpoiltStaged);

#[deny(clippy::missing_trait_methods)]
impl Staged for SpoiltStaged {
    fn as_blob(&self) -> &dyn Blob {
        self
    }

    fn token(&self) -> &str {
        self.0.token()
    }
}
