//! What SHA-256 of two messages side by side takes, as a ratio to one after the other.
//!
//! ```text
//! cargo bench --bench lanes
//! ```
//!
//! One after the other is what the sha2 crate does. Nothing here fails on a slow machine: the
//! figures are for people.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement tells the time, and says what it found"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use piton::upload::{RunningSha256, gains_by_two};
use sha2::{Digest, Sha256};

/// Bytes that are taken in at once, as many as a buffer has.
const PIECE: usize = 512 * 1024;
/// Pieces of each message.
const PIECES: usize = 256;
const ROUNDS: usize = 7;

fn main() {
    let (left, right) = (vec![1; PIECE], vec![2; PIECE]);
    let mut least = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        let in_turn = timed(|| {
            for message in [&left, &right] {
                let mut running = Sha256::new();
                for _ in 0..PIECES {
                    running.update(message);
                }
                black_box(running.finalize());
            }
        });
        let own = timed(|| {
            for message in [&left, &right] {
                let mut running = RunningSha256::new();
                for _ in 0..PIECES {
                    running.update(message);
                }
                black_box(running.finish());
            }
        });
        let beside = timed(|| {
            let (mut one, mut two) = (RunningSha256::new(), RunningSha256::new());
            for _ in 0..PIECES {
                RunningSha256::update_both((&mut one, &left), (&mut two, &right));
            }
            black_box((one.finish(), two.finish()));
        });
        for (least, now) in least.iter_mut().zip([in_turn, own, beside]) {
            *least = now.min(*least);
        }
    }
    let [in_turn, own, beside] = least.map(|time| time.as_secs_f64());
    let lanes = if gains_by_two() { "two lanes" } else { "no lanes here" };
    println!("sha2, one after the other      1.00");
    println!("our own, one after the other   {:.2}", own / in_turn);
    println!("our own, side by side          {:.2} ({lanes})", beside / in_turn);
}

fn timed(work: impl FnOnce()) -> Duration {
    let since = Instant::now();
    work();
    since.elapsed()
}
