//! Finished files whose time is over (`--keep-finished`).

use std::{thread, time::Duration};

use crate::{
    chunks::Parts,
    client::Request,
    random::Random,
    server::{Server, until},
    tus::{Upload, create_with, patch, request},
};

/// Everything that can be asked of an upload is answered 410.
#[track_caller]
fn is_gone(server: &Server, url: &str) {
    server.ask(&request("HEAD", url)).expect(410);
    let ranged = Request::new("GET", url).header("Range", "bytes=0-1");
    for request in [patch(url, 11, ""), Request::new("GET", url), ranged, request("DELETE", url)] {
        server.ask(&request).refused_as(410, "gone");
    }
}

#[track_caller]
fn vanish(server: &Server) {
    until(|| server.finished().is_empty(), || format!("still there: {:?}", server.finished()));
    server.uploads_vanish();
}

// rows: TUS-GET-02
// spec: TUS-79, STORE-6, STORE-17
#[test]
fn a_finished_file_goes_after_its_time_and_is_remembered() {
    let mut server = Server::with(&["--keep-finished=3s", "--reap-every=50ms"]);
    let finished = server.ask(&create_with(11, "hello world")).expect(201);
    let upload = Upload::from_answer(&server, &finished);
    let url = upload.url.clone();
    for answer in [finished, upload.head().expect(200), upload.get().expect(200)] {
        assert_eq!(answer.header("Upload-Expires"), None, "{answer:?}");
    }
    assert_eq!(server.the_file(), b"hello world");
    vanish(&server);
    is_gone(&server, &url);
    server.restart();
    is_gone(&server, &url);
}

// spec: TUS-79
#[test]
fn its_time_is_over_before_any_sweep() {
    let mut server = Server::with(&["--keep-finished=300ms", "--reap-every=1h"]);
    let url = Upload::finished(&server).url;
    thread::sleep(Duration::from_millis(400));
    is_gone(&server, &url);
    assert!(server.finished().is_empty(), "whoever is told so ends it");
    server.crash();
    vanish(&server);
    is_gone(&server, &url);
}

// rows: TUS-EXP-05
// spec: TUS-79
#[test]
fn the_time_of_unfinished_uploads_is_another() {
    let server = Server::with(&["--keep-finished=300ms", "--reap-every=50ms"]);
    let half = Upload::hello(&server);
    let keeper = Server::with(&["--expire-after=100ms", "--keep-finished=1h", "--reap-every=20ms"]);
    // In one request: there may be no time for another one.
    let finished = keeper.ask(&create_with(11, "hello world")).expect(201);
    let whole = Upload::from_answer(&keeper, &finished);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(half.offset(), 5);
    assert_eq!(whole.get().expect(200).body, b"hello world");
    half.patch(5, " world").expect(204);
}

// spec: TUS-79
#[test]
fn a_merged_file_goes_too_and_can_be_sent_again() {
    let server = Server::with(&["--keep-finished=300ms", "--reap-every=50ms"]);
    let parts = Parts::hello();
    for _ in 0..2 {
        parts.send_all(&server);
        parts.merge(&server).expect(201);
        vanish(&server);
        assert_eq!(parts.status(&server)["state"], "none");
    }
}

// spec: TUS-79, TUS-76
#[test]
fn a_running_download_gets_every_byte_of_what_goes() {
    let server = Server::with(&["--keep-finished=3s", "--reap-every=50ms"]);
    let bytes = Random::seeded(5).bytes(32 << 20);
    let upload = Upload::new(&server, bytes.len() as u64);
    upload.patch(0, bytes.clone()).expect(204);
    let mut reader = server.begin(&Request::new("GET", &upload.url));
    while reader.silent_for(Duration::from_millis(1)) {}
    vanish(&server);
    upload.get().refused(410);
    assert!(reader.answer("GET").expect(200).body == bytes);
}

// spec: TUS-80
#[test]
fn killed_while_files_go_nothing_is_left() {
    let mut server = Server::with(&["--keep-finished=1ms", "--reap-every=1ms"]);
    for round in 0..6 {
        let urls: Vec<String> = (0..20).map(|_| Upload::finished(&server).url).collect();
        thread::sleep(Duration::from_millis(round * 3));
        server.crash();
        // What was over at a start is kept for its time from then (STORE-84).
        thread::sleep(Duration::from_millis(3));
        for url in urls {
            server.ask(&request("HEAD", &url)).expect(410);
        }
    }
    vanish(&server);
}
