//! Checksum: bytes that are not those that were sent never count.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    chunks::Parts,
    client::{Answer, Request},
    digest::checksum,
    disk::bytes_below,
    h2::H2,
    random::Random,
    server::{CHUNK, Server},
    tus::{OFFSET_TYPE, Upload, append, create, create_deferred, create_with, patch},
};

const ALGORITHMS: [&str; 7] = ["sha256", "sha1", "sha512", "md5", "crc32", "crc32c", "blake3"];

fn checked(url: &str, offset: u64, body: &[u8], sum: &str) -> Request {
    patch(url, offset, body).header("Upload-Checksum", sum)
}

/// Refused with 460, and with what a client goes on from.
#[track_caller]
fn mismatches(upload: &Upload<'_>, request: &Request, offset: u64) -> Answer {
    let answer = upload.refuses(request, 460);
    assert_eq!(answer.offset(), offset);
    answer.needs("Upload-Expires");
    assert_eq!(answer.json()["type"], "urn:piton:problem:checksum-mismatch");
    answer
}

// rows: TUS-CHK-01
// spec: TUS-54
#[test]
fn the_written_vectors_are_right() {
    let server = Server::start();
    for vector in [
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
        "sha512 MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+Y\
         ndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==",
        "md5 XrY7u+Ae7tCTyyK7j1rNww==",
        "crc32 DUoRhQ==",
        "crc32c yZRlqg==",
    ] {
        let upload = Upload::new(&server, 11);
        let answer = server.ask(&checked(&upload.url, 0, b"hello world", vector)).expect(204);
        assert_eq!(answer.offset(), 11);
        upload.is_file(b"hello world");
    }
    for vector in [
        "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "sha512 z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H\
         0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
        "md5 1B2M2Y8AsgTpgAmY7PhCfg==",
        "crc32 AAAAAA==",
        "crc32c AAAAAA==",
    ] {
        let upload = Upload::hello(&server);
        assert_eq!(server.ask(&checked(&upload.url, 5, b"", vector)).expect(204).offset(), 5);
    }
}

// rows: TUS-CHK-01, TUS-CHK-02
// spec: TUS-54, TUS-55
#[test]
fn every_algorithm_tells_right_from_wrong() {
    let server = Server::start();
    for algorithm in ALGORITHMS {
        let upload = Upload::hello(&server);
        let wrong = checksum(algorithm, b" World");
        mismatches(&upload, &checked(&upload.url, 5, b" world", &wrong), 5);
        mismatches(&upload, &checked(&upload.url, 5, b"", &wrong), 5);
        let right = checksum(algorithm, b" world");
        assert_eq!(
            server.ask(&checked(&upload.url, 5, b" world", &right)).expect(204).offset(),
            11
        );
        upload.is_file(b"hello world");
    }
}

// rows: TUS-CHK-02
// spec: TUS-55
#[test]
fn the_status_line_says_what_is_wrong() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let wrong = checksum("sha1", b"?");
    let mut connection = server.begin(&checked(&upload.url, 5, b" world", &wrong));
    let line = connection.line();
    assert_eq!(line, "HTTP/1.1 460 Checksum Mismatch");
    let answer =
        H2::open(server.address()).ask_with(&checked(&upload.url, 5, b" world", &wrong), &[]);
    assert_eq!(answer.refused_as(460, "checksum-mismatch").offset(), 5);
    assert_eq!(upload.offset(), 5);
}

// rows: TUS-CHK-03, TUS-CHK-04
// spec: TUS-54
#[test]
fn what_is_no_checksum_is_refused_before_the_body() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let hex = "sha1 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed";
    for value in [
        "sha3 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2!lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
        hex,
        "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1",
        "",
        // The decimal number of a CRC, as one old server had it.
        "crc32 MjIyOTU3OTU3",
    ] {
        let asked = checked(&upload.url, 5, b" world", value);
        let answer = upload.refuses(&asked, 400);
        assert_eq!(answer.json()["header"], "Upload-Checksum", "{value:?}");
        let waiting = append(&upload.url, 5).header("Upload-Checksum", value);
        let waiting = waiting.announcing(6).header("Expect", "100-continue");
        let answer = server.begin(&waiting).answer("PATCH").refused(400);
        assert!(answer.interim.is_empty(), "{value:?}");
    }
    let right = checksum("sha1", b" world");
    let twice = checked(&upload.url, 5, b" world", &right).header("Upload-Checksum", &right);
    upload.refuses(&twice, 400);
}

// rows: TUS-CHK-05
// spec: TUS-56
#[test]
fn chunks_that_were_sealed_on_the_way_are_undone() {
    let bytes = Random::seeded(41).bytes(5 * CHUNK);
    for options in
        [&[][..], &["--chunks-per-part=1"], &["--durability=ack"], &["--chunk-digest=none"]]
    {
        let mut server = Server::with(options);
        let url = Upload::new(&server, bytes.len() as u64).url;
        let begin = CHUNK + CHUNK / 2;
        let end = begin + 200 * 1024;
        {
            let upload = Upload { server: &server, url: url.clone() };
            upload.patch(0, &bytes[..begin]).expect(204);
            let wrong = checksum("crc32", b"other");
            mismatches(
                &upload,
                &checked(&url, begin as u64, &bytes[begin..end], &wrong),
                begin as u64,
            );
            let status = format!("/upload/status?upload_id={}", upload.id());
            let status = server.ask(&Request::new("GET", &status)).expect(200).json();
            assert_eq!(status["uploaded"], serde_json::json!([0]), "{options:?}");
            assert_eq!(upload.stored(), &bytes[..begin], "{options:?}");
        }
        server.restart();
        let upload = Upload { server: &server, url };
        assert_eq!(upload.offset(), begin as u64, "{options:?}");
        let right = checksum("crc32", &bytes[begin..end]);
        let asked = checked(&upload.url, begin as u64, &bytes[begin..end], &right);
        assert_eq!(server.ask(&asked).expect(204).offset(), end as u64);
        upload.patch(end as u64, &bytes[end..]).expect(204);
        upload.is_file(&bytes);
    }
}

// rows: TUS-CHK-06, TUS-CHK-09
// spec: TUS-55
#[test]
fn a_wrong_end_finishes_nothing() {
    for options in [&[][..], &["--chunk-digest=none"]] {
        let server = Server::with(options);
        let upload = Upload::hello(&server);
        let wrong = checksum("md5", b" World");
        mismatches(&upload, &checked(&upload.url, 5, b" world", &wrong), 5);
        assert!(server.finished().is_empty());
        upload.get().expect(404);
        upload.patch(5, " world").expect(204);
        upload.is_file(b"hello world");
    }
}

// rows: TUS-CHK-07
// spec: TUS-57
#[test]
fn a_body_that_breaks_off_counts_for_nothing() {
    let bytes = Random::seeded(42).bytes(4 * CHUNK);
    let sum = checksum("sha1", &bytes[1000..]);
    let length = bytes.len() as u64;
    let heads = |url: &str| {
        let head = append(url, 1000);
        [
            head.clone().header("Upload-Checksum", &sum).announcing(length - 1000),
            head.header("Trailer", "Upload-Checksum").header("Transfer-Encoding", "chunked"),
        ]
    };
    for which in [0, 1] {
        for end in ["cut", "head", "patch", "kill"] {
            let mut server = Server::start();
            let url = Upload::new(&server, length).url;
            server.ask(&patch(&url, 0, &bytes[..1000])).expect(204);
            let mut connection = server.begin(&heads(&url)[which]);
            if which == 1 {
                connection.raw(format!("{:x}\r\n", length - 1000));
            }
            {
                let upload = Upload { server: &server, url: url.clone() };
                upload.takes(&mut connection, &bytes[1000..2 * CHUNK + 77], length - 1000);
                let status = format!("/upload/status?upload_id={}", upload.id());
                let status = server.ask(&Request::new("GET", &status)).expect(200).json();
                assert_eq!(status["received_bytes"], 1000, "{which} {end}: {status}");
                match end {
                    "cut" => drop(connection),
                    "head" => {
                        assert_eq!(upload.offset(), 1000);
                        assert_eq!(connection.answer("PATCH").refused(423).offset(), 1000);
                    }
                    "patch" => {
                        let wrong = patch(&url, 2 * CHUNK as u64 + 77, "x");
                        assert_eq!(server.ask(&wrong).refused(409).offset(), 1000);
                    }
                    _ => {}
                }
            }
            if end == "kill" {
                server.crash();
            }
            let upload = Upload { server: &server, url };
            assert_eq!(upload.offset(), 1000, "{which} {end}");
            assert_eq!(upload.stored(), &bytes[..1000], "{which} {end}");
            server.ask(&checked(&upload.url, 1000, &bytes[1000..], &sum)).expect(204);
            upload.is_file(&bytes);
        }
    }
}

// rows: TUS-CHK-08
// spec: TUS-57
#[test]
fn what_does_not_fit_is_not_kept() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let sum = checksum("sha1", b" world!");
    upload.refuses(&checked(&upload.url, 5, b" world!", &sum), 413);
    upload.refuses(&checked(&upload.url, 4, b"o world", &sum), 409);
    upload.refuses(&checked(&upload.url, 4, b"o world", "no checksum"), 409);
    upload.refuses(&checked(&upload.url, 5, b" world!", "no checksum"), 413);
    let chunked = append(&upload.url, 5).header("Upload-Checksum", &sum).chunked(b" world!", 3);
    assert_eq!(upload.refuses(&chunked, 413).offset(), 5);
    upload.patch(5, " world").expect(204);
    upload.is_file(b"hello world");
}

// rows: TUS-CWU-09
// spec: TUS-58
#[test]
fn a_creation_with_a_wrong_checksum_leaves_nothing() {
    let server = Server::start();
    let right = checksum("sha256", b"hello world");
    let wrong = checksum("sha256", b"hello World");
    let deferred = create_deferred().header("Content-Type", OFFSET_TYPE).body("hello world");
    for (create, length) in
        [(create_with(11, "hello world"), 11), (deferred, 11), (create_with(20, "hello world"), 20)]
    {
        let nothing = |sum: &str, status| {
            let answer = server.ask(&create.clone().header("Upload-Checksum", sum)).refused(status);
            assert_eq!(answer.header("Location"), None);
            assert!(server.uploads().is_empty() && server.finished().is_empty());
        };
        nothing(&wrong, 460);
        nothing("sha3 x", 400);
        let made = server.ask(&create.clone().header("Upload-Checksum", &right)).expect(201);
        assert_eq!(made.offset(), length.min(11));
        Upload::from_answer(&server, &made).delete().expect(204);
    }
    let trailed = |sum: &str| {
        let create = create(11).header("Content-Type", OFFSET_TYPE);
        let create = create.header("Trailer", "Upload-Checksum");
        server.ask(&create.trailed(b"hello world", 4, &[("Upload-Checksum", sum)]))
    };
    for (sum, status) in [(&*wrong, 460), ("sha3 x", 400)] {
        assert_eq!(trailed(sum).refused(status).header("Location"), None);
        assert!(server.uploads().is_empty() && server.finished().is_empty());
    }
    Upload::from_answer(&server, &trailed(&right).expect(201)).is_file(b"hello world");
    let empty = |length: u64, sum: &str| {
        let create = create(length).header("Content-Type", OFFSET_TYPE).chunked(b"", 1);
        server.ask(&create.header("Upload-Checksum", sum))
    };
    for length in [0, 11] {
        let files = server.finished_names();
        empty(length, &right).refused(460);
        assert_eq!(server.finished_names(), files);
        empty(length, &checksum("md5", b"")).expect(201);
    }
}

// rows: CROSS-11
// spec: TUS-56
#[test]
fn chunks_behind_and_under_a_wrong_patch_come_back() {
    let server = Server::start();
    let parts = Parts::new("0123456789abcdef", "a.bin", CHUNK, Random::seeded(43).bytes(5 * CHUNK));
    for index in [0, 2, 4] {
        parts.send(&server, index);
    }
    let upload = parts.as_upload(&server);
    let begin = CHUNK + 100;
    upload.patch(CHUNK as u64, &parts.bytes[CHUNK..begin]).expect(204);
    server.settled_uploads();
    // Over chunk 2 into chunk 3 with other bytes.
    let other = Random::seeded(44).bytes(2 * CHUNK + 500);
    let wrong = checksum("sha1", b"?");
    mismatches(&upload, &checked(&upload.url, begin as u64, &other, &wrong), begin as u64);
    assert_eq!(parts.uploaded(&server), [0, 2, 4]);
    for index in [0, 2, 4] {
        assert_eq!(parts.check(&server, index)["sha256"], parts.digest(index));
    }
    upload.patch(begin as u64, &parts.bytes[begin..2 * CHUNK]).expect(204);
    assert_eq!(upload.offset(), 3 * CHUNK as u64);
    upload.patch(3 * CHUNK as u64, &parts.bytes[3 * CHUNK..4 * CHUNK]).expect(204);
    parts.merge(&server).expect_one(&[200, 201]);
    upload.is_file(&parts.bytes);
}

/// One PATCH with a checksum that is killed in the middle: was it answered, and did it leave bytes?
/// It does `surely` where its last byte is not sent.
fn checked_until_killed(
    random: &mut Random,
    server: &mut Server,
    (url, bytes): (&str, &[u8]),
    (begin, trailer, surely): (usize, bool, bool),
) -> (bool, bool) {
    let body = &bytes[begin..];
    let sum = checksum("sha1", body);
    let head = append(url, begin as u64);
    let request = if trailer {
        let head = head.header("Trailer", "Upload-Checksum");
        head.trailed(body, 20_000, &[("Upload-Checksum", &sum)])
    } else {
        head.header("Upload-Checksum", sum).body(body)
    };
    let mut wire = request.wire();
    wire.truncate(wire.len() - usize::from(surely));
    let mut connection = server.connect();
    let mut other = connection.twin();
    let folder = Upload { server, url: url.to_owned() }.folder();
    let moment = Duration::from_micros(random.between(0, 8_000));
    thread::scope(|scope| {
        scope.spawn(move || drop(other.try_raw(&wire)));
        // Mostly within the body, sometimes in front of it or behind it.
        let most = if surely { 20_000 } else { random.between(0, 600) };
        let deadline = Instant::now() + Duration::from_millis(most);
        while bytes_below(&folder) <= begin as u64 && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(moment);
        server.kill_9();
    });
    let torn = bytes_below(&folder) > begin as u64;
    let answered = connection.try_answer("PATCH").is_ok_and(|answer| answer.status == 204);
    server.start_again();
    (answered, torn)
}

fn rounds_of_checked(test: &str, rounds: usize, options: &[&str]) {
    let mut random = Random::announced(test);
    let mut server = Server::with(options);
    let mut torn = 0;
    for round in 0..rounds {
        let size = 64 * CHUNK - random.below(CHUNK);
        let bytes = random.bytes(size);
        let url = Upload::new(&server, size as u64).url;
        let begin = random.below(size / 4);
        server.ask(&patch(&url, 0, &bytes[..begin])).expect(204);
        let trailer = round % 3 == 2;
        let how = (begin, trailer, round == 0);
        let (told, left) = checked_until_killed(&mut random, &mut server, (&url, &bytes), how);
        let upload = Upload { server: &server, url };
        let offset = upload.offset() as usize;
        torn += usize::from(left);
        if told {
            assert_eq!(offset, size, "round {round}: what was told is lost");
        }
        assert!(offset == begin || offset == size, "round {round}: {offset}, not {begin}");
        if offset == begin {
            assert!(upload.stored() == bytes[..begin], "round {round}: other bytes");
            let sum = checksum("sha256", &bytes[begin..]);
            server.ask(&checked(&upload.url, begin as u64, &bytes[begin..], &sum)).expect(204);
        }
        upload.is_file(&bytes);
        upload.delete().expect(204);
    }
    assert!(torn > 0, "no round was killed within its body");
}

// rows: TUS-CHK-07
// spec: TUS-57
#[test]
fn killed_within_a_checked_patch() {
    rounds_of_checked("killed_within_a_checked_patch", 15, &[]);
}

#[test]
fn killed_within_a_checked_patch_with_other_options() {
    let options = ["--chunks-per-part=1", "--durability=ack"];
    rounds_of_checked("killed_within_a_checked_patch, ack", 8, &options);
}
