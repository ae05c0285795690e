//! Fairness: chunks of one address wait for each other, and for nobody else.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    chunks::{Parts, form},
    client::{Conn, Request},
    h2::H2,
    server::Server,
    tus::{Upload, patch},
};

const MOMENT: Duration = Duration::from_millis(300);

fn small(hash: u32) -> Parts {
    Parts::new(&format!("{hash:08x}"), "a.bin", 6, "hello world!")
}

/// Begins a chunk and leaves it unfinished. It has its turn: nobody is told to send before that.
#[track_caller]
fn stalled(server: &Server, parts: &Parts, with: &[(&str, &str)]) -> Conn {
    let mut request = parts.put(0).header("Expect", "100-continue");
    for (name, value) in with {
        request = request.header(name, value);
    }
    request.body.clear();
    let mut conn = server.begin(&request);
    assert_eq!(conn.head().unwrap().0, 100);
    conn.raw(b"hel");
    conn
}

/// So many wait for their turn, sooner or later.
#[track_caller]
fn come_to_wait(server: &Server, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let sample = format!("piton_queue_length {count}\n");
    loop {
        let page = server.ask(&Request::new("GET", "/metrics")).expect(200).body;
        let page = String::from_utf8(page).unwrap();
        if page.contains(&sample) {
            return;
        }
        assert!(Instant::now() < deadline, "not {count} wait: {page}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn finish(mut conn: Conn) {
    conn.raw(b"lo ");
    conn.answer("POST").expect(201);
}

// rows: CHUNK-LIM-01
// spec: CHUNK-35
#[test]
fn a_third_chunk_waits_for_its_turn() {
    let server = Server::with(&["--max-uploads-per-ip=2"]);
    let first = stalled(&server, &small(1), &[]);
    let second = stalled(&server, &small(2), &[]);
    let mut third = server.begin(&small(3).put(0));
    let mut fourth = server.begin(&form(&small(4).fields(0), b"hello ", &[]));
    come_to_wait(&server, 2);
    assert!(third.silent_for(MOMENT) && fourth.silent_for(Duration::from_millis(10)));
    finish(second);
    third.answer("POST").expect(201);
    fourth.answer("POST").expect(201);
    finish(first);
    server.ask(&small(5).put(0)).expect(201);
}

// rows: CHUNK-LIM-01: refused only after the wait; other addresses and other requests go on.
// spec: CHUNK-35
#[test]
fn who_waits_too_long_is_told_to_come_back() {
    let options = ["--max-uploads-per-ip=1", "--queue-wait=1s", "--behind-proxy=loopback"];
    let server = Server::with(&options);
    let mine = [("X-Forwarded-For", "203.0.113.7")];
    let running = stalled(&server, &small(1), &mine);
    let waiting = Instant::now();
    let mut refused = server.begin(&small(2).put(0).header(mine[0].0, mine[0].1));
    for other in ["203.0.113.8", "2001:db8:0:1::7"] {
        server.ask(&small(3).put(0).header("X-Forwarded-For", other)).expect_one(&[200, 201]);
    }
    let same = |request: Request| server.ask(&request.header(mine[0].0, mine[0].1));
    same(small(1).status_request()).expect(200);
    same(Request::new("GET", "/healthz")).expect(200);
    let upload = Upload::new(&server, 6);
    assert_eq!(same(patch(&upload.url, 0, b"hello ")).expect(204).offset(), 6);
    let answer = refused.answer("POST").refused_as(429, "too-many-requests");
    assert!(answer.needs("Retry-After").parse::<u32>().unwrap() > 0);
    let waited = waiting.elapsed();
    assert!(waited >= Duration::from_millis(900), "{waited:?}");
    assert_eq!(small(2).status(&server)["state"], "none");
    finish(running);
    same(small(2).put(0)).expect(201);
}

// spec: CHUNK-35: an address of IPv6 is a network.
#[test]
fn neighbours_in_one_network_share_their_turns() {
    let options = ["--max-uploads-per-ip=1", "--queue-wait=200ms", "--behind-proxy=loopback"];
    let server = Server::with(&options);
    let running = stalled(&server, &small(1), &[("X-Forwarded-For", "2001:db8::1")]);
    let neighbour = small(2).put(0).header("X-Forwarded-For", "2001:db8::ffff:2");
    server.ask(&neighbour).refused_as(429, "too-many-requests");
    finish(running);
}

// spec: CHUNK-35: nothing is read of a body before its turn.
#[test]
fn who_waits_is_not_told_to_send() {
    let server = Server::with(&["--max-uploads-per-ip=1"]);
    let running = stalled(&server, &small(1), &[]);
    let mut asking = small(2).put(0).header("Expect", "100-continue");
    let body = std::mem::take(&mut asking.body);
    let mut waiting = server.begin(&asking);
    come_to_wait(&server, 1);
    assert!(waiting.silent_for(MOMENT));
    finish(running);
    assert_eq!(waiting.head().unwrap().0, 100);
    waiting.raw(&body);
    waiting.answer("POST").expect(201);
}

// spec: CHUNK-35: those who hang up lose their turn, and a stop does not wait for the others.
#[test]
fn a_turn_ends_with_its_request() {
    let mut server = Server::with(&["--max-uploads-per-ip=1", "--queue-wait=1m"]);
    stalled(&server, &small(1), &[]).reset();
    server.ask(&small(2).put(0)).expect(201);
    let _running = stalled(&server, &small(1), &[]);
    let mut waiting = server.begin(&small(3).put(0));
    come_to_wait(&server, 1);
    assert!(waiting.silent_for(MOMENT));
    server.sigterm();
    waiting.answer("POST").refused_as(503, "shutting-down");
    assert!(server.exits_within(Duration::from_secs(15)).success());
}

// spec: CHUNK-35: nobody fails and nobody starves.
#[test]
fn two_hundred_at_once_are_served_in_order() {
    let server = Server::with(&["--max-uploads-per-ip=8"]);
    let bytes = vec![7; 128 * 1024];
    let parts = |n: u32| Parts::new(&format!("{n:08x}"), "a.bin", 128 * 1024, bytes.clone());
    let began = Instant::now();
    let clients: Vec<_> = (0..200)
        .map(|n| {
            let (mut conn, request) = (server.connect(), parts(n).put(0));
            thread::spawn(move || {
                conn.ask(&request).expect(201);
                began.elapsed()
            })
        })
        .collect();
    let mut times: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    times.sort();
    let (median, slowest) = (times[100], times[199]);
    assert!(slowest <= median * 4 + Duration::from_secs(5), "{median:?} {slowest:?}");
}

// spec: CHUNK-35: over HTTP/2 unread bodies would fill the window that the others need.
#[test]
fn streams_of_one_connection_do_not_block_each_other() {
    const SIZE: usize = 3 << 20;
    let server = Server::with(&["--max-uploads-per-ip=1"]);
    let bytes = vec![7; SIZE];
    let parts = |n: u32| Parts::new(&format!("{n:08x}"), "a.bin", SIZE, bytes.clone());
    let requests: Vec<_> = (0..12).map(|n| parts(n).put(0)).collect();
    let statuses = H2::open(server.address()).ask_at_once(&requests);
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
}
