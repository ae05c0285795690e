//! The beginning of an index client's upload, before its first chunk.

use std::sync::Arc;

use super::{Ingest, IngestError, View, chunk::agreed_layout};
pub use crate::hold::Origin;
use crate::upload::{ChunkKey, Layout};

/// What an index client says of the upload that it begins.
#[derive(Debug, Clone)]
pub struct NewChunked {
    /// Which upload.
    pub key: ChunkKey,
    /// tus `Upload-Metadata`.
    pub metadata: String,
    /// How the client cuts the file.
    pub layout: Layout,
}

impl Ingest {
    /// Makes an upload, or finds the one that was begun so meanwhile.
    pub async fn begin(self: &Arc<Self>, new: NewChunked) -> Result<(View, Origin), IngestError> {
        let manifest = self.chunk_manifest(&new.key, &new.metadata, new.layout);
        let (held, origin) = self.holds.create(manifest).await?;
        agreed_layout(held.record(), Some(&new.layout))?;
        Ok((self.view(&held)?, origin))
    }
}
