//! PATCH: bytes at an offset.

use std::{thread, time::Duration};

use crate::{
    client::Request,
    digest::sha256_hex,
    random::Random,
    server::{CHUNK, Server},
    tus::{OFFSET_TYPE, Upload, append, patch, request},
};

// rows: TUS-PATCH-01
// spec: TUS-15
#[test]
fn bytes_are_added_and_counted() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut connection = server.connect();
    for (offset, body, sum) in [(0, "hello", 5), (5, "", 5), (5, " world", 11)] {
        let answer = connection.ask(&patch(&upload.url, offset, body)).expect(204);
        assert_eq!(answer.offset(), sum);
        assert!(matches!(answer.header("Content-Length"), None | Some("0")), "{answer:?}");
    }
    upload.is_file(b"hello world");
}

// rows: TUS-PATCH-02
// spec: TUS-15
#[test]
fn any_split_gives_the_same_file() {
    let server = Server::start();
    let bytes = Random::seeded(2).bytes(5 * CHUNK + 123);
    for size in [64 * 1024, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, bytes.len()] {
        let upload = Upload::new(&server, bytes.len() as u64);
        let mut sent = 0;
        for piece in bytes.chunks(size) {
            let answer = upload.patch(sent, piece).expect(204);
            sent += piece.len() as u64;
            assert_eq!(answer.offset(), sent, "pieces of {size}");
        }
        upload.is_file(&bytes);
    }
}

// rows: TUS-PATCH-02: one byte at a time, over the edges of chunks.
#[test]
fn single_bytes_add_up() {
    let server = Server::with(&["--chunk-size=4KiB", "--durability=none"]);
    let bytes = Random::seeded(3).bytes(4096 + 40);
    let upload = Upload::new(&server, bytes.len() as u64);
    upload.patch(0, &bytes[..4080]).expect(204);
    let mut connection = server.connect();
    for (at, byte) in bytes.iter().enumerate().skip(4080) {
        let answer = connection.ask(&patch(&upload.url, at as u64, [*byte])).expect(204);
        assert_eq!(answer.offset(), at as u64 + 1);
    }
    upload.is_file(&bytes);
}

// rows: TUS-PATCH-02: the name ends in the first digits of the composite digest.
#[test]
fn the_name_carries_the_composite_digest() {
    let server = Server::start();
    let upload = Upload::new(&server, 12);
    upload.patch(0, "hello world!").expect(204);
    assert_eq!(
        sha256_hex(&server.the_file()),
        "7509e5bda0c762d2bac7f90d758b5b2263fa01ccbc542ab5e3df163be08e6ca9"
    );
    let name = &server.finished_names()[0];
    assert!(name.ends_with("-1332f513"), "{name}");
}

// rows: TUS-PATCH-03
// spec: TUS-19
#[test]
fn complete_means_visible() {
    let server = Server::start();
    for _ in 0..20 {
        let upload = Upload::hello(&server);
        let mut connection = server.connect();
        connection.ask(&patch(&upload.url, 5, " world")).expect(204);
        assert_eq!(upload.get().expect(200).body, b"hello world");
    }
}

// rows: TUS-PATCH-04
// spec: TUS-16
#[test]
fn another_offset_is_a_conflict_that_names_the_right_one() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    for offset in [0, 4, 6, 11, 1 << 40] {
        let answer = upload.refuses(&patch(&upload.url, offset, "x"), 409);
        assert_eq!(answer.offset(), 5);
        let problem = answer.json();
        let told = problem.as_object().unwrap().iter().any(|(name, value)| {
            name.contains("offset") && (*value == 5 || *value == serde_json::json!({"current": 5}))
        });
        assert!(told, "the problem does not tell the offset: {problem}");
    }
}

// rows: TUS-PATCH-05, TUS-PATCH-06
// spec: CORE-2
#[test]
fn a_malformed_offset_is_refused() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let base = patch(&upload.url, 0, "hello").without("Upload-Offset");
    upload.refuses(&base, 400);
    let huge = ["9223372036854775808", "18446744073709551616"];
    for value in ["-1", "+0", "00", "abc", "0x0", "0.0", "", "0, 0"].into_iter().chain(huge) {
        upload.refuses(&base.clone().header("Upload-Offset", value), 400);
    }
    upload.refuses(&base.clone().header("Upload-Offset", 0).header("Upload-Offset", 0), 400);
}

// rows: TUS-PATCH-07, TUS-PATCH-14
// spec: TUS-12, CORE-3
#[test]
fn other_media_types_and_codings_are_refused() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let base = patch(&upload.url, 5, " world");
    upload.refuses(&base.clone().without("Content-Type"), 415);
    for media_type in ["text/plain", "application/octet-stream", "application/partial-upload"] {
        upload.refuses(&base.clone().set("Content-Type", media_type), 415);
    }
    upload.refuses(&base.clone().header("Content-Type", OFFSET_TYPE), 415);
    upload.refuses(&base.header("Content-Encoding", "gzip"), 415);
}

// rows: TUS-PATCH-08
// spec: CORE-3
#[test]
fn the_media_type_is_taken_in_any_case_and_with_parameters() {
    let server = Server::start();
    for media_type in [
        "Application/Offset+Octet-Stream",
        "application/offset+octet-stream; charset=utf-8",
        "application/offset+octet-stream;charset=UTF-8",
    ] {
        let upload = Upload::new(&server, 11);
        let asked = patch(&upload.url, 0, "hello").set("Content-Type", media_type);
        assert_eq!(server.ask(&asked).expect(204).offset(), 5);
    }
}

// rows: TUS-PATCH-09
// spec: TUS-17
#[test]
fn more_than_the_length_is_refused_before_it_is_stored() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    upload.refuses(&patch(&upload.url, 5, " world!"), 413);
}

// rows: TUS-PATCH-10
// spec: TUS-18
#[test]
fn of_a_body_without_length_the_part_that_fits_is_kept() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    server.ask(&append(&upload.url, 5).chunked(b" world!", 7)).refused(413);
    upload.is_file(b"hello world");
}

// rows: TUS-PATCH-11
// spec: TUS-20
#[test]
fn confirming_a_finished_upload_finishes_nothing_twice() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    let (name, tag) = (server.finished_names(), upload.get().header("ETag").map(str::to_owned));
    for _ in 0..3 {
        assert_eq!(upload.patch(11, "").expect(204).offset(), 11);
    }
    assert_eq!(server.finished_names(), name);
    assert_eq!(upload.get().header("ETag"), tag.as_deref());
    // The log comes through a pipe of its own; what follows in it shows that it has come so far.
    Upload::new(&server, 0);
    while !server.log().contains("length=0") {
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(server.log().matches("upload finished").count(), 2, "{}", server.log());
}

// rows: TUS-PATCH-12
// spec: TUS-17
#[test]
fn a_finished_upload_takes_no_more() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    upload.refuses(&patch(&upload.url, 11, "x"), 413);
    upload.refuses(&append(&upload.url, 11).chunked(b"x", 1), 413);
    upload.refuses(&patch(&upload.url, 0, "hello world"), 409);
    assert_eq!(server.the_file(), b"hello world");
}

// rows: TUS-PATCH-13: 410 is in tus_expire.
// spec: TUS-14
#[test]
fn what_is_not_there_takes_nothing() {
    let server = Server::start();
    let terminated = Upload::hello(&server);
    terminated.delete().expect(204);
    terminated.patch(5, " world").refused(404);
    server.ask(&patch("/files/00000000000000000000000000000000", 0, "x")).refused(404);
    assert!(server.uploads().is_empty());
}

/// A PATCH whose chunked body is written by hand.
fn hand_chunked(upload: &Upload<'_>, body: &str) -> Request {
    let mut asked = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
    asked.body = body.as_bytes().to_vec();
    asked
}

// rows: TUS-PATCH-15
#[test]
fn chunked_bodies_of_all_spellings() {
    let server = Server::start();
    let one_by_one: String = "hello world".chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let one_by_one = format!("{one_by_one}0\r\n\r\n");
    for body in [
        "b\r\nhello world\r\n0\r\n\r\n",
        "B\r\nhello world\r\n0\r\n\r\n",
        "0000b\r\nhello world\r\n000\r\n\r\n",
        "5;name=value\r\nhello\r\n6;other=\"quoted\"\r\n world\r\n0;last\r\n\r\n",
        &one_by_one,
    ] {
        let upload = Upload::new(&server, 11);
        assert_eq!(server.ask(&hand_chunked(&upload, body)).expect(204).offset(), 11, "{body:?}");
        upload.is_file(b"hello world");
    }
}

// rows: TUS-PATCH-16
#[test]
fn headers_that_belong_elsewhere_are_ignored() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let stray = patch(&upload.url, 0, "hello")
        .header("Upload-Metadata", "a !!!")
        .header("Upload-Concat", "final;nowhere")
        .header("Upload-Defer-Length", "7");
    assert_eq!(server.ask(&stray).expect(204).offset(), 5);
    let checksum = "md5 nonsense";
    let head = request("HEAD", &upload.url).header("Upload-Checksum", checksum);
    assert_eq!(server.ask(&head).expect(200).offset(), 5);
    let delete = request("DELETE", &upload.url).header("Upload-Checksum", checksum);
    server.ask(&delete).expect(204);
    let create = crate::tus::create(11).header("Upload-Checksum", checksum);
    server.ask(&create).expect(201);
}

// rows: TUS-PATCH-17
#[test]
fn storage_options_are_no_protocol() {
    let bytes = Random::seeded(17).bytes(3 * CHUNK + 7);
    for options in [
        &["--chunks-per-part=1"][..],
        &["--chunks-per-part=2"],
        &["--chunk-digest=none"],
        &["--durability=none"],
        &["--durability=ack"],
        &["--verify-on-merge", "--chunks-per-part=1", "--durability=ack"],
    ] {
        let mut server = Server::with(options);
        let url = Upload::new(&server, bytes.len() as u64).url;
        {
            let upload = Upload { server: &server, url: url.clone() };
            assert_eq!(upload.patch(0, &bytes[..CHUNK + 5]).expect(204).offset(), CHUNK as u64 + 5);
            upload.refuses(&patch(&url, 0, "x"), 409);
            upload.refuses(&patch(&url, CHUNK as u64 + 5, bytes.clone()), 413);
        }
        server.restart();
        let upload = Upload { server: &server, url };
        assert_eq!(upload.offset(), CHUNK as u64 + 5, "{options:?}");
        upload.patch(CHUNK as u64 + 5, &bytes[CHUNK + 5..]).expect(204);
        upload.is_file(&bytes);
        assert_eq!(upload.patch(bytes.len() as u64, "").expect(204).offset(), bytes.len() as u64);
        upload.delete().expect(204);
        upload.head().expect(404);
    }
}
