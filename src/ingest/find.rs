//! Which upload an index client means.

use super::{Ingest, IngestError};
use crate::{
    hold::{HoldError, Look},
    upload::{ChunkKey, UploadId},
};

/// The upload that was meant, and what a look at it gave.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: UploadId,
    pub(super) look: Result<Look, HoldError>,
}

impl Found {
    fn is_known(&self) -> bool {
        !matches!(self.look, Err(HoldError::Unknown))
    }
}

impl Ingest {
    /// The upload of this id. Blocks.
    pub(super) fn find_id(&self, id: UploadId) -> Found {
        let look = self.holds.look(&id);
        Found { id, look }
    }

    /// The upload that a chunk with this key belongs to: one without a name goes to the upload
    /// without a name, whatever else has that hash. Blocks.
    pub(super) fn find_for_chunk(&self, key: &ChunkKey) -> Found {
        let exact = self.find_id(self.holds.state().secret().id(key));
        if exact.is_known() { exact } else { self.find_by_id(key).unwrap_or(exact) }
    }

    /// The upload that a hash, and perhaps a filename, stand for: the one of this key, else the one
    /// whose id the hash is. Without a filename it is the only one with that hash that is alive.
    /// Also one of which nothing can be told any more: whoever wants it gone need not know more.
    /// Blocks.
    pub(super) fn find(&self, key: &ChunkKey) -> Result<Found, IngestError> {
        match key.filename {
            Some(_) => Ok(self.find_for_chunk(key)),
            None => self.find_in_family(key),
        }
    }

    fn find_by_id(&self, key: &ChunkKey) -> Option<Found> {
        Some(self.find_id(UploadId::parse(key.hash.as_str()).ok()?))
    }

    fn find_in_family(&self, key: &ChunkKey) -> Result<Found, IngestError> {
        let state = self.holds.state();
        let family = state.secret().family(&key.owner, &key.hash);
        let family = state.family(&family).map_err(HoldError::from)?;
        let found = family.into_iter().map(|id| self.find_id(id)).filter(Found::is_known);
        let (mut alive, mut dead): (Vec<_>, Vec<_>) = found.partition(|found| found.look.is_ok());
        if alive.len() > 1 {
            return Err(IngestError::Ambiguous);
        }
        match alive.pop().or_else(|| dead.pop()) {
            Some(found) => Ok(found),
            None => self.find_by_id(key).ok_or(HoldError::Unknown.into()),
        }
    }
}
