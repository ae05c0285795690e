//! What every adapter promises: one suite that all of them pass, and uploads to try it with.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use super::{Listed, Shard, State, StateError, Versioned};
use crate::{
    durable::Flush,
    upload::{
        ChunkCount, ChunkIndex, ChunkSize, Content, ContentKey, Dialect, DigestForm, Fact,
        FileMark, FinalName, IdSecret, Layout, Length, Manifest, Offset, PartId, Phase, Record,
        Sha256Digest, Stamped, Timestamp, UploadId,
    },
};

/// Somewhere that uploads are kept; opened again, the same uploads are there.
pub(crate) trait Place {
    fn open(&self) -> Box<dyn State>;
}

/// The suite as tests of the module that it is named in.
macro_rules! contract {
    ($place:expr => $($name:ident)*) => {
        $(#[test]
        fn $name() {
            crate::state::contract::$name(&$place);
        })*
    };
    ($place:expr) => {
        crate::state::contract::contract! { $place =>
            creates_once
            knows_only_what_was_created
            commits_in_order
            refuses_who_is_behind
            leaves_nothing_of_what_the_law_refuses
            adds_nothing_for_no_facts
            tells_a_new_upload_from_an_old_one_of_the_same_id
            finds_families
            lists_shards
            lists_who_is_in_the_middle_of_a_finish
            shows_two_handles_the_same
            keeps_every_kind_of_fact
            keeps_its_secret
            cools_down_without_forgetting
            lets_one_of_many_commit
            notes_who_holds_a_content
            keeps_the_place_of_what_goes
        }
    };
}
pub(crate) use contract;

pub(crate) const CREATED: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn id(digits: &str) -> UploadId {
    UploadId::parse(&format!("{digits:0<32}")).unwrap()
}

/// Two chunks of four bytes and one of two, or without a length.
pub(crate) fn manifest(id: &UploadId, length: Option<u64>) -> Manifest {
    let length = length.map(|length| Length::new(length).unwrap());
    Manifest {
        id: id.clone(),
        layout: Layout::by_size(ChunkSize::new(4).unwrap(), length),
        metadata: "filename d29ybGQudHh0".to_owned(),
        filename: Some("world.txt".to_owned()),
        media_type: None,
        dialect: Dialect::Tus,
        key: None,
        concatenation: None,
        owner: String::new(),
        created_at: CREATED,
        epoch: 3,
    }
}

pub(crate) fn stamped(seconds: u64, fact: Fact) -> Stamped {
    Stamped { at: CREATED.plus(Duration::from_secs(seconds)), fact }
}

pub(crate) fn sealed(chunk: u64, length: u64) -> Fact {
    let chunk = ChunkIndex::new(chunk).unwrap();
    let digest = Some(Sha256Digest::of(&chunk.get().to_le_bytes()));
    Fact::Sealed { chunk, length, digest, part: PartId::new(chunk), flushed: false }
}

/// A life in commits, with each kind of fact but the two that end it otherwise.
pub(crate) fn life() -> Vec<Vec<Stamped>> {
    let chunk = |k| ChunkIndex::new(k).unwrap();
    let digest = Sha256Digest::of(b"digest");
    let part = PartId { first: chunk(1), generation: 7 };
    let long_name = format!("{}.txt", "ä".repeat(125));
    let merging = |name: &str| Fact::Merging {
        name: FinalName::parse(name).unwrap(),
        form: Some(DigestForm::Hex),
        mark: Some(FileMark { inode: NonZeroU64::MIN, born: 2, modified: 3 }),
    };
    let facts = vec![
        vec![Fact::Touched],
        vec![Fact::Pending { offset: Offset::ZERO }, sealed(0, 4), Fact::Rejected],
        vec![Fact::Pending { offset: Offset::ZERO }, sealed(0, 4), Fact::Accepted],
        vec![Fact::Tail { chunk: chunk(1), length: 3, digest }],
        vec![Fact::Sealed { chunk: chunk(1), length: 4, digest: None, part, flushed: true }],
        vec![Fact::Length(Length::new(10).unwrap()), Fact::Verified { epoch: 4 }],
        vec![sealed(2, 2)],
        vec![Fact::Dropped { chunk: chunk(1) }],
        vec![sealed(1, 4)],
        vec![Fact::Absorbed { chunk: chunk(1), into: PartId::new(chunk(0)), flushed: true }],
        vec![merging("short")],
        vec![Fact::MergeAbandoned],
        vec![merging(&long_name)],
        vec![Fact::Finished { length: Length::new(10).unwrap(), composite: Some(digest) }],
    ];
    let mut seconds = 0;
    let mut stamp = |fact| {
        seconds += 1;
        stamped(seconds, fact)
    };
    facts.into_iter().map(|commit| commit.into_iter().map(&mut stamp).collect()).collect()
}

/// Creates an upload and commits to it in order; the states that it went through, the last one
/// last.
pub(crate) fn live(state: &dyn State, manifest: Manifest, life: &[Vec<Stamped>]) -> Vec<Versioned> {
    let mut states = vec![state.create(manifest, Flush::Lazy).unwrap()];
    for commit in life {
        let held = states.last().unwrap();
        states.push(state.commit(held, commit, Flush::Lazy).unwrap());
    }
    states
}

fn content_key(text: &[u8]) -> ContentKey {
    IdSecret::new([1; 32]).content(&Content {
        owner: "me".to_owned(),
        length: Length::new(10).unwrap(),
        chunk_size: ChunkSize::new(4).unwrap(),
        total: ChunkCount::new(3).unwrap(),
        composite: Sha256Digest::of(text),
    })
}

pub(crate) fn notes_who_holds_a_content(place: &dyn Place) {
    let (state, content, other) = (place.open(), content_key(b"one"), content_key(b"other"));
    let ids = ["0a", "0b", "0c", "0d", "0e"].map(id);
    let is = |holders: &[usize]| {
        let expected: Vec<_> = holders.iter().map(|at| ids[*at].clone()).collect();
        assert_eq!(place.open().holders(&content).unwrap(), expected);
    };
    is(&[]);
    state.drop_holder(&content, &ids[0]).unwrap();
    for at in [0, 1, 0] {
        state.note_holder(&content, &ids[at]).unwrap();
    }
    state.note_holder(&other, &ids[2]).unwrap();
    is(&[0, 1]);
    for at in [2, 3, 4] {
        state.note_holder(&content, &ids[at]).unwrap();
    }
    is(&[4, 3, 2, 0]);
    state.drop_holder(&content, &ids[3]).unwrap();
    state.drop_holder(&content, &ids[1]).unwrap();
    is(&[4, 2, 0]);
    for at in [0, 2, 4] {
        state.drop_holder(&content, &ids[at]).unwrap();
    }
    is(&[]);
    assert_eq!(state.holders(&other).unwrap(), [ids[2].clone()]);
}

pub(crate) fn creates_once(place: &dyn Place) {
    let (state, id) = (place.open(), id("a1"));
    let created = state.create(manifest(&id, Some(10)), Flush::Durable).unwrap();
    assert_eq!(*created.record, Record::new(manifest(&id, Some(10))));
    let again = state.create(manifest(&id, None), Flush::Lazy);
    assert!(matches!(again, Err(StateError::Exists)), "{again:?}");
    assert_eq!(state.load(&id).unwrap().record, created.record);
}

pub(crate) fn knows_only_what_was_created(place: &dyn Place) {
    let (state, id) = (place.open(), id("a2"));
    assert!(matches!(state.load(&id), Err(StateError::Unknown)));
    state.forget(&id).unwrap();
    let held = state.create(manifest(&id, None), Flush::Lazy).unwrap();
    state.forget(&id).unwrap();
    state.forget(&id).unwrap();
    assert!(matches!(state.load(&id), Err(StateError::Unknown)));
    let late = state.commit(&held, &[stamped(1, Fact::Touched)], Flush::Lazy);
    assert!(matches!(late, Err(StateError::Unknown)), "{late:?}");
}

pub(crate) fn commits_in_order(place: &dyn Place) {
    let (state, id) = (place.open(), id("a3"));
    let first = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    let second = state.commit(&first, &[stamped(1, sealed(0, 4))], Flush::Durable).unwrap();
    let both = [stamped(2, sealed(1, 4)), stamped(3, sealed(2, 2))];
    let third = state.commit(&second, &both, Flush::Lazy).unwrap();
    assert!(first.version.length < second.version.length);
    assert!(second.version.length < third.version.length);
    assert_eq!(third.record.phase(), Phase::Received);
    assert_eq!(third.record.last_activity(), CREATED.plus(Duration::from_secs(3)));
    assert_eq!(second.record.chunks().sealed(), 1, "a version that was read does not change");
    let loaded = state.load(&id).unwrap();
    assert_eq!((loaded.record, loaded.version), (third.record, third.version));
}

pub(crate) fn refuses_who_is_behind(place: &dyn Place) {
    let (state, id) = (place.open(), id("a4"));
    let held = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    let ahead = state.commit(&held, &[stamped(1, sealed(0, 4))], Flush::Lazy).unwrap();
    for flush in [Flush::Lazy, Flush::Durable] {
        let behind = state.commit(&held, &[stamped(2, sealed(1, 4))], flush);
        assert!(matches!(behind, Err(StateError::Stale)), "{behind:?}");
    }
    assert_eq!(state.load(&id).unwrap().record, ahead.record);
    state.commit(&ahead, &[stamped(3, sealed(1, 4))], Flush::Lazy).unwrap();
}

pub(crate) fn leaves_nothing_of_what_the_law_refuses(place: &dyn Place) {
    let (state, id) = (place.open(), id("a5"));
    let held = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    let facts = [stamped(1, sealed(0, 4)), stamped(1, sealed(1, 3))];
    let refused = state.commit(&held, &facts, Flush::Lazy);
    assert!(matches!(refused, Err(StateError::Law(_))), "{refused:?}");
    for state in [state, place.open()] {
        let loaded = state.load(&id).unwrap();
        assert_eq!((loaded.record, loaded.version), (Arc::clone(&held.record), held.version));
    }
}

pub(crate) fn adds_nothing_for_no_facts(place: &dyn Place) {
    let (state, id) = (place.open(), id("a6"));
    let held = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    let same = state.commit(&held, &[], Flush::Durable).unwrap();
    assert_eq!((same.record, same.version), (Arc::clone(&held.record), held.version));
    state.commit(&held, &[stamped(1, Fact::Touched)], Flush::Lazy).unwrap();
    assert!(matches!(state.commit(&held, &[], Flush::Durable), Err(StateError::Stale)));
}

pub(crate) fn tells_a_new_upload_from_an_old_one_of_the_same_id(place: &dyn Place) {
    let (state, other, id) = (place.open(), place.open(), id("a7"));
    let old = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    assert_eq!(other.load(&id).unwrap().version, old.version);
    state.forget(&id).unwrap();
    let new = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    assert_ne!(new.version.incarnation, old.version.incarnation);
    for state in [state, other] {
        assert_eq!(state.load(&id).unwrap().version, new.version);
        let late = state.commit(&old, &[stamped(1, Fact::Touched)], Flush::Lazy);
        assert!(matches!(late, Err(StateError::Stale)), "{late:?}");
    }
}

pub(crate) fn finds_families(place: &dyn Place) {
    let state = place.open();
    for digits in ["b1f", "b1e0", "b1e1", "b2e0"] {
        state.create(manifest(&id(digits), None), Flush::Lazy).unwrap();
    }
    assert_eq!(state.family("b1e").unwrap(), [id("b1e0"), id("b1e1")]);
    assert_eq!(state.family("b1").unwrap(), [id("b1e0"), id("b1e1"), id("b1f")]);
    assert_eq!(state.family(id("b2e0").as_str()).unwrap(), [id("b2e0")]);
    assert_eq!(state.family("b3").unwrap(), []);
}

pub(crate) fn lists_shards(place: &dyn Place) {
    let state = place.open();
    assert_eq!(Shard::all().map(|s| state.list(s).unwrap().len()).sum::<usize>(), 0);
    let ids = [id("0c1"), id("0c2"), id("ff")];
    for id in &ids {
        state.create(manifest(id, None), Flush::Lazy).unwrap();
    }
    let listed = |shard| {
        let listed = state.list(Shard(shard)).unwrap();
        assert!(listed.iter().all(|Listed { changed, .. }| *changed >= CREATED));
        let mut ids: Vec<UploadId> = listed.into_iter().map(|listed| listed.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(listed(0x0c), ids[..2]);
    assert_eq!(listed(0xff), ids[2..]);
    assert_eq!(listed(0), []);
    state.forget(&ids[2]).unwrap();
    assert_eq!(listed(0xff), []);
}

/// A ledger whose holder is about to make a file visible is told from others without opening it.
pub(crate) fn lists_who_is_in_the_middle_of_a_finish(place: &dyn Place) {
    let (state, id) = (place.open(), id("0d1"));
    let name = FinalName::parse("some-file.txt").unwrap();
    let length = Length::new(4).unwrap();
    let facts = [
        (sealed(0, 4), false),
        (Fact::Merging { name: name.clone(), form: None, mark: None }, true),
        (Fact::Merging { name, form: None, mark: None }, true),
        (Fact::MergeAbandoned, false),
        (Fact::Merging { name: FinalName::parse("other").unwrap(), form: None, mark: None }, true),
        (Fact::Finished { length, composite: None }, false),
    ];
    let mut held = state.create(manifest(&id, Some(4)), Flush::Lazy).unwrap();
    let interrupted = || {
        let listed = place.open().list(Shard(0x0d)).unwrap();
        assert_eq!(listed.len(), 1);
        listed[0].interrupted
    };
    assert!(!interrupted());
    for (at, (fact, expected)) in facts.into_iter().enumerate() {
        let fact = stamped(u64::try_from(at).unwrap(), fact);
        held = state.commit(&held, &[fact], Flush::Lazy).unwrap();
        assert_eq!(interrupted(), expected, "{:?}", held.record.phase());
        assert_eq!(state.load(&id).unwrap().version, held.version);
        assert_eq!(place.open().load(&id).unwrap().record, held.record);
    }
}

pub(crate) fn shows_two_handles_the_same(place: &dyn Place) {
    let (one, two, id) = (place.open(), place.open(), id("a8"));
    let mut held = one.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    assert!(matches!(two.create(manifest(&id, Some(10)), Flush::Lazy), Err(StateError::Exists)));
    for (state, other, chunk, length) in
        [(&one, &two, 0, 4), (&two, &one, 1, 4), (&one, &two, 2, 2)]
    {
        let next = state.commit(&held, &[stamped(chunk, sealed(chunk, length))], Flush::Lazy);
        let next = next.unwrap();
        let late = other.commit(&held, &[stamped(9, Fact::Touched)], Flush::Lazy);
        assert!(matches!(late, Err(StateError::Stale)), "{late:?}");
        let seen = other.load(&id).unwrap();
        assert_eq!((seen.record, seen.version), (Arc::clone(&next.record), next.version));
        held = next;
    }
    two.forget(&id).unwrap();
    assert!(matches!(one.load(&id), Err(StateError::Unknown)));
}

pub(crate) fn keeps_the_place_of_what_goes(place: &dyn Place) {
    let (one, two, id) = (place.open(), place.open(), id("ac"));
    one.void(&id).unwrap();
    one.claim(&id).unwrap();
    assert!(matches!(two.load(&id), Err(StateError::Unknown)));
    let old = one.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    one.claim(&id).unwrap();
    assert_eq!(two.load(&id).unwrap().version, old.version);
    for voids in 1..3 {
        one.void(&id).unwrap();
        for state in [&one, &two] {
            assert!(matches!(state.load(&id), Err(StateError::Unknown)), "{voids}");
            let late = state.commit(&old, &[stamped(1, Fact::Touched)], Flush::Lazy);
            assert!(matches!(late, Err(StateError::Unknown)), "{late:?}");
        }
    }
    let new = two.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    assert_ne!(new.version.incarnation, old.version.incarnation);
    for state in [&one, &two] {
        assert_eq!(state.load(&id).unwrap().version, new.version);
    }
    one.void(&id).unwrap();
    one.forget(&id).unwrap();
    assert!(place.open().family(id.as_str()).unwrap().is_empty());
}

pub(crate) fn keeps_every_kind_of_fact(place: &dyn Place) {
    let state = place.open();
    let ends = [None, Some(Fact::Corrupt), Some(Fact::Expired)];
    for (number, end) in ends.into_iter().enumerate() {
        let id = id(&format!("a9{number}"));
        let mut life = life();
        if let Some(end) = end {
            life.truncate(9);
            life.push(vec![stamped(99, end)]);
        }
        let states = live(&*state, manifest(&id, None), &life);
        let last = states.last().unwrap();
        let reopened = place.open().load(&id).unwrap();
        assert_eq!((&reopened.record, reopened.version), (&last.record, last.version));
        assert!(!reopened.record.phase().takes_bytes());
    }
}

pub(crate) fn keeps_its_secret(place: &dyn Place) {
    let hash = crate::upload::UploadHash::parse("0123456789abcdef").unwrap();
    let family = |state: Box<dyn State>| state.secret().family("owner", &hash);
    assert_eq!(family(place.open()), family(place.open()));
}

pub(crate) fn cools_down_without_forgetting(place: &dyn Place) {
    let (state, id) = (place.open(), id("aa"));
    let held = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    for _ in 0..3 {
        state.cool_down();
    }
    let next = state.commit(&held, &[stamped(1, sealed(0, 4))], Flush::Lazy).unwrap();
    state.cool_down();
    state.cool_down();
    assert_eq!(state.load(&id).unwrap().record, next.record);
}

pub(crate) fn lets_one_of_many_commit(place: &dyn Place) {
    let (state, id) = (place.open(), id("ab"));
    let held = state.create(manifest(&id, Some(10)), Flush::Lazy).unwrap();
    let won = std::thread::scope(|scope| {
        let commit = || state.commit(&held, &[stamped(1, sealed(0, 4))], Flush::Lazy);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(commit)).collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.filter(|result| !matches!(result, Err(StateError::Stale))).collect::<Vec<_>>()
    });
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(state.load(&id).unwrap().version, won[0].as_ref().unwrap().version);
}
