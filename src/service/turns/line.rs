//! The lines: who sends from one address, and who waits behind them.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::sync::{
    atomics::{AtomicUsize, Ordering},
    tasks::{self, OwnedSemaphorePermit, Semaphore},
    threads::{Mutex, MutexGuard},
};

/// Requests of one address that may wait at most.
const WAITING_MAX: usize = 1000;

/// Who sends, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    lines: Mutex<HashMap<IpAddr, Arc<Line>>>,
    waiting: AtomicUsize,
}

/// One address.
#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The right to send a chunk; to be kept until it is stored.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Given back before the line may go.
    permit: Option<OwnedSemaphorePermit>,
    stand: Stand,
}

/// Keeps the line of an address as long as somebody stands in it.
#[derive(Debug)]
struct Stand {
    turns: Arc<Turns>,
    address: IpAddr,
    line: Option<Arc<Line>>,
}

/// Counts somebody who waits.
struct Counted<'a>(&'a Turns, &'a Line);

impl Turns {
    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many lines there are.
    #[cfg(test)]
    #[allow(dead_code, reason = "asked for where this file is compiled over shuttle")]
    pub(crate) fn standing(&self) -> usize {
        self.lines().len()
    }

    /// Waits for a turn of the address, which has so many `places`; `None` after the longest wait.
    pub(crate) async fn take(
        self: &Arc<Self>,
        (address, places): (IpAddr, NonZeroUsize),
        wait: Duration,
    ) -> Option<Turn> {
        let mut turn = self.stand(address, places);
        let line = turn.stand.line.clone()?;
        turn.permit = Some(self.permit(&line, wait).await?);
        Some(turn)
    }

    fn stand(self: &Arc<Self>, address: IpAddr, places: NonZeroUsize) -> Turn {
        let mut lines = self.lines();
        let line = lines.entry(address).or_insert_with(|| {
            let places = places.get().min(Semaphore::MAX_PERMITS);
            let places = Arc::new(Semaphore::new(places));
            Arc::new(Line { places, waiting: AtomicUsize::new(0) })
        });
        let line = Some(line.clone());
        Turn { stand: Stand { turns: self.clone(), address, line }, permit: None }
    }

    async fn permit(&self, line: &Line, wait: Duration) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = line.places.clone().try_acquire_owned() {
            return Some(permit);
        }
        if line.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            return None;
        }
        let _counted = Counted::new(self, line);
        tasks::timeout(wait, line.places.clone().acquire_owned()).await.ok()?.ok()
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        self.line = None;
        let last = lines.get(&self.address).is_some_and(|line| Arc::strong_count(line) == 1);
        if last {
            lines.remove(&self.address);
        }
    }
}

impl<'a> Counted<'a> {
    fn new(turns: &'a Turns, line: &'a Line) -> Self {
        turns.waiting.fetch_add(1, Ordering::Relaxed);
        line.waiting.fetch_add(1, Ordering::Relaxed);
        Self(turns, line)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.1.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
