//! tus 1.0.0: core, creation, creation-with-upload, creation-defer-length, expiration, checksum,
//! checksum-trailer, termination, concatenation, concatenation-unfinished.
//!
//! [`decode`] turns a request head into a [`Request`]; the functions of [`answer`] turn outcomes
//! into answers.
//!
//! Where several rules are broken at once, the refusals take precedence in this order: version 412
//! → path 404, 405 → unknown 404, gone 410 → final 403 → media type 415 → malformed header 400 →
//! offset 409 → size 413 → checksum 400 → body. Whether an upload is there, and what it is, only
//! its record tells; so the head of a PATCH is handed over as a `Result` inside of
//! [`Request::Patch`], to be looked at after the upload was found.

pub mod answer;
mod checksum;
mod concatenation;
mod creation;
mod metadata;
mod patch;
mod request;
#[cfg(test)]
mod tests;

pub use checksum::checksum;
pub use concatenation::FinalCreation;
pub use creation::Creation;
pub use metadata::Metadata;
pub use patch::Patch;
pub use request::{Request, Rules, decode};

/// The version that is spoken.
pub const VERSION: &str = "1.0.0";

/// The media type of bodies that are appended (tus core, PATCH).
pub const BODY_MEDIA_TYPE: &str = "application/offset+octet-stream";
