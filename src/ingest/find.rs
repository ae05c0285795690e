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

    /// The id of the same, also where nothing of it can be told any more: whoever wants it gone
    /// need not know more. Blocks.
    pub(super) fn find_to_remove(&self, key: &ChunkKey) -> Result<UploadId, IngestError> {
        let state = self.holds.state();
        let ids = if key.filename.is_some() {
            vec![state.secret().id(key)]
        } else {
            let family = state.secret().family(&key.owner, &key.hash);
            state.family(&family).map_err(HoldError::from)?
        };
        let seen = ids.into_iter().map(|id| (self.holds.look(&id).err(), id));
        let there: Vec<_> =
            seen.filter(|(error, _)| !matches!(error, Some(HoldError::Unknown))).collect();
        let (mut alive, mut dead): (Vec<_>, Vec<_>) =
            there.into_iter().partition(|(error, _)| error.is_none());
        if alive.len() > 1 {
            return Err(IngestError::Ambiguous);
        }
        match alive.pop().or_else(|| dead.pop()) {
            Some((_, id)) => Ok(id),
            None => Ok(UploadId::parse(key.hash.as_str()).map_err(|_| HoldError::Unknown)?),
        }
    }
}
