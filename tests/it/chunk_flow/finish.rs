//! Finishing without waiting, and without being asked.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chunks::{Parts, merge},
    client::{Answer, Request},
    random::Random,
    server::Server,
};

fn merge_async(server: &Server, body: &Value, preference: &str) -> Answer {
    server.ask(&merge(body).header("Prefer", preference))
}

#[track_caller]
fn soon_merged(server: &Server, parts: &Parts) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = parts.status(server);
        if status["state"] == "merged" {
            return status["result"].clone();
        }
        assert!(Instant::now() < deadline, "not merged: {status}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What whoever prefers not to wait is told while a lock keeps the merge waiting, and the status
/// right behind that. Asked again where the merge lost its patience in between, as it may on a
/// busy machine.
#[track_caller]
fn told_to_look(server: &Server, parts: &Parts) -> (Answer, Value) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = merge_async(server, &parts.merge_body(), "respond-async").expect(202);
        let look = Request::new("GET", told.needs("Location"));
        let status = server.ask(&look).expect(200).json();
        if status["state"] == "merging" || Instant::now() >= deadline {
            return (told, status);
        }
    }
}

// A lock from outside makes the merge a long one.
// spec: CHUNK-33
#[test]
fn a_merge_runs_on_behind_its_answer() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send_all(&server);
    server.settled_uploads();
    let ledger = fs::File::open(parts.as_upload(&server).ledger()).unwrap();
    ledger.lock().unwrap();
    for _ in 0..3 {
        let (told, status) = told_to_look(&server, &parts);
        assert_eq!(told.json(), json!({"state": "merging"}));
        assert_eq!(told.needs("Preference-Applied"), "respond-async");
        told.needs("Retry-After");
        assert_eq!((&status["state"], &status["result"]), (&json!("merging"), &Value::Null));
    }
    ledger.unlock().unwrap();
    let result = soon_merged(&server, &parts);
    let again = merge_async(&server, &parts.merge_body(), "respond-async").expect(200);
    assert_eq!(again.json(), result);
    assert_eq!(server.the_file(), b"hello world!");
}

// spec: CHUNK-33: what is wrong is said at once, and a client may name its patience.
#[test]
fn who_prefers_not_to_wait_is_refused_all_the_same() {
    let server = Server::start();
    let parts = Parts::hello();
    merge_async(&server, &parts.merge_body(), "respond-async").refused_as(404, "unknown-upload");
    parts.send(&server, 0);
    let missing = merge_async(&server, &parts.merge_body(), "respond-async");
    assert_eq!(missing.refused_as(409, "chunks-missing").json()["missing"], json!([1]));
    parts.send(&server, 1);
    let mut wrong = parts.merge_body();
    wrong["digest"] = json!(parts.digest(0));
    merge_async(&server, &wrong, "respond-async").refused_as(422, "composite-mismatch");
    assert_eq!(parts.status(&server)["state"], "mergeable");
    let patient = "handling=lenient, Respond-Async;x=1, wait=\"10\"";
    let merged = merge_async(&server, &parts.merge_body(), patient).expect(201);
    assert_eq!(merged.json(), parts.status(&server)["result"]);
    assert_eq!(server.the_file(), b"hello world!");
}

// spec: CHUNK-34
#[test]
fn the_last_chunk_finishes_the_file() {
    // The answer waits for 2 s, which flushes of a busy disk may take.
    let server = Server::with(&["--auto-merge", "--durability=none"]);
    let parts = Parts::hello();
    let first = server.ask(&parts.put_form(1)).expect(201).json();
    assert!(first.get("result").is_none(), "{first}");
    let last = parts.send(&server, 0).json();
    assert_eq!((&last["mergeable"], &last["received"]), (&json!(true), &json!(2)));
    let result = parts.status(&server)["result"].clone();
    assert_eq!((&last["result"], &result["state"]), (&result, &json!("merged")));
    assert_eq!(server.ask(&parts.put(1)).expect(200).json()["result"], result);
    assert_eq!(parts.merge(&server).expect(200).json(), result);
    assert_eq!(server.the_file(), b"hello world!");
    server.ask(&parts.put_bytes(0, b"HELLO?")).refused_as(409, "chunk-conflict");
}

// spec: CHUNK-34: one winner among the last chunks.
#[test]
fn chunks_that_come_at_once_make_one_file() {
    let server = Server::with(&["--auto-merge", "--durability=none"]);
    for round in 0..8 {
        let parts = Parts::new(
            &format!("{round:08x}"),
            "same.bin",
            4096,
            Random::seeded(round).bytes(40_000),
        );
        let requests = (0..parts.total).map(|index| server.begin(&parts.put(index)));
        let mut connections: Vec<_> = requests.collect();
        let answers = connections.iter_mut().map(|conn| conn.answer("POST").expect(201).json());
        let results = answers.filter(|answer| answer.get("result").is_some()).count();
        assert!(results >= 1, "nobody was told");
        let result = soon_merged(&server, &parts);
        assert_eq!(result["size"], 40_000);
        let file = server.data().join("files").join(result["filename"].as_str().unwrap());
        assert!(fs::read(file).unwrap() == parts.bytes);
    }
    assert_eq!(server.finished().len(), 8);
}

// spec: CHUNK-34: what was complete when the process ended.
#[test]
fn a_start_finishes_what_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("piton.toml");
    fs::write(&file, "auto-merge = false\n").unwrap();
    let mut server = Server::with(&["--config", file.to_str().unwrap()]);
    let parts = Parts::hello();
    parts.send_all(&server);
    assert_eq!(parts.status(&server)["state"], "mergeable");
    server.kill_9();
    fs::write(&file, "auto-merge = true\n").unwrap();
    server.start_again();
    soon_merged(&server, &parts);
    assert_eq!(server.the_file(), b"hello world!");
}
