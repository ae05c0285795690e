//! The buffers between sockets and disk: few, reused, and bounded for the whole process.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use super::sync::{
    tasks::{OwnedSemaphorePermit, Semaphore},
    threads::{Mutex, MutexGuard},
};

/// Bytes of one buffer: large enough that a write costs little more than its copy, small enough
/// that it is still in the processor's cache when it is hashed.
pub(super) const BUFFER: usize = 512 * 1024;

/// All buffers of the process.
pub(super) struct BufferPool {
    permits: Arc<Semaphore>,
    all: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// As many buffers as fit into `budget` bytes, at least four.
    pub(super) fn new(budget: u64) -> Arc<Self> {
        let fit = usize::try_from(budget).unwrap_or(usize::MAX) / BUFFER;
        let all = fit.clamp(4, Semaphore::MAX_PERMITS);
        Arc::new(Self { permits: Arc::new(Semaphore::new(all)), all, free: Mutex::default() })
    }

    /// A buffer, as soon as one is free; in the order of asking.
    pub(super) async fn take(self: &Arc<Self>) -> Buffer {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let reused = self.free().pop();
        let bytes = reused.unwrap_or_else(|| Vec::with_capacity(BUFFER));
        Buffer { bytes, pool: self.clone(), _permit: permit }
    }

    /// Buffers in use, and buffers that there may be.
    pub(super) fn usage(&self) -> (usize, usize) {
        let free = self.permits.available_permits();
        (self.all.saturating_sub(free), self.all)
    }

    /// Buffers that were made and are not in use.
    #[cfg(test)]
    #[allow(dead_code, reason = "asked for where this file is compiled over shuttle")]
    pub(super) fn kept(&self) -> usize {
        self.free().len()
    }

    /// Are others waiting for a buffer?
    pub(super) fn is_short(&self) -> bool {
        self.permits.available_permits() == 0
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").finish_non_exhaustive()
    }
}

/// One buffer; goes back to the pool when dropped.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<BufferPool>,
    _permit: OwnedSemaphorePermit,
}

impl Buffer {
    /// Copies as much of `bytes` as there is room for; gives back the rest.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = BUFFER.saturating_sub(self.bytes.len());
        let (now, rest) = bytes.split_at(bytes.len().min(room));
        self.bytes.extend_from_slice(now);
        rest
    }

    /// Is there no room left?
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BUFFER
    }
}

/// What was copied.
impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.pool.free().push(bytes);
    }
}
