use std::os::unix::fs::FileExt;

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    durable::Flush,
    state::{LocalState, State, StateError, contract, local::ledger_path},
    upload::Record,
};

const PLACE: Place = Place { incarnation: 0xfeed, at: 321 };

/// Numbers at the ends of their range and small ones, which meet each other in a record.
fn number() -> impl Strategy<Value = u64> {
    const LARGEST: u64 = i64::MAX.unsigned_abs();
    prop_oneof![8 => 0..6_u64, 1 => LARGEST - 3..=LARGEST, 1 => 0..=LARGEST]
}

fn chunk() -> impl Strategy<Value = ChunkIndex> {
    number().prop_map(|number| ChunkIndex::new(number).unwrap())
}

fn part() -> impl Strategy<Value = PartId> {
    (chunk(), prop_oneof![0..3_u32, any::<u32>()])
        .prop_map(|(first, generation)| PartId { first, generation })
}

fn digest() -> impl Strategy<Value = Sha256Digest> {
    any::<[u8; 32]>().prop_map(Sha256Digest::new)
}

fn mark() -> impl Strategy<Value = FileMark> {
    let inode = any::<u64>().prop_filter_map("no file", NonZeroU64::new);
    (inode, number(), any::<u64>()).prop_map(|(inode, born, modified)| FileMark {
        inode,
        born,
        modified,
    })
}

fn name() -> impl Strategy<Value = FinalName> {
    ("\\PC{1,255}", 1..=255_usize).prop_filter_map("no final name", |(text, room)| {
        FinalName::parse(text.get(..text.floor_char_boundary(room))?).ok()
    })
}

fn fact() -> impl Strategy<Value = Fact> {
    let length = || number().prop_map(|number| Length::new(number).unwrap());
    let form = option::of(prop_oneof![Just(DigestForm::Raw), Just(DigestForm::Hex)]);
    prop_oneof![
        (chunk(), number(), option::of(digest()), part(), any::<bool>()).prop_map(
            |(chunk, length, digest, part, flushed)| Fact::Sealed {
                chunk,
                length,
                digest,
                part,
                flushed
            }
        ),
        chunk().prop_map(|k| contract::sealed(k.get(), 4)),
        (chunk(), any::<u64>(), digest()).prop_map(|(chunk, length, digest)| Fact::Tail {
            chunk,
            length,
            digest
        }),
        number().prop_map(|number| Fact::Pending { offset: Offset::new(number).unwrap() }),
        Just(Fact::Accepted),
        Just(Fact::Rejected),
        chunk().prop_map(|chunk| Fact::Dropped { chunk }),
        (chunk(), part(), any::<bool>()).prop_map(|(chunk, into, flushed)| Fact::Absorbed {
            chunk,
            into,
            flushed
        }),
        length().prop_map(Fact::Length),
        Just(Fact::Touched),
        (part(), any::<[u8; 16]>())
            .prop_map(|(part, id)| Fact::Lent { part, to: UploadId::from_random(id) }),
        Just(Fact::Promised),
        Just(Fact::Joined),
        (chunk(), digest()).prop_map(|(chunk, digest)| Fact::Digested { chunk, digest }),
        any::<u64>().prop_map(|epoch| Fact::Verified { epoch }),
        (name(), form, option::of(mark())).prop_map(|(name, form, mark)| Fact::Merging {
            name,
            form,
            mark
        }),
        Just(Fact::MergeAbandoned),
        (length(), option::of(digest()))
            .prop_map(|(length, composite)| Fact::Finished { length, composite }),
        Just(Fact::Cleared),
        Just(Fact::Expired),
        Just(Fact::Corrupt),
    ]
}

fn stamped() -> impl Strategy<Value = Stamped> {
    (any::<u64>(), fact()).prop_map(|(at, fact)| Stamped { at: Timestamp::from_millis(at), fact })
}

/// Frames as a stranger might write them, mostly of kinds that exist.
fn frame() -> impl Strategy<Value = Frame> {
    let data = prop_oneof![Just([0; DATA_BYTES]), any::<[u8; DATA_BYTES]>()];
    let kind = prop_oneof![4 => 0..=kind::LENT, 1 => any::<u8>()];
    (kind, 0..16_u8, 0..70_u16, any::<u64>(), number(), number(), data).prop_map(
        |(kind, flags, count, at, a, b, data)| Frame { kind, flags, count, at, a, b, data },
    )
}

fn decode(bytes: &[u8], place: Place) -> Vec<Stamped> {
    let (frames, rest) = bytes.as_chunks::<FRAME_BYTES>();
    assert!(rest.is_empty());
    let (mut decoder, mut at) = (Decoder::default(), place.at);
    let mut facts = Vec::new();
    for (number, bytes) in frames.iter().enumerate() {
        let frame = Frame::read(bytes, Place { at, ..place }).unwrap();
        assert_eq!(frame.ends_commit(), number + 1 == frames.len());
        facts.extend(decoder.take(frame).unwrap());
        at += FRAME;
    }
    facts
}

proptest! {
    #[test]
    fn facts_come_back_as_they_were(facts in vec(stamped(), 0..6)) {
        prop_assert_eq!(decode(&encode(&facts, PLACE), PLACE), facts);
    }

    #[test]
    fn what_is_understood_is_what_this_version_writes(frames in vec(frame(), 1..8)) {
        let (mut decoder, mut taken) = (Decoder::default(), Vec::new());
        for frame in frames {
            taken.push(Frame { flags: frame.flags & !END, ..frame.clone() });
            match decoder.take(frame) {
                Ok(Some(stamped)) => {
                    prop_assert_eq!(frames_of(&stamped), std::mem::take(&mut taken));
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }

    #[test]
    fn no_facts_make_a_record_panic(
        facts in vec(stamped(), 0..40),
        length in option::of(0..30_u64),
    ) {
        let mut record = Record::new(contract::manifest(&contract::id("d0"), length));
        for stamped in &facts {
            let before = record.clone();
            if record.apply(stamped).is_err() {
                prop_assert_eq!(&record, &before, "a refused fact leaves the record as it was");
            }
            prop_assert!(record.prefix_end().get() <= record.chunks().bytes());
            let first = PartId::new(ChunkIndex::ZERO);
            let _ = (record.is_complete(), record.composite(), record.chunks().last_in(first));
        }
    }

    #[test]
    fn no_frames_make_a_ledger_panic(frames in vec(frame(), 1..12)) {
        let root = tempfile::tempdir().unwrap();
        let state = LocalState::open(root.path()).unwrap();
        let id = contract::id("d1");
        let Place { incarnation, at } = begin(&state);
        let path = ledger_path(root.path(), &id);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        for (number, frame) in (0..).zip(&frames) {
            let at = at + number * FRAME;
            file.write_all_at(&frame.to_bytes(Place { incarnation, at }), at).unwrap();
        }
        if let Err(error) = state.load(&id) {
            let unread = matches!(error, StateError::Damaged { .. } | StateError::Newer { .. });
            prop_assert!(unread, "{}", error);
        }
    }
}

fn begin(state: &LocalState) -> Place {
    let manifest = contract::manifest(&contract::id("d1"), None);
    let version = state.create(manifest, Flush::Lazy).unwrap().version;
    Place { incarnation: version.incarnation, at: version.length }
}

#[test]
fn a_frame_counts_only_in_its_place() {
    let bytes = encode(&[contract::stamped(1, Fact::Touched)], PLACE);
    let frame: &[u8; FRAME_BYTES] = bytes.as_slice().try_into().unwrap();
    assert!(Frame::read(frame, PLACE).is_some());
    assert!(Frame::read(frame, Place { at: PLACE.at + FRAME, ..PLACE }).is_none());
    assert!(Frame::read(frame, Place { incarnation: 1, ..PLACE }).is_none());
    assert!(Frame::read(&[0; FRAME_BYTES], Place { incarnation: 0, at: 0 }).is_none());
    for bit in 0..FRAME_BYTES * 8 {
        let mut frame = *frame;
        frame[bit / 8] ^= 1 << (bit % 8);
        assert!(Frame::read(&frame, PLACE).is_none(), "bit {bit}");
    }
}

#[test]
fn a_name_takes_as_many_text_frames_as_it_needs() {
    for (bytes, frames) in [(1, 2), (64, 2), (65, 3), (128, 3), (192, 4), (255, 5)] {
        let name = FinalName::parse(&"n".repeat(bytes)).unwrap();
        let facts = [contract::stamped(1, Fact::Merging { name, form: None, mark: None })];
        let encoded = encode(&facts, PLACE);
        assert_eq!(encoded.len(), frames * FRAME_BYTES, "{bytes} bytes");
        assert_eq!(decode(&encoded, PLACE), facts);
    }
}

/// As earlier versions wrote it.
#[test]
fn a_merge_without_a_mark_has_nothing_where_the_mark_would_be() {
    let name = FinalName::parse("a").unwrap();
    let facts = [contract::stamped(1, Fact::Merging { name, form: None, mark: None })];
    let encoded = encode(&facts, PLACE);
    assert_eq!(encoded[FRAME_BYTES + 16..], [0; FRAME_BYTES - 16]);
    assert_eq!(decode(&encoded, PLACE), facts);
}

#[test]
fn what_a_newer_version_writes_is_told_from_damage() {
    let now = Timestamp::from_millis(1);
    let newer = [
        Frame { flags: END, ..Frame::new(77, now) },
        Frame { flags: END | 64, ..Frame::new(kind::TOUCHED, now) },
        Frame { flags: END, b: 5, ..Frame::new(kind::DROPPED, now) },
    ];
    for frame in newer {
        let root = tempfile::tempdir().unwrap();
        let state = LocalState::open(root.path()).unwrap();
        let place = begin(&state);
        let path = ledger_path(root.path(), &contract::id("d1"));
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&frame.to_bytes(place), place.at).unwrap();
        match state.load(&contract::id("d1")) {
            Err(StateError::Newer { at, what }) => {
                assert_eq!(at, place.at);
                assert!(what.contains("newer piton"), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
}
