//! The immutable facts of an upload.

use serde::{Deserialize, Serialize};

use super::{
    concatenation::{Concatenation, Parts},
    id::UploadId,
    key::ChunkKey,
    layout::Layout,
    time::Timestamp,
};

/// By which dialect an upload was begun; any other may go on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// tus 1.0.0.
    Tus,
    /// The chunk flow.
    Chunks,
}

/// The first record of a ledger. Its layout may lack the length, which a later fact then adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The upload's name.
    pub id: UploadId,
    /// How the file is cut, as known at creation.
    pub layout: Layout,
    /// tus `Upload-Metadata`, byte for byte as received; empty where there was none.
    pub metadata: String,
    /// The file's name as the client gave it; never a path of ours.
    pub filename: Option<String>,
    /// The media type as the client gave it; not trusted.
    pub media_type: Option<String>,
    /// Who began it.
    pub dialect: Dialect,
    /// Present when an index client began it.
    pub key: Option<ChunkKey>,
    /// Present when it is joined with others, or is made of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concatenation: Option<Concatenation>,
    /// Whose it is, where no key tells that; empty while nobody is told apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// When it was begun.
    pub created_at: Timestamp,
    /// How far the page cache had been lost and found again when it was begun (design: trust
    /// epoch).
    pub epoch: u64,
}

impl Manifest {
    /// Bytes for a final upload, never a file by itself?
    pub const fn is_partial(&self) -> bool {
        matches!(self.concatenation, Some(Concatenation::Partial))
    }

    /// Whose it is; empty while nobody is told apart.
    pub fn owner(&self) -> &str {
        self.key.as_ref().map_or(&self.owner, |key| &key.owner)
    }

    /// What a final upload is made of; `None` for every other upload.
    pub const fn parts(&self) -> Option<&Parts> {
        match &self.concatenation {
            Some(Concatenation::Final(parts)) => Some(parts),
            _ => None,
        }
    }
}
