//! Metadata: kept byte for byte, and never believed.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::{
    client::{Answer, Request},
    disk::files_below,
    server::Server,
    tus::{Upload, create, create_with},
    tus_create::refuses,
};

/// A POST with this metadata.
fn with(metadata: &str) -> Request {
    create(11).header("Upload-Metadata", metadata)
}

/// The POST is answered 201, and HEAD tells the metadata as it was sent.
#[track_caller]
fn comes_back<'a>(server: &'a Server, request: &Request, metadata: &str) -> Upload<'a> {
    let upload = Upload::from_answer(server, &server.ask(request).expect(201));
    assert_eq!(upload.head().expect(200).header("Upload-Metadata"), Some(metadata));
    upload
}

// rows: TUS-META-01, TUS-META-02, TUS-META-03, TUS-META-05, TUS-META-08
// spec: TUS-10
#[test]
fn it_comes_back_as_it_was_sent() {
    let mut server = Server::start();
    let mut told = Vec::new();
    for text in [
        "filename d29ybGQ=,is_confidential",
        "is_confidential,filename d29ybGQ=",
        "a ,b Yg==",
        "a,A",
        "a YQ==,A Yg==",
        "a YQ==, b Yg==",
        "b Yg==\t,  a YQ==",
        "a",
    ] {
        told.push((comes_back(&server, &with(text), text).url, Some(text)));
    }
    let two_lines = with("b Yg==").header("Upload-Metadata", "a YQ==");
    told.push((comes_back(&server, &two_lines, "b Yg==,a YQ==").url, Some("b Yg==,a YQ==")));
    let empty = Upload::from_answer(&server, &server.ask(&with("")).expect(201)).url;
    told.push((empty, None));
    told.push((Upload::new(&server, 11).url, None));
    server.restart();
    for (url, metadata) in told {
        let head = Upload { server: &server, url }.head().expect(200);
        assert_eq!(head.header("Upload-Metadata"), metadata);
    }
}

// rows: TUS-META-04, TUS-META-06, TUS-META-07, TUS-META-09
// spec: TUS-10
#[test]
fn what_cannot_be_read_makes_nothing() {
    let server = Server::start();
    for text in [
        ",",
        "a YQ==,",
        ",b Yg==",
        "a YQ==,,b Yg==",
        "a !!!",
        "a YQ",
        "a YQ=",
        "a -_-_",
        "a aGVsbG9=",
        "a  YQ==",
        "a YQ== Yg==",
        "a YQ==,a Yg==",
        "a,a",
        "ä YQ==",
        "名 YQ==",
    ] {
        refuses(&server, &with(text), 400);
        server.ask(&with(text)).refused_as(400, "malformed-metadata");
    }
    let two_lines = with("a YQ==").header("Upload-Metadata", "a Yg==");
    refuses(&server, &two_lines, 400);
}

/// Nothing that a name says has become a header line of its own.
#[track_caller]
fn has_plain_headers(answer: &Answer) {
    assert_eq!(answer.header("X-Injected"), None, "{answer:?}");
    let all = answer.headers.iter().flat_map(|(name, value)| name.bytes().chain(value.bytes()));
    assert!(all.into_iter().all(|byte| (0x20..0x7f).contains(&byte)), "{answer:?}");
}

// rows: TUS-META-10
// spec: TUS-10, STORE-14
#[test]
fn no_name_leads_anywhere_but_into_the_folder_of_files() {
    let server = Server::start();
    let all_bytes: Vec<u8> = (0..=255).collect();
    let long = "n".repeat(300);
    let long_wide = "测".repeat(300);
    let names: [&[u8]; 17] = [
        &all_bytes,
        b"a\r\nX-Injected: 1",
        b"a\0b",
        b"../../x",
        b"a/b",
        b"a\\b",
        b"/etc/passwd",
        b".",
        b"..",
        b"",
        long.as_bytes(),
        long_wide.as_bytes(),
        b"-rf",
        b"\x07bell\x1b[31m\x7f",
        "\u{202e}gpj.exe\u{2066}\u{200f}\u{85}".as_bytes(),
        b"a\xff\xfe.bin",
        b" .bin. ",
    ];
    for name in names {
        let before = server.finished();
        let value = BASE64_STANDARD.encode(name);
        let text = format!("filename {value},other {value},end");
        let asked = create_with(11, "hello world").header("Upload-Metadata", &text);
        let upload = comes_back(&server, &asked, &text);
        let file = upload.get().expect(200);
        assert_eq!(file.body, b"hello world");
        has_plain_headers(&file);
        has_plain_headers(&upload.head().expect(200));
        let new: Vec<_> = server.finished().into_iter().filter(|p| !before.contains(p)).collect();
        let [path] = &new[..] else { panic!("{new:?} for {name:?}") };
        assert_eq!(path.parent(), Some(&*server.data().join("files")), "{name:?}");
        let published = path.file_name().unwrap().to_str().expect("a name is text");
        assert!(published.len() <= 255, "{published}");
        let tame = |c: char| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c);
        assert!(published.chars().all(tame), "{published:?}");
        assert!(!published.contains(['\u{200f}', '\u{2066}', '\\']), "{published:?}");
    }
    let outside = files_below(server.around()).into_iter();
    let outside: Vec<_> = outside.filter(|path| !path.starts_with(server.data())).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

// rows: TUS-META-11
// spec: TUS-10
#[test]
fn it_may_be_long_and_not_endless() {
    let server = Server::start();
    let of = |length: usize| format!("a {}", "A".repeat(length - 2));
    let endless = with(&of(1 << 20));
    server.connect().ask(&endless).expect(431);
    assert!(
        files_below(&server.data().join("state"))
            .iter()
            .all(|path| { path.extension().is_none_or(|end| end != "ledger") })
    );
    let eight = of(8 * 1024 - 2);
    comes_back(&server, &with(&eight), &eight);
}
