//! HEAD: what an upload is told to be.

use std::{thread, time::Duration};

use crate::{
    server::Server,
    tus::{Upload, append, request},
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
    let server = Server::with(&["--expire-after=50ms", "--reap-every=1h"]);
    let terminated = Upload::new(&server, 11);
    terminated.delete().expect(204);
    let expired = Upload::hello(&server);
    thread::sleep(Duration::from_millis(150));
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
    let upload = Upload::hello(&server);
    let swept = || !upload.folder().try_exists().unwrap();
    assert!((0..100).any(|_| {
        thread::sleep(Duration::from_millis(50));
        swept()
    }));
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

// rows: TUS-HEAD-05: a stop lets an open connection ask, or closes it; it never answers 5xx.
// spec: CORE-15
#[test]
fn during_a_drain_it_is_answered_or_not_at_all() {
    let mut server = Server::with(&["--shutdown-timeout=2s"]);
    let url = Upload::hello(&server).url;
    let stalled_url = Upload::new(&server, 1000).url;
    let mut stalled = server.begin(&append(&stalled_url, 0).announcing(1000));
    stalled.raw(b"some bytes");
    let mut open = server.connect();
    open.ask(&request("HEAD", &url)).expect(200);
    server.sigterm();
    for _ in 0..20 {
        match open.try_ask(&request("HEAD", &url)) {
            Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
            Err(_) => break,
        }
    }
    assert!(server.exits_within(Duration::from_secs(4)).success());
}
