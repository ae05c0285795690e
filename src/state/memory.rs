//! Facts in memory: for tests, and for servers that may forget everything when they stop.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Listed, Shard, State, StateError, Version, Versioned};
use crate::{
    durable::Flush,
    upload::{ContentKey, IdSecret, Manifest, Phase, Record, Stamped, Timestamp, UploadId},
};

/// Keeps facts in memory under the same contract as [`LocalState`](super::LocalState). Clones share
/// them.
#[derive(Debug, Clone)]
pub struct MemoryState {
    secret: IdSecret,
    uploads: Arc<Mutex<Uploads>>,
}

/// One mutex for all: what is done under it takes no longer than cloning a record.
#[derive(Debug, Default)]
struct Uploads {
    by_id: BTreeMap<UploadId, Held>,
    holders: BTreeMap<ContentKey, Vec<UploadId>>,
    /// Ledgers begun so far.
    begun: u64,
}

#[derive(Debug)]
struct Held {
    versioned: Versioned,
    changed: Timestamp,
}

impl MemoryState {
    /// Without uploads; ids are derived under `secret`.
    pub fn new(secret: IdSecret) -> Self {
        Self { secret, uploads: Arc::default() }
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for MemoryState {
    fn secret(&self) -> &IdSecret {
        &self.secret
    }

    fn create(&self, manifest: Manifest, _: Flush) -> Result<Versioned, StateError> {
        let mut uploads = self.uploads();
        let (id, changed) = (manifest.id.clone(), manifest.created_at);
        if uploads.by_id.contains_key(&id) {
            return Err(StateError::Exists);
        }
        uploads.begun = uploads.begun.saturating_add(1);
        let version = Version { incarnation: uploads.begun, length: 1 };
        let versioned = Versioned { record: Arc::new(Record::new(manifest)), version };
        uploads.by_id.insert(id, Held { versioned: versioned.clone(), changed });
        Ok(versioned)
    }

    fn load(&self, id: &UploadId) -> Result<Versioned, StateError> {
        let uploads = self.uploads();
        uploads.by_id.get(id).map(|held| held.versioned.clone()).ok_or(StateError::Unknown)
    }

    fn commit(
        &self,
        held: &Versioned,
        facts: &[Stamped],
        _: Flush,
    ) -> Result<Versioned, StateError> {
        let record = super::after(&held.record, facts)?;
        let mut uploads = self.uploads();
        let stored = uploads.by_id.get_mut(&record.manifest().id).ok_or(StateError::Unknown)?;
        if stored.versioned.version != held.version {
            return Err(StateError::Stale);
        }
        let Version { incarnation, length } = held.version;
        let added = u64::try_from(facts.len()).unwrap_or(u64::MAX);
        let version = Version { incarnation, length: length.saturating_add(added) };
        stored.versioned = Versioned { record: Arc::new(record), version };
        stored.changed = facts.last().map_or(stored.changed, |last| last.at);
        Ok(stored.versioned.clone())
    }

    // Nobody else has these ledgers, and so nobody needs the lock of a place.
    fn claim(&self, _: &UploadId) -> Result<(), StateError> {
        Ok(())
    }

    fn void(&self, id: &UploadId) -> Result<(), StateError> {
        self.forget(id)
    }

    fn forget(&self, id: &UploadId) -> Result<(), StateError> {
        self.uploads().by_id.remove(id);
        Ok(())
    }

    fn family(&self, prefix: &str) -> Result<Vec<UploadId>, StateError> {
        let uploads = self.uploads();
        let ids = uploads.by_id.keys().filter(|id| id.as_str().starts_with(prefix));
        Ok(ids.cloned().collect())
    }

    fn list(&self, shard: Shard) -> Result<Vec<Listed>, StateError> {
        let folder = shard.to_string();
        let uploads = self.uploads();
        let inside = uploads.by_id.iter().filter(|(id, _)| id.shard() == folder);
        let listed = |(id, held): (&UploadId, &Held)| {
            let interrupted = held.versioned.record.phase() == Phase::Merging;
            Listed { id: id.clone(), changed: held.changed, interrupted }
        };
        Ok(inside.map(listed).collect())
    }

    fn note_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        let mut uploads = self.uploads();
        let holders = uploads.holders.entry(content.clone()).or_default();
        *holders = super::with_holder(std::mem::take(holders), id);
        Ok(())
    }

    fn holders(&self, content: &ContentKey) -> Result<Vec<UploadId>, StateError> {
        Ok(self.uploads().holders.get(content).cloned().unwrap_or_default())
    }

    fn drop_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        let mut uploads = self.uploads();
        if let Some(holders) = uploads.holders.get_mut(content) {
            holders.retain(|other| other != id);
        }
        uploads.holders.retain(|_, holders| !holders.is_empty());
        Ok(())
    }

    fn cool_down(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract::{Place, contract};

    impl Place for MemoryState {
        fn open(&self) -> Box<dyn State> {
            Box::new(self.clone())
        }
    }

    contract!(MemoryState::new(IdSecret::new([7; 32])));
}
