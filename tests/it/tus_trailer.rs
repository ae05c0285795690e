//! Checksum trailer: the checksum comes behind the bytes.

use std::time::Duration;

use crate::{
    client::Request,
    digest::checksum,
    h2::H2,
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append},
};

fn announced(upload: &Upload<'_>, offset: u64) -> Request {
    append(&upload.url, offset).header("Trailer", "Upload-Checksum")
}

fn sum_of(value: &str) -> [(&str, &str); 1] {
    [("Upload-Checksum", value)]
}

// rows: TUS-TRL-01
// spec: TUS-59
#[test]
fn a_checksum_behind_the_bytes_is_compared() {
    let server = Server::start();
    for algorithm in ["sha1", "crc32c", "blake3", "sha512"] {
        let upload = Upload::hello(&server);
        let (right, wrong) = (checksum(algorithm, b" world"), checksum(algorithm, b" World"));
        for (value, status) in [(&*wrong, 460), ("sha3 AAAA", 400), ("sha1", 400), ("", 400)] {
            let asked = announced(&upload, 5).trailed(b" world", 4, &sum_of(value));
            assert_eq!(upload.refuses(&asked, status).offset(), 5, "{value}");
        }
        let asked = announced(&upload, 5).trailed(b" world", 4, &sum_of(&right));
        assert_eq!(server.ask(&asked).expect(204).offset(), 11);
        upload.is_file(b"hello world");
    }
}

// rows: TUS-TRL-01
// spec: TUS-59, TUS-56
#[test]
fn many_chunks_are_read_back_and_compared() {
    let bytes = Random::seeded(51).bytes(6 * CHUNK + 321);
    for options in [&[][..], &["--chunks-per-part=2"], &["--durability=ack"]] {
        let server = Server::with(options);
        let upload = Upload::new(&server, bytes.len() as u64);
        upload.patch(0, &bytes[..CHUNK + 9]).expect(204);
        let begin = CHUNK + 9;
        let right = checksum("sha256", &bytes[begin..]);
        let wrong = checksum("sha256", &bytes[begin + 1..]);
        let asked = announced(&upload, begin as u64);
        let refused = asked.clone().trailed(&bytes[begin..], 10_000, &sum_of(&wrong));
        upload.refuses(&refused, 460);
        let asked = asked.trailed(&bytes[begin..], 10_000, &sum_of(&right));
        server.ask(&asked).expect(204);
        upload.is_file(&bytes);
    }
}

// rows: TUS-TRL-02, TUS-TRL-03
// spec: TUS-60
#[test]
fn one_checksum_and_the_one_that_was_announced() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let right = checksum("sha1", b" world");
    let head = announced(&upload, 5).header("Upload-Checksum", &right);
    let waiting =
        head.clone().header("Transfer-Encoding", "chunked").header("Expect", "100-continue");
    let answer = server.begin(&waiting).answer("PATCH").refused(400);
    assert!(answer.interim.is_empty());
    upload.refuses(&head.trailed(b" world", 4, &sum_of(&right)), 400);
    let unannounced = append(&upload.url, 5).header("Upload-Checksum", &right);
    upload.refuses(&unannounced.trailed(b" world", 4, &sum_of(&right)), 400);
    upload.refuses(&announced(&upload, 5).chunked(b" world", 4), 400);
    let other = announced(&upload, 5).trailed(b" world", 4, &[("X-Checksum", &right)]);
    upload.refuses(&other, 400);
    let twice = [("Upload-Checksum", &*right), ("upload-checksum", &*right)];
    upload.refuses(&announced(&upload, 5).trailed(b" world", 4, &twice), 400);
    upload.patch(5, " world").expect(204);
    upload.is_file(b"hello world");
}

// rows: TUS-TRL-04
// spec: TUS-59
#[test]
fn a_checksum_that_was_not_announced_is_compared_too() {
    let server = Server::start();
    let bytes = Random::seeded(52).bytes(3 * CHUNK);
    let upload = Upload::new(&server, bytes.len() as u64);
    upload.patch(0, &bytes[..1000]).expect(204);
    let asked = append(&upload.url, 1000);
    for (value, status) in [(&*checksum("md5", b"other"), 460), ("md5 x", 400)] {
        let refused = asked.clone().trailed(&bytes[1000..], 9_999, &sum_of(value));
        assert_eq!(upload.refuses(&refused, status).offset(), 1000);
        assert!(server.finished().is_empty());
    }
    let right = checksum("md5", &bytes[1000..]);
    server.ask(&asked.trailed(&bytes[1000..], 9_999, &sum_of(&right))).expect(204);
    upload.is_file(&bytes);
}

// rows: TUS-TRL-05
// spec: TUS-60
#[test]
fn a_trailer_that_can_never_come_is_refused() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    upload.refuses(&announced(&upload, 5).body(" world"), 400);
    upload.refuses(&announced(&upload, 5), 400);
    let old = announced(&upload, 5).body(" world").http_1_0();
    let (before, answer) = (upload.state(), server.ask(&old));
    answer.refused(400);
    assert_eq!(upload.state(), before);
}

// rows: TUS-TRL-06
// spec: TUS-61
#[test]
fn other_trailers_say_nothing() {
    let server = Server::start();
    let upload = Upload::deferred(&server);
    let right = checksum("sha1", b"hello");
    let others = [
        ("Upload-Offset", "99"),
        ("Content-Length", "1"),
        ("Tus-Resumable", "9"),
        ("Upload-Length", "5"),
        ("Upload-Checksum", &*right),
    ];
    let asked = append(&upload.url, 0);
    assert_eq!(server.ask(&asked.trailed(b"hello", 4, &others)).expect(204).offset(), 5);
    let asked = append(&upload.url, 5);
    assert_eq!(server.ask(&asked.trailed(b" wor", 4, &others[..4])).expect(204).offset(), 9);
    assert_eq!(upload.head().expect(200).needs("Upload-Defer-Length"), "1");
    let last = append(&upload.url, 9).header("Upload-Length", 11).body("ld");
    server.ask(&last).expect(204);
    upload.is_file(b"hello world");
}

// rows: TUS-TRL-07
// spec: TUS-61
#[test]
fn trailers_have_limits() {
    let server = Server::start();
    let right = checksum("sha1", b" world");
    let large = "x".repeat(100_000);
    let many: Vec<String> = (0..1000).map(|n| format!("X-{n}")).collect();
    let large = vec![("Upload-Checksum", &*right), ("X-Large", &*large)];
    let mut all: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "x")).collect();
    all.push(("Upload-Checksum", &*right));
    for trailers in [large, all] {
        let upload = Upload::hello(&server);
        let before = upload.state();
        let asked = announced(&upload, 5).trailed(b" world", 4, &trailers);
        let mut connection = server.begin(&asked);
        if let Ok(answer) = connection.try_answer("PATCH") {
            answer.expect_one(&[400, 431]);
        }
        connection.closes_within(Duration::from_secs(10));
        assert_eq!(upload.state(), before);
    }
}

// rows: TUS-TRL-01, TUS-TRL-02, TUS-TRL-03, TUS-TRL-04, TUS-TRL-06
// spec: TUS-59, TUS-60
#[test]
fn trailers_come_over_http_2_too() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let (right, wrong) = (checksum("sha1", b" world"), checksum("sha1", b" World"));
    let plain = append(&upload.url, 5).body(" world");
    let known = plain.clone().header("Trailer", "upload-checksum");
    // A length does not keep trailers away here.
    let unknown = known.clone().without("Content-Length");
    let open = plain.clone().without("Content-Length");
    let before = upload.state();
    for asked in [&known, &unknown, &open, &plain] {
        for (value, status) in [(&*wrong, 460), ("sha1 x", 400)] {
            let answer = H2::open(server.address()).ask_with(asked, &sum_of(value)).refused(status);
            assert_eq!(answer.offset(), 5);
            assert_eq!(upload.state(), before);
        }
    }
    for asked in [&known, &unknown] {
        H2::open(server.address()).ask_with(asked, &[]).refused(400);
        H2::open(server.address()).ask_with(asked, &[("upload-offset", "7")]).refused(400);
        let both = asked.clone().header("Upload-Checksum", &right);
        H2::open(server.address()).ask_with(&both, &sum_of(&right)).refused(400);
        assert_eq!(upload.state(), before);
    }
    let header = plain.clone().header("Upload-Checksum", &right);
    H2::open(server.address()).ask_with(&header, &sum_of(&right)).refused(400);
    assert_eq!(upload.state(), before);
    for asked in [known, unknown, open, plain] {
        let upload = Upload::hello(&server);
        let asked = Request { target: upload.url.clone(), ..asked };
        let trailers = [("upload-checksum", &*right), ("upload-offset", "99")];
        assert_eq!(H2::open(server.address()).ask_with(&asked, &trailers).expect(204).offset(), 11);
        upload.is_file(b"hello world");
    }
}
