//! How much connections may read before anybody wants it. One that is alone reads large pieces,
//! which costs the least; of many each reads a little, so that all of them together stay within
//! bounds that the memory budget sets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Read at once from a connection of HTTP/1.1 at most; about three times as much of a body is in
/// memory: what is written, what comes next, and what is being read.
pub(super) const PIECE_MAX: usize = 128 * 1024;
/// The same of however many bodies come in at the same time.
const PIECE_MIN: usize = 16 * 1024;
/// What is in memory of a body, in pieces, rounded up.
const PIECES: usize = 4;

/// Unread bytes of a connection of HTTP/2 (RFC 9113 §6.9.2 has a window of 64 KiB at least).
const WINDOW_MAX: usize = 16 * 1024 * 1024;
const WINDOW_MIN: usize = 64 * 1024;
/// Budgets that all such windows take together at most, those of [`WINDOW_MIN`] not counted.
const WINDOW_BUDGETS: usize = 16;
/// Budgets that are divided by the number of such connections.
const SHARED_BUDGETS: usize = 4;

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Ration(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    budget: usize,
    /// Bodies that are being received.
    bodies: Arc<AtomicUsize>,
    /// Connections of HTTP/2.
    connections: AtomicUsize,
    /// What their windows take together.
    granted: AtomicUsize,
}

/// The window of a connection of HTTP/2, as long as that is open.
#[derive(Debug)]
pub(super) struct Window {
    ration: Ration,
    bytes: usize,
}

impl Ration {
    /// Out of `budget` bytes, for as many bodies as are counted there.
    pub(super) fn new(budget: u64, bodies: Arc<AtomicUsize>) -> Self {
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let (connections, granted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Rules { budget, bodies, connections, granted }))
    }

    /// Bytes to read at once now.
    pub(super) fn piece(&self) -> usize {
        let bodies = self.0.bodies.load(Ordering::Relaxed).max(1);
        let share = self.0.budget / PIECES / bodies;
        // HTTP/1.1 buffers have powers of two.
        let piece = share.checked_ilog2().map_or(PIECE_MIN, |power| 1 << power);
        piece.clamp(PIECE_MIN, PIECE_MAX)
    }

    /// A window for one more connection.
    pub(super) fn window(&self) -> Window {
        let Rules { budget, connections, granted, .. } = &*self.0;
        let number = connections.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let all = budget.saturating_mul(WINDOW_BUDGETS);
        let share = budget.saturating_mul(SHARED_BUDGETS) / number;
        let mut bytes = 0;
        let grant = |before: usize| {
            bytes = share.min(all.saturating_sub(before)).clamp(WINDOW_MIN, WINDOW_MAX);
            Some(before.saturating_add(bytes - WINDOW_MIN))
        };
        let _ = granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grant);
        Window { ration: self.clone(), bytes }
    }
}

impl Window {
    /// What all streams of the connection may have in flight, in bytes.
    pub(super) fn of_connection(&self) -> u32 {
        size(self.bytes)
    }

    /// What one of them may: siblings of one that stalls have the rest.
    pub(super) fn of_stream(&self) -> u32 {
        size((self.bytes / 4).max(WINDOW_MIN))
    }

    /// A frame, which is kept until it is whole.
    pub(super) fn of_frame(&self) -> u32 {
        size((self.bytes / 64).max(16 * 1024))
    }
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Drop for Window {
    fn drop(&mut self) {
        self.ration.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.ration.0.granted.fetch_sub(self.bytes - WINDOW_MIN, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn ration(budget: usize) -> (Ration, Arc<AtomicUsize>) {
        let bodies = Arc::new(AtomicUsize::new(0));
        (Ration::new(u64::try_from(budget).unwrap(), bodies.clone()), bodies)
    }

    #[test]
    fn the_more_bodies_there_are_the_less_of_each_is_read_at_once() {
        let (ration, bodies) = ration(32 * MIB);
        let pieces = [0, 1, 64, 65, 100, 500, 2000, usize::MAX].map(|count| {
            bodies.store(count, Ordering::Relaxed);
            ration.piece() / 1024
        });
        assert_eq!(pieces, [128, 128, 128, 64, 64, 16, 16, 16]);
    }

    #[test]
    fn windows_have_a_bound_together_and_come_back() {
        let (ration, _) = ration(32 * MIB);
        let first = ration.window();
        assert_eq!((first.of_connection(), first.of_stream()), (16 << 20, 4 << 20));
        assert_eq!(first.of_frame(), 256 << 10);
        let crowd: Vec<Window> = (0..10_000).map(|_| ration.window()).collect();
        let all: usize = crowd.iter().map(|window| window.bytes - WINDOW_MIN).sum();
        assert!(all <= 512 * MIB, "{all}");
        let last = crowd.last().unwrap();
        assert_eq!((last.of_connection(), last.of_stream()), (64 << 10, 64 << 10));
        assert_eq!(last.of_frame(), 16 << 10);
        assert!(crowd[99].of_connection() > 1 << 20, "{:?}", crowd[99]);
        drop((first, crowd));
        assert_eq!(ration.0.granted.load(Ordering::Relaxed), 0);
        assert_eq!(ration.window().of_connection(), 16 << 20);
    }
}
