//! More than the server takes on: 503 with `Retry-After` before anything breaks, and the server's
//! health told all the time.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::{
    chunks::Parts,
    client::{Answer, Conn, Request},
    h2::H2,
    server::{Server, until},
    tus::{FILES, Upload, append, create, create_with, patch, request},
};

const SOON: Duration = Duration::from_secs(20);
/// Longer than a connection has to be idle before it may be closed for another.
const IDLE: Duration = Duration::from_millis(2300);

fn health() -> Request {
    Request::new("GET", "/healthz")
}

/// The refusal of somebody who comes beyond a limit.
#[track_caller]
fn is_overloaded(answer: Answer) {
    let answer = answer.refused_as(503, "overloaded");
    let seconds: u64 = answer.needs("Retry-After").parse().unwrap();
    assert!((1..=4).contains(&seconds), "{answer:?}");
}

/// A counter of `/metrics`.
#[track_caller]
fn counted(server: &Server, name: &str) -> u64 {
    let page = server.ask(&Request::new("GET", "/metrics")).expect(200);
    let page = String::from_utf8(page.body).unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

#[track_caller]
fn refused(server: &Server, surplus: &str) -> u64 {
    counted(server, &format!("piton_refused_total{{surplus=\"{surplus}\"}}"))
}

/// The log once it has this word in it: a thread of ours reads it, and may be late.
#[track_caller]
pub fn logged(server: &Server, word: &str) -> String {
    until(|| server.log().contains(word), || format!("no {word:?} in {}", server.log()));
    server.log()
}

/// A PATCH of which 5 of 11 bytes are sent and have been read. It has its place: nobody is told to
/// send before that.
#[track_caller]
fn has_place(upload: &Upload) -> Conn {
    let before = upload.server.received();
    let asking = append(&upload.url, 0).announcing(11).header("Expect", "100-continue");
    let mut connection = upload.server.begin(&asking);
    assert_eq!(connection.head().unwrap().0, 100);
    connection.raw("hello");
    upload.server.has_received(before + 5);
    connection
}

// spec: CORE-80
#[test]
fn who_was_idle_for_the_longest_time_gives_way_to_a_newcomer() {
    let server = Server::with(&["--max-connections=4"]);
    let uploads: Vec<Upload> = (0..3).map(|_| Upload::new(&server, 11)).collect();
    server.has_open(0);
    // The first one never says anything, and the third one speaks HTTP/2.
    let mut first = server.connect();
    server.has_open(1);
    let mut second = server.connect();
    second.ask(&health()).expect(200);
    let mut third = H2::open(server.address());
    third.ask(&health()).expect(200);
    let mut fourth = server.connect();
    thread::sleep(IDLE);
    fourth.ask(&health()).expect(200);
    let mut busy = vec![uploads[0].stall(0, 11, b"hello")];
    first.closes_within(SOON);
    busy.push(uploads[1].stall(0, 11, b"hello"));
    second.closes_within(SOON);
    busy.push(uploads[2].stall(0, 11, b"hello"));
    // The others work, or have only just worked.
    fourth.ask(&health()).expect(200);
    is_overloaded(server.ask(&create(11)));
    fourth.ask(&health()).expect(200);
    for connection in &mut busy {
        connection.raw(" world");
        connection.answer("PATCH").expect(204);
    }
    drop((busy, fourth));
    server.has_open(0);
    for upload in &uploads {
        upload.is_file(b"hello world");
    }
    assert_eq!(refused(&server, "connection"), 1);
}

// spec: CORE-80: what was sent before somebody else came is answered, and not closed upon.
#[test]
fn who_asks_just_before_its_place_is_given_away_is_answered() {
    // One connection each: nobody else can be asked to go before it has said anything.
    let servers: Vec<Server> = (0..15).map(|_| Server::with(&["--max-connections=1"])).collect();
    let mut idle: Vec<Conn> = servers.iter().map(Server::connect).collect();
    for connection in &mut idle {
        connection.ask(&health()).expect(200);
    }
    thread::sleep(IDLE);
    for (server, connection) in servers.iter().zip(&mut idle) {
        connection.send(&health());
        let _newcomer = server.connect();
        connection.answer("GET").expect(200);
    }
}

// spec: CORE-80, CORE-13
#[test]
fn a_connection_too_many_is_told_so_and_looks_are_answered() {
    let server = Server::with(&["--max-connections=2"]);
    let uploads = [Upload::new(&server, 11), Upload::new(&server, 11)];
    server.has_open(0);
    let mut busy: Vec<Conn> = uploads.iter().map(|upload| upload.stall(0, 11, b"hello")).collect();
    thread::sleep(IDLE);
    let since = Instant::now();
    for refused in [
        create(11),
        create_with(11, vec![7; 11]),
        create_with(4 << 20, vec![7; 4 << 20]),
        patch(&uploads[0].url, 5, " world"),
        Parts::hello().put(0),
        Request::new("GET", "/"),
    ] {
        let mut connection = server.connect();
        let answer = connection.ask(&refused);
        assert_eq!(answer.header("Connection"), Some("close"), "{answer:?}");
        let of_tus = refused.target.starts_with(FILES);
        assert_eq!(answer.header("Tus-Resumable").is_some(), of_tus, "{answer:?}");
        is_overloaded(answer);
        assert!(connection.closes_within(SOON).is_empty());
    }
    is_overloaded(H2::open(server.address()).ask(&create(11)));
    H2::open(server.address()).ask(&health()).expect(200);
    for told in [
        health(),
        Request::new("GET", "/metrics"),
        Request::new("OPTIONS", FILES),
        Request::new("GET", "/upload/status?hash=0123456789abcdef"),
    ] {
        let mut connection = server.connect();
        connection.ask(&told).expect_one(&[200, 204]);
        connection.closes_within(SOON);
    }
    assert_eq!(refused(&server, "connection"), 13);
    // Told once, and again after 10 s at the earliest.
    let told = logged(&server, "--max-connections").matches("--max-connections").count() as u64;
    assert!(told <= 1 + since.elapsed().as_secs() / 10, "{}", server.log());
    // A look takes an upload over as ever, which frees a place.
    assert_eq!(uploads[0].head().expect(200).offset(), 5);
    busy[0].closes_within(SOON);
    assert_eq!(uploads[0].patch(5, " world").expect(204).offset(), 11);
    busy[1].raw(" world");
    busy[1].answer("PATCH").expect(204);
    uploads[1].is_file(b"hello world");
}

// spec: CORE-80: the word of a client makes nothing of a chunk.
#[test]
fn no_bytes_come_in_through_the_lobby_under_another_name() {
    let server = Server::with(&["--max-connections=1"]);
    let upload = Upload::new(&server, 11);
    server.has_open(0);
    let mut busy = upload.stall(0, 11, b"hello");
    let chunk = Parts::hello().put(0);
    for method in ["HEAD", "DELETE"] {
        let mut disguised = chunk.clone().header("X-HTTP-Method-Override", method);
        "POST".clone_into(&mut disguised.method);
        is_overloaded(server.connect().ask(&disguised));
    }
    let mut look = request("POST", &upload.url).header("X-HTTP-Method-Override", "HEAD");
    look.body.clear();
    server.connect().ask(&look).expect(200);
    busy.closes_within(SOON);
}

// spec: CORE-80: silence in the lobby keeps nobody out.
#[test]
fn a_flood_of_silent_connections_does_not_hide_the_health() {
    let server = Server::with(&["--max-connections=1"]);
    let upload = Upload::new(&server, 11);
    server.has_open(0);
    let mut busy = upload.stall(0, 11, b"hello");
    let mut silent = Vec::new();
    for round in 0..1500 {
        silent.push(server.connect());
        if round % 150 == 149 {
            let since = Instant::now();
            server.ask(&health()).expect(200);
            assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
        }
    }
    let pid = server.pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(open < 1200, "{open} descriptors");
    busy.raw(" world");
    busy.answer("PATCH").expect(204);
    busy.finish();
    busy.closes_within(SOON);
    upload.is_file(b"hello world");
}

// spec: CORE-81
#[test]
fn a_body_too_many_waits_a_little_and_is_refused_unread() {
    let server = Server::with(&["--max-uploads=2", "--queue-wait=4s"]);
    let uploads: Vec<Upload> = (0..3).map(|_| Upload::new(&server, 11)).collect();
    let mut running: Vec<Conn> = uploads[..2].iter().map(has_place).collect();
    let since = Instant::now();
    let expecting = append(&uploads[2].url, 0).announcing(11).header("Expect", "100-continue");
    let mut waiting = [
        server.begin(&expecting),
        server.begin(&patch(&uploads[2].url, 0, "hello world")),
        server.begin(&create_with(11, "hello")),
    ];
    let mut chunk = server.begin(&Parts::hello().put(0));
    // Whatever brings no bytes is served.
    server.ask(&health()).expect(200);
    assert_eq!(uploads[2].head().expect(200).offset(), 0);
    let created = Upload::new(&server, 11);
    created.delete().expect(204);
    server.ask(&request("OPTIONS", FILES)).expect(204);
    for connection in &mut waiting {
        let answer = connection.answer("PATCH");
        assert!(answer.interim.is_empty(), "{answer:?}");
        is_overloaded(answer);
    }
    let waited = since.elapsed();
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
    is_overloaded(H2::open(server.address()).ask(&patch(&uploads[2].url, 0, "hello world")));
    is_overloaded(chunk.answer("POST"));
    let waited = since.elapsed();
    assert!(waited >= Duration::from_millis(3900), "{waited:?}");
    assert_eq!(refused(&server, "upload"), 5);
    assert_eq!(uploads[2].head().expect(200).offset(), 0);
    // One place is free again: the next one has it, and who waits gets it in time.
    running[0].raw(" world");
    running[0].answer("PATCH").expect(204);
    uploads[2].patch(0, "hello world").expect(204);
    let upload = Upload::new(&server, 11);
    running[0] = has_place(&upload);
    let mut chunk = server.begin(&Parts::hello().put(0));
    thread::sleep(Duration::from_millis(200));
    running[1].raw(" world");
    running[1].answer("PATCH").expect(204);
    chunk.answer("POST").expect(201);
    // A look frees the place of the one that it takes the upload from.
    assert_eq!(upload.head().expect(200).offset(), 5);
    upload.patch(5, " world").expect(204);
    let files = server.finished();
    assert_eq!(files.len(), 4);
    assert!(files.iter().all(|file| fs::read(file).unwrap() == b"hello world"));
}

/// How many descriptors the process may open from now on; those that are open stay.
fn limit_descriptors(server: &Server, current: u64) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    // It has our hard limit, which only root could raise again.
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
}

// spec: CORE-82: and nothing is lost by it.
#[test]
fn without_descriptors_requests_are_refused_and_nothing_is_lost() {
    let mut server = Server::start();
    let path = {
        let upload = Upload::hello(&server);
        upload.url.clone()
    };
    // Nothing is open of it any more.
    server.restart();
    let mut open = server.connect();
    open.ask(&health()).expect(200);
    limit_descriptors(&server, 0);
    is_overloaded(open.ask(&create(11)));
    is_overloaded(open.ask(&create_with(11, "hello")));
    is_overloaded(open.ask(&patch(&path, 5, " world")));
    is_overloaded(open.ask(&Parts::hello().put(0)));
    let told = open.ask(&request("HEAD", &path)).expect(423);
    told.needs("Retry-After");
    open.ask(&health()).expect(200);
    let mut newcomer = server.begin(&health());
    assert!(newcomer.silent_for(Duration::from_secs(1)));
    let said = "could not accept a connection";
    let lines = logged(&server, said).matches(said).count();
    assert!(lines == 1, "{lines} lines");
    limit_descriptors(&server, 1024);
    newcomer.answer("GET").expect(200);
    // The open connection may have been closed for the newcomer meanwhile.
    assert_eq!(server.ask(&request("HEAD", &path)).expect(200).offset(), 5);
    assert_eq!(server.ask(&patch(&path, 5, " world")).expect(204).offset(), 11);
    assert_eq!(server.the_file(), b"hello world");
}

/// What a server says that starts under this limit of open files, and its own limits, once it
/// answers.
fn started_under(ulimit: &str, args: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("{ulimit}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_piton")])
        .args(["--listen=127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .args(args)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().rsplit("://").next().unwrap().parse().unwrap();
    // It looks at its limits before it accepts anybody.
    Conn::open(address).ask(&health()).expect(200);
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    (fs::read_to_string(&log).unwrap(), files.to_owned())
}

// spec: CORE-82
#[test]
fn the_limit_of_open_files_is_raised_and_too_low_a_one_is_told() {
    let (log, files) = started_under("ulimit -Sn 256; ulimit -Hn 3000", &["--max-connections=200"]);
    assert_eq!(files.split_whitespace().filter(|word| *word == "3000").count(), 2, "{files}");
    assert!(!log.contains("WARN"), "{log}");
    let (log, _) = started_under("ulimit -n 1024", &[]);
    assert!(log.contains("only 512 connections fit into 1024 open files"), "{log}");
}
