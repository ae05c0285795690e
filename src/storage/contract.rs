//! What every storage owes, asked of each of them by the same questions.

use std::io::ErrorKind;

use super::{Blob, FaultStorage, Faults, LocalStorage, MemoryStorage, Published, Storage};
use crate::{
    durable::Flush::{self, Durable, Lazy},
    upload::{ChunkIndex, FinalName, PartId, Timestamp, UploadId},
};

const START: Timestamp = Timestamp::from_millis(0);
const END: Timestamp = Timestamp::from_millis(u64::MAX);

pub(super) fn id(n: u8) -> UploadId {
    UploadId::from_random([n; 16])
}

pub(super) fn part(first: u64) -> PartId {
    PartId::new(ChunkIndex::new(first).unwrap())
}

pub(super) fn name(text: &str) -> FinalName {
    FinalName::parse(text).unwrap()
}

pub(super) fn content(blob: &dyn Blob) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(blob.size().unwrap()).unwrap()];
    blob.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// A part that holds `bytes`.
pub(super) fn put(storage: &dyn Storage, id: &UploadId, part: PartId, bytes: &[u8], flush: Flush) {
    let staged = storage.stage().unwrap();
    staged.write_at(bytes, 0).unwrap();
    storage.adopt(staged, id, part, flush).unwrap();
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Every storage answers every question, each time on fresh ground; the files twice, with and
/// without flushing.
macro_rules! contract {
    ($($question:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[test]
            fn $question() {
                super::$question(&MemoryStorage::new(|| Timestamp::from_millis(1_000)), Lazy);
            })*
        }

        mod local {
            use super::*;
            $(#[test]
            fn $question() {
                let folder = tempfile::tempdir().unwrap();
                super::$question(&LocalStorage::open(folder.path()).unwrap(), Lazy);
            })*
        }

        mod local_durable {
            use super::*;
            $(#[test]
            fn $question() {
                let folder = tempfile::tempdir().unwrap();
                super::$question(&LocalStorage::open(folder.path()).unwrap(), Durable);
            })*
        }

        mod local_behind_faults {
            use super::*;
            $(#[test]
            fn $question() {
                let folder = tempfile::tempdir().unwrap();
                let local = LocalStorage::open(folder.path()).unwrap();
                super::$question(&FaultStorage::new(local, Faults::new()), Lazy);
            })*
        }

        mod memory_behind_faults {
            use super::*;
            $(#[test]
            fn $question() {
                let memory = MemoryStorage::new(|| Timestamp::from_millis(1_000));
                super::$question(&FaultStorage::new(memory, Faults::new()), Durable);
            })*
        }
    };
}

contract!(
    a_lent_part_has_one_file_and_two_names,
    a_staged_file_is_written_and_becomes_a_part,
    a_dropped_staged_file_leaves_nothing,
    adopting_replaces_and_whoever_reads_the_old_part_goes_on,
    creating_refuses_what_is_there,
    opening_refuses_what_is_not_there,
    reading_past_the_end_is_an_error,
    writing_grows_a_blob_and_leaves_zeros_before_it,
    truncating_cuts_and_never_grows,
    wishes_change_no_byte_and_no_size,
    two_handles_see_one_part,
    parts_come_in_order_of_their_numbers,
    publishing_moves_the_bytes,
    publishing_never_replaces,
    publishing_what_is_not_there_takes_no_name,
    a_finished_file_is_for_reading,
    a_removed_finished_file_stays_readable_where_it_is_open,
    withdrawing_gives_the_bytes_back_to_their_upload,
    withdrawing_what_is_not_there_leaves_no_folder,
    removing_twice_is_no_error,
    removing_an_upload_leaves_others_and_finished_files,
    uploads_are_listed_while_they_have_a_folder,
    what_is_worked_on_is_not_swept,
);

fn a_staged_file_is_written_and_becomes_a_part(storage: &dyn Storage, flush: Flush) {
    let staged = storage.stage().unwrap();
    assert_eq!(staged.size().unwrap(), 0);
    staged.write_at(b"hello", 0).unwrap();
    staged.sync().unwrap();
    assert_eq!(content(staged.as_blob()), b"hello");
    assert_ne!(staged.token(), storage.stage().unwrap().token());
    assert_eq!(storage.parts(&id(1)).unwrap(), [], "nothing is seen before it is adopted");

    storage.adopt(staged, &id(1), part(0), flush).unwrap();
    assert_eq!(content(storage.open_part(&id(1), part(0)).unwrap().as_ref()), b"hello");
    assert_eq!(storage.sweep_staging(END).unwrap(), 0, "it is in staging no longer");
}

fn a_dropped_staged_file_leaves_nothing(storage: &dyn Storage, _: Flush) {
    let staged = storage.stage().unwrap();
    staged.write_at(b"hello", 0).unwrap();
    drop(staged);
    assert_eq!(storage.sweep_staging(END).unwrap(), 0);
    assert_eq!(storage.uploads().unwrap(), []);
}

fn adopting_replaces_and_whoever_reads_the_old_part_goes_on(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"old bytes", flush);
    let old = storage.open_part(&id(1), part(0)).unwrap();
    put(storage, &id(1), part(0), b"new", flush);
    assert_eq!(content(storage.open_part(&id(1), part(0)).unwrap().as_ref()), b"new");
    assert_eq!(content(old.as_ref()), b"old bytes");
    assert_eq!(storage.parts(&id(1)).unwrap().len(), 1);
}

fn creating_refuses_what_is_there(storage: &dyn Storage, flush: Flush) {
    let created = storage.create_part(&id(1), part(0), flush).unwrap();
    created.write_at(b"first", 0).unwrap();
    let again = storage.create_part(&id(1), part(0), flush);
    assert_eq!(kind(again), Some(ErrorKind::AlreadyExists));
    assert_eq!(content(created.as_ref()), b"first");
}

fn opening_refuses_what_is_not_there(storage: &dyn Storage, flush: Flush) {
    assert_eq!(kind(storage.open_part(&id(1), part(0))), Some(ErrorKind::NotFound));
    storage.create_part(&id(1), part(0), flush).unwrap();
    assert_eq!(kind(storage.open_part(&id(1), part(1))), Some(ErrorKind::NotFound));
    assert_eq!(kind(storage.open_part(&id(2), part(0))), Some(ErrorKind::NotFound));
    assert_eq!(kind(storage.open_finished(&name("a"))), Some(ErrorKind::NotFound));
}

fn reading_past_the_end_is_an_error(storage: &dyn Storage, flush: Flush) {
    let blob = storage.create_part(&id(1), part(0), flush).unwrap();
    blob.write_at(b"hello", 0).unwrap();
    for (length, at) in [(6, 0), (2, 4), (1, 5), (1, 1 << 40)] {
        let read = blob.read_at(&mut vec![0; length], at);
        assert_eq!(kind(read), Some(ErrorKind::UnexpectedEof), "{length} bytes at {at}");
    }
    let mut tail = [0; 2];
    blob.read_at(&mut tail, 3).unwrap();
    assert_eq!(&tail, b"lo");
    blob.read_at(&mut [], 5).unwrap();
}

fn writing_grows_a_blob_and_leaves_zeros_before_it(storage: &dyn Storage, flush: Flush) {
    let blob = storage.create_part(&id(1), part(0), flush).unwrap();
    blob.write_at(b"tail", 6).unwrap();
    assert_eq!(content(blob.as_ref()), b"\0\0\0\0\0\0tail");
    blob.write_at(b"head", 1).unwrap();
    assert_eq!(content(blob.as_ref()), b"\0head\0tail");
    blob.write_at(b"", 100).unwrap();
    assert_eq!(blob.size().unwrap(), 10, "no bytes, no growth");
    assert!(blob.write_at(b"x", u64::MAX).is_err());
    assert_eq!(blob.size().unwrap(), 10);
}

fn truncating_cuts_and_never_grows(storage: &dyn Storage, flush: Flush) {
    let blob = storage.create_part(&id(1), part(0), flush).unwrap();
    blob.write_at(b"hello", 0).unwrap();
    blob.truncate(5).unwrap();
    assert_eq!(content(blob.as_ref()), b"hello");
    blob.truncate(2).unwrap();
    assert_eq!(content(blob.as_ref()), b"he");
    assert_eq!(kind(blob.truncate(3)), Some(ErrorKind::InvalidInput));
    assert_eq!(blob.size().unwrap(), 2);
    blob.write_at(b"!", 4).unwrap();
    assert_eq!(content(blob.as_ref()), b"he\0\0!", "what was cut off does not come back");
}

fn wishes_change_no_byte_and_no_size(storage: &dyn Storage, flush: Flush) {
    let blob = storage.create_part(&id(1), part(0), flush).unwrap();
    blob.write_at(b"hello", 0).unwrap();
    let backwards = std::ops::Range { start: 9, end: 2 };
    for range in [0..5, 0..0, 5..1 << 20, backwards, 0..u64::MAX] {
        blob.write_back(range.clone());
        blob.reserve(range);
        assert_eq!(content(blob.as_ref()), b"hello");
    }
    blob.truncate(5).unwrap();
}

fn two_handles_see_one_part(storage: &dyn Storage, flush: Flush) {
    let one = storage.create_part(&id(1), part(0), flush).unwrap();
    let other = storage.open_part(&id(1), part(0)).unwrap();
    one.write_at(b"hello", 0).unwrap();
    other.write_at(b"p!", 3).unwrap();
    assert_eq!(content(one.as_ref()), b"help!");
    storage.remove_part(&id(1), part(0)).unwrap();
    assert_eq!(content(other.as_ref()), b"help!", "a removed part stays while it is open");
}

fn parts_come_in_order_of_their_numbers(storage: &dyn Storage, flush: Flush) {
    assert_eq!(storage.parts(&id(1)).unwrap(), []);
    let second = PartId { generation: 2, ..part(2) };
    let tenth = PartId { generation: 10, ..part(2) };
    for (part, bytes) in
        [(part(10), "x"), (tenth, "xxxx"), (part(2), "xx"), (second, "xxx"), (part(1), "")]
    {
        put(storage, &id(1), part, bytes.as_bytes(), flush);
    }
    let found = storage.parts(&id(1)).unwrap();
    let found: Vec<_> = found.iter().map(|stored| (stored.part, stored.size)).collect();
    assert_eq!(found, [(part(1), 0), (part(2), 2), (second, 3), (tenth, 4), (part(10), 1)]);
    storage.remove_part(&id(1), second).unwrap();
    assert_eq!(storage.parts(&id(1)).unwrap().len(), 4);
}

fn publishing_moves_the_bytes(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"hello", flush);
    put(storage, &id(1), part(1), b"absorbed", flush);
    let open = storage.open_part(&id(1), part(0)).unwrap();
    let done = storage.publish(&id(1), part(0), &name("a.txt"), flush).unwrap();
    assert_eq!(done, Published::Done);
    assert_eq!(content(storage.open_finished(&name("a.txt")).unwrap().as_ref()), b"hello");
    assert_eq!(content(open.as_ref()), b"hello");
    let left: Vec<_> = storage.parts(&id(1)).unwrap().iter().map(|stored| stored.part).collect();
    assert_eq!(left, [part(1)]);
}

fn publishing_never_replaces(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"first", flush);
    put(storage, &id(2), part(0), b"second", flush);
    storage.publish(&id(1), part(0), &name("a"), flush).unwrap();
    let taken = storage.publish(&id(2), part(0), &name("a"), flush).unwrap();
    assert_eq!(taken, Published::NameTaken);
    assert_eq!(content(storage.open_finished(&name("a")).unwrap().as_ref()), b"first");
    assert_eq!(content(storage.open_part(&id(2), part(0)).unwrap().as_ref()), b"second");
    let other = storage.publish(&id(2), part(0), &name("a-1"), flush).unwrap();
    assert_eq!(other, Published::Done);
}

fn publishing_what_is_not_there_takes_no_name(storage: &dyn Storage, flush: Flush) {
    let absent = storage.publish(&id(1), part(0), &name("a"), flush);
    assert_eq!(kind(absent), Some(ErrorKind::NotFound));
    assert_eq!(kind(storage.open_finished(&name("a"))), Some(ErrorKind::NotFound));
    assert_eq!(storage.uploads().unwrap(), []);
}

fn a_finished_file_is_for_reading(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"hello", flush);
    storage.publish(&id(1), part(0), &name("a"), flush).unwrap();
    let blob = storage.open_finished(&name("a")).unwrap();
    assert!(blob.write_at(b"j", 0).is_err());
    assert!(blob.truncate(1).is_err());
    assert_eq!(content(blob.as_ref()), b"hello");
}

fn a_removed_finished_file_stays_readable_where_it_is_open(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"hello", flush);
    storage.publish(&id(1), part(0), &name("a"), flush).unwrap();
    let blob = storage.open_finished(&name("a")).unwrap();
    storage.remove_finished(&name("a")).unwrap();
    assert_eq!(content(blob.as_ref()), b"hello");
    assert_eq!(kind(storage.open_finished(&name("a"))), Some(ErrorKind::NotFound));
}

fn withdrawing_gives_the_bytes_back_to_their_upload(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"hello", flush);
    storage.publish(&id(1), part(0), &name("a"), flush).unwrap();
    storage.remove_upload(&id(1)).unwrap();
    let open = storage.open_finished(&name("a")).unwrap();
    storage.withdraw(&name("a"), &id(1), PartId::WITHDRAWN, flush).unwrap();
    assert_eq!(kind(storage.open_finished(&name("a"))), Some(ErrorKind::NotFound));
    assert_eq!(storage.part_size(&id(1), PartId::WITHDRAWN).unwrap(), Some(5));
    assert_eq!(content(open.as_ref()), b"hello");

    // The name is free, and whoever has it now keeps it.
    put(storage, &id(2), part(0), b"other", flush);
    storage.publish(&id(2), part(0), &name("a"), flush).unwrap();
    let again = storage.withdraw(&name("a"), &id(1), PartId::WITHDRAWN, flush);
    assert_eq!(kind(again), Some(ErrorKind::AlreadyExists));
    assert_eq!(content(storage.open_finished(&name("a")).unwrap().as_ref()), b"other");
    storage.remove_upload(&id(1)).unwrap();
    assert_eq!(storage.parts(&id(1)).unwrap(), []);
    assert_eq!(content(open.as_ref()), b"hello");
}

fn withdrawing_what_is_not_there_leaves_no_folder(storage: &dyn Storage, flush: Flush) {
    storage.withdraw(&name("a"), &id(1), PartId::WITHDRAWN, flush).unwrap();
    assert_eq!(storage.uploads().unwrap(), []);
}

fn removing_twice_is_no_error(storage: &dyn Storage, flush: Flush) {
    storage.remove_part(&id(1), part(0)).unwrap();
    storage.remove_upload(&id(1)).unwrap();
    storage.remove_finished(&name("a")).unwrap();
    put(storage, &id(1), part(0), b"hello", flush);
    for _ in 0..2 {
        storage.remove_part(&id(1), part(0)).unwrap();
    }
    for _ in 0..2 {
        storage.remove_upload(&id(1)).unwrap();
        assert_eq!(storage.parts(&id(1)).unwrap(), []);
    }
}

fn removing_an_upload_leaves_others_and_finished_files(storage: &dyn Storage, flush: Flush) {
    for n in 1..=2 {
        put(storage, &id(n), part(0), b"hello", flush);
        put(storage, &id(n), part(10), b"world", flush);
    }
    storage.publish(&id(1), part(0), &name("a"), flush).unwrap();
    storage.remove_upload(&id(1)).unwrap();
    assert_eq!(storage.parts(&id(1)).unwrap(), []);
    assert_eq!(storage.parts(&id(2)).unwrap().len(), 2);
    assert_eq!(content(storage.open_finished(&name("a")).unwrap().as_ref()), b"hello");
}

fn uploads_are_listed_while_they_have_a_folder(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"hello", flush);
    storage.create_part(&id(2), part(3), flush).unwrap();
    let mut found = storage.uploads().unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    assert!(found.iter().all(|upload| upload.changed > START));
    let ids: Vec<_> = found.into_iter().map(|upload| upload.id).collect();
    assert_eq!(ids, [id(1), id(2)]);

    storage.remove_part(&id(2), part(3)).unwrap();
    storage.remove_upload(&id(1)).unwrap();
    let left: Vec<_> = storage.uploads().unwrap().into_iter().map(|upload| upload.id).collect();
    assert_eq!(left, [id(2)], "the folder stays until the upload goes");
}

fn what_is_worked_on_is_not_swept(storage: &dyn Storage, flush: Flush) {
    let (one, other) = (storage.stage().unwrap(), storage.stage().unwrap());
    one.write_at(b"x", 0).unwrap();
    assert_eq!(storage.sweep_staging(END).unwrap(), 0);
    storage.adopt(one, &id(1), part(0), flush).unwrap();
    drop(other);
    assert_eq!(storage.sweep_staging(END).unwrap(), 0);
    assert_eq!(content(storage.open_part(&id(1), part(0)).unwrap().as_ref()), b"x");
}

fn a_lent_part_has_one_file_and_two_names(storage: &dyn Storage, flush: Flush) {
    put(storage, &id(1), part(0), b"lent", flush);
    storage.lend_part((&id(1), part(0)), (&id(2), part(0)), flush).unwrap();
    let taken = storage.lend_part((&id(1), part(0)), (&id(2), part(0)), flush);
    assert_eq!(kind(taken), Some(ErrorKind::AlreadyExists));
    let nobody = storage.lend_part((&id(3), part(0)), (&id(4), part(0)), flush);
    assert_eq!(kind(nobody), Some(ErrorKind::NotFound));
    storage.open_part(&id(2), part(0)).unwrap().write_at(b" and more", 4).unwrap();
    assert_eq!(content(&*storage.open_part(&id(1), part(0)).unwrap()), b"lent and more");
    storage.remove_upload(&id(1)).unwrap();
    assert_eq!(content(&*storage.open_part(&id(2), part(0)).unwrap()), b"lent and more");
}
