//! How many calls to the kernel fixed work takes: what keeps piton from growing slower unnoticed.
//!
//! Wall time says nothing on a shared machine, and calls are what small requests cost. Counted are
//! calls on files and folders of the data folder, and reads and writes of sockets; not those by
//! which threads wake each other, whose number depends on chance. Whoever changes a figure for the
//! better lowers it here, whoever needs one more call says in the commit what for.
//!
//! It runs with the tests (`cargo test --test calls`), and where `strace` cannot, it says so.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "what a measurement and a test may do"
)]

#[allow(dead_code, reason = "shared with benchmarks")]
#[path = "peers/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with benchmarks")]
#[path = "program/mod.rs"]
mod program;
#[allow(dead_code, reason = "shared with benchmarks")]
#[path = "peers/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use client::{Conn, PIECE, created};
use server::Server;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// How much more or less calls on files may be than what is stated: the names of uploads are
/// chance, and so is which of their folders are there already.
const USUAL: f64 = 0.08;
/// The same where it is also chance how many bytes are there at a time.
const WIDE: f64 = 0.5;
/// After so long without a call nothing of a start is left to be done, also on a busy machine.
const STILL: Duration = Duration::from_secs(2);

/// Calls that each piece of work takes.
#[derive(Debug, Clone, Copy)]
struct Stated {
    files: f64,
    tolerance: f64,
    /// At most: a body comes in as many pieces as the network likes.
    sockets: f64,
}

const fn stated(files: f64, sockets: f64) -> Stated {
    Stated { files, tolerance: USUAL, sockets }
}

/// Calls that were counted.
#[derive(Debug)]
struct Calls {
    files: f64,
    sockets: f64,
    /// Which there were on files, for people.
    by_name: String,
}

/// Uploads that a test makes.
const UPLOADS: usize = 60;

#[test]
fn an_upload_with_its_creation() {
    compare("none", UPLOADS, stated(21.9, 3.0), |server, conn| {
        let request = server.create_with(&format!("Upload-Length: {KIB}\r\n"), &PIECE[..KIB]);
        for _ in 0..UPLOADS {
            created(conn.ask(&request));
        }
    });
}

#[test]
fn an_upload_in_two_steps() {
    compare("none", UPLOADS, stated(29.0, 6.0), two_steps);
}

#[test]
fn an_upload_in_two_steps_that_is_durable_once_it_is_finished() {
    compare("complete", UPLOADS, stated(47.8, 6.0), two_steps);
}

#[test]
fn an_upload_in_two_steps_of_which_every_answer_is_durable() {
    compare("ack", UPLOADS, stated(59.0, 6.0), two_steps);
}

fn two_steps(server: &Server, conn: &mut Conn) {
    for _ in 0..UPLOADS {
        let url = server.upload(conn, KIB);
        assert_eq!(conn.ask(&server.patch_with(&url, 0, &PIECE[..KIB])).status, 204);
    }
}

#[test]
fn a_patch_of_64_kib() {
    compare("none", 100, stated(6.4, 5.0), |server, conn| {
        let url = server.upload(conn, 64 * GIB);
        server.send_on(conn, &url, 0..100 * 64 * KIB, 64 * KIB);
    });
}

#[test]
fn a_head() {
    compare("none", 100, stated(5.2, 3.0), |server, conn| {
        let url = server.upload(conn, KIB);
        for _ in 0..100 {
            assert_eq!(conn.ask(&server.head(&url)).status, 200);
        }
    });
}

#[test]
fn a_mebibyte_of_one_patch() {
    let stated = Stated { tolerance: WIDE, ..stated(5.5, 40.0) };
    compare("none", 64, stated, |server, conn| {
        server.send(conn, 64 * MIB, 64 * MIB);
    });
}

/// Does the work with and without anybody looking, and compares the calls of each of `times`.
#[track_caller]
fn compare(durability: &str, times: usize, stated: Stated, work: impl Fn(&Server, &mut Conn)) {
    if !can_trace() {
        println!("left out: strace is not installed, or may not trace");
        return;
    }
    let found = trace(durability, times, work);
    println!("{:.2} on files, {:.2} on sockets: {}", found.files, found.sockets, found.by_name);
    let Stated { files, tolerance, sockets } = stated;
    let (more, less) = (files * (1.0 + tolerance), files * (1.0 - tolerance));
    assert!(found.files <= more, "more calls on files than {files:.1}: {found:?}");
    assert!(found.files >= less, "fewer calls on files than {files:.1}, state so: {found:?}");
    assert!(found.sockets <= sockets, "more calls on sockets than {sockets:.1}: {found:?}");
}

fn can_trace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// Starts piton below `strace`, has it work, and counts.
fn trace(durability: &str, times: usize, work: impl Fn(&Server, &mut Conn)) -> Calls {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("calls"));
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "0", "-e", "signal=none", "-o"]).arg(&log);
    command.arg(env!("CARGO_BIN_EXE_piton")).args(["--listen=127.0.0.1:0", "--log-level=warn"]);
    command.arg(format!("--durability={durability}")).arg("--data-dir").arg(&data);
    let server = Server::start(command, &data).unwrap();
    let mut conn = server.connect();
    // What is done once is not counted.
    server.send(&mut conn, KIB, KIB);
    let before = settled(&log);
    work(&server, &mut conn);
    drop(conn);
    server.stop();
    let log = fs::read(&log).unwrap();
    let log = String::from_utf8_lossy(&log[before as usize..]);
    count(&log, &data, times)
}

/// The length of the log once nothing is added to it: a start goes on behind the first answer.
fn settled(log: &Path) -> u64 {
    let length = || fs::metadata(log).unwrap().len();
    let mut before = length();
    loop {
        thread::sleep(STILL);
        if length() == before {
            return before;
        }
        before = length();
    }
}

fn count(log: &str, data: &Path, times: usize) -> Calls {
    let data = data.to_str().unwrap();
    // A call that was interrupted by another thread's has a second line.
    let calls = || log.lines().filter(|line| !line.contains(" resumed>"));
    let mut names = BTreeMap::new();
    for line in calls().filter(|line| line.contains(data)) {
        let name = line.split_once('(').map_or(line, |(name, _)| name).rsplit(' ').next().unwrap();
        // Builds with assertions look at each file before they close it.
        if name != "fcntl" {
            *names.entry(name).or_insert(0) += 1;
        }
    }
    let sockets = calls().filter(|line| {
        let moves = ["recvfrom(", "sendto(", "read(", "write(", "readv(", "writev("];
        line.contains("<socket:[") && moves.iter().any(|name| line.contains(name))
    });
    let each = |count: usize| count as f64 / times as f64;
    let list = names.iter().map(|(name, count)| format!("{name} {:.2}", each(*count)));
    Calls {
        files: each(names.values().sum()),
        sockets: each(sockets.count()),
        by_name: list.collect::<Vec<_>>().join(", "),
    }
}
