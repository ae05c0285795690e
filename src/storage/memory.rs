//! Bytes in memory: for tests, and for whoever embeds the service and wants nothing on a disk.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::{self, ErrorKind},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use super::{Blob, Published, Staged, Storage, StoredFile, StoredPart, StoredUpload};
use crate::{
    durable::Flush,
    upload::{FinalName, PartId, Timestamp, UploadId},
};

/// Keeps all bytes in memory until it is dropped. A removed file stays readable by whoever has it
/// open.
#[derive(Debug)]
pub struct MemoryStorage(Arc<Shelves>);

impl MemoryStorage {
    /// Empty. `now` tells the time, since only the composition root knows a clock.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shelves { now: Box::new(now), content: Mutex::default() }))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.content()
    }

    fn blob(&self, file: &Arc<File>, access: Access) -> MemoryBlob {
        MemoryBlob { file: Arc::clone(file), shelves: Arc::clone(&self.0), access }
    }
}

impl Storage for MemoryStorage {
    fn stage(&self) -> io::Result<Box<dyn Staged>> {
        let file: Arc<File> = Arc::default();
        let mut content = self.content();
        content.tokens = content.tokens.wrapping_add(1);
        let token = content.tokens.to_string();
        content.staged.insert(token.clone(), Arc::clone(&file));
        Ok(Box::new(MemoryStaged { blob: self.blob(&file, Access::ReadWrite), token }))
    }

    fn adopt(
        &self,
        staged: Box<dyn Staged>,
        id: &UploadId,
        part: PartId,
        _flush: Flush,
    ) -> io::Result<()> {
        let now = (self.0.now)();
        let mut content = self.content();
        let file = content.staged.remove(staged.token()).ok_or(ErrorKind::NotFound)?;
        content.uploads.entry(id.clone()).or_default().at(now).insert(part, file);
        // Dropping it takes the lock once more.
        drop(content);
        drop(staged);
        Ok(())
    }

    fn create_part(&self, id: &UploadId, part: PartId, _flush: Flush) -> io::Result<Box<dyn Blob>> {
        let file: Arc<File> = Arc::default();
        let now = (self.0.now)();
        let mut content = self.content();
        if content.part(id, part).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        content.uploads.entry(id.clone()).or_default().at(now).insert(part, Arc::clone(&file));
        Ok(Box::new(self.blob(&file, Access::ReadWrite)))
    }

    fn lend_part(
        &self,
        (lender, part): (&UploadId, PartId),
        (borrower, name): (&UploadId, PartId),
        _flush: Flush,
    ) -> io::Result<()> {
        let now = (self.0.now)();
        let mut content = self.content();
        let file = content.part(lender, part)?;
        if content.part(borrower, name).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        content.uploads.entry(borrower.clone()).or_default().at(now).insert(name, file);
        Ok(())
    }

    fn open_part(&self, id: &UploadId, part: PartId) -> io::Result<Box<dyn Blob>> {
        let file = self.content().part(id, part)?;
        Ok(Box::new(self.blob(&file, Access::ReadWrite)))
    }

    fn parts(&self, id: &UploadId) -> io::Result<Vec<StoredPart>> {
        let content = self.content();
        let parts = content.uploads.get(id).into_iter().flat_map(|folder| &folder.parts);
        Ok(parts.map(|(part, file)| StoredPart { part: *part, size: file.size() }).collect())
    }

    fn part_file(&self, id: &UploadId, part: PartId) -> io::Result<Option<StoredFile>> {
        let stored = |file: Arc<File>| StoredFile { size: file.size(), mark: None };
        Ok(self.content().part(id, part).ok().map(stored))
    }

    fn remove_part(&self, id: &UploadId, part: PartId) -> io::Result<()> {
        let now = (self.0.now)();
        self.content().take_out(id, part, now);
        Ok(())
    }

    fn remove_upload(&self, id: &UploadId) -> io::Result<()> {
        self.content().uploads.remove(id);
        Ok(())
    }

    fn publish(
        &self,
        id: &UploadId,
        part: PartId,
        name: &FinalName,
        _flush: Flush,
    ) -> io::Result<Published> {
        let now = (self.0.now)();
        let mut content = self.content();
        let file = content.part(id, part)?;
        if content.finished.contains_key(name) {
            return Ok(Published::NameTaken);
        }
        content.take_out(id, part, now);
        content.finished.insert(name.clone(), file);
        Ok(Published::Done)
    }

    fn finished_file(&self, name: &FinalName) -> io::Result<Option<StoredFile>> {
        let stored = |file: &Arc<File>| StoredFile { size: file.size(), mark: None };
        Ok(self.content().finished.get(name).map(stored))
    }

    fn sync_parts(&self, _id: &UploadId, _flush: Flush) -> io::Result<()> {
        Ok(())
    }

    fn sync_finished(&self, _flush: Flush) -> io::Result<()> {
        Ok(())
    }

    fn open_finished(&self, name: &FinalName) -> io::Result<Box<dyn Blob>> {
        let content = self.content();
        let file = content.finished.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(self.blob(file, Access::Read)))
    }

    fn remove_finished(&self, name: &FinalName) -> io::Result<()> {
        self.content().finished.remove(name);
        Ok(())
    }

    fn withdraw(
        &self,
        name: &FinalName,
        id: &UploadId,
        part: PartId,
        _flush: Flush,
    ) -> io::Result<()> {
        let now = (self.0.now)();
        let mut content = self.content();
        if content.part(id, part).is_ok() && content.finished.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if let Some(file) = content.finished.remove(name) {
            content.uploads.entry(id.clone()).or_default().at(now).insert(part, file);
        }
        Ok(())
    }

    fn uploads(&self) -> io::Result<Vec<StoredUpload>> {
        let content = self.content();
        let found = content.uploads.iter();
        Ok(found.map(|(id, f)| StoredUpload { id: id.clone(), changed: f.changed }).collect())
    }

    /// What is staged is worked on, or gone: it does not outlive its process.
    fn sweep_staging(&self, _before: Timestamp) -> io::Result<usize> {
        Ok(0)
    }
}

/// What the storage and its blobs share.
struct Shelves {
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    content: Mutex<Content>,
}

impl Shelves {
    /// Each change is one insertion or removal, so that a panic elsewhere leaves no half-made state
    /// behind.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shelves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelves").field("content", &self.content).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Content {
    /// The last token given.
    tokens: u64,
    staged: HashMap<String, Arc<File>>,
    uploads: BTreeMap<UploadId, Folder>,
    finished: HashMap<FinalName, Arc<File>>,
}

impl Content {
    /// The one for all bytes lies in no folder that would stay.
    fn take_out(&mut self, id: &UploadId, part: PartId, now: Timestamp) {
        let Some(folder) = self.uploads.get_mut(id) else { return };
        if folder.parts.remove(&part).is_some() {
            folder.changed = now;
        }
        if part == PartId::WHOLE && folder.parts.is_empty() {
            self.uploads.remove(id);
        }
    }

    fn part(&self, id: &UploadId, part: PartId) -> io::Result<Arc<File>> {
        let folder = self.uploads.get(id).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::clone(folder.parts.get(&part).ok_or(ErrorKind::NotFound)?))
    }
}

#[derive(Debug, Default)]
struct Folder {
    parts: BTreeMap<PartId, Arc<File>>,
    changed: Timestamp,
}

impl Folder {
    /// The parts, to be changed `now`.
    fn at(&mut self, now: Timestamp) -> &mut BTreeMap<PartId, Arc<File>> {
        self.changed = now;
        &mut self.parts
    }
}

/// Bytes with any number of names and handles.
#[derive(Default)]
struct File(RwLock<Vec<u8>>);

impl File {
    fn size(&self) -> u64 {
        let written = self.0.read().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(written.len()).expect("no machine has more than 2^64 bytes")
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({} bytes)", self.size())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    ReadWrite,
}

#[derive(Debug)]
struct MemoryBlob {
    file: Arc<File>,
    shelves: Arc<Shelves>,
    access: Access,
}

impl MemoryBlob {
    fn change(&self, change: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(ErrorKind::PermissionDenied.into());
        }
        change(&mut self.file.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Blob for MemoryBlob {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.size())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let written = self.file.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = range(at, buffer.len()).and_then(|range| written.get(range));
        buffer.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let range = range(at, bytes.len()).ok_or(ErrorKind::FileTooLarge)?;
        self.change(|held| {
            if held.len() < range.end {
                let missing = range.end.saturating_sub(held.len());
                held.try_reserve(missing).map_err(|_| ErrorKind::StorageFull)?;
                held.resize(range.end, 0);
            }
            let place = held.get_mut(range).expect("it was just made long enough");
            place.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn reserve(&self, _range: Range<u64>) {}

    fn write_back(&self, _range: Range<u64>) {}

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.change(|held| {
            let size = usize::try_from(size).ok().filter(|size| *size <= held.len());
            held.truncate(size.ok_or(ErrorKind::InvalidInput)?);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// `length` positions from `at` on; `None` where memory has no such addresses.
fn range(at: u64, length: usize) -> Option<Range<usize>> {
    let start = usize::try_from(at).ok()?;
    Some(start..start.checked_add(length)?)
}

#[derive(Debug)]
struct MemoryStaged {
    blob: MemoryBlob,
    token: String,
}

impl Staged for MemoryStaged {
    fn as_blob(&self) -> &dyn Blob {
        &self.blob
    }

    fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for MemoryStaged {
    fn drop(&mut self) {
        self.blob.shelves.content().staged.remove(&self.token);
    }
}

impl Blob for MemoryStaged {
    fn size(&self) -> io::Result<u64> {
        self.blob.size()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.blob.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.blob.write_at(bytes, at)
    }

    fn reserve(&self, range: Range<u64>) {
        self.blob.reserve(range);
    }

    fn write_back(&self, range: Range<u64>) {
        self.blob.write_back(range);
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.blob.truncate(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.blob.sync()
    }
}
