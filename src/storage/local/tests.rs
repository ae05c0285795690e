//! What the files look like from outside.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{FileExt, MetadataExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::{
    super::{
        Published,
        contract::{content, id, name, part, put},
    },
    *,
};

fn fresh() -> (TempDir, LocalStorage) {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(folder.path()).unwrap();
    (folder, storage)
}

fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn upload(folder: &TempDir, n: u8) -> PathBuf {
    folder.path().join("uploads").join(id(n).as_str())
}

#[test]
fn everything_lies_where_the_operator_expects_it() {
    let (folder, storage) = fresh();
    assert_eq!(names(folder.path()), ["files", "tmp", "uploads"]);

    let staged = storage.stage().unwrap();
    staged.write_at(b"hello", 0).unwrap();
    assert_eq!(names(folder.path().join("tmp")), [staged.token()]);
    assert!(names(folder.path().join("uploads")).is_empty(), "no folder before the first part");

    storage.adopt(staged, &id(1), part(0), Flush::Durable).unwrap();
    put(&storage, &id(1), PartId { generation: 3, ..part(12) }, b"", Flush::Durable);
    assert!(names(folder.path().join("tmp")).is_empty());
    assert_eq!(names(upload(&folder, 1)), ["0.part", "12.3.part"]);
    assert_eq!(fs::read(upload(&folder, 1).join("0.part")).unwrap(), b"hello");

    storage.publish(&id(1), part(0), &name("a.txt"), Flush::Durable).unwrap();
    assert_eq!(names(upload(&folder, 1)), ["12.3.part"]);
    assert_eq!(fs::read(folder.path().join("files/a.txt")).unwrap(), b"hello");
    storage.remove_upload(&id(1)).unwrap();
    assert!(names(folder.path().join("uploads")).is_empty());
}

#[test]
fn a_second_open_finds_what_the_first_left() {
    let (folder, storage) = fresh();
    put(&storage, &id(1), part(0), b"hello", Flush::Lazy);
    let staged = storage.stage().unwrap();
    let other = LocalStorage::open(folder.path()).unwrap();
    assert_eq!(content(other.open_part(&id(1), part(0)).unwrap().as_ref()), b"hello");
    assert_eq!(names(folder.path().join("tmp")), [staged.token()], "staging is swept by age only");
}

#[test]
fn folders_of_uploads_are_flushed_once() {
    let (_folder, storage) = fresh();
    let made_and_synced = || {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&storage.folders_made), load(&storage.folders_synced))
    };
    put(&storage, &id(1), part(0), b"", Flush::Lazy);
    assert_eq!(made_and_synced(), (2, 0));
    put(&storage, &id(1), part(1), b"", Flush::Durable);
    assert_eq!(made_and_synced(), (2, 2), "the folder is an older one, but was not yet flushed");
    storage.create_part(&id(2), part(0), Flush::Durable).unwrap();
    assert_eq!(made_and_synced(), (3, 3));
}

#[test]
fn reserved_blocks_change_no_size_and_are_given_back() {
    let (folder, storage) = fresh();
    let blob = storage.create_part(&id(1), part(0), Flush::Lazy).unwrap();
    blob.write_at(b"hello", 0).unwrap();
    blob.sync().unwrap();
    let path = upload(&folder, 1).join("0.part");
    let blocks = || fs::metadata(&path).unwrap().blocks();
    let before = blocks();

    blob.reserve(0..8 << 20);
    assert_eq!(blob.size().unwrap(), 5);
    if blocks() == before {
        return; // This file system reserves nothing: nothing to give back.
    }
    assert!(blocks() * 512 >= 8 << 20);
    blob.truncate(5).unwrap();
    assert_eq!(blocks(), before);
    assert_eq!(content(blob.as_ref()), b"hello");
}

#[test]
fn links_are_neither_read_nor_written_nor_published() {
    let (folder, storage) = fresh();
    let secret = folder.path().join("secret");
    fs::write(&secret, "keep out").unwrap();
    put(&storage, &id(1), part(1), b"x", Flush::Lazy);
    symlink(&secret, upload(&folder, 1).join("0.part")).unwrap();
    symlink(&secret, folder.path().join("files/a")).unwrap();

    assert!(storage.open_part(&id(1), part(0)).is_err());
    assert!(storage.open_finished(&name("a")).is_err());
    let created = storage.create_part(&id(1), part(0), Flush::Lazy);
    assert_eq!(created.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let found: Vec<_> = storage.parts(&id(1)).unwrap().iter().map(|stored| stored.part).collect();
    assert_eq!(found, [part(1)]);
    for flush in [Flush::Lazy, Flush::Durable] {
        assert!(storage.publish(&id(1), part(0), &name("b"), flush).is_err());
    }
    let taken = storage.publish(&id(1), part(1), &name("a"), Flush::Lazy).unwrap();
    assert_eq!(taken, Published::NameTaken);

    storage.remove_upload(&id(1)).unwrap();
    storage.remove_finished(&name("a")).unwrap();
    assert_eq!(names(folder.path()), ["files", "secret", "tmp", "uploads"]);
    assert_eq!(fs::read(&secret).unwrap(), b"keep out");
    assert!(names(folder.path().join("uploads")).is_empty(), "the link itself went");
}

#[test]
fn a_folder_that_is_a_link_is_not_followed() {
    let (folder, storage) = fresh();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("0.part"), "keep").unwrap();
    symlink(&elsewhere, upload(&folder, 1)).unwrap();

    assert_eq!(storage.parts(&id(1)).unwrap(), []);
    assert_eq!(storage.uploads().unwrap(), []);
    storage.remove_upload(&id(1)).unwrap();
    assert_eq!(names(&elsewhere), ["0.part"]);
}

#[test]
fn foreign_files_are_passed_over_and_stay() {
    let (folder, storage) = fresh();
    put(&storage, &id(1), part(0), b"x", Flush::Lazy);
    let mine = upload(&folder, 1);
    fs::create_dir(mine.join("7.part")).unwrap();
    let not_parts = ["00.part", "0.0.part", "1.part.bak", "notes"];
    for foreign in not_parts {
        fs::write(mine.join(foreign), "").unwrap();
    }
    let uploads = folder.path().join("uploads");
    fs::create_dir(uploads.join("lost+found")).unwrap();
    fs::write(uploads.join(id(2).as_str()), "a file, no folder").unwrap();

    assert_eq!(storage.parts(&id(1)).unwrap().len(), 1);
    assert_eq!(storage.uploads().unwrap().len(), 1);
    storage.remove_upload(&id(1)).unwrap();
    storage.remove_upload(&id(2)).unwrap();
    assert_eq!(names(&mine), ["0.0.part", "00.part", "1.part.bak", "7.part", "notes"]);
    assert_eq!(names(&uploads).len(), 3);
}

#[test]
fn the_sweep_takes_old_tokens_and_nothing_else() {
    let (folder, storage) = fresh();
    let staging = folder.path().join("tmp");
    let (used, young) = (storage.stage().unwrap(), storage.stage().unwrap());
    let (foreign, old) = ("f".repeat(31), "a".repeat(32));
    for name in [old.as_str(), used.token(), "notes", &foreign] {
        let file = fs::File::create(staging.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
    }
    fs::create_dir(staging.join("0".repeat(32))).unwrap();

    assert_eq!(storage.sweep_staging(Timestamp::from_millis(1_000_000)).unwrap(), 0);
    assert_eq!(storage.sweep_staging(Timestamp::from_millis(1_000_001)).unwrap(), 1);
    let worked_on = [&used, &young].map(|staged| staged.token().to_owned());
    let mut left = vec!["0".repeat(32), foreign, "notes".to_owned()];
    left.extend(worked_on);
    left.sort();
    assert_eq!(names(&staging), left);
}

#[test]
fn a_staged_file_that_somebody_works_on_is_not_swept_however_old() {
    let (folder, storage) = fresh();
    let staged = storage.stage().unwrap();
    staged.write_at(b"hello", 0).unwrap();
    let path = folder.path().join("tmp").join(staged.token());
    fs::File::open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    // As another process that sweeps.
    let other = LocalStorage::open(folder.path()).unwrap();
    assert_eq!(other.sweep_staging(Timestamp::from_millis(1)).unwrap(), 0);
    storage.adopt(staged, &id(1), part(0), Flush::Durable).unwrap();
    assert_eq!(content(storage.open_part(&id(1), part(0)).unwrap().as_ref()), b"hello");
}

#[test]
fn a_part_that_others_shorten_reads_as_ended() {
    let (folder, storage) = fresh();
    put(&storage, &id(1), part(0), b"hello", Flush::Lazy);
    let blob = storage.open_part(&id(1), part(0)).unwrap();
    let outside = fs::File::options().write(true).open(upload(&folder, 1).join("0.part")).unwrap();
    outside.set_len(2).unwrap();
    outside.write_all_at(b"H", 0).unwrap();
    let read = blob.read_at(&mut [0; 5], 0);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(content(blob.as_ref()), b"He");
}

#[test]
fn a_publication_that_was_cut_off_between_its_two_names_is_finished() {
    let (folder, storage) = fresh();
    put(&storage, &id(1), part(0), b"hello", Flush::Lazy);
    fs::hard_link(upload(&folder, 1).join("0.part"), folder.path().join("files/a")).unwrap();
    let done = storage.publish(&id(1), part(0), &name("a"), Flush::Durable).unwrap();
    assert_eq!(done, Published::Done);
    assert_eq!(storage.parts(&id(1)).unwrap(), []);
    assert_eq!(content(storage.open_finished(&name("a")).unwrap().as_ref()), b"hello");
}

#[test]
#[should_panic(expected = "one path segment")]
fn no_name_leads_out_of_its_folder() {
    child(Path::new("files"), "../state");
}

#[test]
fn one_path_segment_is_all_that_passes_the_door() {
    for name in ["", ".", "..", "a/", "/a", "a/b", "./a", "a/.."] {
        let refused = std::panic::catch_unwind(|| child(Path::new("files"), name));
        assert!(refused.is_err(), "{name:?}");
    }
    assert_eq!(child(Path::new("files"), "..a"), Path::new("files/..a"));
}

#[test]
fn a_part_that_is_all_of_an_upload_needs_no_folder() {
    let (folder, storage) = fresh();
    let uploads = folder.path().join("uploads");
    let whole = format!("{}.part", id(1));
    for flush in [Flush::Lazy, Flush::Durable] {
        put(&storage, &id(1), PartId::WHOLE, b"whole", flush);
        assert_eq!(names(&uploads), [&*whole]);
        let stored = StoredPart { part: PartId::WHOLE, size: 5 };
        assert_eq!(storage.parts(&id(1)).unwrap(), [stored]);
        assert_eq!(storage.uploads().unwrap().len(), 1);
        let taken = storage.create_part(&id(1), PartId::WHOLE, flush).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        // Beside a folder it is the last of the parts, and the upload is listed once.
        put(&storage, &id(1), part(0), b"", flush);
        assert_eq!(storage.parts(&id(1)).unwrap().last(), Some(&stored));
        assert_eq!(storage.uploads().unwrap().len(), 1);
        storage.remove_upload(&id(1)).unwrap();
        assert!(names(&uploads).is_empty());

        put(&storage, &id(1), PartId::WHOLE, b"whole", flush);
        let file = name("file");
        let published = storage.publish(&id(1), PartId::WHOLE, &file, flush);
        assert_eq!(published.unwrap(), Published::Done);
        assert!(names(&uploads).is_empty());
        storage.remove_finished(&file).unwrap();
    }
}
