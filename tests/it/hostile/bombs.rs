//! Bombs: one small thing that is meant to become a large one.

use std::{io::Write, time::Duration};

use super::{
    frames::{END_HEADERS, END_STREAM, HEADERS, fields, flood, frame, head, hello, literal},
    watch::Watch,
};
use crate::{
    client::{Conn, Request},
    server::Server,
    tus::{FILES, OFFSET_TYPE, Upload, append, create, patch, request},
};

const SOON: Duration = Duration::from_secs(8);
/// Growth that is no growth.
const MIB: u64 = 48;

/// One long field is remembered, and then named by one byte thousands of times.
// spec: CORE-67, CORE-90
#[test]
fn a_head_that_unpacks_to_megabytes_is_refused() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    for _ in 0..20 {
        let mut connection = hello(&server, &[]);
        let remembered = literal(0x40, "x-long", &"y".repeat(3900));
        // 0x80 and 62, the newest field of the table (RFC 7541 §2.3.3, §6.1).
        let block = [head("GET", FILES, &[]), remembered, vec![0xbe; 10_000]].concat();
        connection.raw(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
        flood(&mut connection, 1, |_| frame(HEADERS, END_HEADERS, 3, &fields(&[("a", "b")])));
    }
    watch.ends(MIB);
}

/// Heads as large as they may be, on many connections, none of which ever ends.
// spec: CORE-64, CORE-67, CORE-90
#[test]
fn heads_that_never_end_hold_no_more_than_their_limit() {
    let server = Server::with(&["--idle-timeout=1500ms"]);
    let watch = Watch::begin(&server);
    let piece = format!("X-Fat: {}", "x".repeat(120_000));
    let mut slow: Vec<Conn> = (0..64)
        .map(|_| {
            let mut connection = server.connect();
            let begun = ["POST /files/ HTTP/1.1\r\nHost: piton.test\r\n", &piece].concat();
            connection.raw(begun);
            connection
        })
        .collect();
    for connection in &mut slow {
        connection.closes_within(SOON);
    }
    watch.ends(MIB);
}

/// Bodies are never unpacked: neither is a coding of the content taken, nor one of the transfer.
// rows: TUS-PATCH-14
// spec: CORE-3
#[test]
fn nothing_is_ever_unpacked() {
    let server = Server::start();
    let upload = Upload::new(&server, 1 << 20);
    // 1 MiB of zeros in gzip, begun: enough for a decoder to begin with.
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1\x01\x01\0\0\0\x82\x90\xff\xafnH@".to_vec();
    for coding in
        ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "identity, gzip", "gzip, identity"]
    {
        let coded = patch(&upload.url, 0, gzip.clone()).header("Content-Encoding", coding);
        upload.refuses(&coded, 415).needs("Accept-Encoding");
        let mut chunked =
            append(&upload.url, 0).header("Transfer-Encoding", format!("{coding}, chunked"));
        chunked.body = [b"5\r\n", &gzip[..5], b"\r\n0\r\n\r\n"].concat();
        server.connect().ask(&chunked).expect_one(&[400, 415, 501]);
        assert_eq!(upload.offset(), 0, "{coding}");
    }
    let json = br#"{"size":1}"#.to_vec();
    let init = Request::new("POST", "/upload/init").header("Content-Type", "application/json");
    server.ask(&init.header("Content-Encoding", "gzip").body(json)).refused(415);
}

/// A list of ten thousand parts, and as many as fit into a head.
// spec: CORE-67, TUS-96
#[test]
fn lists_of_parts_are_as_long_as_a_head_and_no_longer() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let part = request("POST", FILES).header("Upload-Concat", "partial").header("Upload-Length", 3);
    let part = part.header("Content-Type", OFFSET_TYPE).body("abc");
    let part = Upload::from_answer(&server, &server.ask(&part).expect(201));
    let of = |count: usize| {
        let list = vec![part.id(); count].join(" ");
        request("POST", FILES).header("Upload-Concat", format!("final;{list}"))
    };
    server.connect().ask(&of(10_000)).expect(431);
    let made = server.connect().ask(&of(1_900)).expect(201);
    Upload::from_answer(&server, &made).is_file(&b"abc".repeat(1_900));
    let nobody = "0".repeat(32);
    let strange = format!("final;{}", vec![nobody; 1_900].join(" "));
    let strange = request("POST", FILES).header("Upload-Concat", strange);
    server.ask(&strange).refused_as(400, "malformed-header");
    watch.ends(MIB);
}

/// Metadata as long as a head, in hundreds of uploads that are all looked at: what is remembered of
/// them stays small.
// spec: TUS-110
#[test]
fn metadata_has_a_limit_and_many_uploads_of_it_stay_small() {
    let server = Server::with(&["--durability=none"]);
    let of = |bytes: usize| create(5).header("Upload-Metadata", format!("a {}", "A".repeat(bytes)));
    server.ask(&of(100_000)).refused_as(400, "malformed-metadata");
    let watch = Watch::begin(&server);
    let made: Vec<_> = (0..400).map(|_| server.ask(&of(16_000)).expect(201)).collect();
    for made in made {
        server.ask(&request("HEAD", made.needs("Location"))).expect(200);
    }
    watch.ends(MIB);
}

/// Ranges and conditions by the thousand.
// spec: TUS-71, TUS-73, CORE-90
#[test]
fn thousands_of_ranges_and_conditions_are_one_request() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    let watch = Watch::begin(&server);
    let get = || Request::new("GET", &upload.url);
    let many = |one: &str| vec![one; 10_000].join(",");
    for ranges in [many("0-"), many("0-0"), many("-1"), vec!["5-6"; 16].join(",")] {
        let answer = server.ask(&get().header("Range", format!("bytes={ranges}")));
        assert_eq!(answer.expect(200).body, b"hello world");
    }
    let etag = upload.get().needs("ETag").to_owned();
    let tags = format!("{},{etag}", many("\"x\""));
    server.ask(&get().header("If-None-Match", &tags)).expect(304);
    server.ask(&get().header("If-Match", &tags)).expect(200);
    server.ask(&get().header("If-Match", many("W/\"x"))).refused(412);
    watch.ends(MIB);
}

/// Chunks of one byte with kilobytes of extensions, and trailers without end.
// spec: CORE-11, TUS-61, CORE-90
#[test]
fn what_stands_around_a_body_has_limits() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let upload = Upload::new(&server, 1000);
    let mut body = Vec::new();
    for _ in 0..100 {
        write!(body, "1;{}\r\nx\r\n", "e".repeat(4096)).unwrap();
    }
    let mut padded = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
    padded.body = body;
    server.connect().ask(&padded).refused_as(400, "malformed-body");
    let kept = upload.offset();
    assert!(kept < 100, "{kept} chunks with extensions");
    let trailers: Vec<(String, String)> =
        (0..5_000).map(|n| (format!("X-{n}"), "y".repeat(20))).collect();
    let trailers: Vec<_> = trailers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut trailed = append(&upload.url, kept).trailed(b"abc", 3, &trailers);
    trailed.version = "HTTP/1.1";
    let answered = server.connect().try_ask(&trailed).map(|answer| answer.status);
    assert!(!answered.is_ok_and(|status| status != 400), "trailers without end were taken");
    watch.ends(MIB);
}
