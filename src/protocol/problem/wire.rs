//! How each problem looks on the wire: one match per property, every arm spelled out.

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{Problem, Problem as P};
use crate::{
    protocol::{headers, tus},
    upload::{Dialect, Sha256Digest},
};

/// How many missing chunks a refused merge lists: all that the chunk flow can have.
const MISSING_LISTED_MAX: usize = 10_000;

impl Problem {
    /// The status; the same in every dialect.
    pub fn status(&self) -> StatusCode {
        match self {
            P::MalformedPath
            | P::MalformedHeader { .. }
            | P::MalformedMetadata { .. }
            | P::MalformedBody
            | P::InvalidParameter { .. }
            | P::MalformedMultipart { .. }
            | P::MalformedJson { .. }
            | P::DigestMismatch { .. }
            | P::BodyTooShort { .. } => StatusCode::BAD_REQUEST,
            P::NotFound | P::UnknownUpload => StatusCode::NOT_FOUND,
            P::FinalUpload | P::PartialUpload | P::PossessionNotProven => StatusCode::FORBIDDEN,
            P::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            P::OffsetMismatch { .. }
            | P::AmbiguousUpload
            | P::UploadMetadataMismatch { .. }
            | P::ChunksMissing { .. }
            | P::ChunkConflict
            | P::Merging => StatusCode::CONFLICT,
            P::Gone | P::OfferGone => StatusCode::GONE,
            P::LengthRequired => StatusCode::LENGTH_REQUIRED,
            P::UnsupportedVersion | P::PreconditionFailed { .. } => StatusCode::PRECONDITION_FAILED,
            P::MaxSizeExceeded { .. }
            | P::LengthExceeded { .. }
            | P::BodyTooLarge { .. }
            | P::ChunkTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            P::UriTooLong => StatusCode::URI_TOO_LONG,
            P::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            P::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            P::UnsupportedMediaType { .. } | P::UnsupportedEncoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            P::CompositeMismatch { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            P::ChecksumMismatch { .. } => checksum_mismatch(),
            P::Busy | P::TakenOver => StatusCode::LOCKED,
            P::Storage => StatusCode::INTERNAL_SERVER_ERROR,
            P::TooManyUploads => StatusCode::TOO_MANY_REQUESTS,
            P::Overloaded { .. } | P::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            P::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// The type: `urn:piton:problem:{slug}`. Stable: clients may tell problems apart by it.
    pub fn kind(&self) -> String {
        format!("urn:piton:problem:{}", self.slug())
    }

    pub(super) fn slug(&self) -> String {
        let slug = match self {
            P::NotFound => "not-found",
            P::MalformedPath => "malformed-path",
            P::UriTooLong => "uri-too-long",
            P::HeadTooLarge => "head-too-large",
            P::MethodNotAllowed { .. } => "method-not-allowed",
            P::UnsupportedVersion => "unsupported-version",
            P::UnknownUpload => "unknown-upload",
            P::Gone => "gone",
            P::UnsupportedMediaType { .. } => "unsupported-media-type",
            P::UnsupportedEncoding => "unsupported-encoding",
            P::MalformedHeader { .. } => "malformed-header",
            P::MalformedMetadata { .. } => "malformed-metadata",
            P::FinalUpload => "final-upload",
            P::PartialUpload => "partial-upload",
            P::OffsetMismatch { .. } => "offset-mismatch",
            P::MaxSizeExceeded { .. } => "max-size-exceeded",
            P::LengthExceeded { .. } => "length-exceeded",
            P::ChecksumMismatch { .. } => "checksum-mismatch",
            P::LengthRequired => "length-required",
            P::MalformedBody => "malformed-body",
            P::BodyTooLarge { .. } => "body-too-large",
            P::InvalidParameter { name, .. } => {
                return format!("invalid-{}", name.as_str().replace('_', "-"));
            }
            P::MalformedMultipart { .. } => "malformed-multipart",
            P::MalformedJson { .. } => "malformed-json",
            P::DigestMismatch { .. } => "digest-mismatch",
            P::AmbiguousUpload => "ambiguous-upload",
            P::UploadMetadataMismatch { .. } => "upload-metadata-mismatch",
            P::ChunkTooLong { .. } => "chunk-too-long",
            P::BodyTooShort { .. } => "body-too-short",
            P::PreconditionFailed { .. } => "precondition-failed",
            P::RangeNotSatisfiable { .. } => "range-not-satisfiable",
            P::ChunksMissing { .. } => "chunks-missing",
            P::CompositeMismatch { .. } => "composite-mismatch",
            P::ChunkConflict => "chunk-conflict",
            P::Merging => "merging",
            P::PossessionNotProven => "possession-not-proven",
            P::OfferGone => "offer-gone",
            P::Busy => "busy",
            P::TakenOver => "taken-over",
            P::TooManyUploads => "too-many-requests",
            P::Overloaded { .. } => "overloaded",
            P::ShuttingDown => "shutting-down",
            P::DiskFull => "disk-full",
            P::Storage => "storage",
        };
        slug.to_owned()
    }

    /// The same few words for every problem of this type.
    pub const fn title(&self) -> &'static str {
        match self {
            P::NotFound => "No such path",
            P::MalformedPath => "Malformed path",
            P::UriTooLong => "Query too long",
            P::HeadTooLarge => "Too many header fields",
            P::MethodNotAllowed { .. } => "Method not allowed",
            P::UnsupportedVersion => "Unsupported tus version",
            P::UnknownUpload => "Unknown upload",
            P::Gone => "Upload gone",
            P::UnsupportedMediaType { .. } => "Unsupported media type",
            P::UnsupportedEncoding => "Unsupported content coding",
            P::MalformedHeader { .. } => "Malformed header",
            P::MalformedMetadata { .. } => "Malformed metadata",
            P::FinalUpload => "Final upload",
            P::PartialUpload => "Partial upload",
            P::OffsetMismatch { .. } => "Offset mismatch",
            P::MaxSizeExceeded { .. } => "File too large",
            P::LengthExceeded { .. } => "Body longer than the file",
            P::ChecksumMismatch { .. } => "Checksum Mismatch",
            P::LengthRequired => "Content-Length required",
            P::MalformedBody => "Malformed body",
            P::BodyTooLarge { .. } => "Body too large",
            P::InvalidParameter { .. } => "Invalid parameter",
            P::MalformedMultipart { .. } => "Malformed multipart body",
            P::MalformedJson { .. } => "Malformed JSON",
            P::DigestMismatch { .. } => "Digest mismatch",
            P::AmbiguousUpload => "Ambiguous upload",
            P::UploadMetadataMismatch { .. } => "Upload metadata mismatch",
            P::ChunkTooLong { .. } => "Chunk too long",
            P::BodyTooShort { .. } => "Chunk too short",
            P::PreconditionFailed { .. } => "Precondition failed",
            P::RangeNotSatisfiable { .. } => "Range not satisfiable",
            P::ChunksMissing { .. } => "Chunks missing",
            P::CompositeMismatch { .. } => "Composite digest mismatch",
            P::ChunkConflict => "Upload already finished",
            P::Merging => "Merge in progress",
            P::PossessionNotProven => "Possession not proven",
            P::OfferGone => "Offer gone",
            P::Busy => "Upload busy",
            P::TakenOver => "Upload taken over",
            P::TooManyUploads => "Too many requests",
            P::Overloaded { .. } => "Server overloaded",
            P::ShuttingDown => "Server stopping",
            P::DiskFull => "Disk full",
            P::Storage => "Storage failure",
        }
    }

    /// The headers that this problem adds to those of every refusal.
    pub(super) fn headers(&self, dialect: Dialect) -> Vec<(HeaderName, HeaderValue)> {
        match self {
            P::MethodNotAllowed { allow } => vec![(header::ALLOW, headers::ascii(allow))],
            P::UnsupportedVersion => {
                vec![named(headers::TUS_VERSION, HeaderValue::from_static(tus::VERSION))]
            }
            P::OffsetMismatch { current } => {
                vec![named(headers::UPLOAD_OFFSET, headers::number(current.get()))]
            }
            P::MaxSizeExceeded { max } => match dialect {
                Dialect::Tus => vec![named(headers::TUS_MAX_SIZE, headers::number(max.get()))],
                Dialect::Chunks => Vec::new(),
            },
            P::UnsupportedEncoding => {
                vec![(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))]
            }
            P::PreconditionFailed { stored: Some(digest) } => {
                vec![(header::ETAG, headers::ascii(&format!("\"{digest}\"")))]
            }
            P::RangeNotSatisfiable { length } => {
                vec![(header::CONTENT_RANGE, headers::ascii(&format!("bytes */{length}")))]
            }
            P::Merging | P::Busy | P::TakenOver | P::ShuttingDown => {
                vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))]
            }
            P::TooManyUploads => vec![(header::RETRY_AFTER, HeaderValue::from_static("5"))],
            P::Overloaded { retry_after } => {
                vec![(header::RETRY_AFTER, headers::number(*retry_after))]
            }
            P::NotFound
            | P::MalformedPath
            | P::UriTooLong
            | P::HeadTooLarge
            | P::UnknownUpload
            | P::Gone
            | P::UnsupportedMediaType { .. }
            | P::MalformedHeader { .. }
            | P::MalformedMetadata { .. }
            | P::LengthExceeded { .. }
            | P::ChecksumMismatch { .. }
            | P::LengthRequired
            | P::MalformedBody
            | P::BodyTooLarge { .. }
            | P::InvalidParameter { .. }
            | P::MalformedMultipart { .. }
            | P::MalformedJson { .. }
            | P::DigestMismatch { .. }
            | P::AmbiguousUpload
            | P::UploadMetadataMismatch { .. }
            | P::ChunkTooLong { .. }
            | P::BodyTooShort { .. }
            | P::PreconditionFailed { stored: None }
            | P::ChunksMissing { .. }
            | P::CompositeMismatch { .. }
            | P::ChunkConflict
            | P::PossessionNotProven
            | P::OfferGone
            | P::FinalUpload
            | P::PartialUpload
            | P::DiskFull
            | P::Storage => Vec::new(),
        }
    }

    /// The extension members (RFC 9457 §3.2).
    pub(super) fn members(&self) -> Map<String, Value> {
        let members = match self {
            P::UnsupportedMediaType { accepted } => json!({ "accepted": accepted }),
            P::MalformedHeader { name, .. } => json!({ "header": name }),
            P::OffsetMismatch { current } => json!({ "upload_offset": current }),
            P::MaxSizeExceeded { max } => json!({ "max_size": max }),
            P::LengthExceeded { length } => json!({ "upload_length": length }),
            P::ChecksumMismatch { algorithm } => json!({ "algorithm": algorithm.name() }),
            P::BodyTooLarge { limit } => json!({ "limit": limit }),
            P::InvalidParameter { name, .. } => json!({ "parameter": name.as_str() }),
            P::DigestMismatch { algorithm, expected, actual, index } => json!({
                "algorithm": algorithm.as_str(),
                "expected": expected,
                "actual": actual,
                "index": index,
            }),
            P::UploadMetadataMismatch { field, stored, given } => {
                json!({ "field": field.as_str(), "stored": stored, "given": given })
            }
            P::ChunkTooLong { expected } => json!({ "expected": expected }),
            P::BodyTooShort { expected, actual } => {
                json!({ "expected": expected, "actual": actual })
            }
            P::RangeNotSatisfiable { length } => json!({ "size": length }),
            P::ChunksMissing { missing, total } => {
                let listed: Vec<u64> = missing.indexes().take(MISSING_LISTED_MAX).collect();
                json!({ "missing": listed, "total": total })
            }
            P::CompositeMismatch { expected, actual, bad_chunks } => json!({
                "expected": expected.as_ref().map(Sha256Digest::to_hex),
                "actual": actual.as_ref().map(Sha256Digest::to_hex),
                "bad_chunks": bad_chunks,
            }),
            P::NotFound
            | P::MalformedPath
            | P::UriTooLong
            | P::HeadTooLarge
            | P::MethodNotAllowed { .. }
            | P::UnsupportedVersion
            | P::UnknownUpload
            | P::Gone
            | P::UnsupportedEncoding
            | P::MalformedMetadata { .. }
            | P::LengthRequired
            | P::MalformedBody
            | P::MalformedMultipart { .. }
            | P::MalformedJson { .. }
            | P::AmbiguousUpload
            | P::PreconditionFailed { .. }
            | P::ChunkConflict
            | P::PossessionNotProven
            | P::OfferGone
            | P::FinalUpload
            | P::PartialUpload
            | P::Merging
            | P::Busy
            | P::TakenOver
            | P::TooManyUploads
            | P::Overloaded { .. }
            | P::ShuttingDown
            | P::DiskFull
            | P::Storage => Value::Null,
        };
        match members {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

/// Registered nowhere but in tus (checksum).
fn checksum_mismatch() -> StatusCode {
    StatusCode::from_u16(460).expect("three digits")
}

fn named(name: &str, value: HeaderValue) -> (HeaderName, HeaderValue) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("our own header names are tokens");
    (name, value)
}
