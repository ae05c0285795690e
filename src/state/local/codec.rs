//! Facts as bytes: frames of 96 bytes, little-endian.
//!
//! ```text
//!  0 kind u8 │ 1 flags u8 │ 2 count u16 │ 4 crc32 u32 │ 8 at u64 │ 16 a u64 │ 24 b u64
//! 32 data [64]
//! ```
//!
//! The checksum covers the frame (its own field as zero), the ledger's incarnation and the frame's
//! place, so that a frame copied to another place or ledger is noticed. Text travels in text frames
//! in front of the frame that owns it. The last frame of a commit carries [`END`]: a reader takes a
//! commit as a whole or not at all.

use std::num::NonZeroU64;

use super::bytes::{Reader, Writer};
use crate::upload::{
    ChunkIndex, DigestForm, Fact, FileMark, FinalName, Length, Offset, OutOfRange, PartId,
    Sha256Digest, Stamped, Timestamp, UploadId,
};

/// Bytes of a frame.
pub(super) const FRAME: u64 = 96;
pub(super) const FRAME_BYTES: usize = 96;
const DATA_BYTES: usize = 64;
/// Text frames in front of one fact; a final name has at most 255 bytes.
const TEXT_FRAMES_MAX: usize = 4;

/// Flag: the commit is whole.
const END: u8 = 1;
/// Flag: the data begin with a digest.
const DIGEST: u8 = 2;
/// Flags: in which form the client's digest matched.
const FORM_RAW: u8 = 4;
const FORM_HEX: u8 = 8;
/// Flag: the bytes were on the disk before. Earlier versions did not say.
const FLUSHED: u8 = 16;

/// What a frame tells. A number is never given a second meaning; new ones go behind.
mod kind {
    pub(super) const SEALED: u8 = 1;
    pub(super) const TAIL: u8 = 2;
    pub(super) const PENDING: u8 = 3;
    pub(super) const ACCEPTED: u8 = 4;
    pub(super) const DROPPED: u8 = 5;
    pub(super) const ABSORBED: u8 = 6;
    pub(super) const LENGTH: u8 = 7;
    pub(super) const TOUCHED: u8 = 8;
    pub(super) const VERIFIED: u8 = 9;
    pub(super) const MERGING: u8 = 10;
    pub(super) const MERGE_ABANDONED: u8 = 11;
    pub(super) const FINISHED: u8 = 12;
    pub(super) const EXPIRED: u8 = 13;
    pub(super) const CORRUPT: u8 = 14;
    pub(super) const TEXT: u8 = 15;
    pub(super) const REJECTED: u8 = 16;
    pub(super) const CLEARED: u8 = 17;
    pub(super) const PROMISED: u8 = 18;
    pub(super) const JOINED: u8 = 19;
    pub(super) const DIGESTED: u8 = 20;
    pub(super) const LENT: u8 = 21;
}

/// A frame whose checksum is right, or is yet to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    kind: u8,
    flags: u8,
    /// Text frames: how many bytes of the data count.
    count: u16,
    at: u64,
    a: u64,
    b: u64,
    data: [u8; DATA_BYTES],
}

/// Where a frame lies: the ledger's incarnation, and bytes from the ledger's start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) incarnation: u64,
    pub(super) at: u64,
}

/// Why frames with right checksums are no fact.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    /// This version does not write such frames.
    #[error("kind {0} in a form that this version does not know: written by a newer piton")]
    Newer(u8),
    /// A number that no file can have.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A text that is no final name.
    #[error("not a final name")]
    Name,
}

/// One commit as bytes, to be written at `place`; empty for no facts.
pub(super) fn encode(facts: &[Stamped], place: Place) -> Vec<u8> {
    let mut frames: Vec<Frame> = facts.iter().flat_map(frames_of).collect();
    if let Some(last) = frames.last_mut() {
        last.flags |= END;
    }
    let mut bytes = Vec::with_capacity(frames.len().saturating_mul(FRAME_BYTES));
    let mut at = place.at;
    for frame in &frames {
        bytes.extend_from_slice(&frame.to_bytes(Place { at, ..place }));
        at = at.saturating_add(FRAME);
    }
    bytes
}

/// The checksum of the last frame in `bytes`, right or wrong; `None` if there is no frame.
pub(super) fn last_checksum(bytes: &[u8]) -> Option<u32> {
    let frame = bytes.last_chunk::<FRAME_BYTES>()?;
    let (_, rest) = frame.split_first_chunk::<4>()?;
    Reader::new(rest).u32()
}

/// Puts facts together from frames in order.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    texts: Vec<Frame>,
}

impl Decoder {
    /// Takes the next frame: a fact, or nothing yet where it is text for a later frame.
    ///
    /// Whatever this version would not have written itself is refused rather than half understood.
    pub(super) fn take(&mut self, frame: Frame) -> Result<Option<Stamped>, CodecError> {
        let newer = CodecError::Newer(frame.kind);
        if frame.kind == kind::TEXT && self.texts.len() < TEXT_FRAMES_MAX && !frame.ends_commit() {
            self.texts.push(frame);
            return Ok(None);
        }
        let mut frames = std::mem::take(&mut self.texts);
        let text: Vec<u8> = frames.iter().flat_map(Frame::text).copied().collect();
        let stamped = Stamped { at: Timestamp::from_millis(frame.at), fact: frame.fact(text)? };
        frames.push(Frame { flags: frame.flags & !END, ..frame });
        if frames_of(&stamped) == frames { Ok(Some(stamped)) } else { Err(newer) }
    }
}

impl Frame {
    /// Reads a frame; `None` if its checksum is wrong.
    pub(super) fn read(bytes: &[u8; FRAME_BYTES], place: Place) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let [kind, flags] = reader.take()?;
        let count = u16::from_le_bytes(reader.take()?);
        let sum = reader.u32()?;
        let (at, a, b) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let frame = Self { kind, flags, count, at, a, b, data: reader.take()? };
        (frame.checksum(place) == sum).then_some(frame)
    }

    /// Is the commit whole with this frame?
    pub(super) const fn ends_commit(&self) -> bool {
        self.flags & END != 0
    }

    fn to_bytes(&self, place: Place) -> [u8; FRAME_BYTES] {
        self.layout(self.checksum(place))
    }

    fn checksum(&self, place: Place) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&place.incarnation.to_le_bytes());
        hasher.update(&place.at.to_le_bytes());
        hasher.update(&self.layout(0));
        hasher.finalize()
    }

    fn layout(&self, sum: u32) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.put(&[self.kind, self.flags]);
        writer.put(&self.count.to_le_bytes());
        writer.put(&sum.to_le_bytes());
        for number in [self.at, self.a, self.b] {
            writer.put(&number.to_le_bytes());
        }
        writer.put(&self.data);
        bytes
    }

    fn text(&self) -> &[u8] {
        self.data.get(..usize::from(self.count)).unwrap_or(&self.data)
    }

    fn new(kind: u8, at: Timestamp) -> Self {
        Self { kind, flags: 0, count: 0, at: at.millis(), a: 0, b: 0, data: [0; DATA_BYTES] }
    }

    fn numbers(self, a: u64, b: u64) -> Self {
        Self { a, b, ..self }
    }

    fn digest(mut self, digest: Option<&Sha256Digest>) -> Self {
        if let Some(digest) = digest {
            Writer::new(&mut self.data).put(digest.bytes());
            self.flags |= DIGEST;
        }
        self
    }

    fn flushed(mut self, flushed: bool) -> Self {
        if flushed {
            self.flags |= FLUSHED;
        }
        self
    }

    /// Without one the numbers are zero, as in the ledgers of earlier versions.
    fn mark(mut self, mark: Option<&FileMark>) -> Self {
        let Some(mark) = mark else { return self };
        Writer::new(&mut self.data).put(&mark.born.to_le_bytes());
        self.numbers(mark.inode.get(), mark.modified)
    }

    /// Parts lie behind the digest's room.
    fn parts(mut self, numbers: &[u8]) -> Self {
        let mut writer = Writer::new(&mut self.data);
        writer.skip(32);
        writer.put(numbers);
        self
    }
}

/// A fact as frames, the text frames first.
fn frames_of(stamped: &Stamped) -> Vec<Frame> {
    let new = |kind| Frame::new(kind, stamped.at);
    let frame = match &stamped.fact {
        Fact::Sealed { chunk, length, digest, part, flushed } => {
            let first = part.first.get().to_le_bytes();
            let part = [&first[..], &part.generation.to_le_bytes()].concat();
            let frame = new(kind::SEALED).numbers(chunk.get(), *length);
            frame.digest(digest.as_ref()).parts(&part).flushed(*flushed)
        }
        Fact::Tail { chunk, length, digest } => {
            new(kind::TAIL).numbers(chunk.get(), *length).digest(Some(digest))
        }
        Fact::Pending { offset } => new(kind::PENDING).numbers(offset.get(), 0),
        Fact::Accepted => new(kind::ACCEPTED),
        Fact::Rejected => new(kind::REJECTED),
        Fact::Dropped { chunk } => new(kind::DROPPED).numbers(chunk.get(), 0),
        Fact::Absorbed { chunk, into, flushed } => {
            let frame = new(kind::ABSORBED).numbers(chunk.get(), into.first.get());
            frame.parts(&into.generation.to_le_bytes()).flushed(*flushed)
        }
        Fact::Length(length) => new(kind::LENGTH).numbers(length.get(), 0),
        Fact::Touched => new(kind::TOUCHED),
        Fact::Lent { part, to } => {
            let numbers = (part.first.get(), u64::from(part.generation));
            return with_text(to.as_str(), new(kind::LENT).numbers(numbers.0, numbers.1));
        }
        Fact::Promised => new(kind::PROMISED),
        Fact::Joined => new(kind::JOINED),
        Fact::Digested { chunk, digest } => {
            new(kind::DIGESTED).numbers(chunk.get(), 0).digest(Some(digest))
        }
        Fact::Verified { epoch } => new(kind::VERIFIED).numbers(*epoch, 0),
        Fact::Merging { name, form, mark } => {
            let flags = form_flag(*form);
            let frame = Frame { flags, ..new(kind::MERGING) }.mark(mark.as_ref());
            return with_text(name.as_str(), frame);
        }
        Fact::MergeAbandoned => new(kind::MERGE_ABANDONED),
        Fact::Finished { length, composite } => {
            new(kind::FINISHED).numbers(length.get(), 0).digest(composite.as_ref())
        }
        Fact::Cleared => new(kind::CLEARED),
        Fact::Expired => new(kind::EXPIRED),
        Fact::Corrupt => new(kind::CORRUPT),
    };
    vec![frame]
}

fn with_text(text: &str, owner: Frame) -> Vec<Frame> {
    let text_frame = |piece: &[u8]| {
        let data = [0; DATA_BYTES];
        let mut frame = Frame { kind: kind::TEXT, flags: 0, data, ..owner.clone() };
        frame.count = u16::try_from(piece.len()).expect("a piece has at most 64 bytes");
        Writer::new(&mut frame.data).put(piece);
        frame
    };
    let mut frames: Vec<Frame> = text.as_bytes().chunks(DATA_BYTES).map(text_frame).collect();
    frames.push(owner);
    frames
}

const fn form_flag(form: Option<DigestForm>) -> u8 {
    match form {
        None => 0,
        Some(DigestForm::Raw) => FORM_RAW,
        Some(DigestForm::Hex) => FORM_HEX,
    }
}

impl Frame {
    /// The fact that these fields tell. Fields that its kind does not use are left to
    /// [`Decoder::take`].
    fn fact(&self, text: Vec<u8>) -> Result<Fact, CodecError> {
        let chunk = || ChunkIndex::new(self.a);
        Ok(match self.kind {
            kind::SEALED => self.sealed()?,
            kind::TAIL => {
                let digest = self.stored_digest().ok_or(CodecError::Newer(self.kind))?;
                Fact::Tail { chunk: chunk()?, length: self.b, digest }
            }
            kind::PENDING => Fact::Pending { offset: Offset::new(self.a)? },
            kind::ACCEPTED => Fact::Accepted,
            kind::REJECTED => Fact::Rejected,
            kind::DROPPED => Fact::Dropped { chunk: chunk()? },
            kind::ABSORBED => self.absorbed()?,
            kind::LENGTH => Fact::Length(Length::new(self.a)?),
            kind::TOUCHED => Fact::Touched,
            kind::LENT => {
                let newer = || CodecError::Newer(self.kind);
                let to = String::from_utf8(text).map_err(|_| newer())?;
                let to = UploadId::parse(&to).map_err(|_| newer())?;
                let generation = u32::try_from(self.b).map_err(|_| newer())?;
                Fact::Lent { part: PartId { first: chunk()?, generation }, to }
            }
            kind::PROMISED => Fact::Promised,
            kind::JOINED => Fact::Joined,
            kind::DIGESTED => {
                let digest = self.stored_digest().ok_or(CodecError::Newer(self.kind))?;
                Fact::Digested { chunk: chunk()?, digest }
            }
            kind::VERIFIED => Fact::Verified { epoch: self.a },
            kind::MERGING => {
                let text = String::from_utf8(text).map_err(|_| CodecError::Name)?;
                let name = FinalName::parse(&text).map_err(|_| CodecError::Name)?;
                Fact::Merging { name, form: self.form(), mark: self.stored_mark() }
            }
            kind::MERGE_ABANDONED => Fact::MergeAbandoned,
            kind::FINISHED => {
                Fact::Finished { length: Length::new(self.a)?, composite: self.stored_digest() }
            }
            kind::CLEARED => Fact::Cleared,
            kind::EXPIRED => Fact::Expired,
            kind::CORRUPT => Fact::Corrupt,
            newer => return Err(CodecError::Newer(newer)),
        })
    }

    fn sealed(&self) -> Result<Fact, CodecError> {
        let mut reader = self.behind_digest();
        let (Some(first), Some(generation)) = (reader.u64(), reader.u32()) else {
            return Err(CodecError::Newer(self.kind));
        };
        let part = PartId { first: ChunkIndex::new(first)?, generation };
        let (chunk, digest) = (ChunkIndex::new(self.a)?, self.stored_digest());
        let (length, flushed) = (self.b, self.is_flushed());
        Ok(Fact::Sealed { chunk, length, digest, part, flushed })
    }

    fn absorbed(&self) -> Result<Fact, CodecError> {
        let generation = self.behind_digest().u32().ok_or(CodecError::Newer(self.kind))?;
        let into = PartId { first: ChunkIndex::new(self.b)?, generation };
        let (chunk, flushed) = (ChunkIndex::new(self.a)?, self.is_flushed());
        Ok(Fact::Absorbed { chunk, into, flushed })
    }

    fn stored_digest(&self) -> Option<Sha256Digest> {
        let bytes = Reader::new(&self.data).take()?;
        (self.flags & DIGEST != 0).then(|| Sha256Digest::new(bytes))
    }

    const fn is_flushed(&self) -> bool {
        self.flags & FLUSHED != 0
    }

    fn stored_mark(&self) -> Option<FileMark> {
        let (inode, born) = (NonZeroU64::new(self.a)?, Reader::new(&self.data).u64()?);
        Some(FileMark { inode, born, modified: self.b })
    }

    fn behind_digest(&self) -> Reader<'_> {
        let mut reader = Reader::new(&self.data);
        let _digest: Option<[u8; 32]> = reader.take();
        reader
    }

    const fn form(&self) -> Option<DigestForm> {
        match self.flags & (FORM_RAW | FORM_HEX) {
            FORM_RAW => Some(DigestForm::Raw),
            FORM_HEX => Some(DigestForm::Hex),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
