//! How often a test of chance tries: a few times in every run, for hours if it is told to.

use std::time::{Duration, Instant};

/// Rounds to play: `few` of them, or as many as begin within the seconds of `PITON_LONG`. What was
/// played is printed at the end, for the summary of a long run.
#[derive(Debug)]
pub struct Rounds {
    test: &'static str,
    begun: Instant,
    played: usize,
    few: usize,
    long: Option<Duration>,
}

impl Rounds {
    /// Rounds of the test of this name.
    pub fn of(test: &'static str, few: usize) -> Self {
        let long = std::env::var("PITON_LONG").ok();
        let long = long.map(|text| Duration::from_secs(text.parse().expect("PITON_LONG: seconds")));
        Self { test, begun: Instant::now(), played: 0, few, long }
    }
}

impl Iterator for Rounds {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let enough = self.long.map_or(self.played >= self.few, |long| self.begun.elapsed() >= long);
        if enough && self.played > 0 {
            println!("{}: {} rounds in {:.0?}", self.test, self.played, self.begun.elapsed());
            return None;
        }
        self.played += 1;
        Some(self.played - 1)
    }
}
