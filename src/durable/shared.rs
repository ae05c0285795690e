//! One flush for all who ask for it while another one runs.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::sync_folder;

/// A folder in which many give names at the same time.
#[derive(Debug)]
pub struct SharedFolder {
    path: PathBuf,
    rounds: Rounds,
}

impl SharedFolder {
    /// A folder that is there when it is flushed.
    pub fn new(path: PathBuf) -> Self {
        Self { path, rounds: Rounds::default() }
    }

    /// As [`sync_folder`], for every name that was given before the call. Those who ask while a
    /// flush runs share the next one, and its failure.
    pub fn sync(&self) -> io::Result<()> {
        self.rounds.take_part(|| sync_folder(&self.path))
    }
}

/// One flush after the other: what was done before somebody asked may have come too late for the
/// one that runs.
#[derive(Debug, Default)]
struct Rounds {
    turn: Mutex<Turn>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Turn {
    runs: bool,
    /// For whoever asks now.
    next: Arc<Round>,
}

/// What a flush came to.
#[derive(Debug, Default)]
struct Round(OnceLock<Result<(), Failure>>);

/// An error that several are told.
#[derive(Debug, Clone, Copy)]
struct Failure {
    code: Option<i32>,
    kind: ErrorKind,
}

impl Rounds {
    /// Waits for a flush that begins after this call; runs it where nobody does.
    fn take_part(&self, flush: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut turn = self.turn();
        let round = Arc::clone(&turn.next);
        while turn.runs {
            turn = self.ended.wait(turn).unwrap_or_else(PoisonError::into_inner);
            if let Some(came_to) = round.0.get() {
                return came_to.map_err(io::Error::from);
            }
        }
        turn.runs = true;
        turn.next = Arc::default();
        drop(turn);
        let came_to = flush();
        let told = came_to.as_ref().map_err(Failure::of).copied();
        let mut turn = self.turn();
        turn.runs = false;
        let _ = round.0.set(told);
        drop(turn);
        self.ended.notify_all();
        came_to
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        Self { code: error.raw_os_error(), kind: error.kind() }
    }
}

impl From<Failure> for io::Error {
    fn from(Failure { code, kind }: Failure) -> Self {
        code.map_or_else(|| kind.into(), Self::from_raw_os_error)
    }
}

#[cfg(test)]
mod tests;
