//! Requests with a checksum: their bytes count as a whole or not at all, whatever fails and
//! wherever the process dies.

use std::time::Duration;

use crate::{
    durable::Durability,
    hold::Hashing,
    ingest::{Appended, Broken, End, Fate, IngestError, NewUpload},
    storage::{Failure, Operation},
    testing::{Bench, Frame, Medium, Script, Setup, chunk, content, layout, len},
    upload::{
        Checksum, ChecksumAlgorithm, ChecksumDemand, Length, NotAChecksum, Phase, Record,
        Sha256Digest, UploadId,
    },
};

const HASH: &str = "00112233445566778899aabbccddeeff";
const LENGTH: usize = 18;
/// Bytes of the upload before the request, and where the request ends.
const BEFORE: usize = 6;
const AFTER: usize = 13;

/// Where the checksum stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Header,
    Trailer,
    Unannounced,
}

impl How {
    const ALL: [Self; 3] = [Self::Header, Self::Trailer, Self::Unannounced];

    fn equip(self, script: Script, sum: Checksum) -> (Script, ChecksumDemand) {
        match self {
            Self::Header => (script, ChecksumDemand::Checksum(sum)),
            Self::Trailer => (script.followed_by(Ok(sum)), ChecksumDemand::Trailer),
            Self::Unannounced => (script.followed_by(Ok(sum)), ChecksumDemand::Nothing),
        }
    }
}

fn sum(bytes: &[u8]) -> Checksum {
    Checksum::of(ChecksumAlgorithm::Sha1, bytes)
}

fn wrong() -> Checksum {
    sum(b"other bytes")
}

/// The bytes that the client wants there in the end.
fn wanted() -> Vec<u8> {
    content(LENGTH, 1)
}

/// The same with the chunk that was there behind the gap.
fn mixed() -> Vec<u8> {
    let mut bytes = wanted();
    bytes[8..12].copy_from_slice(&content(LENGTH, 2)[8..12]);
    bytes
}

/// Chunk 0, half of chunk 1, and, behind the gap, chunk 2 with other bytes.
async fn prepare(bench: &Bench) -> UploadId {
    bench.put(HASH, (0, &wanted()[..4]), layout(4, 18, 5)).await.unwrap();
    bench.put(HASH, (2, &mixed()[8..12]), None).await.unwrap();
    bench.settle().await;
    let id = bench.id_of(HASH);
    bench.push(&id, 4, &wanted()[4..BEFORE]).await.unwrap();
    id
}

/// Begun without a length: chunk 0 and half of chunk 1.
async fn prepare_deferred(bench: &Bench) -> UploadId {
    let id = bench.create(None).await;
    bench.push(&id, 0, &wanted()[..BEFORE]).await.unwrap();
    id
}

/// From the middle of chunk 1 over chunk 2 into chunk 3.
async fn checked(
    bench: &Bench,
    id: &UploadId,
    (how, sum): (How, Checksum),
) -> Result<Appended, IngestError> {
    let script = Script::in_frames(&wanted()[BEFORE..AFTER], 3);
    let known = bench.holds.state().load(id).unwrap().record.layout().length().is_some();
    let script = if known { script } else { script.declaring(len(&wanted())) };
    let (script, demand) = how.equip(script, sum);
    bench.append_checked(id, len(&wanted()[..BEFORE]), script, demand).await
}

/// Everything that others see of an upload, but for when it was last active.
async fn seen(
    bench: &Bench,
    id: &UploadId,
) -> (u64, Option<u64>, Vec<(u64, Option<Sha256Digest>)>) {
    let view = bench.status(id).await;
    let chunks = view.record.chunks().iter();
    let chunks = chunks.map(|(chunk, sealed)| (chunk.get(), sealed.digest)).collect();
    (view.offset.get(), view.record.layout().length().map(Length::get), chunks)
}

/// Goes on from where the upload stands, up to the end.
async fn complete(bench: &Bench, id: &UploadId, bytes: &[u8], what: &str) {
    loop {
        let head = usize::try_from(bench.head(id).await).unwrap();
        let view = bench.status(id).await;
        if view.record.is_complete() {
            break;
        }
        // Up to the end of a chunk, so that one behind it stays as it is.
        let end = (head / 4 * 4 + 4).min(LENGTH);
        let script = Script::of(&bytes[head..end]).declaring(len(bytes));
        let appended = bench.append(id, len(&bytes[..head]), script).await;
        let appended = appended.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(appended.failure.is_none(), "{what}: {appended:?}");
    }
    if bench.status(id).await.record.phase() != Phase::Finished {
        bench.merge(id).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_eq!(bench.download(id).await, bytes, "{what}");
    assert!(bench.parts(id).is_empty(), "{what}");
}

fn setups() -> impl Iterator<Item = Setup> {
    let policies = [Durability::None, Durability::Complete, Durability::Ack];
    policies.into_iter().flat_map(|durability| {
        [(1, Hashing::Sha256), (2, Hashing::Off), (u64::MAX, Hashing::Sha256)].map(
            |(chunks_per_part, hashing)| Setup {
                chunks_per_part,
                durability,
                // `ack` needs digests.
                hashing: if durability == Durability::Ack { Hashing::Sha256 } else { hashing },
                ..Setup::default()
            },
        )
    })
}

// rows: TUS-CHK-05, CROSS-11, TUS-TRL-01, TUS-TRL-04
#[tokio::test]
async fn bytes_of_a_wrong_checksum_never_were() {
    for setup in setups() {
        for how in How::ALL {
            for (medium, restarts) in [(Medium::Memory, false), (Medium::Local, true)] {
                let mut bench = Bench::build(medium, |own| *own = setup.clone());
                let what = format!("{how:?} {restarts} {setup:?}");
                let id = prepare(&bench).await;
                let before = seen(&bench, &id).await;
                let parts = bench.parts(&id);
                let refused = checked(&bench, &id, (how, wrong())).await.unwrap();
                assert_eq!((refused.offset.get(), refused.fate), (6, Fate::TakenBack), "{what}");
                let failure = refused.failure.unwrap();
                assert!(matches!(failure, IngestError::ChecksumMismatch { .. }), "{what}");
                assert_eq!(seen(&bench, &id).await, before, "{what}");
                assert_eq!(bench.parts(&id), parts, "{what}");
                if restarts {
                    bench.reopen().await;
                }
                assert_eq!(bench.head(&id).await, 6, "{what}");
                assert_eq!(seen(&bench, &id).await, before, "{what}");
                complete(&bench, &id, &mixed(), &what).await;
            }
        }
    }
}

// rows: TUS-CHK-01, CROSS-04
#[tokio::test]
async fn bytes_of_a_right_checksum_stay() {
    for setup in setups() {
        for how in How::ALL {
            let mut bench = Bench::memory_with(|own| *own = setup.clone());
            let what = format!("{how:?} {setup:?}");
            let id = prepare(&bench).await;
            let kept = checked(&bench, &id, (how, sum(&wanted()[BEFORE..AFTER]))).await.unwrap();
            assert_eq!((kept.offset.get(), kept.fate), (13, Fate::Kept), "{what}");
            assert!(kept.failure.is_none(), "{what}");
            bench.reopen().await;
            assert_eq!(bench.head(&id).await, 13, "{what}");
            complete(&bench, &id, &wanted(), &what).await;
        }
    }
}

// rows: TUS-DEFER-10
#[tokio::test]
async fn a_length_goes_with_the_bytes_that_it_came_with() {
    for setup in setups() {
        for how in [How::Header, How::Trailer] {
            let mut bench = Bench::memory_with(|own| *own = setup.clone());
            let id = prepare_deferred(&bench).await;
            let before = seen(&bench, &id).await;
            checked(&bench, &id, (how, wrong())).await.unwrap();
            assert_eq!(seen(&bench, &id).await, before);
            bench.reopen().await;
            assert_eq!((bench.head(&id).await, seen(&bench, &id).await), (6, before));
            complete(&bench, &id, &wanted(), "deferred").await;
        }
    }
}

// rows: TUS-CHK-07, TUS-CHK-08, TUS-TRL-02, TUS-TRL-03
#[tokio::test]
async fn what_cannot_be_compared_never_was() {
    let all = wanted();
    let good = sum(&all[BEFORE..AFTER]);
    let body = || Script::in_frames(&all[BEFORE..AFTER], 3);
    let cut = |broken| body().unannounced().then(Frame::Break(broken), 0);
    let over = Script::in_frames(&content(30, 1)[BEFORE..], 3).unannounced();
    let header = || ChecksumDemand::Checksum(good.clone());
    let malformed = Err(NotAChecksum("it is none"));
    let cases = [
        (cut(Broken::Cut), header()),
        (cut(Broken::Stalled), ChecksumDemand::Trailer),
        (cut(Broken::Malformed), header()),
        (body().then(Frame::Break(Broken::Cut), 2), header()),
        (over.clone(), header()),
        (over, ChecksumDemand::Trailer),
        (body().followed_by(Ok(good.clone())), header()),
        (body().followed_by(malformed.clone()), header()),
        (body().followed_by(malformed.clone()), ChecksumDemand::Trailer),
        (body().followed_by(malformed), ChecksumDemand::Nothing),
        (body().unannounced(), ChecksumDemand::Trailer),
    ];
    for (script, demand) in cases {
        for medium in Medium::BOTH {
            let bench = Bench::build(medium, |_| {});
            let what = format!("{script:?} {demand:?}");
            let id = prepare(&bench).await;
            let before = (seen(&bench, &id).await, bench.parts(&id));
            let script = script.clone();
            let refused = bench.append_checked(&id, 6, script, demand.clone()).await.unwrap();
            assert_eq!((refused.offset.get(), refused.fate), (6, Fate::TakenBack), "{what}");
            let told = refused.failure.is_some() || refused.end != End::Complete;
            assert!(told, "{what}");
            assert_eq!((seen(&bench, &id).await, bench.parts(&id)), before, "{what}");
            complete(&bench, &id, &mixed(), &what).await;
        }
    }
}

// rows: TUS-CHK-07
#[tokio::test]
async fn nobody_is_shown_what_was_not_compared_yet() {
    for demand in [ChecksumDemand::Checksum(wrong()), ChecksumDemand::Trailer] {
        for medium in Medium::BOTH {
            let bench = Bench::build(medium, |_| {});
            let id = prepare(&bench).await;
            let before = seen(&bench, &id).await;
            let told = bench.status(&id).await.deadline;
            bench.clock.advance(Duration::from_mins(1));
            let stalled = Script::in_frames(&wanted()[BEFORE..], 11).then(Frame::Stall, 99 - 12);
            let stalled = stalled.unannounced();
            let (house, own, demand) = (bench.house.clone(), id.clone(), demand.clone());
            let first =
                tokio::spawn(async move { house.append_checked(&own, 6, stalled, demand).await });
            // Until the bytes are stored: chunk 1 and 2 are sealed anew.
            let stored = || {
                let record = bench.holds.state().load(&id).unwrap().record;
                record.pending().is_some() && record.chunks().sealed() > 2
            };
            for _ in 0..2_000 {
                if stored() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(stored(), "nothing was stored");
            assert_eq!(seen(&bench, &id).await, before);
            assert_eq!(bench.status(&id).await.deadline, told);
            if let Medium::Local = medium {
                let other = bench.another_house();
                assert_eq!(other.status(&id).await.offset.get(), 6);
            }
            assert_eq!(bench.head(&id).await, 6);
            let left = first.await.unwrap().unwrap();
            assert_eq!((left.end, left.offset.get()), (End::TakenOver, 6));
            complete(&bench, &id, &mixed(), "taken over").await;
        }
    }
}

// rows: TUS-CWU-09
#[tokio::test]
async fn a_creation_with_a_wrong_checksum_makes_nothing() {
    let new = |length| NewUpload {
        length,
        metadata: String::new(),
        filename: None,
        media_type: None,
        concatenation: None,
        owner: String::new(),
    };
    for how in How::ALL {
        for length in [None, Some(0), Some(18), Some(13)] {
            let bench = Bench::local();
            let bytes = if length == Some(0) { Vec::new() } else { wanted()[..AFTER].to_vec() };
            let made = |sum: Checksum| {
                let new = new(length.map(|length| Length::new(length).unwrap()));
                let (mut script, demand) = how.equip(Script::in_frames(&bytes, 3), sum);
                let ingest = bench.ingest.clone();
                async move { ingest.create(new, demand, &mut script).await }
            };
            let refused = made(wrong()).await;
            assert!(matches!(refused, Err(IngestError::ChecksumMismatch { .. })), "{refused:?}");
            let count = |folder| walk(&bench.folder().join(folder));
            assert_eq!((count("uploads"), count("files")), (0, 0));
            let created = made(sum(&bytes)).await.unwrap();
            assert_eq!(created.appended.offset.get(), len(&bytes));
            assert_eq!(bench.head(&created.id).await, len(&bytes));
        }
    }
}

/// Files below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

// rows: TUS-CHK-09
#[tokio::test]
async fn a_checksum_in_the_header_reads_nothing_back() {
    let bench = Bench::memory();
    let id = prepare(&bench).await;
    bench.faults.clear();
    checked(&bench, &id, (How::Header, sum(&wanted()[BEFORE..AFTER]))).await.unwrap();
    assert_eq!(bench.faults.calls(Operation::Read), 0);
}

#[tokio::test]
async fn no_checksum_costs_no_fact() {
    let bench = Bench::memory();
    let id = prepare(&bench).await;
    let before = bench.holds.state().load(&id).unwrap().version.length;
    bench.push(&id, 6, &wanted()[6..7]).await.unwrap();
    assert_eq!(bench.holds.state().load(&id).unwrap().version.length, before);
    // Without a byte there is nothing to bracket either.
    let empty = ChecksumDemand::Checksum(sum(b""));
    let told = bench.append_checked(&id, 7, Script::of(b""), empty).await.unwrap();
    assert!(told.failure.is_none());
    assert_eq!(bench.holds.state().load(&id).unwrap().version.length, before);
}

/// The process dies with the bracket open, and the power with it.
#[tokio::test]
async fn an_open_bracket_is_taken_back_by_whoever_comes_next() {
    for setup in setups() {
        for power_loss in [false, true] {
            let mut bench = Bench::memory_with(|own| *own = setup.clone());
            let what = format!("{power_loss} {setup:?}");
            let id = prepare(&bench).await;
            let before = seen(&bench, &id).await;
            bench.ledgers.fail(4);
            bench.ledgers.crash();
            let died = checked(&bench, &id, (How::Header, sum(&wanted()[BEFORE..AFTER]))).await;
            assert!(!died.is_ok_and(|told| told.failure.is_none()), "{what}");
            let left: std::sync::Arc<Record> = bench.holds.state().load(&id).unwrap().record;
            assert!(left.pending().is_some() && left.chunks().get(chunk(1)).is_some(), "{what}");
            assert_eq!(seen(&bench, &id).await, before, "{what}");
            bench.ledgers.clear();
            bench.faults.clear();
            bench.reopen_with(|own| own.epoch += u64::from(power_loss)).await;
            if !power_loss {
                assert_eq!(seen(&bench, &id).await, before, "{what}");
            }
            // Only what was promised to be on the disk is believed after a power loss.
            let promised = !power_loss || setup.durability == Durability::Ack;
            let hashed = setup.hashing == Hashing::Sha256 || promised;
            let head = bench.head(&id).await;
            if promised && setup.hashing == Hashing::Sha256 {
                assert_eq!(seen(&bench, &id).await, before, "{what}");
            } else {
                assert!([0, 4, 6].contains(&head), "{what}: {head}");
            }
            let bytes = if hashed { mixed() } else { wanted() };
            complete(&bench, &id, &bytes, &what).await;
        }
    }
}

/// How the disk fails.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Storage(Failure),
    ShortWrite,
    Ledger,
    Crash,
    LedgerCrash,
}

impl Trouble {
    const ALL: [Self; 5] = [
        Self::Storage(Failure::Device),
        Self::ShortWrite,
        Self::Ledger,
        Self::Crash,
        Self::LedgerCrash,
    ];

    const fn is_crash(self) -> bool {
        matches!(self, Self::Crash | Self::LedgerCrash)
    }

    fn begin(self, bench: &Bench, nth: u64) {
        match self {
            Self::Storage(failure) => bench.faults.fail_any(nth, failure),
            Self::ShortWrite => bench.faults.cut_write(nth, Failure::NoSpace),
            Self::Crash => bench.faults.fail_any_from(nth, Failure::Device),
            Self::Ledger | Self::LedgerCrash => bench.ledgers.fail(nth),
        }
        if self.is_crash() {
            bench.ledgers.crash();
        }
    }
}

/// One request with one fault; true if nothing failed any more.
async fn once(
    setup: &Setup,
    (how, right, deferred): (How, bool, bool),
    (trouble, nth, restarts): (Trouble, u64, u32),
) -> bool {
    let what = format!("{how:?} {right} {deferred} {trouble:?} {nth} {restarts} {setup:?}");
    let mut bench = Bench::memory_with(|own| *own = setup.clone());
    let id = if deferred { prepare_deferred(&bench).await } else { prepare(&bench).await };
    let before = seen(&bench, &id).await;
    bench.faults.clear();
    trouble.begin(&bench, nth);
    let sum = if right { sum(&wanted()[BEFORE..AFTER]) } else { wrong() };
    let told = checked(&bench, &id, (how, sum)).await;
    let failed = bench.faults.failed();
    let nothing_failed = failed.is_empty() && bench.ledgers.failed() == 0;
    // A process that goes on finds its way back although the disk fails once more.
    if !trouble.is_crash() {
        let _ = bench.ingest.head(&id).await;
    }
    bench.faults.clear();
    bench.ledgers.clear();
    for _ in 0..restarts {
        bench.reopen().await;
    }
    bench.head(&id).await;
    let after = seen(&bench, &id).await;
    let accepted = after.0 == 13;
    if let Ok(told) = &told
        && told.failure.is_none()
    {
        assert!(right && accepted, "{what}: {told:?} {after:?}");
    }
    // A failed flush takes back what was told; without an announcement nobody knows in time that
    // bytes are to be compared.
    let loose = failed.contains(&Operation::Sync) || how == How::Unannounced;
    if !loose {
        assert!(after == before || right && accepted, "{what}: {before:?} {after:?}");
    }
    if after == before || accepted && right {
        let bytes = if accepted || deferred { wanted() } else { mixed() };
        complete(&bench, &id, &bytes, &what).await;
    }
    nothing_failed
}

async fn survive(setup: &Setup) {
    for how in How::ALL {
        for (right, deferred) in [(true, false), (false, false), (false, true), (true, true)] {
            for trouble in Trouble::ALL {
                for restarts in if trouble.is_crash() { 1..2 } else { 0..2 } {
                    for nth in 1.. {
                        let request = (how, right, deferred);
                        if once(setup, request, (trouble, nth, restarts)).await {
                            break;
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn whatever_fails_a_checked_request_counts_as_a_whole_or_not_at_all() {
    for durability in [Durability::None, Durability::Complete] {
        survive(&Setup { durability, ..Setup::default() }).await;
    }
}

#[tokio::test]
async fn whatever_fails_under_ack_a_checked_request_counts_as_a_whole_or_not_at_all() {
    let durability = Durability::Ack;
    for chunks_per_part in [1, u64::MAX] {
        survive(&Setup { chunks_per_part, durability, ..Setup::default() }).await;
    }
}

/// Found by review: who tried for long and failed found even the bytes of earlier requests expired.
// spec: TUS-56
#[tokio::test]
async fn a_request_that_is_taken_back_is_a_sign_of_life_all_the_same() {
    for how in How::ALL {
        let bench = Bench::memory_with(|setup| setup.expire_after = Duration::from_secs(100));
        let id = prepare(&bench).await;
        bench.clock.advance(Duration::from_secs(90));
        let refused = checked(&bench, &id, (how, wrong())).await.unwrap();
        assert_eq!(refused.fate, Fate::TakenBack);
        assert_eq!(refused.deadline, bench.status(&id).await.deadline, "{how:?}");
        bench.clock.advance(Duration::from_secs(90));
        assert_eq!(bench.head(&id).await, len(&wanted()[..BEFORE]), "{how:?}");
        complete(&bench, &id, &mixed(), "afterwards").await;
    }
}
