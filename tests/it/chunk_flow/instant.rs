//! `POST /upload/instant`: a file that is here already is not sent again.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chunks::Parts,
    client::{Answer, Request},
    digest::sha256_hex,
    random::Random,
    server::Server,
    tus::{self, Upload},
};

const OWNERS: [&str; 3] = ["--instant", "--behind-proxy=loopback", "--owner-header=X-User"];

fn server() -> Server {
    Server::with(&["--instant"])
}

/// A file of five chunks, the last one short.
fn file(hash: &str, name: &str) -> Parts {
    let bytes: Vec<u8> = (0..46_u8).map(|n| n.wrapping_mul(89)).collect();
    Parts::new(hash, name, 10, bytes)
}

fn first() -> Parts {
    file("aaaaaaaa", "first.bin")
}

fn second() -> Parts {
    file("bbbbbbbb", "second.bin")
}

fn post(target: &str, body: &Value) -> Request {
    Request::new("POST", target).header("Content-Type", "application/json").body(body.to_string())
}

/// An init that offers the digests of all chunks.
fn init(parts: &Parts) -> Request {
    let chunks: Vec<_> = (0..parts.total).map(|k| parts.digest(k)).collect();
    let (hash, filename, size) = (&parts.hash, &parts.filename, parts.bytes.len());
    let (chunk_size, total) = (parts.chunk_size, parts.total);
    let body = json!({
        "hash": hash, "filename": filename, "size": size, "chunk_size": chunk_size,
        "total": total, "chunks": chunks,
    });
    post("/upload/init", &body)
}

#[track_caller]
fn offer(server: &Server, parts: &Parts) -> Value {
    server.ask(&init(parts)).expect_one(&[200, 201]).json()["instant"].clone()
}

/// The right answer to an offer.
fn proof(offer: &Value, parts: &Parts) -> Value {
    let nonce = offer["nonce"].as_str().unwrap();
    let mut bytes = unhex(nonce);
    bytes.extend(parts.chunk(usize::try_from(offer["index"].as_u64().unwrap()).unwrap()));
    let (hash, filename) = (&parts.hash, &parts.filename);
    json!({ "hash": hash, "filename": filename, "nonce": nonce, "proof": sha256_hex(&bytes) })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn prove(offer: &Value, parts: &Parts) -> Request {
    post("/upload/instant", &proof(offer, parts))
}

fn by(owner: &str, request: Request) -> Request {
    request.header("X-User", owner)
}

#[track_caller]
fn finish(server: &Server, parts: &Parts) -> Value {
    parts.send_all(server);
    parts.merge(server).expect(201).json()
}

#[track_caller]
fn fetch(server: &Server, merged: &Value) -> Vec<u8> {
    let url = merged["url"].as_str().unwrap();
    server.ask(&tus::request("GET", url)).expect(200).body
}

#[track_caller]
fn count(server: &Server, name: &str) -> u64 {
    let text = String::from_utf8(server.ask(&Request::new("GET", "/metrics")).body).unwrap();
    let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample.map_or(0, |value| value.parse().unwrap())
}

/// Sooner or later it is so.
#[track_caller]
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn notes(server: &Server) -> Vec<PathBuf> {
    crate::disk::files_below(&server.data().join("state/contents"))
}

// spec: CHUNK-90, CHUNK-92, CHUNK-94
#[test]
fn a_file_that_is_here_is_not_sent() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let before = count(&server, "piton_received_bytes_total");

    let asked = init(&second);
    let begun = server.ask(&asked).expect(201).json();
    assert_eq!((&begun["uploaded"], &begun["state"]), (&json!([]), &json!("receiving")));
    let offer = &begun["instant"];
    assert_eq!(offer["nonce"].as_str().unwrap().len(), 64);
    assert!((50..=60).contains(&offer["expires_in"].as_u64().unwrap()), "{offer}");
    let taken = prove(offer, &second);
    let merged = server.ask(&taken).expect(201).json();

    assert_eq!((&merged["state"], &merged["size"]), (&json!("merged"), &json!(46)));
    assert_eq!(merged["composite_sha256"], second.composite());
    assert!(merged["filename"].as_str().unwrap().starts_with("second-"), "{merged}");
    assert_eq!(fetch(&server, &merged), second.bytes);
    let sent = (asked.body.len() + taken.body.len()) as u64;
    assert_eq!(count(&server, "piton_received_bytes_total") - before, sent);
    assert_eq!(count(&server, "piton_uploads_total{event=\"instant\"}"), 1);
    assert_eq!(server.finished().len(), 2);
    server.uploads_vanish();
    assert!(crate::disk::files_below(&server.data().join("tmp")).is_empty());

    let status = second.status(&server);
    assert_eq!((&status["state"], &status["result"]), (&json!("merged"), &merged));
    assert_eq!(second.merge(&server).expect(200).json(), merged);
    assert_eq!(server.ask(&taken).expect(200).json(), merged, "a lost answer is told again");
}

// spec: CHUNK-94
#[test]
fn each_of_the_two_goes_its_own_way() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let merged = server.ask(&prove(&offer(&server, &second), &second)).expect(201).json();
    let path = |start: &str| {
        let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(start);
        server.finished().into_iter().find(named).unwrap()
    };
    fs::write(path("first"), "edited in place").unwrap();
    assert_eq!(fetch(&server, &merged), second.bytes);
    server.ask(&first.delete()).expect(204);
    assert_eq!(fetch(&server, &merged), second.bytes);
    assert_eq!(server.finished().len(), 1);

    // The one that is left is the source of a third.
    let third = file("cccccccc", "third.bin");
    let merged = server.ask(&prove(&offer(&server, &third), &third)).expect(201).json();
    server.ask(&second.delete()).expect(204);
    assert_eq!(fetch(&server, &merged), third.bytes);
    server.ask(&third.delete()).expect(204);
    assert!(notes(&server).is_empty());
    assert_eq!(offer(&server, &first), Value::Null);
}

// spec: CHUNK-90
#[test]
fn it_is_off_unless_it_is_asked_for() {
    let server = Server::start();
    finish(&server, &first());
    assert_eq!(offer(&server, &second()), Value::Null);
    let made_up = json!({ "nonce": "0".repeat(64), "index": 0 });
    server.ask(&prove(&made_up, &second())).refused_as(404, "not-found");
    server.ask(&Request::new("GET", "/upload/instant")).refused_as(404, "not-found");
    assert!(notes(&server).is_empty());
}

// spec: CHUNK-90: everything has to be the same.
#[test]
fn another_file_gets_no_offer() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let mut edited = second.clone();
    edited.bytes[45] ^= 1;
    let mut shorter = second.clone();
    shorter.bytes.truncate(45);
    let longer_last = Parts { total: 4, ..second.clone() };
    let coarser = Parts::new(&second.hash, "second.bin", 20, second.bytes.clone());
    for (n, other) in [edited, shorter, longer_last, coarser].into_iter().enumerate() {
        let other = Parts { hash: format!("{n:08}"), ..other };
        assert_eq!(offer(&server, &other), Value::Null);
    }
    let mut without_list: Value = serde_json::from_slice(&init(&second).body).unwrap();
    without_list["chunks"] = Value::Null;
    let begun = server.ask(&post("/upload/init", &without_list)).expect(201).json();
    assert!(begun.get("instant").is_none());
    assert_ne!(offer(&server, &second), Value::Null);
}

// spec: CHUNK-92, CHUNK-93
#[test]
fn a_wrong_proof_is_the_last_one() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let offer_made = offer(&server, &second);
    let mut wrong = proof(&offer_made, &second);
    wrong["proof"] = json!(sha256_hex(b"a guess"));
    server.ask(&post("/upload/instant", &wrong)).refused_as(403, "possession-not-proven");
    for _ in 0..2 {
        server.ask(&prove(&offer_made, &second)).refused_as(410, "offer-gone");
    }
    assert_eq!(offer(&server, &second), Value::Null);
    assert_eq!(server.finished().len(), 1);

    // The digest of the chunk alone, which who has the list knows, is no proof either.
    let third = file("cccccccc", "third.bin");
    let offer_made = offer(&server, &third);
    let mut wrong = proof(&offer_made, &third);
    let index = usize::try_from(offer_made["index"].as_u64().unwrap()).unwrap();
    wrong["proof"] = json!(third.digest(index));
    server.ask(&post("/upload/instant", &wrong)).refused_as(403, "possession-not-proven");
    finish(&server, &second);
    finish(&server, &third);
}

// spec: CHUNK-91, CHUNK-92
#[test]
fn an_offer_is_for_one_upload_of_one_process() {
    let mut server = server();
    let (first, second, third) = (first(), second(), file("cccccccc", "third.bin"));
    finish(&server, &first);
    let (one, two) = (offer(&server, &second), offer(&server, &third));
    assert_eq!(one["index"], two["index"], "who asks again is asked for the same chunk");
    assert_ne!(one["nonce"], two["nonce"]);
    assert_eq!(offer(&server, &second)["nonce"], one["nonce"], "and is told the same offer");
    let mut elsewhere = proof(&one, &second);
    (elsewhere["hash"], elsewhere["filename"]) = (json!(third.hash), json!(third.filename));
    server.ask(&post("/upload/instant", &elsewhere)).refused_as(410, "offer-gone");
    let unknown = Parts { hash: "dddddddd".to_owned(), ..second.clone() };
    server.ask(&prove(&one, &unknown)).refused_as(410, "offer-gone");

    server.restart();
    server.ask(&prove(&one, &second)).refused_as(410, "offer-gone");
    let again = offer(&server, &second);
    assert_ne!(again["nonce"], one["nonce"]);
    assert_eq!(again["index"], one["index"]);
    let mut by_id = proof(&again, &second);
    by_id["upload_id"] = second.status(&server)["upload_id"].clone();
    (by_id["hash"], by_id["filename"]) = (Value::Null, Value::Null);
    let merged = server.ask(&post("/upload/instant", &by_id)).expect(201).json();
    assert_eq!(fetch(&server, &merged), second.bytes);
}

// spec: CHUNK-92: refusals.
#[test]
fn nonsense_is_told_apart() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let good = proof(&offer(&server, &second), &second);
    for (member, value, slug) in [
        ("nonce", Value::Null, "invalid-nonce"),
        ("nonce", json!("00"), "invalid-nonce"),
        ("proof", Value::Null, "invalid-proof"),
        ("proof", json!("x".repeat(64)), "invalid-proof"),
        ("hash", Value::Null, "invalid-hash"),
        ("upload_id", json!("../../x"), "invalid-upload-id"),
        ("proof", json!(1), "malformed-json"),
    ] {
        let mut body = good.clone();
        body[member] = value;
        server.ask(&post("/upload/instant", &body)).refused_as(400, slug);
    }
    server.ask(&post("/upload/instant", &good).set("Content-Type", "text/plain")).refused(415);
    let wrong_method = server.ask(&Request::new("GET", "/upload/instant")).refused(405);
    assert_eq!(wrong_method.needs("Allow"), "POST");
    let preflight = Request::new("OPTIONS", "/upload/instant")
        .header("Origin", "https://page.example")
        .header("Access-Control-Request-Method", "POST");
    assert_eq!(server.ask(&preflight).expect(204).needs("Access-Control-Allow-Origin"), "*");
    server.ask(&post("/upload/instant", &good)).expect(201);
}

// spec: CHUNK-95
#[test]
fn another_owner_gets_no_offer() {
    let server = Server::with(&OWNERS);
    let first = first();
    for k in 0..first.total {
        server.ask(&by("ann", first.put(k))).expect(201);
    }
    server.ask(&by("ann", crate::chunks::merge(&first.merge_body()))).expect(201);
    let second = second();
    let begin = |owner: &str| server.ask(&by(owner, init(&second))).expect_one(&[200, 201]).json();
    let strangers = begin("bob");
    let unheard_of = Parts::new("cccccccc", "other.bin", 10, vec![7; 46]);
    let unheard_of = server.ask(&by("bob", init(&unheard_of))).expect(201).json();
    let members = |begun: &Value| begun.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&strangers), members(&unheard_of));
    assert!(begin("").get("instant").is_none());

    let anns = begin("ann");
    assert_ne!(anns["upload_id"], strangers["upload_id"]);
    let proven = proof(&anns["instant"], &second);
    let mut by_id = proven.clone();
    by_id["upload_id"] = anns["upload_id"].clone();
    for body in [&proven, &by_id] {
        let stolen = by("bob", post("/upload/instant", body));
        server.ask(&stolen).refused_as(410, "offer-gone");
    }
    server.ask(&by("ann", post("/upload/instant", &proven))).expect(201);
    let stolen = by("bob", post("/upload/instant", &by_id));
    server.ask(&stolen).refused_as(410, "offer-gone");
    server.ask(&by("ann", init(&second)).header("X-User", "bob")).refused(400);
    // What somebody else has of that hash and name is not even seen.
    let status = server.ask(&by("bob", second.status_request())).expect(200).json();
    assert_eq!(status["state"], "receiving");
}

// spec: CHUNK-95
#[test]
fn only_a_proxy_of_ours_names_an_owner() {
    let options = ["--instant", "--behind-proxy=192.0.2.1", "--owner-header=X-User"];
    let server = Server::with(&options);
    let (first, second) = (first(), second());
    finish(&server, &first);
    let begun = server.ask(&by("ann", init(&second))).expect(201).json();
    let taken = by("bob", post("/upload/instant", &proof(&begun["instant"], &second)));
    server.ask(&taken).expect(201);
}

// spec: CHUNK-90: whoever brought it.
#[test]
fn what_came_over_tus_is_recognised() {
    let server = Server::with(&["--instant", "--chunk-size=4KiB", OWNERS[1], OWNERS[2]]);
    let bytes = Random::announced("what_came_over_tus_is_recognised").bytes(10_000);
    let created = server.ask(&by("ann", tus::create_with(10_000, bytes.clone()))).expect(201);
    let held = Upload::from_answer(&server, &created);
    let parts = Parts::new("aaaaaaaa", "a.bin", 4096, bytes);
    let bobs = server.ask(&by("bob", init(&parts))).expect(201).json();
    assert!(bobs.get("instant").is_none());
    let begun = server.ask(&by("ann", init(&parts))).expect(201).json();
    let taken = by("ann", prove(&begun["instant"], &parts));
    let merged = server.ask(&taken).expect(201).json();
    held.delete().expect(204);
    assert_eq!(fetch(&server, &merged), parts.bytes);
}

fn flip(server: &Server, at: usize) {
    let path = server.finished().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

// spec: CHUNK-91
#[test]
fn a_file_that_was_changed_is_not_offered() {
    let (first, second, third) = (first(), second(), file("cccccccc", "third.bin"));
    for damage in ["chunk", "shorter", "longer", "gone"] {
        let server = server();
        finish(&server, &first);
        let index = offer(&server, &second)["index"].as_u64().unwrap();
        let path = server.finished().remove(0);
        match damage {
            "chunk" => flip(&server, usize::try_from(index).unwrap() * 10),
            "shorter" => fs::write(&path, &first.bytes[..45]).unwrap(),
            "longer" => fs::write(&path, [&first.bytes[..], b"x"].concat()).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(offer(&server, &third), Value::Null, "{damage}");
        assert!(notes(&server).is_empty(), "{damage}");
        finish(&server, &third);
    }
}

// spec: CHUNK-94: no byte is taken unseen.
#[test]
fn a_file_that_was_changed_elsewhere_is_not_taken() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let offer_made = offer(&server, &second);
    let index = usize::try_from(offer_made["index"].as_u64().unwrap()).unwrap();
    flip(&server, (index + 1) % 5 * 10);
    server.ask(&prove(&offer_made, &second)).refused_as(410, "offer-gone");
    assert_eq!(offer(&server, &second), Value::Null);
    assert_eq!(second.uploaded(&server), Vec::<u64>::new());
    assert_eq!(fetch(&server, &finish(&server, &second)), second.bytes);
    // The new one is as good a source as the old one was.
    assert_ne!(offer(&server, &file("cccccccc", "third.bin")), Value::Null);
}

// spec: CHUNK-94
#[test]
fn a_file_that_is_deleted_meanwhile_is_not_taken() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let offer_made = offer(&server, &second);
    server.ask(&first.delete()).expect(204);
    server.ask(&prove(&offer_made, &second)).refused_as(410, "offer-gone");
    assert_eq!(fetch(&server, &finish(&server, &second)), second.bytes);
}

// spec: CHUNK-94
#[test]
fn chunks_that_were_sent_give_way() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let offer_made = offer(&server, &second);
    for k in [0, 3] {
        server.ask(&second.put_bytes(k, &[k as u8; 10])).expect(201);
    }
    let merged = server.ask(&prove(&offer_made, &second)).expect(201).json();
    assert_eq!(fetch(&server, &merged), second.bytes);
    server.uploads_vanish();
}

// spec: CHUNK-92, CHUNK-94
#[test]
fn of_many_proofs_one_makes_the_file() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let request = prove(&offer(&server, &second), &second);
    let mut connections: Vec<_> = (0..8).map(|_| server.begin(&request)).collect();
    let answers: Vec<_> = connections.iter_mut().map(|c| c.answer("POST")).collect();
    let with = |status| answers.iter().filter(|answer: &&Answer| answer.status == status).count();
    assert_eq!(with(201), 1, "{answers:?}");
    assert_eq!(with(201) + with(200) + with(202), 8, "{answers:?}");
    assert_eq!(server.finished().len(), 2);
}

// spec: CHUNK-92
#[test]
fn who_does_not_want_to_wait_is_told_where_to_look() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let request = prove(&offer(&server, &second), &second).header("Prefer", "respond-async");
    let answer = server.ask(&request).expect_one(&[201, 202]);
    if answer.status == 202 {
        assert_eq!(answer.needs("Preference-Applied"), "respond-async");
    }
    soon("it is merged", || second.status(&server)["state"] == "merged");
}

// spec: CHUNK-96
#[test]
fn what_is_held_is_known_after_a_restart() {
    let mut server = server();
    let first = first();
    finish(&server, &first);
    let offers = |server: &Server, n: u8| offer(server, &file(&n.to_string().repeat(8), "x.bin"));
    server.restart();
    assert_ne!(offers(&server, 1), Value::Null);
    server.crash();
    assert_ne!(offers(&server, 2), Value::Null);

    let note = notes(&server).remove(0);
    for garbage in [&b""[..], &[0; 5000], b"../../x\n", &[b'a'; 32]] {
        fs::write(&note, garbage).unwrap();
        let _ = offers(&server, 3);
        server.restart();
        assert_eq!(first.merge(&server).expect(200).json()["state"], "merged");
    }
}

// spec: CHUNK-96: the first sweep, and then one each day, makes up for what is not noted.
#[test]
fn what_was_finished_before_is_found() {
    let around = tempfile::tempdir().unwrap();
    let options = around.path().join("piton.toml");
    fs::write(&options, "instant = false\n").unwrap();
    let config = format!("--config={}", options.display());
    // So old that a sweep looks at it soon after the start.
    let mut server = Server::with(&[&config, "--expire-after=4s", "--reap-every=100ms"]);
    finish(&server, &first());
    thread::sleep(Duration::from_millis(4200));
    fs::write(&options, "instant = true\n").unwrap();
    server.restart();
    let mut names = (0..).map(|n| format!("{n:08}"));
    soon("there is an offer", || !offer(&server, &file(&names.next().unwrap(), "x.bin")).is_null());
}

/// How it stands once a merge that was cut off has been done again.
fn settled(server: &Server, parts: &Parts) -> Value {
    let mut status = parts.status(server);
    soon("it is not merged any more", || {
        status = parts.status(server);
        status["state"] != "merging"
    });
    status
}

// spec: CHUNK-94, STORE-1
#[test]
fn killed_at_any_moment() {
    let mut random = Random::announced("killed_at_any_moment");
    let mut server = server();
    let bytes = random.bytes(3_000_000);
    let parts = |n: usize| Parts::new(&format!("{n:08}"), "a.bin", 50_000, bytes.clone());
    let held = finish(&server, &parts(99));
    for n in 0..14 {
        let parts = parts(n);
        let request = prove(&offer(&server, &parts), &parts);
        let _running = server.begin(&request);
        thread::sleep(Duration::from_micros(random.between(0, 30_000)));
        server.crash();
        let status = settled(&server, &parts);
        match status["state"].as_str().unwrap() {
            "merged" => {}
            "mergeable" => _ = parts.merge(&server).expect_one(&[200, 201]),
            "receiving" => {
                assert_eq!(status["uploaded"], json!([]));
                server.ask(&prove(&offer(&server, &parts), &parts)).expect(201);
            }
            _ => panic!("{status}"),
        }
        assert_eq!(fetch(&server, &parts.status(&server)["result"]), bytes);
        server.ask(&parts.delete()).expect(204);
    }
    assert_eq!(fetch(&server, &held), bytes);
    assert_eq!(server.finished().len(), 1);
}

// spec: CHUNK-94
#[test]
fn a_full_disk_leaves_the_upload_as_it_was() {
    let server = server();
    let (first, second) = (first(), second());
    finish(&server, &first);
    let offer_made = offer(&server, &second);
    server.fill_disk();
    server.ask(&prove(&offer_made, &second)).refused(507);
    server.make_room();
    assert_eq!(second.uploaded(&server), Vec::<u64>::new());
    let tmp = server.data().join("tmp");
    soon("nothing is staged", || crate::disk::files_below(&tmp).is_empty());
    let merged = server.ask(&prove(&offer(&server, &second), &second)).expect(201).json();
    assert_eq!(fetch(&server, &merged), second.bytes);
}

// spec: CHUNK-94
#[test]
fn it_keeps_to_other_options() {
    let options = ["--instant", "--durability=ack", "--verify-on-merge", "--auto-merge"];
    let server = Server::with(&[&options[..], &["--chunks-per-part=1"]].concat());
    let (first, second) = (first(), second());
    first.send_all(&server);
    soon("the first one is merged", || first.status(&server)["state"] == "merged");
    let merged = server.ask(&prove(&offer(&server, &second), &second)).expect(201).json();
    assert_eq!(fetch(&server, &merged), second.bytes);
}

// spec: CHUNK-96
#[test]
fn what_expired_is_not_offered() {
    let server = Server::with(&["--instant", "--keep-finished=300ms", "--reap-every=50ms"]);
    finish(&server, &first());
    soon("nothing is noted", || notes(&server).is_empty());
    assert_eq!(offer(&server, &second()), Value::Null);
}
