//! TLS: the same answers inside it, nothing outside of it, and certificates that change while the
//! server serves.

use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Builder;

use crate::{
    client::{Conn, Request},
    h2::H2,
    random::Random,
    secure::{Client, Pair},
    server::{CHUNK, Server, run},
    tus::{append, create, patch, request},
};

const SOON: Duration = Duration::from_secs(20);
const LOADED: &str = "certificate and key were read again";
const KEPT: &str = "certificate and key stay as they were";

/// What was agreed on and who answered, if somebody did.
fn shake_hands(client: Client, address: SocketAddr) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(client.connect(address)).ok()?;
    let connection = stream.get_ref().1;
    let server = connection.peer_certificates().unwrap()[0].to_vec();
    Some((connection.alpn_protocol().map(<[u8]>::to_vec), server))
}

/// Asks for something whatever the protocol.
type Ask<'a> = dyn FnMut(&Request) -> crate::client::Answer + 'a;

/// Makes an upload and sends `bytes` in two steps.
#[track_caller]
fn uploads(ask: &mut Ask<'_>, bytes: &[u8]) {
    let url = ask(&create(bytes.len() as u64)).expect(201).needs("Location").to_owned();
    let half = bytes.len() / 2;
    assert_eq!(ask(&patch(&url, 0, &bytes[..half])).expect(204).offset(), half as u64);
    ask(&patch(&url, 0, &bytes[half..])).refused_as(409, "offset-mismatch");
    let end = ask(&patch(&url, half as u64, &bytes[half..])).expect(204);
    assert_eq!(end.offset(), bytes.len() as u64);
    assert!(ask(&Request::new("GET", &url)).expect(200).body == bytes);
}

// spec: CORE-60, CORE-61
#[test]
fn both_versions_of_http_are_spoken_inside_both_versions_of_tls() {
    let pair = Pair::new();
    let server = pair.server(&[]);
    assert_eq!(server.scheme(), "https");
    let bytes = Random::seeded(60).bytes(5 * CHUNK + 7);
    for old in [true, false] {
        let client = |protocols: &[&str]| {
            let client = pair.client(protocols);
            if old { client.old() } else { client.modern() }
        };
        for protocols in [&["http/1.1"][..], &[]] {
            let tunnel = client(protocols).tunnel(&server);
            let mut connection = Conn::open(tunnel.address());
            uploads(&mut |request| connection.ask(request), &bytes);
        }
        let connecting = client(&["http/1.1", "h2"]).connect(server.address());
        let mut connection = H2::over("https", connecting).unwrap();
        uploads(&mut |request| connection.ask(request), &bytes);
    }
}

// spec: CORE-61
#[test]
fn http2_is_chosen_where_it_is_offered() {
    let pair = Pair::new();
    let server = pair.server(&[]);
    let chosen = |protocols: &[&str]| {
        let shaken = shake_hands(pair.client(protocols), server.address());
        shaken.map(|(chosen, _)| chosen.map(|name| String::from_utf8(name).unwrap()))
    };
    assert_eq!(chosen(&["http/1.1", "h2"]), Some(Some("h2".to_owned())));
    assert_eq!(chosen(&["http/1.1"]), Some(Some("http/1.1".to_owned())));
    assert_eq!(chosen(&[]), Some(None));
    assert_eq!(chosen(&["imap"]), None);
}

// rows: CONN-11
// spec: CORE-62
#[test]
fn cleartext_on_a_port_of_tls_is_told_so_and_never_served() {
    let pair = Pair::new();
    let server = pair.server(&["--idle-timeout=4s"]);
    let mut lost = server.connect();
    lost.send(&create(11));
    let answer = lost.answer("POST").expect(400);
    assert!(String::from_utf8_lossy(&answer.body).contains("This port speaks TLS"), "{answer:?}");
    assert!(lost.closes_within(SOON).is_empty());
    // The preface of HTTP/2 looks like a request of HTTP/1.1.
    let mut lost = server.connect();
    lost.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(lost.closes_within(SOON).starts_with(b"HTTP/1.1 400 "));
    // Garbage, a hello that never ends, and nothing at all.
    let (mut garbage, mut half, mut mute) = (server.connect(), server.connect(), server.connect());
    garbage.raw([0; 200]);
    half.raw(b"\x16\x03\x01\x02\x00\x01\x00");
    assert!(shake_hands(pair.client(&[]), server.address()).is_some());
    for connection in [&mut garbage, &mut half, &mut mute] {
        let said = connection.closes_within(SOON);
        assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
    }
}

// rows: CONN-11
#[test]
fn tls_on_a_port_of_cleartext_disturbs_nobody() {
    let (pair, server) = (Pair::new(), Server::start());
    assert!(shake_hands(pair.client(&["h2", "http/1.1"]), server.address()).is_none());
    let mut hello = server.connect();
    hello.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    server.ask(&Request::new("GET", "/healthz")).expect(200);
    hello.finish();
    let said = hello.closes_within(SOON);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400 "));
}

// spec: CORE-63
#[test]
fn a_new_certificate_is_taken_up_without_a_stop() {
    let mut pair = Pair::new();
    let server = pair.server(&[]);
    let tunnel = pair.client(&[]).tunnel(&server);
    let mut old = Conn::open(tunnel.address());
    old.ask(&Request::new("GET", "/healthz")).expect(200);
    let (_, first) = shake_hands(pair.client(&[]), server.address()).unwrap();
    pair.renew();
    assert!(shake_hands(pair.client(&[]), server.address()).is_none(), "not asked to reload yet");
    server.sighup(LOADED);
    let (_, second) = shake_hands(pair.client(&[]), server.address()).unwrap();
    assert_ne!(first, second);
    old.ask(&Request::new("GET", "/healthz")).expect(200);
}

// spec: CORE-63
#[test]
fn a_broken_new_certificate_is_logged_and_the_old_one_stays() {
    let pair = Pair::new();
    let server = pair.server(&[]);
    let other = Pair::new();
    let good = fs::read(pair.cert_file()).unwrap();
    for broken in [Vec::new(), b"nonsense".to_vec(), fs::read(other.cert_file()).unwrap()] {
        fs::write(pair.cert_file(), broken).unwrap();
        server.sighup(KEPT);
        assert!(shake_hands(pair.client(&[]), server.address()).is_some());
    }
    fs::remove_file(pair.key_file()).unwrap();
    fs::write(pair.cert_file(), good).unwrap();
    server.sighup(KEPT);
    assert!(server.log().contains("ERROR"), "{}", server.log());
    assert!(shake_hands(pair.client(&[]), server.address()).is_some());
}

// spec: CORE-63
#[test]
fn a_hangup_without_tls_is_survived() {
    let server = Server::start();
    for _ in 0..3 {
        server.sighup("nothing to reload");
        server.ask(&Request::new("GET", "/healthz")).expect(200);
    }
}

#[test]
fn what_cannot_be_used_is_told_before_the_port_is_bound() {
    let (pair, other) = (Pair::new(), Pair::new());
    let (cert, key) = (pair.cert_file(), pair.key_file());
    let data = tempfile::tempdir().unwrap();
    let tried = |cert: &std::path::Path, key: &std::path::Path| {
        run(&[
            "--listen=127.0.0.1:0",
            &format!("--data-dir={}", data.path().display()),
            &format!("--tls-cert={}", cert.display()),
            &format!("--tls-key={}", key.display()),
        ])
    };
    let nowhere = data.path().join("nowhere.pem");
    for (cert, key, reason) in [
        (&nowhere, &key, "cannot read a certificate from"),
        (&cert, &nowhere, "cannot read a private key from"),
        (&key, &key, "holds no certificate"),
        (&cert, &cert, "cannot read a private key from"),
        (&cert, &other.key_file(), "cannot be used"),
    ] {
        let (status, said) = tried(cert, key);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    let (status, said) = run(&[&format!("--tls-cert={}", cert.display())]);
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("--tls-key"), "{said}");
}

// rows: CONN-01
// spec: CORE-8
#[test]
fn an_early_answer_comes_through_tls() {
    let pair = Pair::new();
    let server = pair.server(&[]);
    let big = vec![7; 30_000_000];
    let tunnel = pair.client(&["http/1.1"]).tunnel(&server);
    let mut setup = Conn::open(tunnel.address());
    let url = setup.ask(&create(100_000_000)).expect(201).needs("Location").to_owned();
    let mut connection = Conn::open(tunnel.address());
    connection.send(&patch(&url, 5, big.clone()));
    connection.answer("PATCH").refused(409);
    let connecting = pair.client(&["h2"]).connect(server.address());
    let mut connection = H2::over("https", connecting).unwrap();
    connection.ask(&patch(&url, 5, big)).refused(409);
    connection.ask(&request("HEAD", &url)).expect(200);
}

// rows: CONN-12, CONN-13
// spec: CORE-10
#[test]
fn of_a_body_that_stalls_or_is_cut_inside_tls_all_is_kept() {
    let pair = Pair::new();
    let server = pair.server(&["--idle-timeout=3s"]);
    let bytes = Random::seeded(61).bytes(3 * CHUNK);
    let tunnel = pair.client(&["http/1.1"]).tunnel(&server);
    for sent in [0, 5, CHUNK, 2 * CHUNK + 17] {
        for cut in [true, false] {
            let mut connection = Conn::open(tunnel.address());
            let length = bytes.len() as u64;
            let url = connection.ask(&create(length)).expect(201).needs("Location").to_owned();
            let since = Instant::now();
            let head = append(&url, 0).announcing(length).wire();
            connection.raw([&head, &bytes[..sent]].concat());
            if cut {
                connection.finish();
            }
            assert!(connection.closes_within(SOON).is_empty());
            assert!(cut || since.elapsed() >= Duration::from_millis(2900));
            thread::sleep(Duration::from_millis(20));
            let head = Conn::open(tunnel.address()).ask(&request("HEAD", &url));
            assert_eq!(head.expect(200).offset(), sent as u64);
        }
    }
}
