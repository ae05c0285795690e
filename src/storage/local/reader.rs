//! Bytes as they lie there, for whoever looks beside a server: it makes no folder, and can write
//! nothing.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{LocalFile, child, is_token, part_entries, part_path, unless_gone, upload_of};
use crate::{
    storage::Blob,
    upload::{FinalName, PartId, UploadId},
};

/// Reads the bytes below one data directory.
#[derive(Debug, Clone)]
pub struct LocalReader {
    uploads: PathBuf,
    files: PathBuf,
    staging: PathBuf,
}

/// Whatever is named like a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundPart {
    /// Its name.
    pub part: PartId,
    /// What lies there.
    pub place: Place,
}

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Empty,
    /// A plain file of so many bytes.
    File(u64),
    /// A link, a folder, or something else that no bytes are taken from.
    Strange,
}

impl LocalReader {
    /// Over a data directory. Opens nothing.
    pub fn new(data_dir: &Path) -> Self {
        let folder = |name| data_dir.join(name);
        Self { uploads: folder("uploads"), files: folder("files"), staging: folder("tmp") }
    }

    /// Whatever is named like a part of this upload, in order of the names' numbers.
    pub fn parts(&self, id: &UploadId) -> io::Result<Vec<FoundPart>> {
        let mut found = Vec::new();
        for (entry, part) in part_entries(&child(&self.uploads, id.as_str()))? {
            match place(&entry.path())? {
                Place::Empty => {}
                place => found.push(FoundPart { part, place }),
            }
        }
        match place(&part_path(&self.uploads, id, PartId::WHOLE))? {
            Place::Empty => {}
            place => found.push(FoundPart { part: PartId::WHOLE, place }),
        }
        found.sort_unstable_by_key(|found| found.part);
        Ok(found)
    }

    /// What lies under the name of a finished file.
    pub fn finished(&self, name: &FinalName) -> io::Result<Place> {
        place(&child(&self.files, name.as_str()))
    }

    /// A part, to read; `NotFound` if it is not there.
    pub fn open_part(&self, id: &UploadId, part: PartId) -> io::Result<Box<dyn Blob>> {
        Ok(Box::new(LocalFile::open_to_read(&part_path(&self.uploads, id, part))?))
    }

    /// A finished file, to read; `NotFound` if it is not there.
    pub fn open_finished(&self, name: &FinalName) -> io::Result<Box<dyn Blob>> {
        Ok(Box::new(LocalFile::open_to_read(&child(&self.files, name.as_str()))?))
    }

    /// The uploads that have a folder, or a part beside the folders, in no order; foreign files and
    /// folders are passed over.
    pub fn uploads(&self) -> io::Result<impl Iterator<Item = io::Result<UploadId>>> {
        let id = |name: OsString| upload_of(name.to_str()?).map(|(id, _)| id);
        Ok(names(&self.uploads)?.filter_map(move |name| name.map(id).transpose()))
    }

    /// What this upload has in `uploads/`, by its name there.
    pub fn remains(&self, id: &UploadId) -> io::Result<Option<String>> {
        let folder = unless_gone(fs::symlink_metadata(child(&self.uploads, id.as_str())))?;
        if folder.is_some_and(|found| found.is_dir()) {
            return Ok(Some(id.to_string()));
        }
        let whole = part_path(&self.uploads, id, PartId::WHOLE);
        let name = whole.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        Ok(name.filter(|_| matches!(place(&whole), Ok(Place::File(_)))))
    }

    /// The names of finished files, in no order; names that no upload can have are passed over.
    pub fn files(&self) -> io::Result<impl Iterator<Item = io::Result<FinalName>>> {
        let parse = |name: OsString| FinalName::parse(name.to_str()?).ok();
        Ok(names(&self.files)?.filter_map(move |name| name.map(parse).transpose()))
    }

    /// Staged files: how many, and their bytes.
    pub fn staged(&self) -> io::Result<(u64, u64)> {
        let (mut count, mut bytes) = (0_u64, 0_u64);
        for name in names(&self.staging)? {
            let name = name?;
            let Some(token) = name.to_str().filter(|name| is_token(name)) else { continue };
            if let Place::File(size) = place(&child(&self.staging, token))? {
                count = count.saturating_add(1);
                bytes = bytes.saturating_add(size);
            }
        }
        Ok((count, bytes))
    }
}

/// The names in a folder; none where it is missing.
fn names(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<OsString>> + use<>> {
    let entries = unless_gone(fs::read_dir(folder))?;
    Ok(entries.into_iter().flatten().map(|entry| Ok(entry?.file_name())))
}

fn place(path: &Path) -> io::Result<Place> {
    Ok(match unless_gone(fs::symlink_metadata(path))? {
        None => Place::Empty,
        Some(found) if found.is_file() => Place::File(found.len()),
        Some(_) => Place::Strange,
    })
}
