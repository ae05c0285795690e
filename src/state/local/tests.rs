//! What a disk can do to ledgers, and two processes to each other.

use std::{
    cell::RefCell,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    sync::Barrier,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::{
    clock::Stopwatch,
    state::contract::{Place, contract, id, life, live, manifest, sealed, stamped},
    upload::{Fact, Record},
};

impl Place for TempDir {
    fn open(&self) -> Box<dyn State> {
        Box::new(local(self))
    }
}

contract!(tempfile::tempdir().unwrap());

fn local(root: &TempDir) -> LocalState {
    LocalState::open(&root.path().join("state")).unwrap()
}

fn path(root: &TempDir, id: &UploadId) -> PathBuf {
    ledger_path(&root.path().join("state"), id)
}

/// Puts a file with these bytes in the place of a ledger.
fn plant(root: &TempDir, state: &LocalState, id: &UploadId, bytes: &[u8]) {
    let path = path(root, id);
    state.forget(id).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A ledger with all kinds of facts, and the states that it went through.
fn full_life(root: &TempDir, state: &LocalState) -> (UploadId, Vec<u8>, Vec<Versioned>) {
    let id = id("e5");
    let states = live(state, manifest(&id, None), &life());
    let bytes = fs::read(path(root, &id)).unwrap();
    assert_eq!(states.last().unwrap().version.length, bytes::size(bytes.len()));
    (id, bytes, states)
}

// spec: STORE-11
#[test]
fn a_ledger_cut_anywhere_holds_the_commits_in_front_of_the_cut() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    let (id, bytes, states) = full_life(&root, &state);
    for cut in 0..=bytes.len() {
        plant(&root, &state, &id, &bytes[..cut]);
        let whole = states.iter().rfind(|s| s.version.length <= bytes::size(cut));
        let Some(whole) = whole else {
            assert!(matches!(state.load(&id), Err(StateError::Unknown)), "cut at {cut}");
            state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
            continue;
        };
        let loaded = state.load(&id).unwrap();
        assert_eq!((&loaded.record, loaded.version), (&whole.record, whole.version), "at {cut}");
        let next = state.commit(&loaded, &[stamped(99, Fact::Touched)], Flush::Lazy).unwrap();
        let size = fs::metadata(path(&root, &id)).unwrap().len();
        assert_eq!(size, next.version.length, "the torn rest after a cut at {cut} is gone");
        state.cache.forget(&id);
        assert_eq!(state.load(&id).unwrap().record, next.record, "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_is_damage_or_a_torn_end_and_never_another_record() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    let (id, bytes, states) = full_life(&root, &state);
    let (last_start, body) = (bytes.len() - 96, states[0].version.length);
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            plant(&root, &state, &id, &flipped);
            match state.load(&id) {
                Ok(loaded) => {
                    assert!(at >= last_start, "byte {at} was flipped unnoticed");
                    assert_eq!(loaded.record, states[states.len() - 2].record);
                }
                Err(StateError::Damaged { at: found, .. }) => {
                    assert!(at < last_start);
                    let frame = bytes::size(at).checked_sub(body).map(|at| body + at / 96 * 96);
                    assert_eq!(found, frame.unwrap_or(if at < 28 { 0 } else { 28 }));
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
}

#[test]
fn frames_from_elsewhere_are_damage() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    let (mine, bytes, states) = full_life(&root, &state);
    let body = usize::try_from(states[0].version.length).unwrap();
    let mut swapped = bytes.clone();
    swapped.copy_within(body..body + 96, body + 96);
    plant(&root, &state, &mine, &swapped);
    assert!(matches!(state.load(&mine), Err(StateError::Damaged { .. })));

    let other = id("e6");
    plant(&root, &state, &other, &bytes);
    assert!(matches!(state.load(&other), Err(StateError::Damaged { at: 0, .. })));
    assert!(matches!(state.create(manifest(&other, None), Flush::Lazy), Err(StateError::Exists)));
}

// spec: STORE-11
#[test]
fn facts_that_contradict_the_record_are_damage() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    let held = state.create(manifest(&id("e7"), Some(10)), Flush::Lazy).unwrap();
    let place = codec::Place { incarnation: held.version.incarnation, at: held.version.length };
    let wrong = codec::encode(&[stamped(1, sealed(0, 3))], place);
    let file = File::options().write(true).open(path(&root, &id("e7"))).unwrap();
    file.write_all_at(&wrong, place.at).unwrap();
    let loaded = state.load(&id("e7"));
    assert!(matches!(loaded, Err(StateError::Damaged { at, .. }) if at == place.at), "{loaded:?}");
}

#[test]
fn a_long_ledger_is_read_in_blocks() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    let mut held = state.create(manifest(&id("e8"), None), Flush::Lazy).unwrap();
    for commit in 0..3 {
        let facts: Vec<Stamped> =
            (0..1000).map(|k| stamped(k, sealed(commit * 1000 + k, 4))).collect();
        held = state.commit(&held, &facts, Flush::Lazy).unwrap();
    }
    assert_eq!(local(&root).load(&id("e8")).unwrap().record, held.record);
    assert_eq!(held.record.chunks().sealed(), 3000);
}

#[test]
fn a_torn_creation_is_done_again_in_the_same_file() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    let id = id("e9");
    state.create(manifest(&id, None), Flush::Lazy).unwrap();
    for torn in [&b""[..], b"PITONLG1", &[0; 500]] {
        plant(&root, &state, &id, torn);
        let inode = fs::metadata(path(&root, &id)).unwrap().ino();
        assert!(matches!(state.load(&id), Err(StateError::Unknown)));
        let created = state.create(manifest(&id, Some(10)), Flush::Durable).unwrap();
        assert_eq!(local(&root).load(&id).unwrap().version, created.version);
        assert_eq!(fs::metadata(path(&root, &id)).unwrap().ino(), inode);
    }
}

#[test]
fn an_unfinished_ledger_that_somebody_holds_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    state.create(manifest(&id("ea"), None), Flush::Lazy).unwrap();
    plant(&root, &state, &id("ea"), b"");
    let holder = File::open(path(&root, &id("ea"))).unwrap();
    holder.lock().unwrap();
    let create = || state.create(manifest(&id("ea"), None), Flush::Lazy);
    let held = create();
    assert!(matches!(held, Err(StateError::Held)), "{held:?}");
    assert_eq!(fs::metadata(path(&root, &id("ea"))).unwrap().len(), 0);
    holder.unlock().unwrap();
    create().unwrap();
    holder.try_lock().expect("a new ledger is held by nobody");
}

#[test]
fn the_place_of_a_voided_ledger_is_kept_while_somebody_holds_it() {
    let root = tempfile::tempdir().unwrap();
    let (one, two, id) = (local(&root), local(&root), id("ec"));
    one.create(manifest(&id, None), Flush::Lazy).unwrap();
    let holder = File::open(path(&root, &id)).unwrap();
    holder.lock().unwrap();
    one.void(&id).unwrap();
    let held = two.create(manifest(&id, None), Flush::Lazy);
    assert!(matches!(held, Err(StateError::Held)), "{held:?}");
    holder.unlock().unwrap();
    // Whoever has the old one open sees that it lost its name.
    two.create(manifest(&id, None), Flush::Lazy).unwrap();
    assert_eq!(holder.metadata().unwrap().nlink(), 0);
}

#[test]
fn what_is_left_of_a_full_disk_is_enough_to_void_a_ledger() {
    let root = tempfile::tempdir().unwrap();
    let (mut state, id) = (local(&root), id("ed"));
    let held = state.create(manifest(&id, None), Flush::Lazy).unwrap();
    state.disk.cut = |file, size| match size {
        0 => file.set_len(0),
        _ => Err(ErrorKind::StorageFull.into()),
    };
    state.void(&id).unwrap();
    assert!(matches!(state.load(&id), Err(StateError::Unknown)));
    state.disk = Disk::REAL;
    let new = state.create(manifest(&id, None), Flush::Lazy).unwrap();
    assert_ne!(new.version.incarnation, held.version.incarnation);
}

#[test]
fn a_ledger_that_is_voided_while_it_is_read_is_unknown_and_neither_damaged_nor_shorter() {
    let root = tempfile::tempdir().unwrap();
    let (state, id) = (local(&root), id("ee"));
    let facts: Vec<Stamped> = (0..3000).map(|k| stamped(k, sealed(k, 4))).collect();
    let mut takes = Duration::ZERO;
    for round in 0..24 {
        let held = state.create(manifest(&id, None), Flush::Lazy).unwrap();
        let reader = local(&root);
        if round % 2 == 1 {
            // At hand, and behind.
            reader.load(&id).unwrap();
        }
        state.commit(&held, &facts, Flush::Lazy).unwrap();
        if round == 0 {
            let began = Stopwatch::start();
            local(&root).load(&id).unwrap();
            takes = began.elapsed();
        }
        let seen = thread::scope(|scope| {
            let reading = scope.spawn(|| reader.load(&id));
            thread::sleep(takes * round / 24);
            state.void(&id).unwrap();
            reading.join().unwrap()
        });
        match seen {
            Ok(seen) => assert_eq!(seen.record.chunks().sealed(), 3000),
            Err(StateError::Unknown) => {}
            Err(error) => panic!("round {round}: {error}"),
        }
        state.forget(&id).unwrap();
    }
}

#[test]
fn one_of_many_processes_creates() {
    for round in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let states: Vec<LocalState> = (0..4).map(|_| local(&root)).collect();
        if round % 2 == 1 {
            states[0].create(manifest(&id("eb"), None), Flush::Lazy).unwrap();
            plant(&root, &states[0], &id("eb"), b"PITON");
        }
        let start = Barrier::new(states.len());
        let results = thread::scope(|scope| {
            let create = |state| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    LocalState::create(state, manifest(&id("eb"), None), Flush::Lazy)
                })
            };
            let threads: Vec<_> = states.iter().map(create).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let won: Vec<_> = results.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{results:?}");
        for state in &states {
            assert_eq!(state.load(&id("eb")).unwrap().version, won[0].version);
        }
    }
}

thread_local! {
    /// Where the disk of this test was written to.
    static WRITTEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

const FULL: fn() -> io::Error = || io::Error::from(ErrorKind::StorageFull);

/// Writes all but the last 50 bytes.
fn write_short(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(&bytes[..bytes.len().saturating_sub(50)], at)?;
    Err(FULL())
}

fn write_noted(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    WRITTEN.with_borrow_mut(|written| written.push(at));
    file.write_all_at(bytes, at)
}

#[test]
fn a_failed_append_leaves_nothing() {
    let uncut: fn(&File, u64) -> io::Result<()> = |_, _| Err(FULL());
    for cut in [Disk::REAL.cut, uncut] {
        let root = tempfile::tempdir().unwrap();
        let mut state = local(&root);
        let held = state.create(manifest(&id("ec"), Some(10)), Flush::Lazy).unwrap();
        state.disk = Disk { append: write_short, cut, ..Disk::REAL };
        let facts = [stamped(1, sealed(0, 4)), stamped(1, sealed(1, 4)), stamped(1, sealed(2, 2))];
        let failed = state.commit(&held, &facts, Flush::Lazy);
        assert!(matches!(failed, Err(StateError::Io(_))), "{failed:?}");
        for state in [&state, &local(&root)] {
            let loaded = state.load(&id("ec")).unwrap();
            assert_eq!((&loaded.record, loaded.version), (&held.record, held.version));
        }
        state.disk = Disk::REAL;
        let next = state.commit(&held, &facts, Flush::Lazy).unwrap();
        assert_eq!(local(&root).load(&id("ec")).unwrap().record, next.record);
    }
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut state = local(&root);
    let broken =
        [Disk { append: write_short, ..Disk::REAL }, Disk { sync: |_| Err(FULL()), ..Disk::REAL }];
    for disk in broken {
        state.disk = disk;
        let failed = state.create(manifest(&id("ed"), None), Flush::Durable);
        assert!(matches!(failed, Err(StateError::Io(_))), "{failed:?}");
        assert!(matches!(state.load(&id("ed")), Err(StateError::Unknown)));
        assert!(!path(&root, &id("ed")).try_exists().unwrap());
    }
    state.disk = Disk::REAL;
    state.create(manifest(&id("ed"), None), Flush::Durable).unwrap();
}

#[test]
fn after_a_failed_flush_everything_is_written_anew_before_the_next_one() {
    let root = tempfile::tempdir().unwrap();
    let mut state = local(&root);
    let held = state.create(manifest(&id("ee"), Some(10)), Flush::Lazy).unwrap();
    let held = state.commit(&held, &[stamped(1, sealed(0, 4))], Flush::Lazy).unwrap();
    state.disk.sync = |_| Err(FULL());
    for _ in 0..2 {
        let failed = state.commit(&held, &[stamped(2, sealed(1, 4))], Flush::Durable);
        assert!(matches!(failed, Err(StateError::Io(_))), "{failed:?}");
        assert_eq!(state.load(&id("ee")).unwrap().version, held.version);
    }
    state.disk = Disk { append: write_noted, ..Disk::REAL };
    let start = held.version.length;
    let next = state.commit(&held, &[stamped(2, sealed(1, 4))], Flush::Durable).unwrap();
    assert_eq!(WRITTEN.take(), [start, 0], "the new facts, then the file from its beginning");
    let third = state.commit(&next, &[stamped(3, sealed(2, 2))], Flush::Durable).unwrap();
    assert_eq!(WRITTEN.take(), [next.version.length]);
    assert_eq!(local(&root).load(&id("ee")).unwrap().record, third.record);
}

#[test]
fn facts_that_another_process_took_back_are_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let (state, other) = (local(&root), local(&root));
    let held = state.create(manifest(&id("ef"), Some(10)), Flush::Lazy).unwrap();
    state.commit(&held, &[stamped(1, sealed(0, 4))], Flush::Lazy).unwrap();
    assert_eq!(other.load(&id("ef")).unwrap().record.chunks().sealed(), 1);
    // What a process does whose flush failed; then it adds something else of the same length.
    let file = File::options().write(true).open(path(&root, &id("ef"))).unwrap();
    file.set_len(held.version.length).unwrap();
    thread::sleep(Duration::from_millis(20));
    let fact = [stamped(2, sealed(1, 4))];
    let next = local(&root).commit(&held, &fact, Flush::Lazy).unwrap();
    assert_eq!(other.load(&id("ef")).unwrap().record, next.record);
}

#[test]
fn open_ledgers_are_bounded_and_those_in_use_stay() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    let ids: Vec<UploadId> = (0..700).map(|n| id(&format!("{:02x}{n:04}", n % 256))).collect();
    for id in &ids {
        state.create(manifest(id, None), Flush::Lazy).unwrap();
    }
    assert!((400..=512).contains(&state.cache.len()), "{}", state.cache.len());
    let held = state.load(&ids[0]).unwrap();
    let in_use = state.cache.find(&ids[0]).unwrap();
    state.cool_down();
    state.cool_down();
    assert_eq!(state.cache.len(), 1);
    drop(in_use);
    state.cool_down();
    assert_eq!(state.cache.len(), 0);
    state.commit(&held, &[stamped(1, Fact::Touched)], Flush::Lazy).unwrap();
    assert_eq!(*state.load(&ids[1]).unwrap().record, Record::new(manifest(&ids[1], None)));
}

#[test]
fn foreign_files_are_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let state = local(&root);
    state.create(manifest(&id("f0"), None), Flush::Lazy).unwrap();
    let shard = path(&root, &id("f0")).parent().unwrap().to_owned();
    for name in ["f0.ledger", "lost+found", ".f0.swp", "F0000000000000000000000000000000.ledger"] {
        fs::write(shard.join(name), b"?").unwrap();
    }
    assert_eq!(state.list(Shard(0xf0)).unwrap().len(), 1);
    assert_eq!(state.family("f0").unwrap(), [id("f0")]);
    for prefix in ["", "f", "../", "zz", "+f"] {
        assert_eq!(state.family(prefix).unwrap(), [], "{prefix}");
    }
}

#[test]
fn one_secret_for_all_who_start_at_once() {
    let root = tempfile::tempdir().unwrap();
    let read = || fs::read(root.path().join("state/secret")).unwrap();
    let start = Barrier::new(8);
    let hash = crate::upload::UploadHash::parse("0123456789abcdef").unwrap();
    let families: Vec<String> = thread::scope(|scope| {
        let open = || {
            start.wait();
            local(&root).secret().family("", &hash)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(families.windows(2).all(|pair| pair[0] == pair[1]), "{families:?}");
    let mode = fs::metadata(root.path().join("state/secret")).unwrap().permissions().mode();
    assert_eq!((read().len(), mode & 0o777), (32, 0o600));
    let names = fs::read_dir(root.path().join("state")).unwrap().count();
    assert_eq!(names, 1, "nothing staged is left");

    fs::write(root.path().join("state/secret"), b"short").unwrap();
    assert!(LocalState::open(&root.path().join("state")).is_err());
    assert_eq!(read(), b"short", "never overwritten");
}
