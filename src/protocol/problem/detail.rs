//! What a person reads: what happened and what to do. Clients show it as it is, so: short, plain,
//! no paths of ours.

use super::{Problem, Problem as P};

impl Problem {
    /// One or two sentences about this very refusal.
    pub fn detail(&self) -> String {
        match self {
            P::MethodNotAllowed { allow } => format!("This path answers to {allow}."),
            P::UnsupportedMediaType { accepted } => format!("Send the body as {accepted}."),
            P::MalformedHeader { name, why } => format!("The {name} header is malformed: {why}."),
            P::MalformedMetadata { why } => {
                format!("The Upload-Metadata header is malformed: {why}.")
            }
            P::OffsetMismatch { current } => {
                format!("The upload stands at byte {current}; continue from there.")
            }
            P::MaxSizeExceeded { max } => format!("Files of at most {max} bytes are taken."),
            P::LengthExceeded { length } => {
                format!("The file has {length} bytes, and the body reaches past its end.")
            }
            P::BodyTooLarge { limit } => format!("At most {limit} bytes are taken here."),
            P::InvalidParameter { name, why } => format!("The parameter {name} is invalid: {why}."),
            P::MalformedMultipart { why } => format!("The multipart body cannot be used: {why}."),
            P::MalformedJson { why } => format!("The JSON body cannot be used: {why}."),
            P::RangeNotSatisfiable { length } => {
                format!("The file has {length} bytes, and none of them are in that range.")
            }
            P::DigestMismatch { .. }
            | P::UploadMetadataMismatch { .. }
            | P::ChunkTooLong { .. }
            | P::BodyTooShort { .. }
            | P::ChunksMissing { .. } => self.chunk_detail(),
            P::NotFound
            | P::MalformedPath
            | P::UriTooLong
            | P::HeadTooLarge
            | P::UnsupportedVersion
            | P::UnknownUpload
            | P::Gone
            | P::UnsupportedEncoding
            | P::ChecksumMismatch { .. }
            | P::LengthRequired
            | P::MalformedBody
            | P::AmbiguousUpload
            | P::PreconditionFailed { .. }
            | P::CompositeMismatch { .. }
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
            | P::Storage => self.fixed_detail().to_owned(),
        }
    }

    /// The sentences of the chunk flow that need data; empty for the others.
    fn chunk_detail(&self) -> String {
        match self {
            P::DigestMismatch { algorithm, index, .. } => format!(
                "The {algorithm} digests of chunk {index} differ; nothing was stored. Resend it."
            ),
            P::UploadMetadataMismatch { field, stored: Some(stored), given } => {
                format!("The upload was begun with {field} {stored}, not {given}.")
            }
            P::UploadMetadataMismatch { field, stored: None, given } => {
                format!("The upload was begun without {field}; it cannot be {given} now.")
            }
            P::ChunkTooLong { expected } => {
                format!("This chunk has {expected} bytes; the body is longer.")
            }
            P::BodyTooShort { expected, actual } => {
                format!("This chunk has {expected} bytes, the body {actual}. Send the whole chunk.")
            }
            P::ChunksMissing { missing, total: Some(total) } => {
                let count = missing.count();
                format!("{count} of {total} chunks are missing; upload them, then merge.")
            }
            P::ChunksMissing { total: None, .. } => {
                "Chunks are missing, and the length of the file is not known yet.".to_owned()
            }
            _ => String::new(),
        }
    }

    /// The sentences that need no data; empty for the others.
    const fn fixed_detail(&self) -> &'static str {
        match self {
            P::NotFound => "Nothing is found under this path.",
            P::MalformedPath => "The path has a '%' that two hex digits do not follow.",
            P::UriTooLong => "The query is too long.",
            P::HeadTooLarge => "The request has too many header fields.",
            P::UnsupportedVersion => "Send the header Tus-Resumable: 1.0.0, once.",
            P::UnknownUpload => "There is no such upload. Begin a new one.",
            P::Gone => "The upload has expired or cannot be continued. Begin a new one.",
            P::UnsupportedEncoding => "Send the body without a content coding.",
            P::ChecksumMismatch { .. } => {
                "The body does not have its checksum. None of it was kept; send it again."
            }
            P::LengthRequired => "Send a Content-Length with the chunk.",
            P::MalformedBody => "The body's framing is broken. Go on from the upload's offset.",
            P::AmbiguousUpload => "Several uploads share this hash. Name the file too.",
            P::PreconditionFailed { .. } => "What is stored is not what you expect.",
            P::CompositeMismatch { .. } => {
                "The digest is not that of the stored chunks. All are kept; replace the bad ones."
            }
            P::ChunkConflict => "The file is finished and does not change any more.",
            P::FinalUpload => "This upload is made of others and takes no bytes of its own.",
            P::PartialUpload => "This upload is part of another one; concatenate it instead.",
            P::PossessionNotProven => "The proof is not that of the file. Send its chunks instead.",
            P::OfferGone => "The offer is not open any more. Send the chunks instead.",
            P::Merging => "The file is being put together. Ask again in a moment.",
            P::Busy => "Another request works on this upload. Try again in a moment.",
            P::TakenOver => "A newer request works on this upload. Go on from its offset.",
            P::TooManyUploads => "Too many chunks come from your address. Try again in a moment.",
            P::Overloaded { .. } => "The server has too much to do. Try again in a moment.",
            P::ShuttingDown => "The server is about to stop. Go on from the upload's offset soon.",
            P::DiskFull => "There is no room for more bytes. Go on from the upload's offset later.",
            P::Storage => "The storage failed. Ask for the upload's state, then try again.",
            P::MethodNotAllowed { .. }
            | P::UnsupportedMediaType { .. }
            | P::MalformedHeader { .. }
            | P::MalformedMetadata { .. }
            | P::OffsetMismatch { .. }
            | P::MaxSizeExceeded { .. }
            | P::LengthExceeded { .. }
            | P::BodyTooLarge { .. }
            | P::InvalidParameter { .. }
            | P::MalformedMultipart { .. }
            | P::MalformedJson { .. }
            | P::DigestMismatch { .. }
            | P::UploadMetadataMismatch { .. }
            | P::ChunkTooLong { .. }
            | P::BodyTooShort { .. }
            | P::RangeNotSatisfiable { .. }
            | P::ChunksMissing { .. } => "",
        }
    }
}
