//! The life of an upload: one table holds every legal move.
//!
//! ```text
//!   Receiving ──complete──► Received ──merge──► Merging ──publish──► Finished
//!       ▲  ◄──────drop─────────┘  ▲               │
//!       │                         └───abandon─────┘
//!       └── expire ──► Expired ◄──expire── Finished
//!                         spoil ──► Corrupt      terminate ──► Terminated
//! ```

use std::fmt;

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Bytes are missing, or the length is not known yet.
    Receiving,
    /// All chunks are sealed.
    Received,
    /// The final file is about to appear.
    Merging,
    /// The final file is visible.
    Finished,
    /// Deleted by a client. Leaves no record; it exists in the table only.
    Terminated,
    /// The deadline passed.
    Expired,
    /// Facts or bytes contradict each other.
    Corrupt,
}

/// What moves an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PhaseEvent {
    /// Bytes arrived and something is still missing.
    Receive,
    /// The last missing byte arrived.
    Complete,
    /// A chunk was lost.
    Drop,
    /// The set is verified and gets its name.
    Merge,
    /// The merge did not happen.
    Abandon,
    /// The file is visible.
    Publish,
    /// The deadline passed.
    Expire,
    /// A client deletes it.
    Terminate,
    /// It contradicts itself.
    Spoil,
}

/// A move that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload that is {from} cannot {event}")]
pub struct IllegalMove {
    /// Where it stands.
    pub from: Phase,
    /// What was to happen.
    pub event: PhaseEvent,
}

impl Phase {
    /// All phases, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Receiving,
        Self::Received,
        Self::Merging,
        Self::Finished,
        Self::Terminated,
        Self::Expired,
        Self::Corrupt,
    ];

    /// The phase after `event`.
    pub const fn after(self, event: PhaseEvent) -> Result<Self, IllegalMove> {
        use PhaseEvent as E;
        match (self, event) {
            (Self::Receiving, E::Receive | E::Drop) | (Self::Received, E::Drop) => {
                Ok(Self::Receiving)
            }
            (Self::Receiving | Self::Received, E::Complete)
            | (Self::Received, E::Receive)
            | (Self::Merging, E::Abandon) => Ok(Self::Received),
            (Self::Received | Self::Merging, E::Merge) => Ok(Self::Merging),
            (Self::Merging, E::Publish) => Ok(Self::Finished),
            (Self::Receiving | Self::Received | Self::Finished, E::Expire) => Ok(Self::Expired),
            (
                Self::Receiving | Self::Received | Self::Merging | Self::Finished | Self::Corrupt,
                E::Terminate,
            ) => Ok(Self::Terminated),
            (Self::Receiving | Self::Received | Self::Merging | Self::Finished, E::Spoil) => {
                Ok(Self::Corrupt)
            }
            (from, event) => Err(IllegalMove { from, event }),
        }
    }

    /// May bytes still be added?
    pub const fn takes_bytes(self) -> bool {
        matches!(self, Self::Receiving | Self::Received)
    }
}

impl PhaseEvent {
    /// All events, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Receive,
        Self::Complete,
        Self::Drop,
        Self::Merge,
        Self::Abandon,
        Self::Publish,
        Self::Expire,
        Self::Terminate,
        Self::Spoil,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for PhaseEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
