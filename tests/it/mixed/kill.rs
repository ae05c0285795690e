//! Process death under mixed load.

use std::{thread, time::Duration};

use super::{
    house::{House, kill},
    oracle::{GRACE, Rules},
};
use crate::{random::Random, rounds::Rounds, server::Server};

/// Small chunks, and names that meet within a second.
pub const COMMON: [&str; 2] = ["--chunk-size=16KiB", "--name-template={stem}-{time}{ext}"];
/// Nothing ends by itself.
pub const STEADY: Rules = Rules {
    expire_after: None,
    keep_finished: None,
    auto_merge: false,
    consumes: false,
    power: false,
};

/// A kill within a start, or right behind one.
fn dies_again(house: &mut House) {
    for _ in 0..house.random.below(3) {
        let after = Duration::from_millis(house.random.between(0, 60));
        house.server.dies_starting(after);
    }
    house.start_again();
    if house.random.below(4) == 0 {
        let after = Duration::from_millis(house.random.between(0, 50));
        house.play(|weather, pid| {
            thread::sleep(after);
            kill(weather, pid);
        });
        house.server.kill_9();
        house.start_again();
    }
}

fn rounds_of_kills(test: &'static str, few: usize, options: &[&str], rules: Rules) {
    let mut random = Random::announced(test);
    let args = [&COMMON, options].concat();
    let server = Server::with(&args);
    let seed = random.next();
    let mut house = House::new(server, rules, Random::seeded(seed));
    let mut played = 0;
    for round in Rounds::of(test, few) {
        let most = if round % 3 == 0 { 200 } else { 1_200 };
        let after = Duration::from_millis(house.random.between(0, most));
        house.play(|weather, pid| {
            thread::sleep(after);
            kill(weather, pid);
        });
        house.server.kill_9();
        dies_again(&mut house);
        // Now and then they go on at once, and look when they come to it.
        if round % 5 != 4 {
            house.check();
            house.files_are_whole();
        }
        house.finish_one_in(6);
        played = round + 1;
    }
    // Where ends come by themselves, they do come while a server runs.
    if let Some(longest) = rules.expire_after.max(rules.keep_finished) {
        house.check();
        thread::sleep(longest + GRACE);
        house.check();
    }
    house.finish_one_in(1);
    house.check();
    house.leaves_nothing(&args);
    house.summary(test, played);
}

// rows: FAULT-01, FAULT-02, FAULT-03, FAULT-04
// spec: STORE-1, STORE-3, STORE-4, STORE-6
#[test]
fn killed_under_mixed_load() {
    rounds_of_kills("killed_under_mixed_load", 20, &["--verify-on-merge"], STEADY);
}

#[test]
fn killed_under_mixed_load_while_uploads_expire() {
    let options =
        ["--expire-after=4s", "--keep-finished=5s", "--reap-every=300ms", "--chunks-per-part=2"];
    let rules = Rules {
        expire_after: Some(Duration::from_secs(4)),
        keep_finished: Some(Duration::from_secs(5)),
        ..STEADY
    };
    rounds_of_kills("killed_under_mixed_load_while_uploads_expire", 18, &options, rules);
}

#[test]
fn killed_under_mixed_load_with_every_answer_durable() {
    let options = ["--durability=ack", "--auto-merge", "--consume-partials"];
    let rules = Rules { auto_merge: true, consumes: true, ..STEADY };
    rounds_of_kills("killed_under_mixed_load_with_every_answer_durable", 16, &options, rules);
}

/// Killed under load, and then as often as not again while it recovers: within the start, or while
/// everybody looks at what is left.
// rows: FAULT-01, FAULT-02
// spec: STORE-1, STORE-3, STORE-12
#[test]
fn killed_again_while_it_recovers() {
    const TEST: &str = "killed_again_while_it_recovers";
    let mut random = Random::announced(TEST);
    let args = [&COMMON[..], &["--chunks-per-part=3", "--verify-on-merge"]].concat();
    let seed = random.next();
    let mut house = House::new(Server::with(&args), STEADY, Random::seeded(seed));
    let mut played = 0;
    for round in Rounds::of(TEST, 12) {
        let after = Duration::from_millis(house.random.between(20, 600));
        house.play(|weather, pid| {
            thread::sleep(after);
            kill(weather, pid);
        });
        house.server.kill_9();
        for _ in 0..house.random.between(1, 4) {
            if house.random.below(3) == 0 {
                let after = Duration::from_millis(house.random.between(0, 40));
                house.server.dies_starting(after);
            }
            house.start_again();
            let after = Duration::from_millis(house.random.between(0, 60));
            house.recover(|weather, pid| {
                thread::sleep(after);
                kill(weather, pid);
            });
            house.server.kill_9();
        }
        house.start_again();
        house.check();
        house.files_are_whole();
        house.finish_one_in(4);
        played = round + 1;
    }
    house.finish_one_in(1);
    house.check();
    house.leaves_nothing(&args);
    house.summary(TEST, played);
}
