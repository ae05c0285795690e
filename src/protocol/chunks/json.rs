//! JSON bodies of this dialect, as merge and init have them.

use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::{
    JSON_BYTES_MAX,
    params::{check_total, invalid},
};
use crate::{
    protocol::{
        BodyLength, Parameter, Problem,
        headers::{media_type, plain_coding},
    },
    upload::{ChunkCount, Length, Sha256Digest},
};

/// Looks at the head before the body is collected: 415 for another media type than
/// `application/json`, 413 where more than [`JSON_BYTES_MAX`] bytes are announced.
pub fn accepts_json(headers: &HeaderMap, body: BodyLength) -> Result<(), Problem> {
    plain_coding(headers)?;
    if media_type(headers).as_deref() != Some("application/json") {
        return Err(Problem::UnsupportedMediaType { accepted: "application/json" });
    }
    match body {
        BodyLength::Exactly(length) if length > JSON_BYTES_MAX => {
            Err(Problem::BodyTooLarge { limit: JSON_BYTES_MAX })
        }
        BodyLength::Exactly(_) | BodyLength::Empty | BodyLength::Unknown => Ok(()),
    }
}

/// Reads an object. Unknown members are ignored, `null` is absence, numbers are numbers.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would read an array as a struct, member by member.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::MalformedJson { why: "it must be an object".to_owned() });
    }
    serde_json::from_slice(body).map_err(|error| Problem::MalformedJson { why: fault(&error) })
}

/// What is wrong and where, without the client's own text, which may be long.
fn fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "a member has the wrong type or comes twice",
        Category::Syntax | Category::Io => "it is no JSON",
        Category::Eof => "it ends too early",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

pub(super) fn count(number: u64) -> Result<ChunkCount, Problem> {
    let count = ChunkCount::new(number);
    count.map_err(|_| invalid(Parameter::Total, "the number is out of range")).and_then(check_total)
}

pub(super) fn size(number: u64) -> Result<Length, Problem> {
    Length::new(number).map_err(|_| invalid(Parameter::Size, "the number is above 2^63-1"))
}

pub(super) fn chunk_digests(texts: &[String]) -> Result<Vec<Sha256Digest>, Problem> {
    let digests: Result<Vec<_>, _> =
        texts.iter().map(|text| Sha256Digest::parse_hex(text)).collect();
    digests.map_err(|_| invalid(Parameter::Chunks, "each digest is 64 hex digits"))
}

/// Does the list have a digest for each of so many chunks?
pub(super) fn counts(chunks: Option<&[Sha256Digest]>, total: ChunkCount) -> Result<(), Problem> {
    match chunks.map(|chunks| u64::try_from(chunks.len())) {
        Some(listed) if listed != Ok(total.get()) => {
            Err(invalid(Parameter::Chunks, "it must list one digest for each chunk"))
        }
        _ => Ok(()),
    }
}
