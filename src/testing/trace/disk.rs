//! Storage and ledgers in memory that write down each step.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{FileNumber, Step, Trace};
use crate::{
    durable::Flush,
    state::{Listed, MemoryState, Shard, State, StateError, Versioned},
    storage::{
        Blob, MemoryStorage, Published, Staged, Storage, StoredFile, StoredPart, StoredUpload,
    },
    upload::{ContentKey, FinalName, IdSecret, Manifest, PartId, Stamped, Timestamp, UploadId},
};

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

/// Bytes in memory, and which file has which name.
#[derive(Debug)]
pub(crate) struct TraceStorage {
    inner: MemoryStorage,
    trace: Trace,
    files: AtomicUsize,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    parts: HashMap<(UploadId, PartId), FileNumber>,
    finished: HashMap<FinalName, FileNumber>,
    staged: HashMap<String, FileNumber>,
}

impl TraceStorage {
    pub(crate) fn new(inner: MemoryStorage, trace: Trace) -> Self {
        Self { inner, trace, files: AtomicUsize::new(0), names: Mutex::default() }
    }

    /// On what an earlier life left, all of whose steps are in `trace`.
    pub(crate) fn resumed(
        inner: MemoryStorage,
        trace: Trace,
        parts: impl IntoIterator<Item = ((UploadId, PartId), FileNumber)>,
    ) -> Self {
        let parts: HashMap<_, _> = parts.into_iter().collect();
        // Numbers that no file of that life has had.
        let files = AtomicUsize::new(trace.steps().len());
        let names = Mutex::new(Names { parts, ..Names::default() });
        Self { inner, trace, files, names }
    }

    fn new_file(&self) -> FileNumber {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    fn part(&self, id: &UploadId, part: PartId) -> FileNumber {
        self.names.lock().unwrap().parts[&(id.clone(), part)]
    }

    fn name(&self, file: FileNumber, (id, part): (&UploadId, PartId), flush: Flush) {
        self.names.lock().unwrap().parts.insert((id.clone(), part), file);
        self.trace.add(Step::Name { file, id: id.clone(), part });
        self.flush_folder(id, flush);
    }

    fn flush_folder(&self, id: &UploadId, flush: Flush) {
        if flush == Flush::Durable {
            self.trace.add(Step::SyncFolder { id: id.clone() });
        }
    }

    fn blob(&self, inner: Box<dyn Blob>, file: FileNumber) -> Box<dyn Blob> {
        Box::new(TraceBlob { inner, file, trace: self.trace.clone() })
    }
}

impl Storage for TraceStorage {
    fn stage(&self) -> io::Result<Box<dyn Staged>> {
        let (inner, file) = (self.inner.stage()?, self.new_file());
        self.names.lock().unwrap().staged.insert(inner.token().to_owned(), file);
        Ok(Box::new(TraceStaged { inner, file, trace: self.trace.clone() }))
    }

    fn adopt(
        &self,
        staged: Box<dyn Staged>,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        let file = self.names.lock().unwrap().staged.remove(staged.token()).unwrap();
        if flush == Flush::Durable {
            staged.sync()?;
        }
        self.inner.adopt(staged, id, part, flush)?;
        self.name(file, (id, part), flush);
        Ok(())
    }

    fn create_part(&self, id: &UploadId, part: PartId, flush: Flush) -> io::Result<Box<dyn Blob>> {
        let inner = self.inner.create_part(id, part, flush)?;
        let file = self.new_file();
        self.name(file, (id, part), flush);
        Ok(self.blob(inner, file))
    }

    fn lend_part(
        &self,
        from: (&UploadId, PartId),
        to: (&UploadId, PartId),
        flush: Flush,
    ) -> io::Result<()> {
        self.inner.lend_part(from, to, flush)?;
        self.name(self.part(from.0, from.1), to, flush);
        Ok(())
    }

    fn open_part(&self, id: &UploadId, part: PartId) -> io::Result<Box<dyn Blob>> {
        let inner = self.inner.open_part(id, part)?;
        Ok(self.blob(inner, self.part(id, part)))
    }

    fn parts(&self, id: &UploadId) -> io::Result<Vec<StoredPart>> {
        self.inner.parts(id)
    }

    fn part_file(&self, id: &UploadId, part: PartId) -> io::Result<Option<StoredFile>> {
        self.inner.part_file(id, part)
    }

    fn remove_part(&self, id: &UploadId, part: PartId) -> io::Result<()> {
        self.inner.remove_part(id, part)?;
        self.trace.add(Step::RemovePart { id: id.clone(), part });
        Ok(())
    }

    fn remove_upload(&self, id: &UploadId) -> io::Result<()> {
        for stored in self.inner.parts(id)? {
            self.remove_part(id, stored.part)?;
        }
        self.inner.remove_upload(id)
    }

    fn sync_parts(&self, id: &UploadId, flush: Flush) -> io::Result<()> {
        self.flush_folder(id, flush);
        Ok(())
    }

    fn publish(
        &self,
        id: &UploadId,
        part: PartId,
        name: &FinalName,
        flush: Flush,
    ) -> io::Result<Published> {
        let file = self.part(id, part);
        let published = self.inner.publish(id, part, name, flush)?;
        if published == Published::Done {
            self.names.lock().unwrap().finished.insert(name.clone(), file);
            self.trace.add(Step::Publish { file, id: id.clone(), part, name: name.clone() });
            self.sync_finished(flush)?;
        }
        Ok(published)
    }

    fn finished_file(&self, name: &FinalName) -> io::Result<Option<StoredFile>> {
        self.inner.finished_file(name)
    }

    fn sync_finished(&self, flush: Flush) -> io::Result<()> {
        if flush == Flush::Durable {
            self.trace.add(Step::SyncFiles);
        }
        Ok(())
    }

    fn open_finished(&self, name: &FinalName) -> io::Result<Box<dyn Blob>> {
        self.inner.open_finished(name)
    }

    fn remove_finished(&self, name: &FinalName) -> io::Result<()> {
        self.inner.remove_finished(name)?;
        self.trace.add(Step::RemoveFinished { name: name.clone() });
        Ok(())
    }

    fn withdraw(
        &self,
        name: &FinalName,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        if self.inner.finished_file(name)?.is_none() {
            return Ok(());
        }
        self.inner.withdraw(name, id, part, flush)?;
        let file = self.names.lock().unwrap().finished.remove(name).unwrap();
        self.names.lock().unwrap().parts.insert((id.clone(), part), file);
        self.trace.add(Step::Withdraw { file, id: id.clone(), part, name: name.clone() });
        self.flush_folder(id, flush);
        self.sync_finished(flush)
    }

    fn uploads(&self) -> io::Result<Vec<StoredUpload>> {
        self.inner.uploads()
    }

    fn sweep_staging(&self, before: Timestamp) -> io::Result<usize> {
        self.inner.sweep_staging(before)
    }
}

#[derive(Debug)]
struct TraceBlob {
    inner: Box<dyn Blob>,
    file: FileNumber,
    trace: Trace,
}

#[derive(Debug)]
struct TraceStaged {
    inner: Box<dyn Staged>,
    file: FileNumber,
    trace: Trace,
}

/// Writes down a write as two steps.
fn written(trace: &Trace, file: FileNumber, bytes: &[u8], at: u64) {
    let (first, second) = bytes.split_at(bytes.len().div_ceil(2));
    for (bytes, at) in [(first, index(at)), (second, index(at) + first.len())] {
        if !bytes.is_empty() {
            trace.add(Step::Write { file, at, bytes: bytes.to_vec() });
        }
    }
}

macro_rules! traced_blob {
    ($name:ident) => {
        impl Blob for $name {
            fn size(&self) -> io::Result<u64> {
                self.inner.size()
            }

            fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
                self.inner.read_at(buffer, at)
            }

            fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
                self.inner.write_at(bytes, at)?;
                written(&self.trace, self.file, bytes, at);
                Ok(())
            }

            fn reserve(&self, range: Range<u64>) {
                self.inner.reserve(range);
            }

            fn write_back(&self, range: Range<u64>) {
                self.inner.write_back(range);
            }

            fn truncate(&self, size: u64) -> io::Result<()> {
                self.inner.truncate(size)?;
                self.trace.add(Step::Truncate { file: self.file, size: index(size) });
                Ok(())
            }

            fn sync(&self) -> io::Result<()> {
                self.trace.add(Step::SyncFile { file: self.file });
                Ok(())
            }
        }
    };
}

traced_blob!(TraceBlob);
traced_blob!(TraceStaged);

impl Staged for TraceStaged {
    fn as_blob(&self) -> &dyn Blob {
        self
    }

    fn token(&self) -> &str {
        self.inner.token()
    }
}

/// Ledgers in memory.
#[derive(Debug)]
pub(crate) struct TraceState {
    inner: Arc<MemoryState>,
    trace: Trace,
}

impl TraceState {
    pub(crate) fn new(inner: Arc<MemoryState>, trace: Trace) -> Self {
        Self { inner, trace }
    }

    fn flush(&self, id: &UploadId, flush: Flush) {
        if flush == Flush::Durable {
            self.trace.add(Step::SyncLedger { id: id.clone() });
        }
    }
}

impl State for TraceState {
    fn secret(&self) -> &IdSecret {
        self.inner.secret()
    }

    fn create(&self, manifest: Manifest, flush: Flush) -> Result<Versioned, StateError> {
        let created = self.inner.create(manifest.clone(), flush)?;
        let id = manifest.id.clone();
        self.trace.add(Step::Ledger { manifest: Box::new(manifest) });
        self.flush(&id, flush);
        Ok(created)
    }

    fn load(&self, id: &UploadId) -> Result<Versioned, StateError> {
        self.inner.load(id)
    }

    fn commit(
        &self,
        held: &Versioned,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, StateError> {
        let committed = self.inner.commit(held, facts, flush)?;
        let id = &held.record.manifest().id;
        if !facts.is_empty() {
            self.trace.add(Step::Facts { id: id.clone(), facts: facts.to_vec() });
        }
        self.flush(id, flush);
        Ok(committed)
    }

    // An empty file tells nothing, lost or not.
    fn claim(&self, id: &UploadId) -> Result<(), StateError> {
        self.inner.claim(id)
    }

    fn void(&self, id: &UploadId) -> Result<(), StateError> {
        self.inner.void(id)?;
        self.trace.add(Step::Void { id: id.clone() });
        Ok(())
    }

    fn forget(&self, id: &UploadId) -> Result<(), StateError> {
        self.inner.forget(id)?;
        self.trace.add(Step::Forget { id: id.clone() });
        Ok(())
    }

    fn family(&self, prefix: &str) -> Result<Vec<UploadId>, StateError> {
        self.inner.family(prefix)
    }

    fn list(&self, shard: Shard) -> Result<Vec<Listed>, StateError> {
        self.inner.list(shard)
    }

    // A hint that is compared with its ledger: no step that a crash could tear.
    fn note_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        self.inner.note_holder(content, id)
    }

    fn holders(&self, content: &ContentKey) -> Result<Vec<UploadId>, StateError> {
        self.inner.holders(content)
    }

    fn drop_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        self.inner.drop_holder(content, id)
    }

    fn cool_down(&self) {
        self.inner.cool_down();
    }
}
