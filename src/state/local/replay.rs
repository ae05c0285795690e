//! From frames to a record: which commits count, and where the good part of a ledger ends.

use std::{fs::File, io};

use super::{
    bytes::{read_up_to, size},
    codec::{self, CodecError, Decoder, FRAME, FRAME_BYTES, Frame, Place},
    header::damaged,
};
use crate::{
    state::StateError,
    upload::{LawError, Record, Stamped},
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

/// Why a ledger cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was whole once is not any more, from this byte on.
    #[error("{cause}")]
    Damaged { at: u64, cause: Cause },
}

/// What is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// A frame changed.
    #[error("a wrong checksum in front of later facts")]
    Checksum,
    /// A frame tells no fact.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A fact contradicts those before it.
    #[error(transparent)]
    Law(#[from] LawError),
}

impl From<Stop> for StateError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Io(error) => error.into(),
            Stop::Damaged { at, cause: Cause::Codec(newer @ CodecError::Newer(_)) } => {
                Self::Newer { at, what: newer.to_string() }
            }
            Stop::Damaged { at, cause } => damaged(at, &cause.to_string()),
        }
    }
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
    match walk(file, start, record, file_size, &mut |_, _| {}) {
        (replay, Ok(())) => Ok(replay),
        (_, Err(stop)) => Err(stop.into()),
    }
}

/// The same for whoever wants to know how far a ledger goes that cannot be read to its end. Each
/// fact that counts is told with the byte that its frame begins at.
pub(super) fn walk(
    file: &File,
    start: Place,
    record: Record,
    file_size: u64,
    told: &mut dyn FnMut(u64, &Stamped),
) -> (Replay, Result<(), Stop>) {
    let mut reading = Reading::new(start, record, told);
    let done = reading.read(file, start, file_size);
    (reading.replay, done)
}

/// Enough for what is there, within bounds: most ledgers have a few frames.
fn buffer_bytes(expected: u64) -> usize {
    let most = BLOCK_FRAMES.saturating_mul(FRAME_BYTES);
    let frames = usize::try_from(expected.div_ceil(FRAME)).unwrap_or(usize::MAX);
    frames.saturating_mul(FRAME_BYTES).min(most)
}

/// A replay under way.
struct Reading<'a> {
    replay: Replay,
    decoder: Decoder,
    /// Facts of a commit whose end was not seen yet, and where their frames begin.
    begun: Vec<(u64, Stamped)>,
    /// The first frame with a wrong checksum.
    bad: Option<u64>,
    told: &'a mut dyn FnMut(u64, &Stamped),
}

impl<'a> Reading<'a> {
    fn new(start: Place, record: Record, told: &'a mut dyn FnMut(u64, &Stamped)) -> Self {
        let replay = Replay { record, end: start.at, last: None };
        Self { replay, decoder: Decoder::default(), begun: Vec::new(), bad: None, told }
    }

    fn read(&mut self, file: &File, start: Place, file_size: u64) -> Result<(), Stop> {
        let mut buffer = vec![0; buffer_bytes(file_size.saturating_sub(start.at))];
        let mut at = start.at;
        while at < file_size {
            let read = read_up_to(file, &mut buffer, at)?;
            let (frames, rest) = buffer.get(..read).unwrap_or_default().as_chunks::<FRAME_BYTES>();
            for bytes in frames {
                self.take(bytes, Place { at, ..start })?;
                at = at.saturating_add(FRAME);
            }
            if frames.is_empty() || !rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8; FRAME_BYTES], place: Place) -> Result<(), Stop> {
        let Some(frame) = Frame::read(bytes, place) else {
            self.bad.get_or_insert(place.at);
            return Ok(());
        };
        if let Some(bad) = self.bad {
            return Err(Stop::Damaged { at: bad, cause: Cause::Checksum });
        }
        let ends_commit = frame.ends_commit();
        let stop = |error: CodecError| Stop::Damaged { at: place.at, cause: error.into() };
        let fact = self.decoder.take(frame).map_err(stop)?;
        self.begun.extend(fact.map(|fact| (place.at, fact)));
        if ends_commit {
            self.close(place)?;
            self.replay.last = codec::last_checksum(bytes);
        }
        Ok(())
    }

    fn close(&mut self, place: Place) -> Result<(), Stop> {
        for (at, stamped) in self.begun.drain(..) {
            let applied = self.replay.record.apply(&stamped);
            applied.map_err(|error| Stop::Damaged { at: place.at, cause: error.into() })?;
            (self.told)(at, &stamped);
        }
        self.replay.end = place.at.saturating_add(size(FRAME_BYTES));
        Ok(())
    }
}
