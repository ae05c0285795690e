//! Chunks on their way into the part of chunk 0: shared or copied, and never far behind answers.

use std::{
    future::poll_fn,
    num::NonZeroU64,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::{sync::watch, time};

use super::{
    HASH,
    joining::{Trouble, recover},
};
use crate::{
    clock::Stopwatch,
    durable::Durability,
    merger::{
        MergeError, Verify,
        background::{Absorbing, Progress},
    },
    storage::{Failure, Operation},
    testing::{Bench, Medium, Setup, chunk, content, layout, part},
    upload::UploadId,
};

/// A file in chunks, the last one shorter, on a disk that shares blocks of four bytes.
#[derive(Debug, Clone, Copy)]
struct File {
    size: usize,
    chunk: usize,
}

impl File {
    fn bench(medium: Medium, change: impl FnOnce(&mut Setup)) -> Bench {
        let bench = Bench::build(medium, change);
        bench.faults.share_blocks(NonZeroU64::new(4).unwrap());
        bench
    }

    fn count(self) -> usize {
        self.size.div_ceil(self.chunk)
    }

    async fn put(self, bench: &Bench, index: usize) -> Result<(), String> {
        let [size, chunk, total, number] =
            [self.size, self.chunk, self.count(), index].map(|n| u64::try_from(n).unwrap());
        let bytes = content(self.size, 1);
        let bytes = bytes.chunks(self.chunk).nth(index).unwrap();
        let put = bench.put(HASH, (number, bytes), layout(chunk, size, total)).await;
        put.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn what_can_be_shared_is_not_copied() {
    // Chunks of whole blocks; of one and a half; of less than one. Written are the end of each that
    // fills no block, and all of those that begin in the middle of one.
    for (size, chunk, written) in [(32, 8, 0), (30, 8, 1), (30, 6, 4), (10, 3, 3), (12, 12, 0)] {
        for medium in Medium::BOTH {
            let file = File { size, chunk };
            let bench = File::bench(medium, |_| {});
            for index in (1..file.count()).rev() {
                file.put(&bench, index).await.unwrap();
            }
            bench.settle().await;
            let before = bench.faults.calls(Operation::Write);
            file.put(&bench, 0).await.unwrap();
            bench.settle().await;
            // A small body is written in one piece, in however many frames it comes.
            let own = 1;
            assert_eq!(bench.faults.calls(Operation::Write) - before, own + written, "{file:?}");
            let id = bench.id_of(HASH);
            let all = u64::try_from(size).unwrap();
            assert_eq!(bench.parts(&id), [("0.part".to_owned(), all)]);
            bench.merge(&id).await.unwrap();
            assert_eq!(bench.download(&id).await, content(size, 1), "{file:?}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_to_be_shared_is_copied() {
    let file = File { size: 30, chunk: 8 };
    for nth in 1..=3 {
        let bench = File::bench(Medium::Local, |_| {});
        bench.faults.fail(Operation::Share, nth, Failure::Device);
        for index in [2, 0, 3, 1] {
            file.put(&bench, index).await.unwrap();
        }
        bench.settle().await;
        assert_eq!(bench.faults.failed(), [Operation::Share]);
        bench.merge(&bench.id_of(HASH)).await.unwrap();
        assert_eq!(bench.download(&bench.id_of(HASH)).await, content(30, 1));
    }
}

/// Some chunks come while the disk fails, the others afterwards; true if nothing failed any more.
async fn survives(
    (medium, durability): (Medium, Durability),
    (trouble, nth, restarts): (Trouble, u64, bool),
) -> bool {
    let what = format!("{trouble:?} {nth} {restarts} {durability:?}");
    let file = File { size: 30, chunk: 8 };
    let mut bench = File::bench(medium, |setup| setup.durability = durability);
    file.put(&bench, 2).await.unwrap();
    bench.settle().await;
    trouble.begin(&bench, nth);
    for index in [1, 0, 3] {
        // What is refused is sent again below.
        let _ = file.put(&bench, index).await;
    }
    let id = bench.id_of(HASH);
    let _ = bench.merge(&id).await;
    let nothing_failed = recover(&mut bench, restarts).await;
    if bench.status(&id).await.record.finished().is_none() {
        for index in 0..file.count() {
            let put = file.put(&bench, index).await;
            put.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        bench.settle().await;
        bench.merge(&id).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_eq!(bench.download(&id).await, content(30, 1), "{what}");
    assert!(bench.parts(&id).is_empty(), "{what}");
    nothing_failed
}

#[tokio::test]
async fn whatever_fails_while_blocks_are_shared_the_file_is_whole() {
    for durability in [Durability::None, Durability::Complete, Durability::Ack] {
        for trouble in Trouble::ALL {
            for restarts in [false, true] {
                if trouble.is_crash() && !restarts {
                    continue;
                }
                let mut nth = 1;
                while !survives((Medium::Memory, durability), (trouble, nth, restarts)).await {
                    nth += 1;
                }
                assert!(nth > 3, "{trouble:?} met nothing");
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_in_shared_blocks_too() {
    let file = File { size: 30, chunk: 8 };
    for flipped in 0..30 {
        let bench = File::bench(Medium::Local, |setup| setup.verify = Verify::Everything);
        for index in [3, 1, 2, 0] {
            file.put(&bench, index).await.unwrap();
        }
        bench.settle().await;
        let (id, at) = (bench.id_of(HASH), u64::try_from(flipped).unwrap());
        bench.scribble(&id, part(0), at, &[content(30, 1)[flipped] ^ 1]);
        match bench.merge(&id).await {
            Err(MergeError::Damaged { chunks }) => assert_eq!(chunks, [chunk(at / 8)]),
            other => panic!("{other:?}"),
        }
        file.put(&bench, flipped / 8).await.unwrap();
        bench.merge(&id).await.unwrap();
        assert_eq!(bench.download(&id).await, content(30, 1));
    }
}

/// Four chunks of 4 MiB stand in a row, and somebody else is about to absorb them.
async fn far_behind() -> (Bench, UploadId, watch::Sender<Progress>) {
    let bench = Bench::memory();
    let bytes = vec![0; 4 << 20];
    for index in 0..4 {
        bench.put(HASH, (index, &bytes), layout(4 << 20, 16 << 20, 4)).await.unwrap();
    }
    bench.settle().await;
    let (sender, progress) = watch::channel(Progress::default());
    let id = bench.id_of(HASH);
    bench.merger.absorbing().insert(id.clone(), Absorbing { progress, owed: 0 });
    (bench, id, sender)
}

/// Does an answer have to wait, as things are?
async fn waits(bench: &Bench, id: &UploadId) -> bool {
    let record = bench.status(id).await.record;
    still_waits(&mut pin!(bench.merger.keep_pace(id, &record))).await
}

/// Only one look at it: on a busy machine any span may be longer than an answer waits at most.
async fn still_waits(kept: &mut Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|context| Poll::Ready(kept.as_mut().poll(context).is_pending())).await
}

// spec: CHUNK-81
#[tokio::test]
async fn an_answer_waits_for_absorbing_that_is_far_behind_but_not_for_long() {
    let (bench, id, sender) = far_behind().await;
    assert!(waits(&bench, &id).await, "two chunks may wait, not four");
    let (record, waiting) = (bench.status(&id).await.record, Stopwatch::start());
    let kept = bench.merger.keep_pace(&id, &record);
    let ended = time::timeout(Duration::from_secs(20), kept).await;
    assert!(ended.is_ok(), "a disk that hangs holds no answer up for good");
    assert!(waiting.elapsed() > Duration::from_millis(500), "it may be well in a moment");
    sender.send_modify(|progress| (progress.chunks, progress.end) = (1, 1));
    assert!(waits(&bench, &id).await);
    sender.send_modify(|progress| (progress.chunks, progress.end) = (2, 2));
    assert!(!waits(&bench, &id).await, "two are left");
    drop(sender);
    assert!(!waits(&bench, &id).await, "nobody absorbs");
    bench.merger.absorbing().clear();
    assert!(!waits(&bench, &id).await);
}

#[tokio::test]
async fn each_one_who_waits_has_two_chunks_absorbed() {
    let (bench, id, sender) = far_behind().await;
    let record = bench.status(&id).await.record;
    let first = bench.merger.keep_pace(&id, &record);
    let second = bench.merger.keep_pace(&id, &record);
    tokio::pin!(first, second);
    assert!(still_waits(&mut first).await);
    assert!(still_waits(&mut second).await);
    sender.send_modify(|progress| progress.chunks = 2);
    assert!(!still_waits(&mut first).await);
    assert!(still_waits(&mut second).await);
    sender.send_modify(|progress| progress.chunks = 4);
    assert!(!still_waits(&mut second).await);
}

#[tokio::test]
async fn a_panic_while_absorbing_keeps_no_later_chunk_from_being_absorbed() {
    let bench = File::bench(Medium::Memory, |_| {});
    let file = File { size: 30, chunk: 8 };
    for index in [2, 1] {
        file.put(&bench, index).await.unwrap();
    }
    bench.settle().await;
    bench.faults.panic(Operation::OpenPart, 1);
    file.put(&bench, 0).await.unwrap();
    bench.settle().await;
    let id = bench.id_of(HASH);
    assert!(bench.parts(&id).len() > 1, "nothing was absorbed: {:?}", bench.parts(&id));
    assert!(bench.merger.absorbing().is_empty());
    file.put(&bench, 3).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.parts(&id), [("0.part".to_owned(), 30)]);
    bench.merge(&id).await.unwrap();
    assert_eq!(bench.download(&id).await, content(30, 1));
}
