//! The road of index clients.

use tokio::runtime::Builder;

use crate::{
    durable::Durability,
    hold::{Hashing, HoldError},
    ingest::{
        Broken,
        ChunkFate::{Duplicate, Stored},
        ExpectedDigests, IngestError, LayoutMismatch, MergeOutcome,
    },
    testing::{Bench, Frame, Medium, Script, chunk_put, composite, content, layout, len},
    upload::{Layout, Phase, Sha256Digest},
};

const HASH: &str = "00112233445566778899aabbccddeeff";

/// Chunk `index` of `bytes` in chunks of four, the last of `total` being as long as it gets.
fn piece(bytes: &[u8], index: usize, total: usize) -> (u64, &[u8]) {
    let end = if index + 1 == total { bytes.len() } else { index * 4 + 4 };
    (u64::try_from(index).unwrap(), &bytes[index * 4..end])
}

async fn finish(bench: &Bench, bytes: &[u8]) {
    let id = bench.id_of(HASH);
    let merged = bench.merge(&id).await.unwrap();
    assert!(matches!(merged, MergeOutcome::Merged(_)), "{merged:?}");
    assert_eq!(bench.download(&id).await, bytes);
    assert!(bench.parts(&id).is_empty());
}

/// All orders of `items` things.
fn orders(items: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for item in 0..items {
        let insert = |order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, item);
                longer
            })
        };
        all = all.into_iter().flat_map(insert).collect();
    }
    all
}

#[tokio::test]
async fn chunks_come_in_any_order() {
    let bytes = content(18, 1);
    for order in orders(5) {
        let bench = Bench::memory();
        for (done, index) in order.iter().enumerate() {
            let chunk = piece(&bytes, *index, 5);
            let fate = bench.put(HASH, chunk, layout(4, 18, 5)).await.unwrap();
            assert_eq!(fate, Stored);
            let view = bench.status(&bench.id_of(HASH)).await;
            let prefix = (0..6).find(|k| !order[..=done].contains(k)).unwrap();
            assert_eq!(view.offset.get(), len(&bytes[..(prefix * 4).min(18)]));
            assert_eq!(view.record.chunks().sealed(), u64::try_from(done).unwrap() + 1);
        }
        finish(&bench, &bytes).await;
    }
}

#[tokio::test]
async fn a_repeated_chunk_is_told_as_such_and_another_one_replaces() {
    for medium in Medium::BOTH {
        for restarts in [false, true] {
            let mut bench = Bench::build(medium, |_| {});
            let (old, new) = (content(12, 2), content(12, 3));
            for index in [2, 0, 1] {
                bench.put(HASH, piece(&old, index, 3), layout(4, 12, 3)).await.unwrap();
            }
            bench.settle().await;
            assert_eq!(bench.parts(&bench.id_of(HASH)), [("0.part".to_owned(), 12)]);
            for index in [1, 2, 0] {
                let same = bench.put(HASH, piece(&old, index, 3), layout(4, 12, 3)).await.unwrap();
                assert_eq!(same, Duplicate);
                let other = bench.put(HASH, piece(&new, index, 3), None).await.unwrap();
                assert_eq!(other, Stored);
                if restarts {
                    bench.reopen().await;
                }
                bench.settle().await;
                let again = bench.put(HASH, piece(&new, index, 3), None).await.unwrap();
                assert_eq!(again, Duplicate);
            }
            finish(&bench, &new).await;
        }
    }
}

#[tokio::test]
async fn a_chunk_is_replaced_before_it_was_absorbed() {
    let bench = Bench::memory();
    let (old, new) = (content(12, 4), content(12, 5));
    for bytes in [&old, &new] {
        for index in [2, 1] {
            let fate = bench.put(HASH, piece(bytes, index, 3), layout(4, 12, 3)).await.unwrap();
            assert_eq!(fate, Stored);
        }
    }
    bench.put(HASH, piece(&new, 0, 3), None).await.unwrap();
    finish(&bench, &new).await;
}

#[tokio::test]
async fn replacing_a_chunk_leaves_the_tail_behind_it() {
    for medium in Medium::BOTH {
        for restarts in [false, true] {
            for chunks_per_part in [1, 2, u64::MAX] {
                for replaced in 0..2 {
                    let mut bench = Bench::build(medium, |s| s.chunks_per_part = chunks_per_part);
                    let (old, new) = (content(15, 6), content(15, 7));
                    let id = bench.create(Some(15)).await;
                    bench.push(&id, 0, &old[..11]).await.unwrap();
                    if restarts {
                        bench.reopen().await;
                    }
                    bench.put(id.as_str(), piece(&new, replaced, 4), None).await.unwrap();
                    assert_eq!(bench.status(&id).await.offset.get(), 11);
                    if restarts {
                        bench.reopen().await;
                    }
                    assert_eq!(bench.head(&id).await, 11);
                    bench.push(&id, 11, &old[11..]).await.unwrap();
                    let mut expected = old.clone();
                    let at = replaced * 4..replaced * 4 + 4;
                    expected[at.clone()].copy_from_slice(&new[at]);
                    assert_eq!(bench.download(&id).await, expected);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_chunk_put_where_a_tail_has_begun_takes_its_place() {
    for medium in Medium::BOTH {
        for restarts in [false, true] {
            for sent in [2, 6] {
                let mut bench = Bench::build(medium, |_| {});
                let (old, new) = (content(12, 8), content(12, 9));
                let id = bench.create(Some(12)).await;
                bench.push(&id, 0, &old[..sent]).await.unwrap();
                let index = sent / 4;
                bench.put(id.as_str(), piece(&new, index, 3), None).await.unwrap();
                if restarts {
                    bench.reopen().await;
                }
                let offset = bench.head(&id).await;
                assert_eq!(offset, len(&new[..(index + 1) * 4]));
                bench.push(&id, offset, &new[(index + 1) * 4..]).await.unwrap();
                let mut expected = new.clone();
                expected[..index * 4].copy_from_slice(&old[..index * 4]);
                assert_eq!(bench.download(&id).await, expected);
            }
        }
    }
}

#[tokio::test]
async fn the_last_chunk_may_be_nearly_twice_as_long() {
    for long in 12..16 {
        for order in orders(3) {
            let bench = Bench::memory();
            let bytes = content(long, 10);
            let layout = layout(4, len(&bytes), 3);
            for index in order {
                bench.put(HASH, piece(&bytes, index, 3), layout).await.unwrap();
            }
            finish(&bench, &bytes).await;
        }
    }
}

#[tokio::test]
async fn an_offset_client_ends_an_upload_with_a_long_last_chunk() {
    for restarts in [false, true] {
        let mut bench = Bench::local();
        let bytes = content(15, 11);
        bench.put(HASH, piece(&bytes, 0, 3), layout(4, 15, 3)).await.unwrap();
        let id = bench.id_of(HASH);
        for at in 4..15_usize {
            let offset = len(&bytes[..at]);
            assert_eq!(bench.push(&id, offset, &bytes[at..=at]).await.unwrap(), offset + 1);
            if restarts {
                bench.reopen().await;
            }
        }
        assert_eq!(bench.download(&id).await, bytes);
    }
}

#[tokio::test]
async fn an_empty_file_is_one_empty_chunk() {
    for medium in Medium::BOTH {
        for durability in [Durability::None, Durability::Ack] {
            let bench = Bench::build(medium, |setup| setup.durability = durability);
            let fate = bench.put(HASH, (0, b""), layout(4, 0, 1)).await.unwrap();
            assert_eq!(fate, Stored);
            assert_eq!(bench.put(HASH, (0, b""), None).await.unwrap(), Duplicate);
            finish(&bench, b"").await;
        }
    }
}

#[tokio::test]
async fn a_layout_that_differs_is_named() {
    let bench = Bench::memory();
    let bytes = content(12, 12);
    bench.put(HASH, piece(&bytes, 0, 3), layout(4, 12, 3)).await.unwrap();
    let refusals = [
        (layout(4, 11, 3), LayoutMismatch { field: "size", stored: Some(12), given: 11 }),
        (layout(5, 12, 3), LayoutMismatch { field: "chunk_size", stored: Some(4), given: 5 }),
        (layout(6, 12, 2), LayoutMismatch { field: "chunk_size", stored: Some(4), given: 6 }),
    ];
    for (other, expected) in refusals {
        match bench.put(HASH, piece(&bytes, 1, 3), other).await {
            Err(IngestError::LayoutMismatch(mismatch)) => assert_eq!(mismatch, expected),
            other => panic!("{other:?}"),
        }
    }
    let none = bench.put(HASH, (3, b"1234"), None).await;
    assert!(matches!(none, Err(IngestError::NoSuchChunk)), "{none:?}");
    for wrong in [&b""[..], b"123", b"12345"] {
        let length = bench.put(HASH, (1, wrong), None).await;
        assert!(matches!(length, Err(IngestError::ChunkLength { expected: 4, .. })), "{length:?}");
    }
    let unknown = bench.put("ffffffff", (0, b"1234"), None).await;
    assert!(matches!(unknown, Err(IngestError::Hold(HoldError::Unknown))), "{unknown:?}");
    assert_eq!(bench.status(&bench.id_of(HASH)).await.record.chunks().sealed(), 1);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_their_digest_are_refused() {
    let bench = Bench::memory();
    let mut put = chunk_put(HASH, 0, layout(4, 12, 3));
    for expected in [
        ExpectedDigests { sha256: Some(Sha256Digest::of(b"other")), md5: None },
        ExpectedDigests { sha256: None, md5: Some([0; 16]) },
    ] {
        put.expected = expected;
        let mut script = Script::of(b"1234");
        let staged = bench.ingest.stage_chunk(&mut script, 4, Hashing::Sha256).await.unwrap();
        let refused = bench.ingest.commit_chunk(put.clone(), staged).await;
        assert!(matches!(refused, Err(IngestError::DigestMismatch { .. })), "{refused:?}");
    }
    let unknown = bench.ingest.status(&bench.id_of(HASH)).await;
    assert!(matches!(unknown, Err(IngestError::Hold(HoldError::Unknown))));
}

#[test]
fn a_broken_chunk_leaves_nothing() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |_| {});
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut cut = Script::of(b"12").then(Frame::Break(Broken::Stalled), 2);
            let broken = bench.ingest.stage_chunk(&mut cut, 4, Hashing::Off).await;
            assert!(matches!(broken, Err(IngestError::Broken(Broken::Stalled))), "{broken:?}");
            let mut long = Script::in_frames(b"12345", 1).unannounced();
            let over = bench.ingest.stage_chunk(&mut long, 4, Hashing::Off).await;
            assert!(matches!(over, Err(IngestError::ChunkLength { expected: 4, .. })), "{over:?}");
        });
        // What is left behind goes on a blocking thread, and those end with the runtime.
        drop(runtime);
        let late = crate::upload::Timestamp::from_millis(u64::MAX);
        assert_eq!(bench.storage().sweep_staging(late).unwrap(), 0);
        if let Medium::Local = medium {
            let left = std::fs::read_dir(bench.folder().join("tmp")).unwrap();
            assert_eq!(left.count(), 0, "the sweep leaves what somebody works on");
        }
    }
}

#[tokio::test]
async fn a_finished_upload_knows_its_chunks() {
    for hashing in [Hashing::Sha256, Hashing::Off] {
        let mut bench = Bench::local_with(|setup| setup.hashing = hashing);
        let bytes = content(12, 13);
        for index in 0..3 {
            bench.put(HASH, piece(&bytes, index, 3), layout(4, 12, 3)).await.unwrap();
        }
        finish(&bench, &bytes).await;
        for _ in 0..2 {
            for index in 0..3 {
                let same = bench.put(HASH, piece(&bytes, index, 3), layout(4, 12, 3)).await;
                match hashing {
                    Hashing::Sha256 => assert_eq!(same.unwrap(), Duplicate),
                    // Without digests nobody can tell.
                    Hashing::Off => assert!(matches!(same, Err(IngestError::Finished))),
                }
                let other = bench.put(HASH, (0, b"none"), layout(4, 12, 3)).await;
                assert!(matches!(other, Err(IngestError::Finished)), "{other:?}");
            }
            bench.reopen().await;
        }
        assert_eq!(bench.download(&bench.id_of(HASH)).await, bytes);
    }
}

#[tokio::test]
async fn a_name_given_up_begins_anew_without_old_bytes() {
    let bench = Bench::local();
    let (old, new) = (content(12, 14), content(12, 15));
    bench.put(HASH, piece(&old, 0, 3), layout(4, 12, 3)).await.unwrap();
    bench.put(HASH, piece(&old, 2, 3), None).await.unwrap();
    bench.ingest.terminate(&bench.id_of(HASH)).await.unwrap();
    bench.put(HASH, piece(&new, 1, 3), layout(4, 12, 3)).await.unwrap();
    let view = bench.status(&bench.id_of(HASH)).await;
    assert_eq!((view.offset.get(), view.record.chunks().sealed()), (0, 1));
}

#[tokio::test]
async fn bytes_that_outlived_their_ledger_do_not_come_back_with_a_new_one() {
    let mut bench = Bench::local();
    let (old, new) = (content(12, 16), content(12, 17));
    bench.put(HASH, piece(&old, 1, 3), layout(4, 12, 3)).await.unwrap();
    let id = bench.id_of(HASH);
    // A power loss may take the ledger and leave the bytes.
    bench.holds.state().forget(&id).unwrap();
    bench.put(HASH, piece(&new, 0, 3), layout(4, 12, 3)).await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.head(&id).await, 4);
    assert_eq!(bench.status(&id).await.record.chunks().sealed(), 1);
}

#[tokio::test]
async fn a_length_that_comes_with_a_chunk_goes_with_the_bytes_before_it() {
    for restarts in [false, true] {
        let mut bench = Bench::local();
        let bytes = content(6, 18);
        // The file is what was appended, and nothing more.
        let id = bench.create(None).await;
        bench.push(&id, 0, &bytes).await.unwrap();
        let short = Layout::by_size(
            layout(4, 5, 2).unwrap().chunk_size(),
            layout(4, 5, 2).unwrap().length(),
        );
        let refused = bench.put(id.as_str(), piece(&bytes, 0, 2), Some(short)).await;
        assert!(refused.is_err(), "{refused:?}");
        let refused = bench.put(id.as_str(), (0, &content(4, 19)), Some(short)).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(bench.head(&id).await, 6);
        let replaced = content(4, 19);
        bench.put(id.as_str(), (0, &replaced), layout(4, 6, 2)).await.unwrap();
        if restarts {
            bench.reopen().await;
        }
        assert_eq!(bench.head(&id).await, 6);
        assert_eq!(bench.status(&id).await.record.phase(), Phase::Finished);
        assert_eq!(bench.download(&id).await, [&replaced[..], &bytes[4..]].concat());
    }
}

#[tokio::test]
async fn a_length_that_ends_with_the_bytes_that_are_there_finishes_the_file() {
    for (sent, total) in [(4_usize, 1), (6, 2), (8, 2), (11, 3)] {
        let bench = Bench::memory();
        let bytes = content(sent, 20);
        let id = bench.create(None).await;
        bench.push(&id, 0, &bytes).await.unwrap();
        let layout = layout(4, len(&bytes), total);
        let fate = bench.put(id.as_str(), (0, &bytes[..4]), layout).await.unwrap();
        assert_eq!(fate, Duplicate);
        assert_eq!(bench.status(&id).await.record.phase(), Phase::Finished);
        assert_eq!(bench.download(&id).await, bytes);
    }
}

#[tokio::test]
async fn the_composite_digest_is_the_one_of_the_chunks_in_order() {
    let bench = Bench::memory();
    let bytes = b"hello world!";
    let layout = layout(6, 12, 2);
    bench.put(HASH, (1, b"world!"), layout).await.unwrap();
    bench.put(HASH, (0, b"hello "), layout).await.unwrap();
    finish(&bench, bytes).await;
    let record = bench.status(&bench.id_of(HASH)).await.record;
    assert_eq!(record.finished().unwrap().composite, Some(composite(bytes, 6)));
}
