//! What must stay true of a server while somebody means it harm.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    client::{Conn, Request},
    server::Server,
    tus::{Upload, request},
};

/// How long anybody else may wait for an answer. Generous: the machine of the tests is busy.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(15);
/// How soon the server is idle again.
const IDLE_WITHIN: Duration = Duration::from_secs(30);
/// Clock ticks of processor time in a second (Linux).
const TICKS: u64 = 100;

/// Asks for other things all the time, and judges at the end.
#[derive(Debug)]
pub struct Watch<'a> {
    server: &'a Server,
    memory: u64,
    leave: Arc<AtomicBool>,
    canary: JoinHandle<(usize, Duration)>,
}

impl<'a> Watch<'a> {
    /// From now on.
    pub fn begin(server: &'a Server) -> Self {
        let upload = Upload::hello(server);
        // Threads and buffers that any work needs are no growth.
        for _ in 0..20 {
            upload.head().expect(200);
        }
        let leave = Arc::new(AtomicBool::new(false));
        let (left, address) = (Arc::clone(&leave), server.address());
        let canary = thread::spawn(move || sing(address, &upload.url.clone(), &left));
        Self { server, memory: memory(server), leave, canary }
    }

    /// The attack is over: others were served, no more than `grown` MiB came to stay, nothing
    /// panicked, and the server is idle soon.
    #[track_caller]
    pub fn ends(self, grown: u64) {
        let now = memory(self.server);
        self.leave.store(true, Ordering::Relaxed);
        let (answers, longest) = self.canary.join().expect("others are answered, see above");
        assert!(answers > 0 && longest < OTHERS_WAIT_MAX, "{answers} answers, {longest:?}");
        let more = now.saturating_sub(self.memory) >> 20;
        println!("others: {answers} answers, {longest:?} at most; {more} MiB more");
        assert!(more <= grown, "{more} MiB more than before");
        is_idle_soon(self.server);
        let log = self.server.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// How many answers somebody else got, and how long the longest took.
fn sing(address: SocketAddr, url: &str, leave: &AtomicBool) -> (usize, Duration) {
    let (mut answers, mut longest) = (0, Duration::ZERO);
    while answers == 0 || !leave.load(Ordering::Relaxed) {
        let since = Instant::now();
        let health = Conn::open(address).ask(&Request::new("GET", "/healthz")).status;
        let offset = Conn::open(address).ask(&request("HEAD", url)).expect(200).offset();
        assert_eq!((health, offset), (200, 5));
        longest = longest.max(since.elapsed());
        answers += 2;
        thread::sleep(Duration::from_millis(20));
    }
    (answers, longest)
}

/// Bytes that the process has in memory (Linux).
pub fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Ticks of processor time that the process took so far.
fn ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Within a while there is half a second in which it takes less than a tenth of one processor.
#[track_caller]
fn is_idle_soon(server: &Server) {
    let deadline = Instant::now() + IDLE_WITHIN;
    loop {
        let before = ticks(server);
        thread::sleep(Duration::from_millis(500));
        let taken = ticks(server) - before;
        if taken <= TICKS / 20 {
            return;
        }
        assert!(Instant::now() < deadline, "still busy: {taken} ticks in half a second");
    }
}
