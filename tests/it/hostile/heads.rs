//! Heads that mean one thing to one reader and another to the next.

use std::time::Duration;

use super::watch::Watch;
use crate::{
    client::{Conn, Request},
    disk::snapshot,
    random::Random,
    secure::Pair,
    server::Server,
    tus::{FILES, OFFSET_TYPE, Upload, request},
};

const SOON: Duration = Duration::from_secs(8);

/// Two ways to say where a body ends, and fields that some readers take for framing: either it is
/// read one way and closed, or refused; never are the bytes behind it run as a request.
// rows: CONN-05, CONN-08
// spec: CORE-92
#[test]
fn no_request_is_smuggled_in_a_body() {
    let server = Server::start();
    let victim = Upload::hello(&server);
    let smuggled = request("DELETE", &victim.url).wire();
    let chunked = [b"0\r\n\r\n".to_vec(), smuggled.clone()].concat();
    let all = smuggled.len();
    let framings: Vec<(String, &[u8])> = vec![
        (format!("Content-Length: {all}\r\nContent-Length: 0\r\n"), &smuggled),
        (format!("Content-Length: 0\r\nContent-Length: {all}\r\n"), &smuggled),
        (format!("Content-Length: {all}, 0\r\n"), &smuggled),
        ("Content-Length: 0x0\r\n".to_owned(), &smuggled),
        ("Content-Length: 00\r\n".to_owned(), &smuggled),
        ("Content-Length: \r\n".to_owned(), &smuggled),
        ("Content-Length : 0\r\n".to_owned(), &smuggled),
        ("Content-Length\t: 0\r\n".to_owned(), &smuggled),
        (" Content-Length: 0\r\n".to_owned(), &smuggled),
        (format!("Content-Length: {all}\r\nTransfer-Encoding: chunked\r\n"), &chunked),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {all}\r\n"), &chunked),
        (format!("Content-Length: {all}\r\nTransfer-Encoding : chunked\r\n"), &chunked),
        (format!("Content-Length: {all}\r\nTransfer-Encoding:\x0bchunked\r\n"), &chunked),
        (format!("Content-Length: {all}\r\nTransfer-Encoding: xchunked\r\n"), &chunked),
        (format!("Content-Length: {all}\r\nX: y\nTransfer-Encoding: chunked\r\n"), &chunked),
        (format!("Content-Length: {all}\r\nX:\r\n Transfer-Encoding: chunked\r\n"), &chunked),
        ("Transfer-Encoding: chunked;q=1\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: identity, chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: \"chunked\"\r\n".to_owned(), &chunked),
    ];
    for (framing, body) in framings {
        let mut connection = server.connect();
        connection.raw(format!(
            "POST {FILES} HTTP/1.1\r\nHost: piton.test\r\nTus-Resumable: 1.0.0\r\n\
             Upload-Length: 1000\r\nContent-Type: {OFFSET_TYPE}\r\n{framing}\r\n"
        ));
        connection.raw(body);
        connection.finish();
        let said = connection.closes_within(SOON);
        let said = String::from_utf8_lossy(&said);
        assert_eq!(victim.head().status, 200, "{framing:?} deleted the victim: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{framing:?}: {said}");
    }
}

/// Bare line ends, blanks in first lines and names with blanks are not read more kindly than they
/// are meant: a proxy in front may read them otherwise.
// rows: CONN-08
// spec: CORE-92
#[test]
fn first_lines_and_fields_are_plain() {
    let server = Server::start();
    let victim = Upload::hello(&server);
    let url = &victim.url;
    let heads = [
        format!("DELETE {url} HTTP/1.1 \r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
        format!("DELETE {url} x HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
        format!("DELETE  {url} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
        format!("DELETE\t{url} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
        format!("DELETE {url}\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
        format!("DELETE {url} HTTP/1.2\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
        format!("DELETE {url} HTTP/3\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
        format!("DELETE {url} HTTP/1.1\r\nHost: h\r\nTus-Resumable : 1.0.0\r\n\r\n"),
        format!("DELETE {url} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n: x\r\n\r\n"),
        format!("DELETE {url} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nno colon\r\n\r\n"),
        format!("DELETE {url}\0 HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n"),
    ];
    for head in heads {
        let mut connection = server.connect();
        connection.raw(&head);
        connection.finish();
        let said = connection.closes_within(SOON);
        assert!(said.starts_with(b"HTTP/1.1 4"), "{head:?}: {}", String::from_utf8_lossy(&said));
        assert_eq!(victim.offset(), 5, "{head:?}");
    }
}

/// Paths in every disguise, on the bare wire: no client library stands between.
// rows: TUS-CORE-15, TUS-CORE-16
// spec: CORE-4, TUS-5
#[test]
fn no_path_leads_out_of_the_house() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    let id = upload.id();
    let before = snapshot(server.around());
    let long = format!("/files/{}", "../".repeat(10_000));
    let escaped = format!("/files/{}", "%2e%2e%2f".repeat(5_000));
    let targets: Vec<Vec<u8>> = vec![
        b"/../../etc/passwd".to_vec(),
        b"/files/../state/secret".to_vec(),
        b"/files/..%2fstate%2fsecret".to_vec(),
        b"/files/%2e%2e/state/secret".to_vec(),
        b"/files/%c0%ae%c0%ae/secret".to_vec(),
        b"/files/..%5c..%5cstate".to_vec(),
        b"/files/..\\state\\secret".to_vec(),
        b"//files//".to_vec(),
        format!("//files/{id}").into_bytes(),
        format!("/files//{id}").into_bytes(),
        format!("/files/{id}//").into_bytes(),
        format!("/files/{id}%00").into_bytes(),
        format!("/files/{id}/..").into_bytes(),
        format!("/FILES/{id}").into_bytes(),
        format!("/files/{id}%0d%0aX-Evil:%20y").into_bytes(),
        b"/files/\xff\xfe".to_vec(),
        b"/files/%f0%28%8c%28".to_vec(),
        b"file:///etc/passwd".to_vec(),
        b"http://piton.test/../../etc/passwd".to_vec(),
        b"http://piton.test".to_vec(),
        b"*".to_vec(),
        b"piton.test:80".to_vec(),
        long.into_bytes(),
        escaped.into_bytes(),
    ];
    for target in targets {
        for method in ["GET", "HEAD", "PATCH", "DELETE"] {
            let head = [
                format!("{method} ").as_bytes(),
                &target,
                b" HTTP/1.1\r\nHost: piton.test\r\nTus-Resumable: 1.0.0\r\n\r\n",
            ]
            .concat();
            let mut connection = server.connect();
            connection.raw(head);
            let answer = connection.answer("HEAD");
            let shown = String::from_utf8_lossy(&target).into_owned();
            let page = method != "PATCH" && method != "DELETE" && shown == "http://piton.test";
            assert!(page || (400..500).contains(&answer.status), "{method} {shown}: {answer:?}");
            assert_eq!(answer.count("X-Evil"), 0);
        }
    }
    assert_eq!(snapshot(server.around()), before);
    upload.is_file(b"hello world");
}

/// Numbers at every edge, wherever one is read.
// rows: TUS-CREATE-09
// spec: CORE-2, TUS-7
#[test]
fn numbers_at_the_edges_are_numbers_or_refused() {
    let server = Server::start();
    let good = ["0", "1", "9223372036854775807"];
    let bad = [
        "",
        "-0",
        "-1",
        "+1",
        "01",
        "00",
        "1.0",
        "1e3",
        "0x1",
        "1 ",
        "1,1",
        "1_000",
        "\u{661}",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "NaN",
    ];
    for length in good {
        server.ask(&request("POST", FILES).header("Upload-Length", length)).expect(201);
    }
    let upload = Upload::hello(&server);
    for number in bad {
        // Blanks around a value are no part of it.
        if number.trim() == number {
            let asked = request("POST", FILES).header("Upload-Length", number);
            server.connect().ask(&asked).expect_one(&[400, 413]);
            let asked = request("PATCH", &upload.url).header("Content-Type", OFFSET_TYPE);
            upload.refuses(&asked.header("Upload-Offset", number).body("x"), 400);
        }
        let escaped: String = number.bytes().map(|b| format!("%{b:02x}")).collect();
        for name in ["index", "total", "size", "chunk_size"] {
            let mut fields =
                [("index", "0"), ("total", "1"), ("size", "1"), ("chunk_size", "4096")];
            fields.iter_mut().filter(|(key, _)| *key == name).for_each(|(_, v)| *v = &escaped);
            let query = fields.map(|(key, value)| format!("{key}={value}")).join("&");
            let asked = Request::new("PUT", &format!("/upload?hash=deadbeef&{query}"));
            let asked = asked.header("Content-Type", "application/octet-stream").body("x");
            server.ask(&asked).refused(400);
        }
    }
    assert_eq!(upload.offset(), 5);
}

/// Bytes that are no request at all, in clear and to a port of TLS, by the thousand.
// rows: CONN-11
// spec: CORE-62, CORE-90
#[test]
fn noise_is_hung_up_on() {
    let pair = Pair::new();
    let server = Server::start();
    let tls = pair.server(&[]);
    let watch = Watch::begin(&server);
    let mut random = Random::announced("noise_is_hung_up_on");
    for round in 0..300 {
        let length = random.below(300) + 1;
        let mut noise = random.bytes(length);
        // Half of them begin as something that is known.
        let begins: [&[u8]; 6] = [
            b"GET / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01",
            b"P",
            b"PR",
            b"",
        ];
        noise.splice(..0, begins[round % begins.len()].iter().copied());
        for address in [server.address(), tls.address()] {
            let mut connection = Conn::open(address);
            let _ = connection.try_raw(&noise);
            connection.finish();
            connection.closes_within(SOON);
        }
    }
    watch.ends(48);
    assert!(!tls.log().contains("panicked"), "{}", tls.log());
}

/// Pages that are nearly of the origin that is listed.
// spec: CORE-42
#[test]
fn no_origin_passes_for_another() {
    let server = Server::with(&["--allow-origin=https://app.example.org,https://*.example.net"]);
    let strange = [
        "https://app.example.org.evil.example",
        "https://evil.example/app.example.org",
        "https://app.example.org@evil.example",
        "https://evilapp.example.org",
        "https://app.example.org:8443",
        "http://app.example.org",
        "https://app.example.org ,https://evil.example",
        "https://example.net",
        "https://.example.net",
        "https://evil.example#.example.net",
        "https://evil.example?.example.net",
        "https://evil.example/.example.net",
        "https://evil.example\\.example.net",
        "https://evilexample.net",
        "null",
        "",
        "*",
    ];
    for origin in strange {
        let answer = server.ask(&Request::new("GET", "/healthz").header("Origin", origin));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None, "{origin:?}");
    }
    for origin in ["https://app.example.org", "https://a.b.example.net"] {
        let answer = server.ask(&Request::new("GET", "/healthz").header("Origin", origin));
        assert_eq!(answer.needs("Access-Control-Allow-Origin"), origin);
    }
}
