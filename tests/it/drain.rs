//! Told to stop, the server keeps what it has and goes.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    chunks::Parts,
    client::{Conn, Request},
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append, create, request},
};

/// A busy machine may take so long to end a process that has nothing to wait for.
const AT_ONCE: Duration = Duration::from_secs(20);

// rows: FAULT-06
// spec: CORE-14
#[test]
fn an_idle_server_goes_at_once() {
    let mut server = Server::start();
    let url = Upload::hello(&server).url;
    let mut idle = server.connect();
    idle.ask(&request("HEAD", &url)).expect(200);
    let since = Instant::now();
    server.sigterm();
    let status = server.exits_within(AT_ONCE);
    println!("an idle server was gone after {:?}", since.elapsed());
    assert_eq!(status.code(), Some(0));
    assert!(idle.closes_within(AT_ONCE).is_empty());
    server.start_again();
    assert_eq!(Upload { server: &server, url }.offset(), 5);
}

// rows: FAULT-06
// spec: CORE-14
#[test]
fn an_interrupt_is_obeyed_as_well() {
    let mut server = Server::start();
    let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(server.exits_within(AT_ONCE).code(), Some(0));
}

// rows: FAULT-06
// spec: TUS-21
#[test]
fn a_patch_in_flight_is_kept() {
    let mut server = Server::with(&["--shutdown-timeout=3s"]);
    let bytes = Random::seeded(6).bytes(10 * CHUNK);
    let sent = 5 * CHUNK + 321;
    let length = bytes.len() as u64;
    let upload = Upload::new(&server, length);
    let mut running = server.begin(&append(&upload.url, 0).announcing(length));
    upload.takes(&mut running, &bytes[..sent], length);
    let url = upload.url;
    server.sigterm();
    let status = server.exits_within(AT_ONCE);
    assert_eq!(status.code(), Some(0));
    if let Ok(answer) = running.try_answer("PATCH") {
        answer.refused(503).needs("Retry-After");
    }
    server.start_again();
    let upload = Upload { server: &server, url };
    assert_eq!(upload.offset(), sent as u64);
    upload.patch(sent as u64, &bytes[sent..]).expect(204);
    upload.is_file(&bytes);
}

// rows: FAULT-06: a body that still comes may be taken to its end, or cut; nothing of it is lost.
// spec: TUS-21
#[test]
fn a_patch_that_goes_on_loses_nothing() {
    let mut server = Server::with(&["--shutdown-timeout=2s"]);
    let bytes = Random::seeded(7).bytes(200_000);
    let upload = Upload::new(&server, bytes.len() as u64);
    let mut running = server.begin(&append(&upload.url, 0).announcing(bytes.len() as u64));
    let mut sent = 0;
    for (at, piece) in bytes.chunks(10_000).enumerate() {
        if at == 5 {
            // What it has not read by then may be lost.
            upload.has_stored(sent);
            server.sigterm();
        }
        if running.try_raw(piece).is_err() {
            break;
        }
        sent += piece.len() as u64;
        thread::sleep(Duration::from_millis(20));
    }
    let told = match running.try_answer("PATCH") {
        Ok(answer) if answer.status == 204 => answer.offset(),
        Ok(answer) => answer
            .refused(503)
            .header("Upload-Offset")
            .map_or(50_000, |offset| offset.parse().unwrap()),
        Err(_) => 50_000,
    };
    let url = upload.url;
    assert!(server.exits_within(AT_ONCE).success());
    server.start_again();
    let upload = Upload { server: &server, url };
    let offset = upload.offset();
    assert!((told..=sent).contains(&offset), "{told} told, {offset} there, {sent} sent");
    upload.patch(offset, &bytes[offset as usize..]).expect(204);
    upload.is_file(&bytes);
}

// rows: FAULT-06
#[test]
fn a_second_signal_is_obeyed_at_once() {
    let mut server = Server::with(&["--shutdown-timeout=60s"]);
    // A download that its client takes for a minute is waited for.
    let file = Upload::new(&server, 64 << 20);
    file.patch(0, vec![7; 64 << 20]).expect(204);
    let mut reader = server.begin(&Request::new("GET", &file.url));
    while reader.silent_for(Duration::from_millis(1)) {}
    let upload = Upload::new(&server, 1000);
    let mut running = server.begin(&append(&upload.url, 0).announcing(1000));
    upload.takes(&mut running, &[7; 400], 1000);
    server.sigterm();
    upload.has_stored(400);
    thread::sleep(Duration::from_millis(300));
    let url = upload.url;
    assert!(server.is_running());
    server.sigterm();
    server.exits_within(AT_ONCE);
    server.start_again();
    assert_eq!(Upload { server: &server, url }.offset(), 400);
}

// rows: FAULT-06, FAULT-03: chunks in flight are whole or not there.
// spec: CHUNK-16
#[test]
fn chunks_in_flight_are_whole_or_not_there() {
    let mut server = Server::with(&["--shutdown-timeout=2s"]);
    let parts = Parts::hello();
    parts.send(&server, 0);
    let wire = parts.put(1).wire();
    let mut half = server.connect();
    let received = server.received();
    half.raw(&wire[..wire.len() - 3]);
    server.has_received(received + 3);
    server.sigterm();
    assert!(server.exits_within(AT_ONCE).success());
    server.start_again();
    assert_eq!(parts.uploaded(&server), [0]);
    parts.send(&server, 1);
    parts.merge(&server).expect(201);
    assert_eq!(server.the_file(), b"hello world!");
}

// rows: FAULT-05: a clean stop between any two steps.
// spec: STORE-1
#[test]
fn a_restart_between_any_two_steps_changes_nothing() {
    let mut server = Server::start();
    let url = Upload::new(&server, 11).url;
    server.restart();
    let at = |server: &Server, offset: u64, body: &str| {
        let upload = Upload { server, url: url.clone() };
        assert_eq!(upload.patch(offset, body).expect(204).offset(), offset + body.len() as u64);
    };
    at(&server, 0, "hello");
    server.restart();
    at(&server, 5, " ");
    server.restart();
    at(&server, 6, "world");
    server.restart();
    Upload { server: &server, url: url.clone() }.is_file(b"hello world");
    Upload { server: &server, url: url.clone() }.delete().expect(204);
    server.restart();
    Upload { server: &server, url }.head().expect(404);
    let parts = Parts::hello();
    parts.send(&server, 1);
    server.restart();
    parts.send(&server, 0);
    server.restart();
    let first = parts.merge(&server).expect(201).json();
    server.restart();
    assert_eq!(parts.merge(&server).expect(200).json(), first);
    assert_eq!(server.the_file(), b"hello world!");
}

// rows: FAULT-06: who still listens hears how far it got.
// spec: CORE-14
#[test]
fn a_patch_in_flight_is_told_how_far_it_got() {
    let mut server = Server::with(&["--shutdown-timeout=3s"]);
    let upload = Upload::new(&server, 1000);
    let mut running = server.begin(&append(&upload.url, 0).announcing(1000));
    upload.takes(&mut running, &[7; 400], 1000);
    server.sigterm();
    let answer = running.answer("PATCH").refused_as(503, "shutting-down");
    answer.needs("Retry-After");
    assert_eq!(answer.offset(), 400);
    assert_eq!(server.exits_within(AT_ONCE).code(), Some(0));
}

/// Found by review: where the log filled the disk, a request that logged got no answer.
#[test]
fn a_log_that_cannot_be_written_costs_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_piton"))
        .args(["--listen=127.0.0.1:0", "--log-level=trace"])
        .arg(format!("--data-dir={}", folder.path().join("data").display()))
        .stdout(Stdio::piped())
        .stderr(fs::File::options().write(true).open("/dev/full").unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().rsplit('/').next().unwrap().parse().unwrap();
    let answer = Conn::open(address).try_ask(&create(11));
    child.kill().unwrap();
    child.wait().unwrap();
    answer.unwrap().expect(201);
}
