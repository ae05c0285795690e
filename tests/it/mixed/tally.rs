//! What a test of many rounds saw, for its summary.

use std::collections::{BTreeMap, BTreeSet};

/// Counted by one client.
#[derive(Debug, Default)]
pub struct Tally {
    pub requests: usize,
    pub uploads: usize,
    pub finished: BTreeSet<u64>,
    pub bytes: usize,
    /// Ended as they may: expired, lost with the power.
    pub gone: usize,
    pub deleted: usize,
    pub refused: usize,
    pub completed: usize,
    /// What was under way when the server ended.
    pub cut: BTreeMap<&'static str, usize>,
}

/// One line for all clients of a test.
pub fn print(test: &str, rounds: usize, all: &[&Tally]) {
    let sum = |count: fn(&Tally) -> usize| all.iter().map(|tally| count(tally)).sum::<usize>();
    let mut cut: BTreeMap<&str, usize> = BTreeMap::new();
    for (what, count) in all.iter().flat_map(|tally| &tally.cut) {
        *cut.entry(what).or_default() += count;
    }
    println!(
        "{test}: {rounds} rounds, {} requests, {} uploads told, {} finished and read, {} bytes \
         compared, {} deleted, {} gone, {} wrong requests refused, {} resumed to their end; cut in \
         {cut:?}",
        sum(|tally| tally.requests),
        sum(|tally| tally.uploads),
        sum(|tally| tally.finished.len()),
        sum(|tally| tally.bytes),
        sum(|tally| tally.deleted),
        sum(|tally| tally.gone),
        sum(|tally| tally.refused),
        sum(|tally| tally.completed),
    );
}
