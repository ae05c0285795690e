//! The wire: early answers, bad framing, cuts at every byte.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Conn, Request},
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append, create, create_with, patch, request},
};

const UNKNOWN: &str = "/files/00000000000000000000000000000000";
const SOON: Duration = Duration::from_secs(8);

/// Requests that are refused, with a body of 30 MB each.
fn refused_with_30_mb(server: &Server) -> Vec<(Request, u16)> {
    let url = Upload::new(server, 100_000_000).url;
    let short = Upload::new(server, 11).url;
    let big = vec![7; 30_000_000];
    vec![
        (patch(&url, 0, big.clone()).set("Upload-Offset", "x"), 400),
        (patch(UNKNOWN, 0, big.clone()), 404),
        (patch(&url, 5, big.clone()), 409),
        (patch(&url, 0, big.clone()).without("Tus-Resumable"), 412),
        (patch(&short, 0, big.clone()), 413),
        (patch(&url, 0, big).set("Content-Type", "text/plain"), 415),
    ]
}

// CONN-01: a client that writes everything before it reads.
// spec: CORE-8
#[test]
fn an_early_answer_survives_a_client_that_does_not_listen() {
    let server = Server::start();
    for (request, status) in refused_with_30_mb(&server) {
        let mut connection = server.connect();
        connection.send(&request);
        connection.answer("PATCH").refused(status);
    }
    assert!(server.uploads().is_empty());
}

// CONN-01: a client that reads while it writes.
#[test]
fn an_early_answer_reaches_a_client_that_listens() {
    let server = Server::start();
    for (request, status) in refused_with_30_mb(&server) {
        server.ask(&request).refused(status);
    }
    assert!(server.uploads().is_empty());
}

// CONN-01: an expired upload.
// spec: CORE-8
#[test]
fn an_early_answer_of_an_expired_upload() {
    let server = Server::with(&["--expire-after=50ms", "--reap-every=1h"]);
    let url = Upload::new(&server, 100_000_000).url;
    thread::sleep(Duration::from_millis(150));
    let mut connection = server.connect();
    connection.send(&patch(&url, 0, vec![7; 30_000_000]));
    connection.answer("PATCH").refused(410);
}

// CONN-01 for chunks
// spec: CORE-8
#[test]
fn an_early_answer_to_a_chunk() {
    let server = Server::start();
    let target = "/upload?hash=0123456789abcdef&index=9&total=2&size=60000000&chunk_size=30000000";
    let request = Request::new("POST", target).header("Content-Type", "application/octet-stream");
    let mut connection = server.connect();
    connection.send(&request.body(vec![7; 30_000_000]));
    connection.answer("POST").refused(400);
}

// CONN-02
// spec: CORE-8
#[test]
fn after_a_small_refused_body_the_connection_goes_on() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let mut connection = server.connect();
    for _ in 0..10 {
        connection.ask(&patch(&upload.url, 3, vec![7; 6])).refused(409);
        assert_eq!(connection.ask(&request("HEAD", &upload.url)).expect(200).offset(), 5);
    }
}

// CONN-02
// spec: CORE-8
#[test]
fn who_never_stops_sending_is_hung_up_on() {
    let server = Server::start();
    let mut connection = server.begin(&append(UNKNOWN, 0).header("Transfer-Encoding", "chunked"));
    connection.answer("PATCH").refused(404);
    let piece = [b"100000\r\n".to_vec(), vec![7; 1 << 20], b"\r\n".to_vec()].concat();
    let since = Instant::now();
    for _ in 0..4096 {
        match connection.try_raw(&piece) {
            Ok(()) => assert!(since.elapsed() < Duration::from_secs(30), "still reading"),
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock));
                return;
            }
        }
    }
    panic!("4 GiB were taken after the answer");
}

/// Sends the head, waits for 100, sends the rest.
#[track_caller]
fn is_asked_to_go_on(connection: &mut Conn, head: &Request, body: &[u8]) -> crate::client::Answer {
    connection.send(head);
    let (status, _) = connection.head().unwrap();
    assert_eq!(status, 100);
    connection.raw(body);
    connection.answer("PATCH")
}

// CONN-03
// spec: CORE-9
#[test]
fn a_good_patch_is_asked_to_go_on_and_a_bad_one_is_not() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let expecting = |offset| append(&upload.url, offset).header("Expect", "100-continue");
    let chunked = |offset| expecting(offset).header("Transfer-Encoding", "chunked");
    let mut connection = server.connect();
    let answer = is_asked_to_go_on(&mut connection, &expecting(0).announcing(5), b"hello");
    assert_eq!(answer.expect(204).offset(), 5);
    let answer = is_asked_to_go_on(&mut connection, &chunked(5), b"6\r\n world\r\n0\r\n\r\n");
    assert_eq!(answer.expect(204).offset(), 11);
    let answer = is_asked_to_go_on(&mut connection, &chunked(11), b"0\r\n\r\n");
    assert_eq!(answer.expect(204).offset(), 11);
    for (refused, status) in [
        (expecting(3).announcing(5), 409),
        (expecting(11).announcing(5), 413),
        (chunked(0), 409),
        (expecting(11).announcing(5).without("Content-Type"), 415),
    ] {
        let answer = server.begin(&refused).answer("PATCH").refused(status);
        assert!(answer.interim.is_empty(), "{:?} before {answer:?}", answer.interim);
    }
    let strange = patch(&upload.url, 11, "").header("Expect", "a miracle");
    server.ask(&strange).expect_one(&[204, 417]);
}

// CONN-04
#[test]
fn a_malformed_length_ends_the_connection() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let before = upload.state();
    for length in ["-1", "+5", "abc", "5, 6", "18446744073709551616"] {
        let mut request = patch(&upload.url, 5, " worl").without("Content-Length");
        request = request.header("Content-Length", length);
        let mut connection = server.begin(&request);
        connection.answer("PATCH").expect(400);
        connection.closes_within(SOON);
        assert_eq!(upload.state(), before, "{length}");
    }
}

// CONN-05
#[test]
fn a_body_is_never_run_as_a_request() {
    let server = Server::start();
    for (coding, with_length) in [
        ("chunked", true),
        ("chunked, chunked", false),
        ("gzip", false),
        ("identity", false),
        ("gzip, chunked", false),
    ] {
        let upload = Upload::new(&server, 11);
        let smuggled = request("DELETE", &upload.url).wire();
        let body = [b"5\r\nhello\r\n0\r\n\r\n".to_vec(), smuggled].concat();
        let mut asked = append(&upload.url, 0).header("Transfer-Encoding", coding);
        if with_length {
            asked = asked.header("Content-Length", body.len());
        }
        asked.body = body;
        let mut connection = server.begin(&asked);
        let answer = connection.answer("PATCH");
        assert!([204, 400, 415, 501].contains(&answer.status), "{coding}: {answer:?}");
        let rest = String::from_utf8_lossy(&connection.closes_within(SOON)).into_owned();
        assert!(!rest.contains("HTTP/1.1"), "{coding}: a second answer: {rest}");
        let offset = upload.offset();
        assert!(offset == 0 || with_length && offset == 5, "{coding}: {offset} bytes stored");
    }
}

// CONN-06
// spec: CORE-11
#[test]
fn of_a_broken_chunked_body_the_whole_part_is_kept() {
    let server = Server::start();
    for broken in [
        "ZZ\r\n world\r\n",
        "6 world\r\n0\r\n\r\n",
        "10000000000000000\r\n world\r\n",
        "3\r\n world",
    ] {
        let upload = Upload::new(&server, 11);
        let mut request = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
        request.body = format!("5\r\nhello\r\n{broken}").into_bytes();
        let mut connection = server.begin(&request);
        connection.answer("PATCH").expect(400);
        connection.closes_within(SOON);
        let offset = upload.offset();
        assert!(offset == 5 || broken.starts_with('3') && offset == 8, "{broken:?}: {offset}");
        assert_eq!(upload.stored(), &b"hello world"[..offset as usize]);
    }
}

// CONN-07
#[test]
fn an_old_version_of_http_is_served_once() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let old = patch(&upload.url, 0, "hello").header("Expect", "100-continue").http_1_0();
    let mut connection = server.begin(&old);
    let answer = connection.answer("PATCH").expect(204);
    assert!(answer.interim.is_empty());
    assert_eq!(answer.offset(), 5);
    connection.closes_within(SOON);
    let chunked = append(&upload.url, 5).chunked(b" world", 3).http_1_0();
    let mut connection = server.begin(&chunked);
    connection.answer("PATCH").expect(400);
    connection.closes_within(SOON);
    assert_eq!(upload.offset(), 5);
}

// CONN-09
#[test]
fn requests_in_one_segment_are_answered_in_order() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.raw([create(11).wire(), create_with(11, "hello").wire()].concat());
    let first = Upload::from_answer(&server, &connection.answer("POST").expect(201));
    let second = connection.answer("POST").expect(201);
    assert_eq!(second.offset(), 5);
    let url = &first.url;
    let pair = [patch(url, 0, "hello").wire(), request("HEAD", url).wire()].concat();
    connection.raw(pair);
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 5);
    assert_eq!(connection.answer("HEAD").expect(200).offset(), 5);
    let hundred: Vec<u8> = (0..100).flat_map(|_| request("HEAD", url).wire()).collect();
    connection.raw(hundred);
    for _ in 0..100 {
        assert_eq!(connection.answer("HEAD").expect(200).offset(), 5);
    }
}

// CONN-10
#[test]
fn segments_do_not_matter() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut connection = server.connect();
    for byte in patch(&upload.url, 0, "hello").wire() {
        connection.raw([byte]);
    }
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 5);
    let bytes = Random::seeded(10).bytes(10_000);
    let upload = Upload::new(&server, 10_000);
    let mut connection = server.begin(&append(&upload.url, 0).announcing(10_000));
    for byte in &bytes {
        connection.raw([*byte]);
    }
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 10_000);
    upload.is_file(&bytes);
}

// CONN-10
#[test]
fn unusual_but_legal_requests_are_served() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut absolute = patch(&upload.url, 0, "hello");
    absolute.target = format!("http://piton.test{}", upload.url);
    assert_eq!(server.ask(&absolute).expect(204).offset(), 5);
    let mut connection = server.begin(&patch(&upload.url, 5, " "));
    connection.finish();
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 6);
    let mut connection = server.connect();
    let head = request("HEAD", &upload.url).body("stray");
    assert_eq!(connection.ask(&head).expect(200).offset(), 6);
    server.ask(&request("DELETE", &upload.url).body("stray")).expect(204);
    upload.head().expect(404);
}

// CONN-12
// spec: CORE-10, TUS-21
#[test]
fn a_body_that_stalls_is_hung_up_on_and_kept() {
    let server = Server::with(&["--idle-timeout=300ms"]);
    let bytes = Random::seeded(12).bytes(3 * CHUNK);
    for sent in [0, 5, CHUNK, 2 * CHUNK + 17] {
        let upload = Upload::new(&server, bytes.len() as u64);
        let mut connection = upload.stall(0, bytes.len() as u64, &bytes[..sent]);
        let since = Instant::now();
        let said = connection.closes_within(SOON);
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
        assert!(since.elapsed() >= Duration::from_millis(250), "{:?}", since.elapsed());
        assert_eq!(upload.offset(), sent as u64);
        assert!(upload.stored() == bytes[..sent]);
    }
}

// CONN-12: slow is not stalled.
#[test]
fn a_body_that_trickles_is_served() {
    let server = Server::with(&["--idle-timeout=400ms", "--min-rate=5"]);
    let upload = Upload::new(&server, 11);
    let mut connection = server.begin(&append(&upload.url, 0).announcing(11));
    for byte in b"hello world" {
        connection.raw([*byte]);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 11);
    upload.is_file(b"hello world");
}

/// A PATCH of which only the first `sent` bytes come before FIN.
#[track_caller]
fn cut_by_fin(server: &Server, bytes: &[u8], sent: usize) {
    let upload = Upload::new(server, bytes.len() as u64);
    let mut connection = upload.stall(0, bytes.len() as u64, &bytes[..sent]);
    connection.finish();
    let said = String::from_utf8_lossy(&connection.closes_within(SOON)).into_owned();
    assert!(!said.contains("204"), "{said}");
    assert_eq!(upload.offset(), sent as u64);
    assert!(upload.stored() == bytes[..sent]);
    upload.patch(sent as u64, &bytes[sent..]).expect(204);
    upload.is_file(bytes);
}

// CONN-13
// spec: CORE-10, TUS-21
#[test]
fn a_cut_body_is_kept_to_the_byte() {
    let server = Server::start();
    let mut random = Random::seeded(13);
    let short = random.bytes(100);
    for sent in [0, 1, 99] {
        cut_by_fin(&server, &short, sent);
    }
    let long = random.bytes(3 * CHUNK + 5);
    for sent in [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        cut_by_fin(&server, &long, sent);
    }
}

// CONN-13
// spec: TUS-21
#[test]
fn a_reset_keeps_what_was_told_and_no_more_than_was_sent() {
    let server = Server::start();
    let bytes = Random::seeded(14).bytes(3 * CHUNK + 5);
    for sent in [0, 1, 99, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let upload = Upload::new(&server, bytes.len() as u64);
        let told = sent / 2;
        upload.patch(0, &bytes[..told]).expect(204);
        let rest = (bytes.len() - told) as u64;
        upload.stall(told as u64, rest, &bytes[told..sent]).reset();
        // The request may still be on its way through the server when we are back.
        thread::sleep(Duration::from_millis(50));
        let offset = upload.offset() as usize;
        assert!((told..=sent).contains(&offset), "{told} told, {offset} there, {sent} sent");
        assert!(upload.stored() == bytes[..offset]);
        upload.patch(offset as u64, &bytes[offset..]).expect(204);
        upload.is_file(&bytes);
    }
}

// CONN-13
#[test]
fn a_small_patch_may_be_cut_at_any_byte() {
    let server = Server::start();
    let length = patch("/files/00000000000000000000000000000000", 0, "hello").wire().len();
    let upload = Upload::new(&server, 5 * length as u64);
    let mut there = 0;
    for cut in 0..length {
        let request = patch(&upload.url, there, "hello");
        let wire = request.wire();
        let cut = cut.min(wire.len() - 1);
        let body = cut.saturating_sub(wire.len() - 5);
        let mut connection = server.connect();
        connection.raw(&wire[..cut]);
        connection.finish();
        let said = String::from_utf8_lossy(&connection.closes_within(SOON)).into_owned();
        assert!(!said.contains("204"), "cut at {cut}: {said}");
        there += body as u64;
        assert_eq!(upload.offset(), there, "cut at {cut} of {}", wire.len());
    }
}

// CONN-14
#[test]
fn the_length_decides_and_not_the_last_chunk_mark() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut request = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
    request.body = b"b\r\nhello world\r\n".to_vec();
    let mut connection = server.begin(&request);
    connection.finish();
    let said = String::from_utf8_lossy(&connection.closes_within(SOON)).into_owned();
    assert!(!said.contains("204"), "{said}");
    assert_eq!(upload.offset(), 11);
    upload.patch(11, "").expect(204);
    upload.is_file(b"hello world");
}

// CONN-15
#[test]
fn heads_have_limits() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let mut many = request("HEAD", &upload.url);
    for n in 0..1000 {
        many = many.header(&format!("X-{n}"), n);
    }
    let fat = request("HEAD", &upload.url).header("X-Fat", "x".repeat(1 << 20));
    let mut long = request("HEAD", &upload.url);
    long.target = format!("/files/{}", "x".repeat(100_000));
    for (request, status) in [(many, 431), (fat, 431), (long, 414)] {
        // Asked as GET would be: the reader does not know that no body follows an early answer.
        server.connect().ask(&request).expect(status);
        assert_eq!(upload.offset(), 5);
    }
}
