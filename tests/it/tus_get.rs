//! GET: the finished file.

use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::{
    client::Answer,
    server::Server,
    tus::{Upload, create_with},
};

/// The answer to GET of a finished file of that name and type.
#[track_caller]
fn download(server: &Server, filename: &str, media_type: &str) -> Answer {
    let pair = |name: &str, value: &str| format!("{name} {}", BASE64_STANDARD.encode(value));
    let metadata = [pair("filename", filename), pair("filetype", media_type)].join(",");
    let asked = create_with(11, "hello world").header("Upload-Metadata", metadata);
    Upload::from_answer(server, &server.ask(&asked).expect(201)).get().expect(200)
}

// spec: TUS-28
#[test]
fn a_finished_file_comes_whole_and_with_its_headers() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    let file = upload.get().expect(200);
    assert_eq!(file.body, b"hello world");
    assert_eq!(file.needs("Content-Length"), "11");
    assert_eq!(file.needs("X-Content-Type-Options"), "nosniff");
    let tag = file.needs("ETag");
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
    let modified = httpdate::parse_http_date(file.needs("Last-Modified")).unwrap();
    let age = SystemTime::now().duration_since(modified).unwrap();
    assert!(age < Duration::from_mins(1), "{age:?}");
    let again = upload.get().expect(200);
    assert_eq!(again.header("ETag"), Some(tag));
    let mut other = Upload::new(&server, 11);
    other.patch(0, "HELLO WORLD").expect(204);
    assert_ne!(other.get().expect(200).needs("ETag"), tag);
    other = Upload::new(&server, 0);
    assert_eq!(other.get().expect(200).body, b"");
}

// spec: TUS-29
#[test]
fn of_an_unfinished_upload_nothing_is_served() {
    let server = Server::start();
    for upload in [Upload::new(&server, 11), Upload::hello(&server)] {
        upload.get().refused_as(404, "unknown-upload");
        assert!(server.finished().is_empty());
        let offset = upload.offset();
        upload.patch(offset, &b"hello world"[offset as usize..]).expect(204);
        upload.get().expect(200);
        upload.delete().expect(204);
        upload.get().refused_as(404, "unknown-upload");
    }
}

// spec: TUS-30
#[test]
fn only_harmless_files_are_shown_in_place_and_names_are_tame() {
    let server = Server::start();
    for (media_type, kind) in [
        ("image/png", "inline"),
        ("text/plain", "inline"),
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/x-anything", "attachment"),
    ] {
        let file = download(&server, "a.bin", media_type);
        let shown = file.needs("Content-Disposition");
        assert!(shown.starts_with(&format!("{kind};")), "{media_type}: {shown}");
        let told = file.needs("Content-Type");
        assert!(!told.contains("html") && !told.contains("svg"), "{media_type}: {told}");
    }
    for (given, plain) in [("../../etc/passwd", "passwd"), ("a\r\nb.bin", "ab.bin")] {
        let shown = download(&server, given, "text/html");
        let shown = shown.needs("Content-Disposition");
        assert!(shown.contains(&format!("filename=\"{plain}\"")), "{given:?}: {shown}");
    }
}
