//! Creation without a length: it comes with a later PATCH.

use std::fs;

use crate::{
    client::Request,
    digest::checksum,
    random::Random,
    server::{CHUNK, Server},
    tus::{FILES, OFFSET_TYPE, Upload, append, create_deferred, patch, request},
};

/// No length is told, and that it will come is.
#[track_caller]
fn is_open(upload: &Upload<'_>, offset: u64) {
    let head = upload.head().expect(200);
    assert_eq!((head.offset(), head.needs("Upload-Defer-Length")), (offset, "1"));
    assert_eq!(head.header("Upload-Length"), None);
}

#[track_caller]
fn has_length(upload: &Upload<'_>, offset: u64, length: u64) {
    let head = upload.head().expect(200);
    assert_eq!((head.offset(), head.needs("Upload-Length")), (offset, &*length.to_string()));
    assert_eq!(head.header("Upload-Defer-Length"), None);
}

fn declaring(url: &str, offset: u64, body: &str, length: impl ToString) -> Request {
    patch(url, offset, body).header("Upload-Length", length)
}

// rows: TUS-DEFER-01, TUS-DEFER-02
// spec: TUS-50
#[test]
fn an_upload_may_begin_without_a_length() {
    let server = Server::start();
    let answer = server.ask(&create_deferred()).expect(201);
    answer.needs("Upload-Expires");
    let upload = Upload::from_answer(&server, &answer);
    is_open(&upload, 0);
    let status = Request::new("GET", &format!("/upload/status?upload_id={}", upload.id()));
    let status = server.ask(&status).expect(200).json();
    assert!(status["size"].is_null() && status["total"].is_null(), "{status}");
    let plain = request("POST", FILES);
    for value in ["0", "2", "true", "01", "1, 1", ""] {
        server.ask(&plain.clone().header("Upload-Defer-Length", value)).refused(400);
    }
    server.ask(&create_deferred().header("Upload-Defer-Length", 1)).refused(400);
    server.ask(&create_deferred().header("Upload-Length", 1)).refused(400);
    server.ask(&plain).refused(400);
}

// rows: TUS-DEFER-03
// spec: TUS-51
#[test]
fn the_length_comes_in_the_middle_at_the_end_or_behind_it() {
    let bytes = Random::seeded(31).bytes(2 * CHUNK + 1000);
    let total = bytes.len() as u64;
    for cut in [[CHUNK / 2, CHUNK], [1, 2 * CHUNK], [CHUNK, 2 * CHUNK + 999]] {
        for told in 0..3 {
            let server = Server::start();
            let upload = Upload::deferred(&server);
            let pieces = [&bytes[..cut[0]], &bytes[cut[0]..cut[1]], &bytes[cut[1]..], b""];
            let mut sent = 0;
            for (at, piece) in pieces.into_iter().enumerate() {
                let request = patch(&upload.url, sent, piece);
                sent += piece.len() as u64;
                if at <= told {
                    let request = request.clone();
                    assert_eq!(server.ask(&request).expect(204).offset(), sent);
                    is_open(&upload, sent);
                    continue;
                }
                let request = request.header("Upload-Length", total);
                assert_eq!(server.ask(&request).expect(204).offset(), sent);
                has_length(&upload, sent, total);
            }
            upload.is_file(&bytes);
        }
    }
}

// rows: TUS-DEFER-03
// spec: TUS-51, TUS-19
#[test]
fn nothing_of_nothing_is_complete() {
    let mut server = Server::start();
    let url = Upload::deferred(&server).url;
    server.restart();
    let upload = Upload { server: &server, url };
    is_open(&upload, 0);
    server.ask(&declaring(&upload.url, 0, "", 0)).expect(204);
    upload.is_file(b"");
    assert_eq!(server.the_file(), b"");
}

// rows: TUS-DEFER-04, TUS-DEFER-05, TUS-DEFER-06, TUS-DEFER-07
// spec: TUS-52
#[test]
fn a_length_that_cannot_be_true_changes_nothing() {
    let server = Server::start();
    let upload = Upload::deferred(&server);
    upload.patch(0, "hello").expect(204);
    for length in ["4", "0", "-6", "011", "abc", "", "11, 11", "9223372036854775808"] {
        upload.refuses(&declaring(&upload.url, 5, " world", length), 400);
        is_open(&upload, 5);
    }
    let twice = declaring(&upload.url, 5, "", 11).header("Upload-Length", 11);
    upload.refuses(&twice, 400);
    upload.refuses(&declaring(&upload.url, 5, " world", 10), 413);
    is_open(&upload, 5);
    server.ask(&declaring(&upload.url, 5, " w", 11)).expect(204);
    for other in [12, 10, 7] {
        upload.refuses(&declaring(&upload.url, 7, "orld", other), 400);
    }
    server.ask(&declaring(&upload.url, 7, "orld", 11)).expect(204);
    upload.is_file(b"hello world");
    server.ask(&declaring(&upload.url, 11, "", 11)).expect(204);
    upload.refuses(&declaring(&upload.url, 11, "", 12), 400);
    let known = Upload::hello(&server);
    known.refuses(&declaring(&known.url, 5, " world", 12), 400);
    server.ask(&declaring(&known.url, 5, " world", 11)).expect(204);
    known.is_file(b"hello world");
}

// rows: TUS-DEFER-08, TUS-DEFER-09, TUS-CWU-06
// spec: TUS-53
#[test]
fn the_largest_file_binds_those_of_unknown_length() {
    let server = Server::with(&["--max-size=100"]);
    let upload = Upload::deferred(&server);
    upload.patch(0, [b'x'; 60]).expect(204);
    for length in ["101", "9223372036854775807", "9223372036854775808"] {
        let answer = upload.refuses(&declaring(&upload.url, 60, "", length), 413);
        assert_eq!(answer.json()["type"], "urn:piton:problem:max-size-exceeded");
    }
    is_open(&upload, 60);
    upload.refuses(&patch(&upload.url, 60, [b'y'; 41]), 413);
    let chunked = append(&upload.url, 60).chunked(&[b'y'; 50], 50);
    let answer = server.ask(&chunked).refused_as(413, "max-size-exceeded");
    assert_eq!(answer.offset(), 100);
    is_open(&upload, 100);
    server.ask(&declaring(&upload.url, 100, "", 100)).expect(204);
    upload.is_file(&[&[b'x'; 60][..], &[b'y'; 40]].concat());

    let with =
        |bytes: usize| create_deferred().header("Content-Type", OFFSET_TYPE).body(vec![1; bytes]);
    let uploads = server.uploads();
    server.ask(&with(101)).refused(413);
    assert_eq!(server.uploads(), uploads);
    let made = server.ask(&with(100)).expect(201);
    assert_eq!(made.offset(), 100);
    is_open(&Upload::from_answer(&server, &made), 100);
}

// rows: TUS-DEFER-10
// spec: TUS-56
#[test]
fn a_refused_patch_leaves_no_length() {
    let server = Server::start();
    let upload = Upload::deferred(&server);
    upload.patch(0, "hello").expect(204);
    let right = declaring(&upload.url, 5, " world", 11);
    upload.refuses(&right.clone().set("Upload-Offset", 4), 409);
    upload.refuses(&right.clone().set("Content-Type", "text/plain"), 415);
    let wrong = right.clone().header("Upload-Checksum", checksum("sha1", b" World"));
    upload.refuses(&wrong, 460);
    upload.refuses(&right.clone().header("Upload-Checksum", "sha1 x"), 400);
    let wrong = checksum("sha1", b" World");
    let trailed = append(&upload.url, 5)
        .header("Upload-Length", 11)
        .header("Trailer", "Upload-Checksum")
        .trailed(b" world", 4, &[("Upload-Checksum", &wrong)]);
    upload.refuses(&trailed, 460);
    is_open(&upload, 5);
    server.ask(&right).expect(204);
    upload.is_file(b"hello world");
}

// rows: TUS-DEFER-11
// spec: TUS-51, TUS-21
#[test]
fn a_cut_body_leaves_its_length() {
    let mut server = Server::start();
    let bytes = Random::seeded(32).bytes(3 * CHUNK + 5);
    for kill in [false, true] {
        let upload = Upload::deferred(&server);
        let length = bytes.len() as u64;
        let head = append(&upload.url, 0).header("Upload-Length", length).announcing(length);
        let mut connection = server.begin(&head);
        upload.takes(&mut connection, &bytes[..CHUNK + 17], length);
        let url = upload.url;
        if kill {
            server.crash();
        }
        drop(connection);
        let upload = Upload { server: &server, url };
        has_length(&upload, CHUNK as u64 + 17, bytes.len() as u64);
        upload.patch(CHUNK as u64 + 17, &bytes[CHUNK + 17..]).expect(204);
        upload.is_file(&bytes);
    }
}

// rows: TUS-DEFER-01
// spec: TUS-50
#[test]
fn an_open_upload_survives_a_crash_and_reserves_nothing() {
    let mut server = Server::start();
    let url = Upload::deferred(&server).url;
    server.ask(&patch(&url, 0, "hello")).expect(204);
    server.crash();
    let upload = Upload { server: &server, url };
    is_open(&upload, 5);
    assert_eq!(fs::metadata(upload.folder().join("0.part")).unwrap().len(), 5);
    server.ask(&declaring(&upload.url, 5, " world", 11)).expect(204);
    upload.is_file(b"hello world");
}
