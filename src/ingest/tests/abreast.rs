//! Two chunks hashed abreast, as seen from outside: the same bytes, digests and offsets.

use crate::{
    durable::Durability,
    ingest::{Broken, End},
    storage::Failure,
    testing::{Bench, Frame, Medium, Script, composite, content, len},
};

/// Chunks of which two are hashed abreast.
const WIDE: usize = 256 << 10;

/// Memory for buffers: without any to spare bytes that wait are read back.
const BUDGETS: [u64; 2] = [0, 8 << 20];

fn bench(medium: Medium, durability: Durability, budget: u64) -> Bench {
    Bench::build(medium, |setup| {
        (setup.durability, setup.memory_budget) = (durability, budget);
        setup.chunk_size = WIDE.try_into().unwrap();
    })
}

/// Sends what is missing from `head` on, and compares the file and its digest.
async fn complete(bench: &Bench, (id, bytes): (&crate::upload::UploadId, &[u8]), what: &str) {
    let head = usize::try_from(bench.head(id).await).unwrap();
    if head < bytes.len() {
        let script = Script::in_frames(&bytes[head..], 70_001);
        let appended = bench.append(id, len(&bytes[..head]), script).await.unwrap();
        assert_eq!((appended.offset.get(), appended.end), (len(bytes), End::Complete), "{what}");
    }
    let finished = bench.status(id).await.record.finished().cloned();
    let digest = finished.unwrap_or_else(|| panic!("{what}: not finished")).composite;
    assert_eq!(digest, Some(composite(bytes, WIDE)), "{what}");
    assert!(bench.download(id).await == bytes, "{what}");
}

// spec: STORE-97
#[tokio::test]
async fn chunks_that_are_hashed_abreast_have_their_own_digests() {
    let bytes = content(5 * WIDE + 12_345, 7);
    for durability in [Durability::None, Durability::Complete, Durability::Ack] {
        for begin in [0, 1, 100_000, WIDE - 1, WIDE] {
            for (budget, frame) in BUDGETS.into_iter().zip([70_001, 1 << 20]) {
                let bench = bench(Medium::Local, durability, budget);
                let id = bench.create(Some(len(&bytes))).await;
                if begin > 0 {
                    bench.push(&id, 0, &bytes[..begin]).await.unwrap();
                }
                let script = Script::in_frames(&bytes[begin..], frame);
                let appended = bench.append(&id, len(&bytes[..begin]), script).await.unwrap();
                assert_eq!(appended.offset.get(), len(&bytes));
                complete(&bench, (&id, &bytes), &format!("{durability:?} {begin} {budget}")).await;
            }
        }
    }
}

// spec: STORE-97
#[tokio::test]
async fn what_came_of_chunks_abreast_is_kept_wherever_the_body_breaks_off() {
    let bytes = content(5 * WIDE, 3);
    let cuts = [1, WIDE - 1, WIDE, WIDE + 1, WIDE + 70_001, 2 * WIDE - 1, 2 * WIDE, 3 * WIDE + 9];
    for (cut, (restarts, budget)) in cuts
        .into_iter()
        .flat_map(|cut| [false, true].into_iter().zip(BUDGETS).map(move |how| (cut, how)))
    {
        let mut bench = bench(Medium::Local, Durability::None, budget);
        let id = bench.create(Some(len(&bytes))).await;
        let script = Script::in_frames(&bytes[..cut], 70_001);
        let script = script.then(Frame::Break(Broken::Cut), len(&bytes[cut..]));
        let appended = bench.append(&id, 0, script).await.unwrap();
        assert_eq!(appended.offset.get(), len(&bytes[..cut]));
        assert_eq!(appended.end, End::Broken(Broken::Cut));
        if restarts {
            bench.reopen().await;
        }
        assert_eq!(bench.head(&id).await, len(&bytes[..cut]));
        complete(&bench, (&id, &bytes), &format!("{cut} {restarts}")).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Storage,
    ShortWrite,
    Ledger,
}

// spec: STORE-97
#[tokio::test]
async fn whatever_fails_under_chunks_abreast_no_offset_is_told_that_is_not_stored() {
    let bytes = content(3 * WIDE + 7, 5);
    for trouble in [Trouble::Storage, Trouble::ShortWrite, Trouble::Ledger] {
        for (restarts, budget) in [false, true].into_iter().zip(BUDGETS) {
            for nth in 1.. {
                let what = format!("{trouble:?} {nth} {restarts}");
                let mut bench = bench(Medium::Memory, Durability::None, budget);
                let id = bench.create(Some(len(&bytes))).await;
                match trouble {
                    Trouble::Storage => bench.faults.fail_any(nth, Failure::NoSpace),
                    Trouble::ShortWrite => bench.faults.cut_write(nth, Failure::NoSpace),
                    Trouble::Ledger => bench.ledgers.fail(nth),
                }
                let told = bench.append(&id, 0, Script::in_frames(&bytes, 70_001)).await;
                let failed = !bench.faults.failed().is_empty() || bench.ledgers.failed() > 0;
                bench.faults.clear();
                bench.ledgers.clear();
                if restarts {
                    bench.reopen().await;
                }
                let head = bench.head(&id).await;
                if let Ok(appended) = told {
                    assert!(head >= appended.offset.get(), "{what}: {head} {appended:?}");
                }
                complete(&bench, (&id, &bytes), &what).await;
                if !failed {
                    break;
                }
            }
        }
    }
}
