//! Expired → gone: the only broom. It never takes an upload from anyone who holds it.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

use crate::{
    blocking,
    clock::Stopwatch,
    hold::{Held, HoldError, HoldOptions, Holds},
    state::{Listed, Shard, local::ledger_path},
    storage::StoredUpload,
    upload::{CLOCK_ERROR, Dialect, Phase, Record, Timestamp, UploadId},
};

/// Ledgers that are opened in one go; between two goes others get the disk.
const BATCH: usize = 64;
/// The pause between two goes.
const BREATH: Duration = Duration::from_millis(5);
/// Within that time every ledger is looked at, also one that should have had nothing to sweep: its
/// upload may have been busy when its time was over, its file may have been taken away.
const THOROUGH_EVERY: Duration = Duration::from_hours(24);
/// By how much an upload may expire later than its ledger's age says, at most.
const GRAIN_MAX: Duration = Duration::from_secs(1);
/// How old staged files and parts without a ledger must be before they count as left behind.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// When and what to sweep.
#[derive(Debug, Clone, Copy)]
pub struct ReaperOptions {
    /// Time between two sweeps; up to an eighth of it is added by chance, so that processes do not
    /// sweep together.
    pub every: Duration,
    /// How long an expired upload is remembered, so that 410 can be told from 404.
    pub remember: Duration,
    /// Which complete uploads are finished without a request.
    pub finishing: Unasked,
}

/// Which complete uploads are finished without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    /// Those of offset clients, which have no way to ask.
    OffsetClients,
    /// All of them.
    Everybody,
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads whose deadline had passed.
    pub expired: usize,
    /// Ledgers that were not needed any more.
    pub forgotten: usize,
    /// Parts without a ledger, by upload.
    pub orphans: usize,
    /// Staged files that nobody wrote to any more.
    pub staged: usize,
}

/// Sweeps.
pub struct Reaper {
    holds: Arc<Holds>,
    options: ReaperOptions,
    /// Told of each upload whose finish a crash interrupted.
    resume: Box<dyn Fn(UploadId) + Send + Sync>,
    trigger: Arc<Notify>,
    round: Round,
    told_of_newer: AtomicBool,
}

/// Which ledgers a sweep opens. Most are those of finished uploads, which have nothing to sweep for
/// as long as they are kept: opened at each sweep, they would make it cost the more the longer a
/// server is used.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// When the sweep before this one began; none for the first, which looks at everything.
    since: Option<Timestamp>,
    /// The first shard whose turn it is to be looked at as a whole.
    turn: u8,
}

impl Round {
    /// Behind which moment a time must have run out for its ledger to be opened; `None` where that
    /// does not matter. A sweep that comes a little early, or meets a busy upload, has two more.
    fn after(self, shard: Shard, every: Duration) -> Option<Timestamp> {
        let since = self.since?;
        let grace = millis(every).saturating_mul(2).saturating_add(millis(GRAIN_MAX));
        let in_turn = u64::from(shard.0.wrapping_sub(self.turn)) < in_turn(every);
        (!in_turn).then(|| Timestamp::from_millis(since.millis().saturating_sub(grace)))
    }

    fn next(self, began: Timestamp, every: Duration) -> Self {
        let step = u8::try_from(in_turn(every)).unwrap_or(u8::MAX);
        Self { since: Some(began), turn: self.turn.wrapping_add(step) }
    }
}

/// How many of the 256 shards one sweep looks at as a whole.
fn in_turn(every: Duration) -> u64 {
    let share = millis(every).saturating_mul(256) / millis(THOROUGH_EVERY);
    share.saturating_add(1).min(256)
}

impl Reaper {
    /// `resume` is told of each upload whose finish a crash interrupted.
    pub fn new(
        holds: Arc<Holds>,
        options: ReaperOptions,
        resume: impl Fn(UploadId) + Send + Sync + 'static,
    ) -> Self {
        let (trigger, round) = (Arc::default(), Round::default());
        let told_of_newer = AtomicBool::new(false);
        Self { holds, options, resume: Box::new(resume), trigger, round, told_of_newer }
    }

    /// Wakes the reaper before its time.
    pub fn trigger(&self) -> Arc<Notify> {
        self.trigger.clone()
    }

    /// Sweeps until stopped. A sweep that fails is logged, and the next one comes at its time.
    pub async fn run(mut self, stop: CancellationToken) {
        if let Err(error) = self.resume_interrupted().await {
            tracing::error!(%error, "could not look for interrupted finishes");
        }
        loop {
            tokio::select! {
                swept = timed(self.sweep()) => report(&swept),
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = time::sleep(self.pause()) => {}
                () = self.trigger.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn pause(&self) -> Duration {
        let mut chance = [0; 1];
        // Without chance the pause is just the even one.
        let _ = getrandom::fill(&mut chance);
        let [chance] = chance;
        self.options.every + self.options.every / 8 * u32::from(chance) / 256
    }

    /// Looks at every upload that has bytes outside of `files/`; only those can have been
    /// interrupted: in the middle of a finish, or of their end.
    async fn resume_interrupted(&self) -> Result<(), HoldError> {
        let storage = self.holds.storage().clone();
        let uploads = blocking::run(move || storage.uploads()).await?;
        for batch in uploads.chunks(BATCH) {
            let (holds, batch) = (self.holds.clone(), batch.to_vec());
            let unasked = self.options.finishing;
            let interrupted = blocking::run(move || -> Vec<UploadId> {
                let ids = batch.into_iter().map(|stored| stored.id);
                ids.filter(|id| is_interrupted(&holds, id, unasked)).collect()
            });
            interrupted.await.into_iter().for_each(&self.resume);
            time::sleep(BREATH).await;
        }
        Ok(())
    }

    /// One sweep: over everything where it is the first, then over what has become due since.
    pub async fn sweep(&mut self) -> Result<Swept, HoldError> {
        let began = self.holds.now();
        let mut swept = Swept::default();
        for shard in Shard::all() {
            let state = self.holds.state().clone();
            let listed = blocking::run(move || state.list(shard)).await?;
            let after = self.round.after(shard, self.options.every);
            let span = (after, self.holds.now());
            let due = |listed: &Listed| {
                // A file that appeared may have left no other trace of the finish that made it.
                let at_start = self.round.since.is_none();
                (listed.interrupted && at_start) || self.may_be_due(listed.changed, span)
            };
            let due: Vec<Listed> = listed.into_iter().filter(due).collect();
            for batch in due.chunks(BATCH) {
                self.sweep_batch(batch, &mut swept).await;
                time::sleep(BREATH).await;
            }
        }
        self.sweep_left_behind(&mut swept).await?;
        self.round = self.round.next(began, self.options.every);
        Ok(swept)
    }

    /// Every sign of life is a fact in the ledger, so only one whose last fact is as old as one of
    /// the times that we keep need be opened, and that once.
    fn may_be_due(&self, changed: Timestamp, (after, now): (Option<Timestamp>, Timestamp)) -> bool {
        let HoldOptions { expire_after, keep_finished, .. } = *self.holds.options();
        let times = [Some(expire_after), Some(self.options.remember), keep_finished];
        let mut ends = times.into_iter().flatten().map(|time| self.holds.end(changed, time));
        // What a wrong clock dated far ahead is looked at in turn.
        let never = changed.since(now) > CLOCK_ERROR;
        let due = |end: Timestamp| end <= now && after.is_none_or(|after| end > after);
        ends.any(due) || (never && after.is_none())
    }

    async fn sweep_batch(&self, batch: &[Listed], swept: &mut Swept) {
        for listed in batch {
            match self.sweep_one(listed).await {
                Ok(Fate::Kept) | Err(HoldError::Busy | HoldError::Unknown) => {}
                Ok(Fate::Expired) => swept.expired = swept.expired.saturating_add(1),
                Ok(Fate::Forgotten) => swept.forgotten = swept.forgotten.saturating_add(1),
                Err(HoldError::Newer(why)) => self.leave_unread(&listed.id, &why),
                Err(error) => tracing::error!(id = %listed.id, %error, "could not sweep an upload"),
            }
        }
    }

    /// Whoever wrote it knows when it ends. Said of the first one only: after a step back to an
    /// older version there may be any number.
    fn leave_unread(&self, id: &UploadId, why: &str) {
        if self.told_of_newer.swap(true, Ordering::Relaxed) {
            return;
        }
        let ledger = ledger_path(Path::new("state"), id);
        tracing::warn!(
            %id, ledger = %ledger.display(), why,
            "left a ledger of a newer piton alone, as all of them are: run that version again"
        );
    }

    async fn sweep_one(&self, listed: &Listed) -> Result<Fate, HoldError> {
        let remembered = self.holds.end(listed.changed, self.options.remember) > self.holds.now();
        let memory = if remembered { Memory::Fresh } else { Memory::Faded };
        let held = match self.holds.try_take(&listed.id).await {
            Ok(held) => held,
            Err(HoldError::Damaged(_)) if !remembered => {
                self.holds.forget(&listed.id).await?;
                return Ok(Fate::Forgotten);
            }
            // A ledger that was never begun: its creation was cut off, and never answered.
            Err(HoldError::Unknown) if listed.changed.plus(ABANDONED_AFTER) <= self.holds.now() => {
                self.holds.forget(&listed.id).await?;
                return Ok(Fate::Forgotten);
            }
            Err(error) => return Err(error),
        };
        blocking::run(move || sweep_held(held, memory)).await
    }

    async fn sweep_left_behind(&self, swept: &mut Swept) -> Result<(), HoldError> {
        let age = millis(ABANDONED_AFTER);
        let before = Timestamp::from_millis(self.holds.now().millis().saturating_sub(age));
        let storage = self.holds.storage().clone();
        let (staged, mut old) = blocking::run(move || -> io::Result<_> {
            Ok((storage.sweep_staging(before)?, storage.uploads()?))
        })
        .await?;
        swept.staged = staged;
        old.retain(|stored| stored.changed < before);
        for batch in old.chunks(BATCH) {
            let (holds, batch) = (self.holds.clone(), batch.to_vec());
            let removed = blocking::run(move || remove_orphans(&holds, &batch)).await?;
            swept.orphans = swept.orphans.saturating_add(removed);
            time::sleep(BREATH).await;
        }
        Ok(())
    }
}

/// Removes those that have no ledger; how many there were.
fn remove_orphans(holds: &Arc<Holds>, old: &[StoredUpload]) -> Result<usize, HoldError> {
    let mut orphans = 0_usize;
    for StoredUpload { id, .. } in old {
        match holds.remove_orphan(id) {
            Ok(()) => orphans = orphans.saturating_add(1),
            Err(HoldError::Busy) => clear_remains(holds, id),
            Err(HoldError::Damaged(_) | HoldError::Newer(_) | HoldError::Unknown) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(orphans)
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper").field("options", &self.options).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Expired,
    Forgotten,
}

/// Is the end of an upload recent enough to be told?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Fresh,
    Faded,
}

fn sweep_held(mut held: Held, memory: Memory) -> Result<Fate, HoldError> {
    let record = held.record();
    let forget = match (record.phase(), record.finished()) {
        (Phase::Expired | Phase::Corrupt, _) => memory == Memory::Faded,
        _ if held.is_expired() => {
            held.expire()?;
            return Ok(Fate::Expired);
        }
        // Its deadline would be as far away as the clock was wrong; it counts from now on.
        (phase, _) if phase.takes_bytes() && held.is_dated_ahead() => {
            held.date_anew()?;
            false
        }
        (Phase::Finished, Some(_)) => held.is_without_file()?,
        _ => false,
    };
    if !forget {
        held.note_content();
        return Ok(Fate::Kept);
    }
    held.forget()?;
    Ok(Fate::Forgotten)
}

/// Complete and unfinished, and nobody would ask: a publish that broke off, or the last byte of an
/// offset client.
fn is_interrupted(holds: &Arc<Holds>, id: &UploadId, unasked: Unasked) -> bool {
    let record = match holds.look(id) {
        Ok(look) => look.current.record,
        // Unknown: a finished upload without its file, perhaps on its way out.
        Err(HoldError::Expired | HoldError::Unknown) => {
            clear_remains(holds, id);
            return false;
        }
        Err(_) => return false,
    };
    if record.manifest().parts().is_some() {
        return is_interrupted_final(&record);
    }
    let manifest = record.manifest();
    let unasked = manifest.dialect == Dialect::Tus || unasked == Unasked::Everybody;
    let complete = record.phase() == Phase::Received && !manifest.is_partial();
    record.phase() == Phase::Merging || (complete && unasked)
}

/// Bytes that outlived the word that they are gone.
fn clear_remains(holds: &Arc<Holds>, id: &UploadId) {
    match holds.remove_remains(id) {
        Ok(())
        | Err(HoldError::Busy | HoldError::Unknown | HoldError::Damaged(_) | HoldError::Newer(_)) =>
            {}
        Err(error) => tracing::error!(%id, %error, "could not remove an expired upload's bytes"),
    }
}

/// A final upload that its client was told to wait for, that has all bytes, or that lacks digests.
fn is_interrupted_final(record: &Record) -> bool {
    match record.phase() {
        Phase::Receiving => record.is_promised(),
        Phase::Received | Phase::Merging => true,
        Phase::Finished => record.finished().is_some_and(|file| file.composite.is_none()),
        Phase::Terminated | Phase::Expired | Phase::Corrupt => false,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let watch = Stopwatch::start();
    let done = work.await;
    (done, watch.elapsed())
}

fn report((swept, took): &(Result<Swept, HoldError>, Duration)) {
    match swept {
        Ok(swept) if *swept == Swept::default() => tracing::debug!(?took, "swept, nothing to do"),
        Ok(Swept { expired, forgotten, orphans, staged }) => {
            tracing::info!(expired, forgotten, orphans, staged, ?took, "swept");
        }
        Err(error) => tracing::error!(%error, "sweep broken off"),
    }
}

#[cfg(test)]
mod tests;
