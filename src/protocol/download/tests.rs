//! No file of a stranger runs as a page of ours, and no name of a stranger becomes a header.

use super::*;
use crate::upload::{
    ChunkSize, Dialect, FinalName, Layout, Length, Sha256Digest, Timestamp, UploadId,
};

fn head(filename: Option<&str>, media_type: Option<&str>) -> HeaderMap {
    let length = Length::new(11).unwrap();
    let at = Timestamp::from_millis(1_785_585_600_123);
    let manifest = Manifest {
        id: UploadId::parse("0123456789abcdef0123456789abcdef").unwrap(),
        layout: Layout::by_size(ChunkSize::new(5).unwrap(), Some(length)),
        metadata: String::new(),
        filename: filename.map(ToOwned::to_owned),
        media_type: media_type.map(ToOwned::to_owned),
        dialect: Dialect::Tus,
        key: None,
        concatenation: None,
        created_at: at,
        epoch: 0,
    };
    let name = FinalName::parse("final.bin").unwrap();
    let composite = Some(Sha256Digest::of(b"hello world"));
    let mut finished = Finished { name, length, composite, form: None, at };
    let with_digest = Download { manifest: &manifest, finished: &finished }.head();
    assert_eq!(
        with_digest.headers()["etag"],
        "\"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\""
    );
    finished.composite = None;
    let without = Download { manifest: &manifest, finished: &finished }.head();
    assert_eq!(without.headers()["etag"], "\"0123456789abcdef0123456789abcdef-1785585600123\"");
    with_digest.headers().clone()
}

// spec: TUS-28
#[test]
fn the_head_tells_length_time_and_not_to_guess() {
    let headers = head(None, None);
    assert_eq!(headers["content-length"], "11");
    assert_eq!(headers["last-modified"], "Sat, 01 Aug 2026 12:00:00 GMT");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["tus-resumable"], "1.0.0");
}

// spec: TUS-30
#[test]
fn only_harmless_types_are_shown_in_place() {
    let shown = [
        ("image/png", "image/png", "inline"),
        ("IMAGE/JPEG; q=1", "image/jpeg", "inline"),
        ("video/mp4", "video/mp4", "inline"),
        ("audio/ogg", "audio/ogg", "inline"),
        ("text/plain", "text/plain; charset=utf-8", "inline"),
        ("application/pdf", "application/pdf", "attachment"),
        ("text/html", OPAQUE, "attachment"),
        ("image/svg+xml", OPAQUE, "attachment"),
        ("application/xhtml+xml", OPAQUE, "attachment"),
        ("text/javascript", OPAQUE, "attachment"),
        ("image/png\r\nx: y", OPAQUE, "attachment"),
        ("nonsense", OPAQUE, "attachment"),
        ("", OPAQUE, "attachment"),
    ];
    for (given, media_type, kind) in shown {
        let headers = head(Some("a.bin"), Some(given));
        assert_eq!(headers["content-type"], media_type, "{given:?}");
        let disposition = headers["content-disposition"].to_str().unwrap();
        assert!(disposition.starts_with(&format!("{kind}; ")), "{given:?}: {disposition}");
    }
    assert_eq!(head(None, None)["content-type"], OPAQUE);
}

// spec: TUS-30
#[test]
fn names_are_quoted_plainly_and_encoded_fully() {
    let cases = [
        (Some("a.bin"), "a.bin", "a.bin"),
        (Some("a b;c,d.bin"), "a b;c,d.bin", "a%20b%3Bc%2Cd.bin"),
        (Some("a\"b.bin"), "a_b.bin", "a%22b.bin"),
        (Some("50%'(1)*.bin"), "50_'(1)*.bin", "50%25%27%281%29%2A.bin"),
        (Some("é.bin"), "_.bin", "%C3%A9.bin"),
        (Some("测试.bin"), "__.bin", "%E6%B5%8B%E8%AF%95.bin"),
        (Some("a\r\nSet-Cookie: b"), "aSet-Cookie: b", "aSet-Cookie%3A%20b"),
        (Some("../../etc/passwd"), "passwd", "passwd"),
        (Some("a\\b.bin"), "b.bin", "b.bin"),
        (Some("gpj.\u{202e}exe"), "gpj.exe", "gpj.exe"),
        (Some(" "), "final.bin", "final.bin"),
        (Some("a/"), "final.bin", "final.bin"),
        (None, "final.bin", "final.bin"),
    ];
    for (given, plain, encoded) in cases {
        let expected = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
        assert_eq!(head(given, None)["content-disposition"], expected, "{given:?}");
    }
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let headers = head(Some(&"é".repeat(300)), None);
    let disposition = headers["content-disposition"].to_str().unwrap();
    assert!(disposition.ends_with("%C3%A9"));
    assert_eq!(disposition.matches("%C3%A9").count(), 127);
}
