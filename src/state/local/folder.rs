//! Where ledgers lie: `{root}/{shard}/{id}.ledger`.

use std::{
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::{state::Shard, upload::UploadId};

const EXTENSION: &str = ".ledger";

/// Where the ledger of an upload lies below the state folder `root`. Whoever changes the upload
/// holds the flock of this file.
pub fn ledger_path(root: &Path, id: &UploadId) -> PathBuf {
    root.join(id.shard()).join(format!("{id}{EXTENSION}"))
}

/// The ledgers of a shard, in no order; foreign names are passed over.
pub(super) fn ledgers(
    root: &Path,
    shard: Shard,
) -> io::Result<impl Iterator<Item = io::Result<(UploadId, DirEntry)>>> {
    let entries = match fs::read_dir(root.join(shard.to_string())) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    let ledger = |entry: io::Result<DirEntry>| match entry {
        Ok(entry) => id_of(&entry).map(|id| Ok((id, entry))),
        Err(error) => Some(Err(error)),
    };
    Ok(entries.into_iter().flatten().filter_map(ledger))
}

fn id_of(entry: &DirEntry) -> Option<UploadId> {
    let name = entry.file_name();
    UploadId::parse(name.to_str()?.strip_suffix(EXTENSION)?).ok()
}

/// Is there any ledger?
pub(super) fn has_ledgers(root: &Path) -> io::Result<bool> {
    for shard in Shard::all() {
        let first = ledgers(root, shard)?.next().transpose()?;
        if first.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
