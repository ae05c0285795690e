use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

fn known(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::new(Sha256::digest(bytes).into())
}

/// Cuts into pieces of these sizes, over and over.
fn pieces<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut cut) = (bytes, Vec::new());
    for size in sizes.iter().cycle() {
        let (now, more) = rest.split_at(rest.len().min(*size));
        cut.push(now);
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
    cut
}

#[test]
fn every_short_length_has_the_digest_of_the_known_way() {
    for length in 0..=300 {
        let message = bytes(length, 7);
        let mut running = RunningSha256::new();
        running.update(&message);
        assert_eq!(running.finish(), known(&message), "{length}");
    }
}

#[test]
fn two_short_messages_of_any_lengths_have_their_own_digests() {
    for (first, second) in (0..=140).flat_map(|first| (0..=140).map(move |second| (first, second)))
    {
        let (left, right) = (bytes(first, 3), bytes(second, 11));
        let (mut one, mut two) = (RunningSha256::new(), RunningSha256::new());
        RunningSha256::update_both((&mut one, &left), (&mut two, &right));
        assert_eq!(one.finish(), known(&left), "{first} beside {second}");
        assert_eq!(two.finish(), known(&right), "{second} beside {first}");
    }
}

proptest! {
    #[test]
    fn pieces_of_two_messages_side_by_side_and_alone_give_the_digests_of_the_whole(
        lengths in (0_usize..5000, 0_usize..5000),
        seeds in any::<(u64, u64)>(),
        sizes in (
            prop::collection::vec(1_usize..700, 1..9),
            prop::collection::vec(1_usize..700, 1..9),
        ),
        alone in prop::collection::vec(any::<bool>(), 1..9),
    ) {
        let (left, right) = (bytes(lengths.0, seeds.0), bytes(lengths.1, seeds.1));
        let (mut one, mut two) = (RunningSha256::new(), RunningSha256::new());
        let (first, second) = (pieces(&left, &sizes.0), pieces(&right, &sizes.1));
        let rounds = first.len().max(second.len());
        for (round, alone) in (0..rounds).zip(alone.iter().cycle()) {
            let now = first.get(round).copied().unwrap_or_default();
            let then = second.get(round).copied().unwrap_or_default();
            if *alone {
                one.update(now);
                two.update(then);
            } else {
                RunningSha256::update_both((&mut one, now), (&mut two, then));
            }
        }
        prop_assert_eq!(one.finish(), known(&left));
        prop_assert_eq!(two.finish(), known(&right));
    }

    #[test]
    fn lanes_leave_the_states_that_one_after_the_other_leaves(
        states in any::<([u32; 8], [u32; 8])>(),
        count in 0_usize..9,
        seed in any::<u64>(),
    ) {
        let message = bytes(2 * count * BLOCK, seed);
        let (left, right) = message.as_chunks().0.split_at(count);
        let (mut lanes, mut turns) = (states, states);
        compress_both((&mut lanes.0, left), (&mut lanes.1, right));
        compress_in_turn((&mut turns.0, left), (&mut turns.1, right));
        prop_assert_eq!(lanes, turns);
    }
}
