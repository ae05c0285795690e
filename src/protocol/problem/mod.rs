//! The one error matrix: every refusal of every dialect, and how it looks on the wire (RFC 9457).
//!
//! A [`Problem`] names a fact and carries its data. Status, type, title, headers and members are
//! each one match with every arm spelled out (`wire`), the sentence for people is another
//! (`detail`), so that a new problem does not compile until somebody has decided all of them.

mod detail;
mod matrix;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use http::{HeaderValue, Response, header};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Answer, chunks::IndexRuns, headers::TUS_RESUMABLE};
use crate::upload::{
    ChecksumAlgorithm, ChunkCount, ChunkIndex, Dialect, Length, Offset, Sha256Digest,
};

pub use matrix::{all_examples, matrix};

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No path of ours.
    NotFound,
    /// A path with a broken percent-encoding.
    MalformedPath,
    /// A query above [`QUERY_BYTES_MAX`](super::chunks::QUERY_BYTES_MAX).
    UriTooLong,
    /// More header fields than are taken.
    HeadTooLarge,
    /// A path of ours that does not know the method.
    MethodNotAllowed {
        /// The `Allow` header: methods, comma-separated.
        allow: String,
    },
    /// `Tus-Resumable` is missing or names another version (tus core, Tus-Resumable).
    UnsupportedVersion,
    /// No such upload, or it was deleted.
    UnknownUpload,
    /// The upload has expired or cannot be used any more.
    Gone,
    /// The body has no media type that is taken here.
    UnsupportedMediaType {
        /// What is taken.
        accepted: &'static str,
    },
    /// The body is coded, with gzip for example.
    UnsupportedEncoding,
    /// A header is missing, comes twice or has a value that is none.
    MalformedHeader {
        /// Which one.
        name: &'static str,
        /// What is wrong with it: a clause whose subject is the header.
        why: &'static str,
    },
    /// `Upload-Metadata` does not follow its grammar.
    MalformedMetadata {
        /// What is wrong: a sentence.
        why: &'static str,
    },
    /// Bytes for an upload that is made of others.
    FinalUpload,
    /// A file is asked of an upload that is only part of one.
    PartialUpload,
    /// `Upload-Offset` is not the upload's offset.
    OffsetMismatch {
        /// The upload's offset.
        current: Offset,
    },
    /// The file would be larger than this server takes.
    MaxSizeExceeded {
        /// The largest file, in bytes.
        max: Length,
    },
    /// The body reaches past the end of the file.
    LengthExceeded {
        /// Bytes of the file.
        length: Length,
    },
    /// The body does not have the checksum that came with it (tus checksum).
    ChecksumMismatch {
        /// How that is taken.
        algorithm: ChecksumAlgorithm,
    },
    /// A body without `Content-Length` where one is needed.
    LengthRequired,
    /// The body's framing is broken.
    MalformedBody,
    /// A body or a form field that is collected whole is too large.
    BodyTooLarge {
        /// How many bytes are taken.
        limit: u64,
    },
    /// A parameter of the chunk flow is missing, comes twice or has a value that is none.
    InvalidParameter {
        /// Which one.
        name: Parameter,
        /// What is wrong with it: a clause whose subject is the parameter.
        why: &'static str,
    },
    /// A multipart body that cannot be read or lacks its one file.
    MalformedMultipart {
        /// What is wrong: a sentence.
        why: &'static str,
    },
    /// A JSON body that cannot be read.
    MalformedJson {
        /// What is wrong, and where.
        why: String,
    },
    /// The chunk's bytes do not have the digest that the client gave, or it gave two.
    DigestMismatch {
        /// Of which kind.
        algorithm: DigestAlgorithm,
        /// What the client gave, in hex.
        expected: String,
        /// What was found, in hex.
        actual: String,
        /// Which chunk.
        index: ChunkIndex,
    },
    /// Several uploads share the hash, and no filename was given.
    AmbiguousUpload,
    /// The upload was begun with another total, size or chunk size.
    UploadMetadataMismatch {
        /// What differs.
        field: Parameter,
        /// What the upload has; `None` where it is not known yet.
        stored: Option<u64>,
        /// What this request says.
        given: u64,
    },
    /// The chunk's body is longer than its place in the file.
    ChunkTooLong {
        /// Bytes of that place.
        expected: u64,
    },
    /// The chunk's body is shorter than its place in the file.
    BodyTooShort {
        /// Bytes of that place.
        expected: u64,
        /// Bytes of the body.
        actual: u64,
    },
    /// A condition of the request (`If-Match` and its like) does not hold.
    PreconditionFailed {
        /// Of a chunk, its digest.
        stored: Option<Sha256Digest>,
    },
    /// A `Range` that lies behind the end of the file.
    RangeNotSatisfiable {
        /// Bytes of the file.
        length: Length,
    },
    /// A merge of an upload that is not complete.
    ChunksMissing {
        /// Which are missing.
        missing: IndexRuns,
        /// Out of how many; `None` while the length is not known.
        total: Option<ChunkCount>,
    },
    /// A merge with a composite digest, or digests of chunks, that are not those of the stored
    /// chunks.
    CompositeMismatch {
        /// What the client gave; `None` where only its list of chunks differs.
        expected: Option<Sha256Digest>,
        /// What the stored chunks give; `None` where they carry no digests.
        actual: Option<Sha256Digest>,
        /// The chunks that differ, where they can be told.
        bad_chunks: Vec<ChunkIndex>,
    },
    /// Other bytes for a chunk of a finished upload.
    ChunkConflict,
    /// The file is being put together.
    Merging,
    /// The proof that a client has a file is wrong (`--instant`).
    PossessionNotProven,
    /// The offer to finish an upload without its bytes is not open, or what it was about is not
    /// held any more (`--instant`).
    OfferGone,
    /// Another request holds the upload and cannot leave at once.
    Busy,
    /// A newer request has taken the upload over from this one.
    TakenOver,
    /// The client's address sends as many chunks as it may.
    TooManyUploads,
    /// The server has as much to do as it takes on.
    Overloaded {
        /// Seconds after which another try is welcome; not the same for all, or all would come
        /// back together.
        retry_after: u64,
    },
    /// The server is about to stop.
    ShuttingDown,
    /// The disk is full.
    DiskFull,
    /// The storage failed.
    Storage,
}

/// A parameter of the chunk flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Parameter {
    /// The client's name for the content.
    Hash,
    /// The chunk's number.
    Index,
    /// The number of chunks.
    Total,
    /// Bytes of the file.
    Size,
    /// Bytes of every chunk but the last.
    ChunkSize,
    /// The file's name.
    Filename,
    /// The SHA-256 of a chunk.
    Sha256,
    /// The upload's id.
    UploadId,
    /// How lists of chunks are written.
    Format,
    /// The composite digest.
    Digest,
    /// In which form the composite digest is given.
    DigestFormat,
    /// The digests of all chunks.
    Chunks,
    /// The random bytes of an offer.
    Nonce,
    /// The proof that answers an offer.
    Proof,
}

impl Parameter {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Hash,
        Self::Index,
        Self::Total,
        Self::Size,
        Self::ChunkSize,
        Self::Filename,
        Self::Sha256,
        Self::UploadId,
        Self::Format,
        Self::Digest,
        Self::DigestFormat,
        Self::Chunks,
        Self::Nonce,
        Self::Proof,
    ];

    /// Its name in queries, forms and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Index => "index",
            Self::Total => "total",
            Self::Size => "size",
            Self::ChunkSize => "chunk_size",
            Self::Filename => "filename",
            Self::Sha256 => "sha256",
            Self::UploadId => "upload_id",
            Self::Format => "format",
            Self::Digest => "digest",
            Self::DigestFormat => "digest_format",
            Self::Chunks => "chunks",
            Self::Nonce => "nonce",
            Self::Proof => "proof",
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of digest that a chunk can be checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// MD5: against accidents, not against people.
    Md5,
}

impl DigestAlgorithm {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of a refusal (RFC 9457 §3).
#[derive(Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl Problem {
    /// The whole answer: `application/problem+json`, never cached, in tus with `Tus-Resumable`.
    /// What a refused request still has to tell of the upload (expiry, offset, location), the
    /// dialect adds.
    pub fn response(&self, dialect: Dialect) -> Answer {
        let document = Document {
            kind: self.kind(),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail(),
            members: self.members(),
        };
        let body = serde_json::to_vec(&document).expect("text and numbers always become JSON");
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if dialect == Dialect::Tus {
            headers.insert(TUS_RESUMABLE, HeaderValue::from_static(super::tus::VERSION));
        }
        for (name, value) in self.headers(dialect) {
            headers.insert(name, value);
        }
        response
    }
}
