//! What pages of other origins may see: every answer, whatever its status.

use crate::{
    client::{Answer, Request},
    server::{CHUNK, Server, run, until},
    tus::{FILES, Upload, append, create, create_with, patch, request},
};

const PAGE: &str = "https://page.example";
const UNKNOWN: &str = "/files/00000000000000000000000000000000";

/// Headers that a page has to be able to read, rows CORS-03.
const READ: [&str; 21] = [
    "Location",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Defer-Length",
    "Upload-Metadata",
    "Upload-Concat",
    "Upload-Expires",
    "Tus-Version",
    "Tus-Resumable",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "ETag",
    "Range",
    "Content-Range",
    "Retry-After",
    "Repr-Digest",
    "Content-Disposition",
    "Accept-Ranges",
    "Upload-Complete",
    "Upload-Limit",
];

/// Headers that a page has to be able to send, row CORS-02 and clients.md B.6.
const SENT: [&str; 29] = [
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Draft-Interop-Version",
    "Content-Type",
    "Content-Digest",
    "Content-MD5",
    "X-Chunk-SHA256",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
    "Authorization",
    "Cache-Control",
    "Content-Range",
    "Content-Disposition",
    "Upload-Name",
    "Want-Repr-Digest",
    "Repr-Digest",
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Prefer",
    "sha256",
];

const PATHS: [&str; 9] = [
    FILES,
    "/files",
    UNKNOWN,
    "/upload",
    "/upload/check",
    "/upload/status",
    "/merge",
    "/healthz",
    "/no/such/path",
];

fn list(answer: &Answer, name: &str) -> Vec<String> {
    answer.needs(name).split(',').map(|entry| entry.trim().to_ascii_lowercase()).collect()
}

/// The page that asked can read the answer.
#[track_caller]
fn readable(answer: &Answer) {
    assert_eq!(answer.needs("Access-Control-Allow-Origin"), "*", "{answer:?}");
    assert_eq!(answer.count("Access-Control-Allow-Origin"), 1, "{answer:?}");
    let exposed = list(answer, "Access-Control-Expose-Headers");
    for name in READ {
        assert!(exposed.contains(&name.to_ascii_lowercase()), "{name} is hidden in {answer:?}");
    }
    assert!(answer.header("Access-Control-Allow-Credentials").is_none(), "{answer:?}");
}

#[track_caller]
fn no_cors(answer: &Answer) {
    let line = |name: &str| name.to_ascii_lowercase().starts_with("access-control-");
    assert!(!answer.headers.iter().any(|(name, _)| line(name)), "{answer:?}");
}

fn preflight(path: &str, origin: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "PATCH")
        .header("Access-Control-Request-Headers", "tus-resumable,upload-offset,x-csrf-token")
}

// rows: CORS-01, CORS-02
// spec: CORE-41
#[test]
fn a_preflight_is_answered_on_every_path() {
    let server = Server::with(&["--max-size=1MiB"]);
    for path in PATHS {
        let answer = server.ask(&preflight(path, PAGE)).expect(204);
        assert_eq!(answer.needs("Access-Control-Allow-Origin"), "*");
        let methods = list(&answer, "Access-Control-Allow-Methods");
        for method in ["post", "get", "head", "patch", "put", "delete", "options"] {
            assert!(methods.contains(&method.to_owned()), "{method} on {path}: {answer:?}");
        }
        let allowed = list(&answer, "Access-Control-Allow-Headers");
        for name in SENT.iter().chain(&["X-CSRF-Token"]) {
            assert!(allowed.contains(&name.to_ascii_lowercase()), "{name} on {path}: {answer:?}");
        }
        let age: u32 = answer.needs("Access-Control-Max-Age").parse().unwrap();
        assert!(age >= 86400, "{age}");
        assert!(answer.header("Access-Control-Allow-Private-Network").is_none());
    }
    assert!(server.ask(&preflight(FILES, PAGE)).header("Tus-Extension").is_some());
}

// rows: CORS-06
// spec: CORE-44
#[test]
fn a_preflight_may_ask_for_a_machine_in_the_house() {
    let server = Server::start();
    for path in PATHS {
        let asked = preflight(path, PAGE).header("Access-Control-Request-Private-Network", "true");
        let answer = server.ask(&asked).expect(204);
        assert_eq!(answer.needs("Access-Control-Allow-Private-Network"), "true");
    }
}

/// Requests of every kind, each with the status that it is answered with.
fn of_every_kind(server: &Server) -> Vec<(Request, u16)> {
    let upload = Upload::new(server, 11).url;
    let (gone, finished) = (Upload::new(server, 11), Upload::finished(server).url);
    gone.delete().expect(204);
    let chunk = "/upload?hash=0123456789abcdef&index=0&total=1&size=5&chunk_size=5&filename=a";
    let binary = |request: Request| request.header("Content-Type", "application/octet-stream");
    let get = |target: &str| Request::new("GET", target);
    vec![
        (request("OPTIONS", FILES), 204),
        (create(11), 201),
        (create_with(11, "hello"), 201),
        (create(11).set("Upload-Length", "-1"), 400),
        (create(1 << 40), 413),
        (request("HEAD", &upload), 200),
        (request("HEAD", UNKNOWN), 404),
        (patch(&upload, 0, "hello"), 204),
        (patch(&upload, 3, "lo"), 409),
        (patch(&upload, 5, "hello world"), 413),
        (patch(&upload, 5, " ").set("Content-Type", "text/plain"), 415),
        (patch(&upload, 5, " ").set("Tus-Resumable", "0.2.2"), 412),
        (patch(&upload, 5, " ").set("Upload-Offset", "x"), 400),
        (request("PUT", &upload), 405),
        (request("DELETE", &upload), 204),
        (get(&gone.url), 404),
        (get(&finished), 200),
        (request("HEAD", &finished), 200),
        (get("/upload/check?hash=0123456789abcdef&index=0"), 200),
        (binary(Request::new("PUT", chunk)).body("hello"), 201),
        (binary(Request::new("PUT", chunk)).body("hell"), 400),
        (binary(Request::new("PUT", chunk)).body("hello").header("X-Chunk-SHA256", "x"), 400),
        (binary(Request::new("PUT", chunk)).chunked(b"hello", 5), 411),
        (get("/upload/status?hash=0123456789abcdef"), 200),
        (get("/upload/status"), 400),
        (Request::new("PATCH", "/merge"), 405),
        (Request::new("POST", "/merge").header("Content-Type", "application/json").body("{"), 400),
        (get("/healthz"), 200),
        (Request::new("HEAD", "/healthz"), 200),
        (get("/no/such/path"), 404),
        (get("/files/%zz"), 400),
    ]
}

// rows: CORS-03, CORS-04
// spec: CORE-40
#[test]
fn every_answer_can_be_read() {
    let server = Server::with(&["--max-size=1GiB"]);
    for (request, status) in of_every_kind(&server) {
        let answer = server.ask(&request.clone().header("Origin", PAGE));
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        readable(&answer);
        assert_eq!(answer.needs("Vary"), "Origin");
    }
    // Nothing but caches has a use for CORS where no page asks.
    let server = Server::with(&["--max-size=1GiB"]);
    for (request, status) in of_every_kind(&server) {
        let answer = server.ask(&request).expect(status);
        no_cors(&answer);
    }
}

// rows: CORS-04
// spec: CORE-40
#[test]
fn an_early_answer_can_be_read() {
    let server = Server::start();
    let url = Upload::new(&server, 100_000_000).url;
    let big = patch(&url, 5, vec![7; 30_000_000]).header("Origin", PAGE);
    let mut connection = server.connect();
    connection.send(&big);
    readable(&connection.answer("PATCH").refused(409));
    let waiting = append(&url, 5).announcing(10).header("Expect", "100-continue");
    readable(&server.ask(&waiting.header("Origin", PAGE)).refused(409));
}

// rows: CORS-04
// spec: CORE-40
#[test]
fn the_refusal_of_a_head_can_be_read() {
    let server = Server::start();
    let from_page = |request: Request| request.header("Origin", PAGE);
    let twice = from_page(request("HEAD", UNKNOWN)).header("Host", "other");
    readable(&server.ask(&twice).expect(400));
    let hidden = from_page(append(UNKNOWN, 0)).header("Transfer-Encoding", "gzip, chunked");
    readable(&server.ask(&hidden).expect(400));
}

// rows: CORS-04
// spec: CORE-40
#[test]
fn the_word_that_the_server_stops_can_be_read() {
    let server = Server::start();
    let upload = Upload::new(&server, 10 * CHUNK as u64);
    let stalled = append(&upload.url, 0).announcing(CHUNK as u64).header("Origin", PAGE);
    let mut connection = server.begin(&stalled);
    upload.takes(&mut connection, b"hello", CHUNK as u64);
    server.sigterm();
    readable(&connection.answer("PATCH").refused(503));
}

// rows: CORS-05
// spec: CORE-42, CORE-43
#[test]
fn origins_that_are_not_listed_are_served_and_told_nothing() {
    let list = "--allow-origin=https://page.example,https://*.up.example";
    let server = Server::with(&[list, "--cors-credentials"]);
    for origin in [PAGE, "https://a.up.example", "https://a.b.up.example"] {
        let answer = server.ask(&create(11).header("Origin", origin)).expect(201);
        assert_eq!(answer.needs("Access-Control-Allow-Origin"), origin);
        assert_eq!(answer.needs("Access-Control-Allow-Credentials"), "true");
        assert_eq!(answer.needs("Vary"), "Origin");
        let answer = server.ask(&preflight(FILES, origin)).expect(204);
        assert_eq!(answer.needs("Access-Control-Allow-Origin"), origin);
        assert_eq!(answer.needs("Access-Control-Allow-Credentials"), "true");
    }
    for origin in ["https://evil.example", "https://up.example", "null", "http://page.example"] {
        let answer = server.ask(&create(11).header("Origin", origin)).expect(201);
        no_cors(&answer);
        assert_eq!(answer.needs("Vary"), "Origin");
        let answer = server.ask(&preflight("/merge", origin)).expect(204);
        no_cors(&answer);
        assert!(answer.needs("Vary").contains("Origin"));
    }
    assert_eq!(server.ask(&create(11)).expect(201).needs("Vary"), "Origin");
}

// rows: CORS-05
// spec: CORE-43
#[test]
fn cookies_of_everybody_are_refused_at_the_start() {
    let (status, said) = run(&["--cors-credentials"]);
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("cors-credentials") && said.contains("allow-origin"), "{said}");
}

// spec: CORE-45
#[test]
fn nothing_is_said_of_cors_where_somebody_else_says_it() {
    let server = Server::with(&["--allow-origin=none"]);
    let answer = server.ask(&create(11).header("Origin", PAGE)).expect(201);
    no_cors(&answer);
    assert!(answer.header("Vary").is_none());
    no_cors(&server.ask(&preflight(FILES, PAGE)).expect(204));
    no_cors(&server.ask(&preflight("/merge", PAGE)).expect(405));
}

fn behind(request: Request, host: &str) -> Request {
    request.header("X-Forwarded-Host", host).header("X-Forwarded-Proto", "https")
}

// rows: TUS-CREATE-02
// spec: CORE-50, CORE-51
#[test]
fn only_a_proxy_of_ours_says_where_we_are() {
    let ours = Server::with(&["--behind-proxy=loopback"]);
    let others = Server::with(&["--behind-proxy=192.0.2.0/24"]);
    let public = Server::with(&["--behind-proxy=loopback", "--public-url=https://up.example/x"]);
    let asked = behind(create(0), "proxy.example").header("X-Forwarded-Prefix", "/api");
    let location = |server: &Server| {
        let answer = server.ask(&asked).expect(201);
        answer.needs("Location").to_owned()
    };
    assert!(location(&ours).starts_with("https://proxy.example/api/files/"));
    assert!(location(&others).starts_with("/files/"));
    assert!(location(&public).starts_with("https://up.example/x/files/"));
    for nonsense in ["evil/x", "a b", "\"", "x@y"] {
        let answer = ours.ask(&behind(create(0), nonsense)).expect(201);
        assert!(answer.needs("Location").starts_with("/files/"), "{answer:?}");
    }
}

// spec: CORE-51
#[test]
fn the_chunk_flow_is_told_so_too() {
    let server = Server::with(&["--behind-proxy=127.0.0.1"]);
    let chunk = "/upload?hash=0123456789abcdef&index=0&total=1&size=5&chunk_size=5&filename=a";
    let chunk = Request::new("PUT", chunk).header("Content-Type", "application/octet-stream");
    server.ask(&chunk.body("hello")).expect(201);
    let merge = Request::new("POST", "/merge").header("Content-Type", "application/json");
    let merge = behind(merge, "up.example").body(r#"{"hash":"0123456789abcdef","filename":"a"}"#);
    let merged = server.ask(&merge).expect(201).json();
    assert!(merged["url"].as_str().unwrap().starts_with("https://up.example/files/"), "{merged}");
    let status = behind(Request::new("GET", "/upload/status?hash=0123456789abcdef"), "up.example");
    let status = server.ask(&status).expect(200);
    assert!(String::from_utf8_lossy(&status.body).contains("https://up.example/files/"));
}

// spec: CORE-52
#[test]
fn the_log_names_the_client_and_not_the_proxy() {
    let server = Server::with(&["--behind-proxy=loopback", "--log-level=debug"]);
    let asked =
        Request::new("GET", "/healthz").header("X-Forwarded-For", "198.51.100.7, 192.0.2.1");
    server.ask(&asked).expect(200);
    let logged = || {
        server
            .log()
            .lines()
            .any(|line| line.contains("answered") && line.contains("client=192.0.2.1"))
    };
    until(logged, || server.log());
}
