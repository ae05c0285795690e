//! Histories that no order explains, so that the search is known to notice, beside some that look
//! as strange and are right.

use super::{
    check::{Event, Law, Step, explain},
    law::{Ask, Lawful, Op, Told, Upload},
};

/// An upload of two and a half chunks of four bytes.
fn upload(by_tus: bool, offsets: &[usize]) -> Upload {
    let (offsets, received) = (offsets.to_vec(), Vec::new());
    Upload { length: 10, chunk: 4, by_tus, shared: false, offsets, received }
}

/// A request, and what overlapped with it: everything.
fn event(ask: Ask, told: Told, (invoked, answered): (u64, u64)) -> Event<Op> {
    let beside = vec![Ask::Delete, Ask::Merge, Ask::Status, put(0, 0)];
    let op = Op { ask, told, beside };
    Event { op, invoked, answered: (answered > 0).then_some(answered) }
}

fn patch(offset: usize, count: usize, writer: u8) -> Ask {
    Ask::Patch { offset, count, writer }
}

fn put(chunk: usize, writer: u8) -> Ask {
    Ask::Put { chunk, writer }
}

fn received(bytes: usize) -> Told {
    Told::Status { state: "receiving".to_owned(), received: bytes, sealed: Vec::new() }
}

/// Whether some order explains it.
fn holds(by_tus: bool, history: &[Event<Op>]) -> bool {
    explains(&upload(by_tus, &[0, 2, 3, 4, 8]), history)
}

fn explains(upload: &Upload, history: &[Event<Op>]) -> bool {
    let asked = history.iter().map(|event| event.op.ask).collect();
    explain(&Lawful { upload, asked }, upload.first(), history).is_ok()
}

#[test]
fn of_two_patches_at_one_offset_one_is_right() {
    let first = event(patch(0, 4, 1), Told::Offset(4), (0, 10));
    assert!(holds(true, &[event(patch(0, 3, 2), Told::Elsewhere(4), (1, 9)), first]));
    let first = event(patch(0, 4, 1), Told::Offset(4), (0, 10));
    assert!(!holds(true, &[event(patch(0, 3, 2), Told::Offset(3), (1, 9)), first]));
}

// Found by chance: a merge at one process came between the ledger that another made and its lock.
#[test]
fn only_another_process_finds_an_upload_that_is_being_begun() {
    let history = || {
        let first = event(put(0, 9), Told::Stored, (0, 20));
        [first, event(Ask::Merge, Told::Missing(vec![0, 1, 2]), (1, 9))]
    };
    assert!(!explains(&upload(false, &[]), &history()));
    assert!(explains(&Upload { shared: true, ..upload(false, &[]) }, &history()));
}

// Found by chance: the search knew it of uploads only that a POST had begun.
#[test]
fn the_last_bytes_of_a_patch_finish_the_file_whoever_began_the_upload() {
    for by_tus in [true, false] {
        let history = |count| {
            let begun = event(put(0, 9), Told::Stored, (0, 2));
            let rest = event(patch(4, count, 1), Told::Offset(4 + count), (4, 20));
            [begun, rest, event(put(2, 8), Told::Merging, (3, 15))]
        };
        assert!(holds(by_tus, &history(6)));
        assert!(!holds(by_tus, &history(4)));
    }
}

#[test]
fn an_offset_that_was_told_stays() {
    let kept = || event(patch(0, 4, 1), Told::Offset(4), (0, 10));
    assert!(holds(true, &[kept(), event(Ask::Head, Told::Offset(0), (5, 15))]));
    assert!(!holds(true, &[kept(), event(Ask::Head, Told::Offset(0), (11, 15))]));
    assert!(!holds(true, &[kept(), event(Ask::Head, Told::Offset(3), (5, 15))]), "torn");
    // What HEAD tells is final (TUS-106): the PATCH that was told so cannot go on.
    let cut = || event(patch(0, 4, 1), Told::Perhaps, (0, 30));
    let told = || event(Ask::Head, Told::Offset(2), (5, 9));
    assert!(holds(true, &[cut(), told(), event(Ask::Head, Told::Offset(2), (11, 15))]));
    assert!(!holds(true, &[cut(), told(), event(Ask::Head, Told::Offset(3), (11, 15))]));
}

#[test]
fn who_looks_sees_bytes_come_and_never_go() {
    let kept = || event(patch(0, 4, 1), Told::Offset(4), (0, 30));
    let look = |bytes, at| event(Ask::Status, received(bytes), (at, at + 2));
    assert!(holds(true, &[kept(), look(2, 5), look(3, 10)]));
    assert!(!holds(true, &[kept(), look(3, 5), look(2, 10)]));
    assert!(!holds(true, &[kept(), look(2, 31)]));
    // While one is seen half done nobody else writes.
    let other = event(put(1, 9), Told::Stored, (8, 9));
    assert!(!holds(true, &[kept(), look(2, 5), other, look(7, 10)]));
}

#[test]
fn nothing_comes_back_from_a_deletion() {
    let gone = || event(Ask::Delete, Told::Deleted, (10, 20));
    let at = |told, at| event(Ask::Head, told, (at, at + 1));
    assert!(holds(true, &[gone(), at(Told::Offset(0), 12), at(Told::Unknown, 21)]));
    assert!(!holds(true, &[gone(), at(Told::Offset(0), 21)]));
    assert!(!holds(true, &[gone(), at(Told::Unknown, 12), at(Told::Offset(0), 14)]));
    assert!(!holds(true, &[gone(), event(Ask::Delete, Told::Deleted, (11, 19))]));
    assert!(!holds(true, &[gone(), event(patch(0, 4, 1), Told::Offset(4), (21, 22))]));
}

#[test]
fn a_chunk_is_stored_once_and_its_bytes_are_one_writers() {
    let stored = |writer, span| event(put(0, writer), Told::Stored, span);
    let same = |span| event(put(0, 1), Told::Duplicate, span);
    assert!(holds(false, &[stored(1, (0, 9)), same((1, 8))]));
    assert!(!holds(false, &[stored(1, (0, 9)), stored(1, (1, 8))]), "written twice");
    assert!(
        !holds(false, &[stored(1, (0, 9)), stored(2, (10, 11)), same((12, 13))]),
        "lost update"
    );
    let lost = Told::Status { state: "receiving".to_owned(), received: 0, sealed: Vec::new() };
    assert!(!holds(false, &[stored(1, (0, 9)), event(Ask::Status, lost, (10, 11))]));
}

#[test]
fn a_file_is_whole_and_stays_what_it_is() {
    let chunks = || (0..3).map(|k| event(put(k, 1), Told::Stored, (k as u64, 9)));
    let and = |more: Vec<Event<Op>>| chunks().chain(more).collect::<Vec<_>>();
    let merged = || event(Ask::Merge, Told::Merged, (10, 19));
    let file = |runs: &[(u8, usize)], at| event(Ask::Get, Told::File(runs.to_vec()), (at, at + 1));
    assert!(holds(false, &and(vec![merged(), file(&[(1, 10)], 15)])));
    assert!(!holds(false, &and(vec![merged(), file(&[(1, 8)], 15)])), "a half file is seen");
    assert!(!holds(false, &and(vec![file(&[(1, 10)], 15)])), "nobody merged it");
    assert!(!holds(false, &and(vec![merged(), event(Ask::Merge, Told::Merged, (10, 19))])));
    let other = || event(put(1, 2), Told::Stored, (20, 21));
    assert!(!holds(false, &and(vec![merged(), other()])), "a finished file was changed");
    let late = event(put(1, 2), Told::FinishedOther, (20, 21));
    assert!(holds(false, &and(vec![merged(), late, file(&[(1, 10)], 22)])));
    let missing = event(Ask::Merge, Told::Missing(vec![1]), (10, 19));
    assert!(!holds(false, &and(vec![missing])), "all of them were there");
}

#[test]
fn what_nobody_was_told_may_come_late_or_never() {
    let lost = || event(patch(0, 4, 1), Told::Perhaps, (0, 0));
    let head = |told, at| event(Ask::Head, Told::Offset(told), (at, at + 1));
    assert!(holds(true, &[lost(), head(0, 5), head(4, 8)]));
    assert!(holds(true, &[lost(), head(0, 5), head(0, 8)]));
    assert!(!holds(true, &[lost(), head(4, 5), head(0, 8)]));
    assert!(!holds(true, &[head(4, 5), event(patch(0, 4, 1), Told::Perhaps, (7, 0))]));
}

/// A register: writes are told nothing, reads the value.
struct Register;

#[derive(Debug, Clone, Copy)]
enum Use {
    Write(u8),
    Read(u8),
}

impl Law for Register {
    type State = u8;
    type Op = Use;

    fn steps(&self, state: &u8, _: usize, op: &Use) -> Vec<Step<u8>> {
        match op {
            Use::Write(value) => vec![Step::Done(*value)],
            Use::Read(value) if value == state => vec![Step::Done(*state)],
            Use::Read(_) => Vec::new(),
        }
    }
}

// The textbook's examples, apart from the law of uploads.
#[test]
fn the_search_knows_a_register() {
    use Use::{Read, Write};
    let of = |history: &[(Use, u64, u64)]| {
        let event = |(op, invoked, over): &_| {
            let (op, invoked, answered): (Use, u64, _) = (*op, *invoked, Some(*over));
            Event { op, invoked, answered }
        };
        explain(&Register, 0, &history.iter().map(event).collect::<Vec<_>>())
    };
    assert_eq!(of(&[(Write(1), 0, 10), (Read(1), 2, 3), (Read(1), 4, 5)]), Ok(vec![0, 1, 2]));
    assert!(of(&[(Write(1), 0, 10), (Read(1), 2, 3), (Read(0), 4, 5)]).is_err());
    let crossed = [(Write(1), 0, 10), (Write(2), 1, 9), (Read(2), 11, 12), (Read(1), 13, 14)];
    assert!(of(&crossed).is_err());
    assert!(of(&crossed[..3]).is_ok());
}
