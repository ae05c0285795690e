//! Which upload an index client means.

use super::{Ingest, IngestError};
use crate::{
    hold::{HoldError, Look},
    upload::{ChunkKey, UploadId},
};

/// An upload that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: UploadId,
    pub(super) look: Look,
}

impl Ingest {
    /// The upload that a chunk with this key belongs to: one without a name goes to the upload
    /// without a name, whatever else has that hash. Blocks.
    pub(super) fn find_for_chunk(&self, key: &ChunkKey) -> Result<Found, IngestError> {
        let exact = self.holds.state().secret().id(key);
        match self.holds.look(&exact) {
            Err(HoldError::Unknown) => self.find_by_id(key),
            Err(error) => Err(error.into()),
            Ok(look) => Ok(Found { id: exact, look }),
        }
    }

    /// The upload that a hash, and perhaps a filename, stand for: the one of this key, else the one
    /// whose id the hash is. Without a filename it is the only one with that hash. Blocks.
    pub(super) fn find(&self, key: &ChunkKey) -> Result<Found, IngestError> {
        match key.filename {
            Some(_) => self.find_for_chunk(key),
            None => self.find_in_family(key),
        }
    }

    fn find_by_id(&self, key: &ChunkKey) -> Result<Found, IngestError> {
        let id = UploadId::parse(key.hash.as_str()).map_err(|_| HoldError::Unknown)?;
        let look = self.holds.look(&id)?;
        Ok(Found { id, look })
    }

    fn find_in_family(&self, key: &ChunkKey) -> Result<Found, IngestError> {
        let state = self.holds.state();
        let family = state.secret().family(&key.owner, &key.hash);
        let mut alive = Vec::new();
        let mut dead = None;
        for id in state.family(&family).map_err(HoldError::from)? {
            match self.holds.look(&id) {
                Ok(look) => alive.push(Found { id, look }),
                Err(error) => dead = Some(error),
            }
        }
        match (alive.pop(), alive.is_empty(), dead) {
            (Some(found), true, _) => Ok(found),
            (Some(_), false, _) => Err(IngestError::Ambiguous),
            (None, _, Some(error)) => Err(error.into()),
            (None, _, None) => self.find_by_id(key),
        }
    }
}
