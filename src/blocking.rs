//! The only door to the blocking threads: no async thread touches the disk.

use std::panic;

use tokio::task;

/// Runs `work` on a blocking thread. A panic in it goes on in the caller. The work itself cannot be
/// cancelled: when the caller is dropped, it still runs to its end.
pub async fn run<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => panic::resume_unwind(error.into_panic()),
    }
}

/// Drops `left` on a blocking thread, where there are any; else here.
pub fn discard<T: Send + 'static>(left: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(left))),
        Err(_) => drop(left),
    }
}
