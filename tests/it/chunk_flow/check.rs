//! `GET /upload/check`.

use std::{thread, time::Duration};

use serde_json::json;

use crate::{chunks::Parts, client::Request, server::Server};

fn ask(query: &str) -> Request {
    Request::new("GET", &format!("/upload/check?{query}"))
}

// rows: CHUNK-CHECK-01
// spec: CHUNK-5
#[test]
fn an_unknown_file_has_no_chunk() {
    let server = Server::start();
    let answer = server.ask(&ask("hash=0123456789abcdef&index=0")).expect(200);
    let nothing =
        json!({"exists": false, "index": 0, "size": null, "sha256": null, "merged": false});
    assert_eq!(answer.json(), nothing);
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
}

// rows: CHUNK-CHECK-02
// spec: CHUNK-5
#[test]
fn a_stored_chunk_is_told_with_its_digest() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 0);
    let check = parts.check(&server, 0);
    assert_eq!(check["exists"], true);
    assert_eq!(check["size"], 6);
    assert_eq!(check["sha256"], parts.digest(0));
    assert_eq!(parts.check(&server, 1)["exists"], false);
    for (digest, exists) in [(parts.digest(0), true), (parts.digest(1), false)] {
        let query = format!("{}&index=0&sha256={digest}", parts.name());
        assert_eq!(server.ask(&ask(&query)).expect(200).json()["exists"], exists);
    }
}

// rows: CHUNK-CHECK-03
// spec: CHUNK-5, CHUNK-16
#[test]
fn half_a_chunk_does_not_count() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 1);
    let mut connection = server.connect();
    let wire = parts.put(0).wire();
    connection.raw(&wire[..wire.len() - 2]);
    assert_eq!(parts.check(&server, 0)["exists"], false, "while it runs");
    connection.finish();
    let _ = connection.try_answer("POST");
    assert_eq!(parts.check(&server, 0)["exists"], false, "after it was cut");
}

// rows: CHUNK-CHECK-04
// spec: CHUNK-5
#[test]
fn after_the_merge_every_chunk_exists() {
    let mut server = Server::start();
    let parts = Parts::hello();
    parts.send_all(&server);
    parts.merge(&server).expect(201);
    for _ in 0..2 {
        for index in 0..2 {
            let check = parts.check(&server, index);
            assert_eq!((&check["exists"], &check["merged"]), (&json!(true), &json!(true)));
        }
        server.restart();
    }
}

// rows: CHUNK-CHECK-04: until its time is over.
// spec: CHUNK-5
#[test]
fn after_its_time_no_chunk_of_a_file_exists() {
    let server = Server::with(&["--keep-finished=200ms", "--reap-every=1h"]);
    let parts = Parts::hello();
    parts.send_all(&server);
    parts.merge(&server).expect(201);
    thread::sleep(Duration::from_millis(500));
    let check = parts.check(&server, 0);
    assert_eq!((&check["exists"], &check["merged"]), (&json!(false), &json!(false)));
}

// rows: CHUNK-CHECK-05
// spec: CHUNK-1
#[test]
fn a_hash_is_8_to_64_hex_digits() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 0);
    let before = server.uploads();
    let long = format!("hash={}", "a".repeat(65));
    for hash in [
        "hash=0123456",
        &long,
        "hash=0123456z",
        "hash=",
        "x=1",
        "hash=../..",
        "hash=..%2F..%2Fetc",
        "hash=0123456789abcdef&hash=0123456789abcdef",
    ] {
        server.ask(&ask(&format!("{hash}&index=0"))).refused_as(400, "invalid-hash");
    }
    let upper = "hash=0123456789ABCDEF&index=0&filename=a.bin";
    assert_eq!(server.ask(&ask(upper)).expect(200).json()["exists"], true);
    assert_eq!(server.uploads(), before);
}

// rows: CHUNK-CHECK-06
// spec: CHUNK-4
#[test]
fn an_index_is_a_plain_number_below_the_total() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 0);
    let name = parts.name();
    server.ask(&ask(&name)).refused_as(400, "invalid-index");
    for index in
        ["-1", "%2B1", "01", "1.0", "abc", "", "9223372036854775808", "18446744073709551616", "2"]
    {
        let answer = server.ask(&ask(&format!("{name}&index={index}")));
        answer.refused_as(400, "invalid-index");
    }
    server.ask(&ask(&format!("{name}&index=0&sha256=zz"))).refused(400);
}

// rows: CHUNK-CHECK-07
// spec: CHUNK-2
#[test]
fn two_uploads_of_one_hash_are_told_apart_by_name() {
    let server = Server::start();
    let (first, mut second) = (Parts::hello(), Parts::hello());
    second.filename = Some("b.bin".to_owned());
    first.send(&server, 0);
    second.send(&server, 1);
    server.ask(&ask("hash=0123456789abcdef&index=0")).refused_as(409, "ambiguous-upload");
    assert_eq!(first.check(&server, 0)["exists"], true);
    assert_eq!(second.check(&server, 0)["exists"], false);
}

// rows: CHUNK-CHECK-08, second half
// spec: CORE-4
#[test]
fn check_is_a_question() {
    let server = Server::start();
    let asked = Request::new("POST", "/upload/check?hash=0123456789abcdef&index=0");
    server.ask(&asked).refused(405).needs("Allow");
}

// rows: CHUNK-CHECK-08, first half
// spec: CHUNK-5
#[test]
fn head_tells_by_its_status() {
    let server = Server::start();
    let parts = Parts::hello();
    let probe = |index: usize, more: &str| {
        let target = format!("/upload/check?{}&index={index}{more}", parts.name());
        server.ask(&Request::new("HEAD", &target)).status
    };
    assert_eq!(probe(0, ""), 404);
    parts.send(&server, 0);
    assert_eq!((probe(0, ""), probe(1, "")), (200, 404));
    let own = probe(0, &format!("&sha256={}", parts.digest(0)));
    let other = probe(0, &format!("&sha256={}", parts.digest(1)));
    assert_eq!((own, other), (200, 404));
}
