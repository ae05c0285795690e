//! When an upload's time is over.

use std::time::Duration;

use super::{Held, HoldError, Holds};
use crate::{
    storage::is_full,
    upload::{Fact, Phase, Record, Timestamp},
};

/// How long what was over when the process started is kept at least, so that whoever could not
/// reach it comes back in time, and a clock that was wrong at the start is put right.
const GRACE: Duration = Duration::from_hours(1);

/// The year 2026 begins. What is dated earlier was dated by a clock that was wrong: nothing was
/// stored by piton before.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

impl Holds {
    /// When a time is over that began at `begun`. What was over at the start has a while left, or
    /// all of its time where nobody knows when that began.
    pub fn end(&self, begun: Timestamp, time: Duration) -> Timestamp {
        let end = self.clock.end(begun, time);
        if end > self.started {
            return end;
        }
        self.started.plus(if begun < EARLIEST { time } else { time.min(GRACE) })
    }

    /// When an unfinished upload expires that was last active at `at`.
    pub fn deadline(&self, at: Timestamp) -> Timestamp {
        self.end(at, self.options.expire_after)
    }

    /// How coarsely activity is written down: expiry comes later by that much, never earlier.
    pub fn touch_grain(&self) -> Duration {
        (self.options.expire_after / 8).min(Duration::from_secs(1))
    }

    /// Has the deadline passed, of an unfinished upload that nobody brings bytes, or of a finished
    /// file, swept or not?
    pub(super) fn has_expired(&self, record: &Record) -> bool {
        let now = self.now();
        match (record.phase(), record.finished()) {
            (Phase::Expired, _) => true,
            (Phase::Finished, Some(file)) => {
                self.options.keep_finished.is_some_and(|keep| self.end(file.at, keep) <= now)
            }
            (phase, _) => {
                let passed = |deadline: Timestamp| deadline.plus(self.touch_grain()) <= now;
                phase.takes_bytes()
                    && passed(self.deadline(record.last_activity()))
                    && passed(self.deadline_of(record))
                    && !self.attended.has(&record.manifest().id)
            }
        }
    }

    /// When an unfinished upload expires: a final one that waits not before the last of its parts
    /// that somebody brings bytes. Blocks.
    pub(super) fn deadline_of(&self, record: &Record) -> Timestamp {
        let own = record.last_activity();
        let waits = record.phase() == Phase::Receiving;
        let parts = record.manifest().parts().filter(|_| waits);
        let parts = parts.map(|parts| &*parts.ids).unwrap_or_default().iter();
        let active = parts.filter_map(|id| self.state.load(id).ok());
        self.deadline(active.map(|part| part.record.last_activity()).fold(own, Timestamp::max))
    }
}

impl Held {
    /// Removes the bytes of an upload whose deadline passed; a last fact stays, so that 410 can be
    /// told from 404. That comes first: without it a restart may leave the upload a while, and
    /// whoever comes back then would find less than was told.
    pub fn expire(mut self) -> Result<(), HoldError> {
        self.doubt();
        self.tail = None;
        if self.record().finished().is_some() {
            return self.retire();
        }
        let flush = self.durability().of_answer();
        match self.commit([Fact::Expired], flush) {
            // A full disk has room for the fact when the bytes are gone.
            Err(HoldError::Io(error)) if is_full(&error) => {
                self.storage().remove_upload(self.id())?;
                self.commit([Fact::Expired], flush)
            }
            committed => {
                committed?;
                Ok(self.storage().remove_upload(self.id())?)
            }
        }
    }
}
