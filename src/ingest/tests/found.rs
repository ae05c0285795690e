//! A disk that fails to flush under `ack`, and what was found there after a kill.

use crate::{
    durable::Durability,
    hold::HoldError,
    ingest::IngestError,
    storage::{Failure, Operation},
    testing::{Bench, Medium, content, key, layout, part},
    upload::{ChunkKey, Phase},
};

const HASH: &str = "00112233445566778899aabbccddeeff";
const LENGTH: usize = 14;

async fn is_refused(bench: &Bench, id: &crate::upload::UploadId) {
    let refused = bench.ingest.head(id).await;
    assert!(matches!(refused, Err(IngestError::Hold(HoldError::Busy))), "{refused:?}");
}

/// What a process stored that died before it flushed it may be lost with the flush that fails.
// Found in review: chunks that were found stayed believed.
// spec: STORE-90
#[tokio::test]
async fn under_ack_what_is_found_and_cannot_be_flushed_is_asked_for_again() {
    for medium in Medium::BOTH {
        for (found, restarts) in [(8, false), (8, true), (11, false), (11, true), (14, true)] {
            let mut bench = Bench::build(medium, |setup| setup.durability = Durability::Ack);
            let bytes = content(LENGTH, 1);
            let id = bench.create(Some(14)).await;
            assert_eq!(bench.push(&id, 0, &bytes[..6]).await.unwrap(), 6);
            bench.scribble(&id, part(0), 6, &bytes[6..found]);
            bench.reopen().await;
            bench.faults.fail(Operation::Sync, 1, Failure::Device);
            is_refused(&bench, &id).await;
            bench.faults.clear();
            if restarts {
                bench.reopen().await;
            }
            assert_eq!(bench.head(&id).await, 6, "{found}");
            bench.push(&id, 6, &bytes[6..]).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

/// A policy that did not wait for the disk has told them, and no flush has brought them there.
// spec: STORE-90
#[tokio::test]
async fn under_ack_what_another_policy_left_counts_when_it_is_flushed() {
    for fails in [false, true] {
        let mut bench = Bench::memory_with(|setup| setup.durability = Durability::Complete);
        let bytes = content(LENGTH, 1);
        let id = bench.create(Some(14)).await;
        bench.push(&id, 0, &bytes[..11]).await.unwrap();
        bench.reopen_with(|setup| setup.durability = Durability::Ack).await;
        if fails {
            bench.faults.fail(Operation::Sync, 1, Failure::Device);
            is_refused(&bench, &id).await;
            assert_eq!(bench.head(&id).await, 0);
            continue;
        }
        assert_eq!(bench.head(&id).await, 11);
        // It was flushed once, so that a later failure takes nothing of it.
        bench.reopen().await;
        bench.faults.fail(Operation::Sync, 1, Failure::Device);
        is_refused(&bench, &id).await;
        assert_eq!(bench.head(&id).await, 11);
    }
}

/// What was flushed before it was told is there, whatever a flush after a kill says.
// spec: STORE-34, STORE-90
#[tokio::test]
async fn under_ack_a_failed_flush_after_a_kill_takes_nothing_that_was_told() {
    for medium in Medium::BOTH {
        let mut bench = Bench::build(medium, |setup| setup.durability = Durability::Ack);
        let bytes = content(LENGTH, 1);
        bench.put(HASH, (0, &bytes[..4]), layout(4, 14, 4)).await.unwrap();
        bench.put(HASH, (1, &bytes[4..8]), None).await.unwrap();
        bench.put(HASH, (2, &bytes[8..12]), None).await.unwrap();
        bench.settle().await;
        let id = bench.id_of(HASH);
        bench.reopen().await;
        bench.faults.fail(Operation::Sync, 1, Failure::Device);
        is_refused(&bench, &id).await;
        assert_eq!(bench.head(&id).await, 12);
    }
}

/// Before anybody is told, by whatever name it was asked for: no clock revives it.
// Found in review: only those who named its id wrote it down.
// spec: STORE-83
#[tokio::test]
async fn an_expiry_that_is_told_by_name_is_written_down_first() {
    let named = key(HASH);
    let unnamed = ChunkKey { filename: None, ..named.clone() };
    for asked in 0..3 {
        let bench = Bench::local();
        bench.put(HASH, (1, &content(LENGTH, 1)[4..8]), layout(4, 14, 4)).await.unwrap();
        bench.settle().await;
        let id = bench.id_of(HASH);
        bench.clock.advance(bench.setup.expire_after * 2);
        let told = match asked {
            0 => bench.ingest.status_of(named.clone()).await.map(drop),
            1 => bench.ingest.status_of(unnamed.clone()).await.map(drop),
            _ => bench.ingest.status_for_chunk(named.clone()).await.map(drop),
        };
        assert!(matches!(told, Err(IngestError::Hold(HoldError::Expired))), "{told:?}");
        let written = bench.holds.state().load(&id).unwrap().record.phase();
        assert_eq!(written, Phase::Expired, "{asked}");
        assert!(bench.parts(&id).is_empty());
    }
}

// Found on the way: only a full disk was known to have no room.
// spec: STORE-91
#[tokio::test]
async fn an_expiry_makes_room_where_a_quota_is_used_up() {
    for failure in [Failure::NoSpace, Failure::Quota] {
        let bench = Bench::memory();
        let id = bench.create(Some(14)).await;
        bench.push(&id, 0, &content(LENGTH, 1)[..7]).await.unwrap();
        bench.clock.advance(bench.setup.expire_after * 2);
        bench.ledgers.fail_as(1, failure);
        bench.holds.try_take(&id).await.unwrap().expire().unwrap();
        assert!(bench.parts(&id).is_empty());
        assert_eq!(bench.holds.state().load(&id).unwrap().record.phase(), Phase::Expired);
    }
}
