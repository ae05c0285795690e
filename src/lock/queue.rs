//! The queues of this process: who holds an upload, who waits for it, and who asks.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::sync::{
    tasks::{self, OwnedMutexGuard, watch},
    threads::Mutex,
};
use crate::upload::UploadId;

/// How a newcomer waits for the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Asks the holder to leave: a client is waiting.
    Asking,
    /// Waits in line: background work, which is never worth a client's connection.
    Patient,
}

/// The holder did not leave in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upload is held and its holder does not let go")]
pub struct Busy;

/// All uploads that somebody of this process holds or waits for; nothing is kept for others.
pub struct Locks {
    entries: Arc<Mutex<Entries>>,
    patience: Duration,
}

/// Queues, each with the number of places in it.
type Entries = HashMap<UploadId, (Arc<Entry>, usize)>;

struct Entry {
    lock: Arc<tasks::Mutex<()>>,
    /// How many newcomers ask the holder to leave.
    asking: watch::Sender<usize>,
}

impl Locks {
    /// Newcomers wait at most `patience` for a holder.
    pub fn new(patience: Duration) -> Self {
        Self { entries: Arc::default(), patience }
    }

    /// Waits for the upload, at most as long as the newcomers' patience.
    pub async fn take(&self, id: &UploadId, manner: Manner) -> Result<UploadGuard, Busy> {
        let place = self.place(id);
        if let Ok(held) = place.entry.lock.clone().try_lock_owned() {
            return Ok(UploadGuard { held: Some(held), place });
        }
        let held = {
            let _asking = (manner == Manner::Asking).then(|| Asking::begin(&place.entry));
            tasks::timeout(self.patience, place.entry.lock.clone().lock_owned()).await
        };
        held.map(|held| UploadGuard { held: Some(held), place }).map_err(|_| Busy)
    }

    /// The upload, if nobody of this process holds it.
    pub fn try_take(&self, id: &UploadId) -> Option<UploadGuard> {
        let place = self.place(id);
        let held = place.entry.lock.clone().try_lock_owned().ok()?;
        Some(UploadGuard { held: Some(held), place })
    }

    /// How long a newcomer waits.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Uploads that somebody holds or waits for.
    #[cfg(test)]
    pub(crate) fn queues(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn place(&self, id: &UploadId) -> Place {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Entry { lock: Arc::default(), asking: watch::Sender::new(0) };
        let queue = entries.entry(id.clone()).or_insert_with(|| (Arc::new(fresh()), 0));
        queue.1 = queue.1.saturating_add(1);
        let entry = queue.0.clone();
        Place { id: id.clone(), entry, entries: self.entries.clone() }
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// Counts one newcomer for as long as it waits, also when its future is dropped.
struct Asking<'a>(&'a Entry);

impl<'a> Asking<'a> {
    fn begin(entry: &'a Entry) -> Self {
        entry.asking.send_modify(|count| *count = count.saturating_add(1));
        Self(entry)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A place in an upload's queue; the last one to go takes the queue with it.
struct Place {
    id: UploadId,
    entry: Arc<Entry>,
    entries: Arc<Mutex<Entries>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, places)) = entries.get_mut(&self.id) else { return };
        *places = places.saturating_sub(1);
        if *places == 0 {
            entries.remove(&self.id);
        }
    }
}

/// Proof that its owner may change the upload (invariant I5), within this process.
pub struct UploadGuard {
    /// Taken out on drop before the place is given up, so that the queue never seems empty while it
    /// is held.
    held: Option<OwnedMutexGuard<()>>,
    place: Place,
}

impl UploadGuard {
    /// Which upload.
    pub const fn id(&self) -> &UploadId {
        &self.place.id
    }

    /// Does a newcomer ask for the upload?
    pub fn is_wanted(&self) -> bool {
        *self.place.entry.asking.borrow() > 0
    }

    /// A handle on the newcomers' signal, for a task that waits while another thread holds the
    /// guard.
    pub fn leave_signal(&self) -> LeaveSignal {
        LeaveSignal(self.place.entry.asking.subscribe())
    }
}

impl Drop for UploadGuard {
    fn drop(&mut self) {
        self.held.take();
    }
}

impl fmt::Debug for UploadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UploadGuard").field(self.id()).finish()
    }
}

/// Tells when newcomers ask the holder to leave.
#[derive(Debug, Clone)]
pub struct LeaveSignal(watch::Receiver<usize>);

impl LeaveSignal {
    /// Returns once a newcomer asks; at once if one is asking already.
    pub async fn asked(&mut self) {
        if self.0.wait_for(|asking| *asking > 0).await.is_err() {
            // The queue is gone, so nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}
