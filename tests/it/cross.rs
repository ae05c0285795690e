//! One upload, two dialects.

use std::{thread, time::Duration};

use serde_json::json;

use crate::{
    chunks::{Parts, merge, numbers},
    client::Request,
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, create, create_deferred, patch, request},
};

/// Fifteen bytes in three chunks of five.
fn three() -> Parts {
    Parts::new("0123456789abcdef", "a.bin", 5, "hello world and")
}

// rows: CROSS-01
// spec: CHUNK-27
#[test]
fn the_contiguous_prefix_is_the_offset() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    for (indexes, offset) in [([0, 1], 10), ([0, 2], 5), ([1, 2], 0)] {
        let server = Server::start();
        let parts = three();
        for index in indexes {
            parts.send(&server, index);
        }
        let head = parts.as_upload(&server).head().expect(200);
        assert_eq!((head.offset(), head.needs("Upload-Length")), (offset, "15"));
        let name = format!("filename {}", BASE64_STANDARD.encode("a.bin"));
        let metadata = head.needs("Upload-Metadata");
        assert!(metadata.split(',').any(|pair| pair.trim() == name), "{metadata}");
    }
}

// rows: CROSS-02
// spec: CHUNK-27
#[test]
fn tus_can_finish_what_chunks_began() {
    let server = Server::start();
    let parts = three();
    parts.send(&server, 0);
    let upload = parts.as_upload(&server);
    assert_eq!(upload.patch(5, &parts.bytes[5..]).expect(204).offset(), 15);
    upload.is_file(&parts.bytes);
    assert_eq!(parts.status(&server)["state"], "merged");
    let answer = parts.merge(&server).expect(200).json();
    assert_eq!(answer["composite_sha256"], parts.composite());
    assert_eq!(server.the_file(), parts.bytes);
}

// rows: CROSS-03
// spec: CHUNK-27
#[test]
fn a_filled_gap_joins_what_lies_behind_it() {
    let server = Server::start();
    let parts = Parts::new("0123456789abcdef", "a.bin", 5, "hello world and on");
    parts.send(&server, 0);
    parts.send(&server, 2);
    let upload = parts.as_upload(&server);
    assert_eq!(upload.patch(5, parts.chunk(1)).expect(204).offset(), 10);
    assert_eq!(upload.offset(), 15);
    assert_eq!(upload.patch(10, &parts.bytes[10..]).refused(409).offset(), 15);
    upload.patch(15, &parts.bytes[15..]).expect(204);
    upload.is_file(&parts.bytes);
}

// rows: CROSS-04
#[test]
fn a_patch_over_a_sealed_chunk_keeps_or_replaces_it() {
    let server = Server::start();
    for other in [false, true] {
        let mut parts = three();
        parts.hash = format!("{:08x}", u32::from(other));
        parts.send(&server, 0);
        parts.send(&server, 2);
        if other {
            parts.bytes[10..].copy_from_slice(b"OTHER");
        }
        let upload = parts.as_upload(&server);
        assert_eq!(upload.patch(5, &parts.bytes[5..]).expect(204).offset(), 15);
        upload.is_file(&parts.bytes);
        let result = &parts.status(&server)["result"];
        assert_eq!(result["composite_sha256"], parts.composite());
    }
}

/// A tus upload of four chunks, of which 2½ are there.
fn two_and_a_half(server: &Server) -> (Upload<'_>, Vec<u8>) {
    let bytes = Random::seeded(5).bytes(3 * CHUNK + 1000);
    let upload = Upload::new(server, bytes.len() as u64);
    let there = 2 * CHUNK + CHUNK / 2;
    upload.patch(0, &bytes[..there]).expect(204);
    (upload, bytes)
}

// rows: CROSS-05
// spec: CHUNK-18
#[test]
fn status_tells_of_a_tus_upload() {
    let server = Server::start();
    let (upload, bytes) = two_and_a_half(&server);
    let target = format!("/upload/status?upload_id={}", upload.id());
    let status = server.ask(&Request::new("GET", &target)).expect(200).json();
    assert_eq!(status["state"], "receiving");
    assert_eq!(status["uploaded"], json!([0, 1]));
    assert_eq!(status["missing"], json!([2, 3]));
    assert_eq!(status["chunk_size"], CHUNK);
    assert_eq!(status["total"], 4);
    assert_eq!(status["size"], bytes.len());
    assert_eq!(status["received_bytes"], 2 * CHUNK + CHUNK / 2);
}

// rows: CROSS-06
// spec: CHUNK-3, CHUNK-27, STORE-3
#[test]
fn chunks_can_finish_what_tus_began() {
    for order in [[2, 3], [3, 2]] {
        let server = Server::start();
        let (upload, bytes) = two_and_a_half(&server);
        let mut parts = Parts::new(upload.id(), "", CHUNK, bytes);
        parts.filename = None;
        let mut offset = upload.offset();
        assert_eq!(offset as usize, 2 * CHUNK + CHUNK / 2);
        for index in order {
            parts.send(&server, index);
            let now = upload.offset();
            assert!(now >= offset, "{offset} fell to {now}");
            offset = now;
        }
        let last = parts.status(&server);
        assert_eq!(numbers(&last["uploaded"]), [0, 1, 2, 3]);
        if last["state"] != "merged" {
            parts.merge(&server).expect(201);
        }
        upload.is_file(&parts.bytes);
    }
}

// rows: CROSS-08
#[test]
fn an_empty_patch_at_the_end_is_a_merge_without_digest() {
    let server = Server::start();
    let parts = three();
    parts.send_all(&server);
    let upload = parts.as_upload(&server);
    assert_eq!(upload.offset(), 15);
    upload.get().expect(404);
    assert!(server.finished().is_empty());
    assert_eq!(upload.patch(15, "").expect(204).offset(), 15);
    upload.is_file(&parts.bytes);
    let told = parts.status(&server);
    assert_eq!(
        (&told["state"], &told["result"]["digest_format"]),
        (&json!("merged"), &json!(null))
    );
    assert_eq!(parts.merge(&server).expect(200).json(), told["result"]);
}

// rows: CROSS-09
#[test]
fn what_one_dialect_deletes_is_gone_in_the_other() {
    let server = Server::start();
    for by_tus in [false, true] {
        let parts = three();
        parts.send(&server, 0);
        let upload = parts.as_upload(&server);
        if by_tus {
            upload.delete().expect(204);
        } else {
            server.ask(&parts.delete()).expect(204);
        }
        upload.head().expect(404);
        assert_eq!(parts.status(&server)["state"], "none");
    }
}

// rows: CROSS-09
#[test]
fn what_expires_expires_in_both() {
    let server = Server::with(&["--expire-after=2s", "--reap-every=1h"]);
    let parts = three();
    parts.send(&server, 0);
    let upload = parts.as_upload(&server);
    thread::sleep(Duration::from_millis(2_600));
    upload.head().expect(410);
    assert_eq!(parts.status(&server)["state"], "none");
}

// rows: CROSS-12
#[test]
fn a_restart_or_a_kill_between_the_dialects_changes_nothing() {
    for kill in [false, true] {
        let mut server = Server::start();
        let bytes = Random::seeded(12).bytes(6 * CHUNK + 5);
        let parts = Parts::new("0123456789abcdef", "a.bin", CHUNK, bytes);
        let again = |server: &mut Server| if kill { server.crash() } else { server.restart() };
        parts.send(&server, 0);
        parts.send(&server, 3);
        again(&mut server);
        let url = parts.as_upload(&server).url;
        let tail = CHUNK + 77;
        server.ask(&patch(&url, CHUNK as u64, &parts.bytes[CHUNK..CHUNK + tail])).expect(204);
        again(&mut server);
        assert_eq!(parts.uploaded(&server), [0, 1, 3]);
        server.ask(&parts.put_form(5)).expect(201);
        again(&mut server);
        assert_eq!(Upload { server: &server, url: url.clone() }.offset() as usize, CHUNK + tail);
        server
            .ask(&patch(&url, (CHUNK + tail) as u64, &parts.bytes[CHUNK + tail..3 * CHUNK]))
            .expect(204);
        again(&mut server);
        assert_eq!(Upload { server: &server, url: url.clone() }.offset() as usize, 4 * CHUNK);
        parts.send(&server, 4);
        again(&mut server);
        parts.send(&server, 6);
        again(&mut server);
        server.ask(&merge(&parts.merge_body())).expect(201);
        again(&mut server);
        Upload { server: &server, url }.is_file(&parts.bytes);
        parts.merge(&server).expect(200);
    }
}

// rows: CROSS-10
// spec: TUS-98, CHUNK-18
#[test]
fn the_status_tells_of_every_kind_of_upload() {
    let server = Server::start();
    let status = |upload: &Upload<'_>| {
        let target = format!("/upload/status?upload_id={}", upload.id());
        server.ask(&Request::new("GET", &target)).expect(200).json()
    };
    let deferred = Upload::deferred(&server);
    deferred.patch(0, vec![7; CHUNK + 5]).expect(204);
    let told = status(&deferred);
    assert_eq!((&told["size"], &told["total"]), (&json!(null), &json!(null)));
    assert_eq!((&told["uploaded"], &told["received_bytes"]), (&json!([0]), &json!(CHUNK + 5)));
    assert_eq!((&told["state"], &told["missing"]), (&json!("receiving"), &json!([])));

    let part = |request: Request| {
        let request = request.header("Upload-Concat", "partial");
        Upload::from_answer(&server, &server.ask(&request).expect(201))
    };
    let (first, second) = (part(create(5)), part(create_deferred()));
    first.patch(0, b"hello").expect(204);
    let told = status(&first);
    assert_eq!((&told["size"], &told["uploaded"]), (&json!(5), &json!([0])));
    let join = |parts: &str| {
        let request = request("POST", "/files/")
            .header("Upload-Concat", format!("final;{parts}"))
            .header("Content-Length", 0);
        Upload::from_answer(&server, &server.ask(&request).expect(201))
    };
    let pending = join(&format!("{} {}", first.url, second.url));
    let finished = join(&first.url);
    let told = status(&pending);
    assert_eq!((&told["state"], &told["uploaded"]), (&json!("receiving"), &json!([])));
    assert_eq!((&told["total"], &told["result"]), (&json!(null), &json!(null)));
    let told = status(&finished);
    assert_eq!((&told["state"], &told["result"]["size"]), (&json!("merged"), &json!(5)));

    let before = server.uploads();
    for upload in [&pending, &finished] {
        let put = Request::new("PUT", &format!("/upload?hash={}&index=0", upload.id()));
        let put = put.header("Content-Type", "application/octet-stream").body("HELLO");
        server.ask(&put).refused_as(403, "final-upload");
    }
    assert_eq!((server.uploads(), server.the_file()), (before, b"hello".to_vec()));
}
