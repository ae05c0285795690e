//! POST: a new upload, perhaps with its first bytes.

use http::HeaderMap;

use super::{BODY_MEDIA_TYPE, Metadata, Rules};
use crate::{
    protocol::{
        BodyLength, Problem,
        headers::{self, NotDecimal, UPLOAD_LENGTH},
    },
    upload::Length,
};

/// The head of a POST that begins an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Bytes of the file.
    pub length: Length,
    /// What the client says of it.
    pub metadata: Metadata,
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
    pub(super) fn decode(
        headers: &HeaderMap,
        body: BodyLength,
        rules: &Rules,
    ) -> Result<Self, Problem> {
        let media_type = appends(headers);
        if matches!(body, BodyLength::Exactly(_)) {
            media_type.clone()?;
        }
        for header in [headers::UPLOAD_DEFER_LENGTH] {
            if headers.contains_key(header) {
                return Err(Problem::ExtensionNotOffered { header });
            }
        }
        let metadata = Metadata::decode(headers)?;
        let length = upload_length(headers, rules)?;
        let too_long = match body {
            BodyLength::Empty => false,
            BodyLength::Exactly(bytes) => bytes > length.get(),
            BodyLength::Unknown => length == Length::ZERO,
        };
        let fits = if too_long { Err(Problem::LengthExceeded { length }) } else { Ok(()) };
        if matches!(body, BodyLength::Exactly(_)) {
            fits.clone()?;
        }
        Ok(Self { length, metadata, body, non_empty: media_type.and(fits) })
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

/// `Upload-Length`: 413 above the maximum, also where no number of ours can hold it (row
/// TUS-CREATE-09).
fn upload_length(headers: &HeaderMap, rules: &Rules) -> Result<Length, Problem> {
    let malformed = |why| Problem::MalformedHeader { name: UPLOAD_LENGTH, why };
    let Some(text) = headers::single(headers, UPLOAD_LENGTH)? else {
        return Err(malformed("it is missing"));
    };
    let length = match (headers::decimal(text), rules.max_size) {
        (Ok(number), _) => {
            Length::new(number).map_err(|_| malformed(NotDecimal::TooLarge.why()))?
        }
        (Err(NotDecimal::TooLarge), Some(max)) => return Err(Problem::MaxSizeExceeded { max }),
        (Err(error), _) => return Err(malformed(error.why())),
    };
    match rules.max_size {
        Some(max) if length > max => Err(Problem::MaxSizeExceeded { max }),
        _ => Ok(length),
    }
}
