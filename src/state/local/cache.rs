//! Open ledgers, bounded in number: descriptors are the scarce thing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ledger::Ledger;
use crate::upload::UploadId;

/// Ledgers are spread by the first digit of their ids.
const SHELVES: usize = 16;
/// Half of the descriptors that a process may have without asking for more.
const LEDGERS_MAX: usize = 512;
const SHELF_LEDGERS_MAX: usize = LEDGERS_MAX / SHELVES;

/// The ledgers that were asked for last. Its mutexes are held for a look-up, never while a file is
/// touched.
#[derive(Debug)]
pub(super) struct Cache {
    shelves: Vec<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    ledgers: HashMap<UploadId, Slot>,
    /// Look-ups so far.
    now: u64,
    /// Look-ups until the last cooling down.
    cooled: u64,
}

#[derive(Debug)]
struct Slot {
    ledger: Arc<Ledger>,
    used: u64,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { shelves: (0..SHELVES).map(|_| Mutex::default()).collect() }
    }

    pub(super) fn find(&self, id: &UploadId) -> Option<Arc<Ledger>> {
        self.shelf_of(id).find(id)
    }

    /// Keeps a ledger. Where another thread was faster its one is kept and returned, so that all
    /// commit through one.
    pub(super) fn keep(&self, id: &UploadId, opened: Ledger) -> Arc<Ledger> {
        let mut guard = self.shelf_of(id);
        if let Some(kept) = guard.find(id)
            && kept.is_same(&opened)
        {
            return kept;
        }
        let leaving = guard.make_room();
        let ledger = Arc::new(opened);
        let used = guard.tick();
        let replaced = guard.ledgers.insert(id.clone(), Slot { ledger: Arc::clone(&ledger), used });
        drop(guard);
        // Files are closed outside of the mutex.
        drop((leaving, replaced));
        ledger
    }

    /// Lets go of a ledger, unless another one has taken its place.
    pub(super) fn drop_one(&self, id: &UploadId, ledger: &Arc<Ledger>) {
        let mut guard = self.shelf_of(id);
        let is_it = |slot: &Slot| Arc::ptr_eq(&slot.ledger, ledger);
        let leaving = guard.ledgers.get(id).is_some_and(is_it).then(|| guard.ledgers.remove(id));
        drop(guard);
        drop(leaving);
    }

    /// Lets go of whatever is kept under this id.
    pub(super) fn forget(&self, id: &UploadId) {
        let leaving = self.shelf_of(id).ledgers.remove(id);
        drop(leaving);
    }

    /// Lets go of what nobody asked for since the last call.
    pub(super) fn cool_down(&self) {
        for shelf in &self.shelves {
            let leaving = lock(shelf).cool_down();
            drop(leaving);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(shelf).ledgers.len()).sum()
    }

    fn shelf_of(&self, id: &UploadId) -> MutexGuard<'_, Shelf> {
        let digit = id.as_str().chars().next().and_then(|digit| digit.to_digit(16)).unwrap_or(0);
        let number = usize::try_from(digit).unwrap_or(0);
        lock(self.shelves.get(number).expect("there is a shelf for each hex digit"))
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    fn find(&mut self, id: &UploadId) -> Option<Arc<Ledger>> {
        let used = self.tick();
        let slot = self.ledgers.get_mut(id)?;
        slot.used = used;
        Some(Arc::clone(&slot.ledger))
    }

    /// Takes out the ledger that was not used for the longest time, where the shelf is full. One
    /// that is in use stays: a second one of the same upload would let two threads commit at once.
    fn make_room(&mut self) -> Option<Slot> {
        if self.ledgers.len() < SHELF_LEDGERS_MAX {
            return None;
        }
        let idle = self.ledgers.iter().filter(|(_, slot)| slot.is_idle());
        let oldest = idle.min_by_key(|(_, slot)| slot.used).map(|(id, _)| id.clone())?;
        self.ledgers.remove(&oldest)
    }

    fn cool_down(&mut self) -> Vec<Slot> {
        let cooled = self.cooled;
        self.cooled = self.now;
        let cold = |_: &UploadId, slot: &mut Slot| slot.used <= cooled && slot.is_idle();
        self.ledgers.extract_if(cold).map(|(_, slot)| slot).collect()
    }

    fn tick(&mut self) -> u64 {
        self.now = self.now.saturating_add(1);
        self.now
    }
}

impl Slot {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.ledger) == 1
    }
}
