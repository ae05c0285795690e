//! No file of a stranger runs as a page of ours, and no name of a stranger becomes a header.

mod conditions;
mod ranges;

use super::*;
use crate::upload::{ChunkSize, Dialect, FinalName, Layout, Length, Timestamp, UploadId};

const MODIFIED: &str = "Sat, 01 Aug 2026 12:00:00 GMT";
const ETAG: &str = "\"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\"";

/// A file of that many bytes, finished a little after [`MODIFIED`].
fn file(length: u64) -> (Manifest, Finished) {
    let length = Length::new(length).unwrap();
    let at = Timestamp::from_millis(1_785_585_600_123);
    let manifest = Manifest {
        id: UploadId::parse("0123456789abcdef0123456789abcdef").unwrap(),
        layout: Layout::by_size(ChunkSize::new(5).unwrap(), Some(length)),
        metadata: String::new(),
        filename: None,
        media_type: None,
        dialect: Dialect::Tus,
        key: None,
        concatenation: None,
        owner: String::new(),
        created_at: at,
        epoch: 0,
    };
    let name = FinalName::parse("final.bin").unwrap();
    let composite = Some(Sha256Digest::of(b"hello world"));
    (manifest, Finished { name, mark: None, length, composite, form: None, at })
}

/// The answer to a GET of that file with these headers.
fn ask(length: u64, asked: &[(&str, &str)]) -> Result<Response<Vec<Piece>>, Problem> {
    let (manifest, finished) = file(length);
    let mut headers = HeaderMap::new();
    for (name, value) in asked {
        let name: http::HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let download = Download { manifest: &manifest, finished: &finished, sha256: None };
    download.answer(&headers, &Boundary::new([0xab; 16]))
}

/// Its status.
fn status(asked: &[(&str, &str)]) -> u16 {
    let status = ask(11, asked).map_or_else(|problem| problem.status(), |a| a.status());
    status.as_u16()
}

fn head(filename: Option<&str>, media_type: Option<&str>) -> HeaderMap {
    let (mut manifest, finished) = file(11);
    manifest.filename = filename.map(ToOwned::to_owned);
    manifest.media_type = media_type.map(ToOwned::to_owned);
    let download = Download { manifest: &manifest, finished: &finished, sha256: None };
    let answer = download.answer(&HeaderMap::new(), &Boundary::new([0; 16])).unwrap();
    assert_eq!((answer.status(), answer.body()), (StatusCode::OK, &vec![Piece::File(0..11)]));
    answer.headers().clone()
}

// rows: TUS-GET-01
// spec: TUS-28
#[test]
fn the_etag_is_the_composite_or_the_upload_and_its_moment() {
    let (manifest, mut finished) = file(11);
    let etag = |finished: &Finished| {
        let download = Download { manifest: &manifest, finished, sha256: None };
        download.etag()
    };
    assert_eq!(etag(&finished), ETAG);
    finished.composite = None;
    assert_eq!(etag(&finished), "\"0123456789abcdef0123456789abcdef-1785585600123\"");
}

// spec: TUS-75
#[test]
fn the_digest_of_the_whole_is_told_where_it_is_known() {
    let (manifest, finished) = file(11);
    let told = |sha256, range: &'static str| {
        let download = Download { manifest: &manifest, finished: &finished, sha256 };
        let asked = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
        let answer = download.answer(&asked, &Boundary::new([0; 16])).unwrap();
        answer.headers().get("repr-digest").cloned()
    };
    let whole = Some(Sha256Digest::of(b"hello world"));
    for range in ["bytes=", "bytes=0-4", "bytes=0-1,3-4"] {
        let expected = "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:";
        assert_eq!(told(whole, range).unwrap(), expected, "{range}");
        assert_eq!(told(None, range), None);
    }
}

// rows: TUS-GET-01
// spec: TUS-28
#[test]
fn the_head_tells_length_time_and_not_to_guess() {
    let headers = head(None, None);
    assert_eq!(headers["content-length"], "11");
    assert_eq!(headers["last-modified"], MODIFIED);
    assert_eq!(headers["etag"], ETAG);
    assert_eq!(headers["accept-ranges"], "bytes");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["tus-resumable"], "1.0.0");
}

// rows: TUS-GET-05
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

// rows: TUS-GET-06
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

// rows: TUS-GET-06
#[test]
fn a_long_name_is_cut_between_characters() {
    let headers = head(Some(&"é".repeat(300)), None);
    let disposition = headers["content-disposition"].to_str().unwrap();
    assert!(disposition.ends_with("%C3%A9"));
    assert_eq!(disposition.matches("%C3%A9").count(), 127);
}
