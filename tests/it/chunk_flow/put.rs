//! `POST /upload`: one chunk, raw or in a form.

use std::{fs, thread, time::Duration};

use crate::{
    chunks::{Parts, field, file_part, form, form_of, query},
    client::{Answer, Request},
    digest::sha256_hex,
    disk::snapshot,
    random::Random,
    server::Server,
};

/// `hello `
const HELLO: &str = "5e3235a8346e5a4585f8c58562f5052b8fe26a3bb122e1e96c76784964dfc461";

#[track_caller]
fn is_the_first_answer(answer: &Answer) {
    let expected = serde_json::json!({
        "index": 0, "size": 6, "sha256": HELLO, "received": 1, "total": 2, "mergeable": false,
    });
    assert_eq!(answer.json(), expected);
}

/// The request is refused, and neither `uploads/` nor `tmp/` nor the status shows a trace.
#[track_caller]
fn refuses(server: &Server, parts: &Parts, request: &Request, status: u16) -> Answer {
    let before = (server.settled_uploads(), parts.status(server));
    let answer = server.ask(request).refused(status);
    assert_eq!((server.settled_uploads(), parts.status(server)), before, "{answer:?} left a trace");
    server.nothing_is_staged();
    answer
}

// rows: CHUNK-PUT-01
// spec: CHUNK-6
#[test]
fn a_raw_chunk_is_stored_as_it_is() {
    for method in ["POST", "PUT"] {
        let server = Server::start();
        let parts = Parts::hello();
        let mut request = parts.put(0);
        request.method = method.to_owned();
        is_the_first_answer(&server.ask(&request).expect(201));
        let upload = parts.as_upload(&server);
        assert_eq!(fs::read(upload.folder().join("0.part")).unwrap(), b"hello ");
        server.nothing_is_staged();
    }
}

// rows: CHUNK-PUT-02
// spec: CHUNK-12
#[test]
fn a_form_brings_the_same_wherever_its_fields_stand() {
    let fields = Parts::hello().fields(0);
    for before in 0..=fields.len() {
        let server = Server::start();
        let (before, after) = fields.split_at(before);
        is_the_first_answer(&server.ask(&form(before, b"hello ", after)).expect(201));
        let stored = server.uploads();
        assert_eq!(stored.len(), 1);
        let (size, digest) = stored.values().next().unwrap();
        assert_eq!((*size, digest.as_str()), (6, HELLO));
        server.nothing_is_staged();
    }
}

// rows: CHUNK-PUT-02
// spec: CHUNK-12
#[test]
fn the_file_of_a_form_has_two_names() {
    let server = Server::start();
    let parts = Parts::hello();
    let mut body: Vec<u8> =
        parts.fields(0).iter().flat_map(|(name, value)| field(name, value)).collect();
    body.extend(file_part("chunk", "blob", b"hello "));
    is_the_first_answer(&server.ask(&form_of(body)).expect(201));
}

// rows: CHUNK-PUT-03
// spec: CHUNK-13
#[test]
fn the_same_chunk_again_is_known() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 0);
    let before = server.uploads();
    is_the_first_answer(&server.ask(&parts.put(0)).expect(200));
    is_the_first_answer(&server.ask(&parts.put_form(0)).expect(200));
    assert_eq!(server.uploads(), before);
    server.nothing_is_staged();
}

// rows: CHUNK-PUT-04
// spec: CHUNK-13
#[test]
fn newer_bytes_win_while_receiving() {
    let server = Server::start();
    let mut parts = Parts::new("0123456789abcdef", "a.bin", 6, "hello world!and more");
    // 0, 1 and 2 make a prefix that may be absorbed already.
    for index in 0..3 {
        parts.send(&server, index);
    }
    server.settled_uploads();
    let answer = server.ask(&parts.put_bytes(1, b"WORLD?")).expect(201).json();
    assert_eq!(answer["sha256"], sha256_hex(b"WORLD?"));
    assert_eq!(answer["received"], 3);
    parts.bytes[6..12].copy_from_slice(b"WORLD?");
    parts.send(&server, 3);
    parts.merge(&server).expect(201);
    assert_eq!(server.the_file(), b"hello WORLD?and more");
}

// rows: CHUNK-PUT-05
// spec: CHUNK-6
#[test]
fn chunks_come_in_any_order_and_at_once() {
    let server = Server::start();
    let mut random = Random::seeded(5);
    let parts = Parts::new("0123456789abcdef", "a.bin", 1000, random.bytes(29_500));
    let order = random.shuffled((0..29).collect::<Vec<_>>());
    // The highest index first means nothing.
    assert_eq!(parts.send(&server, 29).json()["mergeable"], false);
    thread::scope(|scope| {
        for mine in order[..28].chunks(5) {
            let (server, parts) = (&server, &parts);
            scope.spawn(move || {
                for &index in mine {
                    assert_eq!(parts.send(server, index).json()["mergeable"], false);
                }
            });
        }
    });
    let last = parts.send(&server, order[28]).json();
    assert_eq!((&last["mergeable"], &last["received"]), (&true.into(), &30.into()));
    parts.merge(&server).expect(201);
    assert!(server.the_file() == parts.bytes);
}

// rows: CHUNK-PUT-06
// spec: CHUNK-7
#[test]
fn both_ways_to_count_the_last_chunk_are_legal() {
    let parts = |size: usize, chunk_size, total| {
        let bytes = &b"hello world!"[..size];
        Parts::new("0123456789abcdef", "a.bin", chunk_size, bytes).with_total(total)
    };
    for legal in [parts(12, 5, 3), parts(12, 5, 2), parts(3, 5, 1), parts(9, 5, 1), parts(0, 5, 1)]
    {
        let server = Server::start();
        legal.send_all(&server);
        let status = legal.status(&server);
        assert_eq!(status["mergeable"], true, "{status}");
        legal.merge(&server).expect(201);
        assert_eq!(server.the_file(), legal.bytes);
    }
    let empty = Server::start().ask(&parts(0, 5, 1).put(0)).expect(201).json();
    assert_eq!(empty["sha256"], sha256_hex(b""));
    assert_eq!(empty["mergeable"], true);

    let server = Server::start();
    for total in [1, 4, 0] {
        let mut illegal = parts(12, 5, 3);
        illegal.total = total;
        let target = format!("/upload?{}", query(&illegal.fields(0)));
        let put = Request::new("POST", &target).header("Content-Type", "application/octet-stream");
        server.ask(&put.body("hello")).refused(400);
    }
    assert!(server.uploads().is_empty());
}

// rows: CHUNK-PUT-07
// spec: CHUNK-11
#[test]
fn a_chunk_has_exactly_its_length() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 1);
    refuses(&server, &parts, &parts.put_bytes(0, b"hello w"), 413);
    refuses(&server, &parts, &parts.put_bytes(0, b"hello"), 400);
    refuses(&server, &parts, &form(&parts.fields(0), b"hello w", &[]), 413);
    refuses(&server, &parts, &form(&parts.fields(0), b"hello", &[]), 400);
    // Refused by what is announced, before a byte of it has come.
    for (announced, status) in [(7, 413), (5, 400)] {
        let mut head = parts.put(0).announcing(announced);
        head.body.clear();
        server.ask(&head).refused(status);
    }
    parts.send(&server, 0);
}

// rows: CHUNK-PUT-08
// spec: CHUNK-16, CORE-10
#[test]
fn a_chunk_that_does_not_come_whole_leaves_nothing() {
    let server = Server::with(&["--idle-timeout=900ms"]);
    let parts = Parts::hello();
    parts.send(&server, 1);
    let before = (server.uploads(), parts.status(&server));
    // A form is whole once its last boundary is, whatever stands behind that.
    for (request, cuts) in [(parts.put(0), [1, 3]), (parts.put_form(0), [3, 20])] {
        let wire = request.wire();
        for cut in cuts.into_iter().chain([request.body.len()]) {
            let mut connection = server.connect();
            connection.raw(&wire[..wire.len() - cut]);
            connection.finish();
            let _ = connection.closes_within(Duration::from_secs(20));
            let mut stalled = server.connect();
            stalled.raw(&wire[..wire.len() - cut]);
            let _ = stalled.closes_within(Duration::from_secs(20));
        }
    }
    server.nothing_is_staged();
    assert_eq!((server.uploads(), parts.status(&server)), before);
}

// rows: CHUNK-PUT-09
// spec: CHUNK-10
#[test]
fn a_raw_chunk_says_its_length_and_type() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 1);
    refuses(&server, &parts, &parts.put(0).chunked(b"hello ", 6), 411);
    refuses(&server, &parts, &parts.put(0).set("Content-Type", "text/plain"), 415);
    refuses(&server, &parts, &parts.put(0).without("Content-Type"), 415);
}

/// The parameters of chunk 0 with one of them changed.
fn with_parameter(parts: &Parts, name: &str, values: &[&str]) -> Request {
    let mut fields = parts.fields(0);
    fields.retain(|(other, _)| other != name);
    fields.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
    let target = format!("/upload?{}", query(&fields));
    Request::new("POST", &target).header("Content-Type", "application/octet-stream").body("hello ")
}

// rows: CHUNK-PUT-10
// spec: CHUNK-4, CORE-2
#[test]
fn each_parameter_is_there_once_and_plain() {
    let server = Server::start();
    let parts = Parts::hello();
    for (name, good) in [
        ("hash", "0123456789abcdef"),
        ("index", "0"),
        ("total", "2"),
        ("size", "12"),
        ("chunk_size", "6"),
    ] {
        let slug = format!("invalid-{}", name.replace('_', "-"));
        let mut wrong = vec![vec![], vec![good, good], vec![""], vec!["+6"], vec!["-6"], vec!["x"]];
        if name != "hash" {
            wrong
                .extend(["06", "9223372036854775808", "18446744073709551616"].map(|one| vec![one]));
        }
        for values in wrong {
            let answer = refuses(&server, &parts, &with_parameter(&parts, name, &values), 400);
            let problem = String::from_utf8_lossy(&answer.body).replace('_', "-");
            assert!(problem.contains(&slug), "{values:?} for {name}: {answer:?}");
        }
    }
    refuses(&server, &parts, &with_parameter(&parts, "index", &["2"]), 400);
    refuses(&server, &parts, &with_parameter(&parts, "chunk_size", &["0"]), 400);
}

// rows: CHUNK-PUT-11
// spec: STORE-13, CHUNK-1
#[test]
fn a_file_without_name_is_called_by_its_id() {
    let server = Server::start();
    let mut parts = Parts::hello();
    parts.filename = None;
    parts.send_all(&server);
    let id = parts.as_upload(&server).id().to_owned();
    parts.merge(&server).expect(201);
    let names = server.finished_names();
    assert!(names[0].starts_with(&id), "{names:?} of {id}");
}

// rows: CHUNK-PUT-12
// spec: CHUNK-9
#[test]
fn the_first_request_fixes_the_layout() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 1);
    for (name, value) in [("size", "11"), ("chunk_size", "7"), ("total", "1")] {
        let asked = with_parameter(&parts, name, &[value]);
        // A total that no layout has is as wrong by itself.
        let before = (server.uploads(), parts.status(&server));
        let answer = server.ask(&asked).expect_one(&[400, 409]);
        if name != "total" {
            answer.refused_as(409, "upload-metadata-mismatch");
        }
        assert_eq!((server.uploads(), parts.status(&server)), before);
    }
    let other = Parts::new("0123456789abcdef", "a.bin", 4, "hello world!");
    refuses(&server, &parts, &other.put(0), 409);
    // Both totals are legal by themselves.
    let three = Parts::new("fedcba9876543210", "a.bin", 5, "hello world!");
    three.send(&server, 1);
    let two = three.clone().with_total(2).put(0);
    refuses(&server, &three, &two, 409).refused_as(409, "upload-metadata-mismatch");
}

// rows: CHUNK-PUT-13
// spec: CHUNK-1
#[test]
fn two_names_make_two_uploads() {
    let server = Server::start();
    let first = Parts::hello();
    let mut second = Parts::new("0123456789abcdef", "b.bin", 6, "hello there!");
    first.send(&server, 0);
    second.send(&server, 0);
    assert_ne!(first.as_upload(&server).id(), second.as_upload(&server).id());
    first.send(&server, 1);
    second.send(&server, 1);
    second.merge(&server).expect(201);
    first.merge(&server).expect(201);
    first.as_upload(&server).is_file(b"hello world!");
    second.as_upload(&server).is_file(b"hello there!");
    second.filename = Some("a.bin".to_owned());
    assert_eq!(second.as_upload(&server).id(), first.as_upload(&server).id());
}

/// All ways to name the digest of a chunk, right or wrong.
fn digests(parts: &Parts, bytes: &[u8]) -> Vec<Request> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use md5::{Digest, Md5};
    let (sha, md5) = (crate::digest::sha256(bytes), Md5::digest(bytes));
    let hex = sha256_hex(bytes);
    let mut asked: Vec<Request> = [
        ("Content-Digest", format!("sha-256=:{}:", BASE64_STANDARD.encode(sha))),
        ("sha256", hex.clone()),
        ("X-Chunk-SHA256", hex.to_uppercase()),
        ("X-Chunk-SHA256", hex.clone()),
        ("Content-MD5", BASE64_STANDARD.encode(md5)),
        ("Content-MD5", crate::digest::hex(&md5)),
    ]
    .into_iter()
    .map(|(name, value)| parts.put(0).header(name, value))
    .collect();
    asked.push(with_parameter(parts, "sha256", &[&hex]));
    let mut fields = parts.fields(0);
    fields.push(("sha256".to_owned(), hex));
    asked.push(form(&fields, b"hello ", &[]));
    asked
}

// rows: CHUNK-PUT-14
// spec: CHUNK-14
#[test]
fn a_digest_is_compared_however_it_comes() {
    for (right, wrong) in
        digests(&Parts::hello(), b"hello ").iter().zip(digests(&Parts::hello(), b"hullo "))
    {
        let server = Server::start();
        let parts = Parts::hello();
        parts.send(&server, 1);
        let answer = refuses(&server, &parts, &wrong, 400);
        let problem = answer.refused_as(400, "digest-mismatch").json();
        for member in ["algorithm", "expected", "actual", "index"] {
            assert!(!problem[member].is_null(), "no {member} in {problem}");
        }
        is_stored(&server.ask(right).expect(201));
        refuses(&server, &parts, &wrong, 400);
    }
}

#[track_caller]
fn is_stored(answer: &Answer) {
    assert_eq!(answer.json()["sha256"], HELLO);
}

// rows: CHUNK-PUT-14: the digest of the stored chunk, over other bytes.
// spec: CHUNK-14
#[test]
fn a_right_digest_over_wrong_bytes_replaces_nothing() {
    let server = Server::start();
    let parts = Parts::hello();
    server.ask(&parts.put_bytes(0, b"hullo ")).expect(201);
    for asked in digests(&parts, b"hullo ") {
        refuses(&server, &parts, &asked, 400).refused_as(400, "digest-mismatch");
        assert_eq!(parts.check(&server, 0)["sha256"], sha256_hex(b"hullo "));
    }
}

// rows: CHUNK-PUT-15
// spec: CHUNK-14
#[test]
fn a_digest_that_says_nothing_is_refused_or_ignored() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 1);
    for (name, value) in [
        ("X-Chunk-SHA256", "zz"),
        ("sha256", "5e32"),
        ("Content-MD5", "!!!"),
        ("Content-Digest", "sha-256=nonsense:"),
        ("Content-Digest", "sha-256=:AAAA:"),
    ] {
        refuses(&server, &parts, &parts.put(0).header(name, value), 400);
    }
    let two = parts.put(0).header("X-Chunk-SHA256", HELLO);
    let two = two.header("sha256", sha256_hex(b"hullo "));
    refuses(&server, &parts, &two, 400).refused_as(400, "digest-mismatch");
    let unknown = parts.put(0).header("Content-Digest", "blake3=:AAAA:");
    server.ask(&unknown).expect(201);
}

// rows: CHUNK-PUT-16
// spec: CHUNK-12
#[test]
fn a_form_has_one_file_and_few_small_fields() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send(&server, 1);
    let fields: Vec<u8> =
        parts.fields(0).iter().flat_map(|(name, value)| field(name, value)).collect();
    let with = |more: Vec<u8>| form_of([fields.clone(), more].concat());
    let file = file_part("file", "blob", b"hello ");
    refuses(&server, &parts, &with(vec![]), 400);
    refuses(&server, &parts, &with([file.clone(), file.clone()].concat()), 400);
    let no_boundary = with(file.clone()).set("Content-Type", "multipart/form-data");
    refuses(&server, &parts, &no_boundary, 400);
    let many: Vec<u8> = (0..40).flat_map(|n| field(&format!("x{n}"), "y")).collect();
    let answer = server.ask(&with([many, file.clone()].concat())).expect_one(&[400, 413]);
    answer.json();
    let fat = field("x", &"y".repeat(9 * 1024));
    refuses(&server, &parts, &with([fat, file].concat()), 413);
}

// rows: CHUNK-PUT-16
// spec: CHUNK-12
#[test]
fn query_and_form_may_say_the_same() {
    let server = Server::start();
    let parts = Parts::hello();
    let mut both = parts.put_form(0);
    both.target = format!("/upload?{}", query(&parts.fields(0)));
    server.ask(&both).expect(201);
    both.target = format!("/upload?{}", query(&parts.fields(1)));
    refuses(&server, &parts, &both, 400);
}

// rows: CHUNK-PUT-17
// spec: STORE-14, CHUNK-1
#[test]
fn a_file_name_is_data() {
    let server = Server::start();
    fs::write(server.around().join("x"), "sentinel").unwrap();
    for (at, name) in ["../../x", "/etc/x", "..", "a\0b", "-rf", ".env"].into_iter().enumerate() {
        let parts = Parts::new(&format!("0123456789abcde{at}"), name, 6, "hello world!");
        server.ask(&parts.put(0)).expect(201);
        let mut second: Vec<u8> =
            parts.fields(1).iter().flat_map(|(name, value)| field(name, value)).collect();
        second.extend(file_part("file", "../../y", b"world!"));
        server.ask(&form_of(second)).expect(201);
        parts.merge(&server).expect(201);
    }
    let around = snapshot(server.around());
    let outside: Vec<_> = around.keys().filter(|path| !path.starts_with("data")).collect();
    assert_eq!(outside, ["x"].map(std::path::Path::new).iter().collect::<Vec<_>>());
    assert_eq!(server.finished().len(), 6);
    for name in server.finished_names() {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    for length in [256, 300] {
        let long = Parts::new("0123456789abcdef", &"n".repeat(length), 6, "hello world!");
        server.ask(&long.put(0)).refused(400);
    }
    for (at, name) in ["../../x", "/etc/x", &"n".repeat(300)].into_iter().enumerate() {
        let parts = Parts::new(&format!("fedcba987654321{at}"), "a.bin", 6, "hello world!");
        let mut part: Vec<u8> =
            parts.fields(0).iter().flat_map(|(name, value)| field(name, value)).collect();
        part.extend(file_part("file", name, b"hello "));
        server.ask(&form_of(part)).expect(201);
        assert_eq!(parts.status(&server)["filename"], "a.bin");
    }
}

// rows: CHUNK-PUT-18
// spec: CHUNK-17
#[test]
fn a_merged_file_takes_what_it_has_and_nothing_else() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send_all(&server);
    parts.merge(&server).expect(201);
    server.uploads_vanish();
    server.ask(&parts.put(0)).expect(200);
    server.ask(&parts.put_bytes(0, b"hullo ")).refused(409);
    assert_eq!(server.the_file(), b"hello world!");
    assert!(server.uploads().is_empty());
    server.nothing_is_staged();
    server.ask(&parts.delete()).expect(204);
    assert_eq!(server.ask(&parts.put(0)).expect(201).json()["received"], 1);
}

// rows: CHUNK-PUT-18: after expiry.
#[test]
fn after_expiry_a_new_upload_begins() {
    let server = Server::with(&["--expire-after=2s", "--reap-every=1h"]);
    let parts = Parts::hello();
    parts.send(&server, 1);
    thread::sleep(Duration::from_millis(2_600));
    let answer = server.ask(&parts.put(0)).expect(201).json();
    assert_eq!(answer["received"], 1);
    assert_eq!(parts.uploaded(&server), [0]);
}

// rows: CHUNK-PUT-19, first third
// spec: CHUNK-6
#[test]
fn the_tag_of_a_chunk_is_its_digest() {
    let server = Server::start();
    let parts = Parts::hello();
    for status in [201, 200] {
        let answer = server.ask(&parts.put(0)).expect(status);
        assert_eq!(answer.needs("ETag"), format!("\"{HELLO}\""));
    }
}

// rows: CHUNK-PUT-12: what is fixed need not be said again.
// spec: CHUNK-9
#[test]
fn later_chunks_may_leave_the_layout_out() {
    let server = Server::start();
    let parts = Parts::hello();
    let short = |index: usize| {
        let target = format!("/upload?{}&index={index}", parts.name());
        let put = Request::new("PUT", &target).header("Content-Type", "application/octet-stream");
        put.body(parts.chunk(index))
    };
    server.ask(&short(1)).refused(400);
    parts.send(&server, 0);
    server.ask(&short(1)).expect(201);
    let other = with_parameter(&parts, "size", &["11"]);
    let problem = server.ask(&other).refused_as(409, "upload-metadata-mismatch").json();
    let members = ["field", "stored", "given"].map(|name| problem[name].to_string());
    assert_eq!(members, ["\"size\"", "12", "11"], "{problem}");
    parts.merge(&server).expect(201);
}

// rows: CHUNK-PUT-19, the other two thirds
// spec: CHUNK-15
#[test]
fn conditions_are_held_against_the_tag() {
    let server = Server::start();
    let parts = Parts::hello();
    let (own, other) = (format!("\"{HELLO}\""), format!("\"{}\"", parts.digest(1)));
    let put = |bytes: &[u8], name: &str, value: &str| {
        server.ask(&parts.put_bytes(0, bytes).header(name, value))
    };
    for value in ["*", &own, &other] {
        put(b"hello ", "If-Match", value).refused_as(412, "precondition-failed");
    }
    assert!(server.uploads().is_empty());
    put(b"hello ", "If-None-Match", "*").expect(201);
    for (name, value) in [("If-None-Match", "*"), ("If-None-Match", &own), ("If-Match", &other)] {
        let answer = put(b"hullo ", name, value).refused_as(412, "precondition-failed");
        assert_eq!(answer.header("ETag"), Some(own.as_str()));
        assert_eq!(parts.check(&server, 0)["sha256"], HELLO);
    }
    put(b"hullo ", "If-Match", &own).expect(201);
    put(b"hello ", "If-None-Match", &own).expect(201);
    assert_eq!(parts.check(&server, 0)["sha256"], HELLO);
}

// spec: CHUNK-15
#[test]
fn of_two_chunks_that_must_be_the_first_one_is() {
    let server = Server::start();
    let parts = Parts::hello();
    let begun = [b"hello ", b"hullo "].map(|bytes| {
        let wire = parts.put_bytes(0, bytes).header("If-None-Match", "*").wire();
        let mut connection = server.connect();
        connection.raw(&wire[..wire.len() - 1]);
        (connection, wire)
    });
    let mut statuses = begun.map(|(mut connection, wire)| {
        connection.raw(&wire[wire.len() - 1..]);
        connection.answer("POST").status
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 412]);
}

/// Found by review: an upload whose finished file somebody took away could not be begun again.
#[test]
fn an_upload_whose_file_is_gone_begins_anew() {
    let server = Server::start();
    let parts = Parts::hello();
    parts.send_all(&server);
    parts.merge(&server).expect(201);
    fs::remove_file(&server.finished()[0]).unwrap();
    assert_eq!(parts.status(&server)["state"], "none");
    assert_eq!(server.ask(&parts.put(0)).expect(201).json()["received"], 1);
}

/// Found by review: the upload was begun before the length of its first chunk was compared.
#[test]
fn a_first_form_of_the_wrong_length_begins_nothing() {
    let server = Server::start();
    let parts = Parts::hello();
    let mut wrong = Parts::hello();
    wrong.bytes = b"hello world!!".to_vec();
    server.ask(&form(&wrong.fields(1), b"world!", &[])).refused(400);
    assert_eq!(parts.status(&server)["state"], "none");
    parts.send_all(&server);
}
