//! Answers that come while the body is still on its way.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::Request,
    server::Server,
    tus::{Upload, append, patch, request},
};

const UNKNOWN: &str = "/files/00000000000000000000000000000000";

/// Requests that are refused, with a body of 30 MB each.
pub fn refused_with_30_mb(server: &Server) -> Vec<(Request, u16)> {
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

// rows: CONN-01
// A client that writes everything before it reads.
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

// rows: CONN-01
// A client that reads while it writes.
#[test]
fn an_early_answer_reaches_a_client_that_listens() {
    let server = Server::start();
    for (request, status) in refused_with_30_mb(&server) {
        server.ask(&request).refused(status);
    }
    assert!(server.uploads().is_empty());
}

// rows: CONN-01
// An expired upload.
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

// rows: CONN-01
// A chunk.
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

// rows: CONN-02
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

// rows: CONN-02
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

// rows: CONN-02
// What our HTTP library refuses by itself, and heads that nothing behind them is read of.
// spec: CORE-68
#[test]
fn a_refused_head_is_heard_of_by_a_client_that_does_not_listen() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let big = patch(&upload.url, 0, vec![7; 5_000_000]);
    for refused in [
        big.clone().header("Host", "another.test"),
        big.clone().set("Content-Length", "abc"),
        big.clone().header("Transfer-Encoding", "gzip"),
        big.clone().header("Not a name", "x"),
    ] {
        for _ in 0..5 {
            let mut connection = server.connect();
            connection.raw(refused.wire());
            connection.answer("PATCH").expect(400);
        }
    }
    assert_eq!(upload.offset(), 0);
}
