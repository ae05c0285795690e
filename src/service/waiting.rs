//! How long somebody lets us wait.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep_until};

/// Measures one wait after another with one timer, which is not touched while nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    since: Option<tokio::time::Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    /// What was waited for is there; how long that took.
    pub(crate) fn end(&mut self) -> Duration {
        self.since.take().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// So long of the wait that is under way counts as none.
    pub(crate) fn excuse(&mut self, span: Duration) {
        let now = tokio::time::Instant::now();
        self.since = self.since.map(|since| now.min(since + span));
    }

    /// Waits, since the first call after [`Waiting::end`], until `limit` is reached.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(tokio::time::Instant::now);
        let due = since + limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // A timer that was set for an earlier wait may ring early, and is set again then.
        while sleep.deadline() > due || sleep.as_mut().poll(context).is_ready() {
            if due <= tokio::time::Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }
}
