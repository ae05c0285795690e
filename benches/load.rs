//! What many clients at once cost, and what becomes of those who are too many.
//!
//! ```text
//! cargo bench --bench load -- [--quick] [--dir DIR] [idle] [uploads] [stalled] [rest] [overload]
//! ```
//!
//! Without words all of it is measured: 10,000 open connections, 2,000 uploads at once and as many
//! that stall, 100,000 unfinished uploads at rest (start, sweeps), and clients beyond the limits.
//! `--quick` takes a tenth. The bytes of every finished file are compared. Client and server share
//! the CPUs, so that times are for people; what is printed is a table in Markdown.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement may fail loudly, tell the time, and clean up after itself"
)]

#[path = "load/client.rs"]
mod client;
#[path = "load/overload.rs"]
mod overload;
#[allow(dead_code, reason = "the other benchmarks use more of it")]
mod program;
#[path = "load/rest.rs"]
mod rest;
#[path = "load/server.rs"]
mod server;

use std::{
    collections::HashMap,
    env,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tokio::{sync::Barrier, time};

use self::{
    client::{Client, Spans, percentiles, watching_health},
    server::Program,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes that files are cut from.
static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| program::noise(4 * MIB));

#[tokio::main]
async fn main() {
    let options = Options::from_args();
    let folder = tempfile::tempdir_in(&options.dir).unwrap();
    println!("{}\n\n| what | figure |\n|---|---|", program::machine(folder.path()));
    if options.wants("idle") {
        idle(folder.path(), options.scaled(10_000)).await;
    }
    if options.wants("uploads") {
        uploads(folder.path(), options.scaled(2000)).await;
    }
    if options.wants("stalled") {
        stalled(folder.path(), options.scaled(2000)).await;
    }
    if options.wants("rest") {
        rest::measure(folder.path(), options.scaled(100_000)).await;
    }
    if options.wants("overload") {
        overload::measure(folder.path(), options.quick).await;
    }
}

/// What was asked for.
#[derive(Debug)]
struct Options {
    quick: bool,
    dir: PathBuf,
    words: Vec<String>,
}

impl Options {
    fn from_args() -> Self {
        let mut found = Self { quick: false, dir: env::temp_dir(), words: Vec::new() };
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => found.quick = true,
                "--dir" => found.dir = args.next().expect("--dir DIR").into(),
                // cargo says so.
                "--bench" => {}
                _ => found.words.push(arg),
            }
        }
        found.dir = found.dir.canonicalize().expect("--dir names a folder");
        found
    }

    fn wants(&self, word: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|wanted| wanted == word)
    }

    fn scaled(&self, count: usize) -> usize {
        if self.quick { count / 10 } else { count }
    }
}

/// One line of the table.
fn row(what: impl Display, figure: impl Display) {
    println!("| {what} | {figure} |");
}

/// Connections that ask once and stay.
async fn idle(folder: &Path, count: usize) {
    let server = Program::start(folder, &[&format!("--max-connections={}", count + 100)]);
    let before = server.memory();
    let mut open = Vec::with_capacity(count);
    let since = Instant::now();
    for _ in 0..count {
        let mut client = Client::open(server.address).await;
        client.health().await;
        open.push(client);
    }
    let took = since.elapsed();
    let after = server.memory();
    let mut spans = Vec::new();
    for _ in 0..500 {
        let since = Instant::now();
        Client::open(server.address).await.health().await;
        spans.push(since.elapsed());
    }
    for client in open.iter_mut().step_by(97) {
        client.health().await;
    }
    row(format!("{count} connections open and idle"), format!("opened in {took:.1?}"));
    let each = (after - before) * 1024.0 / count as f64;
    row("RSS before · with them", format!("{before:.0} · {after:.0} MiB, {each:.1} KiB each"));
    row("a newcomer's health meanwhile", percentiles(&spans));
}

/// The bytes of the file of this number: 64 KiB to 1 MiB.
fn file(number: usize) -> &'static [u8] {
    let size = 64 * KIB + (number * 7919 * 61) % (960 * KIB);
    let from = (number * 4099) % (3 * MIB - 1);
    &POOL[from..from + size]
}

async fn uploads(folder: &Path, count: usize) {
    let limits = [format!("--max-connections={}", count + 100), "--durability=none".to_owned()];
    let server = Program::start(folder, &limits.each_ref().map(String::as_str));
    let before = server.memory();
    let begun = Arc::new(Barrier::new(count + 1));
    let address = server.address;
    let hands: Vec<_> = (0..count)
        .map(|number| {
            let begun = begun.clone();
            tokio::spawn(async move {
                let (mut client, bytes) = (Client::open(address).await, file(number));
                let url = client.create(bytes.len()).await;
                client.begin_patch(&url, bytes.len()).await;
                client.send(&bytes[..1]).await;
                // All of them have begun before any of them ends.
                begun.wait().await;
                client.send(&bytes[1..]).await;
                assert_eq!(client.answer().await.status, 204);
            })
        })
        .collect();
    begun.wait().await;
    let since = Instant::now();
    let (spans, ()) = watching_health(address, async {
        for hand in hands {
            hand.await.unwrap();
        }
    })
    .await;
    let took = since.elapsed();
    let bytes: usize = (0..count).map(|number| file(number).len()).sum();
    let rate = bytes as f64 / MIB as f64 / took.as_secs_f64();
    let all = format!("{count} uploads of 64 KiB to 1 MiB at once ({} MiB)", bytes / MIB);
    row(all, format!("{took:.1?}, {rate:.0} MiB/s"));
    let peak = server.peak_memory();
    let budget = "buffers at most 32 MiB of it";
    row("RSS before · at most", format!("{before:.0} · {peak:.0} MiB ({budget})"));
    row("health meanwhile", percentiles(&spans));
    compare(&server, count);
    row("files compared", format!("{count}, all as sent"));
}

/// Every file is there, once.
fn compare(server: &Program, count: usize) {
    let mut found: HashMap<[u8; 32], usize> = HashMap::new();
    for entry in fs::read_dir(server.data().join("files")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        *found.entry(Sha256::digest(&bytes).into()).or_default() += 1;
    }
    for number in 0..count {
        let left = found.get_mut(&<[u8; 32]>::from(Sha256::digest(file(number))));
        let left = left.unwrap_or_else(|| panic!("file {number} is not there"));
        *left = left.checked_sub(1).expect("one file for each");
    }
    assert!(found.values().all(|left| *left == 0), "more files than were sent");
}

/// Clients that stop in the middle and stay.
async fn stalled(folder: &Path, count: usize) {
    let server = Program::start(folder, &["--idle-timeout=10m", "--durability=none"]);
    let before = server.memory();
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Client::open(server.address).await;
        let url = client.create(MIB).await;
        client.begin_patch(&url, MIB).await;
        client.send(&POOL[..300 * KIB]).await;
        open.push((client, url));
    }
    time::sleep(Duration::from_secs(4)).await;
    let after = server.memory();
    let each = (after - before) * 1024.0 / count as f64;
    let mut spans = Spans::new();
    for _ in 0..200 {
        let since = Instant::now();
        let mut client = Client::open(server.address).await;
        let url = client.create(KIB).await;
        client.begin_patch(&url, KIB).await;
        client.send(&POOL[..KIB]).await;
        let answer = client.answer().await;
        spans.push(since.elapsed());
        assert!([204, 503].contains(&answer.status), "{answer:?}");
    }
    row(format!("{count} uploads that stall at 300 KiB"), format!("{each:.0} KiB each"));
    row("RSS before · with them", format!("{before:.0} · {after:.0} MiB"));
    row("create + PATCH 1 KiB meanwhile", percentiles(&spans));
    let mut looker = Client::open(server.address).await;
    for (_, url) in open.iter().step_by(37) {
        assert_eq!(looker.offset(url).await, 300 * KIB, "bytes were lost");
    }
}
