//! The faults do what the tests that rely on them believe.

use std::{num::NonZeroU64, thread, time::Duration};

use super::{
    super::{
        LocalStorage, MemoryStorage,
        contract::{content, id, name, part, put},
    },
    *,
};
use crate::durable::Flush::{Durable, Lazy};

fn memory() -> (Faults, FaultStorage<MemoryStorage>) {
    let faults = Faults::new();
    let memory = MemoryStorage::new(|| Timestamp::from_millis(1));
    (faults.clone(), FaultStorage::new(memory, faults))
}

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

const ENOSPC: Option<i32> = Some(28);
const EIO: Option<i32> = Some(5);

#[test]
fn the_nth_call_fails_and_only_that_one() {
    let (faults, storage) = memory();
    let early = storage.create_part(&id(1), part(0), Lazy).unwrap();
    early.sync().unwrap();
    faults.fail(Operation::Sync, 2, Failure::Device);
    let late = storage.open_part(&id(1), part(0)).unwrap();
    late.sync().unwrap();
    assert_eq!(code(early.sync()), EIO, "blobs handed out before count, too");
    late.sync().unwrap();
    early.write_at(b"x", 0).unwrap();
    assert_eq!(faults.calls(Operation::Sync), 4);
}

#[test]
fn all_calls_from_the_nth_on_fail_until_cleared() {
    let (faults, storage) = memory();
    faults.fail_from(Operation::Stage, 2, Failure::NoSpace);
    storage.stage().unwrap();
    for _ in 0..3 {
        assert_eq!(code(storage.stage()), ENOSPC);
    }
    faults.clear();
    storage.stage().unwrap();
    assert_eq!(faults.calls(Operation::Stage), 1);
}

#[test]
fn a_cut_write_stores_half() {
    let (faults, storage) = memory();
    let staged = storage.stage().unwrap();
    faults.cut_write(2, Failure::NoSpace);
    staged.write_at(b"hello ", 0).unwrap();
    assert_eq!(code(staged.as_blob().write_at(b"world", 6)), ENOSPC);
    assert_eq!(content(staged.as_blob()), b"hello wo");
    staged.write_at(b"world", 6).unwrap();
    assert_eq!(content(staged.as_blob()), b"hello world");
}

#[test]
fn a_failed_call_does_not_reach_the_storage() {
    let (faults, storage) = memory();
    put(&storage, &id(1), part(0), b"hello", Lazy);
    let blob = storage.open_part(&id(1), part(0)).unwrap();
    for operation in [
        Operation::Write,
        Operation::Truncate,
        Operation::Read,
        Operation::Size,
        Operation::Adopt,
        Operation::CreatePart,
        Operation::OpenPart,
        Operation::Parts,
        Operation::RemovePart,
        Operation::RemoveUpload,
        Operation::SyncParts,
        Operation::Publish,
        Operation::OpenFinished,
        Operation::RemoveFinished,
        Operation::Withdraw,
        Operation::Uploads,
        Operation::SweepStaging,
    ] {
        faults.fail_from(operation, 1, Failure::Device);
    }
    let staged = storage.stage().unwrap();
    let one = &id(1);
    assert_eq!(code(blob.write_at(b"x", 0)), EIO);
    assert_eq!(code(blob.truncate(0)), EIO);
    assert_eq!(code(blob.read_at(&mut [0], 0)), EIO);
    assert_eq!(code(blob.size()), EIO);
    assert_eq!(code(storage.adopt(staged, one, part(0), Lazy)), EIO);
    assert_eq!(code(storage.create_part(one, part(1), Lazy)), EIO);
    assert_eq!(code(storage.open_part(one, part(0))), EIO);
    assert_eq!(code(storage.parts(one)), EIO);
    assert_eq!(code(storage.sync_parts(one, Lazy)), EIO);
    assert_eq!(code(storage.remove_part(one, part(0))), EIO);
    assert_eq!(code(storage.remove_upload(one)), EIO);
    assert_eq!(code(storage.publish(one, part(0), &name("a"), Lazy)), EIO);
    assert_eq!(code(storage.open_finished(&name("a"))), EIO);
    assert_eq!(code(storage.remove_finished(&name("a"))), EIO);
    assert_eq!(code(storage.withdraw(&name("a"), one, part(1), Lazy)), EIO);
    assert_eq!(code(storage.uploads()), EIO);
    assert_eq!(code(storage.sweep_staging(Timestamp::default())), EIO);

    let inner = storage.inner();
    assert_eq!(inner.parts(one).unwrap().len(), 1);
    assert_eq!(content(inner.open_part(one, part(0)).unwrap().as_ref()), b"hello");
    let staged_left = inner.sweep_staging(Timestamp::from_millis(u64::MAX)).unwrap();
    assert_eq!(staged_left, 0, "a staged file whose adoption failed is gone");
}

#[test]
fn a_failed_flush_of_a_staged_file_stops_its_adoption() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let storage = FaultStorage::new(LocalStorage::open(folder.path()).unwrap(), faults.clone());
    faults.fail(Operation::Sync, 1, Failure::Device);
    let staged = storage.stage().unwrap();
    assert_eq!(code(storage.adopt(staged, &id(1), part(0), Durable)), EIO);
    assert_eq!(storage.uploads().unwrap(), []);
    put(&storage, &id(1), part(0), b"x", Durable);
}

#[test]
fn calls_hang_until_released() {
    let (faults, storage) = memory();
    let blob = storage.create_part(&id(1), part(0), Lazy).unwrap();
    faults.hang(Operation::Write, 2);
    blob.write_at(b"a", 0).unwrap();
    thread::scope(|scope| {
        let stuck: Vec<_> = (1..3)
            .map(|at| {
                scope.spawn({
                    let blob = &blob;
                    move || blob.write_at(b"b", at)
                })
            })
            .collect();
        while faults.hanging() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(blob.size().unwrap(), 1, "nothing is written, and others are not held up");
        faults.release();
        for thread in stuck {
            thread.join().unwrap().unwrap();
        }
    });
    assert_eq!(content(blob.as_ref()), b"abb");
    assert_eq!(faults.hanging(), 0);
    blob.write_at(b"c", 3).unwrap();
}

#[test]
fn whole_blocks_are_shared_where_they_are_believed_to_be() {
    let (faults, storage) = memory();
    let source = storage.create_part(&id(1), part(0), Lazy).unwrap();
    source.write_at(b"0123456789", 0).unwrap();
    let blob = storage.create_part(&id(1), part(1), Lazy).unwrap();
    assert_eq!(blob.share(&*source, 0, 0, 10), 0, "memory shares nothing");
    faults.share_blocks(NonZeroU64::new(4).unwrap());
    faults.clear();
    for (from, at, length, shared) in [(1, 0, 8, 0), (0, 2, 8, 0), (0, 0, 3, 0), (4, 0, 6, 4)] {
        assert_eq!(blob.share(&*source, from, at, length), shared);
    }
    assert_eq!((content(blob.as_ref()), faults.calls(Operation::Write)), (b"4567".to_vec(), 0));
    faults.fail(Operation::Share, 1, Failure::Device);
    assert_eq!(blob.share(&*source, 0, 4, 8), 0);
}

#[test]
fn the_fault_set_first_decides() {
    let (faults, storage) = memory();
    faults.fail(Operation::Uploads, 1, Failure::NoSpace);
    faults.fail_from(Operation::Uploads, 1, Failure::Device);
    assert_eq!(code(storage.uploads()), ENOSPC);
    assert_eq!(code(storage.uploads()), EIO);
}
