//! The road of offset clients.

use std::time::Duration;

use tokio::{task::JoinHandle, time};

use super::whole::new;
use crate::{
    durable::Durability,
    hold::{Hashing, HoldError},
    ingest::{Appended, Broken, End, IngestError},
    testing::{Bench, Frame, Medium, Script, composite, content, len},
    upload::{Phase, UploadId},
};

/// Sends `bytes` in requests of `step` bytes, and checks each answer and what others see.
async fn upload(bench: &mut Bench, bytes: &[u8], step: usize, restarts: bool) {
    let id = bench.create(Some(len(bytes))).await;
    let mut sent = 0;
    for piece in bytes.chunks(step) {
        assert_eq!(bench.push(&id, sent, piece).await.unwrap(), sent + len(piece));
        sent += len(piece);
        if restarts {
            bench.reopen().await;
        }
        assert_eq!(bench.status(&id).await.offset.get(), sent);
        assert_eq!(bench.head(&id).await, sent);
    }
    let view = bench.status(&id).await;
    let finished = view.record.finished().unwrap();
    assert_eq!(finished.length.get(), len(bytes));
    let digest = (bench.setup.hashing == Hashing::Sha256).then(|| composite(bytes, 4));
    assert_eq!(finished.composite, digest);
    assert_eq!(bench.download(&id).await, bytes);
    assert!(bench.parts(&id).is_empty());
}

#[tokio::test]
async fn any_split_of_the_bytes_gives_the_same_file() {
    let bytes = content(23, 1);
    for step in 1..=bytes.len() {
        for chunks_per_part in [1, 2, u64::MAX] {
            for restarts in [false, true] {
                let mut bench = Bench::memory_with(|s| s.chunks_per_part = chunks_per_part);
                upload(&mut bench, &bytes, step, restarts).await;
            }
        }
    }
}

#[tokio::test]
async fn every_policy_stores_the_same_bytes() {
    let bytes = content(23, 2);
    for durability in [Durability::None, Durability::Complete, Durability::Ack] {
        // `ack` needs digests.
        let off = Some(Hashing::Off).filter(|_| durability != Durability::Ack);
        for hashing in [Some(Hashing::Sha256), off].into_iter().flatten() {
            for (chunks_per_part, restarts) in [(1, true), (2, false), (u64::MAX, true)] {
                let mut bench = Bench::local_with(|setup| {
                    (setup.durability, setup.hashing) = (durability, hashing);
                    setup.chunks_per_part = chunks_per_part;
                });
                for step in [3, 4, 9, 23] {
                    upload(&mut bench, &bytes, step, restarts).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_large_body_goes_through_the_writer_thread() {
    let bytes = content(3_000_001, 3);
    for announced in [true, false] {
        let bench = Bench::local_with(|setup| setup.chunk_size = 1 << 20);
        let id = bench.create(Some(len(&bytes))).await;
        let script = Script::in_frames(&bytes, 70_001);
        let script = if announced { script } else { script.unannounced() };
        let appended = bench.append(&id, 0, script).await.unwrap();
        assert_eq!((appended.offset.get(), appended.end), (len(&bytes), End::Complete));
        assert_eq!(bench.download(&id).await, bytes);
        let finished = bench.status(&id).await.record.finished().cloned().unwrap();
        assert_eq!(finished.composite, Some(composite(&bytes, 1 << 20)));
    }
}

#[tokio::test]
async fn what_came_before_a_break_is_kept() {
    for medium in Medium::BOTH {
        for large in [false, true] {
            let mut bench = Bench::build(medium, |_| {});
            let bytes = content(23, 4);
            let id = bench.create(Some(23)).await;
            let script = Script::in_frames(&bytes[..10], 3).then(Frame::Break(Broken::Cut), 13);
            let script = if large { script.unannounced() } else { script };
            let appended = bench.append(&id, 0, script).await.unwrap();
            assert_eq!(appended.end, End::Broken(Broken::Cut));
            assert_eq!(appended.offset.get(), 10);
            bench.reopen().await;
            assert_eq!(bench.head(&id).await, 10);
            bench.push(&id, 10, &bytes[10..]).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

#[tokio::test]
async fn fewer_bytes_than_announced_are_a_break_and_more_are_cut() {
    let bench = Bench::memory();
    let bytes = content(23, 5);
    let id = bench.create(Some(23)).await;
    let short = Script::of(&bytes[..5]).then(Frame::Bytes(bytes::Bytes::new()), 3);
    let appended = bench.append(&id, 0, short).await.unwrap();
    assert_eq!((appended.end, appended.offset.get()), (End::Broken(Broken::Cut), 5));

    let announced = bench.append(&id, 5, Script::of(&content(19, 6))).await;
    assert!(matches!(announced, Err(IngestError::LengthExceeded { .. })), "{announced:?}");
    assert_eq!(bench.head(&id).await, 5);

    let mut rest = bytes[5..].to_vec();
    rest.push(0);
    let over = bench.append(&id, 5, Script::in_frames(&rest, 4).unannounced()).await.unwrap();
    assert_eq!((over.offset.get(), over.finished.is_some()), (23, true));
    assert_eq!(bench.download(&id).await, bytes);
}

#[tokio::test]
async fn a_wrong_offset_changes_nothing() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |_| {});
        let id = bench.create(Some(23)).await;
        bench.push(&id, 0, &content(6, 7)).await.unwrap();
        for offset in [0, 4, 5, 7, 23, 24] {
            match bench.push(&id, offset, b"x").await {
                Err(IngestError::OffsetMismatch { current }) => assert_eq!(current.get(), 6),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bench.head(&id).await, 6);
    }
}

#[tokio::test]
async fn an_empty_upload_is_finished_at_once() {
    for medium in Medium::BOTH {
        for durability in [Durability::None, Durability::Ack] {
            let bench = Bench::build(medium, |setup| setup.durability = durability);
            let id = bench.create(Some(0)).await;
            let view = bench.status(&id).await;
            assert_eq!(view.record.phase(), Phase::Finished);
            assert_eq!(view.record.finished().unwrap().composite, Some(composite_of_nothing()));
            assert_eq!(bench.download(&id).await, b"");
        }
    }
}

fn composite_of_nothing() -> crate::upload::Sha256Digest {
    let hex = "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456";
    crate::upload::Sha256Digest::parse_hex(hex).unwrap()
}

#[tokio::test]
async fn creation_takes_bytes_along() {
    let bench = Bench::memory();
    let bytes = content(9, 8);
    for sent in [3, 4, 9] {
        let created = bench.create_with(new(9), Script::of(&bytes[..sent])).await.unwrap();
        assert_eq!(created.appended.offset.get(), len(&bytes[..sent]));
        bench.push(&created.id, len(&bytes[..sent]), &bytes[sent..]).await.unwrap();
        assert_eq!(bench.download(&created.id).await, bytes);
    }
}

#[tokio::test]
async fn a_finished_upload_takes_nothing_and_says_so() {
    let mut bench = Bench::local();
    let bytes = content(9, 9);
    let id = bench.create(Some(9)).await;
    bench.push(&id, 0, &bytes).await.unwrap();
    for _ in 0..2 {
        let again = bench.append(&id, 9, Script::of(b"")).await.unwrap();
        assert!(again.finished.is_some() && again.failure.is_none());
        let more = bench.append(&id, 9, Script::of(b"x")).await;
        assert!(matches!(more, Err(IngestError::LengthExceeded { .. })));
        bench.reopen().await;
    }
    assert_eq!(bench.download(&id).await, bytes);
}

/// Found in a suite under load: what a start resumes took a new upload from its client, which was
/// told 423.
#[tokio::test]
async fn a_start_asks_no_client_to_leave_an_upload_that_it_finds_unfinished() {
    const LONG: Duration = Duration::from_secs(20);
    let bench = Bench::memory();
    let script = Script::of(b"").unannounced().then(Frame::Stall, 0);
    let (house, stalls) = (bench.house.clone(), script.stalled());
    let creation = tokio::spawn(async move { house.create_with(new(0), script).await });
    time::timeout(LONG, stalls.notified()).await.unwrap();
    let id = bench.storage().uploads().unwrap().remove(0).id;
    let (merger, found) = (bench.merger.clone(), id.clone());
    let resumed = tokio::spawn(async move { merger.resume(&found).await });
    // Time enough for whoever asks it to leave.
    time::sleep(Duration::from_millis(600)).await;
    assert!(!creation.is_finished() && !resumed.is_finished());
    assert_eq!(bench.status(&id).await.record.phase(), Phase::Received);
    // A client may ask it.
    assert_eq!(bench.head(&id).await, 0);
    let created = creation.await.unwrap().unwrap();
    assert_eq!((&created.id, created.appended.end), (&id, End::TakenOver));
    time::timeout(LONG, resumed).await.unwrap().unwrap().unwrap();
    assert_eq!(bench.download(&id).await, b"");
}

/// An append that goes on, of a client that has sent all that it ever will.
async fn stalled(
    bench: &Bench,
    id: &UploadId,
    script: Script,
) -> JoinHandle<Result<Appended, IngestError>> {
    let (house, id, stalls) = (bench.house.clone(), id.clone(), script.stalled());
    let append = tokio::spawn(async move { house.append(&id, 0, script).await });
    time::timeout(Duration::from_secs(20), stalls.notified()).await.unwrap();
    append
}

#[tokio::test]
async fn a_stalled_client_gives_way_to_a_newcomer_without_losing_a_byte() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |_| {});
        let bytes = content(23, 10);
        let id = bench.create(Some(23)).await;
        let script = Script::in_frames(&bytes[..11], 11).then(Frame::Stall, 12);
        let first = stalled(&bench, &id, script).await;
        assert_eq!(bench.head(&id).await, 11);
        let Appended { end, offset, .. } = first.await.unwrap().unwrap();
        assert_eq!((end, offset.get()), (End::TakenOver, 11));
        bench.push(&id, 11, &bytes[11..]).await.unwrap();
        assert_eq!(bench.download(&id).await, bytes);
    }
}

#[tokio::test]
async fn a_stop_keeps_what_came() {
    let mut bench = Bench::local();
    let bytes = content(23, 11);
    let id = bench.create(Some(23)).await;
    let script = Script::in_frames(&bytes[..11], 2).unannounced().then(Frame::Stall, 0);
    let first = stalled(&bench, &id, script).await;
    bench.house.stop.cancel();
    let appended = first.await.unwrap().unwrap();
    assert_eq!((appended.end, appended.offset.get()), (End::Stopping, 11));
    bench.reopen().await;
    assert_eq!(bench.head(&id).await, 11);
}

#[tokio::test]
async fn what_was_deleted_is_unknown() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |_| {});
        for sent in [0, 5, 9] {
            let id = bench.create(Some(9)).await;
            bench.push(&id, 0, &content(sent, 12)).await.unwrap();
            bench.ingest.terminate(&id).await.unwrap();
            let gone = bench.ingest.status(&id).await;
            assert!(matches!(gone, Err(IngestError::Hold(HoldError::Unknown))));
            assert!(bench.parts(&id).is_empty());
            let download = bench.ingest.download(&id).await;
            assert!(matches!(download, Err(IngestError::Hold(HoldError::Unknown))));
        }
    }
}

// spec: STORE-5, STORE-3
#[tokio::test]
async fn an_offset_told_by_one_process_is_not_taken_back_by_another() {
    let bench = Bench::local();
    let bytes = content(9, 13);
    let id = bench.create(Some(9)).await;
    // The one that made the upload remembers it without bytes.
    assert_eq!(bench.head(&id).await, 0);
    let other = bench.another_house();
    other.push(&id, 0, &bytes[..3]).await.unwrap();
    assert_eq!(bench.head(&id).await, 3);
    bench.push(&id, 3, &bytes[3..6]).await.unwrap();
    assert_eq!(other.head(&id).await, 6);
    other.push(&id, 6, &bytes[6..]).await.unwrap();
    assert_eq!(bench.download(&id).await, bytes);
}
