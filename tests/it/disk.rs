//! What lies in a data folder.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::digest::sha256_hex;

/// Each file below a folder: its path, size and SHA-256.
pub type Snapshot = BTreeMap<PathBuf, (u64, String)>;

/// All files below `folder`; a folder that is not there holds none.
pub fn snapshot(folder: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    for path in files_below(folder) {
        // A file may go while we look.
        if let Ok(bytes) = fs::read(&path) {
            let name = path.strip_prefix(folder).unwrap().to_owned();
            found.insert(name, (bytes.len() as u64, sha256_hex(&bytes)));
        }
    }
    found
}

/// The paths of all files below `folder`, in order.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return found,
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    for entry in entries.map(Result::unwrap) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

/// The sum of the sizes of all files below `folder`.
pub fn bytes_below(folder: &Path) -> u64 {
    let sizes = files_below(folder).into_iter().filter_map(|path| fs::metadata(path).ok());
    sizes.map(|metadata| metadata.len()).sum()
}

/// What the disk gave to all files below `folder`, reserved or written.
pub fn taken_below(folder: &Path) -> u64 {
    let all = files_below(folder).into_iter().filter_map(|path| fs::metadata(path).ok());
    // Whatever a file system's blocks are, the count is one of 512 bytes.
    all.map(|metadata| metadata.blocks() * 512).sum()
}
