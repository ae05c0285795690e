//! Uploads that come whole, in one request.

use crate::{
    ingest::NewUpload,
    state::Shard,
    storage::Failure,
    testing::{Bench, Medium, Script, content, len},
    upload::Length,
};

/// An upload of this length, of which no more is said.
pub(super) fn new(length: u64) -> NewUpload {
    NewUpload {
        length: Some(Length::new(length).unwrap()),
        metadata: String::new(),
        filename: None,
        media_type: None,
        concatenation: None,
        owner: String::new(),
    }
}

/// Uploads that have facts, and such that have bytes on their way.
fn left(bench: &Bench) -> (usize, usize) {
    let state = bench.holds.state();
    let ledgers = Shard::all().map(|shard| state.list(shard).unwrap().len()).sum();
    (ledgers, bench.storage().uploads().unwrap().len())
}

// spec: STORE-101
#[tokio::test]
async fn a_creation_that_fails_with_its_bytes_leaves_nothing_and_one_that_is_told_is_there() {
    let bytes = content(4, 3);
    for medium in [Medium::Memory, Medium::Local] {
        for in_ledger in [true, false] {
            let mut refused = 0;
            for nth in 1.. {
                let bench = Bench::build(medium, |_| {});
                if in_ledger {
                    bench.ledgers.fail(nth);
                } else {
                    bench.faults.fail_any(nth, Failure::NoSpace);
                }
                let done = bench.create_with(new(4), Script::of(&bytes)).await;
                let failed = bench.ledgers.failed() > 0 || !bench.faults.failed().is_empty();
                bench.ledgers.clear();
                bench.faults.clear();
                let what = format!("{medium:?}, ledger {in_ledger}, {nth}: {done:?}");
                if let Ok(created) = done {
                    let told = created.appended.offset.get();
                    assert_eq!(bench.head(&created.id).await, told, "{what}");
                    let told = usize::try_from(told).unwrap();
                    bench.push(&created.id, len(&bytes[..told]), &bytes[told..]).await.unwrap();
                    assert_eq!(bench.download(&created.id).await, bytes, "{what}");
                    assert_eq!(left(&bench), (1, 0), "{what}");
                } else {
                    refused += 1;
                    assert_eq!(left(&bench), (0, 0), "{what}");
                }
                if !failed {
                    break;
                }
                assert!(nth < 100, "{what}");
            }
            println!("{medium:?}: {refused} refused");
        }
    }
}
