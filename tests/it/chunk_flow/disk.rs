//! What a file in chunks takes of the disk on its way, and what is written for it.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{chunks::Parts, digest::sha256_hex, disk, random::Random, server::Server};

const MIB: usize = 1024 * 1024;
/// Ledger, folders, and the trees by which a file system finds blocks.
const BESIDE: u64 = 256 * 1024;

/// Where the tests are built, which is a disk more often than `/tmp` is.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Says that a test did not happen, also where the output of tests is caught.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Sends all chunks in this order over six connections, and merges; the most that the disk gave.
fn send(server: &Server, parts: &Parts, order: Vec<usize>) -> u64 {
    let left = Mutex::new(order.into_iter());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(taken_below(&server.data()));
                thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        let hands: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = server.connect();
                    loop {
                        let next = left.lock().unwrap().next();
                        let Some(index) = next else { break };
                        connection.ask(&parts.put(index)).expect(201);
                    }
                })
            })
            .collect();
        for hand in hands {
            hand.join().unwrap();
        }
        parts.merge(server).expect(201);
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

/// The blocks of all files, each once. The part that the others are absorbed into is asked first:
/// what is absorbed while we look is then counted once or not at all.
fn taken_below(data: &Path) -> u64 {
    let mut found = HashMap::new();
    let mut paths = disk::files_below(data);
    paths.sort_by_key(|path| !path.ends_with("0.part"));
    for metadata in paths.iter().filter_map(|path| fs::metadata(path).ok()) {
        found.entry(metadata.ino()).or_insert(metadata.blocks() * 512);
    }
    found.values().sum()
}

/// Bytes that the process made dirty; what a file system in memory does is not counted.
fn written(server: &Server) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", server.pid())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

/// 2.05 times.
fn twice(size: usize) -> u64 {
    size as u64 * 205 / 100
}

// spec: CHUNK-80
#[test]
fn each_byte_is_written_twice_at_most_and_never_lies_there_twice() {
    let mut random = Random::announced("each_byte_is_written_twice_at_most");
    let folder = folder();
    for (size, chunk) in [(64 * MIB, MIB), (16 * MIB + 777, MIB + 1000)] {
        let parts = Parts::new(&random.hash(), "a.bin", chunk, random.bytes(size));
        let forward: Vec<_> = (0..parts.total).collect();
        for order in [forward.clone(), random.shuffled(forward)] {
            let server = Server::within(folder.path(), &[]);
            let peak = send(&server, &parts, order);
            assert_eq!(sha256_hex(&server.the_file()), sha256_hex(&parts.bytes));
            let most = (size + chunk) as u64 + BESIDE;
            assert!(peak <= most, "{peak} bytes of the disk were taken, {most} may be");
            let (written, most) = (written(&server), twice(size));
            if written == 0 {
                return skip("the file system of the tests counts no written bytes");
            }
            assert!(written >= size as u64, "{written} bytes of {size}: what is counted here?");
            assert!(written <= most, "{written} bytes were written, {most} may be");
        }
    }
}

/// A file system of its own, of the kind that shares blocks; gone with its image in the end.
struct Xfs(TempDir);

impl Xfs {
    /// `None` where this process may not mount, or XFS is not there.
    fn mount() -> Option<Self> {
        let folder = folder();
        let (image, place) = (folder.path().join("image"), folder.path().join("mounted"));
        fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        fs::create_dir(&place).unwrap();
        let run = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
        let made = run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image));
        let mounted =
            made && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place));
        mounted.then_some(Self(folder))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("mounted")
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

// spec: CHUNK-80
#[test]
fn where_blocks_are_shared_a_merge_copies_nothing() {
    let Some(xfs) = Xfs::mount() else {
        return skip("no XFS could be mounted here (mkfs.xfs, a loop device and root are needed)");
    };
    let mut random = Random::announced("where_blocks_are_shared_a_merge_copies_nothing");
    let size = 24 * MIB + 777;
    // Whole blocks, and chunks of which every fourth begins with one.
    for (chunk, most) in [(MIB, size as u64 * 105 / 100), (MIB + 1024, twice(size))] {
        for args in [&[][..], &["--verify-on-merge"], &["--durability=ack"]] {
            let parts = Parts::new(&random.hash(), "a.bin", chunk, random.bytes(size));
            let order = random.shuffled((0..parts.total).collect());
            let server = Server::within(&xfs.path(), args);
            let peak = send(&server, &parts, order);
            let written = written(&server);
            assert_eq!(sha256_hex(&server.the_file()), sha256_hex(&parts.bytes));
            assert!(written >= size as u64, "{written} bytes of {size}: what is counted here?");
            assert!(written <= most, "{args:?}: {written} bytes were written, {most} may be");
            let most = (size + chunk) as u64 + BESIDE;
            assert!(peak <= most, "{args:?}: {peak} bytes of the disk were taken, {most} may be");
        }
    }
}
