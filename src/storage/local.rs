//! Bytes as files of one data directory.
//!
//! ```text
//! {data_dir}/uploads/{id}/{k}.part   bytes of unfinished uploads
//! {data_dir}/uploads/{id}.part       bytes that came all at once, until they are a file
//! {data_dir}/files/{name}            finished files; nothing unfinished is ever seen here
//! {data_dir}/tmp/{token}             staging, on the same file system: adopting is a rename
//! ```

mod file;
mod reader;

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    num::NonZeroU64,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use self::file::{LocalFile, LocalStaged};
pub use self::reader::{FoundPart, LocalReader, Place};
use super::{Blob, Published, Staged, Storage, StoredFile, StoredPart, StoredUpload};
use crate::{
    durable::{self, Flush, SharedFolder},
    upload::{FileMark, FinalName, PartId, Timestamp, UploadId},
};

/// Keeps bytes below one data directory. Nothing is opened, listed or remembered before it is asked
/// for.
#[derive(Debug)]
pub struct LocalStorage {
    uploads: PathBuf,
    files: PathBuf,
    staging: PathBuf,
    /// Folders that appeared in `uploads/` so far. One more than seen: an earlier process may have
    /// left some that no fsync has reached.
    folders_made: AtomicU64,
    /// How many of them are on the disk.
    folders_synced: AtomicU64,
    upload_names: SharedFolder,
    file_names: SharedFolder,
}

impl LocalStorage {
    /// Makes the three folders where they are missing.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = |name| data_dir.join(name);
        let (uploads, files, staging) = (folder("uploads"), folder("files"), folder("tmp"));
        for folder in [&uploads, &files, &staging] {
            fs::create_dir_all(folder)?;
        }
        durable::sync_folder(data_dir)?;
        let (folders_made, folders_synced) = (AtomicU64::new(1), AtomicU64::new(0));
        let [upload_names, file_names] =
            [&uploads, &files].map(|folder| SharedFolder::new(folder.clone()));
        Ok(Self { uploads, files, staging, folders_made, folders_synced, upload_names, file_names })
    }

    fn folder(&self, id: &UploadId) -> PathBuf {
        child(&self.uploads, id.as_str())
    }

    fn part(&self, id: &UploadId, part: PartId) -> PathBuf {
        part_path(&self.uploads, id, part)
    }

    fn finished(&self, name: &FinalName) -> PathBuf {
        child(&self.files, name.as_str())
    }

    /// Puts something into an upload's folder. Tries first and makes the folder only when it is
    /// missing: most parts are not their upload's first.
    fn put<T>(
        &self,
        (id, part): (&UploadId, PartId),
        put: impl Fn(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let path = self.part(id, part);
        match put(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && part != PartId::WHOLE => {}
            done => return done,
        }
        let folder = self.folder(id);
        let made = self.make_folder(&folder)?;
        let done = put(&path);
        if made && done.is_err() {
            // An error leaves everything as it was. If this fails too, an empty folder harms
            // nobody.
            let _ = durable::remove_folder(&folder);
        }
        done
    }

    /// `false` if it was there.
    fn make_folder(&self, folder: &Path) -> io::Result<bool> {
        match fs::create_dir(folder) {
            Ok(()) => {
                self.folders_made.fetch_add(1, Ordering::AcqRel);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts the name of a part on the disk.
    fn flush_name(&self, id: &UploadId, part: PartId, flush: Flush) -> io::Result<()> {
        match (flush, part) {
            (Flush::Lazy, _) => Ok(()),
            (Flush::Durable, PartId::WHOLE) => durable::sync_folder(&self.uploads),
            (Flush::Durable, _) => self.flush_folder(id),
        }
    }

    /// Puts the names in an upload's folder, and the folder's own, on the disk.
    fn flush_folder(&self, id: &UploadId) -> io::Result<()> {
        durable::sync_folder(&self.folder(id))?;
        let made = self.folders_made.load(Ordering::Acquire);
        if self.folders_synced.load(Ordering::Acquire) < made {
            self.upload_names.sync()?;
            self.folders_synced.fetch_max(made, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl Storage for LocalStorage {
    fn stage(&self) -> io::Result<Box<dyn Staged>> {
        let token = random_token()?;
        assert!(is_token(&token), "a token of ours must be found again by the sweep");
        let path = child(&self.staging, &token);
        Ok(Box::new(LocalStaged::create(path, token)?))
    }

    fn adopt(
        &self,
        staged: Box<dyn Staged>,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        if !is_token(staged.token()) {
            return Err(ErrorKind::InvalidInput.into());
        }
        if flush == Flush::Durable {
            staged.sync()?;
        }
        let from = child(&self.staging, staged.token());
        self.put((id, part), |path| durable::place(&from, path))?;
        self.flush_name(id, part, flush)
    }

    fn create_part(&self, id: &UploadId, part: PartId, flush: Flush) -> io::Result<Box<dyn Blob>> {
        let file = self.put((id, part), LocalFile::create)?;
        self.flush_name(id, part, flush)?;
        Ok(Box::new(file))
    }

    fn lend_part(
        &self,
        (lender, part): (&UploadId, PartId),
        (borrower, name): (&UploadId, PartId),
        flush: Flush,
    ) -> io::Result<()> {
        let from = self.part(lender, part);
        self.put((borrower, name), |path| durable::link(&from, path))?;
        self.flush_name(borrower, name, flush)
    }

    fn open_part(&self, id: &UploadId, part: PartId) -> io::Result<Box<dyn Blob>> {
        Ok(Box::new(LocalFile::open(&self.part(id, part))?))
    }

    fn parts(&self, id: &UploadId) -> io::Result<Vec<StoredPart>> {
        let mut parts = Vec::new();
        for (entry, part) in part_entries(&self.folder(id))? {
            if entry.file_type()?.is_file()
                && let Some(metadata) = unless_gone(entry.metadata())?
            {
                parts.push(StoredPart { part, size: metadata.len() });
            }
        }
        let whole = plain_size(&self.part(id, PartId::WHOLE))?;
        parts.extend(whole.map(|size| StoredPart { part: PartId::WHOLE, size }));
        parts.sort_unstable_by_key(|stored| stored.part);
        Ok(parts)
    }

    fn part_file(&self, id: &UploadId, part: PartId) -> io::Result<Option<StoredFile>> {
        stored_file(&self.part(id, part))
    }

    fn remove_part(&self, id: &UploadId, part: PartId) -> io::Result<()> {
        durable::remove_file(&self.part(id, part))?;
        Ok(())
    }

    fn remove_upload(&self, id: &UploadId) -> io::Result<()> {
        remove_if_there(&self.part(id, PartId::WHOLE), durable::remove_file)?;
        let folder = self.folder(id);
        match remove_if_there(&folder, durable::remove_folder) {
            Err(error) if is_foreign(error.kind()) => {}
            removed => return removed,
        }
        for (entry, _) in part_entries(&folder)? {
            if !entry.file_type()?.is_dir() {
                durable::remove_file(&entry.path())?;
            }
        }
        match durable::remove_folder(&folder) {
            // Somebody keeps things of their own in it, or in its place.
            Err(error) if is_foreign(error.kind()) => Ok(()),
            removed => removed.map(|_| ()),
        }
    }

    fn sync_parts(&self, id: &UploadId, flush: Flush) -> io::Result<()> {
        if flush == Flush::Lazy {
            return Ok(());
        }
        match self.flush_folder(id) {
            // Without a folder its part lies beside those of others, if there is one.
            Err(error) if error.kind() == ErrorKind::NotFound => self.upload_names.sync(),
            flushed => flushed,
        }
    }

    fn publish(
        &self,
        id: &UploadId,
        part: PartId,
        name: &FinalName,
        flush: Flush,
    ) -> io::Result<Published> {
        let from = self.part(id, part);
        // A rename would publish anything, a link to somewhere else included.
        if !fs::symlink_metadata(&from)?.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        match durable::publish(&from, &self.finished(name)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(Published::NameTaken);
            }
            done => done?,
        }
        // The same rename took the part's name away.
        self.sync_finished(flush)?;
        Ok(Published::Done)
    }

    fn finished_file(&self, name: &FinalName) -> io::Result<Option<StoredFile>> {
        stored_file(&self.finished(name))
    }

    fn sync_finished(&self, flush: Flush) -> io::Result<()> {
        match flush {
            Flush::Lazy => Ok(()),
            Flush::Durable => self.file_names.sync(),
        }
    }

    fn open_finished(&self, name: &FinalName) -> io::Result<Box<dyn Blob>> {
        Ok(Box::new(LocalFile::open_to_read(&self.finished(name))?))
    }

    fn remove_finished(&self, name: &FinalName) -> io::Result<()> {
        let path = self.finished(name);
        // Whatever else has the name by now is not ours.
        if plain_size(&path)?.is_some() {
            durable::remove_file(&path)?;
        }
        Ok(())
    }

    fn withdraw(
        &self,
        name: &FinalName,
        id: &UploadId,
        part: PartId,
        flush: Flush,
    ) -> io::Result<()> {
        let from = self.finished(name);
        // Whatever else has the name by now is not ours.
        if plain_size(&from)?.is_none() {
            return Ok(());
        }
        self.put((id, part), |path| durable::publish(&from, path))?;
        self.flush_name(id, part, flush)?;
        self.sync_finished(flush)
    }

    fn uploads(&self) -> io::Result<Vec<StoredUpload>> {
        let mut found: BTreeMap<UploadId, Timestamp> = BTreeMap::new();
        for entry in fs::read_dir(&self.uploads)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((id, form)) = name.to_str().and_then(upload_of) else { continue };
            if let Some(metadata) = unless_gone(entry.metadata())?.filter(|about| form.fits(about))
            {
                let changed = Timestamp::from(metadata.modified()?);
                let last = found.entry(id).or_insert(changed);
                *last = changed.max(*last);
            }
        }
        let stored = |(id, changed)| StoredUpload { id, changed };
        Ok(found.into_iter().map(stored).collect())
    }

    fn sweep_staging(&self, before: Timestamp) -> io::Result<usize> {
        let mut swept = 0;
        for entry in fs::read_dir(&self.staging)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(is_token) {
                continue;
            }
            let Some(metadata) = unless_gone(entry.metadata())?.filter(fs::Metadata::is_file)
            else {
                continue;
            };
            let stale = Timestamp::from(metadata.modified()?) < before;
            if stale
                && !LocalStaged::is_in_use(&entry.path())
                && durable::remove_file(&entry.path())?
            {
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// The path of `name` in `folder`. The names are checked types; this is the second lock on the same
/// door.
fn child(folder: &Path, name: &str) -> PathBuf {
    let mut segments = Path::new(name).components();
    let one = segments.next() == Some(Component::Normal(name.as_ref()));
    assert!(one && segments.next().is_none(), "a name is one path segment");
    folder.join(name)
}

/// Where a part lies below `uploads`.
fn part_path(uploads: &Path, id: &UploadId, part: PartId) -> PathBuf {
    match part {
        PartId::WHOLE => child(uploads, &format!("{id}{WHOLE}")),
        _ => child(&child(uploads, id.as_str()), &part.to_string()),
    }
}

/// What the name of a part ends with that lies beside the folders.
const WHOLE: &str = ".part";

/// As what the bytes of an upload lie in `uploads/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Folder,
    Whole,
}

impl Form {
    fn fits(self, found: &fs::Metadata) -> bool {
        match self {
            Self::Folder => found.is_dir(),
            Self::Whole => found.is_file(),
        }
    }
}

/// Whose bytes lie under a name in `uploads/`; `None` for foreign names.
fn upload_of(name: &str) -> Option<(UploadId, Form)> {
    let (id, form) = match name.strip_suffix(WHOLE) {
        Some(id) => (id, Form::Whole),
        None => (name, Form::Folder),
    };
    Some((UploadId::parse(id).ok()?, form))
}

/// Removes what may be missing. Tries at once, since asking first costs as much; but a disk that
/// cannot be written refuses to remove what is not there, too.
fn remove_if_there(path: &Path, remove: fn(&Path) -> io::Result<bool>) -> io::Result<()> {
    match remove(path) {
        Err(_) if unless_gone(fs::symlink_metadata(path))?.is_none() => Ok(()),
        removed => removed.map(|_| ()),
    }
}

/// Whatever is named like a part in an upload's folder, in no order; nothing where the folder is
/// missing or a link.
fn part_entries(folder: &Path) -> io::Result<Vec<(DirEntry, PartId)>> {
    if !unless_gone(fs::symlink_metadata(folder))?.is_some_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in unless_gone(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        let part = entry.file_name().to_str().and_then(PartId::parse);
        // That one lies beside the folders, never in one.
        if let Some(part) = part.filter(|part| *part != PartId::WHOLE) {
            found.push((entry, part));
        }
    }
    Ok(found)
}

/// Bytes of a plain file; `None` for whatever else is there, or nothing.
fn plain_size(path: &Path) -> io::Result<Option<u64>> {
    Ok(plain_file(path)?.map(|metadata| metadata.len()))
}

fn stored_file(path: &Path) -> io::Result<Option<StoredFile>> {
    let found = plain_file(path)?;
    Ok(found.map(|found| StoredFile { size: found.len(), mark: mark_of(&found) }))
}

fn plain_file(path: &Path) -> io::Result<Option<fs::Metadata>> {
    Ok(unless_gone(fs::symlink_metadata(path))?.filter(fs::Metadata::is_file))
}

/// What tells a file from others.
pub(super) fn mark_of(metadata: &fs::Metadata) -> Option<FileMark> {
    let nanos = |time: io::Result<SystemTime>| {
        let since = time.ok()?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    };
    Some(FileMark {
        inode: NonZeroU64::new(metadata.ino())?,
        born: nanos(metadata.created()).unwrap_or(0),
        modified: nanos(metadata.modified()).unwrap_or(0),
    })
}

/// `None` for what somebody else removed since it was listed.
fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

const fn is_foreign(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory)
}

const TOKEN_DIGITS: usize = 32;

/// 16 random bytes as lower-case hex.
fn random_token() -> io::Result<String> {
    let mut bytes = [0; TOKEN_DIGITS / 2];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn is_token(name: &str) -> bool {
    name.len() == TOKEN_DIGITS
        && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests;
