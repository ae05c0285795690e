//! The only place that knows what time it is.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::upload::Timestamp;

/// Tells the time of day. Deadlines of uploads are made of it; timeouts of sockets are tokio's.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;
}

/// The machine's clock. It does not follow the machine's back by less than a day, so that nothing
/// that has expired revives: it stands still until the machine's has caught up.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A machine whose clock goes back by more than this, in milliseconds, was wrong before.
const CORRECTION: u64 = 24 * 60 * 60 * 1000;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> Timestamp {
        static LATEST: AtomicU64 = AtomicU64::new(0);
        let told = Timestamp::from(SystemTime::now()).millis();
        Timestamp::from_millis(onwards(&LATEST, told))
    }
}

/// `told`, or the latest time that was told before if that is a little later.
fn onwards(latest: &AtomicU64, told: u64) -> u64 {
    let before = latest.fetch_max(told, Ordering::Relaxed);
    if before.saturating_sub(told) <= CORRECTION {
        return before.max(told);
    }
    latest.store(told, Ordering::Relaxed);
    told
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves on.
    pub fn advance(&self, span: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.plus(span);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A point to measure spans from; does not jump with the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_back_for_corrections_only() {
        let (latest, hour, year) = (AtomicU64::new(0), 3_600_000, 365 * 24 * 3_600_000);
        assert_eq!(onwards(&latest, year), year);
        assert_eq!(onwards(&latest, year + hour), year + hour);
        assert_eq!(onwards(&latest, year), year + hour);
        assert_eq!(onwards(&latest, year + 2 * hour), year + 2 * hour);
        assert_eq!(onwards(&latest, hour), hour);
        assert_eq!(onwards(&latest, hour + 1), hour + 1);
    }
}
