//! Exclusive hold of an upload: one writer, and the newcomer wins.
//!
//! Two locks in a row. In this process a fair queue per upload, with a signal that asks the holder
//! to leave; against other processes `flock` on the ledger, which the kernel releases when a
//! process dies. The in-process lock never blocks a thread; the file lock is taken on a blocking
//! thread by whoever has the first.

mod file;
mod queue;
#[cfg(test)]
mod tests;

pub use self::{
    file::{FileLock, LedgerLocks, LedgerPath, LockError, NoFileLocks, ProcessLocks},
    queue::{Busy, LeaveSignal, Locks, Manner, UploadGuard},
};
use crate::sync;
