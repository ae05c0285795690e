//! The lock between processes: `flock` on the ledger.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::PathBuf,
};

use rustix::fs::OFlags;

use crate::upload::UploadId;

/// Held until dropped; the kernel drops it when the process dies.
#[derive(Debug)]
pub struct FileLock(
    #[allow(dead_code, reason = "kept open: closing it is what unlocks")] Option<File>,
);

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another process holds the upload")]
    Held,
    /// There is nothing to lock.
    #[error("no such upload")]
    Unknown,
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Excludes other processes from an upload. The calls block for a moment, never for a holder.
pub trait ProcessLocks: Debug + Send + Sync + 'static {
    /// The lock of this upload, if no other process has it.
    fn try_lock(&self, id: &UploadId) -> Result<FileLock, LockError>;
}

/// For states that other processes cannot see.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFileLocks;

impl ProcessLocks for NoFileLocks {
    fn try_lock(&self, _: &UploadId) -> Result<FileLock, LockError> {
        Ok(FileLock(None))
    }
}

/// `flock` on ledger files.
#[derive(Debug)]
pub struct LedgerLocks<F>(F);

impl<F> LedgerLocks<F> {
    /// `path` says where an upload's ledger lies.
    pub const fn new(path: F) -> Self {
        Self(path)
    }
}

/// Where an upload's ledger lies.
pub trait LedgerPath: Debug + Send + Sync + 'static {
    /// The file.
    fn path(&self, id: &UploadId) -> PathBuf;
}

impl<F: LedgerPath> ProcessLocks for LedgerLocks<F> {
    /// A ledger that was removed while its lock was waited for is no ledger any more: the locked
    /// file must still be the one at its path.
    fn try_lock(&self, id: &UploadId) -> Result<FileLock, LockError> {
        let path = self.0.path(id);
        loop {
            // Waits for nobody, whatever lies in the ledger's place.
            let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
            let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(LockError::Unknown);
                }
                Err(error) => return Err(error.into()),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            let locked = file.metadata()?;
            match fs::metadata(&path) {
                Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {
                    return Ok(FileLock(Some(file)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(LockError::Unknown);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
