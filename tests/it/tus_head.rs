//! HEAD: what an upload is told to be.

use std::{thread, time::Duration};

use crate::{
    random::Random,
    server::{CHUNK, Server, until},
    tus::{Upload, append, create_with, patch, request},
};

// rows: TUS-HEAD-01, TUS-HEAD-03
// spec: TUS-13
#[test]
fn it_tells_offset_and_length_and_is_not_kept_by_caches() {
    let server = Server::start();
    for (upload, offset) in [
        (Upload::new(&server, 11), 0),
        (Upload::hello(&server), 5),
        (Upload::finished(&server), 11),
    ] {
        let head = upload.head().expect(200);
        assert_eq!(head.offset(), offset);
        assert_eq!(head.header("Upload-Length"), Some("11"));
        assert_eq!(head.header("Cache-Control"), Some("no-store"));
        assert!(matches!(head.header("Content-Length"), None | Some("0")), "{head:?}");
    }
}

// rows: TUS-HEAD-01: the answer has no body, or the next one on the connection would be misread.
// spec: TUS-13, CORE-1
#[test]
fn it_has_no_body() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let mut connection = server.connect();
    for _ in 0..3 {
        assert_eq!(connection.ask(&request("HEAD", &upload.url)).expect(200).offset(), 5);
        connection.ask(&request("HEAD", "/files/none")).expect(404);
    }
    assert!(connection.silent_for(Duration::from_millis(20)));
}

// rows: TUS-HEAD-02
// spec: TUS-14
#[test]
fn what_is_not_there_has_no_offset() {
    let short_lived = Server::with(&["--expire-after=100ms", "--reap-every=1h"]);
    let answer = short_lived.ask(&create_with(11, "hello")).expect(201);
    let expired = Upload::from_answer(&short_lived, &answer);
    thread::sleep(Duration::from_millis(250));
    let server = Server::start();
    let terminated = Upload::hello(&server);
    terminated.delete().expect(204);
    let unknown =
        Upload { server: &server, url: "/files/00000000000000000000000000000000".to_owned() };
    for (upload, status) in [(unknown, 404), (terminated, 404), (expired, 410)] {
        let head = upload.head().expect(status);
        assert_eq!(head.header("Upload-Offset"), None, "{head:?}");
        assert_eq!(head.header("Cache-Control"), Some("no-store"), "{head:?}");
    }
}

// rows: TUS-HEAD-02: after the sweep too.
// spec: TUS-14, TUS-26
#[test]
fn a_swept_upload_is_gone_and_not_unknown() {
    let server = Server::with(&["--expire-after=50ms", "--reap-every=50ms"]);
    // In one request: there may be no time for another one.
    let upload = Upload::from_answer(&server, &server.ask(&create_with(11, "hello")).expect(201));
    until(|| !upload.folder().try_exists().unwrap(), || format!("{} is there", upload.url));
    let head = upload.head().expect(410);
    assert_eq!(head.header("Upload-Offset"), None);
}

// rows: TUS-HEAD-04
// spec: TUS-25
#[test]
fn a_look_does_not_keep_an_upload_alive() {
    let server = Server::with(&["--expire-after=1h"]);
    let upload = Upload::hello(&server);
    let first = upload.head().needs("Upload-Expires").to_owned();
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(upload.head().needs("Upload-Expires"), first);
}

// rows: TUS-HEAD-05
#[test]
fn it_does_not_fail_while_the_reaper_runs_or_others_stall() {
    let server = Server::with(&["--expire-after=1h", "--reap-every=5ms"]);
    let upload = Upload::hello(&server);
    let _stalled = Upload::new(&server, 1000).stall(0, 1000, b"some bytes");
    let mut connection = server.connect();
    for _ in 0..1000 {
        connection.ask(&request("HEAD", &upload.url)).expect(200);
    }
}

// rows: TUS-HEAD-05: a full disk, also under a PATCH that it ends, and right after a start.
// spec: CORE-16
#[test]
fn it_does_not_fail_while_the_disk_is_full() {
    let mut server = Server::start();
    let bytes = Random::seeded(5).bytes(4 * CHUNK);
    let whole = Upload::finished(&server).url;
    let small = Upload::hello(&server).url;
    let large = Upload::new(&server, bytes.len() as u64);
    let mut running = large.stall(0, bytes.len() as u64, &bytes[..CHUNK + 99]);
    large.has_stored(CHUNK as u64 + 99);
    let url = large.url;
    server.fill_disk();
    let ask = |server: &Server| {
        let mut connection = server.connect();
        for _ in 0..334 {
            for (url, offset) in [(&whole, 11), (&small, 5), (&url, CHUNK as u64 + 99)] {
                let head = connection.ask(&request("HEAD", url)).expect(200);
                assert_eq!(head.offset(), offset, "{url}");
            }
        }
    };
    ask(&server);
    if let Ok(answer) = running.try_answer("PATCH") {
        answer.expect_one(&[423, 507]);
    }
    server.make_room();
    server.crash();
    server.fill_disk();
    ask(&server);
    server.make_room();
    let large = Upload { server: &server, url };
    large.patch(CHUNK as u64 + 99, &bytes[CHUNK + 99..]).expect(204);
    large.is_file(&bytes);
}

// rows: TUS-HEAD-05: the sweep finds what expires beside what is asked for.
#[test]
fn it_does_not_fail_while_others_are_swept() {
    let server = Server::with(&["--expire-after=4s", "--reap-every=20ms", "--durability=none"]);
    for _ in 0..100 {
        server.ask(&create_with(11, "hello")).expect(201);
    }
    let whole = server.ask(&create_with(11, "hello world")).expect(201);
    let whole = Upload::from_answer(&server, &whole);
    let kept = Upload::new(&server, 1 << 20);
    let mut connection = server.connect();
    for turn in 0.. {
        // Bytes keep it alive for longer than the others.
        connection.ask(&patch(&kept.url, turn, "x")).expect(204);
        assert_eq!(connection.ask(&request("HEAD", &kept.url)).expect(200).offset(), turn + 1);
        connection.ask(&request("HEAD", &whole.url)).expect(200);
        thread::sleep(Duration::from_millis(2));
        if turn >= 1000 && turn % 100 == 0 && server.uploads().len() == 1 {
            return;
        }
        assert!(turn < 10_000, "the others are still there");
    }
}

// rows: TUS-HEAD-05: a stop lets each open connection ask once, or closes it; it never answers 5xx.
// spec: CORE-15
#[test]
fn during_a_drain_it_is_answered_or_not_at_all() {
    let mut server = Server::with(&["--shutdown-timeout=2s"]);
    let url = Upload::hello(&server).url;
    let stalled_url = Upload::new(&server, 1000).url;
    let mut stalled = server.begin(&append(&stalled_url, 0).announcing(1000));
    stalled.raw(b"some bytes");
    let mut open: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for connection in &mut open {
        connection.ask(&request("HEAD", &url)).expect(200);
    }
    server.sigterm();
    for (turn, connection) in open.iter_mut().enumerate() {
        let asked = if turn % 2 == 0 { &url } else { &stalled_url };
        for _ in 0..5 {
            match connection.try_ask(&request("HEAD", asked)) {
                Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
                Err(_) => break,
            }
        }
    }
    assert!(server.exits_within(Duration::from_secs(20)).success());
}
