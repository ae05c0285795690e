//! The only place that knows what time it is.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};

use crate::upload::Timestamp;

/// How far the time of day may differ between two readings of one clock.
const NOISE: Duration = Duration::from_secs(1);
/// How long the machine's time of day must stay ahead before it is followed: by then a mistake has
/// been noticed, and taken back.
const PATIENCE: Duration = Duration::from_mins(10);
/// Steps forward that are told apart.
const STEPS_MAX: usize = 64;

/// Tells the time of day. Deadlines of uploads are made of it; timeouts of sockets are tokio's.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day. It never goes back.
    fn now(&self) -> Timestamp;

    /// When a span is over that began at `begun`: later than their sum by what the time of day was
    /// put forward meanwhile, which nobody lived through.
    fn end(&self, begun: Timestamp, span: Duration) -> Timestamp {
        begun.plus(span)
    }
}

/// The machine's clock at the start of the process; from then on time passes as the machine runs,
/// asleep or not. A step forward is followed when it has lasted, and ages nothing; a step back is
/// not followed, since what has expired would revive.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

static COURSE: Mutex<Course> = Mutex::new(Course::new());

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> Timestamp {
        let mut course = lock(&COURSE);
        // The time of day first: a process that is stopped in between must not see a step forward.
        let told = SystemTime::now();
        course.at(told.into(), since_boot())
    }

    fn end(&self, begun: Timestamp, span: Duration) -> Timestamp {
        lock(&COURSE).end(begun, span)
    }
}

/// Unlike [`Instant`] it counts the time in which the machine sleeps.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the time of day was, and how it was put forward.
#[derive(Debug, Default)]
struct Course {
    /// A moment that was told, and how long the machine had run then.
    known: Option<(Timestamp, Duration)>,
    /// Since when the machine's time of day is ahead of ours, as time since the boot.
    ahead: Option<Duration>,
    /// Is it behind?
    behind: bool,
    /// Steps forward that were followed: from when to when, in order.
    steps: Vec<(Timestamp, Timestamp)>,
}

impl Course {
    const fn new() -> Self {
        Self { known: None, ahead: None, behind: false, steps: Vec::new() }
    }

    /// The time of day when the machine tells `told` and has run for `awake`.
    fn at(&mut self, told: Timestamp, awake: Duration) -> Timestamp {
        let Some((then, since)) = self.known else {
            self.known = Some((told, awake));
            return told;
        };
        let own = then.plus(awake.saturating_sub(since));
        self.note_behind(own.since(told));
        if told.since(own) <= NOISE {
            self.ahead = None;
            if told > own {
                self.known = Some((told, awake));
            }
            return own.max(told);
        }
        let ahead = *self.ahead.get_or_insert(awake);
        if awake.saturating_sub(ahead) < PATIENCE {
            return own;
        }
        tracing::warn!(by = ?told.since(own), "the clock went forward: no deadline comes nearer");
        self.ahead = None;
        self.known = Some((told, awake));
        self.steps.push((own, told));
        self.merge_first_steps();
        told
    }

    fn note_behind(&mut self, by: Duration) {
        let behind = by > NOISE;
        if behind && !self.behind {
            tracing::warn!(?by, "the clock went back: it is not followed before a restart");
        }
        self.behind = behind;
    }

    /// What lies between two steps counts as skipped, too: that expires nothing too early.
    fn merge_first_steps(&mut self) {
        if let [(from, _), (_, to), ..] = *self.steps.as_slice()
            && self.steps.len() > STEPS_MAX
        {
            self.steps.splice(..2, [(from, to)]);
        }
    }

    fn end(&self, begun: Timestamp, span: Duration) -> Timestamp {
        self.steps.iter().fold(begun.plus(span), |end, (from, to)| {
            let skipped = end > *from && begun < *to;
            if skipped { end.plus(to.since((*from).max(begun))) } else { end }
        })
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Mutex<Manual>>);

#[derive(Debug, Default)]
struct Manual {
    course: Course,
    told: Timestamp,
    awake: Duration,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        let clock = Self(Arc::new(Mutex::new(Manual { told: now, ..Manual::default() })));
        clock.now();
        clock
    }

    /// Moves on.
    pub fn advance(&self, span: Duration) {
        let mut manual = lock(&self.0);
        manual.told = manual.told.plus(span);
        manual.awake = manual.awake.saturating_add(span);
    }

    /// Somebody puts the machine's clock forward.
    pub fn step_forward(&self, span: Duration) {
        let mut manual = lock(&self.0);
        manual.told = manual.told.plus(span);
    }

    /// Somebody puts the machine's clock back.
    pub fn step_back(&self, span: Duration) {
        let mut manual = lock(&self.0);
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        manual.told = Timestamp::from_millis(manual.told.millis().saturating_sub(millis));
    }

    /// The process ends, and with it what it knew of the clock.
    pub fn restart(&self) {
        lock(&self.0).course = Course::new();
        self.now();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let mut manual = lock(&self.0);
        let (told, awake) = (manual.told, manual.awake);
        manual.course.at(told, awake)
    }

    fn end(&self, begun: Timestamp, span: Duration) -> Timestamp {
        lock(&self.0).course.end(begun, span)
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

    const HOUR: Duration = Duration::from_hours(1);
    const BEGUN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_step_back_is_not_followed_and_time_goes_on() {
        for hours in [2, 48, 10 * 365 * 24] {
            let clock = ManualClock::at(BEGUN);
            clock.step_back(HOUR * hours);
            assert_eq!(clock.now(), BEGUN);
            clock.advance(HOUR);
            assert_eq!(clock.now(), BEGUN.plus(HOUR));
            clock.step_forward(HOUR * hours);
            assert_eq!(clock.now(), BEGUN.plus(HOUR), "taken back");
            assert_eq!(clock.end(BEGUN, HOUR), BEGUN.plus(HOUR));
        }
    }

    #[test]
    fn a_step_forward_that_is_taken_back_leaves_no_trace() {
        let clock = ManualClock::at(BEGUN);
        clock.step_forward(HOUR);
        assert_eq!(clock.now(), BEGUN);
        clock.advance(Duration::from_mins(9));
        assert_eq!(clock.now(), BEGUN.plus(Duration::from_mins(9)));
        clock.step_back(HOUR);
        clock.advance(HOUR);
        assert_eq!(clock.now(), BEGUN.plus(HOUR + Duration::from_mins(9)));
        assert_eq!(clock.end(BEGUN, HOUR), BEGUN.plus(HOUR));
    }

    #[test]
    fn a_step_forward_that_lasts_is_followed_and_ages_nothing() {
        let clock = ManualClock::at(BEGUN);
        clock.advance(HOUR);
        let step = clock.now();
        clock.step_forward(HOUR * 48);
        assert_eq!(clock.now(), step);
        clock.advance(PATIENCE);
        let now = clock.now();
        assert_eq!(now, step.plus(HOUR * 48 + PATIENCE));
        // Over before it, begun before it, begun in the middle of it, begun behind it.
        assert_eq!(clock.end(BEGUN, HOUR), BEGUN.plus(HOUR));
        assert_eq!(clock.end(BEGUN, HOUR * 2), BEGUN.plus(HOUR * 50));
        let skipped = step.plus(PATIENCE + HOUR * 24);
        assert_eq!(clock.end(skipped, HOUR), now.plus(HOUR));
        assert_eq!(clock.end(now, HOUR), now.plus(HOUR));
    }

    #[test]
    fn many_steps_are_one_long_one() {
        let clock = ManualClock::at(BEGUN);
        for _ in 0..200 {
            clock.step_forward(HOUR);
            clock.now();
            clock.advance(PATIENCE);
            clock.now();
        }
        let steps = lock(&clock.0).course.steps.clone();
        assert!(steps.len() <= STEPS_MAX && steps.is_sorted(), "{steps:?}");
        assert!(clock.end(BEGUN, PATIENCE * 201) >= BEGUN.plus(HOUR * 200 + PATIENCE * 200));
    }

    #[test]
    fn the_machines_clock_passes_and_does_not_go_back() {
        let mut last = SystemClock.now();
        for _ in 0..1000 {
            let now = SystemClock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
