//! One file, all ways to send it, one result.

use std::thread;

use serde_json::Value;

use crate::{
    chunks::Parts,
    digest::sha256_hex,
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append, patch},
};

/// Sends `bytes` from `offset` on in pieces of random sizes, some of them chunked.
fn send_by_tus(random: &mut Random, upload: &Upload<'_>, bytes: &[u8], from: usize) {
    let mut sent = from;
    while sent < bytes.len() {
        let size = random.between(1, 3 * CHUNK as u64) as usize;
        let piece = &bytes[sent..bytes.len().min(sent + size)];
        let asked = if random.below(2) == 0 {
            patch(&upload.url, sent as u64, piece)
        } else {
            append(&upload.url, sent as u64).chunked(piece, random.between(1, 9_999) as usize)
        };
        sent += piece.len();
        assert_eq!(upload.server.ask(&asked).expect(204).offset(), sent as u64);
    }
}

/// What the finished upload is made of: SHA-256 of its bytes, composite digest.
fn result(upload: &Upload<'_>) -> (String, String) {
    let file = upload.get().expect(200).body;
    let target = format!("/upload/status?upload_id={}", upload.id());
    let status = upload.server.ask(&crate::client::Request::new("GET", &target)).expect(200).json();
    assert_eq!(status["state"], "merged", "{status}");
    let composite = status["result"]["composite_sha256"].as_str().map(str::to_owned);
    (sha256_hex(&file), composite.unwrap_or_else(|| panic!("no composite in {status}")))
}

/// The merge answer of `parts`, which must be the first.
fn merged(server: &Server, parts: &Parts) -> Value {
    let answer = parts.merge(server).expect(201).json();
    assert_eq!(answer["composite_sha256"], parts.composite(), "{answer}");
    answer
}

fn all_ways(random: &mut Random, server: &Server, bytes: &[u8]) {
    let parts = |hash: &str| Parts::new(hash, "same.bin", CHUNK, bytes);
    let expected = (sha256_hex(bytes), parts("00000000").composite());

    let by_tus = Upload::new(server, bytes.len() as u64);
    send_by_tus(random, &by_tus, bytes, 0);
    assert_eq!(result(&by_tus), expected, "tus");

    let raw = parts(&random.hash());
    for index in random.shuffled((0..raw.total).collect()) {
        raw.send(server, index);
    }
    merged(server, &raw);
    assert_eq!(result(&raw.as_upload(server)), expected, "raw chunks");

    let form = parts(&random.hash());
    let order = random.shuffled((0..form.total).collect::<Vec<_>>());
    thread::scope(|scope| {
        for half in order.chunks(order.len().div_ceil(2)) {
            let form = &form;
            scope.spawn(move || {
                for &index in half {
                    server.ask(&form.put_form(index)).expect(201);
                }
            });
        }
    });
    merged(server, &form);
    assert_eq!(result(&form.as_upload(server)), expected, "multipart chunks");

    let mixed = parts(&random.hash());
    server.ask(&mixed.put(0)).expect(201);
    if mixed.total > 1 {
        server.ask(&mixed.put_form(1)).expect(201);
    }
    let upload = mixed.as_upload(server);
    let prefix = upload.offset() as usize;
    assert_eq!(prefix, bytes.len().min(2 * CHUNK));
    send_by_tus(random, &upload, bytes, prefix);
    mixed.merge(server).expect_one(&[200, 201]);
    assert_eq!(result(&upload), expected, "a mixture");
}

// rows: CROSS-07
#[test]
fn by_any_way_it_is_the_same_file() {
    let mut random = Random::announced("same_bytes");
    let server = Server::start();
    for size in [1, CHUNK, CHUNK + 1, 7 * CHUNK, 11 * CHUNK + 321] {
        let bytes = random.bytes(size);
        all_ways(&mut random, &server, &bytes);
    }
}
