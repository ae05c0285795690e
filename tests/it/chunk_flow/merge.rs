//! `POST /merge`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chunks::{Parts, merge},
    client::{Answer, Conn, Request},
    digest::composite_of_hex,
    random::Random,
    server::{CHUNK, Server},
};

/// The vectors over HTTP: chunk size, number of chunks, raw, over hex digests.
const VECTORS: [(usize, usize, &str, &str); 4] = [
    (
        6,
        2,
        "9ef38ec3efc683f76cb9ab53a326b239d1605af64ad786b41b98379000574c6b",
        "fbcf33e211b6aee6930621d52a54e8cfe44dcfde8fea2d6421f560137b8586a8",
    ),
    (
        5,
        3,
        "0f7a99aa13023b48fe87e452ed1411f1415d5f899379dd627b196d1c448d5300",
        "7aeab14993cf9a5330e4edf6908cf434ada905542ae62216c7dc4b6e01688dda",
    ),
    (
        5,
        2,
        "682a80f0dba47207545eb4e93f9da95240a4658e553297464a212730176116bd",
        "cdc36629b4b0264c00dcb919198b7c3baed8a7e902eba85b9e1c4ade076c0ace",
    ),
    (
        64,
        1,
        "1332f5132b45de03e729e764b38f9a2e4057d6760a8807662331b37ddea936e4",
        "1ebd697eb955affab0738ceb75ed33a9bd5a9c44358e96c7bb6e3afd62f6a404",
    ),
];

/// The vector of the empty file: raw, over hex digests.
const EMPTY: (&str, &str) = (
    "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456",
    "cd372fb85148700fa88095e3492d3f9f5beb43e555e5ff26d95f5a6adc36f8e6",
);

/// The base case, all chunks there.
fn complete(server: &Server) -> Parts {
    let parts = Parts::hello();
    parts.send_all(server);
    parts
}

/// The body of a merge with one member changed.
fn with(parts: &Parts, member: &str, value: Value) -> Request {
    let mut body = parts.merge_body();
    body[member] = value;
    merge(&body)
}

/// The merge is refused, and every chunk is still there.
#[track_caller]
fn refuses(server: &Server, parts: &Parts, request: &Request, status: u16) -> Value {
    let before = (server.settled_uploads(), parts.status(server));
    let answer = server.ask(request).refused(status);
    assert_eq!((server.settled_uploads(), parts.status(server)), before, "{answer:?} left a trace");
    assert!(server.finished().is_empty());
    answer.json()
}

// rows: CHUNK-MERGE-01
// spec: CHUNK-20, STORE-13
#[test]
fn a_merge_publishes_once_and_is_remembered() {
    let mut server = Server::start();
    let parts = complete(&server);
    let folder = parts.as_upload(&server).folder();
    let first = parts.merge(&server).expect(201).json();
    assert_eq!(first["state"], "merged");
    assert_eq!(first["size"], 12);
    assert_eq!(first["composite_sha256"], VECTORS[0].2);
    assert_eq!(first["digest_format"], "raw");
    let name = first["filename"].as_str().unwrap().to_owned();
    let inner = name.strip_prefix("a-").and_then(|rest| rest.strip_suffix("-9ef38ec3.bin"));
    let time = inner.unwrap_or_else(|| panic!("{name}"));
    assert!(time.len() == 16 && time.as_bytes()[8] == b'T' && time.ends_with('Z'), "{name}");
    assert_eq!(server.finished_names(), [name]);
    for _ in 0..2 {
        let url = first["url"].as_str().unwrap();
        assert_eq!(server.ask(&Request::new("GET", url)).expect(200).body, b"hello world!");
        assert_eq!(parts.merge(&server).expect(200).json(), first);
        assert_eq!(server.the_file(), b"hello world!");
        server.restart();
    }
    server.uploads_vanish();
    assert!(!folder.try_exists().unwrap());
}

// spec: CHUNK-20, CHUNK-24
#[test]
fn merging_again_compares_again() {
    let server = Server::start();
    let parts = complete(&server);
    let first = parts.merge(&server).expect(201).json();
    let other = with(&parts, "digest", json!("ab".repeat(32)));
    server.ask(&other).refused_as(422, "composite-mismatch");
    assert_eq!(parts.merge(&server).expect(200).json(), first);
    assert_eq!(server.the_file(), b"hello world!");
}

// rows: CHUNK-MERGE-02
// spec: CHUNK-21
#[test]
fn missing_chunks_are_named() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 0);
    let problem = refuses(&server, &parts, &merge(&parts.merge_body()), 409);
    assert!(problem["type"].as_str().unwrap().ends_with("chunks-missing"), "{problem}");
    assert_eq!((&problem["missing"], &problem["total"]), (&json!([1]), &json!(2)));
}

// rows: CHUNK-MERGE-03
// spec: CHUNK-24, STORE-4
#[test]
fn a_wrong_digest_loses_nothing() {
    let server = Server::start();
    let parts = complete(&server);
    let other = "ab".repeat(32);
    let problem = refuses(&server, &parts, &with(&parts, "digest", json!(other)), 422);
    assert!(problem["type"].as_str().unwrap().ends_with("composite-mismatch"), "{problem}");
    assert_eq!(problem["expected"], other);
    assert_eq!(problem["actual"], VECTORS[0].2);
    assert!(problem["bad_chunks"].is_array(), "{problem}");
    parts.merge(&server).expect(201);
}

// rows: CHUNK-MERGE-04
// spec: CHUNK-22
#[test]
fn both_forms_of_the_digest_are_known() {
    for (chunk_size, total, raw, hex) in VECTORS {
        for (digest, format) in [(raw, "raw"), (hex, "hex")] {
            for given in [None, Some(format)] {
                let server = Server::start();
                let parts = Parts::new("0123456789abcdef", "a.bin", chunk_size, "hello world!");
                let parts = parts.with_total(total);
                parts.send_all(&server);
                let mut body = parts.merge_body();
                body["digest"] = json!(digest);
                if let Some(given) = given {
                    let other = if given == "raw" { "hex" } else { "raw" };
                    body["digest_format"] = json!(other);
                    refuses(&server, &parts, &merge(&body), 422);
                    body["digest_format"] = json!(given);
                }
                let answer = server.ask(&merge(&body)).expect(201).json();
                assert_eq!(answer["digest_format"], format);
                assert_eq!(answer["composite_sha256"], raw);
            }
        }
    }
}

// rows: CHUNK-MERGE-04, CHUNK-MERGE-11; the fifth vector
// spec: CHUNK-22, CHUNK-7
#[test]
fn an_empty_file_is_one_empty_chunk() {
    for digest in [EMPTY.0, EMPTY.1] {
        let server = Server::start();
        let parts = Parts::new("0123456789abcdef", "a.bin", 6, "");
        parts.send_all(&server);
        let answer = server.ask(&with(&parts, "digest", json!(digest))).expect(201).json();
        assert_eq!(answer["composite_sha256"], EMPTY.0);
        assert_eq!(server.the_file(), b"");
    }
}

// rows: CHUNK-MERGE-05
// spec: CHUNK-23
#[test]
fn a_digest_has_several_spellings() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let raw = VECTORS[0].2;
    let bytes: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&raw[2 * at..2 * at + 2], 16).unwrap()).collect();
    for digest in [raw.to_uppercase(), BASE64_STANDARD.encode(bytes), format!("{raw}-2")] {
        let server = Server::start();
        let parts = complete(&server);
        server.ask(&with(&parts, "digest", json!(digest))).expect(201);
    }
    let server = Server::start();
    let parts = complete(&server);
    for digest in [format!("{raw}-3"), raw[1..].to_owned(), format!("z{}", &raw[1..])] {
        refuses(&server, &parts, &with(&parts, "digest", json!(digest)), 400);
    }
}

// rows: CHUNK-MERGE-06
// spec: CHUNK-24
#[test]
fn a_list_of_digests_names_the_bad_chunk() {
    let server = Server::start();
    let parts = complete(&server);
    let wrong = json!([parts.digest(0), "0".repeat(64)]);
    let problem = refuses(&server, &parts, &with(&parts, "chunks", wrong), 422);
    assert_eq!(problem["bad_chunks"], json!([1]));
    refuses(&server, &parts, &with(&parts, "chunks", json!([parts.digest(0)])), 400);
    let right = json!([parts.digest(0), parts.digest(1)]);
    server.ask(&with(&parts, "chunks", right)).expect(201);
}

// rows: CHUNK-MERGE-07
#[test]
fn without_a_digest_nothing_is_compared() {
    let server = Server::start();
    let parts = complete(&server);
    let mut body = parts.merge_body();
    body.as_object_mut().unwrap().remove("digest");
    let answer = server.ask(&merge(&body)).expect(201).json();
    assert_eq!(answer["digest_format"], Value::Null);
    assert_eq!(answer["composite_sha256"], VECTORS[0].2);
}

// rows: CHUNK-MERGE-08
// spec: CHUNK-21, CHUNK-2
#[test]
fn the_upload_must_be_known_and_meant() {
    let server = Server::start();
    let parts = complete(&server);
    refuses(&server, &parts, &with(&parts, "hash", json!("fedcba9876543210")), 404);
    for (member, value) in [("size", json!(13)), ("total", json!(1))] {
        let problem = refuses(&server, &parts, &with(&parts, member, value), 409);
        let kind = problem["type"].as_str().unwrap();
        assert!(kind.ends_with("upload-metadata-mismatch"), "{problem}");
    }
    let mut second = Parts::hello();
    second.filename = Some("b.bin".to_owned());
    second.send(&server, 0);
    let mut nameless = parts.merge_body();
    nameless.as_object_mut().unwrap().remove("filename");
    let problem = refuses(&server, &parts, &merge(&nameless), 409);
    assert!(problem["type"].as_str().unwrap().ends_with("ambiguous-upload"), "{problem}");
}

// rows: CHUNK-MERGE-08
// spec: CHUNK-21
#[test]
fn what_expired_cannot_be_merged() {
    let server = Server::with(&["--expire-after=1500ms", "--reap-every=1h"]);
    let parts = complete(&server);
    thread::sleep(Duration::from_millis(2200));
    parts.merge(&server).refused(410);
    assert!(server.finished().is_empty());
}

// rows: CHUNK-MERGE-09
// spec: CHUNK-20
#[test]
fn the_body_is_a_small_object() {
    let server = Server::start();
    let parts = complete(&server);
    let json = |body: &str| {
        Request::new("POST", "/merge").header("Content-Type", "application/json").body(body)
    };
    let number_as_text = with(&parts, "size", json!("12"));
    let hash_as_number = with(&parts, "hash", json!(12));
    for request in
        [json("{"), json(""), json("[]"), json("\"x\""), json("{}"), number_as_text, hash_as_number]
    {
        refuses(&server, &parts, &request, 400);
    }
    let filler = format!("{{\"x\":\"{}\"}}", "y".repeat(1 << 20));
    refuses(&server, &parts, &json(&filler), 413);
    let plain = merge(&parts.merge_body()).set("Content-Type", "text/plain");
    refuses(&server, &parts, &plain, 415);
    server.ask(&Request::new("GET", "/merge")).refused(405).needs("Allow");
}

// rows: CHUNK-MERGE-11
#[test]
fn the_order_is_that_of_positions() {
    let mut random = Random::seeded(11);
    for (size, total) in
        [(12 * 100, 12), (12 * 100 + 37, 12), (12 * 100 + 37, 13), (99, 1), (150, 1)]
    {
        let server = Server::start();
        let parts = Parts::new("0123456789abcdef", "a.bin", 100, random.bytes(size));
        let parts = parts.with_total(total);
        for index in random.shuffled((0..total).collect()) {
            parts.send(&server, index);
        }
        let answer = parts.merge(&server).expect(201).json();
        assert_eq!(answer["composite_sha256"], parts.composite());
        assert!(server.the_file() == parts.bytes, "{size} bytes in {total}");
    }
}

// rows: CHUNK-MERGE-12
// spec: STORE-15
#[test]
fn a_file_never_replaces_another() {
    let server = Server::start();
    let mut random = Random::seeded(12);
    for _ in 0..5 {
        let mut parts = Parts::hello();
        parts.hash = random.hash();
        parts.send_all(&server);
        parts.merge(&server).expect(201);
    }
    assert_eq!(server.finished().len(), 5);
}

// rows: CHUNK-MERGE-12
// spec: STORE-13, STORE-14
#[test]
fn names_of_all_kinds_become_sane_ones() {
    let mut random = Random::seeded(13);
    for (name, begins, ends) in [
        ("README", "README-", "-9ef38ec3"),
        ("a.tar.gz", "a.tar-", "-9ef38ec3.gz"),
        ("测试.bin", "测试-", "-9ef38ec3.bin"),
        (".env", "", ""),
    ] {
        let server = Server::start();
        let parts = Parts::new(&random.hash(), name, 6, "hello world!");
        parts.send_all(&server);
        let answer = parts.merge(&server).expect(201).json();
        let published = answer["filename"].as_str().unwrap();
        assert!(published.starts_with(begins) && published.ends_with(ends), "{published}");
        assert!(!published.starts_with('.'), "{published}");
        assert_eq!(server.finished_names(), [published]);
    }
}

// rows: CHUNK-MERGE-13, CHUNK-MERGE-01: a real size, sent in order and backwards.
#[test]
fn after_a_merge_the_file_is_all_there_is_on_disk() {
    let mut random = Random::seeded(14);
    for backwards in [false, true] {
        let server = Server::start();
        let parts = Parts::new(&random.hash(), "big.bin", CHUNK, random.bytes(100 * CHUNK + 1));
        for step in 0..parts.total {
            parts.send(&server, if backwards { parts.total - 1 - step } else { step });
        }
        let mut body = parts.merge_body();
        body["digest"] = json!(composite_of_hex(&parts.chunks()));
        assert_eq!(server.ask(&merge(&body)).expect(201).json()["digest_format"], "hex");
        assert!(server.the_file() == parts.bytes);
        server.uploads_vanish();
        let left = crate::disk::bytes_below(&server.data());
        assert!(left < parts.bytes.len() as u64 + 64 * 1024, "{left} bytes on disk");
    }
}

/// A merge that waits for a lock that we have, and what others are answered meanwhile: two chunks
/// and a form, and another merge. `None` where the merge lost its patience before that, as it may
/// on a busy machine.
#[track_caller]
fn told_during_a_merge(server: &Server, parts: &Parts) -> Option<(Conn, [Answer; 3], Answer)> {
    let moment = Duration::from_millis(5);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut first = server.begin(&merge(&parts.merge_body()));
    while parts.status(server)["state"] != "merging" {
        assert!(Instant::now() < deadline, "it does not run: {}", parts.status(server));
        if !first.silent_for(moment) {
            first.answer("POST").refused(423);
            return None;
        }
    }
    let mut second = server.begin(&merge(&parts.merge_body()));
    let others = [parts.put_bytes(0, b"HELLO?"), parts.put_form(0), parts.put(0)];
    let others = others.map(|request| server.ask(&request));
    let second = second.answer("POST");
    if first.silent_for(moment) {
        return Some((first, others, second));
    }
    first.answer("POST").refused(423);
    None
}

// rows: RACE-11, CHUNK-MERGE-10
// A lock from outside makes the merge a long one.
// spec: CHUNK-17, CHUNK-19, CHUNK-25
#[test]
fn while_a_merge_runs_others_are_told_where_to_ask() {
    let server = Server::start();
    let parts = complete(&server);
    server.settled_uploads();
    let ledger = fs::File::open(parts.as_upload(&server).ledger()).unwrap();
    ledger.lock().unwrap();
    let told = (0..8).find_map(|_| told_during_a_merge(&server, &parts));
    let (mut first, [other, form, same], told) = told.expect("a patient merge");
    other.refused_as(409, "merging").needs("Retry-After");
    form.expect(200);
    assert_eq!(same.expect(200).json()["sha256"], parts.digest(0));
    let told = told.expect(202);
    assert_eq!(told.json(), json!({"state": "merging"}));
    told.needs("Retry-After");
    let status = server.ask(&Request::new("GET", told.needs("Location"))).expect(200).json();
    assert_eq!(status["upload_id"], parts.status(&server)["upload_id"]);
    ledger.unlock().unwrap();
    // On a busy machine the first one may have lost its patience.
    first.answer("POST").expect_one(&[201, 423]);
    parts.merge(&server).expect_one(&[200, 201]);
    server.ask(&parts.put(0)).expect(200);
    server.ask(&parts.put_bytes(0, b"HELLO?")).refused_as(409, "chunk-conflict");
    assert_eq!(server.the_file(), b"hello world!");
}

// spec: STORE-16
#[test]
fn bytes_that_rotted_are_not_published() {
    let server = Server::with(&["--verify-on-merge"]);
    let parts = complete(&server);
    server.settled_uploads();
    let part = parts.as_upload(&server).folder().join("0.part");
    let mut bytes = fs::read(&part).unwrap();
    bytes[8] ^= 1;
    fs::write(&part, bytes).unwrap();
    let problem = parts.merge(&server).refused_as(409, "chunks-missing").json();
    assert_eq!(problem["missing"], json!([1]));
    assert!(server.finished().is_empty());
    assert_eq!(parts.uploaded(&server), [0]);
    parts.send(&server, 1);
    parts.merge(&server).expect(201);
    assert_eq!(server.the_file(), b"hello world!");
}
