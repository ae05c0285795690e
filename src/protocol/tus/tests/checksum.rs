//! Lengths that come later, and checksums.

use http::Version;

use super::*;
use crate::upload::{Checksum, ChecksumAlgorithm, ChecksumDemand};

const SHA1: &str = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";

fn hello(algorithm: ChecksumAlgorithm) -> ChecksumDemand {
    ChecksumDemand::Checksum(Checksum::of(algorithm, b"hello world"))
}

fn demand(sent: Sent) -> ChecksumDemand {
    sent.with("Upload-Offset", "0").patch_head().unwrap().checksum
}

fn is_unusable(demand: &ChecksumDemand) -> bool {
    matches!(demand, ChecksumDemand::Unusable(_))
}

// rows: TUS-DEFER-01, TUS-DEFER-02
// spec: TUS-50
#[test]
fn a_length_may_come_later() {
    let post = || Sent::new("POST", "/files/");
    assert_eq!(post().with("Upload-Defer-Length", "1").creation().length, None);
    for value in ["0", "2", "true", "01", "1, 1", ""] {
        let sent = post().with("Upload-Defer-Length", value);
        assert_eq!(status(sent.decode()), 400, "{value}");
    }
    let both = post().with("Upload-Length", "11").with("Upload-Defer-Length", "1");
    assert_eq!(status(both.decode()), 400);
    let twice = post().with("Upload-Defer-Length", "1").with("Upload-Defer-Length", "1");
    assert_eq!(status(twice.decode()), 400);
    let body = |bytes: &str| {
        let typed = post().with("Content-Type", BODY_MEDIA_TYPE).with("Content-Length", bytes);
        status(typed.with("Upload-Defer-Length", "1").decode_under(&max(100)))
    };
    assert_eq!((body("100"), body("101")), (200, 413));
}

#[test]
fn a_patch_may_tell_the_length() {
    let patch = |length: &str| {
        let sent = Sent::patch().with("Upload-Offset", "0").with("Upload-Length", length);
        sent.patch_head().map(|head| head.length)
    };
    assert_eq!(patch("11"), Ok(Some(Length::new(11).unwrap())));
    for malformed in ["-1", "011", "abc", "", "5, 5"] {
        assert!(matches!(patch(malformed), Err(Problem::MalformedHeader { .. })), "{malformed}");
    }
}

// rows: TUS-CHK-03, TUS-CHK-04
#[test]
fn a_checksum_has_one_spelling() {
    let sum = |value: &str| demand(Sent::patch().with("Upload-Checksum", value));
    assert_eq!(sum(SHA1), hello(ChecksumAlgorithm::Sha1));
    assert_eq!(sum("crc32 DUoRhQ=="), hello(ChecksumAlgorithm::Crc32));
    for wrong in [
        "",
        " ",
        "sha1",
        "sha1 ",
        "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha-1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha3 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
        "sha1 Kq5sNclPz7QV2-lfQIuc6R7oRu0=",
        "sha1 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed",
        "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "crc32 MjIyOTU3OTU3",
        "md5 XrY7u+Ae7tCTyyK7j1rNww==, md5 XrY7u+Ae7tCTyyK7j1rNww==",
    ] {
        assert!(is_unusable(&sum(wrong)), "{wrong}");
    }
    let twice = Sent::patch().with("Upload-Checksum", SHA1).with("Upload-Checksum", SHA1);
    assert!(is_unusable(&demand(twice)));
    let post = Sent::new("POST", "/files/").with("Upload-Length", "11");
    let post = post.with("Upload-Checksum", "sha1 x");
    assert_eq!(post.with("Content-Length", "0").creation().checksum, ChecksumDemand::Nothing);
    let post = Sent::new("POST", "/files/").with("Upload-Length", "11");
    let post = post.with("Content-Length", "5").with("Content-Type", BODY_MEDIA_TYPE);
    assert_eq!(status(post.with("Upload-Checksum", "sha1 x").decode()), 400);
}

// rows: TUS-TRL-02, TUS-TRL-05
#[test]
fn a_trailer_is_announced_where_there_can_be_one() {
    let chunked = || Sent::patch().with("Transfer-Encoding", "chunked");
    for name in ["Upload-Checksum", "upload-checksum", "X-Other,\tUPLOAD-CHECKSUM , y"] {
        assert_eq!(demand(chunked().with("Trailer", name)), ChecksumDemand::Trailer, "{name}");
    }
    let listed = chunked().with("Trailer", "X-Other").with("Trailer", "Upload-Checksum");
    assert_eq!(demand(listed), ChecksumDemand::Trailer);
    for other in ["X-Upload-Checksum", "Upload-Checksums", ""] {
        assert_eq!(demand(chunked().with("Trailer", other)), ChecksumDemand::Nothing);
    }
    let both = chunked().with("Trailer", "Upload-Checksum").with("Upload-Checksum", SHA1);
    assert!(is_unusable(&demand(both)));
    for length in ["0", "11"] {
        let sent = Sent::patch().with("Trailer", "Upload-Checksum").with("Content-Length", length);
        assert!(is_unusable(&demand(sent)));
    }
    let old = |version| {
        let Sent(request) = chunked().with("Trailer", "Upload-Checksum").with("Upload-Offset", "0");
        demand_of(Sent(request.version(version)))
    };
    assert!(is_unusable(&old(Version::HTTP_10)));
    assert_eq!(old(Version::HTTP_2), ChecksumDemand::Trailer);
}

fn demand_of(sent: Sent) -> ChecksumDemand {
    sent.patch_head().unwrap().checksum
}
