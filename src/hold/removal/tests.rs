//! Uploads that go while another process works on the same data, and removals that break off.

use std::{fs, future::Future, time::Duration};

use tokio::{
    task::{self, JoinHandle},
    time,
};

use crate::{
    hold::HoldError,
    ingest::IngestError,
    lock::Manner,
    state::local::ledger_path,
    storage::{Failure, Operation},
    testing::{Bench, House, Setup, content, layout, part},
    upload::UploadId,
};

/// Three chunks of four bytes and one of two.
const LENGTH: u64 = 14;
const HASH: &str = "0123456789abcdef0123456789abcdef";

fn soon_busy(setup: &mut Setup) {
    setup.patience = Duration::from_millis(50);
}

async fn put(house: &House, index: u64, bytes: &[u8]) -> Result<(), IngestError> {
    let from = usize::try_from(index).unwrap() * 4;
    let chunk = &bytes[from..(from + 4).min(14)];
    house.put(HASH, (index, chunk), layout(4, LENGTH, 4)).await.map(drop)
}

/// The same from a client that comes again while the upload is busy.
async fn put_at_last(house: &House, index: u64, bytes: &[u8]) {
    loop {
        match put(house, index, bytes).await {
            Err(IngestError::Hold(HoldError::Busy)) => time::sleep(Duration::from_millis(5)).await,
            stored => return stored.unwrap(),
        }
    }
}

/// A removal that has come to the bytes.
async fn within_removal<T: Send + 'static>(
    bench: &Bench,
    removal: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    bench.faults.hang(Operation::RemoveUpload, 1);
    let removing = tokio::spawn(removal);
    while bench.faults.hanging() == 0 {
        assert!(!removing.is_finished());
        time::sleep(Duration::from_millis(1)).await;
    }
    removing
}

/// Another process puts a chunk while `removal` is at the bytes: what it is told is true later.
async fn puts_within(bench: &Bench, removal: impl Future<Output = ()> + Send + 'static) {
    let (other, new) = (bench.sound_house(), content(14, 2));
    let removing = within_removal(bench, removal).await;
    let id = bench.id_of(HASH);
    let seen = other.ingest.status(&id).await;
    assert!(matches!(seen, Err(IngestError::Hold(HoldError::Unknown))), "{seen:?}");
    let early = put(&other, 0, &new).await;
    bench.faults.release();
    removing.await.unwrap();
    match early {
        Ok(()) => {}
        Err(IngestError::Hold(HoldError::Busy)) => put_at_last(&other, 0, &new).await,
        Err(error) => panic!("{error}"),
    }
    for index in 1..4 {
        put_at_last(&bench.house, index, &new).await;
    }
    // Behind the answers both may still absorb, for longer than anybody has patience here.
    bench.settle().await;
    other.settle().await;
    other.merge(&id).await.unwrap();
    assert_eq!(bench.download(&id).await, new);
}

// Found by reading: the ledger went first, and its lock with it.
// spec: STORE-86
#[tokio::test]
async fn a_chunk_that_meets_the_deletion_of_its_upload_in_another_process_is_not_lost() {
    let bench = Bench::local_with(soon_busy);
    put(&bench.house, 0, &content(14, 1)).await.unwrap();
    bench.settle().await;
    let (ingest, id) = (bench.ingest.clone(), bench.id_of(HASH));
    puts_within(&bench, async move { ingest.terminate(&id).await.unwrap() }).await;
}

// Found by reading: nothing excluded other processes.
// spec: STORE-86
#[tokio::test]
async fn a_chunk_that_meets_the_sweep_of_parts_without_a_ledger_is_not_lost() {
    let bench = Bench::local_with(soon_busy);
    let id = bench.id_of(HASH);
    bench.plant(&id, part(0), b"left");
    let (holds, own) = (bench.holds.clone(), id.clone());
    let sweep = async move || {
        let swept = task::spawn_blocking(move || holds.remove_orphan(&own));
        swept.await.unwrap().unwrap();
    };
    puts_within(&bench, sweep()).await;
}

#[tokio::test]
async fn an_upload_that_was_just_begun_is_no_orphan() {
    let bench = Bench::local();
    put(&bench.house, 0, &content(14, 1)).await.unwrap();
    let (other, id) = (bench.sound_house(), bench.id_of(HASH));
    let held = bench.holds.take(&id, Manner::Asking).await.unwrap();
    assert!(matches!(other.holds.remove_orphan(&id), Err(HoldError::Busy)));
    drop(held);
    assert!(matches!(other.holds.remove_orphan(&id), Err(HoldError::Busy)));
    assert_eq!(bench.status(&id).await.record.chunks().sealed(), 1);
}

/// A deletion whose process is gone behind its first step.
async fn cut_off() -> (Bench, UploadId) {
    let mut bench = Bench::local();
    let (ingest, id) = (bench.ingest.clone(), bench.id_of(HASH));
    for index in [1, 3] {
        put(&bench.house, index, &content(14, 1)).await.unwrap();
    }
    bench.settle().await;
    bench.faults.fail(Operation::RemoveUpload, 1, Failure::Device);
    ingest.terminate(&id).await.unwrap_err();
    bench.reopen().await;
    assert!(!bench.parts(&id).is_empty());
    (bench, id)
}

// spec: STORE-86
#[tokio::test]
async fn of_a_deletion_that_was_cut_off_nobody_hears_and_nothing_stays() {
    for swept in [false, true] {
        let (bench, id) = cut_off().await;
        for seen in
            [bench.ingest.status(&id).await.map(drop), bench.ingest.head(&id).await.map(drop)]
        {
            assert!(matches!(seen, Err(IngestError::Hold(HoldError::Unknown))), "{seen:?}");
        }
        if swept {
            bench.holds.remove_orphan(&id).unwrap();
        } else {
            bench.ingest.terminate(&id).await.unwrap();
        }
        assert!(bench.parts(&id).is_empty());
        let ledger = ledger_path(&bench.folder().join("state"), &id);
        assert!(!fs::exists(ledger).unwrap());
    }
}

// spec: STORE-80
#[tokio::test]
async fn behind_a_deletion_that_was_cut_off_the_key_begins_anew() {
    let (bench, id) = cut_off().await;
    let (other, new) = (bench.sound_house(), content(14, 2));
    put(&other, 0, &new).await.unwrap();
    assert_eq!(bench.status(&id).await.record.chunks().sealed(), 1);
    for index in 1..4 {
        put(&bench.house, index, &new).await.unwrap();
    }
    bench.merge(&id).await.unwrap();
    assert_eq!(other.download(&id).await, new);
}
