//! Ledgers that fail on demand.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use crate::{
    durable::Flush,
    state::{Listed, Shard, State, StateError, Versioned},
    storage::{Failure, Faults},
    upload::{ContentKey, IdSecret, Manifest, Stamped, UploadId},
};

/// Makes changes of ledgers fail: those that create, commit, claim, void and forget, counted
/// together.
#[derive(Debug, Clone)]
pub(crate) struct StateFaults {
    plan: Arc<Mutex<Plan>>,
    /// Bytes of each ledger that were asked to be on the disk.
    durable: Arc<Mutex<HashMap<UploadId, u64>>>,
    storage: Faults,
}

#[derive(Debug, Default)]
struct Plan {
    calls: u64,
    failed: u64,
    fail: Option<(u64, Failure)>,
    /// Once something failed, here or in the storage, nothing works any more.
    crash: bool,
}

impl StateFaults {
    pub(super) fn new(storage: Faults) -> Self {
        Self { plan: Arc::default(), durable: Arc::default(), storage }
    }

    /// The `nth` change from now on fails.
    pub(crate) fn fail(&self, nth: u64) {
        self.fail_as(nth, Failure::NoSpace);
    }

    /// The same, in this way.
    pub(crate) fn fail_as(&self, nth: u64, failure: Failure) {
        *self.plan.lock().unwrap() = Plan { fail: Some((nth, failure)), ..Plan::default() };
    }

    /// The machine stops with the first fault of either kind.
    pub(crate) fn crash(&self) {
        self.plan.lock().unwrap().crash = true;
    }

    pub(crate) fn clear(&self) {
        *self.plan.lock().unwrap() = Plan::default();
    }

    pub(crate) fn failed(&self) -> u64 {
        self.plan.lock().unwrap().failed
    }

    /// How much of a ledger is sure to be there after a power loss, in bytes.
    pub(crate) fn durable(&self, id: &UploadId) -> Option<u64> {
        self.durable.lock().unwrap().get(id).copied()
    }

    fn enter(&self) -> Result<(), StateError> {
        let mut plan = self.plan.lock().unwrap();
        plan.calls += 1;
        let dead = plan.crash && (plan.failed > 0 || !self.storage.failed().is_empty());
        let calls = plan.calls;
        let due = plan.fail.filter(|(nth, _)| *nth == calls).map(|(_, failure)| failure);
        if !dead && due.is_none() {
            return Ok(());
        }
        plan.failed += 1;
        if plan.crash {
            self.storage.fail_any_from(1, Failure::Device);
        }
        Err(StateError::Io(io::Error::from(due.unwrap_or(Failure::NoSpace))))
    }
}

/// Asks the faults before anything changes.
#[derive(Debug)]
pub(super) struct FaultState {
    inner: Arc<dyn State>,
    faults: StateFaults,
}

impl FaultState {
    pub(super) fn new(inner: Arc<dyn State>, faults: StateFaults) -> Self {
        Self { inner, faults }
    }
}

impl State for FaultState {
    fn secret(&self) -> &IdSecret {
        self.inner.secret()
    }

    fn create(&self, manifest: Manifest, flush: Flush) -> Result<Versioned, StateError> {
        self.faults.enter()?;
        self.inner.create(manifest, flush)
    }

    fn begin(
        &self,
        manifest: Manifest,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, StateError> {
        self.faults.enter()?;
        self.inner.begin(manifest, facts, flush)
    }

    fn load(&self, id: &UploadId) -> Result<Versioned, StateError> {
        self.inner.load(id)
    }

    fn commit(
        &self,
        held: &Versioned,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, StateError> {
        self.faults.enter()?;
        let committed = self.inner.commit(held, facts, flush)?;
        if flush == Flush::Durable {
            let id = held.record.manifest().id.clone();
            self.faults.durable.lock().unwrap().insert(id, committed.version.length);
        }
        Ok(committed)
    }

    fn claim(&self, id: &UploadId) -> Result<(), StateError> {
        self.faults.enter()?;
        self.inner.claim(id)
    }

    fn void(&self, id: &UploadId) -> Result<(), StateError> {
        self.faults.enter()?;
        self.inner.void(id)
    }

    fn forget(&self, id: &UploadId) -> Result<(), StateError> {
        self.faults.enter()?;
        self.inner.forget(id)
    }

    fn family(&self, prefix: &str) -> Result<Vec<UploadId>, StateError> {
        self.inner.family(prefix)
    }

    fn list(&self, shard: Shard) -> Result<Vec<Listed>, StateError> {
        self.inner.list(shard)
    }

    fn note_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        self.faults.enter()?;
        self.inner.note_holder(content, id)
    }

    fn holders(&self, content: &ContentKey) -> Result<Vec<UploadId>, StateError> {
        self.inner.holders(content)
    }

    fn drop_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        self.inner.drop_holder(content, id)
    }

    fn cool_down(&self) {
        self.inner.cool_down();
    }
}
