//! From frames to a record: which commits count, and where the good part of a ledger ends.

use std::fs::File;

use super::{
    bytes::{read_up_to, size},
    codec::{self, Decoder, FRAME, FRAME_BYTES, Frame, Place},
    header::damaged,
};
use crate::{
    state::StateError,
    upload::{Record, Stamped},
};

/// Frames that are read at once.
const BLOCK_FRAMES: usize = 1024;

/// How far a ledger goes.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) record: Record,
    /// The end of the last whole commit, in bytes. What follows is torn and never counted.
    pub(super) end: u64,
    /// The checksum of the last frame of the last whole commit; `None` if no commit was read.
    pub(super) last: Option<u32>,
}

/// Adds to `record` the commits between `start` and `file_size`.
///
/// A bad frame with nothing good behind it is where a crash stopped the writer. With something good
/// behind it, bytes were lost that had been answered: `Damaged`, and so it is where the law refuses
/// a fact.
pub(super) fn replay(
    file: &File,
    start: Place,
    record: Record,
    file_size: u64,
) -> Result<Replay, StateError> {
    let mut reading = Reading::new(start, record);
    let mut buffer = vec![0; buffer_bytes(file_size.saturating_sub(start.at))];
    let mut at = start.at;
    while at < file_size {
        let read = read_up_to(file, &mut buffer, at)?;
        let (frames, rest) = buffer.get(..read).unwrap_or_default().as_chunks::<FRAME_BYTES>();
        for bytes in frames {
            reading.take(bytes, Place { at, ..start })?;
            at = at.saturating_add(FRAME);
        }
        if frames.is_empty() || !rest.is_empty() {
            break;
        }
    }
    Ok(reading.replay)
}

/// Enough for what is there, within bounds: most ledgers have a few frames.
fn buffer_bytes(expected: u64) -> usize {
    let most = BLOCK_FRAMES.saturating_mul(FRAME_BYTES);
    let frames = usize::try_from(expected.div_ceil(FRAME)).unwrap_or(usize::MAX);
    frames.saturating_mul(FRAME_BYTES).min(most)
}

/// A replay under way.
#[derive(Debug)]
struct Reading {
    replay: Replay,
    decoder: Decoder,
    /// Facts of a commit whose end was not seen yet.
    begun: Vec<Stamped>,
    /// The first frame with a wrong checksum.
    bad: Option<u64>,
}

impl Reading {
    fn new(start: Place, record: Record) -> Self {
        let replay = Replay { record, end: start.at, last: None };
        Self { replay, decoder: Decoder::default(), begun: Vec::new(), bad: None }
    }

    fn take(&mut self, bytes: &[u8; FRAME_BYTES], place: Place) -> Result<(), StateError> {
        let Some(frame) = Frame::read(bytes, place) else {
            self.bad.get_or_insert(place.at);
            return Ok(());
        };
        if let Some(bad) = self.bad {
            return Err(damaged(bad, "a wrong checksum in front of later facts"));
        }
        let ends_commit = frame.ends_commit();
        let fact = self.decoder.take(frame).map_err(|e| damaged(place.at, &e.to_string()))?;
        self.begun.extend(fact);
        if ends_commit {
            self.close(place)?;
            self.replay.last = codec::last_checksum(bytes);
        }
        Ok(())
    }

    fn close(&mut self, place: Place) -> Result<(), StateError> {
        for stamped in self.begun.drain(..) {
            let refused = self.replay.record.apply(&stamped);
            refused.map_err(|error| damaged(place.at, &error.to_string()))?;
        }
        self.replay.end = place.at.saturating_add(size(FRAME_BYTES));
        Ok(())
    }
}
