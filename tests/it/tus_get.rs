//! GET: the finished file.

use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::{
    client::{Answer, Request},
    digest::sha256,
    server::{CHUNK, Server},
    tus::{Upload, create_with, request},
};

/// The answer to GET of a finished file of that name and type.
#[track_caller]
fn download(server: &Server, filename: &str, media_type: &str) -> Answer {
    let pair = |name: &str, value: &str| format!("{name} {}", BASE64_STANDARD.encode(value));
    let metadata = [pair("filename", filename), pair("filetype", media_type)].join(",");
    let asked = create_with(11, "hello world").header("Upload-Metadata", metadata);
    Upload::from_answer(server, &server.ask(&asked).expect(201)).get().expect(200)
}

// rows: TUS-GET-01
// spec: TUS-28
#[test]
fn a_finished_file_comes_whole_and_with_its_headers() {
    let mut server = Server::start();
    let url = Upload::finished(&server).url;
    let file = server.ask(&Request::new("GET", &url)).expect(200);
    assert_eq!(file.body, b"hello world");
    assert_eq!(file.needs("Content-Length"), "11");
    assert_eq!(file.needs("Accept-Ranges"), "bytes");
    assert_eq!(file.needs("X-Content-Type-Options"), "nosniff");
    let tag = file.needs("ETag");
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
    let modified = httpdate::parse_http_date(file.needs("Last-Modified")).unwrap();
    let age = SystemTime::now().duration_since(modified).unwrap();
    assert!(age < Duration::from_mins(1), "{age:?}");
    server.restart();
    let again = server.ask(&Request::new("GET", &url)).expect(200);
    for name in ["ETag", "Last-Modified", "Content-Disposition"] {
        assert_eq!(again.header(name), file.header(name));
    }
    assert_eq!(again.body, file.body);
    let mut other = Upload::new(&server, 11);
    other.patch(0, "HELLO WORLD").expect(204);
    assert_ne!(other.get().expect(200).needs("ETag"), tag);
    other = Upload::new(&server, 0);
    assert_eq!(other.get().expect(200).body, b"");
}

// rows: TUS-GET-02
// spec: TUS-29
#[test]
fn of_an_unfinished_upload_nothing_is_served() {
    let server = Server::start();
    for upload in [Upload::new(&server, 11), Upload::hello(&server)] {
        upload.get().refused_as(404, "unknown-upload");
        assert!(server.finished().is_empty());
        let offset = upload.offset();
        upload.patch(offset, &b"hello world"[offset as usize..]).expect(204);
        upload.get().expect(200);
        upload.delete().expect(204);
        upload.get().refused_as(404, "unknown-upload");
    }
}

// rows: TUS-GET-02
// spec: TUS-14
#[test]
fn what_expired_is_gone_and_what_never_was_is_unknown() {
    let server = Server::with(&["--expire-after=100ms", "--reap-every=1h"]);
    // In one request: there may be no time for another one.
    let upload = Upload::from_answer(&server, &server.ask(&create_with(11, "hello")).expect(201));
    std::thread::sleep(Duration::from_millis(250));
    upload.get().refused_as(410, "gone");
    for id in ["00000000000000000000000000000000", "nobody"] {
        let target = format!("/files/{id}");
        server.ask(&Request::new("GET", &target)).refused_as(404, "unknown-upload");
    }
}

// spec: TUS-75
#[test]
fn the_digest_of_the_whole_is_told_where_one_chunk_is_the_whole() {
    let server = Server::start();
    for (length, told) in [(0, true), (11, true), (CHUNK, true), (CHUNK + 1, false)] {
        let bytes = vec![7; length];
        let upload = Upload::new(&server, length as u64);
        if length > 0 {
            upload.patch(0, bytes.clone()).expect(204);
        }
        let expected =
            told.then(|| format!("sha-256=:{}:", BASE64_STANDARD.encode(sha256(&bytes))));
        let get = Request::new("GET", &upload.url).header("Want-Repr-Digest", "sha-256=0");
        let file = server.ask(&get).expect(200);
        assert_eq!(file.header("Repr-Digest"), expected.as_deref(), "{length} bytes");
        assert_eq!(file.body, bytes);
    }
    let unhashed = Server::with(&["--chunk-digest=none"]);
    assert_eq!(Upload::finished(&unhashed).get().expect(200).header("Repr-Digest"), None);
}

// rows: TUS-GET-05, TUS-GET-06
// spec: TUS-30
#[test]
fn only_harmless_files_are_shown_in_place_and_names_are_tame() {
    let server = Server::start();
    for (media_type, kind) in [
        ("image/png", "inline"),
        ("text/plain", "inline"),
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/x-anything", "attachment"),
    ] {
        let file = download(&server, "a.bin", media_type);
        let shown = file.needs("Content-Disposition");
        assert!(shown.starts_with(&format!("{kind};")), "{media_type}: {shown}");
        let told = file.needs("Content-Type");
        assert!(!told.contains("html") && !told.contains("svg"), "{media_type}: {told}");
    }
    for (given, plain) in [("../../etc/passwd", "passwd"), ("a\r\nb.bin", "ab.bin")] {
        let shown = download(&server, given, "text/html");
        let shown = shown.needs("Content-Disposition");
        assert!(shown.contains(&format!("filename=\"{plain}\"")), "{given:?}: {shown}");
    }
}

/// A name as clients send it, and the two forms in which it comes back.
const NAMES: [(&str, &str, &str); 6] = [
    ("a \"b\".bin", "a _b_.bin", "a%20%22b%22.bin"),
    ("a\\b.bin", "b.bin", "b.bin"),
    ("é.bin", "_.bin", "%C3%A9.bin"),
    ("a\r\nSet-Cookie: b", "aSet-Cookie: b", "aSet-Cookie%3A%20b"),
    ("x/../a;b.bin", "a;b.bin", "a%3Bb.bin"),
    ("100%.bin", "100_.bin", "100%25.bin"),
];

// rows: TUS-GET-06
// spec: TUS-30
#[test]
fn a_name_stays_within_its_header() {
    let server = Server::start();
    let plain = download(&server, "a.bin", "image/png");
    let names = |answer: &Answer| {
        let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    for (given, quoted, encoded) in NAMES {
        let file = download(&server, given, "image/png");
        let shown = file.needs("Content-Disposition");
        let expected = format!("inline; filename=\"{quoted}\"; filename*=UTF-8''{encoded}");
        assert_eq!(shown, expected);
        assert_eq!(names(&file), names(&plain), "{given:?}");
    }
    let long = download(&server, &"x".repeat(300), "image/png");
    assert!(long.needs("Content-Disposition").len() < 700);
}

// rows: TUS-GET-07
// spec: TUS-77
#[test]
fn where_nothing_is_handed_out_get_is_no_method() {
    let server = Server::with(&["--disable-download"]);
    for upload in [Upload::hello(&server), Upload::finished(&server)] {
        let refused = upload.get().refused_as(405, "method-not-allowed");
        assert_eq!(refused.needs("Allow"), "HEAD, PATCH, DELETE, OPTIONS");
        upload.head().expect(200);
    }
    assert_eq!(server.the_file(), b"hello world");
}

// rows: TUS-CORE-07
// spec: TUS-78
#[test]
fn where_nobody_deletes_delete_is_no_method() {
    let server = Server::with(&["--disable-termination"]);
    let options = server.ask(&Request::new("OPTIONS", "/files/")).expect(204);
    let offered = "creation,creation-with-upload,creation-defer-length,expiration,checksum,\
                   checksum-trailer,concatenation,concatenation-unfinished";
    assert_eq!(options.needs("Tus-Extension"), offered);
    let (half, whole) = (Upload::hello(&server), Upload::finished(&server));
    for upload in [&half, &whole] {
        let before = upload.state();
        let by_override = request("POST", &upload.url).header("X-HTTP-Method-Override", "DELETE");
        for answer in [upload.delete(), server.ask(&by_override)] {
            let refused = answer.refused_as(405, "method-not-allowed");
            assert_eq!(refused.needs("Allow"), "HEAD, PATCH, GET, OPTIONS");
        }
        // The other door to the same upload.
        let target = format!("/upload?hash={}", upload.id());
        let refused = server.ask(&Request::new("DELETE", &target)).refused(405);
        assert_eq!(refused.needs("Allow"), "POST, PUT");
        assert_eq!(upload.state(), before);
    }
    half.patch(5, " world").expect(204);
    assert_eq!(whole.get().expect(200).body, b"hello world");
}
