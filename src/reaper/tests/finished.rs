//! Finished files whose time is over (`--keep-finished`).

use std::time::Duration;

use super::{DAY, HASH, NOTHING, age, reaper, status, sweep};
use crate::{
    durable::Flush,
    hold::HoldError,
    ingest::IngestError,
    reaper::Swept,
    testing::{Bench, Medium, content, layout, part},
    upload::{FinalName, UploadId},
};

/// A bench that keeps finished files for two days.
fn bench(medium: Medium) -> Bench {
    Bench::build(medium, |setup| setup.keep_finished = Some(2 * DAY))
}

/// A finished upload of 14 bytes, and its file's name.
async fn finished(bench: &Bench) -> (UploadId, FinalName) {
    let id = bench.create(Some(14)).await;
    bench.push(&id, 0, &content(14, 1)).await.unwrap();
    let name = bench.status(&id).await.record.finished().unwrap().name.clone();
    (id, name)
}

async fn is_expired(bench: &Bench, id: &UploadId) -> bool {
    matches!(status(bench, id).await, Err(IngestError::Hold(HoldError::Expired)))
}

fn there(bench: &Bench, name: &FinalName) -> bool {
    bench.storage().finished_size(name).unwrap().is_some()
}

/// Sets a ledger's age, where the file system tells it.
fn set_age(bench: &Bench, medium: Medium, id: &UploadId, span: Duration) {
    if let Medium::Local = medium {
        age(bench, id, span);
    }
}

// spec: TUS-79
#[tokio::test]
async fn a_finished_file_goes_when_its_time_is_over() {
    for medium in Medium::BOTH {
        let bench = bench(medium);
        let (id, name) = finished(&bench).await;
        bench.clock.advance(DAY + Duration::from_mins(23 * 60 + 59));
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_eq!(bench.download(&id).await, content(14, 1));

        bench.clock.advance(Duration::from_mins(2));
        assert!(is_expired(&bench, &id).await, "before any sweep");
        assert!(matches!(
            bench.ingest.download(&id).await,
            Err(IngestError::Hold(HoldError::Expired))
        ));
        let late = bench.ingest.terminate(&id).await;
        assert!(matches!(late, Err(IngestError::Hold(HoldError::Expired))), "{late:?}");
        set_age(&bench, medium, &id, Duration::ZERO);
        assert_eq!(sweep(&bench).await, NOTHING, "whoever is told so ends it");
        assert!(!there(&bench, &name) && bench.storage().uploads().unwrap().is_empty());
        set_age(&bench, medium, &id, Duration::ZERO);
        assert_eq!(sweep(&bench).await, NOTHING);
        assert!(is_expired(&bench, &id).await);

        bench.clock.advance(DAY + Duration::from_mins(1));
        assert_eq!(sweep(&bench).await, Swept { forgotten: 1, ..NOTHING });
        let gone = status(&bench, &id).await;
        assert!(matches!(gone, Err(IngestError::Hold(HoldError::Unknown))), "{gone:?}");
    }
}

// spec: TUS-79
#[tokio::test]
async fn a_short_time_is_looked_at_in_time() {
    let bench = Bench::memory_with(|setup| setup.keep_finished = Some(Duration::from_secs(1)));
    let (id, name) = finished(&bench).await;
    assert_eq!(sweep(&bench).await, NOTHING);
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(sweep(&bench).await, Swept { expired: 1, ..NOTHING });
    assert!(is_expired(&bench, &id).await && !there(&bench, &name));
}

// spec: TUS-79
#[tokio::test]
async fn who_reads_goes_on_reading() {
    for medium in Medium::BOTH {
        let bench = bench(medium);
        let (id, _) = finished(&bench).await;
        let mut reader = bench.ingest.download(&id).await.unwrap();
        bench.clock.advance(3 * DAY);
        assert_eq!(sweep(&bench).await, Swept { expired: 1, ..NOTHING });
        assert_eq!(reader.next().await.unwrap().unwrap(), content(14, 1));
    }
}

// spec: TUS-79
#[tokio::test]
async fn what_was_merged_gives_way_to_a_new_upload() {
    for swept in [false, true] {
        let bench = bench(Medium::Memory);
        bench.put(HASH, (0, b"1234"), layout(4, 4, 1)).await.unwrap();
        let id = bench.id_of(HASH);
        bench.merge(&id).await.unwrap();
        let name = bench.status(&id).await.record.finished().unwrap().name.clone();
        bench.clock.advance(3 * DAY);
        if swept {
            sweep(&bench).await;
        }
        bench.put(HASH, (0, b"anew"), layout(4, 4, 1)).await.unwrap();
        assert!(!there(&bench, &name));
        bench.merge(&id).await.unwrap();
        assert_eq!(bench.download(&id).await, b"anew");
    }
}

/// Where the machine stops: at the nth call of the storage, or at the nth change of a ledger.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Storage(u64),
    Ledger(u64),
}

/// The machine stops within the sweep. Says whether it did.
async fn stop_within_sweep(bench: &mut Bench, stop: Stop) -> bool {
    bench.faults.clear();
    match stop {
        Stop::Storage(nth) => {
            bench.ledgers.clear();
            bench.faults.fail_any_from(nth, crate::storage::Failure::Device);
        }
        Stop::Ledger(nth) => bench.ledgers.fail(nth),
    }
    bench.ledgers.crash();
    // It may say that it broke off.
    let _ = reaper(bench).0.sweep().await;
    let stopped = bench.ledgers.failed() > 0 || !bench.faults.failed().is_empty();
    bench.faults.clear();
    bench.ledgers.clear();
    bench.reopen().await;
    // What was over at the start has an hour left.
    bench.clock.advance(Duration::from_mins(61));
    stopped
}

// spec: TUS-80
#[tokio::test]
async fn a_stop_on_any_line_leaves_nothing_and_takes_nothing_of_others() {
    for medium in Medium::BOTH {
        let storage = (1..20).map(Stop::Storage);
        let (mut stops, mut freed) = (0, 0);
        for stop in storage.chain((1..3).map(Stop::Ledger)) {
            let mut bench = bench(medium);
            let (id, name) = finished(&bench).await;
            bench.clock.advance(3 * DAY);
            if !stop_within_sweep(&mut bench, stop).await {
                continue;
            }
            stops += 1;
            // Another upload gets the name, if it can be had.
            let other = bench.create(Some(3)).await;
            bench.plant(&other, part(0), b"his");
            let got = bench.storage().publish(&other, part(0), &name, Flush::Lazy).unwrap();
            let got = got == crate::storage::Published::Done;
            freed += usize::from(got);
            assert!(is_expired(&bench, &id).await, "{stop:?}");
            for _ in 0..2 {
                bench.clock.advance(Duration::from_hours(2));
                set_age(&bench, medium, &id, Duration::from_hours(2));
                sweep(&bench).await;
            }
            assert!(is_expired(&bench, &id).await, "{stop:?}");
            assert!(bench.parts(&id).is_empty(), "{stop:?}: {:?}", bench.parts(&id));
            let size = bench.storage().finished_size(&name).unwrap();
            assert_eq!(size, got.then_some(3), "{stop:?}");
        }
        assert!(stops > 3 && freed > 0 && freed < stops, "{stops} stops, {freed} freed the name");
    }
}

// spec: TUS-80
#[tokio::test]
async fn a_removal_that_began_is_finished_though_the_time_is_longer_now() {
    for medium in Medium::BOTH {
        let mut bench = bench(medium);
        let (id, name) = finished(&bench).await;
        bench.clock.advance(3 * DAY);
        assert!(stop_within_sweep(&mut bench, Stop::Ledger(1)).await);
        bench.reopen_with(|setup| setup.keep_finished = None).await;
        let other = bench.create(Some(3)).await;
        bench.plant(&other, part(0), b"his");
        bench.storage().publish(&other, part(0), &name, Flush::Lazy).unwrap();
        let head = bench.ingest.head(&id).await;
        assert!(matches!(head, Err(IngestError::Hold(HoldError::Expired))), "{head:?}");
        assert!(bench.parts(&id).is_empty());
        assert_eq!(bench.storage().finished_size(&name).unwrap(), Some(3));
    }
}
