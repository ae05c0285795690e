//! Turns: how many chunks one address may send at the same time. The others wait for their turn, in
//! the order of their coming, and nobody waits for another address.
//!
//! Waiting comes before refusing, since clients of this flow repeat a refused chunk a hundred times
//! at once or not at all. A request that waits has not read its body: nothing of it is in memory,
//! and a client that waits for 100 is not told to send.
//!
//! Only chunks wait. A PATCH of tus may last for hours, so that whoever waited for one would be
//! refused in the end, and its client takes 429 for a verdict on the upload; and a newcomer that is
//! to take an upload over from a stalled PATCH must not stand in line behind it. Over HTTP/2 nobody
//! waits either: unread bodies would use up the window of the connection, which the running
//! requests need, and the number of its streams is bounded already.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Version, request::Parts};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use super::{ClientAddress, Service};
use crate::protocol::Problem;

/// Requests of one address that may wait at most.
const WAITING_MAX: usize = 1000;

/// How many may send at the same time.
#[derive(Debug, Clone, Copy)]
pub struct TurnOptions {
    /// Bodies of uploads that are received at the same time; none for no limit.
    pub together: Option<NonZeroUsize>,
    /// Chunks that one address may send at the same time; none for no limit.
    pub per_address: Option<NonZeroUsize>,
    /// How long a request waits for its turn at most.
    pub wait: Duration,
}

/// Who sends, and who waits.
#[derive(Debug, Default)]
pub(super) struct Turns {
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
pub(super) struct Turn {
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

impl Service {
    /// Waits until the client may send a chunk. `None` where nobody is counted.
    ///
    /// [`Problem::TooManyUploads`] after the longest wait, [`Problem::ShuttingDown`] during a stop.
    pub(super) async fn turn(&self, parts: &Parts) -> Result<Option<Turn>, Problem> {
        let TurnOptions { per_address, wait, .. } = self.0.options.turns;
        let client = parts.extensions.get::<ClientAddress>().map(|client| network(client.0));
        let (Some(places), Some(address)) = (per_address, client) else { return Ok(None) };
        if parts.version >= Version::HTTP_2 {
            return Ok(None);
        }
        let mut turn = self.0.turns.stand(address, places);
        let Some(line) = turn.stand.line.clone() else { return Ok(None) };
        turn.permit = tokio::select! {
            permit = self.0.turns.permit(&line, wait) => permit,
            () = self.0.stop.cancelled() => return Err(Problem::ShuttingDown),
        };
        if turn.permit.is_none() {
            return Err(Problem::TooManyUploads);
        }
        Ok(Some(turn))
    }
}

impl Turns {
    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
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
        time::timeout(wait, line.places.clone().acquire_owned()).await.ok()?.ok()
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

/// Whom an address stands for: of IPv6 its network of 64 bits, of which every host has all
/// addresses.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
