//! What the broom takes, and what it leaves.

mod finished;
mod time;

use std::{
    fs::File,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{Reaper, ReaperOptions, Swept, Unasked};
use crate::durable::{Durability, Flush};
use crate::{
    hold::HoldError,
    ingest::IngestError,
    lock::Manner,
    state::local::ledger_path,
    storage::Operation,
    testing::{Bench, Medium, content, layout, part, until},
    upload::{ChunkIndex, Fact, FinalName, PartId, Phase, Sha256Digest, UploadId},
};

const HASH: &str = "00112233445566778899aabbccddeeff";
const DAY: Duration = Duration::from_hours(24);
const NOTHING: Swept = Swept { expired: 0, forgotten: 0, orphans: 0, staged: 0 };

/// A reaper, and the uploads that it wants to see finished.
fn reaper(bench: &Bench) -> (Reaper, Arc<Mutex<Vec<UploadId>>>) {
    let resumed = Arc::new(Mutex::new(Vec::new()));
    let finishing = Unasked::OffsetClients;
    let options = ReaperOptions { every: DAY, remember: DAY, finishing };
    let list = resumed.clone();
    let reaper = Reaper::new(bench.holds.clone(), options, move |id| list.lock().unwrap().push(id));
    (reaper, resumed)
}

async fn sweep(bench: &Bench) -> Swept {
    reaper(bench).0.sweep().await.unwrap()
}

/// A sweep every half an hour, of which the first has been.
async fn regular(bench: &Bench) -> Reaper {
    let options = ReaperOptions {
        every: Duration::from_mins(30),
        remember: DAY,
        finishing: Unasked::OffsetClients,
    };
    let mut reaper = Reaper::new(bench.holds.clone(), options, |_| {});
    reaper.sweep().await.unwrap();
    reaper
}

#[tokio::test]
async fn a_finished_ledger_is_opened_once_a_day() {
    let bench = Bench::memory();
    let mut names = Vec::new();
    for salt in 0..40 {
        let id = bench.create(Some(14)).await;
        bench.push(&id, 0, &content(14, salt)).await.unwrap();
        names.push(bench.status(&id).await.record.finished().unwrap().name.clone());
    }
    bench.clock.advance(DAY * 10);
    let mut reaper = regular(&bench).await;
    // Whose ledgers are opened is seen by those that are forgotten.
    for name in &names {
        bench.storage().remove_finished(name).unwrap();
    }
    let mut forgotten = Vec::new();
    for _ in 0..48 {
        bench.clock.advance(Duration::from_mins(30));
        forgotten.push(reaper.sweep().await.unwrap().forgotten);
    }
    assert_eq!(forgotten.iter().sum::<usize>(), 40, "{forgotten:?}");
    assert!(forgotten.iter().all(|count| *count <= 10), "{forgotten:?}");
}

#[tokio::test]
async fn what_becomes_due_is_swept_at_the_next_occasion() {
    let bench = Bench::memory_with(|setup| setup.keep_finished = Some(DAY * 3));
    let mut reaper = regular(&bench).await;
    let ids = [bench.create(Some(14)).await, bench.create(Some(14)).await];
    bench.push(&ids[1], 0, &content(14, 1)).await.unwrap();
    let mut ends = Vec::new();
    for half_hour in 1..=200 {
        bench.clock.advance(Duration::from_mins(30));
        let swept = reaper.sweep().await.unwrap();
        ends.extend((swept != NOTHING).then_some((half_hour, swept.expired, swept.forgotten)));
    }
    // After an hour and a grain; a day later; after three days; a day later.
    assert_eq!(ends, [(3, 1, 0), (51, 0, 1), (144, 1, 0), (192, 0, 1)]);
}

#[tokio::test]
async fn a_busy_upload_is_swept_later() {
    let bench = Bench::memory();
    let mut reaper = regular(&bench).await;
    let id = bench.create(Some(14)).await;
    let held = bench.holds.take(&id, Manner::Asking).await.unwrap();
    bench.clock.advance(Duration::from_hours(2));
    assert_eq!(reaper.sweep().await.unwrap(), NOTHING);
    drop(held);
    bench.clock.advance(Duration::from_mins(30));
    assert_eq!(reaper.sweep().await.unwrap(), Swept { expired: 1, ..NOTHING });
}

/// Sets a ledger's age, which the file system tells by the machine's clock.
fn age(bench: &Bench, id: &UploadId, age: Duration) {
    let ledger = ledger_path(&bench.folder().join("state"), id);
    let now = crate::clock::Clock::now(&bench.clock).to_system_time();
    File::options().append(true).open(ledger).unwrap().set_modified(now - age).unwrap();
}

async fn status(bench: &Bench, id: &UploadId) -> Result<Phase, IngestError> {
    bench.ingest.status(id).await.map(|view| view.record.phase())
}

macro_rules! assert_gone {
    ($bench:expr, $id:expr, $error:pat) => {
        let status = status($bench, $id).await;
        assert!(matches!(status, Err(IngestError::Hold($error))), "{status:?}");
    };
}

#[tokio::test]
async fn a_deadline_passes_whether_swept_or_not() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |_| {});
        let id = bench.create(Some(14)).await;
        bench.push(&id, 0, &content(11, 1)).await.unwrap();
        bench.clock.advance(Duration::from_mins(59));
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_eq!(status(&bench, &id).await.unwrap(), Phase::Receiving);
        // A sign of life moves the deadline.
        bench.push(&id, 11, b"x").await.unwrap();
        bench.clock.advance(Duration::from_mins(59));
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_eq!(bench.head(&id).await, 12);

        bench.clock.advance(Duration::from_mins(2));
        assert_gone!(&bench, &id, HoldError::Expired);
        let late = bench.push(&id, 12, b"x").await;
        assert!(matches!(late, Err(IngestError::Hold(HoldError::Expired))), "{late:?}");
        assert!(bench.parts(&id).is_empty(), "whoever is told so ends it");
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_gone!(&bench, &id, HoldError::Expired);
    }
}

#[tokio::test]
async fn a_tombstone_is_forgotten_after_its_time() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |_| {});
        let id = bench.create(Some(14)).await;
        let age_it = |hours| {
            if let Medium::Local = medium {
                age(&bench, &id, Duration::from_hours(hours));
            }
        };
        bench.clock.advance(Duration::from_hours(2));
        age_it(2);
        assert_eq!(sweep(&bench).await, Swept { expired: 1, ..NOTHING });
        bench.clock.advance(Duration::from_hours(23));
        age_it(23);
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_gone!(&bench, &id, HoldError::Expired);
        bench.clock.advance(Duration::from_hours(2));
        age_it(25);
        assert_eq!(sweep(&bench).await, Swept { forgotten: 1, ..NOTHING });
        assert_gone!(&bench, &id, HoldError::Unknown);
    }
}

#[tokio::test]
async fn who_is_held_is_left_alone() {
    let bench = Bench::memory();
    let id = bench.create(Some(14)).await;
    let held = bench.holds.take(&id, Manner::Asking).await.unwrap();
    bench.clock.advance(Duration::from_hours(2));
    assert_eq!(sweep(&bench).await, NOTHING);
    assert!(!held.is_wanted());
    drop(held);
    assert_eq!(sweep(&bench).await, Swept { expired: 1, ..NOTHING });
}

#[tokio::test]
async fn a_finished_upload_stays_as_long_as_its_file() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |_| {});
        let id = bench.create(Some(14)).await;
        bench.push(&id, 0, &content(14, 1)).await.unwrap();
        bench.clock.advance(DAY * 365);
        if let Medium::Local = medium {
            age(&bench, &id, DAY * 300);
        }
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_eq!(bench.download(&id).await, content(14, 1));
        let name: FinalName = bench.status(&id).await.record.finished().unwrap().name.clone();
        bench.storage().remove_finished(&name).unwrap();
        assert_eq!(sweep(&bench).await, Swept { forgotten: 1, ..NOTHING });
        assert_gone!(&bench, &id, HoldError::Unknown);
    }
}

#[tokio::test]
async fn an_expired_chunk_upload_gives_way_to_a_new_one() {
    for swept in [false, true] {
        let bench = Bench::memory();
        for index in [0, 2] {
            let at = usize::try_from(index).unwrap() * 4;
            let bytes = &content(12, 1)[at..at + 4];
            bench.put(HASH, (index, bytes), layout(4, 12, 3)).await.unwrap();
        }
        bench.settle().await;
        bench.clock.advance(Duration::from_hours(2));
        if swept {
            assert_eq!(sweep(&bench).await, Swept { expired: 1, ..NOTHING });
        }
        bench.put(HASH, (1, b"new!"), layout(4, 12, 3)).await.unwrap();
        bench.settle().await;
        let view = bench.status(&bench.id_of(HASH)).await;
        assert_eq!((view.record.chunks().sealed(), view.offset.get()), (1, 0));
        assert_eq!(bench.parts(&bench.id_of(HASH)), [("1.part".to_owned(), 4)]);
    }
}

#[tokio::test]
async fn a_ledger_beyond_repair_is_forgotten_when_it_is_old() {
    let mut bench = Bench::local();
    let (marked, torn) = (bench.create(Some(14)).await, bench.create(Some(14)).await);
    bench.force(&marked, [Fact::Corrupt]).await;
    bench.push(&torn, 0, &content(11, 1)).await.unwrap();
    let ledger = ledger_path(&bench.folder().join("state"), &torn);
    let mut bytes = std::fs::read(&ledger).unwrap();
    let middle = bytes.len() - 142;
    bytes[middle] ^= 1;
    std::fs::write(&ledger, bytes).unwrap();
    bench.reopen().await;
    bench.clock.advance(Duration::from_hours(23));
    assert_eq!(sweep(&bench).await, NOTHING);
    bench.clock.advance(Duration::from_hours(2));
    assert_eq!(sweep(&bench).await, Swept { forgotten: 2, ..NOTHING });
    for id in [marked, torn] {
        assert_gone!(&bench, &id, HoldError::Unknown);
        assert!(bench.parts(&id).is_empty());
    }
}

// spec: STORE-111
#[tokio::test]
async fn a_ledger_of_a_newer_version_is_never_forgotten() {
    let mut bench = Bench::local();
    let ids = [bench.create(Some(14)).await, bench.create(Some(14)).await];
    for id in &ids {
        bench.push(id, 0, &content(11, 1)).await.unwrap();
    }
    let ledgers = ids.each_ref().map(|id| ledger_path(&bench.folder().join("state"), id));
    let known = ledgers.each_ref().map(|ledger| std::fs::read(ledger).unwrap());
    // Another kind of header, and a manifest that says something else.
    let mut header = known[0].clone();
    header[7] = b'2';
    let sum = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&sum.to_le_bytes());
    let mut manifest = known[1].clone();
    let length = u32::from_le_bytes(manifest[8..12].try_into().unwrap());
    let json = 28..28 + usize::try_from(length).unwrap();
    manifest[json.clone()].fill(b' ');
    manifest[json.clone()][..14].copy_from_slice(b"{\"newer\":true}");
    let sum = crc32fast::hash(&manifest[json]);
    manifest[12..16].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32fast::hash(&manifest[..24]);
    manifest[24..28].copy_from_slice(&sum.to_le_bytes());
    for (ledger, bytes) in ledgers.iter().zip([&header, &manifest]) {
        std::fs::write(ledger, bytes).unwrap();
    }
    bench.reopen().await;
    let (mut reaper, resumed) = reaper(&bench);
    let now = crate::clock::Clock::now(&bench.clock).to_system_time();
    for _ in 0..3 {
        bench.clock.advance(DAY * 40);
        for id in &ids {
            let folder = bench.folder().join("uploads").join(id.as_str());
            File::open(folder).unwrap().set_modified(now).unwrap();
            assert_gone!(&bench, id, HoldError::Newer(_));
        }
        assert_eq!(reaper.sweep().await.unwrap(), NOTHING);
    }
    assert!(resumed.lock().unwrap().is_empty());
    for id in &ids {
        let ended = bench.ingest.terminate(id).await;
        assert!(matches!(ended, Err(IngestError::Hold(HoldError::Newer(_)))), "{ended:?}");
    }
    for (ledger, bytes) in ledgers.iter().zip([header, manifest]) {
        assert_eq!(std::fs::read(ledger).unwrap(), bytes);
    }
    // The version that wrote them finds everything.
    for (ledger, bytes) in ledgers.iter().zip(known) {
        std::fs::write(ledger, bytes).unwrap();
    }
    bench.reopen().await;
    for id in &ids {
        assert_eq!(bench.head(id).await, 11);
    }
}

#[tokio::test]
async fn what_nobody_owns_goes_when_it_is_old() {
    let bench = Bench::local();
    let alive = bench.create(Some(14)).await;
    bench.push(&alive, 0, &content(6, 1)).await.unwrap();
    let (young, old) = (orphan(&bench).await, orphan(&bench).await);
    let now = crate::clock::Clock::now(&bench.clock).to_system_time();
    let set_back = |path: std::path::PathBuf, age: Duration| {
        File::open(path).unwrap().set_modified(now - age).unwrap();
    };
    let (uploads, tmp) = (bench.folder().join("uploads"), bench.folder().join("tmp"));
    set_back(uploads.join(old.as_str()), Duration::from_mins(61));
    set_back(uploads.join(young.as_str()), Duration::from_mins(59));
    set_back(uploads.join(alive.as_str()), Duration::from_mins(61));
    // Two that a process left behind when it died, and one that is worked on.
    let left = ["0".repeat(32), "1".repeat(32)].map(|token| tmp.join(token));
    let staged = bench.storage().stage().unwrap();
    let worked_on = tmp.join(staged.token());
    for (path, age) in [(&left[0], 61), (&left[1], 59), (&worked_on, 600)] {
        File::create(path).unwrap();
        set_back(path.clone(), Duration::from_mins(age));
    }
    assert_eq!(sweep(&bench).await, Swept { orphans: 1, staged: 1, ..NOTHING });
    assert!(bench.parts(&old).is_empty() && !bench.parts(&young).is_empty());
    let there = [&left[0], &left[1], &worked_on].map(|path| path.try_exists().unwrap());
    assert_eq!(there, [false, true, true]);
    assert_eq!(bench.head(&alive).await, 6);
}

/// Bytes without a ledger.
async fn orphan(bench: &Bench) -> UploadId {
    let id = bench.create(Some(14)).await;
    bench.push(&id, 0, &content(3, 1)).await.unwrap();
    bench.holds.state().forget(&id).unwrap();
    id
}

#[tokio::test]
async fn a_start_resumes_what_a_crash_interrupted() {
    for medium in Medium::BOTH {
        let mut bench = Bench::build(medium, |_| {});
        // The last byte came, and the process died.
        let whole = bench.create(Some(14)).await;
        bench.plant(&whole, part(0), &content(14, 1));
        bench.reopen().await;
        let held = bench.holds.take(&whole, Manner::Asking).await.unwrap();
        assert_eq!(held.record().phase(), Phase::Received);
        drop(held);
        // In the middle of appearing.
        let merging = bench.create(Some(4)).await;
        bench.plant(&merging, part(0), b"1234");
        let name = FinalName::parse("world").unwrap();
        bench.reopen().await;
        bench.force(&merging, [Fact::Merging { name, form: None, mark: None }]).await;
        // Complete, but its client never asked; and one that is on its way.
        bench.put(HASH, (0, b"1234"), layout(4, 4, 1)).await.unwrap();
        let half = bench.create(Some(14)).await;
        bench.push(&half, 0, b"12345").await.unwrap();
        bench.reopen().await;

        let (reaper, resumed) = reaper(&bench);
        let stop = CancellationToken::new();
        let running = tokio::spawn(reaper.run(stop.clone()));
        until(|| resumed.lock().unwrap().len() >= 2).await;
        stop.cancel();
        running.await.unwrap();
        let mut resumed = resumed.lock().unwrap().clone();
        resumed.sort();
        let mut expected = vec![whole.clone(), merging.clone()];
        expected.sort();
        assert_eq!(resumed, expected);
        for id in resumed {
            bench.merge(&id).await.unwrap();
        }
        assert_eq!(bench.download(&whole).await, content(14, 1));
        assert_eq!(bench.download(&merging).await, b"1234");
    }
}

#[tokio::test]
async fn a_reaper_is_woken_and_stopped() {
    let bench = Bench::memory();
    let id = bench.create(Some(14)).await;
    let (reaper, _) = reaper(&bench);
    let (trigger, stop) = (reaper.trigger(), CancellationToken::new());
    let running = tokio::spawn(reaper.run(stop.clone()));
    // Ledgers were looked at before that.
    until(|| bench.faults.calls(Operation::SweepStaging) > 0).await;
    bench.clock.advance(Duration::from_hours(2));
    let phase = || bench.holds.state().load(&id).unwrap().record.phase();
    assert_eq!(phase(), Phase::Receiving);
    trigger.notify_one();
    until(|| phase() != Phase::Receiving).await;
    assert_eq!(phase(), Phase::Expired);
    stop.cancel();
    running.await.unwrap();
}

/// Found by review: under ack each cold open promised the tail anew, and took that for a sign of
/// life.
#[tokio::test]
async fn who_looks_after_a_restart_keeps_nothing_alive() {
    for medium in Medium::BOTH {
        let mut bench = Bench::build(medium, |setup| setup.durability = Durability::Ack);
        let id = bench.create(Some(14)).await;
        bench.push(&id, 0, &content(6, 1)).await.unwrap();
        for _ in 0..2 {
            bench.clock.advance(Duration::from_mins(25));
            bench.reopen().await;
            assert_eq!(bench.head(&id).await, 6);
        }
        bench.clock.advance(Duration::from_mins(25));
        if let Medium::Local = medium {
            age(&bench, &id, Duration::from_mins(70));
        }
        assert_eq!(sweep(&bench).await, Swept { expired: 1, ..NOTHING });
    }
}

// spec: STORE-93
#[tokio::test]
async fn a_finish_of_which_only_the_ledger_tells_is_written_down_by_a_start() {
    for medium in Medium::BOTH {
        let mut bench = Bench::build(medium, |_| {});
        let id = bench.create(Some(4)).await;
        bench.plant(&id, PartId::WHOLE, b"1234");
        let (chunk, digest) = (ChunkIndex::ZERO, Some(Sha256Digest::of(b"1234")));
        let sealed = Fact::Sealed { chunk, length: 4, digest, part: PartId::WHOLE, flushed: false };
        let name = FinalName::parse("world").unwrap();
        bench
            .force(&id, [sealed, Fact::Merging { name: name.clone(), form: None, mark: None }])
            .await;
        bench.storage().publish(&id, PartId::WHOLE, &name, Flush::Lazy).unwrap();
        assert!(bench.parts(&id).is_empty());
        bench.reopen().await;

        let phase = |bench: &Bench| bench.holds.state().load(&id).unwrap().record.phase();
        assert_eq!(phase(&bench), Phase::Merging);
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_eq!(phase(&bench), Phase::Finished);
        assert_eq!(bench.download(&id).await, b"1234");
    }
}

// spec: STORE-94
#[tokio::test]
async fn bytes_that_came_at_once_and_were_not_sealed_are_nothing() {
    for medium in Medium::BOTH {
        let mut bench = Bench::build(medium, |_| {});
        let id = bench.create(Some(4)).await;
        for bytes in [b"12".as_slice(), b"1234"] {
            bench.plant(&id, PartId::WHOLE, bytes);
            bench.reopen().await;
            assert_eq!(bench.status(&id).await.offset.get(), 0);
            assert_eq!(bench.head(&id).await, 0);
            assert!(bench.parts(&id).is_empty());
        }
        bench.plant(&id, PartId::WHOLE, b"other");
        bench.push(&id, 0, b"1234").await.unwrap();
        assert_eq!(bench.download(&id).await, b"1234");
        assert!(bench.storage().uploads().unwrap().is_empty());
    }
}
