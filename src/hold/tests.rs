//! Ledger and parts in disagreement: what a crash, a power loss or a careless hand leaves behind.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    durable::Flush,
    hold::{HoldError, Holds},
    ingest::{IngestError, MergeOutcome},
    lock::{Locks, Manner, NoFileLocks, ProcessLocks},
    storage::{Operation, Published},
    testing::{Bench, Medium, Setup, chunk, content, layout, len, part},
    upload::{Fact, FinalName, PartId, Phase, Timestamp, UploadId},
};

const HASH: &str = "00112233445566778899aabbccddeeff";
const LENGTH: u64 = 14;

/// An upload with the first `sent` bytes, whose process is about to end.
async fn sent(medium: Medium, sent: usize, change: impl FnOnce(&mut Setup)) -> (Bench, UploadId) {
    let bench = Bench::build(medium, change);
    let id = bench.create(Some(LENGTH)).await;
    bench.push(&id, 0, &content(14, 1)[..sent]).await.unwrap();
    (bench, id)
}

/// Goes on at `offset` after a restart and compares the file.
async fn goes_on_at(bench: &mut Bench, id: &UploadId, offset: u64) {
    bench.reopen().await;
    assert_eq!(bench.head(id).await, offset);
    assert_eq!(bench.status(id).await.offset.get(), offset);
    let bytes = content(14, 1);
    let rest = &bytes[usize::try_from(offset).unwrap()..];
    bench.push(id, offset, rest).await.unwrap();
    assert_eq!(bench.download(id).await, bytes);
    assert!(bench.parts(id).is_empty());
}

#[tokio::test]
async fn a_shortened_part_loses_what_is_gone_and_no_more() {
    for medium in Medium::BOTH {
        for size in 0..11 {
            let (mut bench, id) = sent(medium, 11, |_| {}).await;
            bench.shorten(&id, part(0), size);
            // Of a chunk that was sealed all bytes go; the one behind it can only be missing too.
            let left = if size > 8 { size } else { size / 4 * 4 };
            goes_on_at(&mut bench, &id, left).await;
        }
    }
}

#[tokio::test]
async fn a_part_that_is_gone_is_asked_for_again() {
    for medium in Medium::BOTH {
        for gone in 0..3 {
            let (mut bench, id) = sent(medium, 11, |setup| setup.chunks_per_part = 1).await;
            bench.storage().remove_part(&id, part(gone)).unwrap();
            bench.reopen().await;
            let bytes = content(14, 1);
            assert_eq!(bench.head(&id).await, gone * 4);
            assert_eq!(
                bench.status(&id).await.record.chunks().sealed(),
                if gone < 2 { 1 } else { 2 }
            );
            let from = usize::try_from(gone).unwrap() * 4;
            bench.push(&id, gone * 4, &bytes[from..]).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

#[tokio::test]
async fn dead_bytes_and_foreign_parts_are_cut_off() {
    for medium in Medium::BOTH {
        let bytes = content(14, 1);
        let mut bench = Bench::build(medium, |_| {});
        bench.put(HASH, (0, &bytes[..4]), layout(4, LENGTH, 4)).await.unwrap();
        bench.put(HASH, (2, &bytes[8..12]), None).await.unwrap();
        let id = bench.id_of(HASH);
        // Behind a chunk in front of nothing; parts of chunks that lie elsewhere or are missing.
        bench.scribble(&id, part(2), 4, b"garbage");
        bench.plant(&id, PartId { first: chunk(0), generation: 3 }, b"old");
        bench.plant(&id, part(3), b"zz");
        bench.reopen().await;
        assert_eq!(bench.head(&id).await, 4);
        assert_eq!(bench.parts(&id), [("0.part".to_owned(), 4), ("2.part".to_owned(), 4)]);
        bench.push(&id, 4, &bytes[4..]).await.unwrap();
        assert_eq!(bench.download(&id).await, bytes);
    }
}

#[tokio::test]
async fn whole_chunks_that_nobody_sealed_are_sealed_at_the_next_look() {
    for medium in Medium::BOTH {
        for there in [1, 3, 4, 7, 8, 13] {
            let mut bench = Bench::build(medium, |_| {});
            let id = bench.create(Some(LENGTH)).await;
            bench.plant(&id, part(0), &content(14, 1)[..there]);
            goes_on_at(&mut bench, &id, u64::try_from(there).unwrap()).await;
        }
        // All of them: nothing is left to send, and the first one to look finishes it.
        let mut bench = Bench::build(medium, |_| {});
        let id = bench.create(Some(LENGTH)).await;
        bench.plant(&id, part(0), &content(14, 1));
        bench.reopen().await;
        assert_eq!(bench.head(&id).await, LENGTH);
        assert_eq!(bench.download(&id).await, content(14, 1));
    }
}

/// A complete upload of the chunk flow, absorbed into one part.
async fn complete(medium: Medium) -> (Bench, UploadId) {
    let bench = Bench::build(medium, |_| {});
    let bytes = content(14, 1);
    for index in 0..4_u64 {
        let at = usize::try_from(index).unwrap() * 4;
        let chunk = &bytes[at..(at + 4).min(14)];
        bench.put(HASH, (index, chunk), layout(4, LENGTH, 4)).await.unwrap();
    }
    bench.settle().await;
    let id = bench.id_of(HASH);
    assert_eq!(bench.parts(&id), [("0.part".to_owned(), LENGTH)]);
    (bench, id)
}

fn merging(name: &str) -> Fact {
    Fact::Merging { name: FinalName::parse(name).unwrap(), form: None, mark: None }
}

#[tokio::test]
async fn a_publish_that_broke_off_before_its_rename_did_not_happen() {
    for medium in Medium::BOTH {
        for taken in [false, true] {
            let (mut bench, id) = complete(medium).await;
            if taken {
                // The name belongs to somebody else's file of the same length.
                let other = bench.create(Some(LENGTH)).await;
                bench.plant(&other, part(0), &content(14, 2));
                let name = FinalName::parse("world").unwrap();
                bench.storage().publish(&other, part(0), &name, Flush::Lazy).unwrap();
            }
            bench.force(&id, [merging("world")]).await;
            assert!(bench.status(&id).await.merging);
            bench.reopen().await;
            assert_eq!(bench.head(&id).await, LENGTH);
            assert_eq!(bench.status(&id).await.record.phase(), Phase::Received);
            let merged = bench.merge(&id).await.unwrap();
            assert!(matches!(merged, MergeOutcome::Merged(_)), "{merged:?}");
            assert_eq!(bench.download(&id).await, content(14, 1));
        }
    }
}

#[tokio::test]
async fn a_publish_that_broke_off_behind_its_rename_did_happen() {
    for medium in Medium::BOTH {
        for by_merge in [false, true] {
            let (mut bench, id) = complete(medium).await;
            bench.force(&id, [merging("world")]).await;
            let name = FinalName::parse("world").unwrap();
            let published = bench.storage().publish(&id, part(0), &name, Flush::Lazy).unwrap();
            assert_eq!(published, Published::Done);
            bench.reopen().await;
            if by_merge {
                let merged = bench.merge(&id).await.unwrap();
                assert!(matches!(merged, MergeOutcome::AlreadyMerged(_)), "{merged:?}");
            } else {
                assert_eq!(bench.head(&id).await, LENGTH);
            }
            let view = bench.status(&id).await;
            assert_eq!(view.record.finished().unwrap().name, name);
            assert_eq!(bench.download(&id).await, content(14, 1));
            assert!(bench.parts(&id).is_empty());
        }
    }
}

#[tokio::test]
async fn a_publish_whose_file_is_gone_asks_for_everything_again() {
    let (mut bench, id) = complete(Medium::Local).await;
    bench.force(&id, [merging("world")]).await;
    bench.storage().remove_part(&id, part(0)).unwrap();
    bench.reopen().await;
    assert_eq!(bench.head(&id).await, 0);
    bench.push(&id, 0, &content(14, 1)).await.unwrap();
    assert_eq!(bench.download(&id).await, content(14, 1));
}

/// Found by reading: the name of a publish that broke off was taken for the upload's own once its
/// part was gone, although a power loss takes parts too.
#[tokio::test]
async fn after_a_power_loss_nobody_elses_file_is_removed() {
    for terminated in [false, true] {
        let (mut bench, id) = complete(Medium::Local).await;
        let other = bench.create(Some(LENGTH)).await;
        bench.plant(&other, part(0), &content(14, 2));
        let name = FinalName::parse("world").unwrap();
        bench.storage().publish(&other, part(0), &name, Flush::Lazy).unwrap();
        bench.force(&id, [merging("world")]).await;
        bench.storage().remove_part(&id, part(0)).unwrap();
        bench.reopen_with(|setup| setup.epoch += 1).await;
        if terminated {
            bench.ingest.terminate(&id).await.unwrap();
        } else {
            assert_eq!(bench.head(&id).await, 0);
        }
        assert_eq!(bench.storage().finished_size(&name).unwrap(), Some(LENGTH));
    }
}

#[tokio::test]
async fn after_a_power_loss_a_flipped_bit_is_found() {
    for medium in Medium::BOTH {
        for flipped in [0, 5, 11, 13] {
            let (mut bench, id) = complete(medium).await;
            let mut wrong = content(14, 1)[usize::try_from(flipped).unwrap()];
            wrong ^= 0x10;
            bench.scribble(&id, part(0), flipped, &[wrong]);
            bench.reopen_with(|setup| setup.epoch += 1).await;
            assert_eq!(bench.head(&id).await, flipped / 4 * 4);
            assert_eq!(bench.status(&id).await.record.chunks().sealed(), 3);
            let from = usize::try_from(flipped / 4 * 4).unwrap();
            let sent = content(14, 1)[from..(from + 4).min(14)].to_vec();
            bench.put(HASH, (flipped / 4, &sent), None).await.unwrap();
            bench.merge(&id).await.unwrap();
            assert_eq!(bench.download(&id).await, content(14, 1));
        }
    }
}

#[tokio::test]
async fn after_a_power_loss_only_a_promised_tail_is_believed() {
    use crate::durable::Durability::{Ack, None};
    for medium in Medium::BOTH {
        for (durability, harm, left) in [
            (None, Harm::Nothing, 8),
            (Ack, Harm::Nothing, 11),
            // More than was promised: a request that was cut off.
            (Ack, Harm::Longer, 11),
            (Ack, Harm::Shorter, 8),
            (Ack, Harm::Flipped, 8),
        ] {
            for chunks_per_part in [1, u64::MAX] {
                let (mut bench, id) = sent(medium, 11, |setup| {
                    (setup.durability, setup.chunks_per_part) = (durability, chunks_per_part);
                })
                .await;
                let (tail, base) = if chunks_per_part == 1 { (part(2), 0) } else { (part(0), 8) };
                match harm {
                    Harm::Nothing => {}
                    Harm::Longer => bench.scribble(&id, tail, base + 3, b"more than a chunk"),
                    Harm::Shorter => bench.shorten(&id, tail, base + 2),
                    Harm::Flipped => bench.scribble(&id, tail, base + 1, &[0xff]),
                }
                bench.reopen_with(|setup| setup.epoch += 1).await;
                assert_eq!(bench.head(&id).await, left, "{durability:?} {harm:?}");
                goes_on_at(&mut bench, &id, left).await;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    Nothing,
    Longer,
    Shorter,
    Flipped,
}

#[tokio::test]
async fn after_a_power_loss_whole_chunks_that_nobody_sealed_are_not_believed() {
    for medium in Medium::BOTH {
        let (mut bench, id) = sent(medium, 4, |_| {}).await;
        // The size reached the disk, the bytes did not.
        bench.scribble(&id, part(0), 4, &[0; 6]);
        bench.reopen_with(|setup| setup.epoch += 1).await;
        assert_eq!(bench.head(&id).await, 4);
        goes_on_at(&mut bench, &id, 4).await;
    }
}

#[tokio::test]
async fn a_chunk_that_is_lost_is_not_found_again_in_dead_bytes() {
    for medium in Medium::BOTH {
        let old = content(8, 2);
        let mut bench = Bench::build(medium, |_| {});
        bench.put(HASH, (0, &content(14, 1)[..4]), layout(4, LENGTH, 4)).await.unwrap();
        bench.put(HASH, (1, &content(14, 1)[4..8]), None).await.unwrap();
        bench.settle().await;
        let id = bench.id_of(HASH);
        let mut held = bench.holds.take(&id, Manner::Asking).await.unwrap();
        // As if it had been replaced, and the process died before older bytes were cut off.
        let moved = PartId { first: chunk(1), generation: 1 };
        let digest = Some(crate::upload::Sha256Digest::of(b"new!"));
        let sealed =
            Fact::Sealed { chunk: chunk(1), length: 4, digest, part: moved, flushed: false };
        held.commit([sealed], Flush::Lazy).unwrap();
        held.doubt();
        drop(held);
        bench.scribble(&id, part(0), 4, &old[..4]);
        bench.reopen().await;
        assert_eq!(bench.head(&id).await, 4);
        assert_eq!(bench.parts(&id), [("0.part".to_owned(), 4)]);
    }
}

#[tokio::test]
async fn an_upload_that_is_damaged_takes_nothing_and_can_be_deleted() {
    for medium in Medium::BOTH {
        let (mut bench, id) = sent(medium, 11, |_| {}).await;
        bench.force(&id, [Fact::Corrupt]).await;
        bench.reopen().await;
        let append = bench.push(&id, 11, b"x").await;
        assert!(matches!(append, Err(IngestError::Hold(HoldError::Damaged(_)))), "{append:?}");
        let head = bench.ingest.head(&id).await;
        assert!(matches!(head, Err(IngestError::Hold(HoldError::Damaged(_)))), "{head:?}");
        bench.ingest.terminate(&id).await.unwrap();
        assert!(bench.parts(&id).is_empty());
    }
}

/// A power loss that shortens a file is the usual one: its name came to the disk, not its bytes.
// spec: STORE-33
#[tokio::test]
async fn a_finished_file_that_a_power_loss_cut_may_be_sent_anew_at_once() {
    for left in [0, 5] {
        let (mut bench, bytes) = (Bench::local(), content(14, 1));
        let put = async |bench: &Bench, index: usize| {
            let end = bytes.len().min(4 * index + 4);
            let one = (u64::try_from(index).unwrap(), &bytes[4 * index..end]);
            bench.put(HASH, one, layout(4, 14, 4)).await
        };
        for index in 0..4 {
            put(&bench, index).await.unwrap();
        }
        let id = bench.id_of(HASH);
        bench.merge(&id).await.unwrap();
        let name = bench.status(&id).await.record.finished().unwrap().name.clone();
        let file = bench.folder().join("files").join(name.as_str());
        std::fs::File::options().write(true).open(&file).unwrap().set_len(left).unwrap();
        bench.reopen_with(|setup| setup.epoch += 1).await;
        let told = bench.ingest.status(&id).await;
        assert!(matches!(told, Err(IngestError::Hold(HoldError::Damaged(_)))), "{told:?}");
        for index in 0..4 {
            put(&bench, index).await.unwrap();
        }
        bench.merge(&id).await.unwrap();
        assert_eq!(bench.download(&id).await, bytes);
        assert_eq!(std::fs::metadata(&file).unwrap().len(), left, "it may be another's");
    }
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_can_be_deleted() {
    let (mut bench, id) = sent(Medium::Local, 11, |_| {}).await;
    let ledger = crate::state::local::ledger_path(&bench.folder().join("state"), &id);
    let mut bytes = std::fs::read(&ledger).unwrap();
    // Not in the last fact: a torn end is no damage.
    let middle = bytes.len() - 142;
    bytes[middle] ^= 1;
    std::fs::write(&ledger, bytes).unwrap();
    bench.reopen().await;
    let append = bench.push(&id, 11, b"x").await;
    assert!(matches!(append, Err(IngestError::Hold(HoldError::Damaged(_)))), "{append:?}");
    bench.ingest.terminate(&id).await.unwrap();
    let gone = bench.ingest.status(&id).await;
    assert!(matches!(gone, Err(IngestError::Hold(HoldError::Unknown))), "{gone:?}");
}

#[tokio::test]
async fn two_processes_take_turns() {
    let bench = Bench::local_with(|s| s.patience = Duration::from_millis(50));
    let bytes = content(14, 1);
    let id = bench.create(Some(LENGTH)).await;
    let other = bench.another_house();
    let held = bench.holds.take(&id, Manner::Asking).await.unwrap();
    let busy = other.push(&id, 0, &bytes[..3]).await;
    assert!(matches!(busy, Err(IngestError::Hold(HoldError::Busy))), "{busy:?}");
    assert!(matches!(other.holds.try_take(&id).await, Err(HoldError::Busy)));
    assert_eq!(other.status(&id).await.offset.get(), 0);
    drop(held);
    other.push(&id, 0, &bytes[..3]).await.unwrap();
    let mut houses = [&bench.house, &other].into_iter().cycle();
    for at in 3..14 {
        let house = houses.next().unwrap();
        assert_eq!(house.head(&id).await, len(&bytes[..at]));
        house.push(&id, len(&bytes[..at]), &bytes[at..=at]).await.unwrap();
    }
    for house in [&bench.house, &other] {
        assert_eq!(house.download(&id).await, bytes);
    }
}

#[tokio::test]
async fn two_processes_put_chunks_of_one_upload() {
    let bench = Bench::local();
    let other = bench.another_house();
    let bytes = content(14, 1);
    let put = |house: crate::testing::House, index: u64| {
        let at = usize::try_from(index).unwrap() * 4;
        let chunk = bytes[at..(at + 4).min(14)].to_vec();
        async move { house.put(HASH, (index, &chunk), layout(4, LENGTH, 4)).await }
    };
    let (a, b) = (bench.house.clone(), other.clone());
    let done = tokio::join!(put(a.clone(), 3), put(b.clone(), 1), put(a, 2), put(b, 0));
    for fate in [done.0, done.1, done.2, done.3] {
        fate.unwrap();
    }
    other.merge(&bench.id_of(HASH)).await.unwrap();
    assert_eq!(bench.download(&bench.id_of(HASH)).await, bytes);
}

/// A clock that takes its time: when it is asked, somebody deletes the upload.
#[derive(Debug)]
struct Deleting(Arc<Holds>, UploadId);

impl Clock for Deleting {
    fn now(&self) -> Timestamp {
        // Facts first, as in a deletion. The second time there is nothing left to delete.
        let _ = self.0.state().forget(&self.1);
        self.0.storage().remove_upload(&self.1).unwrap();
        self.0.now()
    }
}

// A look reads the facts and then counts bytes; in between the upload may go.
#[tokio::test]
async fn who_looks_never_sees_an_upload_without_the_bytes_that_a_deletion_took() {
    for medium in Medium::BOTH {
        let (bench, id) = sent(medium, 6, |_| {}).await;
        let clock = Arc::new(Deleting(bench.holds.clone(), id.clone()));
        let (state, storage) = (bench.holds.state().clone(), bench.holds.storage().clone());
        let files: Arc<dyn ProcessLocks> = Arc::new(NoFileLocks);
        let locks = (Locks::new(Duration::ZERO), files);
        let slow = Holds::new(state, storage, locks, clock, *bench.holds.options());
        let seen = slow.look(&id);
        assert!(matches!(seen, Err(HoldError::Unknown)), "{seen:?}");
    }
}

// spec: STORE-80
#[tokio::test]
async fn killed_twice_no_byte_of_a_deleted_upload_comes_back() {
    for medium in Medium::BOTH {
        for sent in [3, 4, 11] {
            let mut bench = Bench::build(medium, |_| {});
            let other = content(14, 2);
            bench.put(HASH, (3, &other[12..]), layout(4, LENGTH, 4)).await.unwrap();
            let id = bench.id_of(HASH);
            bench.push(&id, 0, &other[..sent]).await.unwrap();
            bench.settle().await;
            let manifest = bench.status(&id).await.record.manifest().clone();
            // Within a DELETE, and right behind the new ledger.
            bench.holds.state().forget(&id).unwrap();
            bench.reopen().await;
            bench.holds.state().create(manifest, Flush::Lazy).unwrap();
            bench.reopen().await;
            assert_eq!(bench.status(&id).await.offset.get(), 0, "to whoever only looks");
            goes_on_at(&mut bench, &id, 0).await;
        }
    }
}

/// Deletes up to a point at which the name of the file is free.
#[derive(Debug, Clone, Copy)]
enum Deleted {
    HalfWay,
    Wholly,
}

// spec: STORE-81
#[tokio::test]
async fn a_download_that_meets_a_delete_gives_no_other_uploads_bytes() {
    for medium in Medium::BOTH {
        for deleted in [Deleted::HalfWay, Deleted::Wholly] {
            let (bench, id) = sent(medium, 14, |_| {}).await;
            let record = bench.status(&id).await.record;
            bench.faults.hang(Operation::OpenFinished, 1);
            let (ingest, own) = (bench.ingest.clone(), id.clone());
            let download = tokio::spawn(async move { ingest.download(&own).await.map(drop) });
            while bench.faults.hanging() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            match deleted {
                Deleted::HalfWay => bench.holds.withdraw_file(&record).unwrap(),
                Deleted::Wholly => bench.holds.forget(&id).await.unwrap(),
            }
            let other = UploadId::parse(&"e".repeat(32)).unwrap();
            bench.plant(&other, part(0), b"bytes of another");
            let name = &record.finished().unwrap().name;
            let published = bench.storage().publish(&other, part(0), name, Flush::Lazy);
            assert_eq!(published.unwrap(), Published::Done);
            bench.faults.release();
            let gone = download.await.unwrap();
            let unknown = matches!(gone, Err(IngestError::Hold(HoldError::Unknown)));
            assert!(unknown, "{deleted:?}: {gone:?}");
        }
    }
}

// spec: STORE-81
#[tokio::test]
async fn a_delete_that_was_cut_off_behind_its_withdrawal_leaves_nothing_and_takes_nothing_else() {
    for medium in Medium::BOTH {
        let (mut bench, id) = sent(medium, 14, |_| {}).await;
        let record = bench.status(&id).await.record;
        let name = &record.finished().unwrap().name;
        bench.holds.withdraw_file(&record).unwrap();
        bench.reopen().await;
        let other = UploadId::parse(&"e".repeat(32)).unwrap();
        bench.plant(&other, part(0), b"bytes of another");
        bench.storage().publish(&other, part(0), name, Flush::Lazy).unwrap();
        bench.holds.remove_remains(&id).unwrap();
        assert!(bench.parts(&id).is_empty());
        assert!(matches!(bench.ingest.status(&id).await, Err(IngestError::Hold(_))));
        let left = bench.storage().open_finished(name).unwrap().size().unwrap();
        assert_eq!(left, 16, "the other's file");
    }
}
