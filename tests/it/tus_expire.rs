//! Expiration.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    chunks::Parts,
    client::{Answer, Request},
    disk::files_below,
    server::{Server, until},
    tus::{Upload, append, create, create_with, offers, patch, request},
};

/// `Upload-Expires` as a point in time; it must be written as HTTP writes dates.
#[track_caller]
fn expires(answer: &Answer) -> SystemTime {
    let text = answer.needs("Upload-Expires");
    let time = httpdate::parse_http_date(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(httpdate::fmt_http_date(time), text, "not an IMF-fixdate");
    time
}

#[track_caller]
fn is_in(answer: &Answer, hours: u64) {
    let expected = SystemTime::now() + Duration::from_secs(hours * 3600);
    let told = expires(answer);
    let apart = told.duration_since(expected).unwrap_or_else(|early| early.duration());
    assert!(apart <= Duration::from_mins(1), "{apart:?} apart: {answer:?}");
}

// rows: TUS-EXP-01
// spec: TUS-24
#[test]
fn an_unfinished_upload_says_when_it_goes_and_a_finished_one_does_not() {
    let server = Server::with(&["--expire-after=3h"]);
    is_in(&server.ask(&create(11)).expect(201), 3);
    is_in(&server.ask(&create_with(11, "hello")).expect(201), 3);
    let upload = Upload::hello(&server);
    is_in(&upload.head(), 3);
    if offers(&server, "concatenation") {
        is_in(&server.ask(&create(11).header("Upload-Concat", "partial")).expect(201), 3);
    }
    let finishing = upload.patch(5, " world").expect(204);
    let with_body = server.ask(&create_with(11, "hello world")).expect(201);
    for answer in [finishing, upload.head(), with_body, server.ask(&create(0)).expect(201)] {
        assert_eq!(answer.header("Upload-Expires"), None, "{answer:?}");
    }
}

// rows: TUS-EXP-02
// spec: TUS-24
#[test]
fn every_answer_to_a_patch_tells_it() {
    let server = Server::with(&["--expire-after=3h"]);
    let upload = Upload::hello(&server);
    let url = &upload.url;
    let mut all = vec![
        (patch(url, 5, " "), 204),
        (patch(url, 3, "x"), 409),
        (patch(url, 6, "far too much"), 413),
        (append(url, 6).chunked(b"", 1), 204),
        (patch(url, 6, "x").without("Content-Type"), 415),
        (patch(url, 6, "x").header("Content-Encoding", "gzip"), 415),
        (patch(url, 6, "x").set("Upload-Offset", "x"), 400),
    ];
    if offers(&server, "checksum") {
        let checked = |sum| patch(url, 6, "x").header("Upload-Checksum", sum);
        all.push((checked("sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="), 460));
        all.push((checked("sha1 nonsense"), 400));
    }
    for (request, status) in all {
        is_in(&server.ask(&request).expect(status), 3);
    }
}

// rows: TUS-EXP-03
// spec: TUS-25
#[test]
fn bytes_move_the_deadline_and_words_do_not() {
    let server = Server::with(&["--expire-after=3h"]);
    let upload = Upload::hello(&server);
    let first = expires(&upload.head());
    thread::sleep(Duration::from_millis(2_100));
    assert_eq!(expires(&upload.patch(3, "x").expect(409)), first);
    assert_eq!(expires(&upload.patch(5, "").expect(204)), first);
    assert_eq!(expires(&upload.head()), first);
    assert!(expires(&upload.patch(5, " ").expect(204)) > first);
    assert!(expires(&upload.head()) > first);
}

/// *U5*, made by one request: there may be no time for another one.
#[track_caller]
fn hello(server: &Server) -> String {
    let answer = server.ask(&create_with(11, "hello")).expect(201);
    answer.needs("Location").to_owned()
}

/// HEAD, PATCH, GET and DELETE of an upload that expired.
#[track_caller]
fn is_gone(server: &Server, url: &str) {
    server.ask(&request("HEAD", url)).expect(410);
    for request in [patch(url, 5, " world"), Request::new("GET", url), request("DELETE", url)] {
        server.ask(&request).refused(410);
    }
}

// rows: TUS-EXP-04
// spec: TUS-26, TUS-14
#[test]
fn past_the_deadline_it_is_gone_before_any_sweep() {
    let options = ["--expire-after=100ms", "--reap-every=1h", "--log-level=debug"];
    let mut server = Server::with(&options);
    // Every start begins with a sweep.
    until(|| server.log().contains("swept"), || server.log());
    let url = hello(&server);
    thread::sleep(Duration::from_millis(250));
    is_gone(&server, &url);
    assert!(server.uploads().is_empty(), "whoever is told so ends it");
    server.restart();
    is_gone(&server, &url);
}

// rows: TUS-EXP-04, TUS-PATCH-13
// spec: TUS-26, STORE-17
#[test]
fn the_sweep_takes_the_bytes_and_leaves_the_word() {
    let mut server = Server::with(&["--expire-after=100ms", "--reap-every=50ms"]);
    let url = hello(&server);
    server.uploads_vanish();
    is_gone(&server, &url);
    server.restart();
    is_gone(&server, &url);
}

// rows: TUS-EXP-05
// spec: STORE-6, STORE-17
#[test]
fn a_finished_upload_stays() {
    let server = Server::with(&["--expire-after=100ms", "--reap-every=20ms"]);
    let finished = server.ask(&create_with(11, "hello world")).expect(201);
    let upload = Upload::from_answer(&server, &finished);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(upload.head().expect(200).offset(), 11);
    assert_eq!(upload.get().expect(200).body, b"hello world");
    assert_eq!(server.the_file(), b"hello world");
}

// rows: TUS-EXP-06
// spec: TUS-25, STORE-17, STORE-60
#[test]
fn a_running_patch_is_not_cut() {
    let server = Server::with(&["--expire-after=3s", "--reap-every=20ms"]);
    let upload = Upload::new(&server, 1000);
    let mut running = server.begin(&append(&upload.url, 0).announcing(1000));
    let since = Instant::now();
    let look = Request::new("GET", &format!("/upload/status?upload_id={}", upload.id()));
    for _ in 0..10 {
        running.raw([7; 100]);
        thread::sleep(Duration::from_millis(450));
        assert_ne!(server.ask(&look).expect(200).json()["state"], "none");
    }
    assert!(since.elapsed() > Duration::from_secs(4));
    assert_eq!(running.answer("PATCH").expect(204).offset(), 1000);
    upload.is_file(&[7; 1000]);
}

// rows: TUS-EXP-06: a chunk, raw and in a form: nothing is held while it comes.
// spec: TUS-25, STORE-17, STORE-60
#[test]
fn a_running_chunk_is_not_cut() {
    let server = Server::with(&["--expire-after=3s", "--reap-every=20ms"]);
    thread::scope(|scope| {
        for form in [false, true] {
            let server = &server;
            scope.spawn(move || {
                let hash = if form { "0123456789abcdef" } else { "fedcba9876543210" };
                let parts = Parts::new(hash, "a.bin", 1000, vec![7; 2000]);
                parts.send(server, 0);
                let request = if form { parts.put_form(1) } else { parts.put(1) };
                let mut head = request.clone();
                head.body.clear();
                let mut running = server.begin(&head);
                // The fields come before the file, and tell which upload it is for.
                let (first, last) = request.body.split_at(request.body.len() - 900);
                running.raw(first);
                for piece in last.chunks(45) {
                    running.raw(piece);
                    thread::sleep(Duration::from_millis(250));
                    assert_eq!(parts.uploaded(server)[0], 0, "{form}");
                }
                assert_eq!(running.answer("POST").expect(201).json()["received"], 2, "{form}");
                // Its bytes moved the deadline.
                thread::sleep(Duration::from_millis(200));
                parts.merge(server).expect(201);
            });
        }
    });
}

// rows: TUS-EXP-06: its bytes move the deadline though it is cut.
// spec: TUS-25
#[test]
fn the_bytes_of_a_cut_patch_move_the_deadline() {
    let server = Server::with(&["--expire-after=6s", "--reap-every=20ms"]);
    let upload = Upload::new(&server, 1000);
    let mut running = server.begin(&append(&upload.url, 0).announcing(1000));
    for _ in 0..4 {
        running.raw([7; 100]);
        thread::sleep(Duration::from_millis(1500));
    }
    running.finish();
    let _ = running.try_answer("PATCH");
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(upload.offset(), 400);
}

/// Two files that a kill left in `tmp/`.
fn staged(server: &mut Server) -> [PathBuf; 2] {
    let parts = Parts::new("0123456789abcdef", "a.bin", 100_000, vec![7; 300_000]);
    let mut open = Vec::new();
    for index in 0..2 {
        let wire = parts.put(index).wire();
        let mut connection = server.connect();
        connection.raw(&wire[..wire.len() - 3]);
        open.push(connection);
    }
    let tmp = server.data().join("tmp");
    until(|| files_below(&tmp).len() == 2, || format!("{:?}", files_below(&tmp)));
    server.crash();
    files_below(&tmp).try_into().unwrap()
}

// rows: TUS-EXP-08
// spec: STORE-17, STORE-6
#[test]
fn what_nobody_owns_is_swept_and_what_is_not_ours_stays() {
    let mut server = Server::with(&["--reap-every=50ms"]);
    let upload = Upload::hello(&server);
    let url = upload.url.clone();
    let orphan = server.data().join("uploads").join("0123456789abcdef0123456789abcdef");
    fs::create_dir_all(&orphan).unwrap();
    fs::write(orphan.join("0.part"), "orphan").unwrap();
    let foreign = server.data().join("notes.txt");
    fs::write(&foreign, "not ours").unwrap();
    let [old, young] = staged(&mut server);
    let long_ago = SystemTime::now() - Duration::from_hours(8 * 24);
    for path in [&old, &orphan.join("0.part")] {
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    fs::File::open(&orphan).unwrap().set_modified(long_ago).unwrap();
    let gone = || !old.try_exists().unwrap() && !orphan.try_exists().unwrap();
    until(gone, || format!("left: {:?}", files_below(&server.data())));
    assert!(foreign.try_exists().unwrap());
    assert!(young.try_exists().unwrap());
    assert_eq!(Upload { server: &server, url: url.clone() }.offset(), 5);
    server.restart();
    assert!(foreign.try_exists().unwrap());
    assert_eq!(Upload { server: &server, url }.offset(), 5);
}
