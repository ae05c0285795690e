//! Digests and preconditions of a chunk.

use super::*;
use crate::{protocol::DigestAlgorithm, upload::SealedChunk};

const QUERY: &str = "hash=0123456789abcdef&index=1";
const SHA256_BASE64: &str = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";
const SHA256_HEX: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
const MD5_HEX: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";

fn digests(query: &str, with: &[(&'static str, &str)]) -> Result<ChunkDigests, Problem> {
    chunk(&format!("{QUERY}{query}"), with).map(|chunk| chunk.digests)
}

#[test]
fn a_sha256_is_read_in_each_of_its_places() {
    let expected = Sha256Digest::of(b"hello world");
    let field = format!("sha-256=:{SHA256_BASE64}:");
    let mixed = format!("md5=:AA==:;a=b, sha-256=:{SHA256_BASE64}:");
    let upper = SHA256_HEX.to_uppercase();
    let found = [
        digests("", &[("Content-Digest", &field)]),
        digests("", &[("Content-Digest", &mixed)]),
        digests("", &[("Content-Digest", "unknown=:AA==:"), ("content-digest", &field)]),
        digests(&format!("&sha256={SHA256_HEX}"), &[]),
        digests(&format!("&sha256={upper}"), &[]),
        digests("", &[("sha256", SHA256_HEX)]),
        digests("", &[("X-Chunk-SHA256", &upper)]),
        digests(
            &format!("&sha256={upper}"),
            &[("X-Chunk-SHA256", SHA256_HEX), ("Content-Digest", &field)],
        ),
    ];
    for digests in found {
        assert_eq!(digests, Ok(ChunkDigests { sha256: Some(expected), md5: None }));
    }
}

#[test]
fn an_md5_is_base64_or_hex() {
    let base64 = digests("", &[("Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww==")]).unwrap();
    assert!(base64.md5.is_some() && base64.sha256.is_none());
    for hex in [MD5_HEX.to_owned(), MD5_HEX.to_uppercase()] {
        assert_eq!(digests("", &[("Content-MD5", &hex)]), Ok(base64));
    }
}

#[test]
fn malformed_digests_are_refused() {
    let malformed = [
        ("Content-Digest", "sha-256=abc"),
        ("Content-Digest", "sha-256=:AA==:"),
        ("Content-Digest", "sha-256=:!!:"),
        ("Content-Digest", "sha-256=(:AA==:)"),
        ("Content-Digest", "SHA-256=:AA==:"),
        ("Content-Digest", "sha-256=:AA=="),
        ("Content-Digest", SHA256_HEX),
        ("sha256", "abc"),
        ("sha256", SHA256_BASE64),
        ("sha256", ""),
        ("X-Chunk-SHA256", &SHA256_HEX[1..]),
        ("Content-MD5", ""),
        ("Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww"),
        ("Content-MD5", SHA256_BASE64),
        ("Content-MD5", &MD5_HEX[1..]),
    ];
    for (name, value) in malformed {
        match digests("", &[(name, value)]) {
            Err(Problem::MalformedHeader { name: named, .. }) => assert_eq!(named, name),
            other => panic!("{name}: {value}: {other:?}"),
        }
    }
    let twice = digests("", &[("sha256", SHA256_HEX), ("sha256", SHA256_HEX)]);
    assert!(matches!(twice, Err(Problem::MalformedHeader { .. })));
}

#[test]
fn unknown_algorithms_are_passed_over() {
    for value in ["", "sha-512=:AA==:", "crc32c=:AAAAAA==:, unixsum=:AQ==:"] {
        assert_eq!(
            digests("", &[("Content-Digest", value)]),
            Ok(ChunkDigests::default()),
            "{value}"
        );
    }
}

// spec: CHUNK-14
#[test]
fn two_digests_that_differ_are_a_mismatch_before_any_byte() {
    let other = Sha256Digest::of(b"other").to_hex();
    let expected = Problem::DigestMismatch {
        algorithm: DigestAlgorithm::Sha256,
        expected: SHA256_HEX.to_owned(),
        actual: other.clone(),
        index: index(1),
    };
    let query = format!("&sha256={SHA256_HEX}");
    for name in ["sha256", "X-Chunk-SHA256"] {
        assert_eq!(digests(&query, &[(name, &other)]), Err(expected.clone()));
    }
}

fn condition(with: &[(&'static str, &str)]) -> Result<Condition, Problem> {
    chunk(QUERY, with).map(|chunk| chunk.condition)
}

// spec: CHUNK-15
#[test]
fn a_precondition_is_held_against_the_stored_chunk() {
    let record = record(&[0]);
    let stored = record.chunks().get(index(0)).copied().unwrap();
    let undigested = SealedChunk { digest: None, ..stored };
    let own = format!("\"{}\"", stored.digest.unwrap());
    let weak = format!("W/{own}");
    let list = format!("\"a\", {own}");
    // What was asked, of a stored chunk, of one without digest, of none.
    let cases = [
        ("If-None-Match", "*", false, false, true),
        ("If-None-Match", own.as_str(), false, true, true),
        ("If-None-Match", "\"other\"", true, true, true),
        ("If-Match", "*", true, true, false),
        ("If-Match", own.as_str(), true, false, false),
        ("If-Match", list.as_str(), true, false, false),
        ("If-Match", weak.as_str(), false, false, false),
        ("If-Match", "\"other\"", false, false, false),
    ];
    for (name, value, on_stored, on_undigested, on_nothing) in cases {
        let condition = condition(&[(name, value)]).unwrap();
        assert_eq!(condition.check(Some(&stored)).is_ok(), on_stored, "{name}: {value}");
        assert_eq!(condition.check(Some(&undigested)).is_ok(), on_undigested, "{name}: {value}");
        assert_eq!(condition.check(None).is_ok(), on_nothing, "{name}: {value}");
    }
    assert_eq!(Condition::default().check(None), Ok(()));
    let failed = condition(&[("If-None-Match", "*")]).unwrap().check(Some(&stored));
    assert_eq!(failed, Err(Problem::PreconditionFailed { stored: stored.digest }));
}

#[test]
fn a_malformed_precondition_is_refused() {
    for value in ["abc", "\"abc", "abc\"", "\"a\"b\"", "*, \"a\"", "w/\"a\"", "\""] {
        let refused = condition(&[("If-Match", value)]);
        assert!(
            matches!(refused, Err(Problem::MalformedHeader { name: "If-Match", .. })),
            "{value}"
        );
    }
}
