//! Facts in files: `{root}/{shard}/{id}.ledger`, one per upload, append-only, never replaced while
//! the upload lives.
//!
//! Several processes may work on one directory: what is kept in memory is compared with the file at
//! every look. Who may commit is decided by a flock on the ledger, which is not this room's
//! business; a new ledger is locked only while its header is written.

mod bytes;
mod cache;
mod codec;
mod contents;
mod creation;
mod folder;
mod header;
mod ledger;
mod names;
mod reader;
mod replay;
mod secret;
mod trust;

use std::{
    collections::HashSet,
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use self::{
    cache::Cache,
    contents::Contents,
    ledger::{CommitError, Disk, Ledger},
    names::Names,
};
use super::{Listed, Shard, State, StateError, Versioned};
use crate::{
    durable::{self, Flush},
    upload::{ContentKey, IdSecret, Manifest, Record, Stamped, UploadId},
};

pub use self::{
    folder::ledger_path,
    reader::{LedgerDamage, LedgerReader, LedgerSeen},
    trust::TrustMark,
};

/// Keeps facts in ledger files.
#[derive(Debug)]
pub struct LocalState {
    root: PathBuf,
    secret: IdSecret,
    cache: Cache,
    contents: Contents,
    disk: Disk,
    names: Names,
    /// Ledgers of which a flush failed: they are written anew before the next one, since a flush
    /// alone would report success for pages that the kernel gave up.
    unsynced: Mutex<HashSet<UploadId>>,
}

impl LocalState {
    /// Opens the state folder, `{data_dir}/state`; makes it and its secret where there is none. No
    /// ledger is opened.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        if !root.try_exists()? {
            fs::create_dir_all(root)?;
            let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
            durable::sync_folder(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(Self {
            secret: secret::obtain(root)?,
            root: root.to_owned(),
            cache: Cache::new(),
            contents: Contents::below(root),
            disk: Disk::REAL,
            names: Names::below(root),
            unsynced: Mutex::default(),
        })
    }

    /// The file of a ledger, if it is open: so that its lock can be taken without opening it again.
    pub fn at_hand(&self, id: &UploadId) -> Option<Arc<File>> {
        self.cache.find(id).map(|ledger| ledger.file())
    }

    /// Asks the ledger of `id`, which is opened unless it is at hand.
    fn ask<T>(
        &self,
        id: &UploadId,
        question: impl Fn(&Ledger) -> Result<T, CommitError>,
    ) -> Result<T, StateError> {
        if let Some(ledger) = self.cache.find(id) {
            match question(&ledger) {
                // Forgotten by another process; perhaps begun anew.
                Err(CommitError::Refused(StateError::Unknown)) => {
                    self.cache.drop_one(id, &ledger);
                }
                answer => return self.answer(id, &ledger, answer),
            }
        }
        let opened = Ledger::open(&ledger_path(&self.root, id), id)?;
        let ledger = self.cache.keep(id, opened);
        let answer = question(&ledger);
        self.answer(id, &ledger, answer)
    }

    fn answer<T>(
        &self,
        id: &UploadId,
        ledger: &Arc<Ledger>,
        answer: Result<T, CommitError>,
    ) -> Result<T, StateError> {
        answer.map_err(|error| match error {
            CommitError::Refused(error) => {
                if matches!(error, StateError::Io(_)) {
                    self.cache.drop_one(id, ledger);
                }
                error
            }
            CommitError::Unsynced(error) => {
                self.unsynced().insert(id.clone());
                self.cache.drop_one(id, ledger);
                StateError::Io(error)
            }
        })
    }

    /// Brings a ledger's bytes, length and name to the disk.
    fn settle(&self, id: &UploadId, ledger: &Ledger) -> io::Result<()> {
        ledger.sync(&self.disk)?;
        if !ledger.is_named() {
            self.names.sync(id)?;
            ledger.named.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn unsynced(&self) -> MutexGuard<'_, HashSet<UploadId>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for LocalState {
    fn secret(&self) -> &IdSecret {
        &self.secret
    }

    fn create(&self, manifest: Manifest, flush: Flush) -> Result<Versioned, StateError> {
        self.begin(manifest, &[], flush)
    }

    fn begin(
        &self,
        manifest: Manifest,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, StateError> {
        let id = manifest.id.clone();
        let ledger = self.begin_ledger(manifest, facts, flush)?;
        ledger.unlock()?;
        // Whoever opened it meanwhile may have seen less of it.
        let known = ledger.known();
        self.cache.keep(&id, ledger);
        Ok(known)
    }

    fn load(&self, id: &UploadId) -> Result<Versioned, StateError> {
        self.ask(id, |ledger| Ok(ledger.look()?))
    }

    fn commit(
        &self,
        held: &Versioned,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, StateError> {
        let record = Arc::new(super::after(&held.record, facts)?);
        let id = &held.record.manifest().id;
        self.ask(id, |ledger| match flush {
            Flush::Lazy => ledger.commit(held, (facts, &record), &self.disk, &|_| Ok(())),
            Flush::Durable => {
                let anew = self.unsynced().contains(id);
                let settle = |ledger: &Ledger| {
                    if anew {
                        ledger.rewrite(&self.disk)?;
                    }
                    self.settle(id, ledger)
                };
                let versioned = ledger.commit(held, (facts, &record), &self.disk, &settle)?;
                if anew {
                    self.unsynced().remove(id);
                }
                Ok(versioned)
            }
        })
    }

    fn claim(&self, id: &UploadId) -> Result<(), StateError> {
        creation::claim(&ledger_path(&self.root, id))
    }

    fn void(&self, id: &UploadId) -> Result<(), StateError> {
        self.cache.forget(id);
        Ok(creation::void(&ledger_path(&self.root, id), self.disk.cut)?)
    }

    fn forget(&self, id: &UploadId) -> Result<(), StateError> {
        self.cache.forget(id);
        durable::remove_file(&ledger_path(&self.root, id))?;
        self.unsynced().remove(id);
        Ok(())
    }

    fn family(&self, prefix: &str) -> Result<Vec<UploadId>, StateError> {
        let Some(shard) = prefix.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok())
        else {
            return Ok(Vec::new());
        };
        let mut ids = Vec::new();
        for ledger in folder::ledgers(&self.root, Shard(shard))? {
            let (id, _) = ledger?;
            if id.as_str().starts_with(prefix) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    fn list(&self, shard: Shard) -> Result<Vec<Listed>, StateError> {
        let mut listed = Vec::new();
        for ledger in folder::ledgers(&self.root, shard)? {
            let (id, entry) = ledger?;
            // A ledger that is forgotten meanwhile is no error.
            let seen = |found: Metadata| Ok((found.modified()?, found.len()));
            match entry.metadata().and_then(seen) {
                Ok((modified, size)) => {
                    let interrupted = !size.is_multiple_of(codec::FRAME);
                    listed.push(Listed { id, changed: modified.into(), interrupted });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(listed)
    }

    fn note_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        Ok(self.contents.note(content, id)?)
    }

    fn holders(&self, content: &ContentKey) -> Result<Vec<UploadId>, StateError> {
        Ok(self.contents.holders(content)?)
    }

    fn drop_holder(&self, content: &ContentKey, id: &UploadId) -> Result<(), StateError> {
        Ok(self.contents.drop_holder(content, id)?)
    }

    fn cool_down(&self) {
        self.cache.cool_down();
    }
}

impl LocalState {
    /// A new ledger with these facts. Its file is locked.
    fn begin_ledger(
        &self,
        manifest: Manifest,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Ledger, StateError> {
        let id = manifest.id.clone();
        let incarnation = u64::from_le_bytes(bytes::random()?);
        let header = header::encode(&manifest, incarnation)?;
        let record = Arc::new(super::after(&Record::new(manifest), facts)?);
        let path = ledger_path(&self.root, &id);
        let file = creation::lock_empty(&path)?;
        let begun = Ledger::begin(file, (header, incarnation), (facts, record), &self.disk);
        let settled = begun.and_then(|ledger| {
            if flush == Flush::Durable {
                self.settle(&id, &ledger)?;
            }
            Ok(ledger)
        });
        // Still under the file's lock: nobody can have added anything.
        settled.inspect_err(|_| {
            let _ = durable::remove_file(&path);
        })
    }
}

#[cfg(test)]
mod tests;
