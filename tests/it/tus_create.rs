//! Creation, and creation with upload.

use crate::{
    client::Request,
    disk::taken_below,
    server::{Server, until},
    tus::{FILES, OFFSET_TYPE, Upload, create, create_with, offers, request},
};

/// The POST is refused, and no upload was made.
#[track_caller]
pub fn refuses(server: &Server, request: &Request, status: u16) {
    let answer = server.ask(request).refused(status);
    assert_eq!(answer.header("Location"), None, "{answer:?}");
    assert!(server.uploads().is_empty(), "{answer:?} left {:?}", server.uploads());
    assert!(ledgers(server).is_empty(), "{answer:?} left {:?}", ledgers(server));
}

/// The facts of all uploads.
fn ledgers(server: &Server) -> Vec<std::path::PathBuf> {
    let all = crate::disk::files_below(&server.data().join("state"));
    all.into_iter().filter(|path| path.extension().is_some_and(|end| end == "ledger")).collect()
}

// rows: TUS-CREATE-01
// spec: TUS-6
#[test]
fn an_upload_is_made_and_takes_no_room_yet() {
    let server = Server::start();
    let answer = server.ask(&create(11)).expect(201);
    answer.needs("Upload-Expires");
    let upload = Upload::from_answer(&server, &answer);
    assert_eq!(upload.offset(), 0);
    assert!(!upload.folder().try_exists().unwrap());
}

// rows: TUS-CREATE-02
// spec: CORE-6
#[test]
fn no_header_of_a_client_names_our_address() {
    let server = Server::start();
    let lied = create(11)
        .set("Host", "evil.example")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Proto", "https")
        .header("Forwarded", "host=evil.example;proto=https");
    for request in [create(11), lied.clone()] {
        let answer = server.ask(&request).expect(201);
        let url = answer.needs("Location");
        let id = url.strip_prefix("/files/").unwrap_or_else(|| panic!("{url}"));
        assert!(!id.contains('/') && !id.is_empty(), "{url}");
    }
    let public = Server::with(&["--public-url=https://up.example/x"]);
    let answer = public.ask(&lied).expect(201);
    let url = answer.needs("Location");
    let path = url.strip_prefix("https://up.example/x").unwrap_or_else(|| panic!("{url}"));
    assert!(path.starts_with("/files/"), "{url}");
    public.ask(&request("HEAD", path)).expect(200);
}

// rows: TUS-CREATE-03
// spec: TUS-8
#[test]
fn an_empty_upload_is_complete_at_once() {
    let server = Server::start();
    let answer = server.ask(&create(0)).expect(201);
    assert_eq!(answer.header("Upload-Expires"), None);
    let upload = Upload::from_answer(&server, &answer);
    let head = upload.head().expect(200);
    assert_eq!((head.offset(), head.needs("Upload-Length")), (0, "0"));
    let file = upload.get().expect(200);
    assert_eq!(file.body, b"");
    assert_eq!(file.header("Content-Length"), Some("0"));
    assert_eq!(upload.patch(0, "").expect(204).offset(), 0);
    assert_eq!(server.the_file(), b"");
}

// rows: TUS-CREATE-04, TUS-CREATE-05, TUS-CREATE-06, TUS-CREATE-07
// spec: TUS-7, CORE-2
#[test]
fn a_length_is_one_plain_number() {
    let server = Server::start();
    refuses(&server, &create(5).without("Upload-Length"), 400);
    refuses(&server, &create(5).header("Upload-Defer-Length", 1), 400);
    for value in [
        "-5", "+5", "-0", "1.3", "abc", "0x10", "1e3", "1e+21", "5 6", "", "５", "0100", "00",
        "5, 5",
    ] {
        refuses(&server, &create(5).set("Upload-Length", value), 400);
    }
    refuses(&server, &create(5).header("Upload-Length", 5), 400);
    refuses(&server, &create(5).header("Upload-Length", 6), 400);
}

// rows: TUS-CREATE-08
// spec: TUS-6
#[test]
fn a_length_is_a_promise_and_no_claim_on_the_disk() {
    let server = Server::start();
    let longest = (1_u64 << 63) - 1;
    let before = taken_below(&server.data());
    let upload = Upload::new(&server, longest);
    // The facts take a block or two.
    assert!(taken_below(&server.data()) <= before + 16 * 1024);
    let head = upload.head().expect(200);
    assert_eq!(head.needs("Upload-Length"), longest.to_string());
    assert_eq!(upload.patch(0, "hello").expect(204).offset(), 5);
    assert!(taken_below(&server.data()) < before + (1 << 20));
}

// rows: TUS-CREATE-09
// spec: TUS-7, CORE-2
#[test]
fn no_file_is_that_long() {
    let forty = "9".repeat(40);
    let lengths = ["9223372036854775808", "18446744073709551615", "18446744073709551616", &forty];
    let (free, limited) = (Server::start(), Server::with(&["--max-size=1000"]));
    for length in lengths {
        refuses(&free, &create(0).set("Upload-Length", length), 400);
        refuses(&limited, &create(0).set("Upload-Length", length), 413);
    }
}

// rows: TUS-CREATE-10
// spec: TUS-7
#[test]
fn the_maximum_is_the_largest_length_taken() {
    let server = Server::with(&["--max-size=100"]);
    refuses(&server, &create(101), 413);
    server.ask(&create(100)).expect(201);
}

// rows: TUS-CREATE-11
#[test]
fn what_libraries_add_does_no_harm() {
    let server = Server::start();
    let mut with_query = create(11);
    with_query.target = "/files/?a=b".to_owned();
    let asked = [
        create(11),
        create(11),
        create(11).header("Content-Type", "text/plain"),
        create(11).header("Content-Type", OFFSET_TYPE).body(""),
        create(11).chunked(b"", 1),
        create(11).header("Upload-Offset", 7).header("X-Request-ID", "7"),
        with_query,
    ];
    let urls: std::collections::HashSet<String> = asked
        .iter()
        .map(|request| server.ask(request).expect(201).needs("Location").to_owned())
        .collect();
    assert_eq!(urls.len(), asked.len());
}

// rows: TUS-CWU-01, TUS-CWU-02
// The body that is empty is of TUS-CWU-06; whoever tests its deferred length cites that row.
// spec: TUS-11, TUS-6
#[test]
fn a_post_may_bring_the_first_bytes() {
    let server = Server::start();
    for body in ["", "hello"] {
        let answer = server.ask(&create_with(11, body)).expect(201);
        assert_eq!(answer.offset(), body.len() as u64);
        answer.needs("Upload-Expires");
        let upload = Upload::from_answer(&server, &answer);
        assert_eq!(upload.offset(), body.len() as u64);
        upload.patch(body.len() as u64, &b"hello world"[body.len()..]).expect(204);
        upload.is_file(b"hello world");
    }
    let answer = server.ask(&create_with(11, "hello world")).expect(201);
    assert_eq!(answer.offset(), 11);
    assert_eq!(answer.header("Upload-Expires"), None);
    let upload = Upload::from_answer(&server, &answer);
    assert_eq!(upload.get().expect(200).body, b"hello world");
    upload.is_file(b"hello world");
}

// rows: TUS-CWU-01, without a Content-Length
// spec: TUS-11
#[test]
fn a_post_may_bring_them_chunked() {
    let server = Server::start();
    let request = create(11).header("Content-Type", OFFSET_TYPE).chunked(b"hello", 2);
    let answer = server.ask(&request).expect(201);
    assert_eq!(answer.offset(), 5);
    assert_eq!(Upload::from_answer(&server, &answer).offset(), 5);
}

// rows: TUS-CWU-03, TUS-CWU-05
// spec: TUS-12, TUS-17
#[test]
fn a_body_that_cannot_be_kept_makes_no_upload() {
    let server = Server::start();
    refuses(&server, &create_with(11, "hello world, and more"), 413);
    refuses(&server, &create_with(0, "x"), 413);
    let chunked = |length: u64| create(length).chunked(b"hello", 2);
    refuses(&server, &chunked(0).header("Content-Type", OFFSET_TYPE), 413);
    refuses(&server, &chunked(11), 415);
    refuses(&server, &create(11).body("hello"), 415);
    for media_type in ["text/plain", "application/octet-stream", "application/partial-upload"] {
        refuses(&server, &create_with(11, "hello").set("Content-Type", media_type), 415);
        refuses(&server, &chunked(11).header("Content-Type", media_type), 415);
    }
}

// rows: TUS-CWU-04
// spec: TUS-18, TUS-11
#[test]
fn of_a_body_without_length_the_part_that_fits_is_kept() {
    let server = Server::start();
    let request = create(11).header("Content-Type", OFFSET_TYPE).chunked(b"hello world!!!", 4);
    let answer = server.ask(&request).refused(413);
    assert_eq!(answer.offset(), 11);
    Upload::from_answer(&server, &answer).is_file(b"hello world");
}

// The third case of TUS-CWU-06.
// spec: TUS-7
#[test]
fn the_maximum_holds_for_bodies_too() {
    let server = Server::with(&["--max-size=10"]);
    refuses(&server, &create_with(11, "hello"), 413);
    refuses(&server, &create_with(10, "hello world"), 413);
}

// rows: TUS-CWU-07
// spec: TUS-11
#[test]
fn a_cut_body_is_kept_though_nobody_knows_its_url() {
    let server = Server::with(&["--expire-after=4s", "--reap-every=100ms"]);
    let mut connection =
        server.begin(&create(11).header("Content-Type", OFFSET_TYPE).announcing(11));
    connection.raw(b"hello");
    connection.finish();
    if let Ok(answer) = connection.try_answer("POST") {
        assert_ne!(answer.status, 201);
    }
    let there = || server.uploads().values().any(|(size, _)| *size == 5);
    until(there, || format!("the five bytes are not among {:?}", server.uploads()));
    server.uploads_vanish();
}

// rows: TUS-CWU-08
// spec: CORE-9
#[test]
fn only_a_good_request_is_asked_to_go_on() {
    let server = Server::with(&["--max-size=100"]);
    let expecting = |request: Request| request.header("Expect", "100-continue");
    let good = expecting(create(11).header("Content-Type", OFFSET_TYPE)).announcing(11);
    let mut connection = server.begin(&good);
    let (status, _) = connection.head().unwrap();
    assert_eq!(status, 100);
    connection.raw(b"hello world");
    assert_eq!(connection.answer("POST").expect(201).offset(), 11);
    let before = (server.uploads(), ledgers(&server));
    let typed = |length| create(length).header("Content-Type", OFFSET_TYPE);
    let mut all_bad = vec![
        (typed(101), 413),
        (typed(11).header("Upload-Metadata", "a !!!"), 400),
        (create(11).header("Content-Type", "text/plain"), 415),
    ];
    if offers(&server, "checksum") {
        all_bad.push((typed(11).header("Upload-Checksum", "md5 nonsense"), 400));
    }
    for (bad, status) in all_bad {
        let mut connection = server.begin(&expecting(bad).announcing(11));
        let answer = connection.answer("POST").refused(status);
        assert!(answer.interim.is_empty(), "{answer:?} after {:?}", answer.interim);
    }
    assert_eq!((server.uploads(), ledgers(&server)), before);
}

// A large first body crosses many chunks.
// spec: TUS-11
#[test]
fn a_large_first_body_is_as_good_as_a_patch() {
    let server = Server::start();
    let bytes = crate::random::Random::seeded(1).bytes(700_001);
    let answer = server.ask(&create_with(bytes.len() as u64, bytes.clone())).expect(201);
    Upload::from_answer(&server, &answer).is_file(&bytes);
}

// The path of a Location follows the option.
#[test]
fn the_base_path_can_be_another() {
    let server = Server::with(&["--base-path=/a/b"]);
    let mut asked = create(11);
    server.ask(&asked).expect(404);
    asked.target = "/a/b/".to_owned();
    let answer = server.ask(&asked).expect(201);
    assert!(answer.needs("Location").starts_with("/a/b/"), "{answer:?}");
    assert!(!answer.needs("Location").starts_with(FILES));
}
