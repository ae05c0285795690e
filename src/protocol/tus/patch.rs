//! PATCH: more bytes.

use http::HeaderMap;

use super::creation::appends;
use crate::{
    protocol::{
        BodyLength, Problem,
        headers::{self, NotDecimal, UPLOAD_OFFSET},
    },
    upload::Offset,
};

/// The head of a PATCH. Headers that belong elsewhere are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    /// Where the body's bytes begin.
    pub offset: Offset,
    /// What the head says of the body.
    pub body: BodyLength,
}

impl Patch {
    /// Reads the head: 415 for another media type or a content coding, then 400 for
    /// `Upload-Offset`.
    pub(super) fn decode(headers: &HeaderMap, body: BodyLength) -> Result<Self, Problem> {
        appends(headers)?;
        let malformed = |why| Problem::MalformedHeader { name: UPLOAD_OFFSET, why };
        let Some(text) = headers::single(headers, UPLOAD_OFFSET)? else {
            return Err(malformed("it is missing"));
        };
        let number = headers::decimal(text).map_err(|error| malformed(error.why()))?;
        let offset = Offset::new(number).map_err(|_| malformed(NotDecimal::TooLarge.why()))?;
        Ok(Self { offset, body })
    }
}
