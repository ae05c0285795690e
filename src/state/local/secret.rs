//! The secret of a data directory: made once, never overwritten.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::{bytes::random, folder::has_ledgers};
use crate::{durable, upload::IdSecret};

const NAME: &str = "secret";

/// Reads `{root}/secret`; makes it first where there is none. Two processes that start at once get
/// the same one. `InvalidData` if it has not 32 bytes: another one would orphan every upload whose
/// id was derived under it.
pub(super) fn obtain(root: &Path) -> io::Result<IdSecret> {
    let path = root.join(NAME);
    if !path.try_exists()? {
        if has_ledgers(root)? {
            tracing::error!(
                path = %path.display(),
                "the secret is gone: index clients find nothing that was begun under it"
            );
        }
        make(root, &path)?;
    }
    // Also where another process made it a moment ago: an id that was handed out needs its secret
    // for good.
    durable::sync_folder(root)?;
    read(root)
}

/// Reads `{root}/secret`; `NotFound` where there is none, `InvalidData` if it has not 32 bytes.
pub(super) fn read(root: &Path) -> io::Result<IdSecret> {
    let path = root.join(NAME);
    let bytes = fs::read(&path)?.try_into().map_err(|_| {
        let what = format!("{} does not have 32 bytes", path.display());
        io::Error::new(ErrorKind::InvalidData, what)
    })?;
    Ok(IdSecret::new(bytes))
}

fn make(root: &Path, path: &Path) -> io::Result<()> {
    let secret: [u8; 32] = random()?;
    let staged = root.join(format!("{NAME}-{:016x}.new", u64::from_le_bytes(random()?)));
    // For its owner alone: who knows it can tell the ids of uploads from hashes and names.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    file.write_all(&secret)?;
    durable::sync_data(&file)?;
    match durable::publish(&staged, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            durable::remove_file(&staged).map(drop)
        }
        published => published,
    }
}
