//! What strangers write must not reach the log as it is: whoever reads a log in a terminal, or line
//! by line, would read what they want.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    chunks::query,
    client::Request,
    overload::logged,
    server::Server,
    tus::{FILES, OFFSET_TYPE, request},
};

/// Line ends, escape codes of terminals in one byte and in two, characters that turn the line
/// around, and what looks like a line of ours.
const EVIL: &str =
    "x\r\n2026-01-01T00:00:00Z ERROR piton: \u{1b}[31mforged\u{9b}31m\u{202e}\u{2028}\u{7f}\u{8}";

/// Characters that turn or break a line without being control characters.
const TURNS: [char; 6] = ['\u{202a}', '\u{202d}', '\u{202e}', '\u{2028}', '\u{2029}', '\u{2066}'];

/// Requests that carry it wherever there is a place for it.
fn requests() -> Vec<Vec<u8>> {
    let named = format!("filename {},filetype {}", STANDARD.encode(EVIL), STANDARD.encode(EVIL));
    let fields = |fields: Vec<(&str, &str)>| -> Vec<(String, String)> {
        fields.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let mut chunk = vec![("hash", "deadbeef"), ("filename", EVIL), ("index", "0")];
    chunk.extend([("total", "1"), ("size", "1"), ("chunk_size", "4096")]);
    let json = serde_json::json!({"size": 1, "hash": "cafebabe", "filename": EVIL}).to_string();
    let raw = String::from_utf8_lossy(EVIL.as_bytes())
        .replace(['\r', '\n', '\u{1b}', '\u{7f}', '\u{8}'], "");
    let mut wires = vec![
        request("POST", FILES).header("Upload-Length", 0).header("Upload-Metadata", &named).wire(),
        Request::new("PUT", &format!("/upload?{}", query(&fields(chunk))))
            .header("Content-Type", "application/octet-stream")
            .body("x")
            .wire(),
        Request::new("POST", "/upload/init")
            .header("Content-Type", "application/json")
            .body(json)
            .wire(),
        Request::new(
            "GET",
            &format!("/files/{}", EVIL.bytes().map(|b| format!("%{b:02x}")).collect::<String>()),
        )
        .wire(),
    ];
    // On the wire as they are, where HTTP has a place for such bytes.
    let nobody = "0".repeat(32);
    for (first, fields) in [
        (format!("GET /files/{raw}"), String::new()),
        (format!("GET /{raw}?{raw}"), String::new()),
        (format!("{raw} /"), String::new()),
        ("FORGED /".to_owned(), format!("X-Forwarded-For: {raw}\r\nX-User: {raw}\r\n")),
        ("HEAD /files/".to_owned(), format!("Tus-Resumable: {raw}\r\nOrigin: {raw}\r\n")),
        (
            format!("PATCH /files/{nobody}"),
            format!("Tus-Resumable: 1.0.0\r\nContent-Type: {OFFSET_TYPE}{raw}\r\n"),
        ),
    ] {
        let head = format!("{first} HTTP/1.1\r\nHost: piton.test\r\n{fields}\r\n");
        wires.push(head.into_bytes());
    }
    wires.push(format!("GET / HTTP/1.1\r\nHost: {raw}\r\n\r\n").into_bytes());
    wires
}

// spec: CORE-93
#[test]
fn nothing_that_strangers_write_is_a_line_of_the_log() {
    for format in ["text", "json"] {
        let server = Server::with(&[
            "--log-level=trace",
            &format!("--log-format={format}"),
            "--behind-proxy=loopback",
            "--owner-header=x-user",
        ]);
        for wire in requests() {
            let mut connection = server.connect();
            connection.raw(&wire);
            connection.finish();
            connection.closes_within(std::time::Duration::from_secs(8));
        }
        let log = logged(&server, "answered");
        for line in log.lines() {
            let visible = |c: char| !c.is_control() && !TURNS.contains(&c);
            assert!(line.chars().all(visible), "{line:?} in the {format} log");
            assert!(!line.starts_with("2026-01-01T00:00:00Z"), "a forged line: {line}");
        }
        for line in log.lines().filter(|line| line.contains("forged")) {
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            } else {
                // In quotes it is a value, and no word of ours.
                let before = line.split("2026-01-01").next().unwrap();
                assert_eq!(before.matches('"').count() % 2, 1, "{line:?}");
            }
        }
    }
}
