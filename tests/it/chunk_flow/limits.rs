//! Limits and odd requests.

use crate::{
    chunks::{Parts, query},
    client::Request,
    server::Server,
};

// rows: CHUNK-LIM-02
// spec: CHUNK-8
#[test]
fn a_file_too_large_is_refused_at_its_first_chunk() {
    let server = Server::with(&["--max-size=11"]);
    let parts = Parts::hello();
    server.ask(&parts.put(0)).refused(413);
    assert_eq!(parts.status(&server)["state"], "none");
    assert!(server.uploads().is_empty());
}

// rows: CHUNK-LIM-02
// spec: CHUNK-8
#[test]
fn numbers_of_chunks_and_their_sizes_have_limits() {
    let server = Server::start();
    let asked = |size: u64, chunk_size: u64, total: u64| {
        let fields = [
            ("hash", "0123456789abcdef".to_owned()),
            ("index", "0".to_owned()),
            ("total", total.to_string()),
            ("size", size.to_string()),
            ("chunk_size", chunk_size.to_string()),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        Request::new("POST", &format!("/upload?{}", query(&fields)))
            .header("Content-Type", "application/octet-stream")
            .body("x")
    };
    server.ask(&asked(10_001, 1, 10_001)).refused(400);
    server.ask(&asked(1, (1 << 31) + 1, 1)).refused(400);
    server.ask(&asked(3, 1, 3)).expect(201);
}

// rows: CHUNK-LIM-03
// spec: CHUNK-4, CORE-4, CORE-5
#[test]
fn odd_requests_are_answered_or_ignored() {
    let server = Server::start();
    let parts = Parts::hello();
    let long = format!("/upload/status?hash=0123456789abcdef&x={}", "y".repeat(16 * 1024));
    server.ask(&Request::new("GET", &long)).expect_one(&[400, 414]);
    let mut stray = parts.put(0);
    stray.target.push_str("&unknown=1&another");
    server.ask(&stray).expect(201);
    for target in ["/upload/status/?hash=0123456789abcdef", "/upload/check/?hash=ffffffff&index=0"]
    {
        server.ask(&Request::new("GET", target)).expect(200);
    }
    for target in ["/upload/x", "/merge/x", "/page", "/upload/status/x"] {
        server.ask(&Request::new("GET", target)).expect(404);
    }
    for (method, target) in
        [("GET", "/upload"), ("PATCH", "/upload"), ("DELETE", "/merge"), ("POST", "/upload/status")]
    {
        server.ask(&Request::new(method, target)).refused(405).needs("Allow");
    }
}

// rows: CHUNK-LIM-05
// spec: CORE-13
#[test]
fn health_is_told() {
    Server::start().ask(&Request::new("GET", "/healthz")).expect(200);
}
