//! What a tus client reads.

use http::HeaderMap;

use super::super::{
    Rules,
    answer::{Progress, Rest, appended, created, deleted, head, options, refused},
};
use super::{ID, id, max};
use crate::{
    protocol::{Answer, Links, Problem},
    upload::{Length, Offset, Timestamp},
};

const EXPIRES: &str = "Sat, 01 Aug 2026 12:00:00 GMT";

fn progress(offset: u64, expires: bool) -> Progress {
    let at = Timestamp::from_millis(1_785_585_600_999);
    Progress { offset: Offset::new(offset).unwrap(), expires_at: expires.then_some(at) }
}

/// Status, headers but for the two that every answer has, and no body.
fn shown(answer: &Answer) -> (u16, Vec<(String, String)>) {
    let headers: &HeaderMap = answer.headers();
    assert_eq!(headers.get_all("tus-resumable").iter().collect::<Vec<_>>(), ["1.0.0"]);
    assert_eq!(headers.get_all("cache-control").iter().collect::<Vec<_>>(), ["no-store"]);
    let mut rest: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| !["tus-resumable", "cache-control"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    rest.sort();
    (answer.status().as_u16(), rest)
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

// spec: TUS-1
#[test]
fn options_tell_what_works() {
    let all = "creation,creation-with-upload,creation-defer-length,expiration,checksum,\
               checksum-trailer,termination,concatenation,concatenation-unfinished";
    let expected = pairs(&[
        ("tus-checksum-algorithm", "sha256,sha1,sha512,md5,crc32,crc32c,blake3"),
        ("tus-extension", all),
        ("tus-version", "1.0.0"),
    ]);
    assert_eq!(shown(&options(&Rules::default())), (204, expected));
    let (_, limited) = shown(&options(&max(1000)));
    assert!(limited.contains(&("tus-max-size".to_owned(), "1000".to_owned())));
    let disabled = Rules { termination_disabled: true, ..Rules::default() };
    let (_, headers) = shown(&options(&disabled));
    assert!(headers.iter().all(|(_, value)| !value.contains("termination")));
}

#[test]
fn a_creation_tells_place_offset_and_expiry() {
    let link = Links::default().upload(&id());
    let location = format!("/files/{ID}");
    let unfinished =
        pairs(&[("location", &location), ("upload-expires", EXPIRES), ("upload-offset", "5")]);
    assert_eq!(shown(&created(&link, progress(5, true))), (201, unfinished));
    let finished = pairs(&[("location", &location), ("upload-offset", "11")]);
    assert_eq!(shown(&created(&link, progress(11, false))), (201, finished));
}

#[test]
fn a_head_tells_offset_length_and_metadata() {
    let length = Some(Length::new(11).unwrap());
    let metadata = "filename d29ybGQ=,is_confidential";
    let unfinished = pairs(&[
        ("upload-expires", EXPIRES),
        ("upload-length", "11"),
        ("upload-metadata", metadata),
        ("upload-offset", "5"),
    ]);
    assert_eq!(shown(&head(progress(5, true), length, metadata)), (200, unfinished));
    let finished = pairs(&[("upload-length", "11"), ("upload-offset", "11")]);
    assert_eq!(shown(&head(progress(11, false), length, "")), (200, finished));
    let open =
        pairs(&[("upload-defer-length", "1"), ("upload-expires", EXPIRES), ("upload-offset", "5")]);
    assert_eq!(shown(&head(progress(5, true), None, "no\nheader")), (200, open));
}

#[test]
fn a_patch_tells_the_offset_and_a_delete_nothing() {
    let unfinished = pairs(&[("upload-expires", EXPIRES), ("upload-offset", "5")]);
    assert_eq!(shown(&appended(progress(5, true))), (204, unfinished));
    assert_eq!(shown(&appended(progress(11, false))), (204, pairs(&[("upload-offset", "11")])));
    assert_eq!(shown(&deleted()), (204, pairs(&[])));
}

#[test]
fn a_refusal_still_tells_what_the_client_needs() {
    let rest = Rest {
        location: Some(Links::default().upload(&id())),
        offset: Some(Offset::new(11).unwrap()),
        expires_at: progress(0, true).expires_at,
    };
    let problem = Problem::LengthExceeded { length: Length::new(11).unwrap() };
    let (status, headers) = shown(&refused(&problem, &rest));
    assert_eq!(status, 413);
    for (name, value) in [
        ("location", format!("/files/{ID}")),
        ("upload-offset", "11".to_owned()),
        ("upload-expires", EXPIRES.to_owned()),
    ] {
        assert!(headers.contains(&(name.to_owned(), value)), "{name}");
    }
    let mismatch = Problem::OffsetMismatch { current: Offset::new(5).unwrap() };
    let answer = refused(&mismatch, &Rest::default());
    assert_eq!(answer.headers().get_all("upload-offset").iter().collect::<Vec<_>>(), ["5"]);
}
