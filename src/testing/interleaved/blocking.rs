//! Blocking threads that shuttle knows.

use shuttle::{
    rand::{Rng, thread_rng},
    thread,
};
use tokio::sync::oneshot;

pub(super) use crate::blocking::Span;

/// As the crate's own.
pub(super) struct Running<T>(oneshot::Receiver<T>);

impl<T> Running<T> {
    pub(super) async fn end(self) -> T {
        self.0.await.expect("a panic has ended the run before")
    }
}

pub(super) fn start<T, F>(work: F) -> Running<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (done, end) = oneshot::channel();
    thread::spawn(move || drop(done.send(work())));
    Running(end)
}

pub(super) async fn run<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    start(work).end().await
}

/// What takes a moment may be done at once, or by a thread.
pub(super) async fn run_for<T, F>(span: Span, work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if span == Span::Moment && thread_rng().gen_bool(0.5) { work() } else { run(work).await }
}
