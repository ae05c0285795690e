//! `GET /upload/status`.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chunks::{Parts, merge, numbers},
    client::{Conn, Request},
    random::Random,
    server::Server,
};

fn ask(query: &str) -> Request {
    Request::new("GET", &format!("/upload/status?{query}"))
}

#[track_caller]
fn is_none(status: &Value) {
    assert_eq!(status["state"], "none", "{status}");
    assert_eq!(status["uploaded"], json!([]), "{status}");
}

// rows: CHUNK-STATUS-01
// spec: CHUNK-19
#[test]
fn of_what_is_not_there_nothing_is_stored() {
    let server = Server::start();
    let parts = Parts::hello();
    is_none(&parts.status(&server));
    let unknown = "upload_id=00000000000000000000000000000000";
    is_none(&server.ask(&ask(unknown)).expect(200).json());
    parts.send(&server, 0);
    server.ask(&parts.delete()).expect(204);
    is_none(&parts.status(&server));
}

// rows: CHUNK-STATUS-01
// spec: CHUNK-19
#[test]
fn of_what_expired_nothing_is_stored() {
    let server = Server::with(&["--expire-after=1500ms", "--reap-every=1h"]);
    let parts = Parts::hello();
    parts.send(&server, 0);
    thread::sleep(Duration::from_millis(2200));
    is_none(&parts.status(&server));
}

// rows: CHUNK-STATUS-02
// spec: CHUNK-18
#[test]
fn it_tells_what_is_there_and_what_is_missing() {
    let server = Server::start();
    let parts = Parts::new("0123456789abcdef", "a.bin", 5, "hello world and");
    parts.send(&server, 2);
    parts.send(&server, 0);
    let status = parts.status(&server);
    for (member, expected) in [
        ("hash", json!("0123456789abcdef")),
        ("filename", json!("a.bin")),
        ("state", json!("receiving")),
        ("uploaded", json!([0, 2])),
        ("missing", json!([1])),
        ("total", json!(3)),
        ("chunk_size", json!(5)),
        ("size", json!(15)),
        ("received_bytes", json!(10)),
        ("mergeable", json!(false)),
        ("result", json!(null)),
    ] {
        assert_eq!(status[member], expected, "{member} in {status}");
    }
    assert!(status["upload_id"].as_str().is_some_and(|id| id.len() >= 22), "{status}");
    for member in ["last_upload_at", "expires_at"] {
        let time = status[member].as_str().unwrap_or_else(|| panic!("no {member} in {status}"));
        humantime::parse_rfc3339(time).unwrap_or_else(|error| panic!("{member} {time}: {error}"));
    }
}

// rows: CHUNK-STATUS-03
// spec: CHUNK-19
#[test]
fn it_tells_the_phase() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send_all(&server);
    let status = parts.status(&server);
    assert_eq!((&status["state"], &status["mergeable"]), (&json!("mergeable"), &json!(true)));
    let mut wrong = parts.merge_body();
    wrong["digest"] = json!("0".repeat(64));
    server.ask(&merge(&wrong)).refused(422);
    let status = parts.status(&server);
    assert_eq!((&status["state"], &status["uploaded"]), (&json!("mergeable"), &json!([0, 1])));
    let answer = parts.merge(&server).expect(201).json();
    let status = parts.status(&server);
    assert_eq!(status["state"], "merged");
    assert_eq!(status["result"], answer);
}

// rows: CHUNK-STATUS-04
// spec: CHUNK-18
#[test]
fn by_id_it_is_the_same() {
    let server = Server::start();
    let parts = Parts::new("0123456789abcdef", "a.bin", 2, "hello wor");
    for index in [0, 1, 3] {
        parts.send(&server, index);
    }
    let status = parts.status(&server);
    let id = status["upload_id"].as_str().unwrap();
    assert_eq!(server.ask(&ask(&format!("upload_id={id}"))).expect(200).json(), status);
    let ranges = server.ask(&ask(&format!("upload_id={id}&format=ranges"))).expect(200).json();
    assert_eq!((&ranges["uploaded"], &ranges["missing"]), (&json!("0-1,3"), &json!("2,4")));
}

// rows: CHUNK-STATUS-04: 10,000 chunks, sent over a few connections.
// spec: CHUNK-18
#[test]
fn ten_thousand_chunks_are_listed_in_order_and_soon() {
    let server = Server::with(&["--durability=none"]);
    let mut random = Random::seeded(4);
    let parts = Parts::new("0123456789abcdef", "a.bin", 1, random.bytes(10_000));
    let order = random.shuffled((0..9_999).collect::<Vec<_>>());
    thread::scope(|scope| {
        for mine in order.chunks(2_500) {
            let (parts, address) = (&parts, server.address());
            scope.spawn(move || {
                let mut connection = Conn::open(address);
                for &index in mine {
                    connection.ask(&parts.put(index)).expect(201);
                }
            });
        }
    });
    let since = Instant::now();
    let status = parts.status(&server);
    let took = since.elapsed();
    println!("status of 10,000 chunks: {took:?} (goal 100 ms)");
    assert_eq!(numbers(&status["uploaded"]), (0..9_999).collect::<Vec<_>>());
    assert_eq!(status["missing"], json!([9_999]));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

// rows: CHUNK-STATUS-05
// spec: CHUNK-2
#[test]
fn it_must_be_clear_which_upload_is_meant() {
    let server = Server::start();
    let (first, mut second) = (Parts::hello(), Parts::hello());
    second.filename = Some("b.bin".to_owned());
    first.send(&server, 0);
    second.send(&server, 0);
    server.ask(&ask("filename=a.bin")).refused(400);
    server.ask(&ask("hash=xyz")).refused_as(400, "invalid-hash");
    server.ask(&ask("hash=0123456789abcdef")).refused_as(409, "ambiguous-upload");
}
