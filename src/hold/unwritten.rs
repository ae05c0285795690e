//! Facts that are written down together with the next ones, and ledgers that begin with them: of a
//! small upload each write costs more than what is in it.
//!
//! Nobody is told of such facts, nor of an upload whose ledger is not begun: where they cannot be
//! written down their bytes go, and where the process dies before, they never were.

use std::sync::Arc;

use super::{
    HoldError, Holds,
    held::{Certainty, Held},
};
use crate::{
    durable::Flush,
    lock::{FileLock, Manner},
    state::{Version, Versioned},
    telemetry::Event,
    upload::{Fact, Manifest, PartId, Record, Stamped},
};

/// May there be parts of it, or their folder, that nothing tells of?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// None was made since the upload began, but one for all of its bytes.
    Bare,
    Built,
}

/// Is every fact on the disk?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ledger {
    /// It has no file yet.
    NotBegun,
    /// As far as this holder knows.
    Flushed,
    Unflushed,
}

/// Facts that the ledger does not have yet.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// The upload as its ledger has it.
    ledger: Versioned,
    facts: Vec<Stamped>,
}

impl Holds {
    /// Takes the place of an upload that nobody else knows, and which begins with its first facts.
    pub async fn begin(self: &Arc<Self>, manifest: Manifest) -> Result<Held, HoldError> {
        let taken = self.locks.take(&manifest.id, Manner::Asking).await;
        let guard = taken.map_err(|_| HoldError::Busy)?;
        let version = Version { incarnation: 0, length: 0 };
        let nothing = Versioned { record: Arc::new(Record::new(manifest)), version };
        let mut held = Held::fresh(self, (guard, FileLock::needless()), nothing);
        (held.ledger, held.ground) = (Ledger::NotBegun, Ground::Bare);
        Ok(held)
    }
}

impl Held {
    /// Makes these facts of the record, which are written down with the next ones.
    pub(super) fn hold_back(
        &mut self,
        facts: impl IntoIterator<Item = Fact>,
    ) -> Result<(), HoldError> {
        let at = self.now();
        let facts: Vec<Stamped> = facts.into_iter().map(|fact| Stamped { at, fact }).collect();
        let mut record = Record::clone(self.record());
        facts.iter().try_for_each(|fact| record.apply(fact)).map_err(HoldError::Law)?;
        let known = Versioned { record: Arc::new(record), version: self.current.version };
        let ledger = std::mem::replace(&mut self.current, known);
        let unwritten = Unwritten { ledger, facts: Vec::new() };
        self.unwritten.get_or_insert(unwritten).facts.extend(facts);
        Ok(())
    }

    /// Writes down what is not yet. To be called before anybody is told of the upload.
    pub fn write_down(&mut self) -> Result<(), HoldError> {
        if self.unwritten.is_none() && self.ledger != Ledger::NotBegun {
            return Ok(());
        }
        self.all_or_doubt(|this| this.commit([], this.durability().of_answer()))
    }

    /// Begins the ledger, unless it is begun, or will be with the bytes that are about to come.
    pub fn begin_ledger(&mut self) -> Result<(), HoldError> {
        let whole = self.tail.as_ref().is_some_and(|tail| tail.part == PartId::WHOLE);
        if whole || self.ledger != Ledger::NotBegun {
            return Ok(());
        }
        self.write_down()
    }

    /// Adds facts to the ledger, behind those that it does not have yet. Gives the upload as the
    /// ledger had it, and all that were added.
    pub(super) fn add_to_ledger(
        &mut self,
        facts: Vec<Stamped>,
        flush: Flush,
    ) -> Result<(Versioned, Vec<Stamped>), HoldError> {
        let Some(Unwritten { ledger, facts: mut all }) = self.unwritten.take() else {
            let committed = self.commit_behind(&self.current.clone(), &facts, flush)?;
            return Ok((std::mem::replace(&mut self.current, committed), facts));
        };
        all.extend(facts);
        match self.commit_behind(&ledger, &all, flush) {
            Ok(committed) => {
                self.current = committed;
                Ok((ledger, all))
            }
            Err(error) => {
                self.current = ledger;
                // Else it is begun, and whoever has its lock looks after its bytes.
                if self.locks.is_some() {
                    self.remove_whole();
                }
                Err(error)
            }
        }
    }

    fn commit_behind(
        &mut self,
        ledger: &Versioned,
        facts: &[Stamped],
        flush: Flush,
    ) -> Result<Versioned, HoldError> {
        if self.ledger != Ledger::NotBegun {
            return Ok(self.holds().state().commit(ledger, facts, flush)?);
        }
        let manifest = ledger.record.manifest().clone();
        let begun = self.holds().state().begin(manifest, facts, flush)?;
        self.ledger = Ledger::Unflushed;
        // Another process may be faster than the lock, and find a finish that was interrupted.
        let locks = self.locks.take();
        let lock = self.holds().lock_file(self.id())?;
        if self.holds().state().load(self.id())?.version != begun.version {
            return Err(HoldError::Busy);
        }
        self.locks = locks.map(|(_, guard)| (lock, guard));
        self.count(Event::Begun);
        Ok(begun)
    }

    /// Removes bytes that nobody would find again.
    pub(super) fn remove_whole(&mut self) {
        if let Err(error) = self.storage().remove_part(self.id(), PartId::WHOLE) {
            tracing::warn!(id = %self.id(), %error, "could not remove what a failed write left");
            self.certainty = Certainty::InDoubt;
        }
    }

    /// What becomes of it where the request broke off.
    pub(super) fn leave_nothing_unwritten(&mut self) {
        if self.ledger == Ledger::NotBegun {
            self.certainty = Certainty::InDoubt;
            let brought = self.unwritten.take().is_some() || self.tail.take().is_some();
            if brought && let Err(error) = self.storage().remove_upload(self.id()) {
                tracing::warn!(id = %self.id(), %error, "could not remove what a request brought");
            }
        } else if let Err(error) = self.write_down() {
            tracing::warn!(id = %self.id(), %error, "could not write down what a request brought");
        }
    }
}
