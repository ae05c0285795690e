//! What receiving a file costs, as a ratio to the same work done by hand in the same minutes.
//!
//! ```text
//! cargo bench --bench upload -- [--quick] [--rss] [--finish] [--dir DIR]
//! ```
//!
//! A calibration thread receives, hashes and writes with nothing in between; the program does the
//! same behind HTTP. Both run in turn, round after round, on the same disk. CPU is that of the
//! receiving side alone. Nothing here fails on a slow machine: the figures are for people.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement may fail loudly, tell the time, and clean up after itself"
)]

mod program;

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use self::program::{Server, answer, cpu_seconds, machine, noise};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: f64 = (1024 * MIB) as f64;

fn main() {
    let options = Options::from_args();
    let folder = tempfile::tempdir_in(&options.dir).unwrap();
    println!("{}, --durability none", machine(folder.path()));
    costs(&options, &folder);
    takeover(&options, &folder);
    if options.finish {
        finish(&options, &folder);
    }
    if options.rss {
        memory(&options, &folder);
    }
}

/// What was asked for.
#[derive(Debug)]
struct Options {
    quick: bool,
    rss: bool,
    finish: bool,
    dir: PathBuf,
}

impl Options {
    fn from_args() -> Self {
        let args: Vec<String> = env::args().skip(1).collect();
        let named = |name: &str| args.iter().any(|arg| arg == name);
        let dir = args.iter().position(|arg| arg == "--dir").and_then(|at| args.get(at + 1));
        let dir = dir.map_or_else(env::temp_dir, PathBuf::from);
        Self {
            quick: named("--quick"),
            rss: named("--rss"),
            finish: named("--finish"),
            dir: dir.canonicalize().expect("--dir names a folder"),
        }
    }

    /// Bytes of one measurement.
    fn size(&self) -> usize {
        if self.quick { 64 * MIB } else { 512 * MIB }
    }

    fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }
}

/// What one measurement took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

impl Cost {
    fn per_gib(self, bytes: usize) -> Self {
        let share = bytes as f64 / GIB;
        Self { cpu: self.cpu / share, wall: self.wall / share }
    }
}

/// All rounds of one variant, in seconds per GiB.
#[derive(Debug)]
struct Row {
    name: String,
    /// The row of the calibration that this one is compared with.
    against: usize,
    rounds: Vec<Cost>,
}

impl Row {
    fn best(&self, field: fn(&Cost) -> f64) -> (f64, f64) {
        let mut values: Vec<f64> = self.rounds.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        (values[0], values[values.len() / 2])
    }
}

/// One way to send one measurement's bytes.
#[derive(Debug, Clone, Copy)]
enum Way {
    OnePatch,
    ManyPatches,
    FourUploads,
}

const WAYS: [(Way, &str); 3] = [
    (Way::OnePatch, "one PATCH"),
    (Way::ManyPatches, "PATCHes of 8 MiB"),
    (Way::FourUploads, "4 uploads at once"),
];

/// CPU and wall time of receiving, against the calibration.
fn costs(options: &Options, folder: &TempDir) {
    let size = options.size();
    let servers = ["sha256", "none"].map(|digest| {
        let digest = format!("--chunk-digest={digest}");
        Server::start(folder.path(), &[&digest, "--durability=none"])
    });
    let row = |name: String, against| Row { name, against, rounds: Vec::new() };
    let mut rows = vec![
        row("calibration: recv + SHA-256 + write".to_owned(), 0),
        row("calibration: recv + write".to_owned(), 1),
    ];
    for (against, digest) in ["sha256", "none"].iter().enumerate() {
        rows.extend(WAYS.map(|(_, name)| row(format!("{digest}: {name}"), against)));
    }
    // The first round warms up and is not counted.
    for round in 0..=options.rounds() {
        let mut costs =
            vec![calibrate(folder.path(), size, true), calibrate(folder.path(), size, false)];
        for server in &servers {
            costs.extend(WAYS.map(|(way, _)| server.measure(size, way)));
        }
        for (row, cost) in rows.iter_mut().zip(costs) {
            if round > 0 {
                row.rounds.push(cost.per_gib(size));
            }
        }
    }
    print_rows(&rows, size, options.rounds());
}

fn print_rows(rows: &[Row], size: usize, rounds: usize) {
    println!("\n{} MiB a time, {rounds} rounds, min · median; s/GiB", size / MIB);
    println!("{:<38} {:^17} {:^17} {:^17}", "", "CPU", "CPU / calibration", "wall");
    for row in rows {
        let (cpu, cpu_median) = row.best(|cost| cost.cpu);
        let (wall, wall_median) = row.best(|cost| cost.wall);
        let (base, base_median) = rows[row.against].best(|cost| cost.cpu);
        println!(
            "{:<38} {} {} {}",
            row.name,
            pair(cpu, cpu_median),
            pair(cpu / base, cpu_median / base_median),
            pair(wall, wall_median),
        );
    }
}

fn pair(min: f64, median: f64) -> String {
    format!("{min:>7.2} · {median:<7.2}")
}

/// Receives and writes `size` bytes, hashed or not, in a thread of its own whose CPU is taken.
fn calibrate(folder: &Path, size: usize, hashed: bool) -> Cost {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = folder.join("calibration");
    let receiver = thread::spawn({
        let path = path.clone();
        move || receive(&listener, &path, size, hashed)
    });
    let mut stream = TcpStream::connect(address).unwrap();
    let since = Instant::now();
    send(&mut stream, size);
    stream.read_exact(&mut [0]).unwrap();
    let wall = since.elapsed().as_secs_f64();
    let cpu = receiver.join().unwrap();
    fs::remove_file(path).unwrap();
    Cost { cpu, wall }
}

/// The receiving side of the calibration; its CPU seconds.
fn receive(listener: &TcpListener, path: &Path, size: usize, hashed: bool) -> f64 {
    let (mut stream, _) = listener.accept().unwrap();
    let mut file = File::create(path).unwrap();
    let (mut buffer, mut digest) = (vec![0; 256 * KIB], Sha256::new());
    let before = cpu_seconds("/proc/thread-self/stat");
    let mut left = size;
    while left > 0 {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the sender stopped early");
        if hashed {
            digest.update(&buffer[..read]);
        }
        file.write_all(&buffer[..read]).unwrap();
        left -= read;
    }
    std::hint::black_box(digest.finalize());
    stream.write_all(b".").unwrap();
    cpu_seconds("/proc/thread-self/stat") - before
}

/// Sends `size` bytes that no disk could compress.
fn send(stream: &mut TcpStream, size: usize) {
    static PIECE: LazyLock<Vec<u8>> = LazyLock::new(|| noise(MIB));
    let mut left = size;
    while left > 0 {
        let now = left.min(PIECE.len());
        stream.write_all(&PIECE[..now]).unwrap();
        left -= now;
    }
}

/// What is measured of it.
impl Server {
    /// The most memory it ever had, in MiB.
    fn peak_memory(&self) -> f64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Uploads `size` bytes in all; deleting them again is not counted.
    fn measure(&self, size: usize, way: Way) -> Cost {
        let (cpu, since) = (self.cpu(), Instant::now());
        let urls = match way {
            Way::OnePatch => vec![self.upload(size, size)],
            Way::ManyPatches => vec![self.upload(size, 8 * MIB)],
            Way::FourUploads => self.upload_at_once(4, size / 4),
        };
        let cost = Cost { cpu: self.cpu() - cpu, wall: since.elapsed().as_secs_f64() };
        self.delete(&urls);
        cost
    }

    fn upload_at_once(&self, count: usize, size: usize) -> Vec<String> {
        thread::scope(|scope| {
            let hands: Vec<_> =
                (0..count).map(|_| scope.spawn(|| self.upload(size, size))).collect();
            hands.into_iter().map(|hand| hand.join().unwrap()).collect()
        })
    }

    /// Uploads `size` bytes, `step` in each PATCH; the upload's URL.
    fn upload(&self, size: usize, step: usize) -> String {
        let mut stream = self.connect();
        let url = create(&mut stream, size);
        let mut offset = 0;
        while offset < size {
            let now = step.min(size - offset);
            begin_patch(&mut stream, &url, offset, now);
            send(&mut stream, now);
            assert_eq!(answer(&mut stream).status, 204);
            offset += now;
        }
        url
    }

    fn delete(&self, urls: &[String]) {
        let mut stream = self.connect();
        for url in urls {
            write!(stream, "DELETE {url} HTTP/1.1\r\n{COMMON}\r\n").unwrap();
            assert_eq!(answer(&mut stream).status, 204);
        }
    }
}

/// Headers of every request.
const COMMON: &str = "Host: piton\r\nTus-Resumable: 1.0.0\r\n";

fn create(stream: &mut TcpStream, size: usize) -> String {
    let length = format!("Upload-Length: {size}\r\nContent-Length: 0\r\n");
    write!(stream, "POST /files/ HTTP/1.1\r\n{COMMON}{length}\r\n").unwrap();
    let answer = answer(stream);
    assert_eq!(answer.status, 201);
    answer.header("location").expect("a 201 has a Location")
}

fn begin_patch(stream: &mut TcpStream, url: &str, offset: usize, length: usize) {
    let media_type = "Content-Type: application/offset+octet-stream\r\n";
    let numbers = format!("Upload-Offset: {offset}\r\nContent-Length: {length}\r\n");
    write!(stream, "PATCH {url} HTTP/1.1\r\n{COMMON}{media_type}{numbers}\r\n").unwrap();
}

/// How long a newcomer waits for an upload whose PATCH stalls.
fn takeover(options: &Options, folder: &TempDir) {
    let server = Server::start(folder.path(), &[]);
    let (mut heads, mut patches) = (Vec::new(), Vec::new());
    for _ in 0..if options.quick { 5 } else { 20 } {
        let (mut old, mut newcomer) = (server.connect(), server.connect());
        let url = create(&mut newcomer, 64 * MIB);
        begin_patch(&mut old, &url, 0, 64 * MIB);
        send(&mut old, MIB);
        thread::sleep(Duration::from_millis(50));
        let since = Instant::now();
        write!(newcomer, "HEAD {url} HTTP/1.1\r\n{COMMON}\r\n").unwrap();
        let head = answer(&mut newcomer);
        heads.push(since.elapsed());
        assert_eq!(head.header("upload-offset"), Some(MIB.to_string()), "bytes were lost");
        let mut third = server.connect();
        begin_patch(&mut newcomer, &url, MIB, MIB);
        send(&mut newcomer, KIB);
        thread::sleep(Duration::from_millis(50));
        let since = Instant::now();
        begin_patch(&mut third, &url, MIB + KIB, KIB);
        send(&mut third, KIB);
        assert_eq!(answer(&mut third).status, 204);
        patches.push(since.elapsed());
        server.delete(&[url]);
    }
    println!("\ntakeover of a stalled PATCH, min · median · max (budget 10 ms)");
    print_spans("by HEAD", heads);
    print_spans("by PATCH", patches);
}

/// How long the last answer takes once the last byte is sent.
fn finish(options: &Options, folder: &TempDir) {
    let size = if options.quick { 64 * MIB } else { 1024 * MIB };
    println!("\nfinish of {} MiB by tus, min · median · max (budget 5 ms)", size / MIB);
    for durability in ["none", "complete"] {
        let server = Server::start(folder.path(), &[&format!("--durability={durability}")]);
        let (mut whole, mut single) = (Vec::new(), Vec::new());
        for _ in 0..if options.quick { 2 } else { 5 } {
            let mut stream = server.connect();
            let url = create(&mut stream, size);
            begin_patch(&mut stream, &url, 0, size);
            send(&mut stream, size);
            let since = Instant::now();
            assert_eq!(answer(&mut stream).status, 204);
            whole.push(since.elapsed());
            server.delete(&[url]);

            let url = create(&mut stream, size);
            begin_patch(&mut stream, &url, 0, size - 1);
            send(&mut stream, size - 1);
            assert_eq!(answer(&mut stream).status, 204);
            let since = Instant::now();
            begin_patch(&mut stream, &url, size - 1, 1);
            send(&mut stream, 1);
            assert_eq!(answer(&mut stream).status, 204);
            single.push(since.elapsed());
            server.delete(&[url]);
        }
        // The first includes what the sockets between us still held.
        print_spans(&format!("{durability}: after the last byte of one PATCH"), whole);
        print_spans(&format!("{durability}: a PATCH of the last byte alone"), single);
    }
}

/// The most memory that 100 uploads at once take.
fn memory(options: &Options, folder: &TempDir) {
    let size = if options.quick { 8 * MIB } else { 64 * MIB };
    let server = Server::start(folder.path(), &["--durability=none"]);
    let idle = server.peak_memory();
    let urls = server.upload_at_once(100, size);
    println!(
        "\npeak memory with 100 uploads of {} MiB at once: {:.1} MiB ({idle:.1} MiB when idle)",
        size / MIB,
        server.peak_memory(),
    );
    server.delete(&urls);
}

fn print_spans(name: &str, mut spans: Vec<Duration>) {
    spans.sort();
    let ms = |at: usize| spans[at].as_secs_f64() * 1e3;
    let (middle, last) = (spans.len() / 2, spans.len() - 1);
    println!("{name:<50} {:>7.2} · {:.2} · {:.2} ms", ms(0), ms(middle), ms(last));
}
