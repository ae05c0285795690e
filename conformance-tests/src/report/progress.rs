//! A line that tells how far a run is, on a terminal.

use std::io::{IsTerminal, Write, stderr};

use super::word;
use crate::verdict::{Outcome, Verdict};

/// How far a run is.
#[derive(Debug)]
pub(crate) struct Progress {
    all: usize,
    done: usize,
    failed: usize,
    shown: Shown,
}

/// Is there somebody who looks at it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Yes,
    No,
}

impl Progress {
    /// Of `all` cases.
    pub(crate) fn new(all: usize) -> Self {
        let shown = if stderr().is_terminal() { Shown::Yes } else { Shown::No };
        Self { all, done: 0, failed: 0, shown }
    }

    /// One more is done.
    pub(crate) fn step(&mut self, outcome: &Outcome) {
        self.done = self.done.saturating_add(1);
        self.failed = self.failed.saturating_add(usize::from(outcome.verdict == Verdict::Failed));
        if self.shown == Shown::Yes {
            let (done, all, failed) = (self.done, self.all, self.failed);
            let last = format!("{} {}", outcome.id, word(outcome.verdict));
            // A terminal that is gone needs no progress.
            let _ = write!(stderr(), "\r\x1b[K{done}/{all}, {failed} failed, {last}");
        }
    }

    /// Takes the line away.
    pub(crate) fn close(&self) {
        if self.shown == Shown::Yes {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
