//! Power loss under mixed load, for real: the file system stops, and forgets what was not flushed.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::fs::{Advice, fadvise, syncfs};

use super::{
    house::{House, kill},
    kill::{COMMON, STEADY},
    oracle::{Promise, Rules},
};
use crate::{
    digest::sha256,
    mount::{Kind, Mount},
    random::Random,
    rounds::Rounds,
    server::Server,
};

/// Of the two slots of the boot mark.
const SLOTS_AT: [u64; 2] = [0, 4096];
const ROOM: u64 = 512 << 20;

/// The boot id is another one after a power loss; here the machine runs on, so the mark of the last
/// boot is made another's.
fn boot_anew(data: &Path, random: &mut Random) {
    let path = data.join("state/boot");
    let file = File::options().read(true).write(true).open(path).unwrap();
    let boot = sha256(&random.bytes(16));
    let mut changed = 0;
    for at in SLOTS_AT {
        let mut slot = [0; 68];
        let read = file.read_at(&mut slot, at).unwrap();
        if read == slot.len() && slot.starts_with(b"PITONBT1") {
            slot[32..64].copy_from_slice(&boot);
            let sum = crc32fast::hash(&slot[..64]);
            slot[64..].copy_from_slice(&sum.to_le_bytes());
            file.write_all_at(&slot, at).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0, "no mark of a boot");
}

/// Ends the trickle, also where a check fails: else the test would wait for it, and stay mounted.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Some of what is not flushed yet goes to the disk, here and there, as it does by itself.
fn trickle(data: &Path, random: &mut Random, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(random.between(1, 60)));
        let files = files_of(data);
        if files.is_empty() {
            continue;
        }
        // It may be gone, or the power.
        let Ok(file) = File::open(&files[random.below(files.len())]) else { continue };
        match random.below(8) {
            0 => drop(syncfs(&file)),
            1 | 2 => drop(file.sync_all()),
            3 | 4 => drop(file.sync_data()),
            // Data goes, and nothing that tells of it.
            _ => drop(fadvise(&file, 0, None, Advice::DontNeed)),
        }
    }
}

/// All files, as far as they can be listed on a disk that may be gone.
fn files_of(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let each = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_of(&entry.path()),
        _ => vec![entry.path()],
    });
    each.collect()
}

fn rounds_of_cuts(test: &'static str, kind: Kind, promise: Promise, more: &[&str]) {
    let mut random = Random::announced(test);
    let policy = match promise {
        Promise::Nothing => "--durability=none",
        Promise::Finished => "--durability=complete",
        Promise::Answered => "--durability=ack",
    };
    let mount = Mount::new(kind, ROOM);
    let args = [&COMMON[..], &[policy], more].concat();
    let server = Server::within(&mount.path(), &args);
    syncfs(File::open(mount.path()).unwrap()).unwrap();
    let rules = Rules { power: true, auto_merge: more.contains(&"--auto-merge"), ..STEADY };
    let mut house = House::new(server, rules, Random::seeded(random.next()));
    let mut played = 0;
    for round in Rounds::of(test, 20) {
        let data = house.server.data();
        let [load, afterglow] =
            [700, 80].map(|most| Duration::from_millis(random.between(0, most)));
        if random.below(4) == 0 {
            // What one process left to the page cache, the next one tells of.
            house.play(|weather, pid| {
                thread::sleep(load / 2);
                kill(weather, pid);
            });
            house.server.kill_9();
            house.start_again();
            if random.below(2) == 0 {
                house.check();
            }
        }
        let (over, mut other) = (AtomicBool::new(round % 4 == 0), Random::seeded(random.next()));
        thread::scope(|scope| {
            scope.spawn(|| trickle(&data, &mut other, &over));
            let _end = Over(&over);
            house.play(|weather, pid| {
                thread::sleep(load);
                weather.dark.store(true, Ordering::SeqCst);
                mount.cut_power();
                thread::sleep(afterglow);
                kill(weather, pid);
            });
        });
        house.server.kill_9();
        mount.power_up();
        boot_anew(&data, &mut random);
        for client in &mut house.clients {
            client.weaken(promise);
        }
        house.start_again();
        if round % 5 != 4 {
            house.check();
            if promise != Promise::Nothing {
                house.files_are_whole();
            }
        }
        house.finish_one_in(5);
        played = round + 1;
    }
    house.finish_one_in(1);
    house.check();
    if promise == Promise::Answered {
        house.leaves_nothing(&args);
    }
    house.summary(test, played);
}

// rows: FAULT-12
// spec: STORE-10, STORE-33
#[test]
#[ignore = "mounts file systems: needs root"]
fn without_flushes_a_power_loss_on_ext4_costs_bytes_and_never_makes_wrong_ones() {
    rounds_of_cuts("power loss, ext4, none", Kind::Ext4, Promise::Nothing, &[]);
}

#[test]
#[ignore = "mounts file systems: needs root"]
fn without_flushes_a_power_loss_on_xfs_costs_bytes_and_never_makes_wrong_ones() {
    rounds_of_cuts("power loss, xfs, none", Kind::Xfs, Promise::Nothing, &["--auto-merge"]);
}

// rows: FAULT-12
// spec: STORE-7
#[test]
#[ignore = "mounts file systems: needs root"]
fn what_was_answered_as_finished_outlives_a_power_loss_on_ext4() {
    rounds_of_cuts("power loss, ext4, complete", Kind::Ext4, Promise::Finished, &["--auto-merge"]);
}

#[test]
#[ignore = "mounts file systems: needs root"]
fn what_was_answered_as_finished_outlives_a_power_loss_on_xfs() {
    rounds_of_cuts("power loss, xfs, complete", Kind::Xfs, Promise::Finished, &[]);
}

// rows: FAULT-12
// spec: STORE-8
#[test]
#[ignore = "mounts file systems: needs root"]
fn every_answer_outlives_a_power_loss_on_ext4() {
    let more = ["--chunks-per-part=2"];
    rounds_of_cuts("power loss, ext4, ack", Kind::Ext4, Promise::Answered, &more);
}

#[test]
#[ignore = "mounts file systems: needs root"]
fn every_answer_outlives_a_power_loss_on_xfs() {
    rounds_of_cuts("power loss, xfs, ack", Kind::Xfs, Promise::Answered, &[]);
}
