//! The chunk flow: numbered chunks in any order, then a merge. Own dialect; names and answers as in
//! the conformance table, sections 21 to 25.
//!
//! [`route`] tells what is asked; [`Params`] gathers query and form; each command is decoded from
//! them; [`answer`] writes what came of it.

pub mod answer;
mod command;
mod condition;
mod digests;
mod init;
mod instant;
mod json;
mod merge;
mod params;
mod prefer;
mod route;
mod runs;
#[cfg(test)]
mod tests;

pub use command::{Check, ChunkUpload, IndexFormat, Named, StatusQuery, Subject};
pub use condition::Condition;
pub use digests::ChunkDigests;
pub use init::Init;
pub use instant::Instant;
pub use json::accepts_json;
pub use merge::Merge;
pub use params::Params;
pub use prefer::patience;
pub use route::{BodyKind, Deleting, Instantly, Route, Served, route};
pub use runs::IndexRuns;

/// Bytes of a query.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a form field other than the file.
pub const FIELD_BYTES_MAX: u64 = 8 * 1024;
/// Fields of a form.
pub const FIELDS_MAX: usize = 32;
/// Bytes of a filename.
pub const FILENAME_BYTES_MAX: usize = 255;
/// Chunks of an upload.
pub const TOTAL_MAX: u64 = 10_000;
/// Bytes of a file for which the server chooses the chunks: as many of the largest as there may be.
pub const FILE_BYTES_MAX: u64 = TOTAL_MAX * crate::upload::ChunkSize::LARGEST;
/// Bytes of a JSON body: enough for the digests of [`TOTAL_MAX`] chunks, indented.
pub const JSON_BYTES_MAX: u64 = 768 * 1024;
