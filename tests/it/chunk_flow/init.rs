//! `POST /upload/init`.

use serde_json::{Value, json};

use crate::{
    chunks::{Parts, numbers},
    client::{Answer, Request},
    digest::sha256_hex,
    server::Server,
};

fn init(server: &Server, body: &Value) -> Answer {
    server.ask(&request(&body.to_string()))
}

fn request(body: &str) -> Request {
    Request::new("POST", "/upload/init").header("Content-Type", "application/json").body(body)
}

fn hello() -> Value {
    let (hash, filename) = ("0123456789ABCDEF", "a.bin");
    json!({ "hash": hash, "filename": filename, "size": 12, "chunk_size": 6, "total": 2 })
}

// spec: CHUNK-30
#[test]
fn an_upload_is_begun_once() {
    let mut server = Server::start();
    let answer = init(&server, &hello()).expect(201);
    let begun = answer.json();
    assert_eq!(begun["hash"], "0123456789abcdef");
    assert_eq!((&begun["chunk_size"], &begun["total"]), (&json!(6), &json!(2)));
    assert_eq!((&begun["uploaded"], &begun["missing"]), (&json!([]), &json!([0, 1])));
    assert_eq!((&begun["mergeable"], &begun["state"]), (&json!(false), &json!("receiving")));
    assert!(begun["expires_at"].as_str().unwrap().ends_with('Z'));
    let id = begun["upload_id"].as_str().unwrap().to_owned();
    let status = answer.needs("Location").to_owned();
    assert_eq!(status, format!("/upload/status?upload_id={id}"));
    assert_eq!(server.ask(&Request::new("GET", &status)).expect(200).json(), begun);

    server.restart();
    let again = init(&server, &hello()).expect(200);
    assert_eq!(again.json()["upload_id"], id);
    assert!(again.header("Location").is_none());

    let parts = Parts::hello();
    parts.send_all(&server);
    let there = init(&server, &hello()).expect(200).json();
    assert_eq!((&there["uploaded"], &there["mergeable"]), (&json!([0, 1]), &json!(true)));
    let merged = parts.merge(&server).expect(201).json();
    let finished = init(&server, &hello()).expect(200).json();
    assert_eq!((&finished["state"], &finished["result"]), (&json!("merged"), &merged));
    assert_eq!(server.the_file(), b"hello world!");
}

// spec: CHUNK-30: at once, as two tabs do it.
#[test]
fn two_that_begin_at_once_share_an_upload() {
    let server = Server::start();
    let request = request(&hello().to_string());
    let mut connections: Vec<_> = (0..8).map(|_| server.begin(&request)).collect();
    let answers: Vec<_> = connections.iter_mut().map(|c| c.answer("POST")).collect();
    let new = answers.iter().filter(|answer| answer.status == 201).count();
    let ids: Vec<_> = answers.iter().map(|answer| answer.json()["upload_id"].clone()).collect();
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201)), "{answers:?}");
    assert_eq!(new, 1);
    assert!(ids.iter().all(|id| *id == ids[0]));
}

// spec: CHUNK-31
#[test]
fn what_the_client_does_not_say_the_server_chooses() {
    let server = Server::start();
    let body = json!({ "size": 200_000 });
    let (first, second) = (init(&server, &body).expect(201).json(), init(&server, &body));
    let second = second.expect(201).json();
    assert_ne!(first["hash"], second["hash"]);
    assert_eq!(first["hash"].as_str().unwrap().len(), 40);
    assert_eq!((&first["chunk_size"], &first["total"]), (&json!(65536), &json!(4)));
    assert_eq!(first["filename"], Value::Null);

    let many = init(&server, &json!({ "size": 65536_u64 * 10_001 })).expect(201).json();
    assert_eq!((&many["chunk_size"], &many["total"]), (&json!(131_072), &json!(5001)));
    let longer_last = json!({ "size": 12, "chunk_size": 5, "total": 2 });
    assert_eq!(init(&server, &longer_last).expect(201).json()["total"], 2);
    let empty = init(&server, &json!({ "size": 0, "filename": "" })).expect(201).json();
    assert_eq!((&empty["total"], &empty["missing"]), (&json!(1), &json!([0])));

    let hash = first["hash"].as_str().unwrap();
    let parts = Parts::new(hash, "x", 65536, vec![7; 200_000]);
    let parts = Parts { filename: None, ..parts };
    parts.send_all(&server);
    assert_eq!(parts.merge(&server).expect(201).json()["size"], 200_000);
}

// spec: CHUNK-32
#[test]
fn only_chunks_of_the_digests_offered_count() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send_all(&server);
    let with = |chunks: Value| {
        let mut body = hello();
        body["chunks"] = chunks;
        init(&server, &body)
    };
    let edited = [parts.digest(0), sha256_hex(b"WORLD!")];
    let compared = with(json!(edited)).expect(200).json();
    assert_eq!((&compared["uploaded"], &compared["missing"]), (&json!([0]), &json!([1])));
    assert_eq!(compared["mergeable"], false);
    let same = with(json!([parts.digest(0), parts.digest(1)])).expect(200).json();
    assert_eq!((numbers(&same["uploaded"]), &same["mergeable"]), (vec![0, 1], &json!(true)));
    with(json!([parts.digest(0)])).refused_as(400, "invalid-chunks");
    with(json!([parts.digest(0), "x"])).refused_as(400, "invalid-chunks");
}

// spec: CHUNK-30: refusals.
#[test]
fn nonsense_begins_nothing() {
    let server = Server::with(&["--max-size=1MiB"]);
    for (member, value, slug) in [
        ("size", Value::Null, "invalid-size"),
        ("size", json!(1_u64 << 63), "invalid-size"),
        ("chunk_size", json!(0), "invalid-chunk-size"),
        ("chunk_size", json!((1_u64 << 31) + 1), "invalid-chunk-size"),
        ("total", json!(0), "invalid-total"),
        ("total", json!(3), "invalid-total"),
        ("total", json!(10_001), "invalid-total"),
        ("hash", json!("../../x"), "invalid-hash"),
        ("filename", json!("x".repeat(256)), "invalid-filename"),
        ("chunks", json!(["00"]), "invalid-chunks"),
        ("size", json!("12"), "malformed-json"),
    ] {
        let mut body = hello();
        body[member] = value;
        init(&server, &body).refused_as(400, slug);
    }
    let tiny = json!({ "size": 20_000, "chunk_size": 1 });
    init(&server, &tiny).refused_as(400, "invalid-chunk-size");
    init(&server, &json!({ "size": 1_048_577 })).refused_as(413, "max-size-exceeded");
    for body in ["[]", "{", "", "12"] {
        server.ask(&request(body)).refused_as(400, "malformed-json");
    }
    server.ask(&request(&hello().to_string()).set("Content-Type", "text/plain")).refused(415);
    server.ask(&request(&" ".repeat(800_000))).refused_as(413, "body-too-large");
    let wrong_method = server.ask(&Request::new("GET", "/upload/init")).refused(405);
    assert_eq!(wrong_method.needs("Allow"), "POST");
    assert_eq!(Parts::hello().status(&server)["state"], "none");

    init(&server, &hello()).expect(201);
    for (member, value) in [("size", json!(13)), ("chunk_size", json!(12)), ("total", json!(1))] {
        let mut body = hello();
        body[member] = value;
        let refused = init(&server, &body).refused_as(409, "upload-metadata-mismatch").json();
        assert_eq!(refused["field"], member);
    }
}

// spec: CHUNK-30: a file larger than any number of our chunks can be.
#[test]
fn a_file_that_no_chunks_can_hold_is_refused() {
    let server = Server::start();
    let size = 10_000 * (1_u64 << 31);
    assert_eq!(init(&server, &json!({ "size": size })).expect(201).json()["total"], 10_000);
    init(&server, &json!({ "size": size + 1 })).refused_as(413, "max-size-exceeded");
}
