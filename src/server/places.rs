//! Places for connections. Where all are taken, the connection that was idle for the longest time
//! gives way to a newcomer; where none is idle, one of an address that has more than its share
//! does, if that of the newcomer has less; else the newcomer is told so and leaves. For that a few
//! may stand in the lobby, which the one that came first leaves when too many do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Stopwatch,
    service::shares::{Pulse, Share, Shares, Whose},
};

/// Connections in the lobby at one time.
pub(super) const LOBBY: usize = 512;
/// Nobody counts as idle before that: a client that asks one thing after another needs its
/// connection, and a newcomer some time to say what it wants.
const IDLE_MIN: Duration = Duration::from_secs(2);
/// How long a newcomer waits for the one that gives way to it, which may be far away.
const ROOM_WAIT: Duration = Duration::from_secs(2);
/// How long it waits where nobody does: connections end all the time.
const MOMENT: Duration = Duration::from_millis(50);

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    shares: Arc<Shares>,
    idle: Arc<Line>,
    lobby: Arc<Line>,
    /// Before that nobody counts as idle.
    idle_min: Duration,
}

/// Connections that may be asked to go, in the order in which they would be.
#[derive(Debug, Default)]
struct Line(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    next: u64,
    waiting: BTreeMap<u64, (Stopwatch, CancellationToken)>,
}

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    line: Arc<Line>,
    leave: CancellationToken,
    /// Where it stands in the line, while it does.
    number: Mutex<Option<u64>>,
    _share: Option<Share>,
    pulse: Pulse,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        let shares = Shares::new(count);
        Self { shares, idle: Arc::default(), lobby: Arc::default(), idle_min: IDLE_MIN }
    }

    /// A place that is free now: who came first is to have it.
    pub(super) fn free_seat(&self, whose: Whose) -> Option<Seat> {
        Some(Seat::new(&self.idle, Some(self.shares.try_take(whose)?)))
    }

    /// A place where none was free: perhaps that of an idle connection, or of an address that has
    /// too many, which goes then. `None` where there is none.
    pub(super) async fn next_seat(&self, whose: Whose) -> Option<Seat> {
        let made = self.make_room() || self.shares.make_room(whose);
        let wait = if made { ROOM_WAIT } else { MOMENT };
        Some(Seat::new(&self.idle, Some(self.shares.wait(whose, wait).await?)))
    }

    /// One of either kind.
    #[cfg(test)]
    pub(super) async fn seat(&self) -> Option<Seat> {
        match self.free_seat(None) {
            Some(seat) => Some(seat),
            None => self.next_seat(None).await,
        }
    }

    /// Asks the connection to go that was idle for the longest time. Was there one?
    pub(super) fn make_room(&self) -> bool {
        let mut standing = self.idle.lock();
        let Some(first) = standing.waiting.first_entry() else { return false };
        if first.get().0.elapsed() < self.idle_min {
            return false;
        }
        first.remove().1.cancel();
        true
    }

    /// A place to be told in that there is no other.
    pub(super) fn lobby(&self) -> Seat {
        let seat = Seat::new(&self.lobby, None);
        let mut standing = self.lobby.lock();
        if standing.waiting.len() > LOBBY
            && let Some((_, (_, leave))) = standing.waiting.pop_first()
        {
            leave.cancel();
        }
        drop(standing);
        seat
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// It stands in the line from the beginning: who says nothing is idle.
    fn new(line: &Arc<Line>, share: Option<Share>) -> Self {
        let (leave, number) = (CancellationToken::new(), Mutex::default());
        let pulse = share.as_ref().map_or_else(Pulse::begin, |share| share.pulse().clone());
        let seat = Self { line: line.clone(), leave, number, _share: share, pulse };
        seat.rest();
        seat
    }

    /// What goes on here, and whether the place is to be given up at once, whatever that is.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Returns when the connection is asked to go.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// Nothing is going on: the connection may be asked to go, behind those that rest already.
    pub(super) fn rest(&self) {
        let mut number = self.number();
        let mut standing = self.line.lock();
        let next = standing.next;
        standing.next = next.saturating_add(1);
        standing.waiting.insert(next, (Stopwatch::start(), self.leave.clone()));
        *number = Some(next);
    }

    /// Something is going on, which nobody is to interrupt.
    pub(super) fn work(&self) {
        if let Some(number) = self.number().take() {
            self.line.lock().waiting.remove(&number);
        }
    }

    /// Something was going on: those that rest longer are asked before it.
    pub(super) fn rest_again(&self) {
        self.work();
        self.rest();
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.work();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_asked(seat: &Seat) -> bool {
        seat.leave.is_cancelled()
    }

    #[tokio::test]
    async fn the_one_that_rests_for_the_longest_time_gives_way() {
        let places = Places { idle_min: Duration::ZERO, ..Places::new(3) };
        let (first, second) = (places.seat().await.unwrap(), places.seat().await.unwrap());
        let third = places.seat().await.unwrap();
        first.work();
        // The second one is asked and does not go.
        assert!(places.seat().await.is_none());
        assert_eq!([&first, &second, &third].map(is_asked), [false, true, false]);
        let (newcomer, ()) = tokio::join!(places.seat(), async { drop(third) });
        let newcomer = newcomer.unwrap();
        newcomer.work();
        assert!(places.seat().await.is_none());
        first.rest();
        newcomer.rest();
        assert!(places.make_room());
        assert_eq!([&first, &newcomer].map(is_asked), [true, false]);
    }

    #[tokio::test]
    async fn who_has_just_come_is_not_asked_to_go() {
        // A busy machine may take as long as a connection may rest.
        let places = Places { idle_min: 60 * IDLE_MIN, ..Places::new(1) };
        let seat = places.seat().await.unwrap();
        assert!(places.seat().await.is_none() && !is_asked(&seat));
    }

    #[tokio::test]
    async fn places_come_back_and_lines_keep_nobody_that_left() {
        let places = Places::new(1);
        for _ in 0..3 {
            drop(places.seat().await.unwrap());
        }
        assert!(places.idle.lock().waiting.is_empty());
        let seats: Vec<Seat> = (0..=LOBBY).map(|_| places.lobby()).collect();
        assert!(is_asked(&seats[0]) && !is_asked(&seats[1]));
        drop(seats);
        assert!(places.lobby.lock().waiting.is_empty());
    }
}
