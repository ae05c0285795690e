//! Many at once: whoever is answered has the right bytes, whoever is refused succeeds later, and
//! the server's health is told all the time. `cargo bench --bench load` is the long form, with
//! figures.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Answer, Conn, Request},
    digest::sha256_hex,
    random::Random,
    server::Server,
    tus::{Upload, append, create, create_with, patch, request},
};

/// However busy the machine is, the health is told within this time.
const HEALTHY: Duration = Duration::from_secs(15);

/// Ends the watch, also where a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at the health all the time while `work` runs; returns the longest answer.
fn watching_health<T>(server: &Server, work: impl FnOnce() -> T) -> (T, Duration) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let since = Instant::now();
                server.ask(&Request::new("GET", "/healthz")).expect(200);
                longest = longest.max(since.elapsed());
                thread::sleep(Duration::from_millis(20));
            }
            longest
        });
        let ends = Ends(&over);
        let done = work();
        drop(ends);
        let longest = watch.join().unwrap();
        assert!(longest < HEALTHY, "the health took {longest:?}");
        (done, longest)
    })
}

/// The finished files by what they hold, and how often that is there.
fn finished(server: &Server) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for path in server.finished() {
        *found.entry(sha256_hex(&fs::read(path).unwrap())).or_default() += 1;
    }
    found
}

fn expected<'a>(files: impl IntoIterator<Item = &'a Vec<u8>>) -> BTreeMap<String, usize> {
    let mut expected = BTreeMap::new();
    for bytes in files {
        *expected.entry(sha256_hex(bytes)).or_default() += 1;
    }
    expected
}

/// Files of many sizes, around those where the server changes its ways.
fn files(count: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let size = |n: usize, random: &mut Random| match n % 4 {
        0 => random.between(1, 2000),
        1 => random.between(60_000, 70_000),
        2 => random.between(65_536, 131_073),
        _ => random.between(1, 300_000),
    };
    (0..count)
        .map(|n| {
            let size = size(n, random);
            random.bytes(size as usize)
        })
        .collect()
}

// spec: CORE-12
#[test]
fn two_thousand_idle_connections_do_not_hinder_three_hundred_active_ones() {
    let server = Server::start();
    let mut idle: Vec<Conn> = (0..2000).map(|_| server.connect()).collect();
    for connection in &mut idle {
        connection.ask(&Request::new("GET", "/healthz")).expect(200);
    }
    let files = files(300, &mut Random::announced("idle and active"));
    let mut active: Vec<Conn> = files.iter().map(|_| server.connect()).collect();
    let ((), _) = watching_health(&server, || {
        for (connection, bytes) in active.iter_mut().zip(&files) {
            let begun = create(bytes.len() as u64)
                .header("Content-Type", "application/offset+octet-stream")
                .announcing(bytes.len() as u64);
            connection.send(&begun);
            connection.raw(&bytes[..bytes.len() / 2]);
        }
        for (connection, bytes) in active.iter_mut().zip(&files) {
            connection.raw(&bytes[bytes.len() / 2..]);
        }
        for connection in &mut active {
            connection.answer("POST").expect(201);
        }
    });
    assert_eq!(finished(&server), expected(&files));
    for connection in idle.iter_mut().step_by(100) {
        connection.ask(&Request::new("GET", "/healthz")).expect(200);
    }
}

// spec: CORE-81
#[test]
fn five_hundred_uploads_at_once_have_the_right_bytes() {
    let server = Server::with(&["--memory-budget=4MiB"]);
    let mut random = Random::announced("five hundred");
    let files = files(500, &mut random);
    let uploads: Vec<Upload> =
        files.iter().map(|bytes| Upload::new(&server, bytes.len() as u64)).collect();
    let (mut open, _) = watching_health(&server, || {
        let mut open: Vec<Conn> = Vec::new();
        for (upload, bytes) in uploads.iter().zip(&files) {
            let length = bytes.len() as u64;
            open.push(server.begin(&append(&upload.url, 0).announcing(length)));
        }
        let mut sent = vec![0; files.len()];
        let order: Vec<usize> = (0..files.len()).flat_map(|n| [n; 4]).collect();
        for n in random.shuffled(order) {
            let to = (sent[n] + files[n].len() / 4 + 1).min(files[n].len());
            open[n].raw(&files[n][sent[n]..to]);
            sent[n] = to;
        }
        open
    });
    for (connection, bytes) in open.iter_mut().zip(&files) {
        let answer = connection.answer("PATCH").expect(204);
        assert_eq!(answer.offset(), bytes.len() as u64);
    }
    assert_eq!(finished(&server), expected(&files));
}

/// What clients were answered, by status.
#[derive(Debug, Default)]
struct Tally(Mutex<BTreeMap<u16, usize>>);

impl Tally {
    #[track_caller]
    fn note(&self, answer: Answer) -> Answer {
        let answer = answer.expect_one(&[200, 201, 204, 503]);
        if answer.status == 503 {
            answer.needs("Retry-After");
        }
        *self.0.lock().unwrap().entry(answer.status).or_default() += 1;
        answer
    }

    fn of(&self, status: u16) -> usize {
        self.0.lock().unwrap().get(&status).copied().unwrap_or_default()
    }
}

/// Sends a file slowly, and comes again as often as it is refused.
fn insist(server: &Server, bytes: &[u8], tally: &Tally) {
    let (half, length) = (bytes.len() / 2, bytes.len() as u64);
    let mut random = Random::seeded(length);
    loop {
        let mut connection = server.connect();
        let head = create_with(length, "").announcing(length);
        let sent = connection.try_raw(&head.wire()).and_then(|()| {
            connection.try_raw(&bytes[..half])?;
            thread::sleep(Duration::from_millis(random.between(50, 300)));
            connection.try_raw(&bytes[half..])
        });
        let since = Instant::now();
        let answer = connection.try_answer("POST");
        let answer = answer.unwrap_or_else(|error| {
            panic!("no answer after {:?}: {error}; sent: {sent:?}", since.elapsed())
        });
        let answer = tally.note(answer);
        if answer.status == 201 {
            sent.unwrap();
            return;
        }
        thread::sleep(Duration::from_millis(random.between(20, 400)));
    }
}

fn overloaded(options: &[&str], clients: usize) {
    let server = Server::with(options);
    let files = files(clients, &mut Random::announced("overloaded"));
    let tally = Tally::default();
    let ((), longest) = watching_health(&server, || {
        thread::scope(|scope| {
            for bytes in &files {
                scope.spawn(|| insist(&server, bytes, &tally));
            }
        });
    });
    println!("{options:?}: {tally:?}, health within {longest:?}");
    assert!(tally.of(503) > 0, "nobody was refused: {tally:?}");
    assert_eq!(tally.of(201), clients);
    assert_eq!(finished(&server), expected(&files));
}

// spec: CORE-80
#[test]
fn four_times_as_many_clients_as_connections_all_succeed_in_the_end() {
    overloaded(&["--max-connections=50"], 200);
}

// spec: CORE-81
#[test]
fn ten_times_as_many_uploads_as_places_all_succeed_in_the_end() {
    overloaded(&["--max-uploads=10", "--queue-wait=100ms"], 100);
}

/// A process with a disk that takes its time over every write. `None` where it cannot be had.
fn slow_disk(server: &Server) -> Option<std::process::Child> {
    let mut child = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=pwrite64,pwritev,write", "-o", "/dev/null"])
        .args(["-e", "inject=pwrite64,pwritev:delay_enter=30000", "-p"])
        .arg(server.pid().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let status = format!("/proc/{}/status", server.pid());
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if !fs::read_to_string(&status).ok()?.contains("TracerPid:\t0") {
            return Some(child);
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().ok()?;
    child.wait().ok()?;
    None
}

// spec: CORE-80, CORE-81
#[test]
fn on_a_slow_disk_uploads_wait_and_the_health_is_told() {
    let server = Server::with(&["--max-uploads=40", "--queue-wait=1s"]);
    let upload = Upload::new(&server, 11);
    let Some(mut tracer) = slow_disk(&server) else {
        println!("skipped: strace may not trace here");
        return;
    };
    let files = files(100, &mut Random::announced("slow disk"));
    let (tally, heads) = (Tally::default(), AtomicUsize::new(0));
    watching_health(&server, || {
        thread::scope(|scope| {
            let work: Vec<_> =
                files.iter().map(|bytes| scope.spawn(|| insist(&server, bytes, &tally))).collect();
            while work.iter().any(|work| !work.is_finished()) {
                assert_eq!(server.ask(&request("HEAD", &upload.url)).expect(200).offset(), 0);
                heads.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    let _ = tracer.kill();
    let _ = tracer.wait();
    println!("slow disk: {tally:?}, {heads:?} heads");
    assert_eq!(finished(&server), expected(&files));
    server.ask(&patch(&upload.url, 0, "hello world")).expect(204);
}
