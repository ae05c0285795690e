//! Bodies that are read by us: JSON and forms.

use serde_json::json;

use super::watch::Watch;
use crate::{
    chunks::{Parts, form, form_of},
    client::{Answer, Request},
    server::Server,
};

/// Bytes of what has no end.
const MUCH: usize = 8 << 20;
/// Growth that is no growth.
const MIB: u64 = 48;

fn json(server: &Server, target: &str, body: impl Into<Vec<u8>>) -> Answer {
    let asked = Request::new("POST", target).header("Content-Type", "application/json");
    server.connect().ask(&asked.body(body))
}

/// Depth without end, members twice, numbers that are none of ours, and all of it large.
// spec: CHUNK-20, CHUNK-30, CORE-2, CORE-90
#[test]
fn json_is_small_flat_and_plain() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let deep = format!("{{\"size\":1,\"x\":{}", "[".repeat(700_000));
    let long = format!("{{\"size\":1,\"filename\":\"{}\"}}", "x".repeat(700_000));
    let huge = format!("{{\"size\":{}}}", "9".repeat(700_000));
    let float = format!("{{\"size\":1e{}}}", "9".repeat(1000));
    let many = format!("{{\"size\":1,\"chunks\":[{}]}}", vec!["\"\""; 200_000].join(","));
    let bodies = [
        (deep.as_str(), "malformed-json"),
        (&long, "invalid-filename"),
        (&huge, "malformed-json"),
        (&float, "malformed-json"),
        (&many, "invalid-chunks"),
        ("{\"size\":1,\"size\":2}", "malformed-json"),
        ("{\"size\":-1}", "malformed-json"),
        ("{\"size\":1.0}", "malformed-json"),
        ("{\"size\":\"1\"}", "malformed-json"),
        ("{\"size\":9223372036854775808}", "invalid-size"),
        ("{\"size\":18446744073709551616}", "malformed-json"),
        ("[1]", "malformed-json"),
        ("{\"size\":1,\"filename\":\"\\ud800\"}", "malformed-json"),
        ("", "malformed-json"),
    ];
    for (body, problem) in bodies {
        let answer = json(&server, "/upload/init", body).refused_as(400, problem);
        assert!(answer.body.len() < 1000, "{} bytes about a body", answer.body.len());
    }
    json(&server, "/merge", vec![b'['; 10 << 20]).refused_as(413, "body-too-large");
    json(&server, "/merge", b"{\"hash\":\"deadbeef\",\"hash\":\"cafebabe\"}".to_vec()).refused(400);
    let named = json!({"size": 1, "hash": "deadbeef", "filename": "\0\r\n\u{202e}"}).to_string();
    json(&server, "/upload/init", named).expect(201);
    watch.ends(MIB);
}

/// Forms with thousands of fields, preambles, heads and boundaries without end.
// spec: CHUNK-12, CORE-90
#[test]
fn forms_are_read_within_limits() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let parts = Parts::hello();
    let fields: Vec<_> = (0..10_000).map(|n| (format!("f{n}"), "v".to_owned())).collect();
    server.connect().ask(&form(&fields, b"x", &[])).refused_as(400, "malformed-multipart");
    server.connect().ask(&form(&[], b"x", &fields)).refused_as(400, "malformed-multipart");
    let same = vec![("hash".to_owned(), parts.hash.clone()); 3];
    server.connect().ask(&form(&same, b"x", &[])).refused_as(400, "invalid-hash");
    let endless = [
        b"preamble ".repeat(MUCH / 9),
        [b"------piton-8f2e1c\r\nX-Long: ".to_vec(), vec![b'x'; MUCH]].concat(),
        b"------piton-8f2e1c\r\n"
            .iter()
            .chain(b"X: y\r\n".repeat(MUCH / 6).iter())
            .copied()
            .collect(),
        b"------piton-8f2e1c\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"
            .iter()
            .chain(&vec![b'y'; MUCH])
            .copied()
            .collect(),
        b"\r\n------piton-8f2e1c".repeat(MUCH / 20),
        b"\r\n-----".repeat(MUCH / 7),
    ];
    for body in endless {
        server.connect().ask(&form_of(body)).expect_one(&[400, 413]);
    }
    let whole = parts.put_form(0);
    for boundary in ["", "\"\"", &"b".repeat(71), &"b".repeat(60_000), "a b", "\u{1}", "\"x"] {
        let asked =
            whole.clone().set("Content-Type", format!("multipart/form-data; boundary={boundary}"));
        server.connect().ask(&asked).expect(400);
    }
    let twice = "multipart/form-data; boundary=other; boundary=----piton-8f2e1c";
    server.connect().ask(&whole.clone().set("Content-Type", twice)).expect_one(&[201, 400]);
    // An end that never comes is a form that is cut.
    let mut open = whole.body.clone();
    open.truncate(open.len() - 4);
    server.connect().ask(&form_of_raw(&whole, open)).expect_one(&[400]);
    watch.ends(MIB);
}

fn form_of_raw(like: &Request, body: Vec<u8>) -> Request {
    like.clone().body(body)
}
