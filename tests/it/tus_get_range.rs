//! GET of a part of a file, or only if it is another one.

use std::time::{Duration, SystemTime};

use crate::{
    client::{Answer, Request},
    random::Random,
    server::Server,
    tus::Upload,
};

/// A finished upload, asked with headers.
struct File<'a>(Upload<'a>);

impl<'a> File<'a> {
    fn new(server: &'a Server, bytes: &[u8]) -> Self {
        let upload = Upload::new(server, bytes.len() as u64);
        if !bytes.is_empty() {
            upload.patch(0, bytes).expect(204);
        }
        Self(upload)
    }

    #[track_caller]
    fn ask(&self, headers: &[(&str, &str)]) -> Answer {
        let get = Request::new("GET", &self.0.url);
        let get = headers.iter().fold(get, |get, (name, value)| get.header(name, value));
        self.0.server.ask(&get)
    }

    #[track_caller]
    fn range(&self, range: &str) -> Answer {
        self.ask(&[("Range", range)])
    }
}

/// The parts of a `multipart/byteranges`: what their `Content-Range` says, and their bytes.
#[track_caller]
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let media_type = answer.needs("Content-Type");
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(answer.needs("Content-Length"), answer.body.len().to_string());
    assert_eq!(answer.header("Content-Range"), None);
    let (mut found, mut rest) = (Vec::new(), answer.body.as_slice());
    let dashes = format!("--{boundary}");
    rest = rest.strip_prefix(dashes.as_bytes()).unwrap();
    let next = format!("\r\n--{boundary}");
    loop {
        if rest == b"--\r\n" {
            return found;
        }
        rest = rest.strip_prefix(b"\r\n").unwrap();
        let end = position(rest, next.as_bytes());
        let part = &rest[..end];
        rest = &rest[end + next.len()..];
        let body = position(part, b"\r\n\r\n");
        let head = String::from_utf8(part[..body].to_vec()).unwrap();
        let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        assert!(head.contains("Content-Type: application/octet-stream"), "{head}");
        found.push((range.to_owned(), part[body + 4..].to_vec()));
    }
}

#[track_caller]
fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

// rows: TUS-GET-03
// spec: TUS-70, TUS-72
#[test]
fn a_range_gives_its_bytes_or_says_that_there_are_none() {
    let server = Server::start();
    let file = File::new(&server, b"hello world");
    for (range, bytes, told) in [
        ("bytes=0-4", "hello", "bytes 0-4/11"),
        ("bytes=5-", " world", "bytes 5-10/11"),
        ("bytes=-3", "rld", "bytes 8-10/11"),
        ("bytes=-99", "hello world", "bytes 0-10/11"),
        ("bytes=10-99", "d", "bytes 10-10/11"),
    ] {
        let answer = file.range(range).expect(206);
        assert_eq!(answer.needs("Content-Range"), told);
        assert_eq!(answer.needs("Content-Length"), bytes.len().to_string());
        assert_eq!(answer.body, bytes.as_bytes());
        for name in ["ETag", "Last-Modified", "Accept-Ranges", "X-Content-Type-Options"] {
            answer.needs(name);
        }
    }
    for range in ["bytes=99-", "bytes=11-", "bytes=-0"] {
        let refused = file.range(range).refused_as(416, "range-not-satisfiable");
        assert_eq!(refused.needs("Content-Range"), "bytes */11");
    }
    let empty = File::new(&server, b"");
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let refused = empty.range(range).refused_as(416, "range-not-satisfiable");
        assert_eq!(refused.needs("Content-Range"), "bytes */0");
    }
    assert_eq!(empty.ask(&[]).expect(200).body, b"");
}

// rows: TUS-GET-04
// spec: TUS-71
#[test]
fn several_ranges_come_in_parts_and_nonsense_gives_the_whole() {
    let server = Server::start();
    let file = File::new(&server, b"hello world");
    let answer = file.range("bytes=9-, 0-1,3-4, 99-").expect(206);
    let expected = [("bytes 9-10/11", "ld"), ("bytes 0-1/11", "he"), ("bytes 3-4/11", "lo")];
    let expected = expected.map(|(range, bytes)| (range.to_owned(), bytes.as_bytes().to_vec()));
    assert_eq!(parts(&answer), expected);
    let other = file.range("bytes=9-, 0-1").expect(206);
    assert_ne!(other.needs("Content-Type"), answer.needs("Content-Type"), "a boundary twice");
    let many = vec!["0-0"; 5_000].join(",");
    for range in ["bytes=4-0", "lines=0-4", "bytes=a", "bytes=0-5,3-9", &format!("bytes={many}")] {
        let whole = file.range(range).expect(200);
        assert_eq!(whole.body, b"hello world", "{range}");
        assert_eq!(whole.header("Content-Range"), None);
    }
}

// rows: TUS-GET-03, TUS-GET-04
// spec: TUS-70, TUS-71
#[test]
fn ranges_across_blocks_and_chunks_are_the_same_bytes() {
    let server = Server::start();
    let mut random = Random::seeded(7);
    let bytes = random.bytes(1_200_000);
    let file = File::new(&server, &bytes);
    for (start, end) in [(0, 1), (262_143, 262_145), (65_535, 1_100_000), (1_199_999, 1_200_000)] {
        let answer = file.range(&format!("bytes={start}-{}", end - 1)).expect(206);
        assert!(answer.body == bytes[start..end], "{start}..{end}");
    }
    let spans = [(900_000, 1_199_999), (5, 300_004), (300_005, 300_005)];
    let list: Vec<String> = spans.iter().map(|(from, to)| format!("{from}-{to}")).collect();
    let answer = file.range(&format!("bytes={}", list.join(","))).expect(206);
    let found = parts(&answer);
    assert_eq!(found.len(), 3);
    for ((from, to), (told, part)) in spans.into_iter().zip(found) {
        assert_eq!(told, format!("bytes {from}-{to}/1200000"));
        assert!(part == bytes[from..=to], "{from}-{to}");
    }
    // A connection goes on behind it.
    let mut connection = server.connect();
    let get = Request::new("GET", &file.0.url).header("Range", "bytes=1-3,7-8");
    for _ in 0..2 {
        assert_eq!(parts(&connection.ask(&get).expect(206)).len(), 2);
    }
}

// rows: TUS-GET-04
// spec: TUS-73, TUS-74
#[test]
fn conditions_are_those_of_http() {
    let server = Server::start();
    let file = File::new(&server, b"hello world");
    let whole = file.ask(&[]).expect(200);
    let (etag, modified) = (whole.needs("ETag"), whole.needs("Last-Modified"));
    let earlier = SystemTime::now() - Duration::from_hours(1);
    let earlier = httpdate::fmt_http_date(earlier);
    let weak = format!("W/{etag}");
    let range = ("Range", "bytes=0-4");
    for (asked, status) in [
        (vec![range, ("If-Range", etag)], 206),
        (vec![range, ("If-Range", modified)], 206),
        (vec![range, ("If-Range", "\"other\"")], 200),
        (vec![range, ("If-Range", &weak)], 200),
        (vec![range, ("If-Range", &earlier)], 200),
        (vec![("If-None-Match", etag)], 304),
        (vec![("If-None-Match", &weak), range], 304),
        (vec![("If-None-Match", "\"other\"")], 200),
        (vec![("If-Modified-Since", modified)], 304),
        (vec![("If-Modified-Since", &earlier)], 200),
        (vec![("If-Modified-Since", modified), ("If-None-Match", "\"other\"")], 200),
        (vec![("If-Match", etag)], 200),
        (vec![("If-Match", &weak)], 412),
        (vec![("If-Match", "\"other\""), ("If-None-Match", etag)], 412),
        (vec![("If-Unmodified-Since", modified)], 200),
        (vec![("If-Unmodified-Since", &earlier)], 412),
    ] {
        let answer = file.ask(&asked);
        assert_eq!(answer.status, status, "{asked:?}");
        match status {
            200 => assert_eq!(answer.body, b"hello world"),
            206 => assert_eq!(answer.body, b"hello"),
            304 => {
                assert_eq!(answer.needs("ETag"), etag);
                assert_eq!(answer.header("Content-Length"), None, "{asked:?}");
            }
            _ => assert_eq!(answer.refused_as(412, "precondition-failed").header("ETag"), None),
        }
    }
}

// rows: TUS-GET-02, TUS-GET-04
// spec: TUS-29
#[test]
fn no_range_or_condition_opens_an_unfinished_upload() {
    let server = Server::start();
    let upload = File(Upload::hello(&server));
    for headers in [("Range", "bytes=0-1"), ("If-None-Match", "*"), ("If-Match", "\"x\"")] {
        upload.ask(&[headers]).refused_as(404, "unknown-upload");
    }
}

// rows: TUS-GET-04
#[test]
fn a_connection_is_not_lost_by_what_has_no_body() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    let mut connection = server.connect();
    let get = Request::new("GET", &upload.url);
    let etag = connection.ask(&get).expect(200).needs("ETag").to_owned();
    for _ in 0..2 {
        connection.ask(&get.clone().header("If-None-Match", &etag)).expect(304);
        connection.ask(&get.clone().header("Range", "bytes=99-")).refused(416);
        assert_eq!(connection.ask(&get).expect(200).body, b"hello world");
    }
}
