//! Which call fails, and how.

use std::{
    collections::HashMap,
    io,
    num::NonZeroU64,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

/// A method of [`Storage`](super::super::Storage), or of one of the blobs that it hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `Storage::stage`
    Stage,
    /// `Storage::adopt`
    Adopt,
    /// `Storage::create_part`
    CreatePart,
    /// `Storage::lend_part`
    LendPart,
    /// `Storage::open_part`
    OpenPart,
    /// `Storage::parts`
    Parts,
    /// `Storage::remove_part`
    RemovePart,
    /// `Storage::remove_upload`
    RemoveUpload,
    /// `Storage::sync_parts`
    SyncParts,
    /// `Storage::publish`
    Publish,
    /// `Storage::finished_file`
    FinishedFile,
    /// `Storage::open_finished`
    OpenFinished,
    /// `Storage::remove_finished`
    RemoveFinished,
    /// `Storage::withdraw`
    Withdraw,
    /// `Storage::uploads`
    Uploads,
    /// `Storage::sweep_staging`
    SweepStaging,
    /// `Blob::size`
    Size,
    /// `Blob::read_at`
    Read,
    /// `Blob::write_at`
    Write,
    /// `Blob::reserve`; a failure means that it does nothing.
    Reserve,
    /// `Blob::write_back`; a failure means that it does nothing.
    WriteBack,
    /// `Blob::truncate`
    Truncate,
    /// `Blob::share`; a failure means that nothing is shared.
    Share,
    /// `Blob::sync`; also the one by which adopting makes a staged file durable.
    Sync,
}

/// What a failing disk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// ENOSPC: the disk is full.
    NoSpace,
    /// EDQUOT: the quota is used up.
    Quota,
    /// EIO: the disk is broken.
    Device,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoSpace => Errno::NOSPC.into(),
            Failure::Quota => Errno::DQUOT.into(),
            Failure::Device => Errno::IO.into(),
        }
    }
}

/// The handle by which a test makes calls fail. Clones steer the same faults.
///
/// Calls are counted from 1, beginning when the fault is set. Where several faults meet the same
/// call, the one that was set first decides.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    released: Condvar,
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `nth` call from now on fails, and only that one.
    pub fn fail(&self, operation: Operation, nth: u64, failure: Failure) {
        self.add(Some(operation), Calls::Only(nth), Effect::Fail(failure));
    }

    /// The `nth` call from now on fails, and all that follow.
    pub fn fail_from(&self, operation: Operation, nth: u64, failure: Failure) {
        self.add(Some(operation), Calls::From(nth), Effect::Fail(failure));
    }

    /// The `nth` call of whatever kind from now on fails, and only that one.
    pub fn fail_any(&self, nth: u64, failure: Failure) {
        self.add(None, Calls::Only(nth), Effect::Fail(failure));
    }

    /// The `nth` call of whatever kind from now on fails, and all that follow.
    pub fn fail_any_from(&self, nth: u64, failure: Failure) {
        self.add(None, Calls::From(nth), Effect::Fail(failure));
    }

    /// The `nth` write from now on stores the first half of its bytes (rounded down), then fails.
    pub fn cut_write(&self, nth: u64, failure: Failure) {
        self.add(Some(Operation::Write), Calls::Only(nth), Effect::Cut(failure));
    }

    /// The `nth` call from now on, and all that follow, hang until [`Faults::release`] or
    /// [`Faults::clear`]; then they go on as if nothing had been.
    pub fn hang(&self, operation: Operation, nth: u64) {
        self.add(Some(operation), Calls::From(nth), Effect::Hang);
    }

    /// The `nth` call from now on panics, and only that one.
    pub fn panic(&self, operation: Operation, nth: u64) {
        self.add(Some(operation), Calls::Only(nth), Effect::Panic);
    }

    /// From now on blobs share whole blocks of so many bytes, as some file systems can; what that
    /// saves is only believed. Not a fault: it is not forgotten with them.
    pub fn share_blocks(&self, bytes: NonZeroU64) {
        self.plan().block = Some(bytes);
    }

    /// Lets all hanging calls go on, and later ones pass.
    pub fn release(&self) {
        let mut plan = self.plan();
        plan.rules.retain(|rule| rule.effect != Effect::Hang);
        plan.releases = plan.releases.wrapping_add(1);
        self.0.released.notify_all();
    }

    /// Forgets all faults and counts, and releases what hangs.
    pub fn clear(&self) {
        let mut plan = self.plan();
        plan.rules.clear();
        plan.calls.clear();
        plan.failed.clear();
        plan.releases = plan.releases.wrapping_add(1);
        self.0.released.notify_all();
    }

    /// How many calls there were, failed ones included, since the start or the last
    /// [`Faults::clear`].
    pub fn calls(&self, operation: Operation) -> u64 {
        self.plan().calls.get(&operation).copied().unwrap_or_default()
    }

    /// The calls that were made to fail, in order, since the start or the last [`Faults::clear`].
    pub fn failed(&self) -> Vec<Operation> {
        self.plan().failed.clone()
    }

    /// How many calls hang at this moment.
    pub fn hanging(&self) -> usize {
        self.plan().hanging
    }

    /// The blocks that blobs share.
    pub(super) fn block(&self) -> Option<NonZeroU64> {
        self.plan().block
    }

    /// Counts a call; an error if it is to fail. May hang.
    pub(super) fn enter(&self, operation: Operation) -> io::Result<()> {
        self.decide(operation).map_err(|denied| denied.error)
    }

    /// The same for a write, which may also be cut.
    pub(super) fn enter_write(&self) -> Result<(), Denied> {
        self.decide(Operation::Write)
    }

    fn decide(&self, operation: Operation) -> Result<(), Denied> {
        let mut plan = self.plan();
        match plan.count(operation) {
            None => Ok(()),
            Some(Effect::Fail(failure)) => Err(Denied { error: failure.into(), short: false }),
            Some(Effect::Cut(failure)) => Err(Denied { error: failure.into(), short: true }),
            Some(Effect::Hang) => {
                self.wait(plan);
                Ok(())
            }
            Some(Effect::Panic) => {
                drop(plan);
                panic!("{operation:?} was to panic")
            }
        }
    }

    fn wait(&self, mut plan: MutexGuard<'_, Plan>) {
        let before = plan.releases;
        plan.hanging = plan.hanging.saturating_add(1);
        while plan.releases == before {
            plan = self.0.released.wait(plan).unwrap_or_else(PoisonError::into_inner);
        }
        plan.hanging = plan.hanging.saturating_sub(1);
    }

    fn add(&self, operation: Option<Operation>, calls: Calls, effect: Effect) {
        self.plan().rules.push(Rule { operation, calls, seen: 0, effect });
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a call must not go through.
#[derive(Debug)]
pub(super) struct Denied {
    /// What to answer.
    pub(super) error: io::Error,
    /// Whether half of a write comes first.
    pub(super) short: bool,
}

#[derive(Debug, Default)]
struct Plan {
    rules: Vec<Rule>,
    calls: HashMap<Operation, u64>,
    failed: Vec<Operation>,
    hanging: usize,
    releases: u64,
    block: Option<NonZeroU64>,
}

impl Plan {
    /// Counts a call with every rule, and says what the first one that is due does to it.
    fn count(&mut self, operation: Operation) -> Option<Effect> {
        let calls = self.calls.entry(operation).or_default();
        *calls = calls.saturating_add(1);
        let mut effect = None;
        let met = |rule: &&mut Rule| rule.operation.is_none_or(|ours| ours == operation);
        for rule in self.rules.iter_mut().filter(met) {
            rule.seen = rule.seen.saturating_add(1);
            if rule.calls.contain(rule.seen) {
                effect = effect.or(Some(rule.effect));
            }
        }
        if matches!(effect, Some(Effect::Fail(_) | Effect::Cut(_))) {
            self.failed.push(operation);
        }
        effect
    }
}

#[derive(Debug)]
struct Rule {
    /// `None`: any.
    operation: Option<Operation>,
    calls: Calls,
    /// Calls since the rule was made.
    seen: u64,
    effect: Effect,
}

#[derive(Debug, Clone, Copy)]
enum Calls {
    Only(u64),
    From(u64),
}

impl Calls {
    const fn contain(self, call: u64) -> bool {
        match self {
            Self::Only(nth) => call == nth,
            Self::From(nth) => call >= nth,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Fail(Failure),
    Cut(Failure),
    Hang,
    Panic,
}
