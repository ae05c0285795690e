//! How a ledger's file comes to be, with a whole header or not at all.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    thread,
    time::Duration,
};

use rustix::fs::OFlags;

use super::header;
use crate::{durable, state::StateError};

/// How often a creation looks again at a file whose header somebody else is writing.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Bytes of a ledger that was voided. No beginning that was torn has so few, and no end.
pub(super) const VOIDED: u64 = 1;

/// The empty file of a new ledger, with an exclusive flock. `Exists` if a whole header is there
/// already, `Held` where there is none and somebody else keeps the lock.
///
/// A header is written only under the file's lock and only where none is: a creation that is still
/// on its way looks like one that was torn, and must not lose its file to another one. The file is
/// filled in place, not replaced. One that was voided goes instead: others may have it open, and
/// are to see that theirs lost its name.
pub(super) fn lock_empty(path: &Path) -> Result<File, StateError> {
    for _ in 0..ATTEMPTS {
        let Some((file, origin)) = open_or_create(path)? else {
            continue;
        };
        if origin == Origin::Found && has_header(&file)? {
            return Err(StateError::Exists);
        }
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                thread::sleep(PAUSE);
                continue;
            }
            locked => locked.map_err(io::Error::from)?,
        }
        let metadata = file.metadata()?;
        if metadata.nlink() == 0 {
            continue;
        }
        if metadata.size() == 0 {
            return Ok(file);
        }
        if has_header(&file)? {
            return Err(StateError::Exists);
        }
        if metadata.size() == VOIDED {
            durable::remove_file(path)?;
            continue;
        }
        file.set_len(0)?;
        return Ok(file);
    }
    Err(StateError::Held)
}

/// Makes the file of a ledger that is not begun, where there is none.
pub(super) fn claim(path: &Path) -> Result<(), StateError> {
    for _ in 0..ATTEMPTS {
        if open_or_create(path)?.is_some() {
            return Ok(());
        }
    }
    Err(StateError::Held)
}

/// Cuts a ledger to what nobody takes for one. That needs no room on the disk, and an end that was
/// torn, or an accident, leaves something else. For whoever has its lock.
pub(super) fn void(path: &Path, cut: fn(&File, u64) -> io::Result<()>) -> io::Result<()> {
    // Waits for nobody, whatever lies in its place.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    match OpenOptions::new().write(true).custom_flags(nonblocking).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        // Where blocks are shared with a copy, a full disk may have no room for the rest of one.
        Ok(file) => cut(&file, VOIDED).or_else(|_| cut(&file, 0)),
    }
}

/// Was a file made, or was it there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Made,
    Found,
}

/// Opens the file, which is made where there is none; `None` if it went in between.
fn open_or_create(path: &Path) -> io::Result<Option<(File, Origin)>> {
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options
    };
    match options().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match options().open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(|file| Some((file, Origin::Found))),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let shard = path.parent().ok_or(ErrorKind::InvalidInput)?;
            match fs::create_dir(shard) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(None),
            }
        }
        opened => opened.map(|file| Some((file, Origin::Made))),
    }
}

/// Is there a header that is not torn? A damaged one is there, too.
fn has_header(file: &File) -> Result<bool, StateError> {
    match header::read(file, file.metadata()?.size()) {
        Ok(None) => Ok(false),
        Ok(Some(_)) | Err(StateError::Damaged { .. } | StateError::Newer { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}
