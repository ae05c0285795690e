//! The part that an upload plays where several are joined into one (tus Concatenation).

use serde::{Deserialize, Serialize};

use super::id::UploadId;

/// Part of a file, or a file made of such parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Concatenation {
    /// Bytes for a final upload. Never a file by itself.
    Partial,
    /// The bytes of other uploads, in order. Takes none of its own.
    Final(Parts),
}

/// What a final upload is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// `Upload-Concat`, byte for byte as received.
    pub header: String,
    /// The partial uploads, in order; one may come several times.
    pub ids: Vec<UploadId>,
}
