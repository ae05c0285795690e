//! POST: a new upload, perhaps with its first bytes.

use http::{HeaderMap, request::Parts};

use super::{BODY_MEDIA_TYPE, Metadata, Rules, checksum};
use crate::{
    protocol::{
        BodyLength, Problem,
        headers::{self, NotDecimal, UPLOAD_CHECKSUM, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH},
    },
    upload::{ChecksumDemand, Length},
};

/// The head of a POST that begins an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Bytes of the file; none where they are told later.
    pub length: Option<Length>,
    /// What the client says of it.
    pub metadata: Metadata,
    /// What must be true of the body.
    pub checksum: ChecksumDemand,
    /// What the head says of the body.
    pub body: BodyLength,
    non_empty: Result<(), Problem>,
}

impl Creation {
    /// Reads the head.
    ///
    /// A body whose length is announced is judged here, before anything is made: 415 for another
    /// media type than [`BODY_MEDIA_TYPE`], 413 where it is longer than the file. One of unknown
    /// length may still turn out to be empty, which needs no media type; ask
    /// [`Creation::takes_bytes`] when its first byte has come.
    pub(super) fn decode(parts: &Parts, body: BodyLength, rules: &Rules) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let media_type = appends(headers);
        if matches!(body, BodyLength::Exactly(_)) {
            media_type.clone()?;
        }
        let metadata = Metadata::decode(headers)?;
        let length = new_length(headers, rules)?;
        let fits = fits(length, body, rules);
        if matches!(body, BodyLength::Exactly(_)) {
            fits.clone()?;
        }
        let checksum = match body {
            // Nothing came that it could be about (row TUS-PATCH-16).
            BodyLength::Empty => ChecksumDemand::Nothing,
            BodyLength::Exactly(_) | BodyLength::Unknown => checksum::demand(parts, body),
        };
        if let ChecksumDemand::Unusable(why) = checksum {
            return Err(Problem::MalformedHeader { name: UPLOAD_CHECKSUM, why: why.0 });
        }
        Ok(Self { length, metadata, checksum, body, non_empty: media_type.and(fits) })
    }

    /// Would bytes be taken? Ask before anything is made, once it is known that the body is not
    /// empty: 415, or 413 where the file is empty.
    pub fn takes_bytes(&self) -> Result<(), Problem> {
        self.non_empty.clone()
    }
}

/// May the body be appended? Case and parameters of the media type do not matter (row
/// TUS-PATCH-08).
pub(super) fn appends(headers: &HeaderMap) -> Result<(), Problem> {
    if headers::media_type(headers).as_deref() != Some(BODY_MEDIA_TYPE) {
        return Err(Problem::UnsupportedMediaType { accepted: BODY_MEDIA_TYPE });
    }
    headers::plain_coding(headers)
}

/// May a body come that is not empty?
fn fits(length: Option<Length>, body: BodyLength, rules: &Rules) -> Result<(), Problem> {
    let too_long = |length: Length| match body {
        BodyLength::Empty => false,
        BodyLength::Exactly(bytes) => bytes > length.get(),
        BodyLength::Unknown => length == Length::ZERO,
    };
    match (length, rules.max_size) {
        (Some(length), _) if too_long(length) => Err(Problem::LengthExceeded { length }),
        (None, Some(max)) if too_long(max) => Err(Problem::MaxSizeExceeded { max }),
        _ => Ok(()),
    }
}

/// The length of a new upload: `Upload-Length`, or none with `Upload-Defer-Length: 1` (tus
/// creation).
fn new_length(headers: &HeaderMap, rules: &Rules) -> Result<Option<Length>, Problem> {
    let malformed = |name, why| Problem::MalformedHeader { name, why };
    let length = upload_length(headers, rules)?;
    match (headers::single(headers, UPLOAD_DEFER_LENGTH)?, length) {
        (None, None) => Err(malformed(UPLOAD_LENGTH, "it is missing")),
        (Some("1"), Some(_)) => {
            Err(malformed(UPLOAD_DEFER_LENGTH, "it cannot come with Upload-Length"))
        }
        (Some("1"), None) => Ok(None),
        (Some(_), _) => Err(malformed(UPLOAD_DEFER_LENGTH, "its only value is 1")),
        (None, Some(length)) => match rules.max_size {
            Some(max) if length > max => Err(Problem::MaxSizeExceeded { max }),
            _ => Ok(Some(length)),
        },
    }
}

/// `Upload-Length`, if it is there. Where no number of ours can hold it, it is above any maximum:
/// 413 (row TUS-CREATE-09).
pub(super) fn upload_length(headers: &HeaderMap, rules: &Rules) -> Result<Option<Length>, Problem> {
    let malformed = |why| Problem::MalformedHeader { name: UPLOAD_LENGTH, why };
    let Some(text) = headers::single(headers, UPLOAD_LENGTH)? else { return Ok(None) };
    match (headers::decimal(text), rules.max_size) {
        (Ok(number), _) => match Length::new(number) {
            Ok(length) => Ok(Some(length)),
            Err(_) => Err(malformed(NotDecimal::TooLarge.why())),
        },
        (Err(NotDecimal::TooLarge), Some(max)) => Err(Problem::MaxSizeExceeded { max }),
        (Err(error), _) => Err(malformed(error.why())),
    }
}
