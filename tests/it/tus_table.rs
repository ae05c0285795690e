//! One upload's life as a table of requests and answers, to be walked over any connection and under
//! any options: what is asked does not depend on how it is carried.

use crate::{
    client::{Answer, Request},
    server::Server,
    tus::{FILES, append, create, create_with, patch, request},
};

/// What is asked of the upload, the status, and the `Upload-Offset` of the answer if it has one.
type Step = (fn(&str) -> Request, u16, Option<u64>);

/// Requests that make nothing.
const NOT_MADE: [Step; 6] = [
    (|_| create(11).without("Upload-Length"), 400, None),
    (|_| create(11).set("Upload-Length", "011"), 400, None),
    (|_| create(11).without("Tus-Resumable"), 412, None),
    (|_| create(11).body("hello"), 415, None),
    (|_| create(11).header("Upload-Metadata", "a !!!"), 400, None),
    (|_| create_with(11, "hello world, and more"), 413, None),
];

/// From the new upload of 11 bytes to the one that is gone.
const LIFE: [Step; 38] = [
    (|url| request("HEAD", url), 200, Some(0)),
    (|url| Request::new("GET", url), 404, None),
    (|url| patch(url, 0, "hello"), 204, Some(5)),
    (|url| patch(url, 5, ""), 204, Some(5)),
    (|url| request("HEAD", url), 200, Some(5)),
    // Refused, and nothing stored.
    (|url| patch(url, 5, "x").without("Tus-Resumable"), 412, None),
    (|url| patch(url, 5, "x").set("Tus-Resumable", "1.0.1"), 412, None),
    (|url| patch(url, 5, "x").without("Content-Type"), 415, None),
    (|url| patch(url, 5, "x").set("Content-Type", "application/octet-stream"), 415, None),
    (|url| patch(url, 5, "x").header("Content-Encoding", "gzip"), 415, None),
    (|url| patch(url, 5, "x").without("Upload-Offset"), 400, None),
    (|url| patch(url, 5, "x").set("Upload-Offset", "05"), 400, None),
    (|url| patch(url, 5, "x").set("Upload-Offset", "9223372036854775808"), 400, None),
    (|url| patch(url, 5, "x").header("Upload-Offset", 5), 400, None),
    (|url| patch(url, 0, "hello"), 409, Some(5)),
    (|url| patch(url, 6, "world"), 409, Some(5)),
    (|url| patch(url, 5, " world!"), 413, None),
    (|url| request("PUT", url).body("x"), 405, None),
    (|url| Request::new("HEAD", url), 412, None),
    (|url| request("HEAD", url), 200, Some(5)),
    (|url| Request::new("GET", url), 404, None),
    // Taken.
    (|url| patch(url, 5, " ").set("Content-Type", "Application/Offset+Octet-Stream"), 204, Some(6)),
    (|url| patch(url, 6, "wo").header("Upload-Metadata", "a !!!"), 204, Some(8)),
    (|url| patch(&format!("{url}/"), 8, "rld"), 204, Some(11)),
    (|url| request("HEAD", url), 200, Some(11)),
    (|url| Request::new("GET", url), 200, None),
    (|url| patch(url, 11, ""), 204, Some(11)),
    (|url| patch(url, 11, "x"), 413, None),
    (|url| patch(url, 0, "hello world"), 409, Some(11)),
    (|url| Request::new("DELETE", url), 412, None),
    (|url| Request::new("GET", url).header("Tus-Resumable", "9.9.9"), 200, None),
    (|url| request("DELETE", url), 204, None),
    (|url| request("HEAD", url), 404, None),
    (|url| append(url, 11).body(""), 404, None),
    (|url| patch(url, 0, "hello"), 404, None),
    (|url| Request::new("GET", url), 404, None),
    (|url| request("DELETE", url), 404, None),
    (|_| Request::new("OPTIONS", FILES), 204, None),
];

/// Walks through the whole table; `ask` sends a request and brings the answer.
pub fn walk(ask: &mut dyn FnMut(&Request) -> Answer) {
    for step in NOT_MADE {
        let answer = take(ask, step, FILES);
        assert_eq!(answer.header("Location"), None, "{answer:?}");
    }
    let made = ask(&create_with(11, "hello world")).expect(201);
    assert_eq!((made.offset(), made.header("Upload-Expires")), (11, None), "{made:?}");
    let url = ask(&create(11)).expect(201).needs("Location").to_owned();
    for step in LIFE {
        let answer = take(ask, step, &url);
        if answer.status == 200 && !answer.body.is_empty() {
            assert_eq!(answer.body, b"hello world", "{answer:?}");
        }
    }
}

/// One exchange, with what holds for every answer of tus.
fn take(ask: &mut dyn FnMut(&Request) -> Answer, step: Step, url: &str) -> Answer {
    let (request, status, offset) = step;
    let request = request(url);
    let answer = ask(&request);
    assert_eq!(answer.status, status, "{answer:?} to {request:?}");
    let answer = if status >= 400 && !answer.body.is_empty() {
        answer.refused(status)
    } else {
        assert!(status < 400 || request.method == "HEAD", "a refusal without words: {answer:?}");
        answer
    };
    if let Some(offset) = offset {
        assert_eq!(answer.offset(), offset, "{answer:?} to {request:?}");
        let unfinished = offset < 11;
        assert_eq!(answer.count("Upload-Expires"), usize::from(unfinished), "{answer:?}");
    }
    assert_eq!(answer.count("Tus-Resumable"), 1, "{answer:?} to {request:?}");
    assert_eq!(answer.header("Tus-Resumable"), Some("1.0.0"), "{answer:?} to {request:?}");
    answer
}

// rows: TUS-PATCH-17: the table, under each option that changes how bytes are kept.
#[test]
fn how_bytes_are_kept_is_no_protocol() {
    for options in [
        &[][..],
        &["--chunks-per-part=1", "--chunk-size=4KiB"],
        &["--chunk-digest=none"],
        &["--durability=none"],
        &["--durability=complete", "--verify-on-merge"],
        &["--durability=ack"],
    ] {
        let server = Server::with(options);
        walk(&mut |request| server.ask(request));
        server.uploads_vanish();
    }
}

// One connection for all of it: no answer leaves anything behind that the next one would stumble
// over.
// spec: CORE-8
#[test]
fn one_connection_carries_it_all() {
    let server = Server::start();
    let mut connection = server.connect();
    walk(&mut |request| connection.ask(request));
}

// rows: TUS-OVR-01, TUS-OVR-02
// spec: TUS-4
#[test]
fn every_method_can_come_as_a_post() {
    let server = Server::start();
    walk(&mut |request| {
        if !["PATCH", "DELETE", "HEAD"].contains(&&*request.method) {
            return server.ask(request);
        }
        let mut posted = request.clone().header("X-HTTP-Method-Override", &request.method);
        "POST".clone_into(&mut posted.method);
        server.ask(&posted)
    });
}
