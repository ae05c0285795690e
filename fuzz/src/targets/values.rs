//! Values with a grammar of their own: metadata, checksums, lists of parts, addresses.

use piton::{
    protocol::{
        BasePath, BodyLength, OriginPattern, PublicUrl,
        tus::{self, Metadata, Request, Rules},
    },
    upload::{ChecksumAlgorithm, Dialect, FinalName, PartId, UploadHash, UploadId},
};

use super::head::refusal;
use crate::input;

/// `Upload-Metadata`: kept byte for byte, or refused.
pub(crate) fn metadata(data: &[u8]) {
    let Some(headers) = input::header("upload-metadata", data) else { return };
    match Metadata::decode(&headers) {
        Err(problem) => refusal(&problem, Dialect::Tus),
        Ok(read) => {
            let blank = data.trim_ascii().is_empty();
            assert!(blank || read.verbatim.as_bytes() == data, "{read:?}");
            let again = input::header("upload-metadata", read.verbatim.as_bytes()).unwrap();
            assert_eq!(Metadata::decode(&again), Ok(read));
        }
    }
}

/// `Upload-Checksum`: what was understood says the same when it is written again.
pub(crate) fn checksum(data: &[u8]) {
    let Some(headers) = input::header("upload-checksum", data) else { return };
    let Ok(Some(sum)) = tus::checksum(&headers) else { return };
    let (name, _) = str::from_utf8(data).unwrap().split_once(' ').unwrap();
    assert_eq!(ChecksumAlgorithm::named(name).map(ChecksumAlgorithm::name), Some(name));
    assert!((4..=64).contains(&sum.value().len()));
    assert_eq!(tus::checksum(&headers), Ok(Some(sum)));
}

/// `Upload-Concat`: a list of ids, in the order they were named, or nothing.
pub(crate) fn concatenation(data: &[u8]) {
    let head = b"POST /files/\nTus-Resumable: 1.0.0\n\n";
    let (mut parts, _) = input::request(head).unwrap();
    let Some(list) = input::header("upload-concat", data) else { return };
    parts.headers.extend(list);
    let decode = |parts| tus::decode(parts, BodyLength::Empty, &Rules::default()).unwrap();
    match decode(&parts) {
        Err(problem) => refusal(&problem, Dialect::Tus),
        Ok(Request::Concatenate(made)) => {
            assert!(!made.parts.ids.is_empty());
            assert!(made.parts.ids.len() * 32 <= data.len(), "ids out of nowhere");
            assert_eq!(made.parts.header.as_bytes(), data, "kept as it was received");
            let ids: Vec<_> = made.parts.ids.iter().map(|id| format!("/files/{id}")).collect();
            let plain = format!("final;{}", ids.join(" "));
            let mut again = parts.clone();
            again.headers.insert("upload-concat", plain.parse().unwrap());
            let Ok(Request::Concatenate(same)) = decode(&again) else { panic!("{plain}") };
            assert_eq!(same.parts.ids, made.parts.ids);
        }
        Ok(other) => panic!("{other:?} without a length"),
    }
}

/// Ids, hashes, names of parts, base paths, public URLs, origins: parsed, printed, parsed.
pub(crate) fn addresses(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(id) = UploadId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert!(FinalName::parse(text).is_ok(), "an id is no path");
    }
    if let Ok(hash) = UploadHash::parse(text) {
        assert_eq!(UploadHash::parse(hash.as_str()), Ok(hash));
    }
    if let Some(part) = PartId::parse(text) {
        assert_eq!(part.to_string(), text);
    }
    if let Ok(base) = text.parse::<BasePath>() {
        assert!(base.as_str().starts_with('/') && base.as_str().ends_with('/'));
        assert!(!base.as_str().contains("//") && !base.as_str().contains("/../"));
        assert_eq!(base.as_str().parse::<BasePath>(), Ok(base.clone()));
        assert_eq!(base.strip(base.as_str()), Some(""));
    }
    if text.parse::<PublicUrl>().is_ok() {
        assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        assert!(text.starts_with("http://") || text.starts_with("https://"));
    }
    let _ = text.parse::<OriginPattern>();
}
