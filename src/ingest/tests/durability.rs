//! Which answers wait for the disk, and what its refusal costs.

use crate::{
    durable::Durability,
    ingest::{ChunkFate, IngestError},
    storage::{Failure, Operation},
    testing::{Bench, content, is_io, layout},
    upload::Phase,
};

const HASH: &str = "00112233445566778899aabbccddeeff";

fn bench(durability: Durability) -> Bench {
    Bench::local_with(|setup| setup.durability = durability)
}

// spec: STORE-8
#[tokio::test]
async fn an_answer_on_the_way_waits_for_the_disk_where_it_was_promised_to() {
    let bytes = content(12, 1);
    for (durability, waits) in
        [(Durability::None, false), (Durability::Complete, false), (Durability::Ack, true)]
    {
        let bench = bench(durability);
        let id = bench.create(Some(12)).await;
        bench.faults.fail_from(Operation::Sync, 1, Failure::Device);
        for (from, to) in [(0, 3), (3, 9)] {
            let pushed = bench.push(&id, u64::try_from(from).unwrap(), &bytes[from..to]).await;
            assert_eq!(pushed.is_err(), waits, "{durability:?}: {pushed:?}");
            assert!(pushed.as_ref().err().is_none_or(is_io), "{pushed:?}");
            if waits {
                break;
            }
        }
        let put = bench.put(HASH, (1, &bytes[4..8]), layout(4, 12, 3)).await;
        assert_eq!(put.is_err(), waits, "{durability:?}: {put:?}");
        bench.faults.clear();
        let again = bench.put(HASH, (1, &bytes[4..8]), layout(4, 12, 3)).await.unwrap();
        assert_eq!(again == ChunkFate::Stored, waits);
    }
}

// spec: STORE-7
#[tokio::test]
async fn a_finish_waits_for_the_disk_where_it_was_promised_to() {
    let bytes = content(12, 2);
    for (durability, waits) in
        [(Durability::None, false), (Durability::Complete, true), (Durability::Ack, true)]
    {
        let bench = bench(durability);
        let id = bench.create(Some(12)).await;
        bench.push(&id, 0, &bytes[..7]).await.unwrap();
        bench.faults.fail_from(Operation::Sync, 1, Failure::Device);
        let finished = bench.push(&id, 7, &bytes[7..]).await;
        assert_eq!(finished.is_err(), waits, "{durability:?}: {finished:?}");
        let phase = bench.status(&id).await.record.phase();
        assert_eq!(phase == Phase::Finished, !waits, "{durability:?}: {phase:?}");
    }
}

// spec: STORE-9
#[tokio::test]
async fn a_finish_whose_flush_fails_begins_again_with_the_bytes() {
    let bytes = content(12, 3);
    let mut bench = bench(Durability::Complete);
    for index in 0..3_usize {
        let chunk = (u64::try_from(index).unwrap(), &bytes[index * 4..index * 4 + 4]);
        bench.put(HASH, chunk, layout(4, 12, 3)).await.unwrap();
    }
    bench.settle().await;
    let id = bench.id_of(HASH);
    bench.faults.fail(Operation::Sync, 1, Failure::Device);
    let merged = bench.merge(&id).await.map_err(IngestError::Merge);
    assert!(merged.as_ref().err().is_some_and(is_io), "{merged:?}");
    assert_eq!(bench.faults.failed(), [Operation::Sync]);
    assert_eq!(bench.faults.calls(Operation::Sync), 1, "the flush was tried again");
    assert_eq!(bench.status(&id).await.record.chunks().sealed(), 0);
    bench.reopen().await;
    assert_eq!(bench.head(&id).await, 0);
    bench.push(&id, 0, &bytes).await.unwrap();
    assert_eq!(bench.download(&id).await, bytes);
}
