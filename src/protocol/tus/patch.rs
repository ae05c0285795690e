//! PATCH: more bytes.

use http::request::Parts;

use super::{
    Rules, checksum,
    creation::{appends, upload_length},
};
use crate::{
    protocol::{
        BodyLength, Problem,
        headers::{self, NotDecimal, UPLOAD_OFFSET},
    },
    upload::{ChecksumDemand, Length, Offset},
};

/// The head of a PATCH. Headers that belong elsewhere are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where the body's bytes begin.
    pub offset: Offset,
    /// Bytes of the file: of one that was begun without a length. Whether the file may be that
    /// large is judged after the offset.
    pub length: Option<Length>,
    /// What must be true of the body. Judged last.
    pub checksum: ChecksumDemand,
    /// What the head says of the body.
    pub body: BodyLength,
}

impl Patch {
    /// Reads the head: 415 for another media type or a content coding, then 400 for
    /// `Upload-Offset` and `Upload-Length`.
    pub(super) fn decode(parts: &Parts, body: BodyLength, rules: &Rules) -> Result<Self, Problem> {
        let headers = &parts.headers;
        appends(headers)?;
        let malformed = |why| Problem::MalformedHeader { name: UPLOAD_OFFSET, why };
        let Some(text) = headers::single(headers, UPLOAD_OFFSET)? else {
            return Err(malformed("it is missing"));
        };
        let number = headers::decimal(text).map_err(|error| malformed(error.why()))?;
        let offset = Offset::new(number).map_err(|_| malformed(NotDecimal::TooLarge.why()))?;
        let length = upload_length(headers, rules)?;
        Ok(Self { offset, length, checksum: checksum::demand(parts, body), body })
    }
}
