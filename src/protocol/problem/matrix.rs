//! The matrix as a table for protocol-spec.md, and one example of each problem to print and test it
//! with.

use std::fmt::Write;

use super::{DigestAlgorithm, Parameter, Problem, Problem as P};
use crate::{
    protocol::{chunks::IndexRuns, headers, tus},
    upload::{ChecksumAlgorithm, ChunkCount, ChunkIndex, Dialect, Length, Offset, Sha256Digest},
};

/// One of each variant, in the order of the enum; of [`Problem::InvalidParameter`] one for each
/// parameter, since the type names it. A test forces completeness.
pub fn all_examples() -> Vec<Problem> {
    let mut examples = request_examples();
    let invalid = |name| P::InvalidParameter { name, why: "it is missing" };
    examples.extend(Parameter::ALL.map(invalid));
    examples.extend(chunk_examples());
    examples.extend(state_examples());
    examples
}

fn request_examples() -> Vec<Problem> {
    let eleven = Length::new(11).expect("small");
    vec![
        P::NotFound,
        P::MalformedPath,
        P::UriTooLong,
        P::HeadTooLarge,
        P::MethodNotAllowed { allow: "POST, OPTIONS".to_owned() },
        P::UnsupportedVersion,
        P::UnknownUpload,
        P::Gone,
        P::UnsupportedMediaType { accepted: tus::BODY_MEDIA_TYPE },
        P::UnsupportedEncoding,
        P::MalformedHeader { name: headers::UPLOAD_OFFSET, why: "it is missing" },
        P::MalformedMetadata { why: "a key comes twice" },
        P::FinalUpload,
        P::PartialUpload,
        P::OffsetMismatch { current: Offset::new(5).expect("small") },
        P::MaxSizeExceeded { max: eleven },
        P::LengthExceeded { length: eleven },
        P::ChecksumMismatch { algorithm: ChecksumAlgorithm::Sha1 },
        P::LengthRequired,
        P::MalformedBody,
        P::BodyTooLarge { limit: 8192 },
    ]
}

fn chunk_examples() -> Vec<Problem> {
    let (hello, world) = (Sha256Digest::of(b"hello "), Sha256Digest::of(b"world!"));
    let second = ChunkIndex::new(1).expect("small");
    let two = ChunkCount::new(2).expect("small");
    vec![
        P::MalformedMultipart { why: "it has no file" },
        P::MalformedJson { why: "expected value at line 1 column 1".to_owned() },
        P::DigestMismatch {
            algorithm: DigestAlgorithm::Sha256,
            expected: hello.to_hex(),
            actual: world.to_hex(),
            index: second,
        },
        P::AmbiguousUpload,
        P::UploadMetadataMismatch { field: Parameter::Total, stored: Some(2), given: 3 },
        P::ChunkTooLong { expected: 6 },
        P::BodyTooShort { expected: 6, actual: 5 },
        P::PreconditionFailed { stored: Some(hello) },
        P::RangeNotSatisfiable { length: Length::new(11).expect("small") },
        P::ChunksMissing { missing: IndexRuns::from_iter([second]), total: Some(two) },
        P::CompositeMismatch {
            expected: Some(hello),
            actual: Some(world),
            bad_chunks: vec![second],
        },
        P::ChunkConflict,
        P::Merging,
        P::PossessionNotProven,
        P::OfferGone,
    ]
}

fn state_examples() -> Vec<Problem> {
    vec![
        P::Busy,
        P::TakenOver,
        P::TooManyUploads,
        P::Overloaded { retry_after: 2 },
        P::ShuttingDown,
        P::DiskFull,
        P::Storage,
    ]
}

/// The matrix *(problem × dialect) → status, type, headers, members* as a markdown table, a row for
/// each problem. Headers that every refusal of a dialect has are told above the table, not in it.
pub fn matrix() -> String {
    let mut table = String::from(
        "Every refusal: `Content-Type: application/problem+json`, `Cache-Control: no-store`; \
         in tus also `Tus-Resumable: 1.0.0`.\n\n\
         | problem | status | type `urn:piton:problem:…` | headers, tus | headers, chunks \
         | members |\n\
         |---|---|---|---|---|---|\n",
    );
    for problem in all_examples() {
        let members: Vec<String> = problem.members().into_iter().map(|(name, _)| name).collect();
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            problem.title(),
            problem.status().as_u16(),
            problem.slug(),
            header_list(&problem, Dialect::Tus),
            header_list(&problem, Dialect::Chunks),
            members.join(", "),
        )
        .expect("writing to a String does not fail");
    }
    table
}

fn header_list(problem: &Problem, dialect: Dialect) -> String {
    let names = problem.headers(dialect).into_iter().map(|(name, _)| name.to_string());
    names.collect::<Vec<_>>().join(", ")
}
