use std::collections::BTreeMap;

use allocation_counter::measure;
use proptest::{collection::vec, prelude::*};

use super::*;

fn index(k: u64) -> ChunkIndex {
    ChunkIndex::new(k).unwrap()
}

fn in_part(first: u64, generation: u32) -> SealedChunk {
    let part = PartId { first: index(first), generation };
    SealedChunk { length: 1, digest: None, part, flushed: false }
}

/// So many chunks in one part, as an offset client sends them, or each in its own.
fn of(chunks: u64, place: fn(u64) -> u64) -> ChunkTable {
    let mut table = ChunkTable::default();
    (0..chunks).for_each(|k| table.insert(index(k), in_part(place(k), 0)));
    table
}

/// Bytes that are allocated to place a chunk in a clone of this table.
fn allocated(table: &ChunkTable, (chunk, first): (u64, u64)) -> u64 {
    let cloned = measure(|| drop(table.clone()));
    assert_eq!(cloned.count_total, 0, "a clone copies");
    measure(|| table.clone().insert(index(chunk), in_part(first, 0))).bytes_total
}

// spec: STORE-110
#[test]
fn a_seal_copies_as_little_of_a_hundred_thousand_chunks_as_of_a_thousand() {
    let roads: [fn(u64) -> u64; 2] = [|_| 0, |k| k];
    for place in roads {
        // A seal takes its place behind the others, or in a gap; an absorbed chunk moves.
        let copied = [1_000, 131_000].map(|chunks| {
            let mut table = of(chunks, place);
            table.remove(index(chunks / 2));
            let changes: [(u64, u64); 3] =
                [(chunks, place(chunks)), (chunks / 2, chunks / 2), (chunks / 3, 0)];
            changes.map(|change| allocated(&table, change))
        });
        // Paths of nodes of 40 bytes in up to four maps: measured are 640 to 3,728 bytes among
        // 1,000 chunks, and 1,088 to 6,584 among 131,000. One pointer for each is more.
        assert!(copied.as_flattened().iter().all(|b| (300..8_000).contains(b)), "{copied:?}");
    }
}

#[test]
fn chunks_far_from_each_other_take_no_more_memory_than_any() {
    for stride in [1, 32, 1_024, 1 << 40] {
        let mut table = ChunkTable::default();
        let held = measure(|| {
            for k in (0..4_000).map(|k| k * stride) {
                table.insert(index(k), in_part(k, 0));
            }
        });
        let each = held.bytes_current / 4_000;
        assert!((300..=400).contains(&each), "{each} bytes a chunk, every {stride}th");
    }
}

#[derive(Debug, Clone)]
enum Change {
    Insert(u64, u64, u32),
    Remove(u64),
}

fn change() -> impl Strategy<Value = Change> {
    // Near each other and far away.
    let chunk = || prop_oneof![0..6_u64, 29..35_u64, 1_020..1_028_u64, Just(300_000_u64)];
    prop_oneof![
        3 => (chunk(), chunk(), 0..2_u32).prop_map(|(k, f, g)| Change::Insert(k, f.min(k), g)),
        1 => chunk().prop_map(Change::Remove),
    ]
}

fn table_of(model: &BTreeMap<u64, SealedChunk>) -> ChunkTable {
    let mut table = ChunkTable::default();
    model.iter().rev().for_each(|(k, sealed)| table.insert(index(*k), *sealed));
    table
}

proptest! {
    #[test]
    fn it_answers_as_a_list_that_is_gone_through(changes in vec(change(), 0..60)) {
        let (mut table, mut model) = (ChunkTable::default(), BTreeMap::new());
        for change in changes {
            let (before, was) = (table.clone(), model.clone());
            match change {
                Change::Insert(k, first, generation) => {
                    table.insert(index(k), in_part(first, generation));
                    model.insert(k, in_part(first, generation));
                }
                Change::Remove(k) => {
                    table.remove(index(k));
                    model.remove(&k);
                }
            }
            prop_assert_eq!(before, table_of(&was), "a clone changed");
            prop_assert_eq!(&table, &table_of(&model));
            let listed: Vec<_> = table.iter().map(|(k, sealed)| (k.get(), *sealed)).collect();
            prop_assert_eq!(&listed, &model.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            prop_assert_eq!(table.last().map(|(k, _)| k.get()), model.keys().last().copied());
            let missing = (0..300_001).find(|k| !model.contains_key(k)).unwrap();
            prop_assert_eq!(table.first_missing(), index(missing));
            let in_runs: Vec<u64> =
                table.runs().flat_map(|(first, last)| first.get()..=last.get()).collect();
            prop_assert_eq!(in_runs, model.keys().copied().collect::<Vec<_>>());
            prop_assert!(table.runs().all(|(_, last)| !model.contains_key(&(last.get() + 1))));
            for (k, sealed) in &model {
                let part = sealed.part;
                let last = model.iter().rev().find(|(_, other)| other.part == part).unwrap().0;
                prop_assert_eq!(table.last_in(part), Some(index(*last)));
                let stretch = (*k..).take_while(|k| model.get(k).is_some_and(|c| c.part == part));
                prop_assert_eq!(table.end_of_stretch(index(*k)), stretch.last().map(index));
                let from: Vec<_> = table.iter_from(index(*k)).map(|(k, _)| k.get()).collect();
                prop_assert_eq!(from, model.range(k..).map(|(k, _)| *k).collect::<Vec<_>>());
                let mut parts: Vec<_> = model.values().map(|c| c.part).collect();
                parts.retain(|part| part.first == index(*k));
                parts.sort();
                parts.dedup();
                prop_assert_eq!(table.parts_from(index(*k)).collect::<Vec<_>>(), parts);
            }
            let live = model.values().any(|sealed| sealed.part == in_part(0, 1).part);
            prop_assert_eq!(table.last_in(in_part(0, 1).part).is_some(), live);
        }
    }
}
