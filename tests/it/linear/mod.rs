//! Linearizability, seen from outside: several clients do few things to one upload at the same
//! moment, at one process or at two on one data folder. What they were told must be what some order
//! of their requests, one after the other, would have told them.
//!
//! The order is searched by [`check`]; what one request does after another is said by [`law`];
//! [`play`] makes the histories.

mod check;
mod law;
mod play;
#[cfg(test)]
mod wrong;

use self::play::{Kind, Play, Scene};
use crate::{
    random::Random,
    rounds::Rounds,
    server::{CHUNK, Server},
};

/// Plays scenes of one kind, on one process and on two.
fn hold_together(test: &'static str, kinds: &[Kind], few: usize) {
    let mut random = Random::announced(test);
    // Small bodies take the short way to the disk, larger ones the long one.
    let servers = [4096, CHUNK].map(|chunk| {
        let one = Server::with(&[&format!("--chunk-size={chunk}"), "--durability=none"]);
        let two = one.beside();
        (chunk, [one, two])
    });
    for round in Rounds::of(test, few) {
        let (chunk, servers) = &servers[usize::from(round % 4 == 3)];
        let servers: Vec<&Server> = servers.iter().take(1 + round / 4 % 2).collect();
        let kind = kinds[round % kinds.len()];
        let scene = Scene { kind, chunk: *chunk, servers };
        Play::of(&scene, &mut random).is_explained();
    }
}

// rows: RACE-03, RACE-06, RACE-07
// spec: TUS-15, TUS-16, TUS-21, TUS-22, TUS-106, STORE-5
#[test]
fn patches_and_looks_have_an_order() {
    hold_together("patches_and_looks_have_an_order", &[Kind::Patches], 48);
}

// rows: RACE-04
// spec: TUS-27, TUS-22, STORE-5
#[test]
fn patches_and_deletions_have_an_order() {
    hold_together("patches_and_deletions_have_an_order", &[Kind::PatchesAndDelete], 48);
}

// rows: RACE-08, RACE-10
// spec: CHUNK-13, CHUNK-17, CHUNK-21, CHUNK-25, CHUNK-26
#[test]
fn chunks_merges_and_deletions_have_an_order() {
    let kinds = [Kind::Chunks, Kind::ChunksAndDelete];
    hold_together("chunks_merges_and_deletions_have_an_order", &kinds, 64);
}

// rows: RACE-09
// spec: CHUNK-27, STORE-2, STORE-5
#[test]
fn both_kinds_of_clients_have_one_order() {
    let kinds = [Kind::MixedByTus, Kind::MixedByChunks];
    hold_together("both_kinds_of_clients_have_one_order", &kinds, 64);
}
