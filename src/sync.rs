//! What tasks and threads wait for each other with. The files that do so by rules of their own name
//! it as `super::sync`, so that their tests can run the same lines under shuttle, which tries the
//! orders in which they may meet (`testing/interleaved`).

/// Between threads, for moments.
pub(crate) mod threads {
    pub(crate) use std::sync::{Mutex, MutexGuard, mpsc};
}

/// Between threads, for counts.
pub(crate) mod atomics {
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
}

/// Between tasks, which do not block.
pub(crate) mod tasks {
    pub(crate) use tokio::{
        sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc, watch},
        time::{sleep, timeout},
    };
}
