//! Lists of chunks.

use proptest::{collection::btree_set, prelude::*};

use super::*;
use crate::upload::{ChunkCount, ChunkTable};

/// Reads what [`IndexRuns`] displays, as a client does.
fn read(text: &str) -> Vec<u64> {
    let runs = text.split(',').filter(|run| !run.is_empty());
    runs.flat_map(|run| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        first.parse().unwrap()..=last.parse().unwrap()
    })
    .collect()
}

#[test]
fn runs_are_written_shortly() {
    let runs = |numbers: &[u64]| -> IndexRuns { numbers.iter().copied().map(index).collect() };
    assert_eq!(runs(&[]).to_string(), "");
    assert_eq!(runs(&[0]).to_string(), "0");
    assert_eq!(runs(&[0, 1, 3]).to_string(), "0-1,3");
    assert_eq!(runs(&[2, 4, 5, 6]).to_string(), "2,4-6");
}

proptest! {
    #[test]
    fn runs_are_read_as_they_were_written(numbers in btree_set(0_u64..200, 0..80)) {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let runs: IndexRuns = numbers.iter().copied().map(index).collect();
        prop_assert_eq!(read(&runs.to_string()), numbers.clone());
        prop_assert_eq!(runs.count(), u64::try_from(numbers.len()).unwrap());
        prop_assert_eq!(runs.indexes().collect::<Vec<_>>(), numbers);
    }

    #[test]
    fn a_chunk_is_either_stored_or_missing(stored in btree_set(0_u64..3, 0..=3)) {
        let stored: Vec<u64> = stored.into_iter().collect();
        let record = record(&stored);
        let total = record.layout().total().unwrap();
        let (here, gone) =
            (IndexRuns::sealed(record.chunks()), IndexRuns::missing(record.chunks(), total));
        let mut all: Vec<u64> = here.indexes().chain(gone.indexes()).collect();
        all.sort_unstable();
        prop_assert_eq!(all, [0, 1, 2]);
        prop_assert_eq!(here.indexes().collect::<Vec<_>>(), stored);
    }
}

#[test]
fn nothing_stored_of_a_huge_file_is_one_run() {
    let total = ChunkCount::new(i64::MAX.unsigned_abs()).unwrap();
    let missing = IndexRuns::missing(&ChunkTable::default(), total);
    assert_eq!(missing.to_string(), "0-9223372036854775806");
    assert_eq!(missing.count(), total.get());
}
