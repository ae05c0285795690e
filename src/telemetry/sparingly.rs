//! Warnings that would come by the thousand when they come at all.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Between two lines of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of warning, of which one line in ten seconds is written.
#[derive(Debug, Default)]
pub struct Sparingly(Mutex<Held>);

#[derive(Debug)]
struct Held {
    last: Option<tokio::time::Instant>,
    /// Not written since then.
    silent: u64,
}

impl Default for Held {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Held {
    const NOTHING: Self = Self { last: None, silent: 0 };
}

impl Sparingly {
    /// Nothing was written yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Held::NOTHING))
    }

    /// Writes the line, with the number of those that were left out before it, unless there was one
    /// of late.
    pub fn warn(&self, what: &'static str) {
        if let Some(left_out) = self.due() {
            tracing::warn!(left_out, "{what}");
        }
    }

    /// How many lines were left out since the last one, if another is due.
    pub fn due(&self) -> Option<u64> {
        self.next(tokio::time::Instant::now())
    }

    fn next(&self, now: tokio::time::Instant) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.last.is_some_and(|last| now.duration_since(last) < EVERY) {
            held.silent = held.silent.saturating_add(1);
            return None;
        }
        held.last = Some(now);
        Some(std::mem::take(&mut held.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_tells_of_those_left_out() {
        let (sparingly, begin) = (Sparingly::new(), tokio::time::Instant::now());
        let at = |seconds| sparingly.next(begin + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(5), at(9)], [None; 3]);
        assert_eq!(at(10), Some(3));
        assert_eq!(at(11), None);
        assert_eq!(at(30), Some(1));
    }
}
