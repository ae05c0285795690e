//! OPTIONS, the version check, routes and path tricks.

use std::{collections::HashSet, fs, thread, time::Duration};

use crate::{
    client::{Answer, Request},
    disk::snapshot,
    server::Server,
    takeover::stalled,
    tus::{FILES, Upload, append, create, create_with, offers, patch, request},
};

/// Stands for an id that was never given.
const UNKNOWN: &str = "/files/00000000000000000000000000000000";

#[track_caller]
fn is_the_options_answer(answer: &Answer) {
    assert!([200, 204].contains(&answer.status), "{answer:?}");
    assert_eq!(answer.status, 204, "{answer:?}");
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("Tus-Version"), Some("1.0.0"), "{answer:?}");
    assert_eq!(answer.header("Tus-Resumable"), Some("1.0.0"), "{answer:?}");
}

// rows: TUS-CORE-01, TUS-CORE-05, TUS-CORE-06
// spec: TUS-1
#[test]
fn options_tells_of_the_server_whatever_the_path_and_version() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    for target in [FILES, "/files", &upload.url, UNKNOWN] {
        is_the_options_answer(&server.ask(&Request::new("OPTIONS", target)));
        let strange = Request::new("OPTIONS", target).header("Tus-Resumable", "9.9.9");
        is_the_options_answer(&server.ask(&strange));
    }
}

// rows: TUS-CORE-02
// spec: TUS-1
#[test]
fn the_extensions_are_listed_without_spaces_and_with_their_roots() {
    let server = Server::start();
    let answer = server.ask(&Request::new("OPTIONS", FILES));
    let list = answer.needs("Tus-Extension");
    assert!(!list.contains(' '), "{list:?}");
    let listed: HashSet<&str> = list.split(',').collect();
    assert_eq!(listed.len(), list.split(',').count(), "twice in {list:?}");
    for extension in [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "checksum-trailer",
        "termination",
    ] {
        assert!(listed.contains(extension), "no {extension} in {list:?}");
    }
    let known = [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "checksum-trailer",
        "termination",
        "concatenation",
        "concatenation-unfinished",
    ];
    for extension in &listed {
        assert!(known.contains(extension), "{extension} is no tus extension");
        let root = extension.split('-').next().unwrap();
        assert!(listed.contains(root), "{extension} without {root} in {list:?}");
    }
}

// rows: TUS-CORE-03
// spec: TUS-1, TUS-54
#[test]
fn algorithms_are_listed_where_checksums_are_offered() {
    let server = Server::start();
    let answer = server.ask(&Request::new("OPTIONS", FILES));
    let list = answer.header("Tus-Checksum-Algorithm");
    assert_eq!(list.is_some(), offers(&server, "checksum"), "{answer:?}");
    let Some(list) = list else { return };
    let listed: HashSet<&str> = list.split(',').collect();
    for algorithm in ["sha256", "sha1", "md5", "sha512", "crc32", "crc32c"] {
        assert!(listed.contains(algorithm), "no {algorithm} in {list:?}");
    }
    let plain = |one: &&str| one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    assert!(listed.iter().all(plain), "{list:?}");
    assert_eq!(answer.count("Tus-Checksum-Algorithm"), 1);
}

// rows: TUS-CORE-07
// spec: TUS-1, CORE-4, TUS-78
#[test]
fn without_termination_nothing_is_deleted() {
    let server = Server::with(&["--disable-termination"]);
    assert!(!offers(&server, "termination") && offers(&server, "creation"));
    for upload in [Upload::hello(&server), Upload::finished(&server)] {
        let by_name = request("POST", &upload.url).header("X-HTTP-Method-Override", "DELETE");
        for asked in [request("DELETE", &upload.url), by_name] {
            let answer = upload.refuses(&asked, 405);
            let allowed = answer.needs("Allow");
            assert!(!allowed.contains("DELETE"), "{allowed}");
        }
    }
    assert_eq!(server.the_file(), b"hello world");
    // An upload of tus is an upload of chunks too, under its id.
    let upload = Upload::hello(&server);
    let aside = Request::new("DELETE", &format!("/upload?hash={}", upload.id()));
    assert_eq!(upload.refuses(&aside, 405).needs("Allow"), "POST, PUT");
}

// rows: TUS-CORE-04
// spec: TUS-1
#[test]
fn a_maximum_is_told_where_there_is_one() {
    let limited = Server::with(&["--max-size=1000"]).ask(&Request::new("OPTIONS", FILES));
    assert_eq!(limited.header("Tus-Max-Size"), Some("1000"));
    let free = Server::start().ask(&Request::new("OPTIONS", FILES));
    assert_eq!(free.header("Tus-Max-Size"), None);
}

// rows: TUS-CORE-08, TUS-CORE-09
// spec: TUS-3
#[test]
fn another_version_is_refused_and_nothing_is_processed() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let facts = || snapshot(&server.data().join("state"));
    let before = (upload.state(), facts());
    let mut versions: Vec<Vec<&str>> = vec![vec![], vec!["1.0.0", "1.0.0"]];
    versions.extend(["0.2.2", "1.0", "1.0.1", "2.0.0", "1.0.0 x", ""].map(|one| vec![one]));
    for version in versions {
        for target in [&upload.url, UNKNOWN] {
            for plain in [
                Request::new("HEAD", target),
                patch(target, 5, " world"),
                request("DELETE", target),
                create_with(3, "abc"),
            ] {
                let mut asked = plain.without("Tus-Resumable");
                for value in &version {
                    asked = asked.header("Tus-Resumable", value);
                }
                let answer = server.ask(&asked).expect(412);
                assert_eq!(answer.header("Tus-Version"), Some("1.0.0"), "{answer:?}");
            }
        }
    }
    assert_eq!((upload.state(), facts()), before);
    assert_eq!(server.uploads().len(), 1, "a refused POST left something");
}

// rows: TUS-CORE-10
// spec: TUS-3, TUS-28
#[test]
fn get_needs_no_version() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    upload.get().expect(200);
    let strange = Request::new("GET", &upload.url).header("Tus-Resumable", "9.9.9");
    assert_eq!(server.ask(&strange).expect(200).body, b"hello world");
}

// rows: TUS-CORE-11
#[test]
fn header_names_are_taken_in_any_case() {
    let server = Server::start();
    let shouted = Request::new("POST", FILES).header("TUS-Resumable", "1.0.0");
    let made = server.ask(&shouted.header("UPLOAD-LENGTH", 11)).expect(201);
    let upload = Upload::from_answer(&server, &made);
    let shouted = Request::new("PATCH", &upload.url)
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", 0)
        .header("CONTENT-TYPE", "application/offset+octet-stream")
        .body("hello");
    assert_eq!(server.ask(&shouted).expect(204).offset(), 5);
}

/// Requests whose answers have all the statuses that need no second server and no time.
fn of_each_status(server: &Server) -> Vec<(u16, Request)> {
    let (open, done, gone) =
        (Upload::hello(server), Upload::finished(server), Upload::new(server, 11));
    gone.delete().expect(204);
    let mut all = vec![
        (200, request("HEAD", &open.url)),
        (200, Request::new("GET", &done.url)),
        (201, create(11)),
        (204, patch(&open.url, 5, "")),
        (204, Request::new("OPTIONS", FILES)),
        (400, create(11).set("Upload-Length", "x")),
        (404, request("HEAD", UNKNOWN)),
        (404, request("PATCH", &gone.url)),
        (404, Request::new("GET", &open.url)),
        (405, request("PUT", &open.url)),
        (409, patch(&open.url, 3, "x")),
        (412, Request::new("HEAD", &open.url)),
        (413, create(1001)),
        (415, patch(&open.url, 5, "x").without("Content-Type")),
    ];
    if offers(server, "checksum") {
        let wrong = "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=";
        all.push((460, patch(&open.url, 5, "x").header("Upload-Checksum", wrong)));
    }
    if offers(server, "concatenation") {
        let partial = server.ask(&create(0).header("Upload-Concat", "partial")).expect(201);
        let list = format!("final;{}", partial.needs("Location"));
        let made = request("POST", FILES).header("Upload-Concat", list);
        let made = Upload::from_answer(server, &server.ask(&made).expect(201));
        all.push((403, patch(&made.url, 0, "")));
    }
    all
}

#[track_caller]
fn names_the_version_once(answer: &Answer) {
    assert_eq!(answer.count("Tus-Resumable"), 1, "{answer:?}");
    assert_eq!(answer.header("Tus-Resumable"), Some("1.0.0"), "{answer:?}");
}

// rows: TUS-CORE-12
// spec: TUS-2
#[test]
fn each_answer_under_files_names_the_version_once() {
    let server = Server::with(&["--max-size=1000"]);
    for (status, asked) in of_each_status(&server) {
        names_the_version_once(&server.ask(&asked).expect(status));
    }
}

// rows: TUS-CORE-12, TUS-EXP-02: 410, 423 and 507.
// spec: TUS-2, TUS-24
#[test]
fn an_answer_about_trouble_names_the_version_too() {
    let short_lived = Server::with(&["--expire-after=50ms", "--reap-every=1h"]);
    let gone = Upload::new(&short_lived, 11);
    let server = Server::start();
    let upload = Upload::new(&server, 1000);
    let mut stalled = stalled(&upload, 1000, b"some bytes");
    names_the_version_once(&upload.head().expect(200));
    let taken_over = stalled.answer("PATCH").refused_as(423, "taken-over");
    server.fill_disk();
    names_the_version_once(&server.ask(&create(11)).refused_as(507, "disk-full"));
    let full = upload.patch(upload.offset(), "x").refused_as(507, "disk-full");
    server.make_room();
    names_the_version_once(&server.ask(&create(11)).expect(201));
    for told in [taken_over, full] {
        names_the_version_once(&told);
        told.needs("Upload-Expires");
    }
    thread::sleep(Duration::from_millis(150));
    names_the_version_once(&gone.head().expect(410));
    names_the_version_once(&gone.patch(0, "x").refused(410));
    names_the_version_once(&gone.get().refused(410));
}

// rows: TUS-CORE-13
// spec: CORE-4
#[test]
fn other_methods_are_refused_with_a_list_of_those_that_are_not() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let before = upload.state();
    let on_files = ["GET", "HEAD", "PATCH", "DELETE", "PUT"].map(|method| (method, FILES));
    let on_upload = ["POST", "PUT", "FOO"].map(|method| (method, upload.url.as_str()));
    for (method, target) in on_files.into_iter().chain(on_upload) {
        let answer = server.ask(&request(method, target));
        if answer.status == 501 && method == "FOO" {
            continue;
        }
        let answer = answer.expect(405);
        let allowed = answer.needs("Allow");
        assert!(!allowed.split(',').any(|one| one.trim() == method), "{allowed:?} to {method}");
    }
    assert_eq!(upload.state(), before);
}

// rows: TUS-CORE-14
// spec: CORE-5
#[test]
fn a_slash_at_the_end_makes_no_difference() {
    let server = Server::start();
    let made = server.ask(&request("POST", "/files").header("Upload-Length", 11)).expect(201);
    let upload = Upload::from_answer(&server, &made);
    let slashed = format!("{}/", upload.url);
    assert_eq!(server.ask(&patch(&slashed, 0, "hello world")).expect(204).offset(), 11);
    assert_eq!(server.ask(&request("HEAD", &slashed)).expect(200).offset(), 11);
    assert_eq!(server.ask(&Request::new("GET", &slashed)).expect(200).body, b"hello world");
    server.ask(&request("DELETE", &slashed)).expect(204);
}

/// Requests of all kinds for one target.
fn all_kinds(target: &str) -> [Request; 4] {
    [
        request("HEAD", target),
        Request::new("GET", target),
        patch(target, 5, " world"),
        request("DELETE", target),
    ]
}

// rows: TUS-CORE-15
// spec: TUS-5
#[test]
fn a_path_is_never_more_than_an_id() {
    let server = Server::start();
    fs::write(server.around().join("passwd"), "sentinel").unwrap();
    let upload = Upload::hello(&server);
    let done = Upload::finished(&server);
    let before = snapshot(server.around());
    let (id, upper) = (upload.id(), upload.id().to_ascii_uppercase());
    assert_ne!(id, upper, "an id of digits alone tests nothing");
    let names = [
        "..%2F..%2Fetc%2Fpasswd".to_owned(),
        "..%2F..%2Fpasswd".to_owned(),
        "../x".to_owned(),
        "../../passwd".to_owned(),
        "%2e%2e".to_owned(),
        "%252e%252e%252fpasswd".to_owned(),
        "a/b".to_owned(),
        "\\..\\x".to_owned(),
        format!("{id}.ledger"),
        format!("{id}/0.part"),
        format!("./{id}"),
        format!("x/../{id}"),
        upper,
        "%zz".to_owned(),
        "a%2".to_owned(),
    ];
    for name in names {
        for asked in all_kinds(&format!("/files/{name}")) {
            let answer = server.ask(&asked);
            let broken = name == "%zz" || name == "a%2";
            let right = answer.status == 404 || broken && answer.status == 400;
            assert!(right, "{answer:?} to {} {}", asked.method, asked.target);
        }
    }
    assert_eq!(snapshot(server.around()), before);
    assert_eq!(done.get().expect(200).body, b"hello world");
}

// rows: TUS-CORE-16
// spec: TUS-5
#[test]
fn no_path_is_an_error_of_the_server() {
    let server = Server::start();
    let long = "a".repeat(5_000);
    for name in ["%00", "a%00b", "%ff", &long] {
        for asked in all_kinds(&format!("/files/{name}")) {
            server.ask(&asked).expect(404);
        }
    }
    let endless = format!("/files/{}", "a".repeat(100_000));
    server.ask(&request("HEAD", &endless)).expect_one(&[404, 414]);
    server.ask(&create(1)).expect(201);
}

// rows: TUS-CORE-17
// spec: TUS-5
#[test]
fn ids_cannot_be_guessed() {
    let server = Server::with(&["--durability=none"]);
    let mut connection = server.connect();
    let urls: Vec<String> = (0..1000)
        .map(|_| connection.ask(&create(11)).expect(201).needs("Location").to_owned())
        .collect();
    let ids: HashSet<&str> = urls.iter().map(|url| url.rsplit('/').next().unwrap()).collect();
    assert_eq!(ids.len(), 1000);
    for id in &ids {
        assert!(id.len() >= 22, "{id}");
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)), "{id}");
    }
    // A growing part would make most of a thousand ids share a beginning with their neighbour.
    let beginnings: HashSet<&str> = ids.iter().map(|id| &id[..4]).collect();
    assert!(beginnings.len() > 900, "{} beginnings of four digits", beginnings.len());
    let endings: HashSet<&str> = ids.iter().map(|id| &id[id.len() - 4..]).collect();
    assert!(endings.len() > 900, "{} endings of four digits", endings.len());
}

// One rule is broken at a time; of several, the first of the list on top of the tables counts.
// spec: CORE-7
#[test]
fn of_several_broken_rules_the_first_one_answers() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let wrong = || append(&upload.url, 3).announcing(100).without("Content-Type");
    upload.refuses(&wrong().without("Tus-Resumable").set("Content-Length", 0), 412);
    server.ask(&patch(UNKNOWN, 3, "xyz").without("Content-Type")).refused(404);
    let no_type = patch(&upload.url, 3, "too many bytes").without("Content-Type");
    upload.refuses(&no_type.clone().set("Upload-Offset", "x"), 415);
    upload.refuses(&patch(&upload.url, 3, "too many bytes").set("Upload-Offset", "x"), 400);
    upload.refuses(&patch(&upload.url, 3, "too many bytes"), 409);
    upload.refuses(&patch(&upload.url, 5, "too many bytes"), 413);
}
