//! One spelling for each number, one line for each header.

use http::Request;
use proptest::prelude::*;

use super::*;

fn parts(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

// spec: CORE-2
#[test]
fn a_number_has_one_spelling() {
    assert_eq!(decimal("0"), Ok(0));
    assert_eq!(decimal("11"), Ok(11));
    assert_eq!(decimal("9223372036854775807"), Ok(i64::MAX.unsigned_abs()));
    let malformed = [
        "", "-5", "+5", "-0", "+0", "1.3", "abc", "0x10", "1e3", "1e+21", "5 6", " 5", "5,5",
        "0100", "00", "５",
    ];
    for text in malformed {
        assert_eq!(decimal(text), Err(NotDecimal::Malformed), "{text:?}");
    }
    for text in
        ["9223372036854775808", "18446744073709551615", "18446744073709551616", &"9".repeat(40)]
    {
        assert_eq!(decimal(text), Err(NotDecimal::TooLarge), "{text}");
    }
}

proptest! {
    #[test]
    fn a_number_is_read_as_it_is_written(value in 0..=i64::MAX) {
        prop_assert_eq!(decimal(&value.to_string()), Ok(value.unsigned_abs()));
    }

    #[test]
    fn no_text_upsets_a_reader(text in any::<String>()) {
        let _ = decimal(&text);
        let _ = essence(&text);
    }
}

// spec: CORE-2
#[test]
fn a_single_valued_header_comes_once() {
    let once = parts(&[("upload-offset", "5")]).headers;
    assert_eq!(single(&once, UPLOAD_OFFSET), Ok(Some("5")));
    assert_eq!(single(&once, UPLOAD_LENGTH), Ok(None));
    let twice = parts(&[("Upload-Offset", "5"), ("upload-offset", "5")]).headers;
    assert!(matches!(single(&twice, UPLOAD_OFFSET), Err(Problem::MalformedHeader { .. })));
    let mut other = HeaderMap::new();
    other.insert(UPLOAD_OFFSET, HeaderValue::from_bytes("５".as_bytes()).unwrap());
    assert!(matches!(single(&other, UPLOAD_OFFSET), Err(Problem::MalformedHeader { .. })));
}

#[test]
fn the_head_tells_of_the_body() {
    let of = |headers: &[(&str, &str)]| BodyLength::of(&parts(headers));
    assert_eq!(of(&[]), Ok(BodyLength::Empty));
    assert_eq!(of(&[("Content-Length", "0")]), Ok(BodyLength::Empty));
    assert_eq!(of(&[("Content-Length", "5")]), Ok(BodyLength::Exactly(5)));
    assert_eq!(of(&[("Transfer-Encoding", "chunked")]), Ok(BodyLength::Unknown));
    for malformed in ["-1", "+5", "abc", "5, 6", "18446744073709551616"] {
        assert!(of(&[("Content-Length", malformed)]).is_err());
    }
    let mut http2 = parts(&[]);
    http2.version = Version::HTTP_2;
    assert_eq!(BodyLength::of(&http2), Ok(BodyLength::Unknown));
}

// spec: CORE-3
#[test]
fn a_media_type_is_read_without_case_and_parameters() {
    let good = [
        "application/offset+octet-stream",
        "Application/Offset+Octet-Stream",
        "application/offset+octet-stream; charset=utf-8",
        "application/offset+octet-stream ;a=\"b, c\"",
    ];
    for text in good {
        assert_eq!(essence(text).as_deref(), Some("application/offset+octet-stream"), "{text}");
    }
    for text in
        ["", "/", "text", "text/", "/plain", "a/b, c/d", "a/b/c", "text /plain", "a/b;\r\nc: d"]
    {
        assert_eq!(essence(text), None, "{text:?}");
    }
    assert_eq!(
        media_type(&parts(&[("Content-Type", "a/b"), ("Content-Type", "a/b")]).headers),
        None
    );
}

// spec: CORE-3
#[test]
fn only_the_identity_coding_is_taken() {
    let coded = |value: &str| plain_coding(&parts(&[("Content-Encoding", value)]).headers);
    assert_eq!(plain_coding(&HeaderMap::new()), Ok(()));
    assert_eq!(coded("identity"), Ok(()));
    assert_eq!(coded("Identity, identity"), Ok(()));
    for value in ["gzip", "br", "identity, gzip", "", "x"] {
        assert_eq!(coded(value), Err(Problem::UnsupportedEncoding), "{value}");
    }
}
