//! Which answers wait for the disk, and what its refusal costs.

use std::{path::PathBuf, time::Duration};

use crate::{
    durable::Durability,
    hold::HoldError,
    ingest::{ChunkFate, IngestError, NewUpload},
    storage::{Failure, Operation},
    testing::{Bench, Script, chunk, content, is_io, layout, part},
    upload::{Concatenation, Fact, FinalName, Length, Phase, Sha256Digest, UploadId},
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
// spec: STORE-7
#[tokio::test]
async fn the_end_of_a_partial_upload_waits_for_the_disk_whoever_tells_it() {
    for durability in [Durability::Complete, Durability::Ack] {
        let mut bench = bench(Durability::None);
        let bytes = content(12, 2);
        let new = NewUpload {
            length: Some(Length::new(12).unwrap()),
            metadata: String::new(),
            filename: None,
            media_type: None,
            concatenation: Some(Concatenation::Partial),
            owner: String::new(),
        };
        let id = bench.create_with(new, Script::of(&[])).await.unwrap().id;
        bench.push(&id, 0, &bytes).await.unwrap();
        // As a kill leaves it in front of the flush that the last answer would have waited for.
        bench.reopen_with(|setup| setup.durability = durability).await;
        bench.faults.fail_from(Operation::SyncParts, 1, Failure::Device);
        let told = bench.ingest.head(&id).await;
        assert!(
            matches!(told, Err(IngestError::Hold(HoldError::Busy))),
            "{durability:?}: {told:?}"
        );
        bench.faults.clear();
        let flushes = bench.faults.calls(Operation::Sync);
        assert_eq!(bench.head(&id).await, 12);
        assert!(bench.faults.calls(Operation::Sync) > flushes, "{durability:?}");
    }
}

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

/// Promised are the first three bytes. The end of chunk 0 comes in a PATCH that is never answered:
/// of it the seals of so many chunks survive a power loss, and all bytes but the first.
async fn promised_and_torn(bytes: &[u8], sealed: usize) -> (Bench, UploadId) {
    let mut bench = bench(Durability::Ack);
    let id = bench.create(Some(12)).await;
    bench.push(&id, 0, &bytes[..3]).await.unwrap();
    bench.scribble(&id, part(0), 4, &bytes[4..sealed * 4]);
    let seal = |index: usize| {
        let bytes = &bytes[index * 4..index * 4 + 4];
        let digest = Some(Sha256Digest::of(bytes));
        let chunk = chunk(u64::try_from(index).unwrap());
        Fact::Sealed { chunk, length: 4, digest, part: part(0), flushed: true }
    };
    bench.force(&id, (0..sealed).map(seal)).await;
    bench.reopen_with(|setup| setup.epoch = 1).await;
    (bench, id)
}

/// Were the chunk given up first, a second power loss could take the copy of its bytes.
#[tokio::test]
async fn promised_bytes_are_given_up_only_for_a_copy_that_is_on_the_disk() {
    let bytes = content(12, 1);
    let (bench, id) = promised_and_torn(&bytes, 2).await;
    bench.faults.clear();
    bench.faults.fail(Operation::Sync, 1, Failure::Device);
    let refused = bench.ingest.head(&id).await.unwrap_err();
    assert!(matches!(refused, IngestError::Hold(HoldError::Busy)), "{refused:?}");
    assert_eq!(bench.holds.state().load(&id).unwrap().record.chunks().sealed(), 2);
    assert_eq!(bench.head(&id).await, 3);
    bench.push(&id, 3, &bytes[3..]).await.unwrap();
    assert_eq!(bench.download(&id).await, bytes);
}

/// Found by going through every crash point.
#[tokio::test]
async fn promised_bytes_outlive_a_chunk_that_a_power_loss_takes() {
    for sealed in [1, 2] {
        let bytes = content(12, 1);
        let (bench, id) = promised_and_torn(&bytes, sealed).await;
        assert_eq!(bench.head(&id).await, 3, "{sealed}");
        bench.push(&id, 3, &bytes[3..]).await.unwrap();
        assert_eq!(bench.download(&id).await, bytes);
    }
}

/// Found by going through every crash point.
#[tokio::test]
async fn a_chunk_of_a_merge_that_a_power_loss_broke_off_is_not_taken_for_stored() {
    let mut bench = bench(Durability::Complete);
    let bytes = content(8, 1);
    for index in [0, 1] {
        let chunk = &bytes[index * 4..index * 4 + 4];
        let index = u64::try_from(index).unwrap();
        bench.put(HASH, (index, chunk), layout(4, 8, 2)).await.unwrap();
    }
    bench.settle().await;
    let id = bench.id_of(HASH);
    let name = FinalName::parse("world.txt").unwrap();
    bench.force(&id, [Fact::Merging { name, form: None, mark: None }]).await;
    bench.storage().remove_part(&id, part(0)).unwrap();
    bench.reopen_with(|setup| setup.epoch = 1).await;
    for (index, chunk) in bytes.chunks(4).enumerate() {
        let put = (u64::try_from(index).unwrap(), chunk);
        assert_eq!(bench.put(HASH, put, layout(4, 8, 2)).await.unwrap(), ChunkFate::Stored);
    }
    bench.merge(&id).await.unwrap();
    assert_eq!(bench.download(&id).await, bytes);
}

/// Found by going through every crash point.
// spec: STORE-10, STORE-33
#[tokio::test]
async fn a_finished_file_that_lost_bytes_is_never_served() {
    for (durability, proven) in
        [(Durability::None, false), (Durability::Complete, true), (Durability::Ack, true)]
    {
        for damaged in [false, true] {
            let mut bench = bench(durability);
            let (id, bytes) = (bench.create(Some(12)).await, content(12, 1));
            bench.push(&id, 0, &bytes).await.unwrap();
            if damaged {
                let file = std::fs::read_dir(bench.folder().join("files")).unwrap();
                let file = file.map(Result::unwrap).next().unwrap().path();
                // Nobody wrote to it: it has the time that it had.
                let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
                std::fs::write(&file, [&bytes[..11], &[!bytes[11]]].concat()).unwrap();
                let file = std::fs::File::options().write(true).open(file).unwrap();
                file.set_modified(modified).unwrap();
            }
            bench.reopen_with(|setup| setup.epoch = 1).await;
            let served = bench.ingest.download(&id).await;
            // Where the answer waited for the disk, no power loss can have done that.
            assert_eq!(served.is_ok(), proven || !damaged, "{durability:?} {damaged}");
            let looked = bench.ingest.status(&id).await;
            assert_eq!(looked.is_ok(), served.is_ok(), "{durability:?} {damaged}");
            assert_eq!(bench.ingest.head(&id).await.is_ok(), served.is_ok());
        }
    }
}

/// The only file that is finished.
fn file(bench: &Bench) -> PathBuf {
    let files = std::fs::read_dir(bench.folder().join("files")).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

/// A power loss can take a file and leave what is told of it; its name is free then.
// spec: STORE-33
#[tokio::test]
async fn a_file_that_took_the_name_of_a_lost_one_is_not_removed_with_it() {
    for end in ["deleted", "deleted once it is known", "expired"] {
        let mut bench = bench(Durability::None);
        let (id, bytes) = (bench.create(Some(12)).await, content(12, 1));
        bench.push(&id, 0, &bytes).await.unwrap();
        let other = file(&bench);
        std::fs::write(&other, "another's").unwrap();
        let keep = Duration::from_hours(1);
        bench.reopen_with(|setup| (setup.epoch, setup.keep_finished) = (1, Some(keep))).await;
        if end == "expired" {
            bench.clock.advance(2 * keep);
            let held = bench.holds.try_take(&id).await.unwrap();
            held.expire().unwrap();
        } else {
            let known = end != "deleted";
            assert!(!known || bench.ingest.status(&id).await.is_err());
            bench.ingest.terminate(&id).await.unwrap();
        }
        assert_eq!(std::fs::read(&other).unwrap(), b"another's", "{end}");
        assert!(bench.ingest.status(&id).await.is_err(), "{end}");
    }
}

/// The other side of it: what is the upload's own goes with it.
#[tokio::test]
async fn a_file_that_a_power_loss_left_whole_is_removed_with_its_upload() {
    for keep in [None, Some(Duration::from_hours(1))] {
        let mut bench = bench(Durability::None);
        let (id, bytes) = (bench.create(Some(12)).await, content(12, 1));
        bench.push(&id, 0, &bytes).await.unwrap();
        let own = file(&bench);
        bench.reopen_with(|setup| (setup.epoch, setup.keep_finished) = (1, keep)).await;
        match keep {
            None => bench.ingest.terminate(&id).await.unwrap(),
            Some(keep) => {
                bench.clock.advance(2 * keep);
                bench.holds.try_take(&id).await.unwrap().expire().unwrap();
            }
        }
        assert!(std::fs::read(&own).is_err(), "{keep:?}");
    }
}

// spec: STORE-33
#[tokio::test]
async fn a_file_that_lost_bytes_can_be_sent_anew_at_once() {
    for damage in [None, Some("damaged!")] {
        let mut bench = bench(Durability::None);
        let bytes = content(8, 1);
        for round in 0..2 {
            for (index, chunk) in bytes.chunks(4).enumerate() {
                let put = (u64::try_from(index).unwrap(), chunk);
                let fate = bench.put(HASH, put, layout(4, 8, 2)).await.unwrap();
                assert_eq!(fate, ChunkFate::Stored, "{damage:?} {round}");
            }
            let id = bench.id_of(HASH);
            bench.merge(&id).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
            if round == 1 {
                break;
            }
            match damage {
                None => {
                    let name = bench.status(&id).await.record.finished().unwrap().name.clone();
                    bench.storage().remove_finished(&name).unwrap();
                }
                Some(other) => std::fs::write(file(&bench), other).unwrap(),
            }
            bench.reopen_with(|setup| setup.epoch = 1).await;
            let gone = bench.ingest.head(&id).await.unwrap_err();
            let unknown = matches!(gone, IngestError::Hold(HoldError::Unknown));
            assert_eq!(unknown, damage.is_none(), "{gone:?}");
        }
    }
}
