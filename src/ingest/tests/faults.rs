//! A disk that fails: for every call that a story makes, the same story with that call failing.
//! What was acknowledged stays, and the upload can be completed with the right bytes.

use std::collections::BTreeMap;

use crate::{
    durable::Durability,
    hold::HoldError,
    ingest::{IngestError, MergeOutcome},
    storage::{Failure, Operation},
    testing::{Bench, Medium, content, key, layout, len},
    upload::{
        Checksum, ChecksumAlgorithm, ChecksumDemand, ChunkKey, Phase, Sha256Digest, UploadId,
    },
};

const HASH: &str = "00112233445566778899aabbccddeeff";

/// How the disk fails.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// One call of the storage.
    Storage(Failure),
    /// One write, which stores half.
    ShortWrite,
    /// One change of a ledger.
    Ledger,
    /// From one call of the storage on, nothing works any more.
    Crash,
    /// From one change of a ledger on, nothing works any more.
    LedgerCrash,
}

impl Trouble {
    const ALL: [Self; 6] = [
        Self::Storage(Failure::NoSpace),
        Self::Storage(Failure::Device),
        Self::ShortWrite,
        Self::Ledger,
        Self::Crash,
        Self::LedgerCrash,
    ];

    fn begin(self, bench: &Bench, nth: u64) {
        match self {
            Self::Storage(failure) => bench.faults.fail_any(nth, failure),
            Self::ShortWrite => bench.faults.cut_write(nth, Failure::NoSpace),
            Self::Crash => bench.faults.fail_any_from(nth, Failure::Device),
            Self::Ledger | Self::LedgerCrash => bench.ledgers.fail(nth),
        }
        if matches!(self, Self::Crash | Self::LedgerCrash) {
            bench.ledgers.crash();
        }
    }

    const fn is_crash(self) -> bool {
        matches!(self, Self::Crash | Self::LedgerCrash)
    }
}

/// What a client did, and what it was told.
#[derive(Debug, Default)]
struct Told {
    offset: u64,
    /// Chunks that the server said to have.
    chunks: BTreeMap<u64, Vec<u8>>,
    /// A chunk that was on its way when the server failed.
    unsure: Option<(u64, Vec<u8>)>,
    finished: bool,
    gone: bool,
}

/// The bytes that the client wants there in the end.
const LENGTH: usize = 14;

fn chunk_of(bytes: &[u8], index: u64) -> Vec<u8> {
    let at = usize::try_from(index).unwrap() * 4;
    bytes[at..(at + 4).min(bytes.len())].to_vec()
}

impl Told {
    async fn append(&mut self, bench: &Bench, id: &UploadId, to: usize) -> Result<(), IngestError> {
        let bytes = content(LENGTH, 1);
        let from = usize::try_from(self.offset).unwrap();
        let script = crate::testing::Script::of(&bytes[from..to]);
        let appended = bench.append(id, self.offset, script).await?;
        let lost = bench.faults.failed().contains(&Operation::Sync);
        assert!(lost || appended.offset.get() >= self.offset, "{appended:?} {self:?}");
        if let Some(error) = appended.failure {
            return Err(error);
        }
        self.offset = appended.offset.get();
        self.finished |= appended.finished.is_some();
        Ok(())
    }

    async fn append_checked(
        &mut self,
        bench: &Bench,
        id: &UploadId,
        to: usize,
        sum: Sum,
    ) -> Result<(), IngestError> {
        let bytes = content(LENGTH, 1);
        let from = usize::try_from(self.offset).unwrap();
        let of = if sum == Sum::Right { &bytes[from..to] } else { b"other bytes" };
        let demand = ChecksumDemand::Checksum(Checksum::of(ChecksumAlgorithm::Sha256, of));
        let script = crate::testing::Script::of(&bytes[from..to]);
        let appended = bench.append_checked(id, self.offset, script, demand).await?;
        match appended.failure {
            Some(IngestError::ChecksumMismatch { .. }) if sum == Sum::Wrong => {}
            Some(error) => return Err(error),
            None => assert_eq!(sum, Sum::Right, "{appended:?}"),
        }
        assert!(appended.offset.get() >= self.offset, "{appended:?} {self:?}");
        self.offset = appended.offset.get();
        self.finished |= appended.finished.is_some();
        Ok(())
    }

    /// Whatever is found has what was told.
    async fn ask(&self, bench: &Bench) -> Result<(), IngestError> {
        let named = key(HASH);
        let unnamed = ChunkKey { filename: None, ..named.clone() };
        for view in [
            bench.ingest.status_of(named.clone()).await?,
            bench.ingest.status_of(unnamed).await?,
            bench.ingest.status_for_chunk(named).await?,
        ] {
            for (index, bytes) in &self.chunks {
                let sealed = view.record.chunks().get(crate::testing::chunk(*index)).unwrap();
                assert_eq!(sealed.digest, Some(Sha256Digest::of(bytes)));
            }
        }
        Ok(())
    }

    async fn put(&mut self, bench: &Bench, index: u64, salt: u8) -> Result<(), IngestError> {
        let bytes = chunk_of(&content(LENGTH, salt), index);
        self.unsure = Some((index, bytes.clone()));
        bench.put(HASH, (index, &bytes), layout(4, 14, 4)).await?;
        bench.settle().await;
        self.chunks.insert(index, bytes);
        self.unsure = None;
        Ok(())
    }

    async fn merge(&mut self, bench: &Bench, id: &UploadId) -> Result<(), IngestError> {
        bench.merge(id).await?;
        self.finished = true;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    Right,
    Wrong,
}

/// What a story does; the same for every fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    AppendAndFinish,
    AppendAfterRestart,
    PutAndMerge,
    Replace,
    ReplaceBeforeTail,
    AppendOverChunks,
    /// Bytes with checksums, a wrong one among them.
    Checked,
    /// Looks by name in between, as index clients do.
    Asked,
    Terminate,
    TerminateFinished,
}

impl Story {
    const ALL: [Self; 10] = [
        Self::Checked,
        Self::Asked,
        Self::AppendAndFinish,
        Self::AppendAfterRestart,
        Self::PutAndMerge,
        Self::Replace,
        Self::ReplaceBeforeTail,
        Self::AppendOverChunks,
        Self::Terminate,
        Self::TerminateFinished,
    ];

    /// What is there before anything fails.
    async fn prepare(self, bench: &mut Bench, told: &mut Told) -> UploadId {
        match self {
            Self::AppendAndFinish | Self::Checked => return bench.create(Some(14)).await,
            Self::AppendAfterRestart | Self::Terminate => {
                let id = bench.create(Some(14)).await;
                told.append(bench, &id, 7).await.unwrap();
                bench.reopen().await;
                return id;
            }
            Self::TerminateFinished => {
                let id = bench.create(Some(14)).await;
                told.append(bench, &id, 14).await.unwrap();
                return id;
            }
            Self::PutAndMerge | Self::Asked => {}
            Self::Replace => {
                for index in [0, 1, 2] {
                    told.put(bench, index, 2).await.unwrap();
                }
            }
            Self::ReplaceBeforeTail => {
                told.put(bench, 0, 1).await.unwrap();
                told.offset = 4;
                told.append(bench, &bench.id_of(HASH), 11).await.unwrap();
            }
            Self::AppendOverChunks => {
                told.put(bench, 0, 1).await.unwrap();
                told.put(bench, 2, 2).await.unwrap();
                told.offset = 4;
            }
        }
        bench.id_of(HASH)
    }

    async fn run(self, bench: &Bench, id: &UploadId, told: &mut Told) -> Result<(), IngestError> {
        match self {
            Self::AppendAndFinish => {
                for to in [3, 4, 9, 13, 14] {
                    told.append(bench, id, to).await?;
                }
            }
            Self::AppendAfterRestart => {
                for to in [8, 14] {
                    told.append(bench, id, to).await?;
                }
            }
            Self::PutAndMerge => {
                for index in [3, 1, 0, 2] {
                    told.put(bench, index, 1).await?;
                }
                told.merge(bench, id).await?;
            }
            Self::Checked => {
                for (to, sum) in [(3, Sum::Right), (9, Sum::Wrong), (9, Sum::Right)] {
                    told.append_checked(bench, id, to, sum).await?;
                }
                told.append_checked(bench, id, 14, Sum::Right).await?;
            }
            Self::Asked => {
                for index in [1, 0] {
                    told.put(bench, index, 1).await?;
                    told.ask(bench).await?;
                }
            }
            Self::Replace => {
                for index in [1, 0, 2] {
                    told.put(bench, index, 1).await?;
                }
            }
            Self::ReplaceBeforeTail => told.put(bench, 1, 2).await?,
            Self::AppendOverChunks => {
                told.chunks.remove(&2);
                told.unsure = Some((2, chunk_of(&content(LENGTH, 1), 2)));
                told.append(bench, id, 13).await?;
                told.append(bench, id, 14).await?;
            }
            Self::Terminate | Self::TerminateFinished => {
                // Who asks for an end has given up what was there.
                *told = Told::default();
                bench.ingest.terminate(id).await?;
                told.gone = true;
            }
        }
        Ok(())
    }
}

/// Everything that was acknowledged is there.
async fn check(bench: &Bench, id: &UploadId, told: &Told, what: &str) {
    let view = match bench.ingest.status(id).await {
        Ok(view) => view,
        Err(IngestError::Hold(HoldError::Unknown)) => {
            let begun = told.offset > 0 || !told.chunks.is_empty();
            assert!(told.gone || !begun, "{what}: {told:?}");
            return;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    assert!(!told.gone, "{what}");
    assert!(view.offset.get() >= told.offset, "{what}: {view:?} {told:?}");
    for (index, bytes) in &told.chunks {
        let sealed = view.record.chunks().get(crate::testing::chunk(*index));
        let digest = sealed.map(|sealed| sealed.digest.unwrap());
        let newer = told.unsure.as_ref().filter(|(chunk, _)| chunk == index);
        let either = [Some(bytes), newer.map(|(_, bytes)| bytes)];
        let known = |bytes: &Vec<u8>| digest == Some(Sha256Digest::of(bytes));
        assert!(either.into_iter().flatten().any(known), "{what}: chunk {index} {view:?}");
    }
    if told.finished {
        assert_eq!(view.record.phase(), Phase::Finished, "{what}");
    }
}

/// Sends what is missing, and compares the file.
async fn complete(bench: &Bench, id: &UploadId, story: Story, what: &str) {
    let bytes = content(LENGTH, 1);
    if matches!(story, Story::Terminate | Story::TerminateFinished) {
        match bench.ingest.terminate(id).await {
            Ok(()) | Err(IngestError::Hold(HoldError::Unknown)) => {}
            Err(error) => panic!("{what}: {error}"),
        }
        assert!(bench.ingest.status(id).await.is_err(), "{what}");
        // Bytes that outlive their facts are swept.
        let swept = bench.holds.remove_orphan(id);
        assert!(swept.is_ok() || bench.parts(id).is_empty(), "{what}: {swept:?}");
        assert!(bench.parts(id).is_empty(), "{what}");
        return;
    }
    let begun = bench.ingest.status(id).await.is_ok();
    let head = if begun { bench.head(id).await } else { 0 };
    let view = bench.ingest.status(id).await.ok();
    assert_eq!(view.as_ref().map_or(0, |view| view.offset.get()), head, "{what}");
    let finished = view.is_some_and(|view| view.record.finished().is_some());
    let appends = [Story::AppendAndFinish, Story::AppendAfterRestart, Story::Checked];
    if appends.contains(&story) {
        if !finished {
            let rest = &bytes[usize::try_from(head).unwrap()..];
            let told = bench.push(id, head, rest).await;
            assert_eq!(told.unwrap_or_else(|e| panic!("{what}: {e}")), len(&bytes), "{what}");
        }
    } else if !finished {
        for index in 0..4 {
            let chunk = chunk_of(&bytes, index);
            let put = bench.put(HASH, (index, &chunk), layout(4, 14, 4)).await;
            put.unwrap_or_else(|error| panic!("{what}: chunk {index}: {error}"));
        }
        let merged = bench.merge(id).await;
        let merged = merged.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!matches!(merged, MergeOutcome::Running), "{what}");
    }
    assert_eq!(bench.download(id).await, bytes, "{what}");
    assert!(bench.parts(id).is_empty(), "{what}");
}

async fn survive(medium: Medium, durability: Durability, troubles: &[Trouble]) {
    for story in Story::ALL {
        for trouble in troubles.iter().copied() {
            for restarts in [false, true] {
                if trouble.is_crash() && !restarts {
                    continue;
                }
                for nth in 1.. {
                    let what = format!("{story:?} {trouble:?} {nth} {restarts} {durability:?}");
                    if once(medium, durability, (story, trouble, nth, restarts), &what).await {
                        break;
                    }
                }
            }
        }
    }
}

/// One story with one fault; true if nothing failed any more.
async fn once(
    medium: Medium,
    durability: Durability,
    (story, trouble, nth, restarts): (Story, Trouble, u64, bool),
    what: &str,
) -> bool {
    let mut bench = Bench::build(medium, |setup| setup.durability = durability);
    let mut told = Told::default();
    let id = story.prepare(&mut bench, &mut told).await;
    trouble.begin(&bench, nth);
    let done = story.run(&bench, &id, &mut told).await;
    bench.settle().await;
    let failed = bench.faults.failed();
    let nothing_failed = failed.is_empty() && bench.ledgers.failed() == 0;
    assert!(!nothing_failed || done.is_ok(), "{what}: {done:?}");
    if trouble.is_crash() {
        bench.reopen().await;
    }
    bench.faults.clear();
    bench.ledgers.clear();
    if restarts {
        bench.reopen().await;
    }
    let what = format!("{what} {failed:?} {done:?}");
    // A failed flush takes back what was told.
    let lost = failed.contains(&Operation::Sync) && !trouble.is_crash();
    if !lost {
        check(&bench, &id, &told, &what).await;
    }
    complete(&bench, &id, story, &what).await;
    nothing_failed
}

#[tokio::test]
async fn whatever_fails_in_memory_what_was_told_stays() {
    survive(Medium::Memory, Durability::None, &Trouble::ALL).await;
}

#[tokio::test]
async fn whatever_fails_on_a_disk_what_was_told_stays() {
    let troubles = [Trouble::Storage(Failure::Device), Trouble::Crash];
    survive(Medium::Local, Durability::None, &troubles).await;
}

#[tokio::test]
async fn whatever_fails_under_other_policies_what_was_told_stays() {
    let troubles = [Trouble::Storage(Failure::Device), Trouble::Ledger, Trouble::LedgerCrash];
    for durability in [Durability::Complete, Durability::Ack] {
        survive(Medium::Memory, durability, &troubles).await;
    }
}

/// A failed fsync is final: no good answer, and the bytes are asked for again instead of being
/// flushed once more.
#[tokio::test]
async fn under_ack_a_failed_flush_takes_back_what_the_request_stored() {
    for medium in Medium::BOTH {
        for restarts in [false, true] {
            let mut bench = Bench::build(medium, |setup| setup.durability = Durability::Ack);
            let bytes = content(LENGTH, 1);
            let id = bench.create(Some(14)).await;
            bench.push(&id, 0, &bytes[..4]).await.unwrap();
            bench.faults.fail(Operation::Sync, 1, Failure::Device);
            assert!(bench.push(&id, 4, &bytes[4..11]).await.is_err());
            if restarts {
                bench.reopen().await;
            }
            assert_eq!(bench.head(&id).await, 4);
            bench.push(&id, 4, &bytes[4..]).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

/// What an earlier flush brought to the disk is there, in the middle of a chunk too, and also where
/// the disk fails until it is well again.
// spec: STORE-34
#[tokio::test]
async fn under_ack_a_failed_flush_keeps_what_earlier_answers_promised() {
    let failing: [fn(&Bench); 2] = [
        |bench| bench.faults.fail(Operation::Sync, 1, Failure::Device),
        |bench| bench.faults.fail_from(Operation::Sync, 1, Failure::Device),
    ];
    for medium in Medium::BOTH {
        for (fail, end, restarts) in failing.iter().flat_map(|fail| {
            let ends = [7, 8, 9, 13].into_iter();
            ends.flat_map(move |end| [(fail, end, false), (fail, end, true)])
        }) {
            let mut bench = Bench::build(medium, |setup| setup.durability = Durability::Ack);
            let bytes = content(LENGTH, 1);
            let id = bench.create(Some(14)).await;
            assert_eq!(bench.push(&id, 0, &bytes[..6]).await.unwrap(), 6);
            fail(&bench);
            assert!(bench.push(&id, 6, &bytes[6..end]).await.is_err());
            bench.faults.clear();
            if restarts {
                bench.reopen().await;
            }
            assert_eq!(bench.head(&id).await, 6, "to {end}");
            bench.push(&id, 6, &bytes[6..]).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

/// A process that died behind the rename of a part had not flushed its name yet.
#[tokio::test]
async fn under_ack_the_name_of_a_part_that_is_found_is_flushed_before_it_is_told() {
    let mut bench = Bench::memory_with(|setup| setup.durability = Durability::Ack);
    let bytes = content(LENGTH, 1);
    let id = bench.create(Some(14)).await;
    bench.plant(&id, crate::testing::part(0), &bytes[..6]);
    bench.reopen().await;
    bench.faults.clear();
    bench.faults.fail(Operation::SyncParts, 1, Failure::Device);
    let refused = bench.ingest.head(&id).await;
    assert!(matches!(refused, Err(IngestError::Hold(HoldError::Busy))), "{refused:?}");
    assert_eq!(bench.head(&id).await, 6);
    assert_eq!(bench.faults.calls(Operation::SyncParts), 2);
}

#[tokio::test]
async fn under_complete_a_failed_flush_asks_for_everything_again() {
    for medium in Medium::BOTH {
        for restarts in [false, true] {
            let mut bench = Bench::build(medium, |setup| setup.durability = Durability::Complete);
            let bytes = content(LENGTH, 1);
            let id = bench.create(Some(14)).await;
            bench.push(&id, 0, &bytes[..11]).await.unwrap();
            bench.faults.fail(Operation::Sync, 1, Failure::Device);
            let script = crate::testing::Script::of(&bytes[11..]);
            let appended = bench.append(&id, 11, script).await.unwrap();
            assert!(appended.failure.is_some() && appended.finished.is_none());
            assert_eq!(appended.offset.get(), 0);
            if restarts {
                bench.reopen().await;
            }
            assert_eq!(bench.head(&id).await, 0);
            assert_eq!(bench.faults.calls(Operation::Sync), 1);
            bench.push(&id, 0, &bytes).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

#[tokio::test]
async fn under_ack_a_chunk_whose_flush_fails_is_not_there() {
    let mut bench = Bench::local_with(|setup| setup.durability = Durability::Ack);
    let bytes = content(LENGTH, 1);
    bench.put(HASH, (0, &bytes[..4]), layout(4, 14, 4)).await.unwrap();
    bench.faults.fail(Operation::Sync, 1, Failure::Device);
    assert!(bench.put(HASH, (1, &bytes[4..8]), None).await.is_err());
    for _ in 0..2 {
        assert_eq!(bench.head(&bench.id_of(HASH)).await, 4);
        bench.reopen().await;
    }
    bench.put(HASH, (1, &bytes[4..8]), None).await.unwrap();
    assert_eq!(bench.head(&bench.id_of(HASH)).await, 8);
}

/// Every request that stores bytes ends with a flush of the part that they lie in.
#[tokio::test]
async fn under_ack_bytes_in_front_of_a_sealed_chunk_are_flushed_too() {
    for end in [8, 10] {
        let bench = Bench::memory_with(|setup| setup.durability = Durability::Ack);
        let bytes = content(LENGTH, 1);
        bench.put(HASH, (0, &bytes[..4]), layout(4, 14, 4)).await.unwrap();
        bench.put(HASH, (2, &bytes[8..12]), None).await.unwrap();
        bench.settle().await;
        bench.faults.clear();
        bench.push(&bench.id_of(HASH), 4, &bytes[4..end]).await.unwrap();
        assert_eq!(bench.faults.calls(Operation::Sync), 1);
    }
}

#[tokio::test]
async fn an_upload_expires_whatever_fails() {
    for trouble in Trouble::ALL {
        for nth in 1.. {
            let mut bench = Bench::memory();
            let mut told = Told::default();
            let id = Story::AppendAfterRestart.prepare(&mut bench, &mut told).await;
            bench.clock.advance(bench.setup.expire_after * 2);
            trouble.begin(&bench, nth);
            let held = bench.holds.try_take(&id).await;
            let done = held.and_then(crate::hold::Held::expire);
            let failed = !bench.faults.failed().is_empty() || bench.ledgers.failed() > 0;
            assert!(failed || done.is_ok(), "{trouble:?} {nth}: {done:?}");
            bench.faults.clear();
            bench.ledgers.clear();
            bench.reopen().await;
            // What was over at the start has a while left.
            bench.clock.advance(bench.setup.expire_after * 2);
            let gone = bench.ingest.status(&id).await;
            assert!(matches!(gone, Err(IngestError::Hold(HoldError::Expired))), "{gone:?}");
            let held = bench.holds.try_take(&id).await.unwrap();
            if held.record().phase() == Phase::Expired {
                drop(held);
                bench.holds.remove_remains(&id).unwrap();
            } else {
                held.expire().unwrap();
            }
            assert!(bench.parts(&id).is_empty());
            if !failed {
                break;
            }
        }
    }
}
