//! Uploads that bytes are on their way to, though nobody holds them: a chunk is received without
//! the lock, and its upload must not expire meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::upload::UploadId;

/// How many requests bring bytes for an upload; what is not listed is brought none.
#[derive(Debug, Clone, Default)]
pub(super) struct Attended(Arc<Mutex<HashMap<UploadId, usize>>>);

/// Keeps an upload from expiring in this process until it is dropped. It excludes nobody.
#[derive(Debug)]
#[must_use = "an upload is attended for as long as this lives"]
pub struct Attendance {
    id: UploadId,
    attended: Attended,
}

impl Attended {
    pub(super) fn begin(&self, id: &UploadId) -> Attendance {
        let mut counts = self.counts();
        let count = counts.entry(id.clone()).or_default();
        *count = count.saturating_add(1);
        Attendance { id: id.clone(), attended: self.clone() }
    }

    pub(super) fn has(&self, id: &UploadId) -> bool {
        self.counts().contains_key(id)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<UploadId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let mut counts = self.attended.counts();
        if let Some(count) = counts.get_mut(&self.id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.id);
            }
        }
    }
}
