//! The lock between processes: `flock` on the ledger.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::PathBuf,
    sync::Arc,
};

use rustix::fs::OFlags;

use crate::upload::UploadId;

/// Held until dropped; the kernel drops it when the process dies.
#[derive(Debug)]
pub struct FileLock(Option<Arc<File>>);

impl Drop for FileLock {
    fn drop(&mut self) {
        // Others may have the file open, and closing it unlocks only with the last of them.
        if let Some(file) = &self.0 {
            let _ = file.unlock();
        }
    }
}

impl FileLock {
    /// For an upload that no other process can know yet.
    pub const fn needless() -> Self {
        Self(None)
    }
}

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

    /// The same, where it is open. Whoever asks has the upload in this process, so no two share the
    /// lock of one open file.
    fn at_hand(&self, id: &UploadId) -> Option<Arc<File>> {
        let _ = id;
        None
    }
}

impl<F: LedgerPath> ProcessLocks for LedgerLocks<F> {
    /// A ledger that was removed while its lock was waited for is no ledger any more: the locked
    /// file must still be the one at its path.
    fn try_lock(&self, id: &UploadId) -> Result<FileLock, LockError> {
        if let Some(file) = self.0.at_hand(id) {
            let lock = lock(file)?;
            if lock.is_named()? {
                return Ok(lock);
            }
        }
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
            let locked = file.metadata()?;
            let lock = lock(Arc::new(file))?;
            match fs::metadata(&path) {
                Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {
                    return Ok(lock);
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

fn lock(file: Arc<File>) -> Result<FileLock, LockError> {
    match file.try_lock() {
        Ok(()) => Ok(FileLock(Some(file))),
        Err(TryLockError::WouldBlock) => Err(LockError::Held),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

impl FileLock {
    /// Has the locked file a name still?
    fn is_named(&self) -> io::Result<bool> {
        let links = self.0.as_ref().map(|file| file.metadata()).transpose()?;
        Ok(links.is_none_or(|found| found.nlink() > 0))
    }
}
