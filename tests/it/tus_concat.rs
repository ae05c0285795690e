//! Concatenation: partial uploads, and final uploads made of them.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Answer, Request},
    digest::composite,
    random::Random,
    server::{CHUNK, Server, until},
    tus::{FILES, OFFSET_TYPE, Upload, create, patch, request},
};

/// A POST that makes a partial upload.
pub fn create_partial(length: u64) -> Request {
    create(length).header("Upload-Concat", "partial")
}

/// A partial upload that has all of its bytes.
#[track_caller]
pub fn partial<'a>(server: &'a Server, bytes: &[u8]) -> Upload<'a> {
    let request = create_partial(bytes.len() as u64);
    let request = if bytes.is_empty() {
        request
    } else {
        request.header("Content-Type", OFFSET_TYPE).body(bytes)
    };
    Upload::from_answer(server, &server.ask(&request).expect(201))
}

/// A POST that makes a final upload.
pub fn join(value: &str) -> Request {
    request("POST", FILES).header("Upload-Concat", value)
}

/// The value that names these uploads.
pub fn final_of(parts: &[&Upload<'_>]) -> String {
    let urls: Vec<&str> = parts.iter().map(|part| part.url.as_str()).collect();
    format!("final;{}", urls.join(" "))
}

/// A final upload that is whole in its 201.
#[track_caller]
fn joined<'a>(server: &'a Server, value: &str, bytes: &[u8]) -> Upload<'a> {
    let answer = server.ask(&join(value)).expect(201);
    assert_eq!(answer.offset(), bytes.len() as u64);
    assert_eq!(answer.header("Upload-Expires"), None);
    let upload = Upload::from_answer(server, &answer);
    upload.is_file(bytes);
    upload
}

/// Waits until a final upload has completed by itself.
#[track_caller]
pub fn completes(upload: &Upload<'_>) {
    let completed = || upload.head().expect(200).header("Upload-Offset").is_some();
    until(completed, || format!("{} does not complete", upload.url));
}

/// HEAD of a final upload that waits.
#[track_caller]
fn is_pending(upload: &Upload<'_>) -> Answer {
    let head = upload.head().expect(200);
    assert_eq!(head.header("Upload-Offset"), None, "{head:?}");
    assert!(head.needs("Upload-Concat").starts_with("final;"));
    head
}

// rows: TUS-CAT-01, TUS-CAT-02
// spec: TUS-90, TUS-91
#[test]
fn a_partial_upload_is_an_upload_that_never_becomes_a_file() {
    let server = Server::start();
    let empty = partial(&server, b"");
    assert_eq!(empty.head().expect(200).offset(), 0);
    let with_body = partial(&server, b"hello world");
    let in_pieces = Upload::from_answer(&server, &server.ask(&create_partial(11)).expect(201));
    assert_eq!(in_pieces.offset(), 0);
    in_pieces.patch(0, "hello").expect(204);
    assert_eq!(in_pieces.patch(5, " world").expect(204).offset(), 11);
    let deferred =
        request("POST", FILES).header("Upload-Concat", "partial").header("Upload-Defer-Length", 1);
    let deferred = Upload::from_answer(&server, &server.ask(&deferred).expect(201));
    assert_eq!(deferred.head().expect(200).header("Upload-Defer-Length"), Some("1"));
    deferred.patch(0, "hello").expect(204);
    let last = patch(&deferred.url, 5, " world").header("Upload-Length", 11);
    server.ask(&last).expect(204);
    for (upload, length) in [(empty, 0), (with_body, 11), (in_pieces, 11), (deferred, 11)] {
        let head = upload.head().expect(200);
        assert_eq!(head.header("Upload-Concat"), Some("partial"));
        assert_eq!(head.needs("Upload-Length"), length.to_string());
        assert_eq!(head.offset(), length);
        assert!(head.header("Upload-Expires").is_some(), "{head:?}");
        upload.get().refused(404);
        assert_eq!(upload.patch(length, "").expect(204).offset(), length);
    }
    assert!(server.finished().is_empty());
}

// rows: TUS-CAT-03, TUS-CAT-07, TUS-CAT-08, TUS-CAT-15
// spec: TUS-92, TUS-93
#[test]
fn the_bytes_of_partial_uploads_are_joined_in_order_as_often_as_asked() {
    let mut server = Server::start();
    let (a, b) = (partial(&server, b"hello "), partial(&server, b"world"));
    let orders: [(Vec<&Upload<'_>>, &[u8]); 4] = [
        (vec![&a, &b], b"hello world"),
        (vec![&b, &a], b"worldhello "),
        (vec![&a, &a, &b], b"hello hello world"),
        // The first answer may have been lost.
        (vec![&a, &b], b"hello world"),
    ];
    let mut made = Vec::new();
    for (parts, bytes) in orders {
        let upload = joined(&server, &final_of(&parts), bytes);
        let head = upload.head().expect(200);
        assert_eq!(head.needs("Upload-Length"), bytes.len().to_string());
        assert_eq!(head.header("Upload-Expires"), None);
        made.push((upload.url, bytes));
    }
    assert_eq!(server.finished().len(), 4);
    let b_url = b.url.clone();
    a.delete().expect(204);
    server.ask(&request("DELETE", &made[0].0)).expect(204);
    server.restart();
    let at = |url: &str| Upload { server: &server, url: url.to_owned() };
    at(&made[0].0).head().expect(404);
    for (url, bytes) in &made[1..] {
        at(url).is_file(bytes);
    }
    assert_eq!(at(&b_url).offset(), 5);
    joined(&server, &format!("final;{b_url}"), b"world");
}

// rows: TUS-CAT-04, TUS-CAT-05, TUS-CAT-06
// spec: TUS-94
#[test]
fn parts_are_named_as_clients_name_them_and_the_header_comes_back_as_it_was() {
    let mut server = Server::start();
    let (a, b) = (partial(&server, b"hello "), partial(&server, b"world"));
    let host = server.address();
    let values = [
        final_of(&[&a, &b]),
        format!("final; {} {}", a.url, b.url),
        format!("final;http://{host}{} http://{host}{}", a.url, b.url),
        format!("final;https://up.example/behind{}   {}/", a.url, b.url),
        format!("final;{} {}", a.id(), b.id()),
    ];
    let mut made = Vec::new();
    for value in &values {
        made.push((joined(&server, value, b"hello world").url, value));
    }
    server.restart();
    for (url, value) in made {
        let head = Upload { server: &server, url }.head().expect(200);
        assert_eq!(head.header("Upload-Concat"), Some(value.as_str()));
    }
}

// rows: TUS-CAT-09
// spec: TUS-95
#[test]
fn metadata_is_not_inherited() {
    let server = Server::start();
    let named = create_partial(5).header("Upload-Metadata", "filename cGFydC5iaW4=");
    let named = named.header("Content-Type", OFFSET_TYPE).body("hello");
    let part = Upload::from_answer(&server, &server.ask(&named).expect(201));
    let bare = joined(&server, &final_of(&[&part]), b"hello");
    assert_eq!(bare.head().expect(200).header("Upload-Metadata"), None);
    let value = "filename d2hvbGUudHh0,filetype dGV4dC9wbGFpbg==";
    let own = join(&final_of(&[&part])).header("Upload-Metadata", value);
    let own = Upload::from_answer(&server, &server.ask(&own).expect(201));
    assert_eq!(own.head().expect(200).header("Upload-Metadata"), Some(value));
    assert!(own.get().expect(200).needs("Content-Disposition").contains("whole.txt"));
    let files = server.finished_names();
    assert!(files.iter().any(|name| name.starts_with("whole-")), "{files:?}");
    assert!(!files.iter().any(|name| name.contains("part")), "{files:?}");
}

// rows: TUS-CAT-10, TUS-CAT-11, TUS-CAT-12
// spec: TUS-94, TUS-96
#[test]
fn what_is_no_final_upload_is_refused_and_nothing_is_made() {
    let server = Server::start();
    let part = partial(&server, b"hello");
    let gone = partial(&server, b"gone");
    gone.delete().expect(204);
    let plain = Upload::finished(&server);
    let open = Upload::hello(&server);
    let whole = joined(&server, &final_of(&[&part]), b"hello");
    let value = final_of(&[&part]);
    let before = (server.finished_names(), server.uploads());
    let with = |header: &str, value: &str| join(&final_of(&[&part])).header(header, value);
    let mut refusals = vec![
        (with("Upload-Length", "5"), 400),
        (with("Upload-Defer-Length", "1"), 400),
        (with("Content-Type", OFFSET_TYPE).body("hello"), 403),
        (join(&value).chunked(b"hello", 2), 403),
        (with("Upload-Concat", &value), 400),
    ];
    let outside = format!("final;/elsewhere/{}", part.id());
    let unknown = "final;/files/00000000000000000000000000000000".to_owned();
    let query = format!("{value}?a=b");
    for value in ["final;", "final; ", "final", "Partial", "foo", "final;/files/", "final;/files/a"]
        .map(str::to_owned)
        .into_iter()
        .chain([value.replace("final", "Final"), outside, unknown, query])
        .chain([&gone.url, &plain.url, &open.url, &whole.url].map(|url| format!("{value} {url}")))
    {
        refusals.push((join(&value), 400));
    }
    for (request, status) in refusals {
        server.ask(&request).refused(status);
    }
    assert_eq!((server.finished_names(), server.uploads()), before);
    let body_of_nothing = join(&value).chunked(b"", 1);
    server.ask(&body_of_nothing).expect(201);
}

// rows: TUS-CAT-12
// spec: TUS-96
#[test]
fn what_expired_is_no_part() {
    let server = Server::with(&["--expire-after=2s", "--reap-every=1h"]);
    let expired = partial(&server, b"expired");
    thread::sleep(Duration::from_millis(2_600));
    let part = partial(&server, b"hello");
    server.ask(&join(&final_of(&[&part, &expired]))).refused(400);
    assert!(server.finished().is_empty());
    // It was not for the other one.
    joined(&server, &final_of(&[&part]), b"hello");
}

// rows: TUS-CAT-13, TUS-CATU-08
// spec: TUS-97
#[test]
fn a_maximum_holds_for_the_sum() {
    let server = Server::with(&["--max-size=10"]);
    let (a, b) = (partial(&server, b"sixsix"), partial(&server, b"five5"));
    server.ask(&join(&final_of(&[&a, &b]))).refused(413);
    assert!(server.finished().is_empty());
    let open = Upload::from_answer(&server, &server.ask(&create_partial(5)).expect(201));
    server.ask(&join(&final_of(&[&a, &open]))).refused(413);

    let deferred =
        request("POST", FILES).header("Upload-Concat", "partial").header("Upload-Defer-Length", 1);
    let deferred = Upload::from_answer(&server, &server.ask(&deferred).expect(201));
    let made = server.ask(&join(&final_of(&[&a, &deferred]))).expect(201);
    let upload = Upload::from_answer(&server, &made);
    is_pending(&upload);
    let declaring = patch(&deferred.url, 0, "five5").header("Upload-Length", 5);
    server.ask(&declaring).expect(204);
    upload.head().expect(410);
    assert_eq!(deferred.offset(), 5);
    joined(&server, &final_of(&[&deferred]), b"five5");
}

// rows: TUS-CAT-14, CROSS-10
// spec: TUS-98
#[test]
fn a_final_upload_takes_no_bytes() {
    let server = Server::start();
    let part = partial(&server, b"hello");
    let whole = joined(&server, &final_of(&[&part]), b"hello");
    let open = Upload::from_answer(&server, &server.ask(&create_partial(11)).expect(201));
    let pending = server.ask(&join(&final_of(&[&part, &open]))).expect(201);
    let pending = Upload::from_answer(&server, &pending);
    for url in [&whole.url, &pending.url] {
        for request in [
            patch(url, 5, "x"),
            patch(url, 0, "hello"),
            patch(url, 5, ""),
            patch(url, 5, "x").set("Content-Type", "text/plain"),
            patch(url, 5, "x").without("Upload-Offset"),
        ] {
            server.ask(&request).refused_as(403, "final-upload");
        }
        let id = url.rsplit('/').next().unwrap();
        let put = format!("/upload?hash={id}&index=0&total=1&size=5&chunk_size={CHUNK}");
        let put = Request::new("POST", &put).header("Content-Type", "application/octet-stream");
        server.ask(&put.body("other")).refused_as(403, "final-upload");
    }
    whole.is_file(b"hello");
    is_pending(&pending);
    let status =
        server.ask(&Request::new("GET", &format!("/upload/status?upload_id={}", { pending.id() })));
    let status = status.expect(200).json();
    assert_eq!(status["state"], "receiving");
    // A partial upload is no file for the other dialect either.
    let merge = format!(r#"{{"hash":"{}"}}"#, part.id());
    let merge =
        Request::new("POST", "/merge").header("Content-Type", "application/json").body(merge);
    server.ask(&merge).refused_as(403, "partial-upload");
    assert_eq!(part.offset(), 5);
}

// rows: TUS-CAT-16
// spec: TUS-93
#[test]
fn sizes_have_edges() {
    let server = Server::start();
    let mut random = Random::announced("sizes_have_edges");
    let singles: Vec<Upload<'_>> = (0..100).map(|n| partial(&server, &[n])).collect();
    let bytes: Vec<u8> = (0..100).collect();
    joined(&server, &final_of(&singles.iter().collect::<Vec<_>>()), &bytes);

    let sizes = [4095, CHUNK + 1, 0, 3 * CHUNK, 8192, 1];
    let pieces: Vec<Vec<u8>> = sizes.iter().map(|&size| random.bytes(size)).collect();
    let parts: Vec<Upload<'_>> = pieces.iter().map(|piece| partial(&server, piece)).collect();
    joined(&server, &final_of(&parts.iter().collect::<Vec<_>>()), &pieces.concat());
    joined(&server, &final_of(&[&parts[3], &parts[4], &parts[1]]), &{
        [&pieces[3][..], &pieces[4], &pieces[1]].concat()
    });

    let none = partial(&server, b"");
    joined(&server, &final_of(&[&none, &none]), b"");

    let host = server.address();
    let urls = vec![format!("http://{host}{}", singles[7].url); 500];
    let answer = server.ask(&join(&format!("final;{}", urls.join(" "))));
    if answer.expect_one(&[201, 431]).status == 201 {
        let upload = joined(&server, &format!("final;{}", urls.join(" ")), &[7; 500]);
        assert_eq!(upload.head().expect(200).needs("Upload-Length"), "500");
    }
}

// spec: TUS-99
#[test]
fn the_digests_of_a_final_upload_follow_its_answer() {
    let mut server = Server::start();
    let bytes = Random::announced("the_digests_of_a_final_upload").bytes(3 * CHUNK + 5);
    let (a, b) = (partial(&server, &bytes[..CHUNK / 2]), partial(&server, &bytes[CHUNK / 2..]));
    let upload = joined(&server, &final_of(&[&a, &b]), &bytes);
    let (url, id) = (upload.url.clone(), upload.id().to_owned());
    let urls = [a.url, b.url];
    let tag = upload.get().expect(200).needs("ETag").to_owned();
    server.restart();
    let status = Request::new("GET", &format!("/upload/status?upload_id={id}"));
    let deadline = Instant::now() + Duration::from_secs(10);
    let told = loop {
        let told = server.ask(&status).expect(200).json();
        assert_eq!(told["state"], "merged");
        if !told["result"]["composite_sha256"].is_null() {
            break told;
        }
        assert!(Instant::now() < deadline, "no digest: {told}");
        thread::sleep(Duration::from_millis(5));
    };
    let chunks: Vec<&[u8]> = bytes.chunks(CHUNK).collect();
    assert_eq!(told["result"]["composite_sha256"], composite(&chunks).as_str());
    let upload = Upload { server: &server, url };
    assert_eq!(upload.get().expect(200).needs("ETag"), tag);
    for url in &urls {
        server.ask(&request("DELETE", url)).expect(204);
    }
    server.uploads_vanish();
}

// rows: TUS-CATU-01, TUS-CATU-02, TUS-CATU-04, TUS-CATU-05
// spec: TUS-100, TUS-101
#[test]
fn a_final_upload_waits_for_its_parts() {
    let server = Server::start();
    let open = || Upload::from_answer(&server, &server.ask(&create_partial(5)).expect(201));
    for order in [[0, 1], [1, 0]] {
        let parts = [open(), open()];
        parts[0].patch(0, "he").expect(204);
        let value = final_of(&[&parts[0], &parts[1], &parts[0]]);
        let made = server.ask(&join(&value)).expect(201);
        assert!(made.header("Upload-Expires").is_some(), "{made:?}");
        assert_eq!(made.header("Upload-Offset"), None);
        let upload = Upload::from_answer(&server, &made);
        let head = is_pending(&upload);
        assert_eq!(head.header("Upload-Concat"), Some(value.as_str()));
        assert_eq!(head.header("Upload-Length"), Some("15"));
        assert!(head.header("Upload-Expires").is_some());
        upload.get().refused(404);
        assert_eq!([parts[0].offset(), parts[1].offset()], [2, 0]);
        for part in order {
            is_pending(&upload);
            let (offset, bytes) = [(2, "llo"), (0, "world")][part];
            parts[part].patch(offset, bytes).expect(204);
        }
        completes(&upload);
        upload.is_file(b"helloworldhello");
        let head = upload.head().expect(200);
        assert_eq!(head.needs("Upload-Length"), "15");
        assert_eq!(head.header("Upload-Expires"), None);
    }
}

// rows: TUS-CATU-03
// spec: TUS-100
#[test]
fn the_length_is_open_while_one_part_s_is() {
    let server = Server::start();
    let deferred =
        request("POST", FILES).header("Upload-Concat", "partial").header("Upload-Defer-Length", 1);
    let deferred = Upload::from_answer(&server, &server.ask(&deferred).expect(201));
    let part = partial(&server, b"hello");
    let made = server.ask(&join(&final_of(&[&part, &deferred]))).expect(201);
    let upload = Upload::from_answer(&server, &made);
    let head = is_pending(&upload);
    assert_eq!(head.header("Upload-Length"), None);
    assert_eq!(head.header("Upload-Defer-Length"), Some("1"));
    let status = Request::new("GET", &format!("/upload/status?upload_id={}", upload.id()));
    let status = server.ask(&status).expect(200).json();
    assert!(status["size"].is_null() && status["total"].is_null(), "{status}");
    let declaring = patch(&deferred.url, 0, " wo").header("Upload-Length", 6);
    server.ask(&declaring).expect(204);
    let head = is_pending(&upload);
    assert_eq!(head.header("Upload-Length"), Some("11"));
    assert_eq!(head.header("Upload-Defer-Length"), None);
    deferred.patch(3, "rld").expect(204);
    completes(&upload);
    upload.is_file(b"hello world");
}

// rows: TUS-CATU-07, TUS-EXP-07
// spec: TUS-102
#[test]
fn a_final_upload_ends_with_one_of_its_parts_and_not_the_other_way_round() {
    let server = Server::start();
    let open = || Upload::from_answer(&server, &server.ask(&create_partial(5)).expect(201));
    let [a, b] = [open(), open()];
    let value = final_of(&[&a, &b]);
    let made =
        [(); 2].map(|()| Upload::from_answer(&server, &server.ask(&join(&value)).expect(201)));
    made[0].delete().expect(204);
    made[0].head().expect(404);
    a.patch(0, "hello").expect(204);
    is_pending(&made[1]);
    b.delete().expect(204);
    made[1].head().expect(410);
    server.ask(&patch(&made[1].url, 0, "x")).refused(410);
    made[1].get().refused(410);
    assert_eq!(a.offset(), 5);
    joined(&server, &final_of(&[&a]), b"hello");
}

// rows: TUS-CATU-07, TUS-EXP-07
// spec: TUS-102
#[test]
fn a_final_upload_ends_when_a_part_expires() {
    let server = Server::with(&["--expire-after=3s", "--reap-every=200ms"]);
    let a = Upload::from_answer(&server, &server.ask(&create_partial(5)).expect(201));
    let made = server.ask(&join(&final_of(&[&a]))).expect(201);
    let upload = Upload::from_answer(&server, &made);
    let complete = partial(&server, b"whole");
    thread::sleep(Duration::from_millis(4500));
    a.head().expect(410);
    upload.head().expect(410);
    complete.head().expect(410);
    server.uploads_vanish();
}

// rows: TUS-CATU-06
// spec: TUS-101
#[test]
fn a_restart_between_any_two_steps_changes_nothing() {
    let mut server = Server::start();
    let urls: Vec<String> = (0..2)
        .map(|_| server.ask(&create_partial(5)).expect(201).needs("Location").to_owned())
        .collect();
    server.restart();
    let made = server.ask(&join(&format!("final;{} {}", urls[0], urls[1]))).expect(201);
    let url = made.needs("Location").to_owned();
    for (part, bytes) in urls.iter().zip(["hello", "world"]) {
        server.restart();
        is_pending(&Upload { server: &server, url: url.clone() });
        server.ask(&patch(part, 0, bytes)).expect(204);
    }
    server.crash();
    let upload = Upload { server: &server, url };
    completes(&upload);
    upload.is_file(b"helloworld");
}

// rows: TUS-CAT-15
// spec: TUS-103
#[test]
fn consumed_parts_are_gone() {
    let server = Server::with(&["--consume-partials"]);
    let mut random = Random::announced("consumed_parts_are_gone");
    let pieces = [random.bytes(2 * CHUNK + 7), random.bytes(100), random.bytes(CHUNK)];
    let parts: Vec<Upload<'_>> = pieces.iter().map(|piece| partial(&server, piece)).collect();
    let all: Vec<&Upload<'_>> = parts.iter().collect();
    let upload = joined(&server, &final_of(&all), &pieces.concat());
    for part in &parts {
        part.head().expect(404);
    }
    server.ask(&join(&final_of(&all))).refused(400);
    upload.is_file(&pieces.concat());
    server.uploads_vanish();

    let again = partial(&server, b"ab");
    joined(&server, &final_of(&[&again, &again]), b"abab");
    again.head().expect(404);
}
