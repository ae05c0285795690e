//! The rows of the conformance table that a head alone decides.

mod answers;
mod checksum;
mod metadata;

use http::{Method, Request as HttpRequest, request::Parts};

use super::*;
use crate::{
    protocol::{BodyLength, Problem},
    upload::{ChecksumDemand, Length, Offset, UploadId},
};

const ID: &str = "0123456789abcdef0123456789abcdef";
const ON_ID: &str = "/files/0123456789abcdef0123456789abcdef";

/// A request that is right but for what a test adds.
struct Sent(http::request::Builder);

impl Sent {
    fn bare(method: &str, path: &str) -> Self {
        Self(HttpRequest::builder().method(method).uri(path))
    }

    fn new(method: &str, path: &str) -> Self {
        Self::bare(method, path).with("Tus-Resumable", "1.0.0")
    }

    fn patch() -> Self {
        Self::new("PATCH", ON_ID).with("Content-Type", BODY_MEDIA_TYPE)
    }

    fn with(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    fn parts(self) -> Parts {
        self.0.body(()).unwrap().into_parts().0
    }

    fn decode(self) -> Result<Request, Problem> {
        self.decode_under(&Rules::default())
    }

    fn decode_under(self, rules: &Rules) -> Result<Request, Problem> {
        let parts = self.parts();
        let body = BodyLength::of(&parts)?;
        decode(&parts, body, rules).expect("the path lies under the base")
    }

    fn creation(self) -> Creation {
        match self.decode() {
            Ok(Request::Create(creation)) => creation,
            other => panic!("{other:?}"),
        }
    }

    fn patch_head(self) -> Result<Patch, Problem> {
        match self.decode() {
            Ok(Request::Patch(_, head)) => head,
            other => panic!("{other:?}"),
        }
    }
}

fn id() -> UploadId {
    UploadId::parse(ID).unwrap()
}

fn status(result: Result<Request, Problem>) -> u16 {
    result.map_or_else(|problem| problem.status().as_u16(), |_| 200)
}

fn max(bytes: u64) -> Rules {
    Rules { max_size: Some(Length::new(bytes).unwrap()), ..Rules::default() }
}

#[test]
fn paths_outside_the_base_are_none_of_ours() {
    for path in ["/", "/filesx", "/upload", "/merge"] {
        let parts = Sent::new("POST", path).parts();
        assert_eq!(decode(&parts, BodyLength::Empty, &Rules::default()), None);
    }
}

#[test]
fn options_is_answered_on_every_path_and_with_any_version() {
    for path in ["/files", "/files/", ON_ID, "/files/nobody", "/files/..%2f"] {
        assert_eq!(Sent::bare("OPTIONS", path).decode(), Ok(Request::Options));
    }
    let other = Sent::bare("OPTIONS", "/files/").with("Tus-Resumable", "9.9.9");
    assert_eq!(other.decode(), Ok(Request::Options));
}

#[test]
fn the_version_comes_first() {
    for method in ["HEAD", "PATCH", "POST", "DELETE"] {
        for path in [ON_ID, "/files/", "/files/nobody"] {
            let refused = Err(Problem::UnsupportedVersion);
            assert_eq!(Sent::bare(method, path).decode(), refused);
            for version in ["0.2.2", "1.0", "1.0.1", "2.0.0", "1.0.0 x", "", "1.0.0, 1.0.0"] {
                let sent = Sent::bare(method, path).with("Tus-Resumable", version);
                assert_eq!(sent.decode(), refused, "{method} {path} {version}");
            }
            let twice = Sent::new(method, path).with("TUS-Resumable", "1.0.0");
            assert_eq!(twice.decode(), refused);
        }
    }
}

#[test]
fn get_is_no_tus_request() {
    assert_eq!(Sent::bare("GET", ON_ID).decode(), Ok(Request::Get(id())));
    let other = Sent::bare("GET", ON_ID).with("Tus-Resumable", "9.9.9");
    assert_eq!(other.decode(), Ok(Request::Get(id())));
}

#[test]
fn methods_that_a_path_does_not_know_are_named() {
    let allow = |result| match result {
        Err(Problem::MethodNotAllowed { allow }) => allow,
        other => panic!("{other:?}"),
    };
    for method in ["GET", "HEAD", "PATCH", "DELETE", "PUT"] {
        assert_eq!(allow(Sent::new(method, "/files/").decode()), "POST, OPTIONS");
    }
    for method in ["POST", "PUT", "FOO"] {
        let allowed = allow(Sent::new(method, ON_ID).decode());
        assert_eq!(allowed, "HEAD, PATCH, GET, DELETE, OPTIONS");
    }
    let rules = Rules { termination_disabled: true, download_disabled: true, ..Rules::default() };
    for method in ["GET", "DELETE"] {
        let allowed = allow(Sent::new(method, ON_ID).decode_under(&rules));
        assert_eq!(allowed, "HEAD, PATCH, OPTIONS");
    }
}

#[test]
fn an_id_is_never_a_path() {
    let unknown = [
        "..%2F..%2Fetc%2Fpasswd",
        "../x",
        "%2e%2e",
        "%252e%252e%252f",
        "a/b",
        "%5C..%5Cx",
        "0123456789abcdef0123456789abcdef.ledger",
        "0123456789abcdef0123456789abcdef/0.part",
        "0123456789abcdef0123456789abcdef%2F",
        "0123456789abcdef0123456789abcdef//",
        "0123456789ABCDEF0123456789ABCDEF",
        "%00",
        "a%00b",
        "%ff",
        "/",
    ];
    let long = "a".repeat(5_000);
    for rest in unknown.into_iter().chain([long.as_str()]) {
        for method in ["HEAD", "GET", "PATCH", "DELETE"] {
            let sent = Sent::new(method, &format!("/files/{rest}")).decode();
            assert_eq!(sent, Err(Problem::UnknownUpload), "{method} {rest}");
        }
    }
    for broken in ["%", "%2", "%zz", "a%"] {
        let sent = Sent::new("HEAD", &format!("/files/{broken}")).decode();
        assert_eq!(sent, Err(Problem::MalformedPath), "{broken}");
    }
}

#[test]
fn an_id_may_be_escaped_and_have_a_slash_behind_it() {
    let escaped = ON_ID.replace('c', "%63");
    for path in [ON_ID, &format!("{ON_ID}/"), &escaped, &format!("{ON_ID}?a=b")] {
        assert_eq!(Sent::new("HEAD", path).decode(), Ok(Request::Head(id())), "{path}");
    }
}

#[test]
fn post_takes_another_method_and_nothing_else_does() {
    let sent = |wire: &str, given: &str| {
        Sent::new(wire, ON_ID).with("X-HTTP-Method-Override", given).decode()
    };
    assert_eq!(sent("POST", "DELETE"), Ok(Request::Delete(id())));
    assert_eq!(sent("POST", "HEAD"), Ok(Request::Head(id())));
    assert_eq!(sent("POST", "OPTIONS"), Ok(Request::Options));
    assert!(matches!(sent("POST", "PATCH"), Ok(Request::Patch(..))));
    assert_eq!(sent("GET", "DELETE"), Ok(Request::Get(id())));
    assert_eq!(sent("HEAD", "PATCH"), Ok(Request::Head(id())));
    for (wire, given) in [("PUT", "PATCH"), ("POST", "patch"), ("POST", "FOO"), ("POST", "")] {
        assert_eq!(status(sent(wire, given)), 405, "{wire} {given}");
    }
    assert_eq!(status(sent("POST", "PATCH, DELETE")), 400);
    let twice = Sent::new("POST", ON_ID)
        .with("X-HTTP-Method-Override", "PATCH")
        .with("X-HTTP-Method-Override", "PATCH");
    assert_eq!(status(twice.decode()), 400);
}

#[test]
fn the_rules_of_the_effective_method_hold() {
    let bare = |given| Sent::bare("POST", ON_ID).with("X-HTTP-Method-Override", given).decode();
    assert_eq!(bare("HEAD"), Err(Problem::UnsupportedVersion));
    assert_eq!(bare("OPTIONS"), Ok(Request::Options));
    assert_eq!(bare("a, b"), Err(Problem::UnsupportedVersion));
    let on_base = Sent::new("POST", "/files/").with("X-HTTP-Method-Override", "PATCH");
    assert_eq!(status(on_base.decode()), 405);
    let empty = Sent::new("POST", "/files/").with("X-HTTP-Method-Override", "");
    assert_eq!(status(empty.with("Upload-Length", "11").decode()), 200);
}

#[test]
fn a_creation_needs_a_length() {
    let post = || Sent::new("POST", "/files/");
    let length = |text| post().with("upload-length", text).creation().length.unwrap();
    assert_eq!((length("11").get(), length("0")), (11, Length::ZERO));
    let largest = "9223372036854775807";
    assert_eq!(length(largest).to_string(), largest);
    assert_eq!(status(post().decode()), 400);
    let malformed = [
        "-5",
        "+5",
        "-0",
        "1.3",
        "abc",
        "0x10",
        "1e3",
        "1e+21",
        "5 6",
        "",
        "0100",
        "00",
        "5, 5",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
    ];
    for value in malformed {
        assert_eq!(status(post().with("Upload-Length", value).decode()), 400, "{value}");
    }
    let twice = post().with("Upload-Length", "5").with("Upload-Length", "5");
    assert_eq!(status(twice.decode()), 400);
}

#[test]
fn a_length_above_the_maximum_is_too_large_however_large() {
    let rules = max(100);
    let post = |length: &str| {
        Sent::new("POST", "/files/").with("Upload-Length", length).decode_under(&rules)
    };
    assert_eq!(status(post("100")), 200);
    let forty = "9".repeat(40);
    for length in ["101", "9223372036854775808", "18446744073709551616", &forty] {
        assert_eq!(status(post(length)), 413, "{length}");
    }
    assert_eq!(status(post("-5")), 400);
}

#[test]
fn a_creation_without_body_does_not_mind_what_libraries_add() {
    let creation = Sent::new("POST", "/files/?a=b")
        .with("Upload-Length", "11")
        .with("Content-Type", "text/plain")
        .with("Content-Length", "0")
        .with("Upload-Offset", "x")
        .with("X-Request-ID", "1")
        .creation();
    assert_eq!(creation.body, BodyLength::Empty);
}

#[test]
fn the_first_bytes_may_come_with_the_creation() {
    let post = |length: &str, body: &str| {
        let sent = Sent::new("POST", "/files/").with("Upload-Length", length);
        sent.with("Content-Length", body)
    };
    let typed = post("11", "5").with("Content-Type", BODY_MEDIA_TYPE).creation();
    assert_eq!((typed.body, typed.takes_bytes()), (BodyLength::Exactly(5), Ok(())));
    for media_type in ["text/plain", "application/octet-stream", ""] {
        let sent = post("11", "5").with("Content-Type", media_type);
        assert_eq!(status(sent.decode()), 415, "{media_type}");
    }
    assert_eq!(status(post("11", "5").decode()), 415);
    for (length, body) in [("11", "20"), ("0", "1")] {
        let sent = post(length, body).with("Content-Type", BODY_MEDIA_TYPE);
        assert!(matches!(sent.decode(), Err(Problem::LengthExceeded { .. })));
    }
}

#[test]
fn a_body_of_unknown_length_is_judged_when_its_first_byte_comes() {
    let post = |length: &str| {
        let sent = Sent::new("POST", "/files/").with("Upload-Length", length);
        sent.with("Transfer-Encoding", "chunked")
    };
    let untyped = post("11").creation();
    assert_eq!(untyped.body, BodyLength::Unknown);
    assert!(matches!(untyped.takes_bytes(), Err(Problem::UnsupportedMediaType { .. })));
    let typed = |length| post(length).with("Content-Type", BODY_MEDIA_TYPE).creation();
    assert_eq!(typed("11").takes_bytes(), Ok(()));
    assert!(matches!(typed("0").takes_bytes(), Err(Problem::LengthExceeded { .. })));
}

#[test]
fn a_patch_needs_its_media_type_and_offset() {
    let good = Sent::patch().with("Upload-Offset", "5").with("Content-Length", "6").patch_head();
    let offset = Offset::new(5).unwrap();
    let (checksum, body) = (ChecksumDemand::Nothing, BodyLength::Exactly(6));
    assert_eq!(good, Ok(Patch { offset, length: None, checksum, body }));
    let untyped = || Sent::new("PATCH", ON_ID).with("Upload-Offset", "5");
    let types = ["text/plain", "application/octet-stream", "application/partial-upload"];
    for media_type in types {
        let head = untyped().with("Content-Type", media_type).patch_head();
        assert!(matches!(head, Err(Problem::UnsupportedMediaType { .. })), "{media_type}");
    }
    let twice = Sent::patch().with("Content-Type", BODY_MEDIA_TYPE).with("Upload-Offset", "5");
    assert!(matches!(twice.patch_head(), Err(Problem::UnsupportedMediaType { .. })));
    assert!(matches!(untyped().patch_head(), Err(Problem::UnsupportedMediaType { .. })));
    for media_type in
        ["Application/Offset+Octet-Stream", "application/offset+octet-stream; charset=utf-8"]
    {
        assert!(untyped().with("Content-Type", media_type).patch_head().is_ok());
    }
}

#[test]
fn a_malformed_offset_is_400() {
    let malformed = [
        "-1",
        "+0",
        "00",
        "abc",
        "0x0",
        "0.0",
        "",
        "0, 0",
        "9223372036854775808",
        "18446744073709551616",
    ];
    let header = |head| matches!(head, Err(Problem::MalformedHeader { name: "Upload-Offset", .. }));
    for value in malformed {
        assert!(header(Sent::patch().with("Upload-Offset", value).patch_head()), "{value}");
    }
    assert!(header(Sent::patch().patch_head()));
    let twice = Sent::patch().with("Upload-Offset", "0").with("upload-offset", "0");
    assert!(header(twice.patch_head()));
}

#[test]
fn a_coded_body_is_refused_and_strays_are_not() {
    let patch = || Sent::patch().with("Upload-Offset", "0");
    let coded = patch().with("Content-Encoding", "gzip").patch_head();
    assert_eq!(coded, Err(Problem::UnsupportedEncoding));
    let strays = patch()
        .with("Content-Encoding", "identity")
        .with("Upload-Metadata", "!!!")
        .with("Upload-Concat", "x")
        .with("Upload-Defer-Length", "x");
    assert!(strays.patch_head().is_ok());
}

#[test]
fn the_head_of_a_patch_waits_until_the_upload_was_found() {
    let parts = Sent::new("PATCH", ON_ID).parts();
    assert_eq!(parts.method, Method::PATCH);
    let decoded = decode(&parts, BodyLength::Empty, &Rules::default());
    assert!(matches!(decoded, Some(Ok(Request::Patch(found, Err(_)))) if found == id()));
}
