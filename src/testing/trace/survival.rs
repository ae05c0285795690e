//! What is left of a trace after a crash, as a disk that the next start finds.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{FileNumber, Step, Told};
use crate::{
    clock::{Clock, ManualClock},
    durable::Flush,
    state::{MemoryState, State, Versioned},
    storage::{Blob, MemoryStorage, Storage},
    upload::{FinalName, IdSecret, PartId, UploadId},
};

/// Up to so many steps in doubt, every choice among them is tried.
const EXHAUSTIVE: usize = 4;
/// The same in a long run.
const EXHAUSTIVE_LONG: usize = 8;
/// Choices by chance in a long run, where not all are tried.
const BY_CHANCE: u64 = 32;

/// How much is tried. Beyond the exhaustive number: all, none, each alone, all from each on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// In every run of the tests.
    Short,
    /// Also all but each, zeros for each, and some by chance.
    Long,
}

/// Which steps a crash takes, by their number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Loss {
    pub(crate) steps: BTreeSet<usize>,
    /// Lost bytes are zeros, not an earlier end: the file system wrote the size and not the bytes.
    pub(crate) zeros: bool,
}

/// What a power loss behind `steps` can take: those that no later flush has put on the disk. The
/// death of the process alone takes none, the first of these.
pub(crate) fn losses(steps: &[Step], span: Span) -> Vec<Loss> {
    losses_since(steps, 0, span)
}

/// The same, where an earlier power loss took what it could of the first `settled` steps.
pub(crate) fn losses_since(steps: &[Step], settled: usize, span: Span) -> Vec<Loss> {
    let all = settled..steps.len();
    let doubtful: Vec<usize> = all.filter(|at| is_doubtful(steps, *at)).collect();
    let mut found = BTreeSet::from([Loss::default()]);
    let mut add = |steps: BTreeSet<usize>, zeros: bool| _ = found.insert(Loss { steps, zeros });
    let exhaustive = if span == Span::Long { EXHAUSTIVE_LONG } else { EXHAUSTIVE };
    if doubtful.len() <= exhaustive {
        for choice in 0..1_u64 << doubtful.len() {
            add(chosen(&doubtful, choice), false);
            add(chosen(&doubtful, choice), true);
        }
        return found.into_iter().collect();
    }
    let all: BTreeSet<_> = doubtful.iter().copied().collect();
    for one in &doubtful {
        add(BTreeSet::from([*one]), false);
        add(all.range(one..).copied().collect(), false);
        if span == Span::Long {
            add(BTreeSet::from([*one]), true);
            add(all.range(one..).copied().collect(), true);
            add(all.iter().copied().filter(|other| other != one).collect(), false);
        }
    }
    let by_chance = if span == Span::Long { BY_CHANCE } else { 0 };
    for salt in 0..by_chance {
        let seed = salt.wrapping_add(u64::try_from(steps.len()).unwrap());
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        add(chosen(&doubtful, mixed), salt % 2 == 0);
    }
    add(all, true);
    found.into_iter().collect()
}

/// The steps that a crash leaves, as if nothing else had been.
pub(crate) fn kept(steps: &[Step], loss: &Loss) -> Vec<Step> {
    let mut torn: BTreeSet<&UploadId> = BTreeSet::new();
    let mut kept = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match (loss.steps.contains(&at), step) {
            (true, Step::Write { file, at, bytes }) if loss.zeros => {
                kept.push(Step::Write { file: *file, at: *at, bytes: vec![0; bytes.len()] });
            }
            (true, Step::Facts { id, .. }) => _ = torn.insert(id),
            (false, Step::Facts { id, .. }) if torn.contains(id) => {}
            (false, step) => {
                if let Step::Ledger { manifest } = step {
                    torn.remove(&manifest.id);
                }
                kept.push(step.clone());
            }
            (true, _) => {}
        }
    }
    kept
}

fn chosen(doubtful: &[usize], choice: u64) -> BTreeSet<usize> {
    let picked = |at: usize| choice.rotate_right(u32::try_from(at % 64).unwrap()) & 1 == 1;
    doubtful.iter().enumerate().filter(|(at, _)| picked(*at)).map(|(_, step)| *step).collect()
}

/// Can a power loss take this step?
fn is_doubtful(steps: &[Step], at: usize) -> bool {
    let flushed = |is_it: &dyn Fn(&Step) -> bool| steps[at + 1..].iter().any(is_it);
    let folder = |wanted: &UploadId| {
        flushed(&|step| matches!(step, Step::SyncFolder { id } if id == wanted))
    };
    match &steps[at] {
        Step::Write { file: wanted, .. } | Step::Truncate { file: wanted, .. } => {
            !flushed(&|step| matches!(step, Step::SyncFile { file } if file == wanted))
        }
        Step::Name { id, .. } | Step::RemovePart { id, .. } | Step::Withdraw { id, .. } => {
            !folder(id)
        }
        Step::Publish { .. } | Step::RemoveFinished { .. } => {
            !flushed(&|step| matches!(step, Step::SyncFiles))
        }
        Step::Ledger { manifest } => !ledger_flushed(steps, at, &manifest.id),
        Step::Facts { id, .. } => !ledger_flushed(steps, at, id),
        // No flush follows: what is forgotten may come back.
        Step::Void { .. } | Step::Forget { .. } => true,
        Step::SyncFile { .. }
        | Step::SyncFolder { .. }
        | Step::SyncFiles
        | Step::SyncLedger { .. }
        | Step::Told(_) => false,
    }
}

fn ledger_flushed(steps: &[Step], at: usize, wanted: &UploadId) -> bool {
    steps[at + 1..].iter().any(|step| matches!(step, Step::SyncLedger { id } if id == wanted))
}

/// A disk after a crash.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) state: Arc<MemoryState>,
    pub(crate) storage: MemoryStorage,
    /// What clients had been told before it.
    pub(crate) told: Vec<Told>,
    /// Which part is which file.
    pub(crate) parts: BTreeMap<(UploadId, PartId), FileNumber>,
}

/// Files and names while they are put together.
#[derive(Debug, Default)]
struct Medium {
    files: HashMap<FileNumber, Vec<u8>>,
    parts: BTreeMap<(UploadId, PartId), FileNumber>,
    finished: HashMap<FinalName, FileNumber>,
    ledgers: BTreeMap<UploadId, Versioned>,
    /// Ledgers of which a commit is lost: nothing behind it can be read.
    torn: BTreeSet<UploadId>,
    told: Vec<Told>,
}

impl Remains {
    /// What is left of `steps` without those that are lost.
    pub(crate) fn of(steps: &[Step], loss: &Loss, clock: &ManualClock) -> Self {
        let state = Arc::new(MemoryState::new(IdSecret::new([7; 32])));
        let mut medium = Medium::default();
        for (at, step) in steps.iter().enumerate() {
            match (loss.steps.contains(&at), step) {
                (false, step) => medium.keep(step, &state),
                (true, Step::Write { file, at, bytes }) if loss.zeros => {
                    medium.write(*file, *at, &vec![0; bytes.len()]);
                }
                (true, Step::Facts { id, .. }) => _ = medium.torn.insert(id.clone()),
                (true, _) => {}
            }
        }
        let now = clock.clone();
        let storage = MemoryStorage::new(move || now.now());
        medium.fill(&storage);
        Self { state, storage, told: medium.told, parts: medium.parts }
    }
}

impl Medium {
    fn write(&mut self, file: FileNumber, at: usize, bytes: &[u8]) {
        let held = self.files.entry(file).or_default();
        let end = at + bytes.len();
        held.resize(held.len().max(end), 0);
        held[at..end].copy_from_slice(bytes);
    }

    fn keep(&mut self, step: &Step, state: &MemoryState) {
        match step {
            Step::Write { file, at, bytes } => self.write(*file, *at, bytes),
            Step::Truncate { file, size } => self.files.entry(*file).or_default().truncate(*size),
            Step::Name { file, id, part } => {
                self.parts.insert((id.clone(), *part), *file);
            }
            Step::Publish { file, id, part, name } => {
                self.parts.remove(&(id.clone(), *part));
                self.finished.insert(name.clone(), *file);
            }
            Step::Withdraw { file, id, part, name } => {
                self.finished.remove(name);
                self.parts.insert((id.clone(), *part), *file);
            }
            Step::RemovePart { id, part } => _ = self.parts.remove(&(id.clone(), *part)),
            Step::RemoveFinished { name } => _ = self.finished.remove(name),
            Step::Told(told) => self.told.push(told.clone()),
            _ => self.keep_ledger(step, state),
        }
    }

    fn keep_ledger(&mut self, step: &Step, state: &MemoryState) {
        match step {
            Step::Ledger { manifest } => {
                // A ledger that was forgotten is still there if the forgetting is lost.
                state.forget(&manifest.id).unwrap();
                let created = state.create((**manifest).clone(), Flush::Lazy).unwrap();
                self.ledgers.insert(manifest.id.clone(), created);
                self.torn.remove(&manifest.id);
            }
            Step::Facts { id, facts } if !self.torn.contains(id) => {
                if let Some(held) = self.ledgers.get_mut(id) {
                    *held = state.commit(held, facts, Flush::Lazy).unwrap();
                }
            }
            Step::Void { id } | Step::Forget { id } => {
                state.forget(id).unwrap();
                self.ledgers.remove(id);
            }
            _ => {}
        }
    }

    /// Puts everything that has a name into `storage`.
    fn fill(&self, storage: &MemoryStorage) {
        let mut first: HashMap<FileNumber, (UploadId, PartId)> = HashMap::new();
        for ((id, part), file) in &self.parts {
            if let Some((lender, lent)) = first.get(file) {
                storage.lend_part((lender, *lent), (id, *part), Flush::Lazy).unwrap();
                continue;
            }
            let blob = storage.create_part(id, *part, Flush::Lazy).unwrap();
            self.pour(*file, &*blob);
            first.insert(*file, (id.clone(), *part));
        }
        let helper = UploadId::parse(&"f".repeat(32)).unwrap();
        let part = PartId::new(super::super::chunk(0));
        for (name, file) in &self.finished {
            if let Some((lender, lent)) = first.get(file) {
                storage.lend_part((lender, *lent), (&helper, part), Flush::Lazy).unwrap();
            } else {
                let blob = storage.create_part(&helper, part, Flush::Lazy).unwrap();
                self.pour(*file, &*blob);
            }
            storage.publish(&helper, part, name, Flush::Lazy).unwrap();
        }
        storage.remove_upload(&helper).unwrap();
    }

    fn pour(&self, file: FileNumber, blob: &dyn Blob) {
        let bytes = self.files.get(&file).map(Vec::as_slice).unwrap_or_default();
        blob.write_at(bytes, 0).unwrap();
    }
}
