//! The wire of HTTP/2: streams that stall, break off, and end with their connection.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::Request,
    connections_cut::goes_on,
    h2::H2,
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append, patch, request},
};

const SOON: Duration = Duration::from_secs(20);

// spec: CORE-12
#[test]
fn one_port_speaks_both_versions_of_http() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut connection = H2::open(server.address());
    let health = connection.ask(&Request::new("GET", "/healthz")).expect(200);
    assert_eq!(health.body, b"ok\n");
    assert_eq!(connection.ask(&patch(&upload.url, 0, "hello")).expect(204).offset(), 5);
    let mut stream = connection.begin(&append(&upload.url, 5));
    stream.raw(" wor");
    stream.raw("ld");
    stream.trailers(&[("x-note", "the end")]);
    assert_eq!(stream.answer().expect(204).offset(), 11);
    upload.is_file(b"hello world");
    connection.ask(&patch(&upload.url, 5, "x")).refused_as(409, "offset-mismatch");
}

// rows: CONN-12
// spec: CORE-10, TUS-21
#[test]
fn a_stream_that_stalls_is_broken_off_and_its_siblings_go_on() {
    let server = Server::with(&["--idle-timeout=3s"]);
    let bytes = Random::seeded(12).bytes(3 * CHUNK);
    let mut connection = H2::open(server.address());
    for sent in [0, 5, CHUNK, 2 * CHUNK + 17] {
        let upload = Upload::new(&server, bytes.len() as u64);
        let since = Instant::now();
        let mut stalled = connection.begin(&append(&upload.url, 0).announcing(bytes.len() as u64));
        stalled.raw(&bytes[..sent]);
        let broken = stalled.try_answer().unwrap_err();
        assert!(broken.is_reset(), "{broken}");
        assert!(since.elapsed() >= Duration::from_millis(2950), "{:?}", since.elapsed());
        let head = connection.ask(&request("HEAD", &upload.url)).expect(200);
        assert_eq!(head.offset(), sent as u64);
        assert!(upload.stored() == bytes[..sent]);
    }
}

// rows: CONN-13
// spec: TUS-21
#[test]
fn of_a_stream_that_is_broken_off_no_told_byte_is_lost() {
    let server = Server::start();
    let bytes = Random::seeded(13).bytes(3 * CHUNK + 5);
    for sent in [0, 1, 99, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let upload = Upload::new(&server, bytes.len() as u64);
        let told = sent / 2;
        upload.patch(0, &bytes[..told]).expect(204);
        let mut connection = H2::open(server.address());
        let rest = (bytes.len() - told) as u64;
        let mut stream = connection.begin(&append(&upload.url, told as u64).announcing(rest));
        stream.raw(&bytes[told..sent]);
        assert!(stream.silent_for(Duration::from_millis(30)));
        stream.reset();
        thread::sleep(Duration::from_millis(50));
        goes_on(&upload, &bytes, (told, sent));
    }
}

// rows: CONN-04
#[test]
fn a_stream_that_ends_before_its_length_finishes_nothing() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut connection = H2::open(server.address());
    let mut short = connection.begin(&append(&upload.url, 0).announcing(11));
    short.raw("hello");
    // The last bytes never come, whatever the head said.
    short.finish();
    let answered = short.try_answer();
    assert!(!answered.is_ok_and(|answer| answer.status == 204));
    // It counts as a reset, which may overtake bytes that nobody has read yet.
    let offset = upload.offset();
    assert!([0, 5].contains(&offset), "{offset}");
    let rest = |offset: u64| upload.patch(offset, &b"hello world"[offset as usize..]);
    let answer = rest(offset);
    if answer.status == 409 {
        // A busy server came to the broken stream only now, and kept what it had brought.
        assert_eq!((offset, answer.offset()), (0, 5));
        rest(5).expect(204);
    } else {
        answer.expect(204);
    }
    upload.is_file(b"hello world");
}

// rows: CONN-02, CONN-03
// spec: CORE-69
#[test]
fn who_expects_a_100_is_answered_all_the_same() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut connection = H2::open(server.address());
    let expecting = |offset| append(&upload.url, offset).header("Expect", "100-continue");
    let refused = connection.begin(&expecting(3).announcing(5)).answer();
    assert!(refused.refused_as(409, "offset-mismatch").interim.is_empty());
    let taken = connection.ask(&patch(&upload.url, 0, "hello").header("Expect", "100-continue"));
    assert_eq!(taken.expect(204).offset(), 5);
    // A refused body that is small, or that never stops, does not cost its siblings the connection.
    for _ in 0..10 {
        connection.ask(&patch(&upload.url, 3, vec![7; 6])).refused(409);
    }
    let mut endless = connection.begin(&append(&upload.url, 3));
    let piece = vec![7; 1 << 20];
    let stopped = (0..4096).any(|_| endless.try_raw(&piece, false).is_err());
    assert!(stopped, "4 GiB were taken after the answer");
    endless.answer().refused(409);
    assert_eq!(connection.ask(&request("HEAD", &upload.url)).expect(200).offset(), 5);
}

// rows: CONN-15
// spec: CORE-67
#[test]
fn heads_have_limits() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let mut many = request("GET", &upload.url);
    for n in 0..1000 {
        many = many.header(&format!("X-{n}"), n);
    }
    let large = request("HEAD", &upload.url).header("X-Fat", "x".repeat(60_000));
    let fat = request("HEAD", &upload.url).header("X-Fat", "x".repeat(1 << 20));
    let mut long = request("HEAD", &upload.url);
    long.target = format!("/files/{}", "x".repeat(65_400));
    let mut connection = H2::open(server.address());
    connection.ask(&many).refused_as(431, "head-too-large");
    assert_eq!(connection.ask(&large).expect(200).offset(), 5);
    // Much too large is an attack to the library, which may hang up on it.
    let answered = connection.try_ask(&fat).map(|answer| answer.status);
    assert!(!answered.is_ok_and(|status| status != 431));
    let mut connection = H2::open(server.address());
    assert_eq!(connection.ask(&long).status, 431);
    assert_eq!(connection.ask(&request("HEAD", &upload.url)).expect(200).offset(), 5);
}

// spec: CORE-14
#[test]
fn a_stop_says_farewell() {
    let mut server = Server::start();
    let mut connection = H2::open(server.address());
    connection.ask(&Request::new("GET", "/healthz")).expect(200);
    assert!(!connection.is_closed());
    server.sigterm();
    let _ = connection.closes_within(SOON);
    assert_eq!(server.exits_within(SOON).code(), Some(0));
}
