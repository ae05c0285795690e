//! All uploads, or one: looked at, and where something seems wrong, looked at again.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    io, thread,
    time::Duration,
};

use serde::Serialize;

use super::{
    AuditError,
    finding::Problem,
    holder,
    look::{Depth, Look, Store},
    verdict::{Status, Verdict, file_name},
};
use crate::{
    state::Shard,
    upload::{FinalName, UploadId},
};

/// Pauses before looks that are to confirm or to clear a doubt. What a server is in the middle of
/// is over before that, but for a disk that is very slow.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Two looks that far apart which see the same have seen the truth.
const CALM: Duration = Duration::from_millis(500);

/// Something that no upload accounts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loose {
    /// Its name below the data folder.
    pub path: String,
    /// What may have left it.
    pub says: &'static str,
}

/// What a verification did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Uploads that were looked at.
    pub uploads: u64,
    /// Bytes that were read and compared.
    pub checked: u64,
    /// Bytes that have no digest.
    pub unproven: u64,
    /// Uploads with damage.
    pub damaged: u64,
    /// Uploads that changed all the time.
    pub busy: u64,
    /// Uploads that could not be looked at.
    pub unreadable: u64,
    /// Files and folders that no upload accounts for.
    pub loose: u64,
    /// Staged files, which no upload accounts for yet.
    pub staged: u64,
}

/// What is told on the way.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Told<'a> {
    /// One upload.
    Upload(&'a Verdict),
    /// Something that no upload accounts for.
    Loose(&'a Loose),
    /// The end.
    Summary(&'a Summary),
}

/// Whoever hears what is found.
pub(super) trait Listener {
    /// Something was found. An error ends the verification.
    fn hear(&mut self, told: Told<'_>) -> io::Result<()>;

    /// So much was done so far, and so many bytes were read for it.
    fn progress(&mut self, so_far: &Summary, read: u64);
}

/// A verification under way.
pub(super) struct Verification<'a> {
    store: &'a Store,
    depth: Depth<'static>,
    listener: &'a mut dyn Listener,
    summary: Summary,
    /// Bytes, those counted that were read twice.
    read: u64,
    files: Files,
}

/// Names of files that no upload has claimed so far, as numbers: there may be very many.
#[derive(Debug, Default)]
struct Files {
    unclaimed: HashSet<u64>,
    state: RandomState,
}

impl Files {
    fn note(&mut self, name: &str) {
        self.unclaimed.insert(self.state.hash_one(name));
    }

    fn claim(&mut self, name: &str) {
        let number = self.state.hash_one(name);
        self.unclaimed.remove(&number);
    }

    fn is_unclaimed(&self, name: &FinalName) -> bool {
        self.unclaimed.contains(&self.state.hash_one(name.as_str()))
    }
}

impl<'a> Verification<'a> {
    pub(super) fn new(
        store: &'a Store,
        depth: Depth<'static>,
        listener: &'a mut dyn Listener,
    ) -> Self {
        let (summary, files) = (Summary::default(), Files::default());
        Self { store, depth, listener, summary, read: 0, files }
    }

    /// One upload.
    pub(super) fn one(mut self, id: &UploadId) -> Result<Summary, AuditError> {
        self.some(std::slice::from_ref(id))?;
        self.end()
    }

    /// All of them, shard by shard, and whatever lies beside them.
    pub(super) fn all(mut self) -> Result<Summary, AuditError> {
        // First, so that each of these files has a ledger that names it when that is read.
        for name in self.store.bytes.files()? {
            self.files.note(name?.as_str());
        }
        for shard in Shard::all() {
            let ids = self.store.ledgers.ids(shard)?;
            self.some(&ids)?;
        }
        self.loose()?;
        self.summary.staged = self.store.bytes.staged()?.0;
        self.end()
    }

    fn end(self) -> Result<Summary, AuditError> {
        self.listener.hear(Told::Summary(&self.summary))?;
        Ok(self.summary)
    }

    fn some(&mut self, ids: &[UploadId]) -> Result<(), AuditError> {
        let mut doubtful = Vec::new();
        for id in ids {
            let look = self.look(id, self.depth);
            if look.is_doubtful() {
                doubtful.push(look);
            } else {
                self.tell(look, false)?;
            }
        }
        self.settle(doubtful)
    }

    fn look(&mut self, id: &UploadId, depth: Depth<'_>) -> Look {
        let (summary, read, listener) = (&self.summary, &mut self.read, &mut *self.listener);
        let look = Look::at(self.store, id, depth, &mut |bytes| {
            *read = read.saturating_add(bytes);
            listener.progress(summary, *read);
        });
        if let Some(name) = look.file() {
            self.files.claim(name);
        }
        look
    }

    /// Looks again until each doubt is confirmed, cleared, or has lasted too long.
    fn settle(&mut self, mut doubtful: Vec<Look>) -> Result<(), AuditError> {
        for pause in PAUSES {
            if doubtful.is_empty() {
                return Ok(());
            }
            thread::sleep(pause);
            for before in std::mem::take(&mut doubtful) {
                let again = self.look_again(&before);
                let confirmed = pause >= CALM && again.agrees_with(&before) && !is_held(&again);
                if confirmed || !again.is_doubtful() {
                    self.tell(again, false)?;
                } else {
                    doubtful.push(again);
                }
            }
        }
        doubtful.into_iter().try_for_each(|look| self.tell(look, true))
    }

    /// Reads only what was doubtful.
    fn look_again(&mut self, before: &Look) -> Look {
        let depth = match self.depth {
            Depth::Sizes => Depth::Sizes,
            _ => Depth::Only(&before.affected),
        };
        let mut again = self.look(&before.id, depth);
        again.right = again.right.saturating_add(before.right);
        again
    }

    fn tell(&mut self, look: Look, busy: bool) -> Result<(), AuditError> {
        if look.ledger.is_none() && look.problems.is_empty() {
            // It ended while we looked.
            return Ok(());
        }
        let verdict = look.verdict(busy);
        let summary = &mut self.summary;
        summary.uploads = summary.uploads.saturating_add(1);
        summary.checked = summary.checked.saturating_add(verdict.checked);
        summary.unproven = summary.unproven.saturating_add(verdict.unproven);
        let count = match verdict.status {
            Status::Ok => None,
            Status::Damaged => Some(&mut summary.damaged),
            Status::Busy => Some(&mut summary.busy),
            Status::Unreadable => Some(&mut summary.unreadable),
        };
        if let Some(count) = count {
            *count = count.saturating_add(1);
        }
        self.listener.progress(&self.summary, self.read);
        Ok(self.listener.hear(Told::Upload(&verdict))?)
    }

    /// Files that no ledger names, and folders without a ledger.
    fn loose(&mut self) -> Result<(), AuditError> {
        let mut folders = Vec::new();
        for id in self.store.bytes.uploads()? {
            let id = id?;
            if !self.store.ledgers.path(&id).try_exists()? {
                folders.push(id);
            }
        }
        if !folders.is_empty() {
            // A DELETE removes facts first.
            thread::sleep(CALM);
        }
        for id in folders {
            let orphan = !self.store.ledgers.path(&id).try_exists()?;
            if orphan && let Some(name) = self.store.bytes.remains(&id)? {
                let says = "no ledger tells of these bytes: a DELETE or a creation was cut off, or \
                            the ledger is lost; a sweep removes them when they are an hour old";
                self.tell_loose(format!("uploads/{name}"), says)?;
            }
        }
        for name in self.store.bytes.files()? {
            let name = name?;
            if self.files.is_unclaimed(&name) {
                let says = "no ledger names this file: it was put here, or its ledger is lost; it \
                            stays";
                self.tell_loose(file_name(name.as_str()), says)?;
            }
        }
        Ok(())
    }

    fn tell_loose(&mut self, path: String, says: &'static str) -> Result<(), AuditError> {
        self.summary.loose = self.summary.loose.saturating_add(1);
        Ok(self.listener.hear(Told::Loose(&Loose { path, says }))?)
    }
}

/// Is a server at it, which may be in the middle of what we see? Bytes that were read and are wrong
/// are no such thing.
fn is_held(look: &Look) -> bool {
    look.problems.iter().all(Problem::may_pass)
        && look.ledger.as_ref().is_some_and(|ledger| holder::is_held(ledger.inode))
}
