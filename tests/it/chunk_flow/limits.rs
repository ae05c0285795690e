//! Limits and odd requests.

use std::fs;

use crate::{
    chunks::{Parts, query},
    client::Request,
    random::Random,
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

/// Most memory that the process ever had, in bytes (Linux).
fn peak_memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

// rows: CHUNK-LIM-04
// 100 forms of 64 MiB are on their way at once: all of them begin with 1 MiB, six come whole.
// spec: CHUNK-12, CHUNK-16
#[test]
fn parts_of_forms_are_never_collected() {
    const PART: usize = 64 * 1024 * 1024;
    let server = Server::with(&["--max-uploads-per-ip=none", "--idle-timeout=5m"]);
    let bytes = Random::seeded(4).bytes(PART);
    let file = |n: usize| Parts::new(&format!("{n:08x}"), "a.bin", PART, bytes.clone());
    let before = peak_memory(&server);
    let begun: Vec<_> = (0..100)
        .map(|n| {
            let parts = file(n);
            let whole = parts.put_form(0);
            let begun = Request { body: whole.body[..1 << 20].to_vec(), ..whole.clone() };
            (server.begin(&begun), whole.body.len())
        })
        .collect();
    let whole = file(0).put_form(0).body;
    for (n, (mut conn, length)) in begun.into_iter().enumerate().take(6) {
        let body = if n == 0 { whole.clone() } else { file(n).put_form(0).body };
        assert_eq!(body.len(), length);
        for piece in body[1 << 20..].chunks(1 << 20) {
            conn.raw(piece);
        }
        conn.answer("POST").expect(201);
    }
    let grown = peak_memory(&server) - before;
    assert!(grown < 96 << 20, "grew by {} MiB", grown >> 20);
    assert_eq!(file(0).merge(&server).expect(201).json()["size"], PART);
    assert!(server.the_file() == bytes);
}
