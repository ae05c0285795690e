//! Threads that hash at the same time do it two by two: a processor takes two messages in little
//! more than the time of one.
//!
//! Nobody waits for company. Who comes first works alone, and looks after each step whether
//! somebody else has come; then it takes that one's bytes along in a second lane, until its own are
//! done. So a thread rests only while another one does its work.

use bytes::Bytes;

use super::sync::threads::{Mutex, MutexGuard, mpsc};
use crate::upload::RunningSha256;

/// Bytes that one takes in before it looks for company again: some 50 us.
const STEP: usize = 64 * 1024;

/// The place where threads that hash meet.
pub(super) struct Pairs {
    /// More threads than this share their lanes; fewer find a processor of their own.
    at_ease: usize,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Threads that hash.
    inside: usize,
    /// Those of them that work alone and will look at `waiting`.
    alone: usize,
    waiting: Option<Guest>,
}

#[derive(Clone)]
struct Work {
    running: RunningSha256,
    rest: Bytes,
}

/// Work that somebody else is to go on with, and the way back.
struct Guest {
    work: Work,
    back: mpsc::SyncSender<Work>,
}

enum Role {
    Host,
    Guest(mpsc::Receiver<Work>),
}

impl Pairs {
    /// `processors`: how many threads run at the same time. Who sends and who receives takes half
    /// of them.
    pub(super) fn new(processors: usize) -> Self {
        Self { at_ease: processors / 2, desk: Mutex::default() }
    }

    /// Adds `bytes` to `running`. Blocks.
    pub(super) fn hash(&self, running: &mut RunningSha256, bytes: Bytes) {
        if bytes.len() <= STEP {
            return running.update(&bytes);
        }
        let mut work = Work { running: std::mem::take(running), rest: bytes };
        self.desk().inside += 1;
        while !work.rest.is_empty() {
            work = match self.enter(&work) {
                Role::Host => self.host(work),
                // A host that panicked has our work no more; we have.
                Role::Guest(back) => back.recv().unwrap_or(work),
            };
        }
        self.desk().inside -= 1;
        *running = work.running;
    }

    fn enter(&self, work: &Work) -> Role {
        let mut desk = self.desk();
        if desk.inside > self.at_ease && desk.alone > 0 && desk.waiting.is_none() {
            let (back, way_back) = mpsc::sync_channel(1);
            desk.waiting = Some(Guest { work: work.clone(), back });
            return Role::Guest(way_back);
        }
        desk.alone += 1;
        Role::Host
    }

    /// Works until the bytes are at their end, or there was company.
    fn host(&self, mut work: Work) -> Work {
        loop {
            let guest = {
                let mut desk = self.desk();
                let guest = desk.waiting.take();
                if guest.is_some() || work.rest.is_empty() {
                    desk.alone -= 1;
                }
                guest
            };
            if let Some(Guest { work: mut other, back }) = guest {
                together(&mut work, &mut other);
                // It waits for us.
                let _ = back.send(other);
                return work;
            }
            if work.rest.is_empty() {
                return work;
            }
            let step = work.rest.split_to(work.rest.len().min(STEP));
            work.running.update(&step);
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Both as far as the shorter one goes.
fn together(one: &mut Work, other: &mut Work) {
    let common = one.rest.len().min(other.rest.len());
    let (left, right) = (one.rest.split_to(common), other.rest.split_to(common));
    RunningSha256::update_both((&mut one.running, &left), (&mut other.running, &right));
}
