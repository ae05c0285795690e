//! The JSON of a merge.

use serde_json::{Value, json};

use super::*;
use crate::{protocol::BodyLength, upload::DigestForm};

const DIGEST: &str = "9ef38ec3efc683f76cb9ab53a326b239d1605af64ad786b41b98379000574c6b";
const BASE64: &str = "nvOOw+/Gg/dsuatToyayOdFgWvZK14a0G5g3kABXTGs=";

fn decode(json: &Value) -> Result<Merge, Problem> {
    Merge::decode(&serde_json::to_vec(json).unwrap())
}

/// The base body with one member given another value.
fn with(name: &str, value: Value) -> Result<Merge, Problem> {
    let mut body = json!({
        "hash": "0123456789abcdef", "filename": "a.bin", "total": 2, "size": 12, "digest": DIGEST,
    });
    body[name] = value;
    decode(&body)
}

#[test]
fn a_whole_merge_is_read() {
    let merge = with("unknown", json!({ "a": [1, 2] })).unwrap();
    assert_eq!(merge.name.hash.as_str(), "0123456789abcdef");
    assert_eq!(merge.name.filename.as_deref(), Some("a.bin"));
    assert_eq!(merge.total.map(crate::upload::ChunkCount::get), Some(2));
    assert_eq!(merge.size, Some(length(12)));
    assert_eq!(merge.digest, Sha256Digest::parse_hex(DIGEST).ok());
    assert_eq!((merge.form, merge.chunks), (None, None));
}

#[test]
fn only_the_hash_must_be_there() {
    let merge = decode(&json!({ "hash": ID, "total": null, "digest": null })).unwrap();
    assert_eq!((merge.total, merge.size, merge.digest), (None, None, None));
    assert_eq!(merge.name.as_id().unwrap().as_str(), ID);
    is_invalid(decode(&json!({})), Parameter::Hash, "missing");
}

#[test]
fn a_digest_has_several_spellings() {
    let expected = Sha256Digest::parse_hex(DIGEST).ok();
    let spellings =
        [DIGEST.to_uppercase(), BASE64.to_owned(), format!("{DIGEST}-2"), format!("{BASE64}-2")];
    for text in spellings {
        assert_eq!(with("digest", json!(text)).unwrap().digest, expected, "{text}");
    }
    let malformed = [
        format!("{DIGEST}-3"),
        format!("{DIGEST}-"),
        format!("{DIGEST}-02"),
        format!("{DIGEST}-2-2"),
        format!("-2{DIGEST}"),
        DIGEST[1..].to_owned(),
        DIGEST.replacen('9', "g", 1),
        String::new(),
    ];
    for text in malformed {
        is_invalid(with("digest", json!(text)), Parameter::Digest, &text);
    }
}

#[test]
fn a_form_is_raw_or_hex() {
    assert_eq!(with("digest_format", json!("raw")).unwrap().form, Some(DigestForm::Raw));
    assert_eq!(with("digest_format", json!("hex")).unwrap().form, Some(DigestForm::Hex));
    for form in ["", "RAW", "base64"] {
        is_invalid(with("digest_format", json!(form)), Parameter::DigestFormat, form);
    }
}

#[test]
fn a_list_of_chunks_has_one_digest_for_each() {
    let chunks = with("chunks", json!([DIGEST, DIGEST.to_uppercase()])).unwrap().chunks;
    assert_eq!(chunks.unwrap().len(), 2);
    for chunks in
        [json!([DIGEST]), json!([]), json!([DIGEST, "abc"]), json!([DIGEST, DIGEST, DIGEST])]
    {
        is_invalid(with("chunks", chunks.clone()), Parameter::Chunks, &chunks.to_string());
    }
}

#[test]
fn parameters_are_refused_by_their_names() {
    let refused = [
        ("hash", json!("0123abc"), Parameter::Hash),
        ("hash", json!("../.."), Parameter::Hash),
        ("filename", json!("a".repeat(256)), Parameter::Filename),
        ("total", json!(0), Parameter::Total),
        ("total", json!(10_001), Parameter::Total),
        ("total", json!(1_u64 << 63), Parameter::Total),
        ("size", json!(1_u64 << 63), Parameter::Size),
    ];
    for (member, value, name) in refused {
        is_invalid(with(member, value.clone()), name, &value.to_string());
    }
}

#[test]
fn what_is_no_such_object_is_malformed() {
    let fields = r#""hash":"0123456789abcdef""#;
    let bodies = [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        r#"["0123456789abcdef","a.bin",2,12]"#.to_owned(),
        format!("{{{fields}}} x"),
        format!("{{{fields},{fields}}}"),
        format!(r#"{{{fields},"total":"2"}}"#),
        format!(r#"{{{fields},"total":-1}}"#),
        format!(r#"{{{fields},"total":2.5}}"#),
        format!(r#"{{{fields},"total":1e2}}"#),
        format!(r#"{{{fields},"size":18446744073709551616}}"#),
        format!(r#"{{{fields},"digest":1}}"#),
        format!(r#"{{{fields},"chunks":"abc"}}"#),
        format!(r#"{{"hash":"{}}}"#, "x".repeat(100_000)),
        format!(r#"{{{fields},"x":{}"#, "[".repeat(100_000)),
    ];
    for body in bodies {
        match Merge::decode(body.as_bytes()) {
            Err(Problem::MalformedJson { why }) => assert!(why.len() < 100, "{why}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    assert!(matches!(Merge::decode(b"{\"hash\":\"\xff\"}"), Err(Problem::MalformedJson { .. })));
}

#[test]
fn a_merge_must_agree_with_its_upload() {
    let record = record(&[0, 1, 2]);
    let layout = record.layout();
    let fits = |body: Value| decode(&body).unwrap().fits(layout);
    let hash = "0123456789abcdef";
    assert_eq!(fits(json!({ "hash": hash })), Ok(()));
    assert_eq!(fits(json!({ "hash": hash, "total": 3, "size": 15 })), Ok(()));
    let mismatch = |field, stored, given| {
        Err(Problem::UploadMetadataMismatch { field, stored: Some(stored), given })
    };
    assert_eq!(fits(json!({ "hash": hash, "total": 2 })), mismatch(Parameter::Total, 3, 2));
    assert_eq!(fits(json!({ "hash": hash, "size": 14 })), mismatch(Parameter::Size, 15, 14));
    let counted = fits(json!({ "hash": hash, "digest": format!("{DIGEST}-2") }));
    is_invalid(counted, Parameter::Digest, "counted");
    is_invalid(fits(json!({ "hash": hash, "chunks": [DIGEST] })), Parameter::Chunks, "listed");
}

#[test]
fn the_head_is_looked_at_before_the_body() {
    let json = headers(&[("Content-Type", "application/json; charset=utf-8")]);
    for body in [BodyLength::Exactly(JSON_BYTES_MAX), BodyLength::Unknown, BodyLength::Empty] {
        assert_eq!(accepts_json(&json, body), Ok(()));
    }
    let too_large = accepts_json(&json, BodyLength::Exactly(1_000_000));
    assert_eq!(too_large, Err(Problem::BodyTooLarge { limit: JSON_BYTES_MAX }));
    let text = headers(&[("Content-Type", "text/plain")]);
    for headers in [HeaderMap::new(), text] {
        let refused = accepts_json(&headers, BodyLength::Exactly(2));
        assert!(matches!(refused, Err(Problem::UnsupportedMediaType { .. })));
    }
}

// spec: CHUNK-20
#[test]
fn the_digests_of_the_most_chunks_fit() {
    let digests = vec![DIGEST; 10_000];
    let body = json!({ "hash": "0123456789abcdef", "total": 10_000, "chunks": digests });
    let text = serde_json::to_vec_pretty(&body).unwrap();
    assert!(u64::try_from(text.len()).unwrap() <= JSON_BYTES_MAX);
    assert_eq!(Merge::decode(&text).unwrap().chunks.unwrap().len(), 10_000);
}
