//! Clients that cost patience: heads that never end, connections without a request, answers that
//! nobody takes.

use std::{
    io::{Read, Write},
    mem,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    client::{Conn, Request},
    h2::H2,
    overload::logged,
    server::Server,
    tus::{Upload, create_with, request},
};

const SOON: Duration = Duration::from_secs(20);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A connection that has said nothing but hello, in HTTP/2.
fn hello(server: &Server) -> Conn {
    let mut connection = server.connect();
    connection.raw(PREFACE);
    connection.raw(frame(4, 0, 0, &[]));
    connection
}

/// The kinds of the frames that a server sent.
fn kinds(mut said: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [high, middle, low, kind, rest @ ..] = said {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        kinds.push(*kind);
        said = rest.get(5 + length..).unwrap_or_default();
    }
    kinds
}

/// The kind of the next frame.
fn next_kind(connection: &mut Conn) -> u8 {
    let head = connection.take(9).unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    connection.take(length as usize).unwrap();
    head[3]
}

// rows: CONN-11
// spec: CORE-64
#[test]
fn a_head_that_never_ends_is_hung_up_on_and_others_are_served() {
    let server = Server::with(&["--idle-timeout=1200ms"]);
    let mut slow = [server.connect(), server.connect(), server.connect()];
    let since = Instant::now();
    slow[1].raw("P");
    slow[2].raw("HEAD /files/x HTTP/1.1\r\nHost: piton.test\r\nX-Slow: ");
    for _ in 0..30 {
        // It is always about to go on.
        let _ = slow[2].try_raw(b"y");
        server.ask(&Request::new("GET", "/healthz")).expect(200);
        thread::sleep(Duration::from_millis(50));
    }
    for connection in &mut slow {
        let said = connection.closes_within(SOON);
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

// rows: CONN-11
#[test]
fn garbage_is_refused_and_others_are_served() {
    let server = Server::start();
    for garbage in [&[0; 64][..], &[0xff; 64], b"\r\n\r\n\r\n\r\nhello\r\n\r\n", b"GET\r\n\r\n"] {
        let mut connection = server.connect();
        connection.raw(garbage);
        connection.finish();
        let said = connection.closes_within(SOON);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400 "), "{said:?}");
        server.ask(&Request::new("GET", "/healthz")).expect(200);
    }
}

// rows: CONN-09
// spec: CORE-64
#[test]
fn an_idle_connection_is_closed_quietly() {
    let server = Server::with(&["--idle-timeout=4s"]);
    let mut connection = server.connect();
    for _ in 0..4 {
        connection.ask(&Request::new("GET", "/healthz")).expect(200);
        thread::sleep(Duration::from_millis(1200));
    }
    assert!(connection.closes_within(SOON).is_empty());
}

// rows: CONN-09, CONN-11
// spec: CORE-64
#[test]
fn who_only_pings_is_told_to_go() {
    let server = Server::with(&["--idle-timeout=1200ms"]);
    let since = Instant::now();
    let mut connection = hello(&server);
    let mut sent = 0;
    while connection.try_raw(&frame(PING, 0, 0, &[7; 8])).is_ok() {
        sent += 1;
        assert!(since.elapsed() < SOON, "still open after {sent} pings");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(since.elapsed() >= Duration::from_millis(1100), "{:?}", since.elapsed());
    let said = kinds(&connection.closes_within(SOON));
    assert!(said.contains(&PING) && said.contains(&GOAWAY), "{said:?}");
}

// rows: CONN-11
// spec: CORE-64
#[test]
fn a_head_of_http2_that_never_ends_is_hung_up_on() {
    let server = Server::with(&["--idle-timeout=1200ms"]);
    let since = Instant::now();
    let mut connection = hello(&server);
    // GET, and no END_HEADERS: CONTINUATION would follow.
    connection.raw(frame(1, 0b1, 1, b"\x82"));
    connection.closes_within(SOON);
    assert!(since.elapsed() >= Duration::from_millis(1100), "{:?}", since.elapsed());
}

// spec: CORE-64
#[test]
fn requests_keep_a_connection_of_http2_open() {
    let server = Server::with(&["--idle-timeout=3s"]);
    let upload = Upload::hello(&server);
    let mut connection = H2::open(server.address());
    for _ in 0..8 {
        connection.ask(&request("HEAD", &upload.url)).expect(200);
        thread::sleep(Duration::from_millis(500));
    }
    assert!(!connection.is_closed());
    connection.closes_within(SOON).unwrap();
}

/// A finished file of 64 MiB, more than the buffers between us take.
fn large(server: &Server) -> Upload<'_> {
    let bytes = vec![7; 64 << 20];
    Upload::from_answer(server, &server.ask(&create_with(bytes.len() as u64, bytes)).expect(201))
}

// spec: CORE-66
#[test]
fn an_answer_that_nobody_takes_is_broken_off() {
    let server = Server::with(&["--idle-timeout=1s"]);
    let upload = large(&server);
    let mut connection = server.begin(&Request::new("GET", &upload.url));
    thread::sleep(Duration::from_secs(4));
    let got = connection.closes_within(SOON).len();
    assert!(got < 64 << 20, "all of it came");
}

// spec: CORE-66
#[test]
fn an_answer_that_is_taken_slowly_comes_to_its_end() {
    let server = Server::with(&["--idle-timeout=2s"]);
    let upload = large(&server);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // Of a buffer of megabytes at this end the server hears for seconds that it has no room.
    SockRef::from(&stream).set_recv_buffer_size(128 << 10).unwrap();
    let asked = Request::new("GET", &upload.url).header("Connection", "close");
    stream.write_all(&asked.wire()).unwrap();
    let mut got = Vec::new();
    // What the kernel holds for a client must not hide that it goes on reading.
    for _ in 0..50 {
        (&stream).take(64 << 10).read_to_end(&mut got).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    stream.read_to_end(&mut got).unwrap();
    assert!(got.starts_with(b"HTTP/1.1 200 ") && got.len() > 64 << 20, "{} bytes", got.len());
    assert!(got[got.len() - (64 << 20)..].iter().all(|byte| *byte == 7));
}

// spec: CORE-66
#[test]
fn an_answer_on_http2_that_nobody_takes_is_broken_off() {
    let server = Server::with(&["--idle-timeout=1s", "--log-level=piton=debug"]);
    let upload = large(&server);
    let mut connection = H2::open(server.address());
    let since = Instant::now();
    let mut stream = connection.begin(&Request::new("GET", &upload.url));
    stream.finish();
    // Letting it go would tell the server that nobody wants it.
    mem::forget(stream);
    let _ = connection.closes_within(SOON);
    assert!(since.elapsed() >= Duration::from_millis(1800), "{:?}", since.elapsed());
    logged(&server, "the client does not take its answers");
}

/// Found by review: such a connection stayed open for as long as its client wished.
// spec: CORE-66
#[test]
fn who_asks_after_the_farewell_and_takes_nothing_is_hung_up_on_too() {
    let server = Server::with(&["--idle-timeout=4s"]);
    let upload = large(&server);
    let mut connection = server.connect();
    connection.raw(PREFACE);
    // Streams begin without a window.
    connection.raw(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    while next_kind(&mut connection) != GOAWAY {}
    thread::sleep(Duration::from_secs(1));
    let since = Instant::now();
    let length = u8::try_from(upload.url.len()).unwrap();
    // GET, http, :path; the request crosses the farewell.
    let head = [b"\x82\x86\x04", &[length][..], upload.url.as_bytes(), b"\x01\x04here"].concat();
    connection.raw(frame(1, 0b101, 1, &head));
    let said = kinds(&connection.closes_within(Duration::from_secs(24)));
    assert!(said.contains(&1), "{said:?}");
    assert!(since.elapsed() >= Duration::from_secs(6), "{:?}", since.elapsed());
}
