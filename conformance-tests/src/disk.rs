//! What lies in a data folder.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::digest::{length, sha256_hex};

/// Each file below a folder: its path, size and SHA-256.
pub(crate) type Snapshot = BTreeMap<PathBuf, (u64, String)>;

/// All files below `folder`; a folder that is not there holds none.
pub(crate) fn snapshot(folder: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    for path in files_below(folder) {
        // A file may go while we look.
        if let Ok(bytes) = fs::read(&path) {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_owned();
            found.insert(name, (length(&bytes), sha256_hex(&bytes)));
        }
    }
    found
}

/// The paths of all files below `folder`, in order.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

/// What the disk gave to all files below `folder`, reserved or written.
pub(crate) fn taken_below(folder: &Path) -> u64 {
    let all = files_below(folder).into_iter().filter_map(|path| fs::metadata(path).ok());
    // Whatever a file system's blocks are, the count is one of 512 bytes.
    all.map(|metadata| metadata.blocks() * 512).sum()
}
