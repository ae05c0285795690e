//! The only door to the blocking threads: no async thread touches the disk.

use std::panic;

use tokio::task::{self, JoinHandle};

/// Work on a blocking thread. It cannot be cancelled: when this is dropped, it still runs to its
/// end.
#[derive(Debug)]
pub struct Running<T>(JoinHandle<T>);

impl<T> Running<T> {
    /// What it came to. A panic in it goes on in the caller.
    pub async fn end(self) -> T {
        match self.0.await {
            Ok(done) => done,
            Err(error) => panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Begins `work` on a blocking thread.
pub fn start<T, F>(work: F) -> Running<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Running(task::spawn_blocking(work))
}

/// Runs `work` on a blocking thread to its end.
pub async fn run<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    start(work).end().await
}

/// Drops `left` on a blocking thread, where there are any; else here.
pub fn discard<T: Send + 'static>(left: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(left))),
        Err(_) => drop(left),
    }
}
