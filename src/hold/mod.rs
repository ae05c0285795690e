//! An upload in hand: its lock, its facts and its bytes, brought into agreement.
//!
//! Whoever changes an upload does it through a [`Held`], which nothing but [`Holds`] can make: it
//! proves the lock (invariant I5), and that ledger and parts were compared since the last process
//! died. Readers that only look use [`Holds::look`] and take nothing.

mod ahead;
mod attend;
mod bracket;
mod contents;
mod deadline;
mod file;
mod held;
mod join;
mod names;
mod reconcile;
mod removal;
mod tail;
#[cfg(test)]
mod tests;
mod unwritten;
mod whole;

use std::{
    collections::HashMap,
    fmt, io, iter,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time;

pub use self::tail::{copy_range, hash_range};
pub use self::{
    attend::Attendance,
    contents::Contents,
    held::{Hashing, Held},
    join::Piece,
    reconcile::tail_among,
    tail::Tail,
    whole::WholeChunk,
};
use self::{
    attend::Attended,
    file::{FileFate, Verdicts},
    names::Numbers,
    tail::free_part,
    unwritten::Ground,
};
use crate::{
    blocking::{self, Span},
    clock::{Clock, Stopwatch},
    durable::{Durability, Flush},
    lock::{FileLock, LockError, Locks, Manner, ProcessLocks, UploadGuard},
    state::{State, StateError, Version, Versioned},
    storage::Storage,
    telemetry::{Event, Meter},
    upload::{Fact, LawError, Manifest, OutOfRange, Phase, Timestamp, UploadId},
};

/// How long to wait before another process is asked again whether it still holds an upload.
const RETRY: Duration = Duration::from_millis(5);
/// How often who only looks tries to see an upload that nobody changes meanwhile.
const LOOKS: u32 = 4;
/// Uploads whose open tail is kept between requests.
const WARM_MAX: usize = 1024;

/// Rules that hold for all uploads of this process.
#[derive(Debug, Clone, Copy)]
pub struct HoldOptions {
    /// What answers promise.
    pub durability: Durability,
    /// How often the page cache has been lost under this data; older uploads are verified at their
    /// first touch.
    pub epoch: u64,
    /// Most chunks of one part; appending begins a new part behind it.
    pub chunks_per_part: u64,
    /// How long an unfinished upload lives without new bytes.
    pub expire_after: Duration,
    /// How long a finished file is kept; `None` for ever.
    pub keep_finished: Option<Duration>,
    /// Whether finished files are noted by what they are.
    pub contents: Contents,
}

/// Why an upload could not be had, or changed.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// There is none.
    #[error("no such upload")]
    Unknown,
    /// There was one, and it expired.
    #[error("the upload expired")]
    Expired,
    /// Its facts or bytes contradict each other.
    #[error("the upload is damaged: {0}")]
    Damaged(String),
    /// A newer version wrote down what this one cannot read.
    #[error("the upload cannot be read: {0}")]
    Newer(String),
    /// Its holder does not let go.
    #[error("the upload is held")]
    Busy,
    /// The law forbids the change.
    #[error(transparent)]
    Law(LawError),
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<OutOfRange> for HoldError {
    fn from(error: OutOfRange) -> Self {
        Self::Law(error.into())
    }
}

impl From<StateError> for HoldError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Unknown => Self::Unknown,
            StateError::Damaged { .. } => Self::Damaged(error.to_string()),
            StateError::Newer { .. } => Self::Newer(error.to_string()),
            // Who holds the lock and still finds the ledger changed has lost the lock.
            StateError::Exists | StateError::Stale | StateError::Held => Self::Busy,
            StateError::Law(law) => Self::Law(law),
            StateError::Io(error) => Self::Io(error),
        }
    }
}

/// An upload as it looks from outside, without holding it.
#[derive(Debug, Clone)]
pub struct Look {
    /// The facts.
    pub current: Versioned,
    /// Bytes behind the sealed prefix.
    pub tail: u64,
    /// When it expires, if it is unfinished.
    pub deadline: Option<Timestamp>,
    /// Is it finished, and nobody has found out yet whether its file is still that file? Whoever
    /// takes it does.
    pub doubtful: bool,
}

/// Hands out uploads.
pub struct Holds {
    state: Arc<dyn State>,
    storage: Arc<dyn Storage>,
    locks: Locks,
    files: Arc<dyn ProcessLocks>,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    options: HoldOptions,
    warm: Mutex<HashMap<UploadId, Warm>>,
    attended: Attended,
    verdicts: Verdicts,
    numbers: Numbers,
    meter: Meter,
}

/// What is worth keeping of an upload between two requests: that its bytes were compared at this
/// version, and its open tail with the running hash.
struct Warm {
    version: Version,
    tail: Option<Tail>,
    ground: Ground,
    used: bool,
}

/// Was an upload made, or was it there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is new.
    Created,
    /// It was there.
    Found,
}

impl Holds {
    /// Over a state, a storage and the locks that belong to them.
    pub fn new(
        state: Arc<dyn State>,
        storage: Arc<dyn Storage>,
        (locks, files): (Locks, Arc<dyn ProcessLocks>),
        clock: Arc<dyn Clock>,
        options: HoldOptions,
    ) -> Self {
        let (warm, attended) = (Mutex::default(), Attended::default());
        let (meter, started, verdicts) = (Meter::default(), clock.now(), Verdicts::default());
        Self {
            state,
            storage,
            locks,
            files,
            clock,
            started,
            options,
            warm,
            attended,
            verdicts,
            numbers: Numbers::default(),
            meter,
        }
    }

    /// What becomes of uploads is counted here.
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Where facts live.
    pub fn state(&self) -> &Arc<dyn State> {
        &self.state
    }

    /// Where bytes live.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The rules.
    pub const fn options(&self) -> &HoldOptions {
        &self.options
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Bytes for this upload are on their way: it does not expire before the guard is dropped.
    pub fn attend(&self, id: &UploadId) -> Attendance {
        self.attended.begin(id)
    }

    /// Takes the upload: asks its holder to leave, or waits in line. One whose deadline has passed
    /// ends here.
    pub async fn take(self: &Arc<Self>, id: &UploadId, manner: Manner) -> Result<Held, HoldError> {
        let guard = self.locks.take(id, manner).await.map_err(|_| HoldError::Busy)?;
        self.open(guard, self.span_of(id), Self::open_unexpired).await
    }

    /// The same, but refuses one that [`Held::ensure_alive`] refuses.
    pub async fn take_alive(
        self: &Arc<Self>,
        id: &UploadId,
        manner: Manner,
    ) -> Result<Held, HoldError> {
        let guard = self.locks.take(id, manner).await.map_err(|_| HoldError::Busy)?;
        let open = |this: &Arc<Self>, guard, span| {
            let held = this.open_unexpired(guard, span)?;
            let fate = held.fate().map_err(|error| (error, None))?;
            Ok((held, fate))
        };
        let (held, fate) = self.open(guard, self.span_of(id), open).await?;
        if fate == FileFate::Doubtful {
            // All of the file is read.
            return blocking::run(move || held.ensure_alive().map(|()| held)).await;
        }
        fate.ensure_there().map(|()| held)
    }

    /// How long it takes to look at an upload, or to take it: one that was in hand of late is
    /// compared in a moment.
    pub fn span_of(&self, id: &UploadId) -> Span {
        if self.warm().contains_key(id) { Span::Moment } else { Span::Open }
    }

    /// Takes the upload if nobody holds it.
    pub async fn try_take(self: &Arc<Self>, id: &UploadId) -> Result<Held, HoldError> {
        let guard = self.locks.try_take(id).ok_or(HoldError::Busy)?;
        let this = self.clone();
        let open = move || this.open_held(guard, Span::Open).map_err(|(error, _)| error);
        blocking::run(open).await
    }

    /// Makes the upload, or takes the one that has this id. One that expired gives way to the new
    /// one.
    pub async fn create(self: &Arc<Self>, manifest: Manifest) -> Result<(Held, Origin), HoldError> {
        let taken = self.locks.take(&manifest.id, Manner::Asking).await;
        let guard = taken.map_err(|_| HoldError::Busy)?;
        // One with a key may be there already.
        let is_brief = manifest.key.is_none() && self.options.durability != Durability::Ack;
        let span = if is_brief { Span::Moment } else { Span::Open };
        let create = move |this: &Arc<Self>, guard, _| this.create_held(manifest.clone(), guard);
        self.open(guard, span, create).await
    }

    /// Looks without taking anything. Blocks. What is pending is not shown.
    ///
    /// Bytes are counted after the facts are read: where these changed meanwhile it looks again, so
    /// that the bytes of an upload that is deleted are not seen to go before it.
    pub fn look(&self, id: &UploadId) -> Result<Look, HoldError> {
        let mut current = self.state.load(id)?;
        for _ in 1..LOOKS {
            let look = self.look_at(&current)?;
            let now = self.state.load(id)?;
            if now.version == current.version {
                return Ok(look);
            }
            current = now;
        }
        self.look_at(&current)
    }

    fn look_at(&self, current: &Versioned) -> Result<Look, HoldError> {
        self.ensure_live(&current.record)?;
        let fate = self.fate_of_file(&current.record)?;
        fate.ensure_there()?;
        let pending = current.record.pending();
        let shown = match pending {
            Some(pending) => Versioned { record: pending.before.clone(), version: current.version },
            None => current.clone(),
        };
        let record = &*shown.record;
        let tail = match pending {
            Some(pending) => pending.offset.since(record.prefix_end()).unwrap_or(0),
            None if record.phase() == Phase::Receiving => self.visible_tail(&shown)?,
            None => 0,
        };
        let expires = self.deadline_of(record);
        let deadline = record.phase().takes_bytes().then_some(expires);
        let doubtful = fate == FileFate::Doubtful;
        Ok(Look { current: shown, tail, deadline, doubtful })
    }

    /// Lets go of whatever nobody asked for since the last call.
    pub fn cool_down(&self) {
        let cold: Vec<Warm> = {
            let mut warm = self.warm();
            let ids: Vec<UploadId> =
                warm.iter().filter(|(_, w)| !w.used).map(|(id, _)| id.clone()).collect();
            warm.values_mut().for_each(|w| w.used = false);
            ids.iter().filter_map(|id| warm.remove(id)).collect()
        };
        // Files close here, after the map is free again.
        drop(cold);
        self.state.cool_down();
    }

    /// Retries while another process has the file lock, for as long as newcomers wait. What cannot
    /// be opened in a moment is opened by a thread that may take longer.
    async fn open<T, F>(
        self: &Arc<Self>,
        guard: UploadGuard,
        span: Span,
        open: F,
    ) -> Result<T, HoldError>
    where
        F: Fn(&Arc<Self>, UploadGuard, Span) -> Result<T, (HoldError, Option<UploadGuard>)>,
        F: Send + Sync + 'static,
        T: Send + 'static,
    {
        let waiting = Stopwatch::start();
        let open = Arc::new(open);
        let (mut guard, mut span) = (guard, span);
        loop {
            let (this, open) = (self.clone(), open.clone());
            match blocking::run_for(span, move || open(&this, guard, span)).await {
                Ok(opened) => return Ok(opened),
                Err((HoldError::Busy, Some(back))) if span == Span::Moment => {
                    (guard, span) = (back, Span::Open);
                    continue;
                }
                Err((HoldError::Busy, Some(back))) if waiting.elapsed() < self.locks.patience() => {
                    guard = back;
                }
                Err((error, _)) => return Err(error),
            }
            time::sleep(RETRY).await;
        }
    }

    /// Within a [`Span::Moment`] only what is as it was left; else the guard comes back.
    fn open_held(
        self: &Arc<Self>,
        guard: UploadGuard,
        span: Span,
    ) -> Result<Held, (HoldError, Option<UploadGuard>)> {
        let lock = match self.lock_file(guard.id()) {
            Ok(lock) => lock,
            Err(error) => return Err((error, Some(guard))),
        };
        let current = match self.state.load(guard.id()) {
            Ok(current) => current,
            Err(error) => return Err((error.into(), Some(guard))),
        };
        let undisturbed = self.undisturbed(&current).map_err(|error| (error, None))?;
        if span == Span::Moment && undisturbed.is_none() {
            drop(lock);
            return Err((HoldError::Busy, Some(guard)));
        }
        Held::open(self, (guard, lock), current, undisturbed).map_err(|error| (error, None))
    }

    /// Nobody is told that an upload expired before that is written down: so no clock revives it.
    fn open_unexpired(
        self: &Arc<Self>,
        guard: UploadGuard,
        span: Span,
    ) -> Result<Held, (HoldError, Option<UploadGuard>)> {
        let held = self.open_held(guard, span)?;
        if held.record().phase() == Phase::Expired || !held.is_expired() {
            return Ok(held);
        }
        let id = held.id().clone();
        if let Err(error) = held.expire() {
            // It is answered as expired all the same, and the sweep tries again.
            tracing::error!(%id, %error, "could not write down that an upload expired");
        }
        Err((HoldError::Expired, None))
    }

    fn create_held(
        self: &Arc<Self>,
        manifest: Manifest,
        guard: UploadGuard,
    ) -> Result<(Held, Origin), (HoldError, Option<UploadGuard>)> {
        let flush = self.options.durability.of_answer();
        let created = match self.state.create(manifest.clone(), flush) {
            Ok(created) => created,
            Err(StateError::Exists) => return self.find_held(manifest, guard),
            Err(StateError::Held) => return Err((HoldError::Busy, Some(guard))),
            Err(error) => return Err((error.into(), None)),
        };
        let lock = match self.lock_file(guard.id()) {
            Ok(lock) => lock,
            Err(error) => return Err((error, Some(guard))),
        };
        self.begin_held((guard, lock), created).map_err(|error| (error, None))
    }

    fn begin_held(
        self: &Arc<Self>,
        locks: (UploadGuard, FileLock),
        created: Versioned,
    ) -> Result<(Held, Origin), HoldError> {
        if !created.record.is_cleared() {
            let current = self.state.load(&created.record.manifest().id)?;
            if current.version != created.version {
                // Another process was faster than the lock.
                return Ok((Held::open(self, locks, current, None)?, Origin::Found));
            }
        }
        let mut held = Held::fresh(self, locks, created);
        held.all_or_doubt(Held::clear_ground)?;
        held.ground = Ground::Bare;
        self.meter.upload(Event::Begun);
        Ok((held, Origin::Created))
    }

    /// The upload that has the id already, unless it is expired or its file lost: then it goes, and
    /// the next try makes a new one.
    fn find_held(
        self: &Arc<Self>,
        manifest: Manifest,
        guard: UploadGuard,
    ) -> Result<(Held, Origin), (HoldError, Option<UploadGuard>)> {
        let mut held = match self.open_held(guard, Span::Open) {
            // It went in between.
            Err((HoldError::Unknown, guard)) => return Err((HoldError::Busy, guard)),
            opened => opened?,
        };
        let fate = self.settled_fate(held.record()).map_err(|error| (error, None))?;
        let usable = fate == FileFate::AsFinished && held.record().phase() != Phase::Corrupt;
        if usable && !held.is_expired() {
            return Ok((held, Origin::Found));
        }
        if fate == FileFate::Changed && held.record().phase() == Phase::Finished {
            // What lies there now is somebody's work, and stays.
            held.commit([Fact::Corrupt], Flush::Lazy).map_err(|error| (error, None))?;
        }
        let guard = held.forget().map_err(|error| (error, None))?;
        self.create_held(manifest, guard)
    }

    fn lock_file(&self, id: &UploadId) -> Result<FileLock, HoldError> {
        self.files.try_lock(id).map_err(|error| match error {
            LockError::Held => HoldError::Busy,
            LockError::Unknown => HoldError::Unknown,
            LockError::Io(error) => HoldError::Io(error),
        })
    }

    /// What memory knows of an upload that is alive and as it was left.
    fn undisturbed(&self, current: &Versioned) -> Result<Option<Warm>, HoldError> {
        let Some(warm) = self.take_warm(current) else { return Ok(None) };
        let usable = !self.has_expired(&current.record) && self.is_undisturbed(&warm, current)?;
        Ok(usable.then_some(warm))
    }

    /// Another process may have appended without a word in the ledger.
    fn is_undisturbed(&self, warm: &Warm, current: &Versioned) -> Result<bool, HoldError> {
        match &warm.tail {
            Some(tail) if tail.is_open() => {
                // By its name: what is written to an open file that lost it is lost, too.
                let id = &current.record.manifest().id;
                let size = self.storage.part_size(id, tail.part)?;
                Ok(size == Some(tail.base.saturating_add(tail.length)))
            }
            Some(_) => Ok(false),
            None if current.record.phase() != Phase::Receiving => Ok(true),
            None => Ok(self.visible_tail(current)? == 0),
        }
    }

    /// Bytes behind the sealed prefix, as the sizes of the parts say that may hold them: the one
    /// that the prefix ends in, or one of their own.
    fn visible_tail(&self, current: &Versioned) -> Result<u64, HoldError> {
        let record = &*current.record;
        if record.manifest().parts().is_some() || !record.is_cleared() {
            return Ok(0);
        }
        let id = &record.manifest().id;
        let next = record.chunks().first_missing();
        let own = Tail::new(next, free_part(record, next), 0, 0);
        let mut longest = 0;
        for tail in iter::once(own).chain(Tail::behind_prefix(record, u64::MAX)) {
            let size = self.storage.part_size(id, tail.part)?.unwrap_or(0);
            longest = size.saturating_sub(tail.base).max(longest);
        }
        if self.options.durability == Durability::Ack {
            // What a running append has brought is told when it is on the disk.
            let promised = record.promised_tail().filter(|(chunk, ..)| *chunk == next);
            return Ok(promised.map_or(0, |(_, length, _)| length.min(longest)));
        }
        Ok(longest)
    }

    fn warm(&self) -> std::sync::MutexGuard<'_, HashMap<UploadId, Warm>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was kept, if the upload is still as it was then.
    fn take_warm(&self, current: &Versioned) -> Option<Warm> {
        let warm = self.warm().remove(&current.record.manifest().id)?;
        (warm.version == current.version).then_some(warm)
    }

    fn keep_warm(&self, current: &Versioned, (tail, ground): (Option<Tail>, Ground)) {
        let mut warm = self.warm();
        if warm.len() >= WARM_MAX {
            let any = warm.keys().next().cloned();
            any.and_then(|id| warm.remove(&id));
        }
        let id = current.record.manifest().id.clone();
        warm.insert(id, Warm { version: current.version, tail, ground, used: true });
    }
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holds").field("options", &self.options).finish_non_exhaustive()
    }
}
