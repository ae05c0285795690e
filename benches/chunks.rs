//! What a file in chunks costs: the wait for the merge, bytes written, disk taken on the way.
//!
//! ```text
//! cargo bench --bench chunks -- [--data-dir=DIR] [--size=MIB] [--chunk=KIB] [--parallel=N]
//!     [--rounds=N] [--order=forward|shuffled|backward|all] [--durability=none|complete|ack|both]
//! ```
//!
//! A client sends a file in chunks over HTTP, several at once, and asks for the merge as soon as
//! the last one is answered; each 20 ms somebody looks how much of the disk is taken. The file's
//! SHA-256 is compared each time. Bytes and blocks are the machine's own count and the same on
//! every run, times are for people: client and server share the CPUs. Beside the blocks of the
//! files stands what the file system has taken, which means something where nobody else uses it.
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
    collections::HashMap,
    env,
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use self::program::{Server, answer, machine, noise};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Between two looks at the disk.
const LOOK: Duration = Duration::from_millis(20);

fn main() {
    let options = Options::from_args();
    let Options { size, chunk, parallel, .. } = options;
    println!("{}", machine(&options.dir));
    println!(
        "{} MiB in chunks of {} KiB, {parallel} at once; budgets: merge 100 ms, written 2.05 × the \
         size (1.0 × where blocks are shared), disk one chunk above the size",
        size / MIB,
        chunk / KIB,
    );
    let content = Content::new(size, chunk);
    for durability in &options.durabilities {
        for order in &options.orders {
            for _ in 0..options.rounds {
                println!(
                    "{durability:<8} {:<8} {}",
                    order.name(),
                    run(&options, durability, *order, &content)
                );
            }
        }
    }
}

/// What was asked for.
#[derive(Debug)]
struct Options {
    dir: PathBuf,
    size: usize,
    chunk: usize,
    parallel: usize,
    rounds: usize,
    orders: Vec<Order>,
    durabilities: Vec<String>,
}

impl Options {
    fn from_args() -> Self {
        let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let given = |name: &str| {
            let mut values = args.iter().filter_map(|arg| arg.strip_prefix(name));
            values.find_map(|rest| rest.strip_prefix('=')).map(str::to_owned)
        };
        let number = |name: &str, usual: usize| {
            given(name).map_or(usual, |text| text.parse().expect("a number"))
        };
        let dir = given("--data-dir").map_or_else(env::temp_dir, PathBuf::from);
        let order = given("--order").unwrap_or_else(|| "forward".to_owned());
        let orders = Order::ALL.into_iter().filter(|one| order == "all" || order == one.name());
        let durabilities = match given("--durability").as_deref() {
            None | Some("both") => vec!["complete".to_owned(), "none".to_owned()],
            Some(one) => vec![one.to_owned()],
        };
        Self {
            dir: dir.canonicalize().expect("--data-dir names a folder"),
            size: number("--size", 1024) * MIB,
            chunk: number("--chunk", 8 * KIB) * KIB,
            parallel: number("--parallel", 6),
            rounds: number("--rounds", 1),
            orders: orders.collect(),
            durabilities,
        }
    }
}

/// In which order chunks are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Forward,
    Shuffled,
    Backward,
}

impl Order {
    const ALL: [Self; 3] = [Self::Forward, Self::Shuffled, Self::Backward];

    const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Shuffled => "shuffled",
            Self::Backward => "backward",
        }
    }

    fn of(self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        match self {
            Self::Forward => {}
            Self::Backward => order.reverse(),
            Self::Shuffled => {
                let chance = noise(count * 8);
                for last in (1..count).rev() {
                    let word = u64::from_le_bytes(chance[last * 8..][..8].try_into().unwrap());
                    order.swap(last, usize::try_from(word >> 16).unwrap() % (last + 1));
                }
            }
        }
        order
    }
}

/// A file that is never in memory as a whole: the same noise again and again, marked by place.
#[derive(Debug)]
struct Content {
    noise: Vec<u8>,
    size: usize,
    chunk: usize,
    sha256: String,
    /// The digest over the digests of the chunks.
    composite: String,
}

impl Content {
    fn new(size: usize, chunk: usize) -> Self {
        let mut content = Self {
            noise: noise(chunk),
            size,
            chunk,
            sha256: String::new(),
            composite: String::new(),
        };
        let (mut whole, mut composite) = (Sha256::new(), Sha256::new());
        for index in 0..content.count() {
            let (mark, rest) = content.pieces(index);
            whole.update(mark);
            whole.update(rest);
            composite.update(Sha256::new().chain_update(mark).chain_update(rest).finalize());
        }
        content.sha256 = hex(&whole.finalize());
        content.composite = hex(&composite.finalize());
        content
    }

    fn count(&self) -> usize {
        self.size.div_ceil(self.chunk)
    }

    /// The bytes of a chunk: its mark, and the rest.
    fn pieces(&self, index: usize) -> ([u8; 8], &[u8]) {
        let length = self.chunk.min(self.size - index * self.chunk);
        let mark = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        (mark, &self.noise[8..length])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// One file from the first chunk to the merge; what it took, as a line for people.
fn run(options: &Options, durability: &str, order: Order, content: &Content) -> String {
    let folder = tempfile::tempdir_in(&options.dir).unwrap();
    let server = Server::start(folder.path(), &[&format!("--durability={durability}")]);
    let (order, next) = (order.of(content.count()), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    let (cpu, written, since) = (server.cpu(), Written::of(&server), Instant::now());
    thread::scope(|scope| {
        let watch = scope.spawn(|| watch(folder.path(), &done));
        let hands: Vec<_> = (0..options.parallel)
            .map(|_| scope.spawn(|| send_some(&server, content, &order, &next)))
            .collect();
        for hand in hands {
            hand.join().unwrap();
        }
        let (upload, since) = (since.elapsed(), Instant::now());
        merge(&server, content);
        let merge = since.elapsed();
        let cpu = server.cpu() - cpu;
        let written = Written::of(&server).since(&written);
        thread::sleep(2 * LOOK);
        done.store(true, Ordering::Relaxed);
        let peak = watch.join().unwrap();
        assert_eq!(sha256_of_the_file(folder.path()), content.sha256, "wrong bytes");
        let size = content.size as f64;
        format!(
            "sent in {:5.2} s ({:4.0} MiB/s), merge {:7.1} ms, CPU {cpu:.2} s, written {:.3} × \
             ({:.3} × taken back), disk {:.1} MiB (size {:+.2} chunks), file system {:.1} \
             MiB, load {}",
            upload.as_secs_f64(),
            size / MIB as f64 / upload.as_secs_f64(),
            merge.as_secs_f64() * 1e3,
            written.total / size,
            written.cancelled / size,
            peak.blocks / MIB as f64,
            (peak.blocks - size) / content.chunk as f64,
            peak.system / MIB as f64,
            fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap(),
        )
    })
}

/// Sends the next chunk until there is none.
fn send_some(server: &Server, content: &Content, order: &[usize], next: &AtomicUsize) {
    let mut stream = server.connect();
    while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
        let (mark, rest) = content.pieces(index);
        let (total, size, chunk) = (content.count(), content.size, content.chunk);
        let length = mark.len() + rest.len();
        write!(
            stream,
            "PUT /upload?hash=0123456789abcdef&filename=a.bin&index={index}&total={total}\
             &size={size}&chunk_size={chunk} HTTP/1.1\r\nHost: piton\r\n\
             Content-Length: {length}\r\nContent-Type: application/octet-stream\r\n\r\n",
        )
        .unwrap();
        stream.write_all(&mark).unwrap();
        stream.write_all(rest).unwrap();
        let (status, body) = whole_answer(&mut stream);
        assert_eq!(status, 201, "{body}");
    }
}

fn merge(server: &Server, content: &Content) {
    let mut stream = server.connect();
    let body = format!(
        "{{\"hash\":\"0123456789abcdef\",\"filename\":\"a.bin\",\"digest\":\"{}\"}}",
        content.composite,
    );
    loop {
        write!(
            stream,
            "POST /merge HTTP/1.1\r\nHost: piton\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len(),
        )
        .unwrap();
        match whole_answer(&mut stream) {
            (200 | 201, _) => return,
            (202, _) => thread::sleep(LOOK),
            other => panic!("{other:?}"),
        }
    }
}

fn whole_answer(stream: &mut TcpStream) -> (u16, String) {
    let head = answer(stream);
    let length = head.header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head.status, String::from_utf8_lossy(&body).into_owned())
}

/// Bytes that a process made dirty, and those of them that went before the disk had them.
#[derive(Debug)]
struct Written {
    total: f64,
    cancelled: f64,
}

impl Written {
    fn of(server: &Server) -> Self {
        let io = fs::read_to_string(server.proc("io")).unwrap();
        let field = |name: &str| {
            let mut lines = io.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().unwrap().trim().parse::<f64>().unwrap()
        };
        Self { total: field("write_bytes:"), cancelled: field("cancelled_write_bytes:") }
    }

    fn since(self, before: &Self) -> Self {
        let (total, cancelled) = (self.total - before.total, self.cancelled - before.cancelled);
        Self { total, cancelled }
    }
}

/// The most bytes that were taken at once.
#[derive(Debug)]
struct Peak {
    /// By the blocks of all files, reserved ones too.
    blocks: f64,
    /// By the file system's own count; others may use it too.
    system: f64,
}

fn watch(folder: &Path, done: &AtomicBool) -> Peak {
    let before = taken_of_system(folder);
    let mut peak = Peak { blocks: 0.0, system: 0.0 };
    while !done.load(Ordering::Relaxed) {
        peak.blocks = peak.blocks.max(taken_below(folder) as f64);
        peak.system = peak.system.max(taken_of_system(folder) - before);
        thread::sleep(LOOK);
    }
    peak
}

/// Bytes of the blocks of all files below `folder`, each file once whatever names it has.
fn taken_below(folder: &Path) -> u64 {
    fn collect(folder: &Path, found: &mut HashMap<(u64, u64), u64>) {
        // Files and folders may go while we look.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                collect(&entry.path(), found);
            } else {
                found.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
            }
        }
    }
    let mut found = HashMap::new();
    collect(folder, &mut found);
    found.values().sum()
}

fn taken_of_system(folder: &Path) -> f64 {
    let found = rustix::fs::statvfs(folder).unwrap();
    (found.f_blocks - found.f_bfree) as f64 * found.f_frsize as f64
}

fn sha256_of_the_file(folder: &Path) -> String {
    let data = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut files = fs::read_dir(data.join("files")).unwrap();
    let mut file = File::open(files.next().unwrap().unwrap().path()).unwrap();
    assert!(files.next().is_none(), "one file");
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; MIB]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hex(&digest.finalize()),
            read => digest.update(&buffer[..read]),
        }
    }
}
