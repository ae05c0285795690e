//! The only door to the disk: blocking threads, and spots for work that is over in a moment.

mod spots;

use std::panic;

use tokio::task::{self, JoinHandle};

pub use self::spots::Spots;

/// Work on a blocking thread. It cannot be cancelled: when this is dropped, it still runs to its
/// end.
#[derive(Debug)]
pub struct Running<T>(JoinHandle<T>);

/// How long work takes on a disk that is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Microseconds: a few calls that the page cache answers, at most some 64 KiB that are hashed
    /// and written. Nothing of it waits for a flush.
    Moment,
    /// Perhaps longer.
    Open,
}

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

/// Runs `work` to its end: what takes a moment on the spot, if one is free, anything else on a
/// blocking thread. To wake another thread and be woken by it takes longer than a moment.
pub async fn run_for<T, F>(span: Span, work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let work = match span {
        Span::Moment => match spots::on_one(work) {
            Ok(done) => return done,
            Err(work) => work,
        },
        Span::Open => work,
    };
    run(work).await
}

/// Drops `left` on a blocking thread, where there are any; else here.
pub fn discard<T: Send + 'static>(left: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(left))),
        Err(_) => drop(left),
    }
}
