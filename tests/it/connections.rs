//! The wire of HTTP/1.1: heads, framing, `Expect`, pipelines.

use std::time::Duration;

use crate::{
    client::{Conn, Request},
    random::Random,
    server::Server,
    tus::{Upload, append, create, create_with, patch, request},
};

const SOON: Duration = Duration::from_secs(8);

/// Sends the head, waits for 100, sends the rest.
#[track_caller]
fn is_asked_to_go_on(connection: &mut Conn, head: &Request, body: &[u8]) -> crate::client::Answer {
    connection.send(head);
    let (status, _) = connection.head().unwrap();
    assert_eq!(status, 100);
    connection.raw(body);
    connection.answer("PATCH")
}

// rows: CONN-03
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

// rows: CONN-04
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

// rows: CONN-05
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

// rows: CONN-06
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

// rows: CONN-07
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

// rows: CONN-08
#[test]
fn a_head_that_is_none_is_refused() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let good = patch(&upload.url, 5, " worl");
    let head = String::from_utf8(good.wire()).unwrap();
    let broken = [
        good.clone().without("Host").wire(),
        good.clone().header("Host", "piton.test").wire(),
        good.clone().header("Host", "another.test").wire(),
        good.clone().set("Host", "a b").wire(),
        good.clone().set("Host", "piton.test/x").wire(),
        good.clone().set("Host", "somebody@piton.test").wire(),
        head.replace("Content-Length: 5\r\n", "Content-Length: 5\r\nX-Bare: a\rb\r\n").into(),
        head.replace("Content-Length: 5\r\n", "Content-Length: 5\r\nX-Nul: a\0b\r\n").into(),
        head.replace("Content-Length: 5\r\n", "X-Folded: a\r\n b\r\nContent-Length: 5\r\n").into(),
    ];
    for wire in broken {
        let mut connection = server.connect();
        connection.raw(&wire);
        let answer = connection.answer("PATCH").expect(400);
        let rest = connection.closes_within(SOON);
        assert!(rest.is_empty(), "more than {answer:?}: {}", String::from_utf8_lossy(&rest));
        assert_eq!(upload.offset(), 5);
    }
}

// rows: CONN-09
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

// rows: CONN-10
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

// rows: CONN-10
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

// rows: CONN-15
// spec: CORE-67
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
