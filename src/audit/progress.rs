//! How far it is, for whoever watches a terminal.

use std::{
    io::{IsTerminal, Write, stderr},
    time::Duration,
};

use bytesize::ByteSize;

use super::verify::Summary;
use crate::clock::Stopwatch;

/// The pause between two lines.
const PAUSE: Duration = Duration::from_millis(200);

/// A line on standard error that is written over and over, where that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    since: Option<Stopwatch>,
    shown: bool,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self { since: stderr().is_terminal().then(Stopwatch::start), shown: false }
    }

    /// Shows how far it is, unless that was a moment ago.
    pub(super) fn show(&mut self, so_far: &Summary, read: u64) {
        if self.since.is_none_or(|since| since.elapsed() < PAUSE) {
            return;
        }
        self.since = Some(Stopwatch::start());
        self.shown = true;
        let Summary { uploads, damaged, .. } = so_far;
        let read = ByteSize(read);
        // Nobody is told that a terminal went away.
        let _ = write!(stderr(), "\r\x1b[K{uploads} uploads, {read} read, {damaged} damaged");
    }

    /// Makes room for a line of the report.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
